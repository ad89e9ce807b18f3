import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { codeOf, read, ROOT, withoutComments } from "../docs/document.ts";
import { output } from "./root-folder.ts";

/** The files that a page shows whole, and the language of the block. */
const SHOWN = [
  ["systemd/accesstoken.service", "deployment.md", "ini"],
  ["nginx/accesstoken.conf", "deployment.md", "nginx"],
  ["nginx/upstream.conf", "cluster.md", "nginx"],
  ["haproxy/accesstoken.cfg", "cluster.md", "haproxy"],
  ["docker/Dockerfile", "containers.md", "dockerfile"],
  ["compose.yaml", "containers.md", "yaml"],
  ["compose.cluster.yaml", "containers.md", "yaml"],
] as const;

const deployed = (path: string) => readFileSync(join(ROOT, "deploy", path), "utf8");
const ANALYZE = Bun.which("systemd-analyze");

test.each(SHOWN)("deploy/%s is what %s shows, in Chinese but for comments", (path, page, language) => {
  const text = deployed(path);
  const blocksOf = (file: string) => read(file).blocks.filter((block) => block.language === language);
  expect(blocksOf(`docs/${page}`).map((block) => block.text)).toContain(text);
  const bare = blocksOf(`docs/zh/${page}`).map(withoutComments);
  expect(bare).toContain(withoutComments({ language, text, line: 0 }));
});

interface ComposeService {
  readonly environment?: Record<string, string>;
  readonly env_file?: string;
  readonly tmpfs?: readonly string[];
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly depends_on?: readonly string[] | Record<string, unknown>;
}

test("the files for Compose can be read, and name variables, services and Dockerfiles that there are", () => {
  const known = new Set(
    read("docs/configuration.md")
      .tables.flat()
      .flatMap(([cell = ""]) => codeOf(cell)),
  );
  const services = ["compose.yaml", "compose.cluster.yaml"].map(
    (path) => (Bun.YAML.parse(deployed(path)) as { services: Record<string, ComposeService> }).services,
  );
  for (const all of services) {
    const own = Object.values(all).filter(({ build }) => build !== undefined);
    expect(own.length).toBeGreaterThan(0);
    for (const { environment = {}, env_file: file, depends_on: needed = [], build, tmpfs } of own) {
      // The root is read-only, and a backup is tried there.
      expect(tmpfs).toEqual(["/tmp"]);
      expect(file).toBe("accesstoken.env");
      expect(existsSync(join(ROOT, "deploy", build?.context ?? "", build?.dockerfile ?? "-"))).toBe(true);
      for (const name of Object.keys(environment)) expect(known).toContain(name);
      for (const name of Array.isArray(needed) ? needed : Object.keys(needed))
        expect(Object.keys(all)).toContain(name as string);
    }
  }
  // HAProxy refuses an empty one, and the first start has none yet.
  expect(services[1]!["balancer"]?.environment).toEqual({ CHECK_KEY: "${CHECK_KEY:-none}" });
  expect(Object.keys(services[1]!)).toEqual(["a", "b", "c", "balancer", "postgres"]);
});

test("the image takes from this folder what its Dockerfiles copy", () => {
  const allowed = readFileSync(join(ROOT, ".dockerignore"), "utf8").match(/(?<=^!).*$/gm) ?? [];
  for (const path of ["docker/Dockerfile", "docker/Dockerfile.debian"]) {
    const copied = deployed(path).match(/(?<=^COPY (?!--)).*(?= \S+$)/gm) ?? [];
    expect(copied.length).toBeGreaterThan(0);
    for (const name of copied.flatMap((names) => names.split(" "))) expect(allowed).toContain(name);
  }
});

