import { expect, test as declared } from "bun:test";
import type { AuditEntry } from "../../../src/audit/audit-entry.ts";
import type { Backoff } from "../../../src/credentials/backoff.ts";
import { MAX_PENDING_MS, type UseRequest } from "../../../src/credentials/pacing-store.ts";
import type { OpenStore } from "./open-store.ts";

const DAY_MS = 86_400_000;
const WINDOW_MS = 10_000;
const KEY = "clear:weixin:wx1";
const ENTRY: AuditEntry = {
  ...{ client: "admin", environment: "", address: "127.0.0.1", traceId: "t" },
  ...{ action: "app.unblocked", app: "wx1", outcome: "ok", tokenDigest: "", detail: {} },
};

/** What every pacing store must do. `kind` names it in the tests' names. */
export function pacingStoreContract(kind: string, open: OpenStore, test = declared): void {
  const setup = async () => {
    const { store, clock, beside, reopen, dispose } = await open();
    const backoff = (key = "weixin:wx1:stable", rest: Partial<Backoff> = {}): Backoff => ({
      key,
      reason: "circuit_open",
      failure: { code: "upstream_rejected", message: "refused" },
      count: 1,
      since: clock.now(),
      until: clock.now() + 60_000,
      ...rest,
    });
    const request = (most = 1, rest: Partial<UseRequest> = {}): UseRequest => {
      const now = clock.now();
      return { limits: [{ key: KEY, most, from: now - WINDOW_MS }], now, until: now + WINDOW_MS, ...rest };
    };
    const count = (from = clock.now() - WINDOW_MS) =>
      store.pacing.countUses([KEY], from, clock.now()).then(([uses]) => uses);
    return {
      store,
      pacing: store.pacing,
      clock,
      beside,
      reopen,
      backoff,
      request,
      count,
      [Symbol.dispose]: dispose,
    };
  };

  test(`${kind}: P3: a backoff is found as it was written, by every process and after a restart; another key's is not`, async () => {
    using it = await setup();
    const upstream = {
      platform: "weixin",
      errcode: 40125,
      errmsg: "invalid appsecret",
      class: "config",
    } as const;
    const failure = { code: "upstream_rejected", message: "refused", hint: "look", upstream } as const;
    const written = (["exponential", "circuit_open", "quota"] as const).map((reason, n) =>
      it.backoff(`key-${n}`, { reason, failure, count: n + 1 }),
    );
    for (const each of written) await it.pacing.put(each);
    const keys = written.map(({ key }) => key);
    const sorted = (found: Backoff[]) => found.toSorted((a, b) => a.count - b.count);
    expect(sorted(await (await it.beside()).pacing.find(keys))).toEqual(written);
    expect(sorted(await (await it.reopen()).pacing.find([...keys, "key-9"]))).toEqual(written);
  });

  test(`${kind}: all backoffs come in pieces, each once, and no use of a budget is among them`, async () => {
    using it = await setup();
    const keys = ["weixin:wx1:stable", "weixin:wx2:stable", "weixin:wx3:stable"];
    for (const key of keys) await it.pacing.put(it.backoff(key));
    await it.pacing.use(it.request());
    const found: string[] = [];
    let after: string | undefined;
    do {
      const { items, next } = await it.pacing.page(after, 2);
      found.push(...items.map(({ key }) => key));
      after = next;
    } while (after !== undefined);
    expect(found).toEqual(keys);
  });

  test(`${kind}: a later backoff under a key takes the place of the one before`, async () => {
    using it = await setup();
    await it.pacing.put(it.backoff());
    const later = it.backoff(undefined, { reason: "quota", count: 2, until: it.clock.now() + 5000 });
    await it.pacing.put(later);
    expect(await it.pacing.find([later.key])).toEqual([later]);
  });

  test(`${kind}: removing takes only the backoffs that were seen: one that another process wrote meanwhile stays`, async () => {
    using it = await setup();
    const [seen, kept] = [it.backoff("one"), it.backoff("two")];
    for (const each of [seen, kept]) await it.pacing.put(each);
    for (const change of [{ since: seen.since + 1 }, { until: seen.until + 1 }]) {
      const newer = { ...seen, ...change };
      await (await it.beside()).pacing.put(newer);
      await it.pacing.remove([seen]);
      expect(await it.pacing.find(["one"])).toEqual([newer]);
    }
    await it.pacing.remove(await it.pacing.find(["one"]));
    await it.pacing.remove([]);
    expect(await it.pacing.find(["one", "two"])).toEqual([kept]);
  });

  test(`${kind}: P7: unblocking removes whatever is under the keys, together with its audit entry`, async () => {
    using it = await setup();
    const keys = ["one", "other", "two"];
    for (const key of keys) await it.pacing.put(it.backoff(key));
    const left = async () => (await it.pacing.find(keys)).map(({ key }) => key).toSorted();
    const toJSON = () => {
      throw new Error("unwritable");
    };
    const lost = it.pacing.unblock(["one", "two"], { ...ENTRY, detail: { toJSON } });
    expect(await lost.catch(String)).toContain("unwritable");
    expect(await left()).toEqual(keys);
    await it.pacing.unblock(["one", "two"], ENTRY);
    expect(await left()).toEqual(["other"]);
    expect(await it.store.audit.list({}, { limit: 10 })).toMatchObject([ENTRY]);
  });

  test(`${kind}: a backoff that has ended is found for a day: it says how many failures came in a row`, async () => {
    using it = await setup();
    await it.pacing.put(it.backoff("old"));
    for (const [ms, found] of [
      [60_000 + DAY_MS, 1],
      [60_001, 0],
    ] as const) {
      it.clock.advance(ms);
      await it.pacing.put(it.backoff("another"));
      expect(await it.pacing.find(["old"])).toHaveLength(found);
    }
  });

  test(`${kind}: the circuits and quotas of all keys are listed until they end, and nothing else`, async () => {
    using it = await setup();
    await it.pacing.put(it.backoff("circuit"));
    await it.pacing.put(it.backoff("quota", { reason: "quota", until: it.clock.now() + 120_000 }));
    await it.pacing.put(it.backoff("passing", { reason: "exponential" }));
    await it.pacing.use(it.request());
    const listed = async () =>
      (await it.pacing.listRefusals(it.clock.now())).map(({ key }) => key).toSorted();
    expect(await listed()).toEqual(["circuit", "quota"]);
    it.clock.advance(60_000);
    expect(await listed()).toEqual(["quota"]);
  });

  test(`${kind}: of secrets that callers make up five hundred backoffs are kept, those that end last, and no app's own is lost`, async () => {
    using it = await setup();
    const keyOf = (n: number) => `weixin:wx${n % 3}:~digest-${n}:access_token`;
    const refused = it.backoff("weixin:wx1:~refused", { until: it.clock.now() + 600_000 });
    const own = it.backoff("weixin:wx1:stable:access_token", { reason: "exponential" });
    for (const each of [refused, own]) await it.pacing.put(each);
    for (let n = 0; n < 1050; n++) {
      const since = it.clock.now();
      await it.pacing.put(it.backoff(keyOf(n), { reason: "exponential", since, until: since + 1000 + n }));
    }
    const found = await it.pacing.find(Array.from({ length: 1050 }, (_, n) => keyOf(n)));
    expect(found.length).toBeLessThanOrEqual(600);
    expect(await it.pacing.find([refused.key, own.key])).toHaveLength(2);
    expect(await it.pacing.find([keyOf(0), keyOf(1049)])).toHaveLength(1);
  });

  test(`${kind}: a budget is used as often as it allows in its window, and then names the use that must leave it`, async () => {
    using it = await setup();
    const started = it.clock.now();
    for (const ms of [0, 1000, 2000]) {
      it.clock.advance(ms);
      expect((await it.pacing.use(it.request(3, { note: `after ${ms}` }))).blocked).toBeUndefined();
    }
    const blocked = { limit: 0, since: started, note: "after 0", isPending: false };
    expect(await it.pacing.use(it.request(3))).toEqual({ blocked: [blocked] });
    it.clock.advance(WINDOW_MS - 3001);
    expect((await it.pacing.use(it.request(3))).blocked).toHaveLength(1);
    expect(await it.count()).toBe(3);
    it.clock.advance(1);
    expect((await it.pacing.use(it.request(3))).blocked).toBeUndefined();
    expect(await it.count()).toBe(3);
  });

  test(`${kind}: of many processes that use a budget at once, no more get it than it allows`, async () => {
    using it = await setup();
    const stores = [it.pacing, (await it.beside()).pacing, (await it.beside()).pacing];
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) => stores[n % stores.length]!.use(it.request(7))),
    );
    expect(answers.filter(({ blocked }) => !blocked)).toHaveLength(7);
  });

  test(`${kind}: P3: what was used stays used over a restart`, async () => {
    using it = await setup();
    await it.pacing.use(it.request());
    expect((await (await it.reopen()).pacing.use(it.request())).blocked).toHaveLength(1);
  });

  test(`${kind}: all budgets of a request are used, or none`, async () => {
    using it = await setup();
    const limits = (others: number) => [
      { key: KEY, most: 2, from: it.clock.now() - WINDOW_MS },
      { key: "force:weixin:wx1", most: others, from: it.clock.now() - DAY_MS },
    ];
    await it.pacing.use(it.request(2, { limits: limits(1) }));
    const { blocked } = await it.pacing.use(it.request(2, { limits: limits(1) }));
    expect(blocked).toEqual([{ limit: 1, since: it.clock.now(), note: undefined, isPending: false }]);
    expect(await it.count()).toBe(1);
    expect((await it.pacing.use(it.request(2, { limits: limits(2) }))).blocked).toBeUndefined();
    expect(await it.pacing.countUses(["force:weixin:wx1"], 0, it.clock.now())).toEqual([2]);
  });

  test(`${kind}: a use under two limits of one key counts once`, async () => {
    using it = await setup();
    const limits = [it.clock.now() - WINDOW_MS, it.clock.now() - DAY_MS].map((from) => ({
      key: KEY,
      most: 2,
      from,
    }));
    await it.pacing.use(it.request(2, { limits }));
    expect(await it.count()).toBe(1);
  });

  test(`${kind}: a budget whose key begins with another's is another`, async () => {
    using it = await setup();
    for (const key of [`${KEY}:more`, `${KEY}0`, KEY.slice(0, -1)])
      await it.pacing.use(it.request(1, { limits: [{ key, most: 1, from: 0 }] }));
    expect(await it.count()).toBe(0);
  });

  test(`${kind}: the uses of every budget under a prefix are counted, and of no other`, async () => {
    using it = await setup();
    for (const key of [
      "force:weixin:wx1",
      "force:weixin:wx1",
      "force:weixin:wx2",
      "force:weixin2:wx3",
      "forced:weixin:wx4",
    ])
      await it.pacing.use(it.request(9, { limits: [{ key, most: 9, from: 0 }] }));
    await it.pacing.put(it.backoff("force:weixin:wx5"));
    const uses = await it.pacing.countUsesUnder("force:weixin:", 0, it.clock.now());
    expect(uses).toEqual(
      new Map([
        ["force:weixin:wx1", 2],
        ["force:weixin:wx2", 1],
      ]),
    );
    expect(await it.pacing.countUsesUnder("force:weixin:", it.clock.now(), it.clock.now())).toEqual(
      new Map(),
    );
  });

  test(`${kind}: a use that is given back counts no more`, async () => {
    using it = await setup();
    const first = await it.pacing.use(it.request());
    await it.pacing.giveBack(first.blocked ? [] : first.uses);
    expect(await it.count()).toBe(0);
    expect((await it.pacing.use(it.request())).blocked).toBeUndefined();
  });

  test(`${kind}: who is blocked by pending uses alone is told so, until they are settled or their process is gone`, async () => {
    using it = await setup();
    const pending = await it.pacing.use(it.request(2, { isPending: true }));
    const isPending = async () => (await it.pacing.use(it.request(2))).blocked?.map((each) => each.isPending);
    expect(await isPending()).toBeUndefined();
    expect(await isPending()).toEqual([true]);
    await it.pacing.settle(pending.blocked ? [] : pending.uses);
    expect(await isPending()).toEqual([false]);

    it.clock.advance(WINDOW_MS);
    const limits = [{ key: KEY, most: 1, from: it.clock.now() - 1 }];
    await it.pacing.use(it.request(1, { isPending: true, limits }));
    it.clock.advance(MAX_PENDING_MS);
    expect((await it.pacing.use(it.request(1, { limits }))).blocked?.map((each) => each.isPending)).toEqual([
      false,
    ]);
  });

  test(`${kind}: a use from the future was written under a clock that was set back since, and counts for nothing`, async () => {
    using it = await setup();
    await it.pacing.use(it.request());
    it.clock.jumpWall(-30_000);
    expect((await it.pacing.use(it.request())).blocked).toHaveLength(1);
    it.clock.jumpWall(-31_000);
    expect((await it.pacing.use(it.request())).blocked).toBeUndefined();
  });

  test(`${kind}: uses that have ended are pruned within a minute of any use, although no app fails`, async () => {
    using it = await setup();
    for (let n = 0; n < 5; n++) await it.pacing.use(it.request(5));
    it.clock.advance(60_000);
    expect(await it.count(0)).toBe(5);
    await it.pacing.use(it.request(1, { limits: [{ key: "clear:weixin:wx2", most: 1, from: 0 }] }));
    expect(await it.count(0)).toBe(0);
  });
}
