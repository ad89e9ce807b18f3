import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

/** Why the root of another system can't be run here; undefined where it can. */
export const REFUSAL: string | undefined = refusal();

function refusal(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "not root on Linux";
  const tools = ["unshare", "setpriv", "chroot", "mount", "dpkg-deb"].filter((name) => !Bun.which(name));
  if (tools.length > 0) return `${tools.join(", ")}: not found`;
  const mounted = Bun.spawnSync(["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"]);
  return mounted.success ? undefined : "mounting is not allowed here, as in an unprivileged container";
}

/** How a command runs in a root. */
export interface RootOptions {
  /** uid:gid, or names of that root. Default: root. */
  readonly user?: string;
  /** With a folder, that root is read-only but for these places below it. */
  readonly writable?: readonly string[];
}

/**
 * The command line that runs `command` in the folder `root` as in a container: with /proc and /dev, in a mount namespace of its
 * own, so that nothing stays mounted. With a user that is not root, it has no capabilities and can gain none.
 */
export function inRoot(
  root: string,
  command: readonly string[],
  { user, writable }: RootOptions = {},
): string[] {
  const mounts = [
    `mount --bind ${root} ${root}`,
    `mount --bind /proc ${root}/proc`,
    `mount --bind /dev ${root}/dev`,
    ...(writable ?? []).map((path) => `mount --bind ${root}${path} ${root}${path}`),
    ...(writable ? [`mount -o remount,bind,ro ${root}`] : []),
  ];
  const caps = "-all,+sys_chroot,+setuid,+setgid";
  const dropped = ["setpriv", "--no-new-privs", `--bounding-set=${caps}`, "--inh-caps=-all"];
  const entered = user ? [...dropped, "chroot", `--userspec=${user}`, root] : ["chroot", root];
  const script = `set -e; ${mounts.join("; ")}; exec "$@"`;
  return ["unshare", "--mount", "sh", "-c", script, "sh", ...entered, ...command];
}

/**
 * Makes `root` a Debian that has nothing but what every Debian has: the files of this machine's essential packages, of passwd
 * and of what these depend on, and a dpkg that knows of no others.
 */
export function makeDebian(root: string): void {
  const names = essentialPackages();
  for (const path of ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "proc", "dev", "run", "root"])
    mkdirSync(join(root, path), { recursive: true });
  for (const name of ["bin", "sbin", "lib", "lib64"])
    if (lstatSync(`/${name}`).isSymbolicLink()) symlinkSync(readlinkSync(`/${name}`), join(root, name));
  mkdirSync(join(root, "tmp"), { mode: 0o1777 });
  const listed = output(["dpkg", "-L", ...names]).split("\n");
  const info = names.flatMap((name) =>
    ["list", "md5sums", "conffiles"].flatMap((kind) =>
      [name, `${name}:${output(["dpkg", "--print-architecture"]).trim()}`].map(
        (each) => `/var/lib/dpkg/info/${each}.${kind}`,
      ),
    ),
  );
  const files = [...listed, ...info].filter((path) => path.startsWith("/") && isFile(path));
  const list = join(root, "tmp/files");
  writeFileSync(list, files.map((path) => `.${path}\n`).join(""));
  output(["sh", "-c", `tar -C / --no-recursion -cf - -T ${list} | tar -C ${root} -xf -`]);
  for (const path of ["updates", "triggers", "info"])
    mkdirSync(join(root, "var/lib/dpkg", path), { recursive: true });
  writeFileSync(join(root, "var/lib/dpkg/status"), output(["dpkg-query", "--status", ...names]));
  for (const name of ["passwd", "group"])
    writeFileSync(join(root, "etc", name), readFileSync(`/usr/share/base-passwd/${name}.master`));
}

function isFile(path: string): boolean {
  return existsSync(path) && !lstatSync(path).isDirectory();
}

function essentialPackages(): string[] {
  const format = "${Package}\t${Essential}\t${db:Status-Status}\t${Pre-Depends}, ${Depends}\n";
  const rows = output(["dpkg-query", "--show", `--showformat=${format}`])
    .split("\n")
    .map((line) => line.split("\t"))
    .filter(([, , status]) => status === "installed");
  const needs = new Map(rows.map(([name = "", , , text = ""]) => [name, text]));
  const found = new Set<string>();
  const left = ["passwd", ...rows.flatMap(([name = "", essential]) => (essential === "yes" ? [name] : []))];
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    const text = needs.get(name);
    if (text === undefined || found.has(name)) continue;
    found.add(name);
    left.push(...text.split(/[,|]/).map((each) => each.trim().replace(/[ :].*/, "")));
  }
  return [...found].toSorted();
}

/** What a command prints; throws when it fails. */
export function output(command: readonly string[], env: Record<string, string> = {}): string {
  const { PATH = "" } = process.env;
  const { success, stdout, stderr } = Bun.spawnSync([...command], { env: { PATH, LC_ALL: "C", ...env } });
  if (success) return stdout.toString();
  throw new Error(`${command.join(" ")} failed:\n${stdout.toString()}${stderr.toString()}`);
}
