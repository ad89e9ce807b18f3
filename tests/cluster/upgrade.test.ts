import { postgresTest as test } from "../support/postgres-server.ts";
import { ClusterHarness } from "./cluster-harness.ts";
import { refusedVersion, rolledUpgrade } from "./upgrade.ts";

const SECONDS = Number(process.env["UPGRADE_SECONDS"] ?? 8);

test(
  "N15, P4: while nodes are replaced one after the other by a version with a migration, no request fails",
  async () => {
    await using cluster = await ClusterHarness.create();
    await rolledUpgrade(cluster, { seconds: SECONDS, perSecond: 20 });
  },
  180_000 + SECONDS * 1000,
);

test("N15: a version that an older one must not run beside ends the older, whose start is refused in one line", async () => {
  await using cluster = await ClusterHarness.create();
  await refusedVersion(cluster);
}, 240_000);
