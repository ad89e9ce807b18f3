import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { EventBus } from "../../src/events.ts";
import { mergeSnapshots } from "../../src/ops/exposition.ts";
import { ServiceMetrics } from "../../src/ops/service-metrics.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { Harness, WX } from "../support/harness.ts";
import { parseExposition } from "./prometheus-text.ts";

/** A service, and a second connection to its database: what a disk or an operator does to it. */
async function setup() {
  const world = await Harness.create();
  const other = new Database(world.databasePath, { readwrite: true });
  const readiness = async () => {
    // Past what is believed of the last look.
    world.clock.advance(1000);
    const { status, msg, data } = await world.get("/readyz");
    const parts = (data["reasons"] as { part: string }[]).map(({ part }) => part);
    return { status, msg, parts };
  };
  const failures = async () => {
    const text = await (await fetch(`${world.service.url}/metrics`)).text();
    return parseExposition(text).value("accesstoken_audit_failures_total");
  };
  const dispose = async () => {
    other.close();
    await world[Symbol.asyncDispose]();
  };
  return { world, other, readiness, failures, [Symbol.asyncDispose]: dispose };
}

const FAULTS = [
  [
    "a table that takes no rows",
    "CREATE TRIGGER broken BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'broken'); END",
    "DROP TRIGGER broken",
  ],
  [
    "a table that is gone",
    "ALTER TABLE audit_entries RENAME TO moved",
    "ALTER TABLE moved RENAME TO audit_entries",
  ],
  ["an end that is gone", "ALTER TABLE audit_ends RENAME TO moved", "ALTER TABLE moved RENAME TO audit_ends"],
] as const;

test.each(FAULTS)(
  "P7: with %s what must be audited is refused, reads go on, /readyz and a metric say so, and it heals",
  async (_what, breakIt, mendIt) => {
    await using t = await setup();
    const read = () => t.world.get("/AccessToken/getXcx", { appid: WX.appId });
    const token = (await read()).data["access_token"];
    expect([await t.readiness(), await t.failures()]).toMatchObject([{ status: 200, parts: [] }, 0]);

    t.other.run(breakIt);
    expect(await t.world.administer("/v1/audit/export")).toMatchObject({ status: 503, code: 503 });
    const { status, msg, parts } = await t.readiness();
    expect([status, parts]).toEqual([503, ["audit"]]);
    expect(msg).toContain("审计无法写入");
    expect(await t.failures()).toBe(1);
    expect(await read()).toMatchObject({ code: 0, data: { access_token: token } });
    expect((await t.world.get("/livez")).status).toBe(200);
    expect(await t.readiness()).toMatchObject({ status: 503, parts: ["audit"] });
    expect(t.world.events).toContainEqual({
      type: "audit.failed",
      code: "store_unusable",
      errmsg: expect.stringContaining("SQL"),
    });
    // To look whether it works again is no failure.
    expect(await t.failures()).toBe(1);

    t.other.run(mendIt);
    expect(await t.readiness()).toMatchObject({ status: 200, parts: [] });
    expect((await t.world.service.handle(new Request("http://localhost/v1/audit/export"))).status).toBe(200);
    expect((await t.world.administer("/v1/audit/verify")).data).toMatchObject({ intact: true, entries: 1 });
    expect(await t.failures()).toBe(1);
  },
);

test("denials are counted by the code that was answered, under their former name too", async () => {
  const metrics = new ServiceMetrics({
    queueFigures: async () => ({ waiting: 0, dead: 0, oldestAt: undefined }),
    worker: "1",
    version: "1.0.0",
    appCount: () => 0,
    listApps: () => [],
    clock: new ManualClock(),
    makesBackups: false,
    listLives: () => Promise.resolve([]),
    listBlocked: () => Promise.resolve([]),
    countWaitingLogins: () => Promise.resolve(0),
    isConfigured: () => true,
    isHeldApp: () => true,
    countListeners: () => ({ streams: 0, sessions: 0 }),
    platforms: async () => [],
    index: () => ({ credentialCounts: async () => [], fullestQuotas: async () => [] }),
    lastAuditId: async () => 0,
    milestones: { list: async () => new Map() },
    cluster: () => ({ nodes: 1, offsetMs: 0, isListening: undefined }),
  });
  const events = new EventBus();
  events.subscribe(metrics.listen);
  const denial = { traceId: "t", route: "/v1/apps", client: "", address: "10.0.0.8", errmsg: "no" };
  for (const code of [401, 401, 40125]) events.emit({ type: "access.denied", code, ...denial });
  const text = parseExposition(mergeSnapshots([await metrics.snapshot()]));
  for (const name of ["accesstoken_denials_total", "accesstoken_refusals_total"]) {
    expect(text.value(name, { code: "401" })).toBe(2);
    expect(text.value(name, { code: "40125" })).toBe(1);
    expect(text.value(name, { code: "429" })).toBe(0);
  }
  expect(text.value("accesstoken_audit_failures_total")).toBe(0);
});
