import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { AuditFailure } from "../../src/audit/audit-entry.ts";
import { AuditTrail } from "../../src/audit/audit-trail.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { allEntries, appendAtOnce, DENIAL, entryOf } from "../support/audit-entries.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";
import { StoreFolder } from "../support/store-folder.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A trail on a real database, which others can break and mend. */
async function setup({ retentionDays = 180 } = {}) {
  const clock = new ManualClock();
  const files = new StoreFolder(clock);
  const events = new EventBus();
  const heard: ServiceEvent[] = [];
  events.subscribe((event) => heard.push(event));
  const store = await files.open({
    onAuditFailed: ({ code }) => events.emit({ type: "audit.failed", code }),
  });
  const open = (audit = store.audit) => new AuditTrail(audit, clock, events, retentionDays);
  const trail = open();
  const other = new Database(files.path, { readwrite: true });
  const breakTable = (table: string) =>
    other.run(
      `CREATE TRIGGER broken_${table} BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'broken'); END`,
    );
  const mendTable = (table: string) => other.run(`DROP TRIGGER broken_${table}`);
  const failures = () => heard.filter(({ type }) => type === "audit.failed");
  const dispose = async () => {
    await trail.stop();
    other.close();
    files[Symbol.dispose]();
  };
  return {
    clock,
    files,
    audit: store.audit,
    trail,
    /** The trail of another process. */
    beside: async () => open((await files.open()).audit),
    heard,
    failures,
    other,
    breakTable,
    mendTable,
    [Symbol.asyncDispose]: dispose,
  };
}

const ONE = { client: "one", environment: "dev" };
const PAGE = { limit: 10 };

test("P7: that entries are lost is recorded once, by whoever knows of most", async () => {
  await using it = await setup();
  const beside = await it.beside();
  for (let n = 1; n <= 4; n++) await it.trail.record(entryOf({ client: "kept" }));
  await it.trail.recordLoss(5, 9);
  await beside.recordLoss(5, 9);
  await beside.recordLoss(5, 8);
  const noted = () => it.audit.list({ action: "audit.lost" }, PAGE);
  expect((await noted()).map(({ detail }) => detail)).toEqual([{ from: 5, to: 9 }]);
  await beside.recordLoss(5, 12);
  // Another failover.
  await it.trail.recordLoss(7, 7);
  expect((await noted()).map(({ detail }) => detail)).toEqual([
    { from: 7, to: 7 },
    { from: 5, to: 12 },
    { from: 5, to: 9 },
  ]);
  it.breakTable("audit_entries");
  await it.trail.recordLoss(8, 20);
  expect(it.failures()).toHaveLength(1);
  await beside.stop();
});

test("P7: what is recorded is in the audit", async () => {
  await using it = await setup();
  await it.trail.record(entryOf({ client: "one" }));
  expect(await it.audit.list({}, PAGE)).toMatchObject([{ id: 1, client: "one" }]);
  expect(it.heard).toEqual([]);
});

test("P7: an entry that can't be written is an error and an event, once each, until it can be written again", async () => {
  await using it = await setup();
  it.breakTable("audit_entries");
  expect(await failureOf(it.trail.record(entryOf()))).toBeInstanceOf(AuditFailure);
  expect(it.failures()).toMatchObject([{ code: "store_unusable" }]);
  it.mendTable("audit_entries");
  await it.trail.record(entryOf());
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 1 });
  expect(it.failures()).toHaveLength(1);
});

test("P7: an entry that comes while another process holds the database is an error, not a gap", async () => {
  await using it = await setup();
  it.other.run("BEGIN IMMEDIATE");
  expect(await failureOf(it.trail.record(entryOf()))).toBeInstanceOf(AuditFailure);
  expect(it.failures()).toMatchObject([{ code: "unavailable" }]);
  it.other.run("ROLLBACK");
});

