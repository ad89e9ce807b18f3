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
  {
    name: "300 kills while the database is backed up, and restored on both engines",
    file: "tests/binary/backup-kills.test.ts",
    env: { BACKUP_KILLS: "100" },
  },
  {
    name: "20 changes of the master key of three nodes",
    file: "tests/cluster/rotation.test.ts",
    env: { ROTATION_ROUNDS: "20" },
  },
  {
    name: "ten failovers each way",
    file: "tests/cluster/failover.test.ts",
    env: { FAILOVERS: "10" },
  },
  {
    name: "an upgrade under load for a minute",
    file: "tests/cluster/upgrade.test.ts",
    env: { UPGRADE_SECONDS: "60" },
  },
  { name: "50,000 requests of any kind", file: "tests/http/fuzz.test.ts", env: { FUZZ_BATCHES: "2000" } },
  {
    name: "1,000 pushes while the service is killed 50 times",
    file: "tests/binary/push-kills.test.ts",
    env: { PUSH_KILLS: "50" },
  },
  {
    name: "10,000 requests to a callback URL",
    file: "tests/callbacks/fuzzed-pushes.test.ts",
    env: { PUSH_FUZZ_BATCHES: "400" },
  },
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
