import { expect } from "bun:test";
import { hostname } from "node:os";
import { Harness } from "../support/harness.ts";
import { postgresTest as test } from "../support/postgres-server.ts";
import { VERSION } from "../../src/version.ts";
import { ClusterServices } from "./cluster-services.ts";

type Shown = Record<string, unknown>;

test("every node lists all of them: who is there, who died and what each holds; one that stops is off the list", async () => {
  await using it = await ClusterServices.start(2);
  await it.database
    .unsafe(`INSERT INTO nodes SELECT 'dead', host, 0, version, key_ids, started_at, seen_at - 10000, 0, 0
    FROM nodes LIMIT 1`);
  const list = async () => (await it.manage("/v1/nodes"))["nodes"] as Shown[];
  const live = async () => (await list()).filter(({ state }) => state === "live");
  expect((await list()).find(({ node }) => node === "dead")).toMatchObject({ state: "gone" });
  await Harness.until(async () => (await live()).every(({ changes }) => changes === "listening"));
  const [a, b] = await live();
  for (const each of [a, b])
    expect(each).toMatchObject({
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      key_ids: [expect.stringMatching(/^[0-9a-f]{8}$/)],
      clock_offset_ms: expect.any(Number),
    });
  expect(a!["node"]).not.toBe(b!["node"]);
  await it.services[1]!.stop("test");
  expect(await live()).toHaveLength(1);
});

test("metrics show the nodes, the offset of the clock, whether notifications arrive, queries, and how late changes are seen", async () => {
  await using it = await ClusterServices.start(2);
  const [a, b] = it.services;
  await it.counted(it.services, 2);
  await Harness.until(
    async () => (await it.metrics(b!)).value("accesstoken_listen_up", { worker: "1" }) === 1,
  );
  const before = await it.metrics(b!);
  // The first change of all makes the row whose changes are timed.
  for (const client of ["bot", "crm"])
    await it.manage("/v1/clients", { client, environment: "dev", grants: [] });
  await Harness.until(async () => (await it.metrics(b!)).value("accesstoken_change_delay_seconds_count") > 0);
  const after = await it.metrics(b!);
  for (const operation of ["read", "poll"]) {
    const count = { operation };
    const name = "accesstoken_store_duration_seconds_count";
    expect(after.value(name, count)).toBeGreaterThan(before.value(name, count));
  }
  expect(
    (await it.metrics(a!)).value("accesstoken_store_duration_seconds_count", { operation: "write" }),
  ).toBeGreaterThan(0);
  for (const code of ["away", "deadline", "busy", "refused"])
    expect(after.series).toContainEqual({
      name: "accesstoken_store_errors_total",
      labels: { code },
      value: 0,
    });
  // The services' clock stands at another day.
  expect(Math.abs(after.value("accesstoken_store_clock_offset_seconds", { worker: "1" }))).toBeGreaterThan(
    30,
  );
  expect(it.events.some(({ type }) => type === "clock.skewed")).toBeTrue();
});
