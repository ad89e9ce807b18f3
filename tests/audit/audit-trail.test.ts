import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { isAuditFailure } from "../../src/audit/audit-entry.ts";
import type { AuditStore } from "../../src/audit/audit-store.ts";
import { AuditTrail, type AuditTrailParts } from "../../src/audit/audit-trail.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { appendAtOnce, entryOf } from "../support/audit-entries.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";
import { StoreFolder } from "../support/store-folder.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A trail on a real database, which others can break and mend. */
async function setup(options: Partial<AuditTrailParts> = {}) {
  const clock = new ManualClock();
  const files = new StoreFolder(clock);
  const events = new EventBus();
  const heard: ServiceEvent[] = [];
  events.subscribe((event) => heard.push(event));
  const store = await files.open({ onAuditFailed: (code) => events.emit({ type: "audit.failed", code }) });
  const parts = { store: store.audit, clock, events, workers: 1, retentionDays: 180, prunes: true };
  const trail = new AuditTrail({ ...parts, ...options });
  events.subscribe(trail.listen);
  const other = new Database(files.path, { readwrite: true });
  const breakTable = (table: string) =>
    other.run(
      `CREATE TRIGGER broken_${table} BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'broken'); END`,
    );
  const mendTable = (table: string) => other.run(`DROP TRIGGER broken_${table}`);
  const failures = () => heard.filter(({ type }) => type === "audit.failed");
  const dispose = () => {
    other.close();
    files[Symbol.dispose]();
  };
  return {
    clock,
    files,
    audit: store.audit,
    trail,
    heard,
    failures,
    other,
    breakTable,
    mendTable,
    [Symbol.dispose]: dispose,
  };
}

const ONE = { client: "one", environment: "dev" };
const REFUSED = { address: "203.0.113.7", client: "", route: "/v1/apps", code: 401 };

test("P7: what is recorded is in the audit, and nothing is wrong with it", async () => {
  using it = await setup();
  await it.trail.record(entryOf({ client: "one" }));
  expect(await it.audit.list({}, { limit: 10 })).toMatchObject([{ id: 1, client: "one" }]);
  expect(await it.trail.fault()).toBeUndefined();
  expect(it.heard).toEqual([]);
});

test("P7: an entry that can't be written is an error, an event and a fault, until it can be written again", async () => {
  using it = await setup();
  it.breakTable("audit_entries");
  expect(isAuditFailure(await failureOf(it.trail.record(entryOf())))).toBeTrue();
  expect(it.failures()).toEqual([{ type: "audit.failed", code: "store_unusable" }]);
  expect(await it.trail.fault()).toContain("审计无法写入");

  it.clock.advance(1000);
  expect(await it.trail.fault()).toContain("SQLITE_CONSTRAINT_TRIGGER");
  it.mendTable("audit_entries");
  // It has just been looked at.
  expect(await it.trail.fault()).toBeDefined();
  it.clock.advance(1000);
  expect(await it.trail.fault()).toBeUndefined();
  await it.trail.record(entryOf());
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 1 });
  expect(it.failures()).toHaveLength(1);
});

test("P7: a table that is gone is a fault, and its return is the end of it", async () => {
  using it = await setup();
  it.other.run("ALTER TABLE audit_ends RENAME TO moved");
  expect(isAuditFailure(await failureOf(it.trail.record(entryOf())))).toBeTrue();
  it.clock.advance(1000);
  expect(await it.trail.fault()).toBeDefined();
  it.other.run("ALTER TABLE moved RENAME TO audit_ends");
  it.clock.advance(1000);
  expect(await it.trail.fault()).toBeUndefined();
});

test("P7: an entry that comes while another process holds the database is an error, not a gap", async () => {
  using it = await setup();
  it.other.run("BEGIN IMMEDIATE");
  expect(isAuditFailure(await failureOf(it.trail.record(entryOf())))).toBeTrue();
  expect(it.failures()).toEqual([{ type: "audit.failed", code: "unavailable" }]);
  it.other.run("ROLLBACK");
  it.clock.advance(1000);
  expect(await it.trail.fault()).toBeUndefined();
});

