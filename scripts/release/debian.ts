import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { runCompletion } from "../../src/cli/completion.ts";
import { loadCommands } from "../../src/cli/commands.ts";
import { manPage } from "./man-page.ts";

const ROOT = join(import.meta.dir, "../..");
const DEPLOY = join(ROOT, "deploy");

/** What beside the service itself an operator may copy. */
const EXAMPLES = [
  "nginx/accesstoken.conf",
  "nginx/upstream.conf",
  "haproxy/accesstoken.cfg",
  "prometheus/accesstoken.rules.yml",
  "grafana/accesstoken.json",
];

/** What a package is made of. */
export interface PackageOptions {
  /** The compiled program. */
  readonly program: string;
  /** As in package.json. */
  readonly version: string;
  readonly architecture: "amd64" | "arm64";
  /** The build's time in seconds, which every file gets. */
  readonly at: number;
  /** Where the package is put, as `<out>/accesstoken_<version>_<architecture>.deb`. */
  readonly out: string;
  /** `none` saves a test a minute. Default: xz. */
  readonly compression?: "xz" | "none";
}

/** Makes the Debian package, by dpkg-deb, and resolves with its path. */
export async function buildDebianPackage(options: PackageOptions): Promise<string> {
  const { version, architecture, at, out, compression = "xz" } = options;
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-deb-"));
  try {
    await writeTree(folder, options);
    writeControl(folder, options);
    mkdirSync(out, { recursive: true });
    const path = join(out, `accesstoken_${debianVersion(version)}_${architecture}.deb`);
    // Of a program like this, higher levels gain little.
    const flags = ["--root-owner-group", `-Z${compression}`, "-z2"];
    await run(["dpkg-deb", ...flags, "--build", folder, path], { SOURCE_DATE_EPOCH: String(at) });
    return path;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Writes every file that an installation consists of to its place below `folder`. */
export async function writeTree(
  folder: string,
  { program, at }: Pick<PackageOptions, "program" | "at">,
): Promise<void> {
  const date = new Date(at * 1000).toISOString().slice(0, 10);
  const put = (path: string, content: string | Uint8Array, mode = 0o644) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o755 });
    writeFileSync(join(folder, path), content, { mode });
    chmodSync(join(folder, path), mode);
  };
  const deployed = (path: string) => readFileSync(join(DEPLOY, path), "utf8");
  mkdirSync(join(folder, "usr/bin"), { recursive: true });
  copyFileSync(program, join(folder, "usr/bin/accesstoken"));
  chmodSync(join(folder, "usr/bin/accesstoken"), 0o755);
  for (const name of readdirSync(join(DEPLOY, "systemd")))
    put(`usr/lib/systemd/system/${name}`, deployed(`systemd/${name}`));
  put("usr/lib/sysusers.d/accesstoken.conf", deployed("debian/sysusers.conf"));
  put("usr/lib/tmpfiles.d/accesstoken.conf", deployed("debian/tmpfiles.conf"));
  put("etc/accesstoken/env", deployed("debian/env"), 0o640);
  put("usr/share/man/man1/accesstoken.1.gz", packed(await manPage(date)));
  put("usr/share/bash-completion/completions/accesstoken", await completion());
  const documents = "usr/share/doc/accesstoken";
  put(`${documents}/changelog.gz`, packed(readFileSync(join(ROOT, "CHANGELOG.md"), "utf8")));
  const license = readFileSync(join(ROOT, "LICENSE"), "utf8").split("\n").slice(4).join("\n").trim();
  const indented = license.replaceAll(/^$/gm, ".").replaceAll(/^/gm, " ");
  put(
    `${documents}/copyright`,
    deployed("debian/copyright").replace("@LICENSE@", () => indented),
  );
  for (const name of EXAMPLES) put(`${documents}/examples/${name.replace("/", "-")}`, deployed(name));
  put("usr/share/lintian/overrides/accesstoken", deployed("debian/lintian-overrides"));
  chmodSync(folder, 0o755);
}

function writeControl(folder: string, { version, architecture }: PackageOptions): void {
  const files = filesBelow(folder);
  const control = join(folder, "DEBIAN");
  mkdirSync(control, { mode: 0o755 });
  const size = files.reduce((sum, path) => sum + Math.ceil(lstatSync(join(folder, path)).size / 1024), 0);
  const values: Record<string, string> = {
    VERSION: debianVersion(version),
    ARCHITECTURE: architecture,
    SIZE: String(size),
  };
  const template = readFileSync(join(DEPLOY, "debian/control"), "utf8");
  writeFileSync(
    join(control, "control"),
    template.replaceAll(/@([A-Z]+)@/g, (_, name: string) => values[name] ?? ""),
  );
  writeFileSync(join(control, "conffiles"), "/etc/accesstoken/env\n");
  const sums = files.map((path) => `${md5(join(folder, path))}  ${path}\n`);
  writeFileSync(join(control, "md5sums"), sums.join(""));
  for (const name of ["postinst", "prerm", "postrm"]) {
    copyFileSync(join(DEPLOY, "debian", name), join(control, name));
    chmodSync(join(control, name), 0o755);
  }
}

/** A pre-release comes before its release: 1.0.0-rc.1 is 1.0.0~rc.1. */
function debianVersion(version: string): string {
  return version.replace("-", "~");
}

function filesBelow(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted();
}

function md5(path: string): string {
  return createHash("md5").update(readFileSync(path)).digest("hex");
}

function packed(text: string): Uint8Array {
  return Bun.gzipSync(new TextEncoder().encode(text), { level: 9 });
}

async function completion(): Promise<string> {
  let script = "";
  const print = (text: string) => {
    script += text;
    return Promise.resolve();
  };
  await runCompletion("bash", await loadCommands(), { print } as Parameters<typeof runCompletion>[2]);
  return script;
}

/** Runs a program to its end; throws with what it wrote when it fails. */
export async function run(command: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const child = Bun.spawn([...command], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) === 0) return out;
  throw new Error(`${command.join(" ")} failed:\n${out}${error}`);
}
