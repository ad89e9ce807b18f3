import { expect } from "bun:test";
import { join } from "node:path";
import { mustFail } from "../faults/fault-case.ts";
import { postgresTest as test } from "../support/postgres-server.ts";
import { ClusterHarness } from "./cluster-harness.ts";
import { killedHolders, stoppedHolder } from "./holders.ts";

const UNFENCED = [process.execPath, join(import.meta.dir, "without-fence.ts")];

test("N06: a node that is killed in the midst of a fetch holds up the others for no longer than its lease", async () => {
  await using cluster = await ClusterHarness.create();
  await killedHolders(cluster, { count: 3 });
}, 240_000);

test("N06, M4: one that is killed with a token of classic mode that nobody else has leaves the others to fetch the next", async () => {
  await using cluster = await ClusterHarness.create({ apps: 3, mode: "classic" });
  await killedHolders(cluster, { count: 2, isIssued: true });
}, 240_000);

for (const mode of ["classic", "stable"] as const) {
  test(`N07, P5: what a node saves that was stopped for longer than its leases stands nowhere: ${mode}`, async () => {
    await using cluster = await ClusterHarness.create({ apps: 50, mode });
    await stoppedHolder(cluster, { stopMs: 12_000 });
  }, 240_000);
}

test("N18: a node without the fence fails N07", async () => {
  await using cluster = await ClusterHarness.create({ apps: 10, mode: "classic" });
  const check = () => stoppedHolder(cluster, { stopMs: 12_000, holder: UNFENCED });
  expect(await mustFail("saves without a fence", check)).toContain("overtaken");
}, 240_000);