test("a failure in somebody else's transaction is a fault too", async () => {
  using it = await setup();
  it.breakTable("audit_entries");
  await it.audit.append(entryOf()).catch(() => undefined);
  expect(await it.trail.fault()).toBeDefined();
});

test("while the audit can't be written, many who ask cost one look a second, which leaves nothing behind", async () => {
  let probes = 0;
  using it = await setup();
  const store = {
    append: () => Promise.reject(new Error("broken")),
    probe: async () => {
      probes += 1;
      throw new Error("broken");
    },
  };
  const events = new EventBus();
  const parts = { clock: it.clock, events, workers: 1, retentionDays: 1, prunes: false };
  const trail = new AuditTrail({ ...parts, store: store as unknown as AuditStore });
  events.subscribe(trail.listen);
  await trail.record(entryOf()).catch(() => undefined);
  for (let second = 0; second < 3; second++) {
    await Promise.all(Array.from({ length: 20 }, () => trail.fault()));
    expect(probes).toBe(second);
    it.clock.advance(1000);
  }
  const tables = ["audit_entries", "audit_ends", "audit_reads", "audit_refusals"];
  await it.audit.probe();
  for (const table of tables) expect(it.other.query(`SELECT * FROM ${table}`).all()).toEqual([]);
});

test("P7: reads are counted per client, environment, action, app and minute", async () => {
  using it = await setup();
  const start = it.clock.now();
  for (let round = 0; round < 3; round++) it.trail.countRead(ONE, "token:read", "wx1");
  it.trail.countRead(ONE, "token:read", "wx2");
  it.trail.countRead(ONE, "ticket:read", "wx1");
  it.trail.countRead({ client: "two", environment: "dev" }, "token:read", "wx1");
  await it.trail.tick();
  it.clock.advance(MINUTE_MS);
  it.trail.countRead(ONE, "token:read", "wx1");
  await it.trail.tick();
  await it.trail.tick();
  const read = { ...ONE, action: "token:read", app: "wx1" };
  const counted = await it.audit.listReads({}, { limit: 10 });
  expect(counted).toHaveLength(5);
  expect(counted).toContainEqual({ minute: start, ...read, count: 3 });
  expect(counted).toContainEqual({ minute: start, ...read, app: "wx2", count: 1 });
  expect(counted).toContainEqual({ minute: start, ...read, action: "ticket:read", count: 1 });
  expect(counted).toContainEqual({ minute: start, ...read, client: "two", count: 1 });
  expect(counted).toContainEqual({ minute: start + MINUTE_MS, ...read, count: 1 });
});

test("P7: refusals are counted per address, client, route, code and minute", async () => {
  using it = await setup();
  const minute = it.clock.now();
  it.trail.countRefusal(REFUSED);
  await it.trail.tick();
  it.trail.countRefusal(REFUSED);
  it.trail.countRefusal({ ...REFUSED, code: 403, client: "one" });
  await it.trail.tick();
  const counted = await it.audit.listRefusals({}, { limit: 10 });
  expect(counted).toHaveLength(2);
  expect(counted).toContainEqual({ minute, ...REFUSED, count: 2 });
  expect(counted).toContainEqual({ minute, ...REFUSED, code: 403, client: "one", count: 1 });
});