test("P7: usage is counted per client, environment, action, app and minute", async () => {
  await using it = await setup();
  const start = it.clock.now();
  for (let round = 0; round < 3; round++) it.trail.countUsage(ONE, "token:read", "wx1");
  it.trail.countUsage(ONE, "token:read", "wx2");
  it.trail.countUsage(ONE, "ticket:read", "wx1");
  it.trail.countUsage({ client: "two", environment: "dev" }, "token:read", "wx1");
  await it.trail.flush();
  it.clock.advance(MINUTE_MS);
  // For the same caller again, in the minute that it is now.
  it.trail.countUsage(ONE, "token:read", "wx1");
  await it.trail.flush();
  await it.trail.flush();
  const counted = (await it.audit.listUsage({}, PAGE)).map(({ id: _id, ...count }) => count);
  const one = { ...ONE, action: "token:read", app: "wx1" };
  expect(counted).toBeArrayOfSize(5);
  expect(counted).toEqual(
    expect.arrayContaining([
      { minute: start, ...one, count: 3 },
      { minute: start, ...one, app: "wx2", count: 1 },
      { minute: start, ...one, action: "ticket:read", count: 1 },
      { minute: start, ...one, client: "two", count: 1 },
      { minute: start + MINUTE_MS, ...one, count: 1 },
    ]),
  );
});

test("P7: denials are counted per address, client, route, code and minute", async () => {
  await using it = await setup();
  const minute = it.clock.now();
  it.trail.countDenial(DENIAL);
  await it.trail.flush();
  it.trail.countDenial(DENIAL);
  it.trail.countDenial({ ...DENIAL, code: 403, client: "one" });
  await it.trail.flush();
  const counted = (await it.audit.listDenials({}, PAGE)).map(({ id: _id, ...count }) => count);
  expect(counted).toBeArrayOfSize(2);
  expect(counted).toContainEqual({ minute, ...DENIAL, count: 2 });
  expect(counted).toContainEqual({ minute, ...DENIAL, code: 403, client: "one", count: 1 });
});

test("P7: counts that can't be written are reported, kept, and written when they can be", async () => {
  await using it = await setup();
  it.breakTable("counts");
  it.trail.countUsage(ONE, "token:read", "wx1");
  await it.trail.flush();
  await it.trail.flush();
  expect(it.failures()).toHaveLength(2);
  it.mendTable("counts");
  it.trail.countUsage(ONE, "token:read", "wx1");
  await it.trail.flush();
  expect(await it.audit.listUsage({}, PAGE)).toMatchObject([{ count: 2 }]);
});

test("counts that meet a locked database are no failure: they are written a moment later", async () => {
  await using it = await setup();
  it.other.run("BEGIN IMMEDIATE");
  it.trail.countUsage(ONE, "token:read", "wx1");
  await it.trail.flush();
  it.other.run("ROLLBACK");
  expect(it.failures()).toEqual([]);
  await it.trail.flush();
  expect(await it.audit.listUsage({}, PAGE)).toMatchObject([{ count: 1 }]);
});

test("what is counted is written within a second by itself, and the rest when it stops, and again after that", async () => {
  await using it = await setup();
  it.trail.countUsage(ONE, "token:read", "wx1");
  const count = async () => (await it.audit.listUsage({}, { limit: 1 }))[0]?.count;
  for (const end = performance.now() + 60_000; (await count()) !== 1; await Bun.sleep(20)) {
    if (performance.now() > end) throw new Error("it was never written");
  }
  for (let stop = 2; stop <= 3; stop++) {
    it.trail.countUsage(ONE, "token:read", "wx1");
    await it.trail.stop();
    expect(await count()).toBe(stop);
  }
});