test.skipIf(!ANALYZE)("systemd understands every unit, and the drop-in of the document", () => {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-units-"));
  try {
    for (const name of readdirSync(join(ROOT, "deploy/systemd")))
      writeFileSync(
        join(folder, name),
        deployed(`systemd/${name}`).replaceAll("/usr/bin/accesstoken", "/bin/true"),
      );
    const dropIn = read("docs/deployment.md").blocks.find(({ text }) => text.includes("LoadCredential="));
    output(["mkdir", join(folder, "accesstoken.service.d")]);
    writeFileSync(join(folder, "accesstoken.service.d/override.conf"), dropIn?.text ?? "");
    const names = readdirSync(folder).filter((name) => /\.(service|timer)$/.test(name));
    expect(names).toHaveLength(3);
    const child = Bun.spawnSync([ANALYZE!, "verify", "--man=no", ...names.map((name) => join(folder, name))]);
    // It also looks at units of the machine that these name.
    const about = child.stderr
      .toString()
      .split("\n")
      .filter((line) => line.includes("accesstoken"));
    expect([child.exitCode, about]).toEqual([0, []]);
    output([ANALYZE!, "security", "--offline=yes", "--threshold=35", join(folder, "accesstoken.service")]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const SYSTEMD = ["systemd-sysusers", "systemd-tmpfiles"].every((name) => Bun.which(name));

test.skipIf(!SYSTEMD || process.getuid?.() !== 0)(
  "systemd makes the user once, and the folders for that user alone",
  () => {
    const root = mkdtempSync(join(tmpdir(), "accesstoken-made-"));
    try {
      output(["mkdir", "-p", join(root, "etc"), join(root, "var/lib")]);
      for (const name of ["sysusers", "tmpfiles"]) {
        output(["mkdir", "-p", join(root, `usr/lib/${name}.d`)]);
        writeFileSync(join(root, `usr/lib/${name}.d/accesstoken.conf`), deployed(`debian/${name}.conf`));
      }
      for (let times = 0; times < 2; times++)
        output(["systemd-sysusers", `--root=${root}`, "accesstoken.conf"]);
      const users = readFileSync(join(root, "etc/passwd"), "utf8");
      const [, , uid = ""] = users.split(":");
      expect(users).toMatch(/^accesstoken:x:\d+:\d+:[^:]*:\/var\/lib\/accesstoken:\/usr\/sbin\/nologin\n$/);
      output(["systemd-tmpfiles", `--root=${root}`, "--create", "accesstoken.conf"]);
      for (const name of ["accesstoken", "accesstoken-key", "accesstoken-backup"]) {
        const { uid: owner, mode } = statSync(join(root, "var/lib", name));
        expect([name, String(owner), mode & 0o7777]).toEqual([name, uid, 0o700]);
      }
    } finally {
      rmSync(root, { recursive: true });
    }
  },
);

test("the unit, the package and the command line agree on where the files are", () => {
  const source = readFileSync(join(ROOT, "src/config.ts"), "utf8");
  const [, text = ""] = /const SERVER_FILES = \{([^}]*)\}/.exec(source) ?? [];
  const paths = text.match(/\/[^"]+/g) ?? [];
  expect(paths).toHaveLength(3);
  const [envFile = "", ...state] = paths;
  for (const name of ["accesstoken.service", "accesstoken-backup.service"]) {
    // What the unit itself set would win over the file.
    expect(deployed(`systemd/${name}`).match(/(?<=^Environment=).*$/gm)).toEqual([`ENV_FILE=${envFile}`]);
    const [folders = ""] = deployed(`systemd/${name}`).match(/(?<=^StateDirectory=).*$/m) ?? [];
    for (const path of state) expect(folders.split(" ")).toContain(basename(dirname(path)));
  }
  const foldersIn = (pattern: RegExp, file: string) =>
    [...deployed(file).matchAll(pattern)].map(([, folder = ""]) => folder).toSorted();
  const made = foldersIn(/^d \/var\/lib\/(\S+)/gm, "debian/tmpfiles.conf");
  expect(deployed("systemd/accesstoken-backup.service")).toContain(
    `StateDirectory=${made.join(" ")}\n`.replace(
      "accesstoken accesstoken-backup accesstoken-key",
      "accesstoken accesstoken-key accesstoken-backup",
    ),
  );
  for (const folder of made) expect(deployed("debian/postrm")).toContain(`/var/lib/${folder}`);
});