test("P7: of ten thousand addresses that are refused in a minute a thousand rows are kept, and none is left out of the sum", async () => {
  using it = await setup();
  const minute = it.clock.now();
  for (let round = 0; round < 10_000; round++) {
    const code = round % 2 === 0 ? 401 : 429;
    it.trail.countRefusal({ ...REFUSED, address: `10.0.${round >> 8}.${round & 255}`, code });
    if (round % 1000 === 0) await it.trail.tick();
  }
  // One that is told apart already goes on to be.
  it.trail.countRefusal({ ...REFUSED, address: "10.0.0.0" });
  await it.trail.tick();
  const counted = await it.audit.listRefusals({}, { limit: 2000 });
  expect(counted.length).toBeWithin(900, 1001);
  expect(counted.reduce((sum, { count }) => sum + count, 0)).toBe(10_001);
  expect(counted.find(({ address }) => address === "10.0.0.0")?.count).toBe(2);
  const sums = counted.filter(({ address }) => address === "*");
  expect(new Set(sums.map(({ code }) => code))).toEqual(new Set([401, 429]));
  expect(sums).toMatchObject([
    { minute, client: "", route: "*" },
    { minute, client: "", route: "*" },
  ]);
  // The next minute begins anew.
  it.clock.advance(MINUTE_MS);
  it.trail.countRefusal({ ...REFUSED, address: "10.9.9.9" });
  await it.trail.tick();
  expect(await it.audit.listRefusals({ since: it.clock.now() }, { limit: 10 })).toMatchObject([
    { address: "10.9.9.9" },
  ]);
});

test("P7: the rows of refusals are divided among the workers", async () => {
  using it = await setup({ workers: 4 });
  for (let round = 0; round < 1000; round++) {
    it.trail.countRefusal({ ...REFUSED, address: `10.0.${round >> 8}.${round & 255}` });
  }
  await it.trail.tick();
  const rows = await it.audit.listRefusals({}, { limit: 2000 });
  expect(rows.length).toBeWithin(225, 251);
});

test("P7: counts that can't be written are a fault, kept, and written when they can be", async () => {
  using it = await setup();
  it.breakTable("audit_reads");
  it.trail.countRead(ONE, "token:read", "wx1");
  it.trail.countRefusal(REFUSED);
  await it.trail.tick();
  await it.trail.tick();
  expect(it.failures()).toHaveLength(2);
  expect(await it.audit.listRefusals({}, { limit: 10 })).toMatchObject([{ count: 1 }]);
  it.clock.advance(1000);
  expect(await it.trail.fault()).toBeDefined();
  it.mendTable("audit_reads");
  it.clock.advance(1000);
  expect(await it.trail.fault()).toBeUndefined();
  it.trail.countRead(ONE, "token:read", "wx1");
  await it.trail.tick();
  expect(await it.audit.listReads({}, { limit: 10 })).toMatchObject([{ count: 2 }]);
});

test("counts that meet a locked database are no fault: they are written a moment later", async () => {
  using it = await setup();
  it.other.run("BEGIN IMMEDIATE");
  it.trail.countRead(ONE, "token:read", "wx1");
  await it.trail.tick();
  it.other.run("ROLLBACK");
  expect([it.failures(), await it.trail.fault()]).toEqual([[], undefined]);
  await it.trail.tick();
  expect(await it.audit.listReads({}, { limit: 10 })).toMatchObject([{ count: 1 }]);
});

test("P7: a long failure costs little memory, and loses detail but no count", async () => {
  using it = await setup();
  it.breakTable("audit_reads");
  it.breakTable("audit_refusals");
  const apps = 600;
  for (let minute = 0; minute < 20; minute++) {
    for (let app = 0; app < apps; app++) {
      it.trail.countRead(ONE, "token:read", `wx${app}`);
      it.trail.countRefusal({ ...REFUSED, address: `10.0.${app >> 8}.${app & 255}` });
    }
    await it.trail.tick();
    it.clock.advance(MINUTE_MS);
  }
  it.mendTable("audit_reads");
  it.mendTable("audit_refusals");
  await it.trail.tick();
  const reads = await it.audit.listReads({}, { limit: 20_000 });
  const refusals = await it.audit.listRefusals({}, { limit: 20_000 });
  for (const rows of [reads, refusals]) {
    expect(rows.length).toBeLessThanOrEqual(10_000);
    expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(20 * apps);
    // The time is kept.
    expect(new Set(rows.map(({ minute }) => minute)).size).toBe(20);
  }
  expect(reads.find(({ app }) => app === "*")).toMatchObject({ ...ONE, action: "token:read", count: apps });
  expect(refusals.find(({ address }) => address === "*")).toMatchObject({
    route: "*",
    code: 401,
    count: apps,
  });
});

