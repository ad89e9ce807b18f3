import { createHash } from "node:crypto";
import { expect, test } from "bun:test";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { billOfMaterials, type Component } from "../../scripts/release/bill-of-materials.ts";
import { manPage } from "../../scripts/release/man-page.ts";
import { releaseNotes } from "../../scripts/release/notes.ts";
import { loadCommands } from "../../src/cli/commands.ts";
import manifest from "../../package.json" with { type: "json" };
import { ROOT } from "../docs/document.ts";
import { binary } from "../support/process-harness.ts";
import { output, REFUSAL } from "./root-folder.ts";

interface Bill {
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

const lock = readFileSync(join(ROOT, "bun.lock"), "utf8");
const bill = JSON.parse(billOfMaterials(0)) as Bill;
const packages = bill.components.filter(({ purl }) => purl.startsWith("pkg:npm/"));

test("each package of the bill of materials is in bun.lock with that version and content", () => {
  expect(packages.length).toBeGreaterThan(10);
  for (const { name, version, hashes = [] } of packages) {
    expect(lock).toContain(`["${name}@${version}", `);
    const [{ content } = { content: "" }] = hashes;
    expect(lock).toContain(`"sha512-${Buffer.from(content, "hex").toString("base64")}"]`);
  }
});

test("all that the binary was bundled from is in the bill of materials, and nothing for development", () => {
  const { sources } = JSON.parse(readFileSync(join(ROOT, "dist/accesstoken.map"), "utf8")) as {
    sources: string[];
  };
  const bundled = new Set(
    sources.flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []),
  );
  const names = new Set(packages.map(({ name }) => name));
  expect(bundled.size).toBeGreaterThan(5);
  expect([...bundled].filter((name) => !names.has(name))).toEqual([]);
  for (const name of Object.keys(manifest.dependencies)) expect(names).toContain(name);
  for (const name of Object.keys(manifest.devDependencies)) expect(names).not.toContain(name);
});

test("the bill of materials names Bun and SQLite, and leads nowhere but to its own components", () => {
  const purls = bill.components.map(({ purl }) => purl);
  expect(purls).toContain(`pkg:generic/bun@${manifest.engines.bun}`);
  expect(purls).toContainEqual(expect.stringMatching(/^pkg:generic\/sqlite@3\.\d+\.\d+$/));
  expect(new Set(purls).size).toBe(purls.length);
  const led = bill.dependencies.flatMap(({ dependsOn }) => dependsOn);
  expect(led.filter((ref) => !purls.includes(ref))).toEqual([]);
  expect(purls.filter((purl) => !led.includes(purl))).toEqual([]);
  expect(billOfMaterials(0)).toBe(billOfMaterials(0));
});

test("the release notes are the version's section of the changelog", () => {
  const changelog =
    "# Changelog\n\n## [1.1.0] - 2027-01-01\n\n### Added\n\n- That.\n\n## [1.0.0] - 2026-12-01\n\n- This.\n";
  expect(releaseNotes(changelog, "1.1.0")).toBe("### Added\n\n- That.");
  expect(releaseNotes(changelog, "1.0.0")).toBe("- This.");
  expect(() => releaseNotes(changelog, "1.0")).toThrow("write one");
  expect(releaseNotes(readFileSync(join(ROOT, "CHANGELOG.md"), "utf8"), manifest.version)).toContain(
    "### Added",
  );
});

test("the workflow can be read, tests before it releases, and calls commands that there are", () => {
  const text = readFileSync(join(ROOT, ".github/workflows/release.yml"), "utf8");
  const { jobs } = Bun.YAML.parse(text) as {
    jobs: Record<string, { needs?: string; steps: readonly { run?: string }[] }>;
  };
  expect([jobs["release"]?.needs, JSON.stringify(jobs["test"]?.steps)]).toEqual([
    "test",
    expect.stringContaining(".ci/run"),
  ]);
  const runs = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
  const scripts = runs.flatMap((run) => /bun@(\S+) run (\w+)/.exec(run)?.slice(1) ?? []);
  expect(scripts).toEqual([manifest.engines.bun, "release"]);
  expect(manifest.scripts).toHaveProperty("release");
});

test("the manual page has every command and option, and troff finds nothing wrong with it", async () => {
  const page = await manPage("2026-12-01");
  const text = page.replaceAll("\\-", "-");
  for (const { words, options = [], isHidden, isFormer } of await loadCommands()) {
    if (isHidden || isFormer) continue;
    expect(text).toContain(`.SS accesstoken ${words.join(" ")}`);
    for (const option of options) if (!option.isFormer) expect(text).toContain(`.B --${option.name}`);
  }
  const groff = Bun.which("groff");
  if (!groff) return;
  const child = Bun.spawnSync([groff, "-man", "-ww", "-z", "-Kutf8"], { stdin: Buffer.from(page) });
  expect(child.stderr.toString()).toBe("");
});

test.skipIf(REFUSAL !== undefined)(
  "without a network, a release names what it could not make, and has the rest with its sums",
  () => {
    const folder = mkdtempSync(join(ROOT, "dist/release-"));
    try {
      const out = join(folder, "out");
      // No Bun for another system is in a cache that is empty.
      const env = {
        HOME: folder,
        BUN_INSTALL_CACHE_DIR: join(folder, "cache"),
        SOURCE_DATE_EPOCH: "1790000000",
      };
      const script = [process.execPath, join(ROOT, "scripts/release.ts"), "--only", "darwin-x64"];
      const said = output(["unshare", "--net", ...script, "--out", relative(ROOT, out)], env);
      expect(said).toContain("- darwin-x64: not made: Failed to download 'bun-darwin-x64-v");
      const bill = `accesstoken-${manifest.version}.cdx.json`;
      expect(readdirSync(out).toSorted()).toEqual(["SHA256SUMS", bill, "release-notes.md"].toSorted());
      expect(readFileSync(join(out, "release-notes.md"), "utf8")).toContain("- darwin-x64: not made");
      expect(readFileSync(join(out, bill), "utf8")).toBe(billOfMaterials(1_790_000_000));
      output(["sh", "-c", `cd ${out} && sha256sum --check --strict SHA256SUMS`]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  120_000,
);

test("a build in another folder is the same to the byte", () => {
  // Beside the other one, so that packages can be linked in the place of being copied.
  const folder = mkdtempSync(join(ROOT, "dist/again-"));
  try {
    for (const path of ["src", "docs", "drizzle", "package.json", "bun.lock", "bunfig.toml", "tsconfig.json"])
      cpSync(join(ROOT, path), join(folder, path), { recursive: true });
    Bun.spawnSync(["cp", "-rl", join(ROOT, "node_modules"), folder]);
    const [, build = ""] = manifest.scripts.build.split(" && ");
    const command = build.replace(/^bun /, `${process.execPath} `);
    const child = Bun.spawnSync(["sh", "-c", command], { cwd: folder });
    expect([child.exitCode, existsSync(join(folder, "dist/accesstoken"))]).toEqual([0, true]);
    const digest = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
    // Different from a binary that is older than its sources, too: run `bun run build`.
    expect(digest(join(folder, "dist/accesstoken"))).toBe(digest(binary()[0]!));
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 240_000);
