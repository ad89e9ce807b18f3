import { test as declared } from "bun:test";
import { fakeTime, hasFakeTime, NO_FAKE_TIME } from "../support/fake-time.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { ClusterHarness } from "./cluster-harness.ts";
import { cutNodes, LIFE_SECONDS, restartedDatabase, wrongClocks } from "./outages.ts";

test("N08, P4: nodes that are cut from the database go on with what they had, are not ready, and catch up", async () => {
  await using cluster = await ClusterHarness.create();
  await cutNodes(cluster, { cutMs: 5000, silentMs: 25_000, cutOffAfterMs: 15_000 });
}, 240_000);

test("N09, P4: a restart of the database fails no warm read, and the service recovers by itself", async () => {
  const server = await PostgresServer.start();
  await using cluster = await ClusterHarness.create({ server });
  await restartedDatabase(cluster, { count: 1, perSecond: 500, downMs: 1000 });
  server.stop();
}, 240_000);

test("a node that starts while others keep the database busy waits for it", async () => {
  await using cluster = await ClusterHarness.create();
  await cluster.start(1);
  await using other = cluster.server.connect(new URL(cluster.databaseUrl).pathname.slice(1));
  await other.unsafe("SELECT pg_advisory_lock(6112014)");
  const starting = cluster.start(1);
  // Longer than one transaction waits for all others.
  await Bun.sleep(5000);
  await other.unsafe("SELECT pg_advisory_unlock(6112014)");
  await starting;
}, 240_000);

const clockTest = hasFakeTime ? test : declared.skip;
if (!hasFakeTime) console.error(NO_FAKE_TIME);

clockTest(
  "N11, P2: where the clocks of nodes and database differ no token is handed out past its end",
  async () => {
    const server = await PostgresServer.start({}, fakeTime({ offset: "+30s" }));
    await using cluster = await ClusterHarness.create({
      server,
      apps: 3,
      sandbox: { tokenLifeSeconds: LIFE_SECONDS },
    });
    await wrongClocks(cluster, { nodes: ["-60s", "+60s"], lives: 1 });
    server.stop();
  },
  240_000,
);
