import { expect } from "bun:test";
import { join } from "node:path";
import { mustFail } from "../faults/fault-case.ts";
import { Harness } from "../support/harness.ts";
import { Pgbouncer, pgbouncerTest } from "../support/pgbouncer.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";
import { ClusterHarness } from "./cluster-harness.ts";
import { auditedChanges, coldCallers, lostNotifications, seenChanges } from "./sharing.ts";

const WITHOUT_CATCH_UP = [process.execPath, join(import.meta.dir, "without-catch-up.ts")];

// What is measured here is measured beside other tests: the bounds that no change may exceed are those of the service,
// the medians are its own ten times over. The benchmark has the figures.

test("N01, P1: a thousand callers of three nodes, one of them far from the database, cost one upstream call for each app", async () => {
  await using cluster = await ClusterHarness.create();
  const nodes = await cluster.start(3);
  nodes[2]!.line.delay(2);
  const [one = "", ...others] = cluster.apps;
  await coldCallers(cluster, nodes, { apps: [one], callers: 1000 });
  await coldCallers(cluster, nodes, { apps: others, callers: 1000 });
}, 240_000);

test("N02: what one node clears, replaces, revokes or disables is handed out by no other a moment later", async () => {
  await using cluster = await ClusterHarness.create({ apps: 50 });
  const nodes = await cluster.start(3);
  await seenChanges(cluster, nodes, { count: 100, medianMs: 200 });
}, 240_000);

pgbouncerTest(
  "N05: the same is so behind a pooler that hands out connections by the transaction",
  async () => {
    using bouncer = await Pgbouncer.start(await PostgresServer.shared());
    await using cluster = await ClusterHarness.create({ apps: 50, entrance: (url) => bouncer.through(url) });
    const nodes = await cluster.start(3);
    await coldCallers(cluster, nodes, { apps: cluster.apps.slice(0, 20), callers: 1000 });
    await seenChanges(cluster, nodes, { count: 50, medianMs: 350 });
    for (const { service } of nodes) await service.find(/DATABASE_LISTEN_URL/);
  },
  240_000,
);

test("N03: a change is seen in time when the connections that would have told of it are killed", async () => {
  await using cluster = await ClusterHarness.create();
  const nodes = await cluster.start(3);
  await lostNotifications(cluster, nodes, { count: 5 });
}, 240_000);

test("N18: nodes that believe in notifications alone fail N03", async () => {
  await using cluster = await ClusterHarness.create();
  const nodes = [...(await cluster.start(1)), ...(await cluster.start(2, {}, WITHOUT_CATCH_UP))];
  const check = () => lostNotifications(cluster, nodes, { count: 5 });
  expect(await mustFail("changes are looked for after notifications alone", check)).toContain("not known");
}, 240_000);

test("N13, P7: changes that three nodes make at once are one chain of the audit, and it verifies", async () => {
  await using cluster = await ClusterHarness.create();
  const nodes = await cluster.start(3);
  await auditedChanges(cluster, nodes, { each: 300 });
}, 240_000);

test("every node knows who else is here, and they share the limit of an address among them", async () => {
  await using cluster = await ClusterHarness.create();
  const nodes = await cluster.start(3, {
    ANONYMOUS_RATE_LIMIT: "3",
    TRUSTED_PROXIES: "127.0.0.1/32",
    TRUSTED_NETWORKS: "127.0.0.0/8,10.0.0.0/8",
  });
  const list = async () => {
    const child = cluster.run(["nodes", "--json"], cluster.variables);
    expect(await child.exited()).toBe(0);
    const { nodes: all } = JSON.parse(child.stdout) as { nodes: Record<string, unknown>[] };
    return all.filter(({ state }) => state === "live");
  };
  await Harness.until(async () => (await list()).length === 3);
  for (const node of await list()) {
    expect(node).toMatchObject({ version: expect.any(String), key_ids: [expect.any(String)] });
    expect(Math.abs(Number(node["clock_offset_ms"]))).toBeLessThan(5000);
  }
  // Thirty at once over three nodes are ten at each.
  const [app = ""] = cluster.apps;
  let round = 0;
  await Harness.until(async () => {
    // Each round from another address, which has called nothing yet.
    const headers = { "x-forwarded-for": `10.0.0.${++round}` };
    const call = () => ask(nodes[0]!.url, "/AccessToken/getXcx", { appid: app }, { headers });
    let admitted = 0;
    while (admitted < 100 && (await call()).code === 0) admitted++;
    return admitted >= 10 && admitted <= 15;
  });
  nodes[2]!.service.signal("SIGKILL");
  await Harness.until(async () => (await list()).length === 2, 20_000);
}, 240_000);
