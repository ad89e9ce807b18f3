import { join } from "node:path";
import { type FaultCase, must, type Outcome } from "./fault-case.ts";

const ROOT = join(import.meta.dir, "../..");

/** Tests of which every change runs a part, and how each is told to run whole. */
const SWEEPS = [
  {
    name: "120 kills while the master key is changed",
    file: "tests/store/rotation-kill.test.ts",
    env: { ROTATION_DELAYS: "20" },
  },
  { name: "50,000 requests of any kind", file: "tests/http/fuzz.test.ts", env: { FUZZ_BATCHES: "2000" } },
  {
    name: "every damage to every column",
    file: "tests/property/damaged-cells.test.ts",
    env: { DAMAGED_CELLS: "all" },
  },
] as const;

/** The same tests as for every change, from end to end. */
export function sweepCases(): FaultCase[] {
  return SWEEPS.map(({ name, file, env }) => ({ name: `sweep: ${name}`, run: () => sweep(file, env) }));
}

async function sweep(file: string, env: Readonly<Record<string, string>>): Promise<Outcome> {
  await using child = Bun.spawn([process.execPath, "test", join(ROOT, file)], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  must(code === 0, (output + errors).slice(-2000));
  return { figures: /\d+ expect\(\) calls/.exec(errors)?.[0] ?? "" };
}