test("P7: entries are kept for as long as it is said, and how many were dropped is an entry", async () => {
  await using it = await setup({ retentionDays: 2 });
  for (let day = 0; day < 4; day++) {
    await it.trail.record(entryOf({ detail: { day } }));
    it.clock.advance(DAY_MS);
  }
  await it.trail.prune();
  const records = await allEntries(it.audit);
  const before = it.clock.now() - 2 * DAY_MS;
  expect(records.map(({ detail }) => detail)).toEqual([{ day: 2 }, { day: 3 }, { entries: 2, before }]);
  expect(records.at(-1)).toMatchObject({ client: "(service)", action: "audit.pruned", outcome: "ok" });
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 3 });
});

test("P7: what is too old is dropped after a day and then every hour, but not while the clock has jumped within a day", async () => {
  await using it = await setup({ retentionDays: 1 });
  await appendAtOnce(it.files, 1200, () => entryOf());
  const ids = async () => (await allEntries(it.audit)).map(({ id }) => id);
  await it.trail.prune();
  expect(await ids()).toHaveLength(1200);
  it.trail.countUsage(ONE, "token:read", "wx1");
  await it.trail.flush();
  it.clock.advance(DAY_MS + MINUTE_MS);
  await it.trail.prune();
  expect(await ids()).toEqual([1201]);
  expect(await it.audit.listUsage({}, PAGE)).toEqual([]);
  expect(it.heard).toEqual([{ type: "audit.pruned", entries: 1200, before: it.clock.now() - DAY_MS }]);
  // The wall clock alone makes nothing due, nor does it make anything old.
  it.clock.jumpWall(DAY_MS + 1);
  await it.trail.prune();
  for (let hour = 0; hour < 24; hour++) {
    it.clock.advance(HOUR_MS);
    await it.trail.prune();
    expect(await ids()).toEqual([1201]);
  }
  it.clock.advance(HOUR_MS);
  await it.trail.prune();
  expect(await ids()).toEqual([1202]);
});

test("P7: fifty starts with a wrong clock lose no entry", async () => {
  await using it = await setup({ retentionDays: 1 });
  for (let number = 0; number < 10; number++) await it.trail.record(entryOf({ detail: { number } }));
  for (let start = 1; start <= 50; start++) {
    const wrongMs = start * 80 * DAY_MS * (start % 3 === 0 ? -1 : 1);
    it.clock.jumpWall(wrongMs);
    const trail = await it.beside();
    trail.start();
    for (let hour = 0; hour < 3; hour++) {
      await trail.prune();
      it.clock.advance(HOUR_MS / 2);
    }
    await trail.stop();
    it.clock.jumpWall(-wrongMs);
  }
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 10 });
});

test("P7: a service that is restarted every day prunes as one that runs on, but not after a long pause or a jump", async () => {
  await using it = await setup({ retentionDays: 1 });
  await it.trail.record(entryOf());
  /** Runs a process for so many hours, and tells how often it pruned. */
  const run = async (hours: number) => {
    const before = it.heard.length;
    const trail = await it.beside();
    trail.start();
    for (let hour = 0; hour < hours; hour++) {
      it.clock.advance(HOUR_MS);
      await trail.prune();
    }
    await trail.stop();
    return it.heard.length - before;
  };
  const wait = (ms: number) => it.clock.advance(ms);
  expect(await run(14)).toBe(0);
  wait(10 * MINUTE_MS);
  expect(await run(14)).toBe(1);
  await it.trail.record(entryOf());
  // Whoever was away for long, or comes with another time, begins anew.
  wait(3 * HOUR_MS);
  expect(await run(23)).toBe(0);
  it.clock.jumpWall(400 * DAY_MS);
  expect(await run(23)).toBe(0);
  it.clock.jumpWall(-400 * DAY_MS);
  expect(await run(23)).toBe(0);
  wait(MINUTE_MS);
  expect(await run(1)).toBe(1);
});

