import { expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");

/** The files of src that no longer pass the type checker when `removed` is gone. */
async function brokenWithout(removed: readonly string[]): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-removed-"));
  try {
    for (const name of ["src", "drizzle", "package.json"])
      cpSync(join(ROOT, name), join(folder, name), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    const { compilerOptions } = (await import("../tsconfig.json")) as { compilerOptions: object };
    await Bun.write(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions, include: ["src"], exclude: ["src/console/web"] }),
    );
    for (const path of removed) rmSync(join(folder, path), { recursive: true });
    const check = Bun.spawn([process.execPath, "check", "--no-script"], {
      cwd: folder,
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err] = await Promise.all([
      new Response(check.stdout).text(),
      new Response(check.stderr).text(),
      check.exited,
    ]);
    const faults = [...`${out}\n${err}`.matchAll(/^(\S+)\(\d+,\d+\): error/gm)].map(([, file = ""]) => file);
    return [...new Set(faults)].toSorted();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("without any removal the scratch copy has no fault", async () => {
  expect(await brokenWithout([])).toEqual([]);
});

/** The feature, its one file of HTTP shapes, and the adapter that implements its port. */
const GATEWAY = [
  "src/gateway",
  "src/api/gateway.ts",
  "src/upstream/http-forwarder.ts",
  "src/upstream/forward-streams.ts",
];

test("the gateway can be deleted with its adapter and its one file of HTTP shapes, and only the composition has to change", async () => {
  expect(await brokenWithout(GATEWAY)).toEqual(["src/service.ts"]);
});
