import { expect, test as declared } from "bun:test";
import type { AuditFilter } from "../../../src/audit/audit-store.ts";
import { allEntries, DENIAL, denialRow, entryOf, USAGE, usageRow } from "../../support/audit-entries.ts";
import type { OpenStore } from "./open-store.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** What every store of the audit must do. `kind` names it in the tests' names. */
export function auditStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    return { ...opened, audit: opened.store.audit, [Symbol.dispose]: () => opened.dispose() };
  }
  const idsOf = (records: readonly { readonly id: number }[]) => records.map(({ id }) => id);
  const countsOf = (records: readonly { readonly count: number }[]) => records.map(({ count }) => count);
  const named = <Count extends { readonly id: number }>(counts: readonly Count[]) =>
    counts.map(({ id: _id, ...count }) => count);

  test(`${kind}: P3: P7: an entry is kept as it was written, also after closing and opening`, async () => {
    using it = await setup();
    const at = it.clock.now();
    const entry = entryOf({ detail: { title: "商城", list: [1, null, { a: "b\nc" }] } });
    await it.audit.append(entry);
    const [record] = await it.audit.list({}, { limit: 10 });
    expect(record).toEqual({ ...entry, id: 1, at, hash: record!.hash });
    expect(await (await it.reopen()).audit.list({}, { limit: 10 })).toEqual([record!]);
  });

  test(`${kind}: P7: all processes write to one chain, which is intact`, async () => {
    using it = await setup();
    const { audit: other } = await it.beside();
    expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 0, last: undefined });
    await Promise.all(
      Array.from({ length: 10 }, (_, number) =>
        (number % 2 === 0 ? it.audit : other).append(entryOf({ detail: { number } })),
      ),
    );
    expect(idsOf(await allEntries(other))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 10, last: { id: 10 } });
  });

  test(`${kind}: entries are found by app, client, environment, action and time, and by all together`, async () => {
    using it = await setup();
    const start = it.clock.now();
    const facts = [
      { app: "wx1", client: "one", environment: "dev", action: "credential.cleared" },
      { app: "wx2", client: "one", environment: "dev", action: "credential.refreshed" },
      { app: "wx1", client: "two", environment: "prod", action: "credential.cleared" },
      { app: "", client: "two", environment: "prod", action: "client.created" },
      { app: "wx1", client: "one", environment: "prod", action: "credential.cleared" },
    ] as const;
    for (const each of facts) {
      await it.audit.append(entryOf(each));
      it.clock.advance(1000);
    }
    const cases: readonly (readonly [AuditFilter, number[]])[] = [
      [{}, [1, 2, 3, 4, 5]],
      [{ app: "wx1" }, [1, 3, 5]],
      [{ client: "one" }, [1, 2, 5]],
      [{ environment: "prod" }, [3, 4, 5]],
      [{ action: "credential.cleared" }, [1, 3, 5]],
      [{ since: start + 2000 }, [3, 4, 5]],
      [{ until: start + 2000 }, [1, 2]],
      [{ since: start + 1000, until: start + 3000 }, [2, 3]],
      [{ app: "wx1", client: "one", environment: "prod", action: "credential.cleared", since: start }, [5]],
      [{ since: start + 5000 }, []],
      [{ app: "wx3" }, []],
      [{ apps: ["wx1", "wx3"] }, [1, 3, 5]],
      [{ apps: "any" }, [1, 2, 3, 5]],
      [{ apps: ["wx2"], app: "wx1" }, []],
      [{ tokenDigest: "0123456789abcdef", app: "wx1" }, [1, 3, 5]],
      [{ tokenDigest: "fedcba9876543210" }, []],
    ];
    for (const [filter, ids] of cases) {
      expect(idsOf(await allEntries(it.audit, filter))).toEqual(ids);
      expect(idsOf(await it.audit.list(filter, { limit: 100 }))).toEqual(ids.toReversed());
    }
  });

  test(`${kind}: pages of entries join without a gap or a repeat`, async () => {
    using it = await setup();
    for (let number = 1; number <= 10; number++) {
      await it.audit.append(entryOf({ client: number % 3 === 0 ? "third" : "other" }));
    }
    const page = async (filter: AuditFilter, limit: number, before?: number) =>
      idsOf(await it.audit.list(filter, { limit, before }));
    expect(await page({}, 4)).toEqual([10, 9, 8, 7]);
    expect(await page({}, 4, 7)).toEqual([6, 5, 4, 3]);
    expect(await page({}, 4, 3)).toEqual([2, 1]);
    expect(await page({}, 4, 1)).toEqual([]);
    expect(await page({ client: "third" }, 2)).toEqual([9, 6]);
    expect(await page({ client: "third" }, 2, 6)).toEqual([3]);
  });

  test(`${kind}: counts of the same minute and names add up, in whichever process they were counted`, async () => {
    using it = await setup();
    const { audit: other } = await it.beside();
    await it.audit.addCounts([usageRow({ n: 2 })]);
    await other.addCounts([usageRow({ n: 3 }), usageRow({ app: "wx2" }), usageRow({ n: 4 })]);
    await it.audit.addCounts([]);
    await it.audit.addCounts([denialRow({ n: 2 }), usageRow({ minute: MINUTE })]);
    await other.addCounts([denialRow({ n: 3 }), denialRow({ code: -1, client: "one" })]);
    expect(named(await other.listUsage({}, { limit: 10 }))).toEqual([
      { minute: MINUTE, ...USAGE, count: 1 },
      { minute: 0, ...USAGE, app: "wx2", count: 1 },
      { minute: 0, ...USAGE, count: 9 },
    ]);
    expect(named(await it.audit.listDenials({}, { limit: 10 }))).toEqual([
      { minute: 0, ...DENIAL, code: -1, client: "one", count: 1 },
      { minute: 0, ...DENIAL, count: 5 },
    ]);
  });

  test(`${kind}: counts are found by what narrows them, and a minute counts when any of it is within the time`, async () => {
    using it = await setup();
    await it.audit.addCounts([
      usageRow({ n: 1 }),
      usageRow({ minute: MINUTE, client: "two", n: 2 }),
      usageRow({ minute: 2 * MINUTE, environment: "prod", n: 3 }),
      usageRow({ minute: 3 * MINUTE, action: "token:clear", n: 4 }),
      usageRow({ minute: 4 * MINUTE, app: "wx2", n: 5 }),
    ]);
    const used = async (filter: AuditFilter) => countsOf(await it.audit.listUsage(filter, { limit: 10 }));
    expect(await used({})).toEqual([5, 4, 3, 2, 1]);
    expect(await used({ client: "one" })).toEqual([5, 4, 3, 1]);
    expect(await used({ environment: "prod" })).toEqual([3]);
    expect(await used({ action: "token:read" })).toEqual([5, 3, 2, 1]);
    expect(await used({ app: "wx2" })).toEqual([5]);
    expect(await used({ since: 3 * MINUTE })).toEqual([5, 4]);
    expect(await used({ since: 3 * MINUTE - 1 })).toEqual([5, 4, 3]);
    expect(await used({ until: 2 * MINUTE })).toEqual([2, 1]);
    expect(await used({ until: 2 * MINUTE + 1 })).toEqual([3, 2, 1]);
    expect(await used({ since: MINUTE, until: 3 * MINUTE, client: "two" })).toEqual([2]);
    expect(await used({ since: 9 * MINUTE })).toEqual([]);
    await it.audit.addCounts([
      usageRow({ action: "api:call /wxa", n: 6 }),
      usageRow({ minute: MINUTE, action: "api:call", n: 7 }),
      usageRow({ action: "api:calls", n: 8 }),
    ]);
    expect(await used({ action: "api:call" })).toEqual([7, 6]);
    await it.audit.addCounts([usageRow({ minute: 9 * MINUTE, app: "*", n: 9 })]);
    expect(await used({ apps: ["wx2", "wx3"] })).toEqual([5]);
    expect(await used({ apps: "any", since: 4 * MINUTE })).toEqual([5]);
    await it.audit.addCounts([
      denialRow({ n: 1 }),
      denialRow({ minute: MINUTE, client: "two", n: 2 }),
      denialRow({ minute: 2 * MINUTE, code: -1, n: 3 }),
    ]);
    const denied = async (filter: AuditFilter) => countsOf(await it.audit.listDenials(filter, { limit: 10 }));
    expect(await denied({ client: "two" })).toEqual([2]);
    expect(await denied({ since: 2 * MINUTE })).toEqual([3]);
    expect(await denied({ since: MINUTE, until: 2 * MINUTE })).toEqual([2]);
  });

  test(`${kind}: pages of counts join without a gap or a repeat while more is counted`, async () => {
    using it = await setup();
    await it.audit.addCounts(Array.from({ length: 7 }, (_, n) => usageRow({ app: `wx${n}` })));
    const found: string[] = [];
    let before: number | undefined;
    do {
      const page = await it.audit.listUsage({}, { limit: 3, before });
      found.push(...page.map(({ app }) => app));
      before = page.length === 3 ? page.at(-1)?.id : undefined;
      await it.audit.addCounts([usageRow({ minute: MINUTE, app: "new" }), usageRow({ app: "wx1" })]);
    } while (before !== undefined);
    expect(found).toEqual(["wx6", "wx5", "wx4", "wx3", "wx2", "wx1", "wx0"]);
  });

  test(`${kind}: P7: what is too old is dropped, entries and counts, and what is kept is intact and goes on`, async () => {
    using it = await setup();
    const start = it.clock.now();
    for (let number = 0; number < 5; number++) {
      await it.audit.append(entryOf());
      it.clock.advance(HOUR);
    }
    await it.audit.addCounts([
      usageRow({ minute: start }),
      usageRow({ minute: start + 2 * HOUR, n: 2 }),
      denialRow({ minute: start }),
      denialRow({ minute: start + 2 * HOUR, n: 2 }),
    ]);
    const pruned = await it.audit.prune(start + 2 * HOUR);
    expect(pruned).toEqual({ entries: 2, isDone: true, fault: undefined });
    expect(idsOf(await allEntries(it.audit))).toEqual([3, 4, 5]);
    expect(countsOf(await it.audit.listUsage({}, { limit: 10 }))).toEqual([2]);
    expect(countsOf(await it.audit.listDenials({}, { limit: 10 }))).toEqual([2]);
    await it.audit.append(entryOf());
    expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 4, last: { id: 6 } });
  });

  test(`${kind}: counts that are too old are dropped a thousand of each kind at once`, async () => {
    using it = await setup();
    const old = Array.from({ length: 1200 }, (_, n) => usageRow({ minute: MINUTE, app: `wx${n}` }));
    await it.audit.addCounts([...old, usageRow({ minute: 9 * MINUTE }), denialRow({ minute: MINUTE })]);
    expect(await it.audit.prune(9 * MINUTE)).toMatchObject({ entries: 0, isDone: false });
    expect(await it.audit.listUsage({}, { limit: 2000 })).toHaveLength(201);
    expect(await it.audit.listDenials({}, { limit: 10 })).toEqual([]);
    expect(await it.audit.prune(9 * MINUTE)).toMatchObject({ entries: 0, isDone: true });
    expect(await it.audit.listUsage({}, { limit: 2000 })).toMatchObject([{ minute: 9 * MINUTE }]);
  });

  test(`${kind}: counts of upstream calls from before the day are dropped, a thousand at once`, async () => {
    using it = await setup();
    const { callCounts } = it.store;
    const call = {
      platform: "weixin",
      appId: "wx1",
      endpoint: "/cgi-bin/token",
      day: "2026-11-20",
      hour: 0,
      calls: 1,
    } as const;
    const old = Array.from({ length: 1200 }, (_, n) => ({ ...call, appId: `wx${n}` }));
    await callCounts.add([...old, { ...call, day: "2026-11-21" }]);
    const before = Date.parse("2026-11-21T00:00:00+08:00");
    expect(await it.audit.prune(before - 1)).toMatchObject({ isDone: true });
    expect(await callCounts.ofApps(["wx1"], "2026-11-20")).toHaveLength(1);
    expect(await it.audit.prune(before)).toMatchObject({ isDone: false });
    expect(await it.audit.prune(before)).toMatchObject({ isDone: true });
    for (const { appId, day } of old) expect(await callCounts.ofApps([appId], day)).toEqual([]);
    expect(await callCounts.ofApps(["wx1"], "2026-11-21")).toHaveLength(1);
  });

  test(`${kind}: of several processes one takes a round of pruning, and the next only when it is due`, async () => {
    using it = await setup();
    const { audit: other } = await it.beside();
    const claims = () => Promise.all([it.audit, other, it.audit].map((audit) => audit.claimPruning(HOUR)));
    expect((await claims()).toSorted((a, b) => a - b)).toEqual([0, HOUR, HOUR]);
    it.clock.advance(HOUR - 1);
    expect(await claims()).toEqual([1, 1, 1]);
    it.clock.advance(1);
    expect((await claims()).filter((waitMs) => waitMs === 0)).toHaveLength(1);
    let again = (await it.reopen()).audit;
    expect(await again.claimPruning(HOUR)).toBe(HOUR);
    // How the clock has gone on is known in the next process, too.
    expect(await again.steadyClock()).toBeUndefined();
    for (const noted of [
      { since: 5, notedAt: 7 },
      { since: 6, notedAt: 9 },
    ]) {
      await again.noteSteadyClock(noted);
      again = (await it.reopen()).audit;
      expect(await again.steadyClock()).toEqual(noted);
    }
  });

  test(`${kind}: a clock that was set back makes no round wait longer than it should`, async () => {
    using it = await setup();
    expect(await it.audit.claimPruning(HOUR)).toBe(0);
    it.clock.jumpWall(-1);
    expect(await it.audit.claimPruning(HOUR)).toBe(0);
  });

  test(`${kind}: P7: a probe finds that all is well, and leaves nothing behind`, async () => {
    using it = await setup();
    await it.audit.append(entryOf());
    const before = await it.audit.verify();
    expect(await it.store.probe()).toEqual([]);
    expect(await it.audit.verify()).toEqual(before);
    expect(await it.audit.listUsage({}, { limit: 10 })).toEqual([]);
    await it.audit.append(entryOf());
    expect(idsOf(await allEntries(it.audit))).toEqual([1, 2]);
  });
}
