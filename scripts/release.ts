import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { VERSION } from "../src/version.ts";
import { billOfMaterials } from "./release/bill-of-materials.ts";
import { buildDebianPackage, run, writeTree } from "./release/debian.ts";
import { releaseNotes } from "./release/notes.ts";

const ROOT = join(import.meta.dir, "..");
const OWN = `${process.platform}-${process.arch}`;
/** Where libc6-arm64-cross has what the program needs under qemu. */
const SYSROOT = "/usr/aarch64-linux-gnu";

interface Target {
  readonly name: string;
  /** Its name in Debian; only there is the service installed. */
  readonly architecture?: "amd64" | "arm64";
}

const TARGETS: readonly Target[] = [
  { name: "linux-x64", architecture: "amd64" },
  { name: "linux-arm64", architecture: "arm64" },
  { name: "darwin-arm64" },
  { name: "darwin-x64" },
  { name: "windows-x64" },
];

const { values } = parseArgs({
  options: {
    out: { type: "string", default: "dist/release" },
    only: { type: "string", multiple: true, default: TARGETS.map(({ name }) => name) },
  },
});

/** Makes the files of a release. Without a network it makes those whose Bun is in Bun's cache, and names the others. */
async function release(): Promise<void> {
  const out = join(ROOT, values.out);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const at = await buildTime();
  const lines: string[] = [];
  for (const target of TARGETS.filter(({ name }) => values.only.includes(name))) {
    const state = await make(target, at, out).catch((error: unknown) => `not made: ${shortText(error)}`);
    lines.push(`- ${target.name}: ${state}`);
    say(lines.at(-1) ?? "");
  }
  writeFileSync(join(out, `accesstoken-${VERSION}.cdx.json`), billOfMaterials(at));
  const notes = releaseNotes(readFileSync(join(ROOT, "CHANGELOG.md"), "utf8"), VERSION);
  writeFileSync(join(out, "release-notes.md"), `${notes}\n\n### Builds\n\n${lines.join("\n")}\n`);
  const sums = readdirSync(out)
    .toSorted()
    .map((name) => `${sha256(join(out, name))}  ${name}\n`);
  writeFileSync(join(out, "SHA256SUMS"), sums.join(""));
  say(`${relative(ROOT, out)}/SHA256SUMS:\n${sums.join("")}`);
  // A Bun for another system may be out of reach; the one for this system is what runs this script.
  if (lines.some((line) => line.startsWith(`- ${OWN}: not made`))) process.exitCode = 1;
}

/** Builds one target and packs it; resolves with how far it was tried. */
async function make({ name, architecture }: Target, at: number, out: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-release-"));
  try {
    const program = join(folder, name.startsWith("windows") ? "accesstoken.exe" : "accesstoken");
    const cross = name === OWN ? [] : [`--target=bun-${name}`];
    await run([process.execPath, "run", "build", ...cross, "--outfile", program]);
    const state = await smokeTest(name, program);
    const tree = join(folder, `accesstoken-${VERSION}-${name}`);
    mkdirSync(tree);
    if (architecture) {
      await buildDebianPackage({ program, version: VERSION, architecture, at, out });
      await writeTree(tree, { program, at });
      for (const path of ["install.sh", "debian/postinst"]) copyScript(path, tree);
    } else {
      copyFileSync(program, join(tree, relative(folder, program)));
      copyFileSync(join(ROOT, "LICENSE"), join(tree, "LICENSE"));
    }
    const mark = state.startsWith("untested") ? "-untested" : "";
    await pack(folder, relative(folder, tree), join(out, `accesstoken-${VERSION}-${name}${mark}.tar.gz`), at);
    return state;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function smokeTest(name: string, program: string): Promise<string> {
  const emulator = Bun.which("qemu-aarch64-static");
  const expected = `accesstoken-service ${VERSION}\n`;
  const prefix =
    name === OWN
      ? []
      : name === "linux-arm64" && emulator && existsSync(SYSROOT)
        ? [emulator, "-L", SYSROOT]
        : undefined;
  if (prefix === undefined) return "untested, for the command line";
  const answer = await run([...prefix, program, "version"]);
  if (answer !== expected) throw new Error(`version printed ${answer}`);
  return prefix.length > 0 ? "starts under qemu-user" : "tested";
}

function copyScript(path: string, tree: string): void {
  const target = join(tree, path.split("/").at(-1) ?? "");
  copyFileSync(join(ROOT, "deploy", path), target);
  chmodSync(target, 0o755);
}

/** A tar.gz that is the same whenever, wherever and by whomever it is made. */
async function pack(folder: string, name: string, path: string, at: number): Promise<void> {
  const fixed = ["--sort=name", `--mtime=@${at}`, "--owner=0", "--group=0", "--numeric-owner"];
  await run(["tar", "-C", folder, ...fixed, "--use-compress-program=gzip -9n", "-cf", path, name]);
}

/** The time that every file of the release gets: SOURCE_DATE_EPOCH, or that of the commit. */
async function buildTime(): Promise<number> {
  const said = process.env["SOURCE_DATE_EPOCH"] ?? "";
  return Number(/^\d+$/.test(said) ? said : await run(["git", "log", "-1", "--format=%ct"]));
}

function sha256(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

/** The line that says why, behind the one that says what failed. */
function shortText(error: unknown): string {
  const [first = "", ...lines] = String(error).split("\n");
  return (lines.find((line) => /^(failed|error: (?!script ))/i.test(line)) ?? first).trim().slice(0, 200);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await release();
