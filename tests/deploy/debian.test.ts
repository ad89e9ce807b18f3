import { expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { buildDebianPackage, writeTree } from "../../scripts/release/debian.ts";
import { freePort } from "../bench/bench-server.ts";
import { ROOT } from "../docs/document.ts";
import { WX } from "../support/harness.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { inRoot, makeDebian, output, REFUSAL } from "./root-folder.ts";

if (REFUSAL) console.error(`The Debian package is not installed: ${REFUSAL}`);

const LINTIAN = Bun.which("lintian");
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const AT = 1_790_000_000;

/** A folder for packages, and the making of one. */
function setup() {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-packages-"));
  const make = (version: string, program = binary()[0]!, compression: "xz" | "none" = "none") =>
    buildDebianPackage({
      program,
      version,
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      at: AT,
      out: folder,
      compression,
    });
  return { folder, make, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

/** The settings of a unit's section; one that is there several times has several values. */
function unit(text: string): Map<string, string[]> {
  const settings = new Map<string, string[]>();
  for (const [, name = "", value = ""] of text.matchAll(/^([A-Z]\w+)=(.*)$/gm))
    settings.set(name, [...(settings.get(name) ?? []), value]);
  return settings;
}

/** Starts what the unit starts, as its user, in its folder and with its variables. */
function startUnit(world: ProcessHarness, root: string) {
  const settings = unit(readFileSync(join(root, "usr/lib/systemd/system/accesstoken.service"), "utf8"));
  const [user = ""] = settings.get("User") ?? [];
  const [group = ""] = settings.get("Group") ?? [];
  const [folder = ""] = settings.get("WorkingDirectory") ?? [];
  const [command = ""] = settings.get("ExecStart") ?? [];
  const variables = settings.get("Environment") ?? [];
  const line = ["env", "-i", `--chdir=${folder}`, ...variables, ...command.split(" ")];
  return world.run(inRoot(root, line, { user: `${user}:${group}` }), { PATH });
}

test.skipIf(REFUSAL !== undefined)(
  "in a clean Debian: install, start, set up, first key and token, upgrade, purge, which leaves database and key",
  async () => {
    using packages = setup();
    await using world = new ProcessHarness([]);
    const root = join(packages.folder, "root");
    makeDebian(root);
    const inside = async (...command: string[]) => {
      const child = world.run(inRoot(root, command), { PATH, LC_ALL: "C" });
      const code = await child.exited();
      if (code !== 0) throw new Error(`${command.join(" ")}: ${child.stdout}${child.stderr}`);
      return child.stdout;
    };
    const place = (path: string) => join(root, basename(path));
    const install = async (version: string) => {
      const path = await packages.make(version);
      output(["mv", path, place(path)]);
      const said = await inside("dpkg", "--install", `/${basename(path)}`);
      rmSync(place(path));
      return said;
    };
    const owned = (path: string) => {
      const { uid, gid, mode } = statSync(join(root, path));
      return [uid, gid, (mode & 0o7777).toString(8)];
    };

    expect(await install("0.1.0")).toContain("systemctl enable --now accesstoken");
    const uid = Number(await inside("id", "-u", "accesstoken"));
    const gid = Number(await inside("id", "-g", "accesstoken"));
    expect(uid).toBeGreaterThan(0);
    expect(owned("etc/accesstoken/env")).toEqual([0, gid, "640"]);
    expect(owned("etc/accesstoken")).toEqual([0, gid, "750"]);
    for (const name of ["accesstoken", "accesstoken-key", "accesstoken-backup"])
      expect(owned(`var/lib/${name}`)).toEqual([uid, gid, "700"]);
    expect(await inside("accesstoken", "version")).toContain("accesstoken-service ");

    const port = freePort();
    const own = { ...world.variables, PORT: String(port) };
    const env = join(root, "etc/accesstoken/env");
    appendFileSync(
      env,
      Object.entries(own)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(""),
    );
    const url = `http://127.0.0.1:${port}`;
    const early = world.run(inRoot(root, ["accesstoken", "keys", "create", "--admin"]), {
      PATH,
      LC_ALL: "C",
    });
    expect([await early.exited(), early.stderr]).toEqual([3, expect.stringContaining("systemctl start")]);
    expect(existsSync(join(root, "data"))).toBe(false);
    let service = startUnit(world, root);
    await service.serviceUrl();
    expect(await inside("accesstoken", "console", "setup")).toContain("/console/");
    const key = (await inside("accesstoken", "keys", "create", "--admin")).trim();
    const token = async () => {
      const { code } = await ask(
        url,
        "/AccessToken/getXcx",
        { appid: WX.appId },
        { headers: { "x-api-key": key } },
      );
      return code;
    };
    expect(await token()).toBe(0);

    expect(await install("0.2.0")).not.toContain("systemctl enable");
    expect(await inside("dpkg-query", "--show", "accesstoken")).toContain("0.2.0");
    expect(readFileSync(env, "utf8")).toContain(`PORT=${port}`);
    expect(owned("etc/accesstoken/env")).toEqual([0, gid, "640"]);
    service.signal("SIGTERM");
    expect(await service.exited()).toBe(0);
    service = startUnit(world, root);
    await service.serviceUrl();
    expect(await token()).toBe(0);

    const backup = unit(
      readFileSync(join(root, "usr/lib/systemd/system/accesstoken-backup.service"), "utf8"),
    );
    const line = ["env", ...backup.get("Environment")!, ...backup.get("ExecStart")![0]!.split(" ")];
    const child = world.run(inRoot(root, line, { user: "accesstoken:accesstoken" }), { PATH });
    expect([await child.exited(), child.stderr]).toEqual([0, ""]);
    expect(readdirSync(join(root, "var/lib/accesstoken-backup"))).toEqual([
      expect.stringMatching(/\.tar\.gz$/),
    ]);

    service.signal("SIGTERM");
    expect(await service.exited()).toBe(0);
    const left = () =>
      ["var/lib/accesstoken/accesstoken.db", "var/lib/accesstoken-key/master.key"].map((path) =>
        readFileSync(join(root, path)).toString("base64"),
      );
    const before = left();
    const said = await inside("dpkg", "--purge", "accesstoken");
    for (const path of ["/var/lib/accesstoken", "/var/lib/accesstoken-key", "/var/lib/accesstoken-backup"])
      expect(said).toContain(path);
    expect(left()).toEqual(before);
    for (const path of ["etc/accesstoken", "usr/bin/accesstoken", "usr/share/man/man1/accesstoken.1.gz"])
      expect([path, existsSync(join(root, path))]).toEqual([path, false]);

    // A system without dpkg: the tarball's files and their install.sh, on top of what a purge left.
    const tree = join(root, "tarball");
    mkdirSync(tree);
    await writeTree(tree, { program: binary()[0]!, at: AT });
    output(["cp", join(ROOT, "deploy/install.sh"), join(ROOT, "deploy/debian/postinst"), tree]);
    expect(await inside("sh", "/tarball/install.sh")).toContain("systemctl enable --now accesstoken");
    writeFileSync(
      env,
      Object.entries(own)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(""),
    );
    expect(await inside("sh", "/tarball/install.sh")).not.toContain("systemctl enable");
    expect(owned("etc/accesstoken/env")).toEqual([0, gid, "640"]);
    service = startUnit(world, root);
    await service.serviceUrl();
    expect(await token()).toBe(0);
    // One database through all of it, so one token.
    expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(1);
  },
  240_000,
);

test.skipIf(!Bun.which("dpkg-deb"))(
  "two packages of one program and time are the same to the byte",
  async () => {
    using packages = setup();
    const program = join(packages.folder, "program");
    writeFileSync(program, "\x7fELF");
    const first = readFileSync(await packages.make("1.0.0-rc.1", program));
    const path = await packages.make("1.0.0-rc.1", program);
    expect(readFileSync(path).equals(first)).toBe(true);
    // A pre-release comes before its release.
    expect(basename(path)).toStartWith("accesstoken_1.0.0~rc.1_");
    const listed = output(["dpkg-deb", "--contents", path]);
    expect(listed).toMatch(/^-rwxr-xr-x root\/root .* \.\/usr\/bin\/accesstoken$/m);
    expect(listed).toMatch(/^-rw-r----- root\/root .* \.\/etc\/accesstoken\/env$/m);
    for (const name of [
      "sysusers.d/accesstoken.conf",
      "tmpfiles.d/accesstoken.conf",
      "systemd/system/accesstoken-backup.timer",
    ])
      expect(listed).toContain(`./usr/lib/${name}`);
    expect(output(["dpkg-deb", "--info", path, "conffiles"])).toBe("/etc/accesstoken/env\n");
  },
);

test.skipIf(!LINTIAN)(
  "lintian finds no error in the package",
  async () => {
    using packages = setup();
    // Any other program of this system: what is checked is all around it.
    const path = await packages.make("1.0.0", "/bin/true", "xz");
    const child = Bun.spawn([LINTIAN!, "--allow-root", "--no-cfg", "--fail-on", "error", path], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    expect([await child.stdout.text(), await child.exited]).toEqual([expect.not.stringMatching(/^E:/m), 0]);
  },
  240_000,
);