test("P7: a round drops a bounded number of entries, and the rest a minute later", async () => {
  await using it = await setup({ retentionDays: 1 });
  let rounds = 0;
  const endless = Object.assign(Object.create(it.audit) as typeof it.audit, {
    prune: async () => ({ entries: 1000, isDone: ++rounds === 70, fault: undefined }),
    claimPruning: async () => 0,
    steadyClock: async () => undefined,
    noteSteadyClock: async () => undefined,
    append: async () => undefined,
  });
  const trail = new AuditTrail(endless, it.clock, new EventBus(), 1);
  it.clock.advance(DAY_MS);
  await trail.prune();
  expect(rounds).toBe(50);
  await trail.prune();
  expect(rounds).toBe(50);
  it.clock.advance(MINUTE_MS);
  await trail.prune();
  expect(rounds).toBe(70);
});

test("what can't be dropped just now is dropped a minute later", async () => {
  await using it = await setup({ retentionDays: 1 });
  await it.trail.record(entryOf());
  it.clock.advance(2 * DAY_MS);
  it.other.run("BEGIN IMMEDIATE");
  await it.trail.prune();
  it.other.run("ROLLBACK");
  expect(it.heard).toEqual([]);
  const actions = async () => (await it.audit.list({}, { limit: 10 })).map(({ action }) => action);
  await it.trail.prune();
  expect(await actions()).toEqual(["credential.cleared"]);
  it.clock.advance(MINUTE_MS);
  await it.trail.prune();
  expect(await actions()).toEqual(["audit.pruned"]);
});

test("several processes prune once an hour together, and each of them goes on when the others end", async () => {
  await using it = await setup({ retentionDays: 1 });
  const others = [await it.beside(), await it.beside()];
  const all = [it.trail, ...others];
  const rounds: number[] = [];
  for (let hour = 0; hour < 3; hour++) {
    await it.trail.record(entryOf());
    it.clock.advance(2 * DAY_MS);
    await Promise.all(all.map((trail) => trail.prune()));
    const pruned = await it.audit.list({ action: "audit.pruned" }, PAGE);
    rounds.push(pruned.length);
    // The one that pruned need not be there at the next round.
    await all.pop()?.stop();
  }
  // An entry about pruning is dropped by the next round itself.
  expect(rounds).toEqual([1, 1, 1]);
});

test("a process whose turn comes within the hour does not prune again", async () => {
  await using it = await setup({ retentionDays: 1 });
  const late = await it.beside();
  it.clock.advance(DAY_MS);
  await it.trail.prune();
  it.clock.advance(HOUR_MS - 1);
  await late.prune();
  expect(await it.audit.claimPruning(HOUR_MS)).toBe(1);
  it.clock.advance(1);
  await late.prune();
  expect(await it.audit.claimPruning(HOUR_MS)).toBe(HOUR_MS);
});

test("P7: an audit that was tampered with is not pruned beyond that, and is told of", async () => {
  await using it = await setup({ retentionDays: 1 });
  for (let number = 0; number < 4; number++) await it.trail.record(entryOf());
  it.other.run("UPDATE audit_entries SET client = 'x' WHERE id = 3");
  it.clock.advance(10 * DAY_MS);
  await it.trail.prune();
  expect(it.heard).toMatchObject([
    { type: "audit.pruned", entries: 2 },
    { type: "audit.broken", id: 3 },
  ]);
  const records = await allEntries(it.audit);
  expect(records.map(({ id, action }) => [id, action])).toEqual([
    [3, "credential.cleared"],
    [4, "credential.cleared"],
    [5, "audit.pruned"],
  ]);
});

test("how long the clock has gone on is noted in whole milliseconds, which every engine keeps", async () => {
  await using it = await setup({ retentionDays: 1 });
  it.clock.advance(1234.567);
  await new AuditTrail(it.audit, it.clock, new EventBus(), 1).prune();
  it.clock.advance(0.21);
  const trail = new AuditTrail(it.audit, it.clock, new EventBus(), 1);
  it.clock.advance(2 * DAY_MS + 0.456);
  await trail.prune();
  const { since, notedAt } = (await it.audit.steadyClock())!;
  expect(Number.isInteger(since)).toBeTrue();
  expect(notedAt).toBeGreaterThan(since);
});