test("what is counted is written every second by itself, and the rest when it stops", async () => {
  using it = await setup();
  it.trail.start();
  it.trail.countRead(ONE, "token:read", "wx1");
  const count = async () => (await it.audit.listReads({}, { limit: 1 }))[0]?.count;
  for (const end = performance.now() + 10_000; (await count()) !== 1; await Bun.sleep(20)) {
    if (performance.now() > end) throw new Error("it was never written");
  }
  it.trail.countRead(ONE, "token:read", "wx1");
  await it.trail.stop();
  expect(await count()).toBe(2);
});

test("P7: entries are kept for as long as it is said, and how many were dropped is an entry", async () => {
  using it = await setup({ retentionDays: 2 });
  for (let day = 0; day < 4; day++) {
    await it.trail.record(entryOf({ detail: { day } }));
    it.clock.advance(DAY_MS);
  }
  await it.trail.tick();
  const records = await it.audit.listForward({}, { limit: 10, after: 0 });
  const before = it.clock.now() - 2 * DAY_MS;
  expect(records.map(({ detail }) => detail)).toEqual([{ day: 2 }, { day: 3 }, { entries: 2, before }]);
  expect(records.at(-1)).toMatchObject({ client: "(service)", action: "audit.pruned", outcome: "ok" });
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 3 });
});

test("P7: what is too old is dropped at the start and then every hour, however much there is", async () => {
  using it = await setup({ retentionDays: 1 });
  await appendAtOnce(it.files, 1200, () => entryOf());
  const ids = async () => (await it.audit.listForward({}, { limit: 2000, after: 0 })).map(({ id }) => id);
  await it.trail.tick();
  expect(await ids()).toHaveLength(1200);
  it.trail.countRead(ONE, "token:read", "wx1");
  it.clock.advance(DAY_MS + MINUTE_MS);
  await it.trail.tick();
  expect(await ids()).toEqual([1201]);
  expect(await it.audit.listReads({}, { limit: 10 })).toEqual([]);
  // The wall clock alone makes nothing due.
  it.clock.jumpWall(DAY_MS + 1);
  await it.trail.tick();
  expect(await ids()).toEqual([1201]);
  it.clock.advance(HOUR_MS);
  await it.trail.tick();
  expect(await ids()).toEqual([1202]);
});

test("what can't be dropped just now is dropped a minute later", async () => {
  using it = await setup({ retentionDays: 1 });
  await it.trail.record(entryOf());
  it.clock.advance(2 * DAY_MS);
  it.other.run("BEGIN IMMEDIATE");
  await it.trail.tick();
  it.other.run("ROLLBACK");
  expect(it.heard).toEqual([]);
  const actions = async () => (await it.audit.list({}, { limit: 10 })).map(({ action }) => action);
  await it.trail.tick();
  expect(await actions()).toEqual(["credential.cleared"]);
  it.clock.advance(MINUTE_MS);
  await it.trail.tick();
  expect(await actions()).toEqual(["audit.pruned"]);
});

test("a process that is not the one that prunes drops nothing", async () => {
  using it = await setup({ retentionDays: 1, prunes: false });
  await it.trail.record(entryOf());
  it.clock.advance(10 * DAY_MS);
  await it.trail.tick();
  expect(await it.audit.list({}, { limit: 10 })).toMatchObject([{ id: 1 }]);
});

test("P7: an audit that was tampered with is not pruned beyond that, and is told of", async () => {
  using it = await setup({ retentionDays: 1 });
  for (let number = 0; number < 4; number++) await it.trail.record(entryOf());
  it.other.run("UPDATE audit_entries SET client = 'x' WHERE id = 3");
  it.clock.advance(10 * DAY_MS);
  await it.trail.tick();
  expect(it.heard).toEqual([{ type: "audit.broken", id: 3 }]);
  const records = await it.audit.listForward({}, { limit: 10, after: 0 });
  expect(records.map(({ id, action }) => [id, action])).toEqual([
    [3, "credential.cleared"],
    [4, "credential.cleared"],
    [5, "audit.pruned"],
  ]);
  expect(await it.trail.fault()).toBeUndefined();
});
