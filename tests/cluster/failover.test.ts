import { postgresTest as test } from "../support/postgres-server.ts";
import { asynchronousFailover, FailoverCluster, synchronousFailover } from "./failover.ts";

/** How often a failover is made each way. */
const COUNT = Number(process.env["FAILOVERS"] ?? 1);

test(
  "N10, P3: nothing that was acknowledged is lost by a failover to a synchronous standby",
  async () => {
    for (let n = 0; n < COUNT; n++) {
      await using it = await FailoverCluster.start({ apps: 20, isSynchronous: true });
      await synchronousFailover(it);
    }
  },
  COUNT * 240_000,
);

test(
  "N10, P5: after a failover that has lost a hundred changes nodes store what they had, agree, and say what is lost",
  async () => {
    for (let n = 0; n < COUNT; n++) {
      await using it = await FailoverCluster.start({ apps: 50, isSynchronous: false });
      await asynchronousFailover(it);
    }
  },
  COUNT * 240_000,
);
