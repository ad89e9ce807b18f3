import { expect, test } from "bun:test";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import type { App, Management } from "../../src/apps/app.ts";
import { beijingDay, hourOf } from "../../src/clock.ts";
import { AppIndex } from "../../src/credentials/app-index.ts";
import type { AppQuery } from "../../src/credentials/app-order.ts";
import type { Backoff } from "../../src/credentials/backoff.ts";
import type { CredentialKind } from "../../src/credentials/kinds.ts";
import type { UpstreamErrorClass } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const LIFE_MS = 7_200_000;
const MINUTE_MS = 60_000;

const weixin = (id: string, managed: Partial<Management> = {}): App => ({
  platform: "weixin",
  id,
  secret: new Secret("a-secret"),
  tokenMode: "stable",
  managed: { title: undefined, isDisabled: false, version: 1, ...managed },
});
const wecom = (id: string, agent: string): App => ({
  platform: "wecom",
  id,
  agent,
  secret: new Secret("a-secret"),
});

async function setup(apps: readonly App[] = ["wx1", "wx2", "wx3", "wx4"].map((id) => weixin(id))) {
  const clock = new ManualClock();
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-index-"));
  const store = await openSqliteStore({
    path: join(folder, "test.db"),
    masterKey: new Secret("00".repeat(32)),
    masterKeyFile: "",
    newDatabase: true,
    clock,
    onKeyCreated: () => undefined,
  });
  const directory = new AppDirectory([], () => "digest");
  directory.replaceManaged(apps);
  const parts = { directory, calls: store.callCounts, changes: store.changes, clock };
  const state = { isBroken: false };
  const orFail = async <T>(read: () => Promise<T>) => {
    if (state.isBroken) throw new Error("the store is away");
    return read();
  };
  const index = new AppIndex({
    ...parts,
    facts: {
      page: (...asked) => orFail(() => store.credentialFacts.page(...asked)),
      ofSlots: (...asked) => orFail(() => store.credentialFacts.ofSlots(...asked)),
    },
    pacing: { page: (...asked) => orFail(() => store.pacing.page(...asked)) },
  });
  const ask = (query: Partial<AppQuery> = {}) =>
    index.page({ isVisible: () => true, order: "name", isDescending: false, limit: 100, ...query });
  return {
    clock,
    store,
    directory,
    index,
    state,
    ask,
    names: async (query: Partial<AppQuery> = {}) => (await ask(query)).names.join(" "),
    async obtain(appId: string, lifeMs = LIFE_MS, kind: CredentialKind = "access_token") {
      const name = { slot: { platform: "weixin", appId, name: "stable" }, kind } as const;
      const now = clock.now();
      const { record } = await store.credentials.lease(name, { holder: "a", now, lifeMs: 1000 });
      const credential = { value: new Secret(`of-${appId}`), issuedAt: now, expiresAt: now + lifeMs };
      await store.credentials.save(name, credential, record.generation);
    },
    use: (appId: string) =>
      store.credentials.touch([
        {
          name: { slot: { platform: "weixin", appId, name: "stable" }, kind: "access_token" },
          usedAt: clock.now(),
        },
      ]),
    backOff: (key: string, reason: Backoff["reason"], errorClass?: UpstreamErrorClass) => {
      const upstream = errorClass && { platform: "weixin", errcode: 1, errmsg: "no", class: errorClass };
      const failure = { code: "upstream_rejected", message: "refused", upstream } as Backoff["failure"];
      const now = clock.now();
      return store.pacing.put({ key, reason, failure, count: 1, since: now, until: now + MINUTE_MS });
    },
    call: (appId: string, calls: number, platform: "weixin" | "wecom" = "weixin") =>
      store.callCounts.add([
        {
          platform,
          appId,
          endpoint: "/cgi-bin/stable_token",
          day: beijingDay(clock.now()),
          hour: hourOf(clock.now()),
          calls,
        },
      ]),
    async [Symbol.asyncDispose]() {
      index.stop();
      store.close();
      rmSync(folder, { recursive: true });
    },
  };
}

test("apps are counted by the state of their worst credential, and found by it", async () => {
  await using it = await setup([
    ...["wx1", "wx2", "wx3", "wx4"].map((id) => weixin(id)),
    weixin("wx5", { isDisabled: true }),
    weixin("wx6", { isDamaged: true }),
    weixin("wx7", { isLoginOnly: true }),
  ]);
  await it.obtain("wx2");
  it.clock.advance(LIFE_MS - 2 * MINUTE_MS);
  await it.obtain("wx1");
  await it.obtain("wx3");
  await it.backOff("weixin:wx3:stable:jsapi_ticket", "circuit_open", "permission");
  await it.backOff("weixin:wx4:stable:access_token", "exponential");
  expect(await it.index.counts(() => true)).toEqual({
    ...{ fresh: 1, expiring: 1, failing: 1, blocked: 2, none: 1, disabled: 1 },
  });
  expect(await it.names({ state: "blocked" })).toBe("wx3 wx6");
  expect(await it.names({ state: "expiring" })).toBe("wx2");
  expect(await it.names({ order: "state" })).toBe("wx3 wx6 wx4 wx2 wx1 wx7 wx5");
  expect(await it.names({ order: "state", isDescending: true })).toBe("wx5 wx7 wx1 wx2 wx4 wx6 wx3");
});

test("as time goes by a fresh app becomes expiring and then has none, and a blocked one fails, without a read of the store", async () => {
  await using it = await setup(["wx1", "wx2"].map((id) => weixin(id)));
  await it.obtain("wx1");
  await it.backOff("weixin:wx2:stable", "circuit_open", "config");
  const states = async () => {
    const counts = await it.index.counts(() => true);
    return Object.entries(counts).flatMap(([state, n]) => (n > 0 ? [state] : []));
  };
  expect(await states()).toEqual(["blocked", "fresh"]);
  it.clock.advance(MINUTE_MS);
  expect(await states()).toEqual(["failing", "fresh"]);
  it.clock.advance(LIFE_MS - 4 * MINUTE_MS);
  expect(await states()).toEqual(["failing", "expiring"]);
  it.clock.advance(4 * MINUTE_MS);
  expect(await states()).toEqual(["failing", "none"]);
});

test("what any process changes is in the next answer: a new token, a clear, a backoff and its end, another app", async () => {
  await using it = await setup();
  expect(await it.names({ state: "none" })).toBe("wx1 wx2 wx3 wx4");
  await it.obtain("wx2");
  expect(await it.names({ state: "fresh" })).toBe("wx2");
  const slot = { platform: "weixin", appId: "wx2", name: "stable" } as const;
  await it.store.credentials.clear([{ name: { slot, kind: "access_token" }, isCurrent: true }]);
  expect(await it.names({ state: "fresh" })).toBe("");
  await it.backOff("weixin:wx3:stable", "circuit_open", "config");
  expect(await it.names({ state: "blocked" })).toBe("wx3");
  await it.store.pacing.remove(await it.store.pacing.find(["weixin:wx3:stable"]));
  expect(await it.names({ state: "blocked" })).toBe("");
  it.directory.replaceManaged([weixin("wx2"), weixin("wx9")]);
  expect(await it.names({ state: "none" })).toBe("wx2 wx9");
});

test.each(["expires_at", "last_used", "calls"] as const)(
  "by %s apps are sorted both ways, those without it last, and pages go on where they ended",
  async (order) => {
    await using it = await setup();
    for (const [n, appId] of ["wx3", "wx1", "wx2"].entries()) {
      await it.obtain(appId);
      await it.use(appId);
      await it.call(appId, n + 1);
      it.clock.advance(MINUTE_MS);
    }
    expect(await it.names({ order })).toBe("wx3 wx1 wx2 wx4");
    expect(await it.names({ order, isDescending: true })).toBe("wx2 wx1 wx3 wx4");
    const first = await it.ask({ order, limit: 1 });
    // What comes before the cursor, or leaves it, moves nothing that was not shown.
    it.directory.replaceManaged(["wx1", "wx2", "wx4", "wx9"].map((id) => weixin(id)));
    const second = await it.ask({ order, limit: 2, after: first.next });
    const third = await it.ask({ order, limit: 2, after: second.next });
    expect([first, second, third].map(({ names }) => names)).toEqual([
      ["wx3"],
      ["wx1", "wx2"],
      ["wx4", "wx9"],
    ]);
    expect(third.next).toBeUndefined();
  },
);

test("after a read of the store that failed the answers are right again: a new app, a token, a backoff", async () => {
  await using it = await setup();
  const whileBroken = async (change: () => Promise<unknown> | void) => {
    await change();
    it.state.isBroken = true;
    expect(await it.index.counts(() => true).catch(String)).toContain("away");
    it.state.isBroken = false;
  };
  const none = () => it.names({ state: "none" });
  expect(await none()).toBe("wx1 wx2 wx3 wx4");
  await whileBroken(() => it.directory.replaceManaged(["wx1", "wx2", "wx3", "wx5"].map((id) => weixin(id))));
  expect(await none()).toBe("wx1 wx2 wx3 wx5");
  await whileBroken(() => it.obtain("wx1"));
  expect(await none()).toBe("wx2 wx3 wx5");
  await whileBroken(() => it.backOff("weixin:wx2:stable", "circuit_open", "config"));
  expect(await none()).toBe("wx3 wx5");
});

test("an app whose last attempt failed counts as failing for a day after its backoff, and then no more", async () => {
  await using it = await setup();
  await it.backOff("weixin:wx1:stable:access_token", "exponential");
  it.clock.advance(MINUTE_MS + 24 * 60 * MINUTE_MS - 1);
  expect(await it.names({ state: "failing" })).toBe("wx1");
  it.clock.advance(1);
  expect(await it.names({ state: "failing" })).toBe("");
});

test("pages of apps that have the same state show each once, in both directions", async () => {
  await using it = await setup();
  for (const isDescending of [false, true]) {
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await it.ask({ order: "state", isDescending, limit: 3, after });
      seen.push(...page.names);
      after = page.next;
    } while (after !== undefined);
    expect(seen.toSorted()).toEqual(["wx1", "wx2", "wx3", "wx4"]);
  }
});

test("an after of another order is refused, and says so", async () => {
  await using it = await setup();
  for (const after of ["wx1", "_wx1", "-1_wx1"])
    expect(await it.ask({ order: "expires_at", after }).catch(String)).toMatch(/after must be next/);
});

test("q is the beginning of a name or a title, in upper or lower case, with every order", async () => {
  await using it = await setup([
    weixin("wxaa", { title: "Shop 商城" }),
    weixin("wxab"),
    weixin("wxba", { title: "商城" }),
    wecom("ww1", "Contacts"),
  ]);
  for (const order of ["name", "expires_at"] as const) {
    expect(await it.names({ order, q: "WXA" })).toBe("wxaa wxab");
    expect(await it.names({ order, q: "shop" })).toBe("wxaa");
    expect(await it.names({ order, q: "商" })).toBe("wxba");
    expect(await it.names({ order, q: "ww1_contacts" })).toBe("ww1_Contacts");
    expect(await it.names({ order, q: "b" })).toBe("");
  }
});

test("a caller sees and counts no app that it may not see", async () => {
  await using it = await setup();
  await it.obtain("wx1");
  await it.obtain("wx2");
  await it.call("wx1", 1);
  await it.call("wx2", 1);
  const isVisible = (name: string) => name === "wx2" || name === "wx3";
  expect(await it.index.counts(isVisible)).toMatchObject({ fresh: 1, none: 1 });
  for (const order of ["name", "state", "expires_at"] as const)
    expect(await it.names({ isVisible, order })).toBe("wx2 wx3");
  expect((await it.index.shortestLives(isVisible, 9)).map(({ name }) => name)).toEqual(["wx2"]);
  expect((await it.index.fullestQuotas(isVisible, 9)).map(({ name }) => name)).toEqual(["wx2"]);
});

test("what a caller may see is asked of what is wanted alone, so that it can be counted", async () => {
  await using it = await setup();
  await it.obtain("wx1", MINUTE_MS);
  await it.backOff("weixin:wx1:stable:access_token", "circuit_open", "permission");
  await it.call("wx1", 400_000);
  await it.call("wx2", 1);
  const asked: string[] = [];
  const isVisible = (name: string) => (asked.push(name), false);
  await it.ask({ isVisible, order: "name", state: "blocked" });
  await it.index.fullestQuotas(isVisible, 1, 0.8);
  await it.index.endingTokens(10 * MINUTE_MS, isVisible, 1);
  expect(asked).toEqual(["wx1", "wx1", "wx1"]);
});

test("the shortest lives come first, of every kind, and none of a disabled app", async () => {
  await using it = await setup([weixin("wx1"), weixin("wx2"), weixin("wx3", { isDisabled: true })]);
  await it.obtain("wx1", LIFE_MS);
  await it.obtain("wx1", 2 * MINUTE_MS, "jsapi_ticket");
  await it.obtain("wx2", 3 * MINUTE_MS);
  await it.obtain("wx3", MINUTE_MS);
  expect((await it.index.shortestLives(() => true, 2)).map(({ name, kind }) => `${name} ${kind}`)).toEqual([
    "wx1 jsapi_ticket",
    "wx2 access_token",
  ]);
});

test("a corp's calls are those of each of its applications, and the fullest quota comes first", async () => {
  await using it = await setup([weixin("wx1"), weixin("wx2"), wecom("ww1", "1"), wecom("ww1", "2")]);
  await it.call("wx1", 400_000);
  await it.call("wx2", 450_000);
  await it.call("ww1", 7, "wecom");
  expect((await it.index.fullestQuotas(() => true, 2)).map(({ name, calls }) => [name, calls])).toEqual([
    ["wx2", 450_000],
    ["wx1", 400_000],
  ]);
  expect(await it.names({ order: "calls", isDescending: true })).toBe("wx2 wx1 ww1_2 ww1_1");
});

test("calls that need an AppSecret are none of an account that has the same AppID through a platform", async () => {
  const authorization = { platformApp: "wxc1", authorizedAt: 1, scopes: [] };
  await using it = await setup([weixin("wx1"), { ...weixin("wx1"), authorization }, weixin("wx2")]);
  await it.call("wx1", 400_000);
  expect(await it.index.fullestQuotas(() => true, 3)).toMatchObject([{ name: "wx1", calls: 400_000 }]);
  expect(await it.names({ order: "calls", isDescending: true })).toStartWith("wx1 ");
});

test("apps of which another program fetches tokens are named for a day", async () => {
  await using it = await setup();
  await it.obtain("wx2");
  const name = { slot: { platform: "weixin", appId: "wx2", name: "stable" }, kind: "access_token" } as const;
  const { generation, credential } = await it.store.credentials.find(name);
  const revocation = { now: it.clock.now(), earlyMs: 1000 };
  if (credential) await it.store.credentials.markRevoked(name, credential.value, generation, revocation);
  const at = it.clock.now();
  expect(await it.index.foreignRefreshes(() => true, 9)).toEqual([{ name: "wx2", at }]);
  it.clock.advance(86_400_000);
  expect(await it.index.foreignRefreshes(() => true, 9)).toEqual([]);
});

test("tokens that end soon, or have ended, and can't be renewed are named, the first to end first", async () => {
  await using it = await setup();
  await it.obtain("wx3", 5 * MINUTE_MS);
  await it.obtain("wx1", 5 * MINUTE_MS + 1);
  await it.obtain("wx2", 5 * MINUTE_MS);
  await it.obtain("wx4", LIFE_MS);
  const at = it.clock.now() + 5 * MINUTE_MS;
  for (const app of ["wx1", "wx3", "wx4"])
    await it.backOff(`weixin:${app}:stable:access_token`, "exponential");
  // What is wrong with a ticket keeps no token from being renewed.
  await it.backOff("weixin:wx2:stable:jsapi_ticket", "circuit_open", "permission");
  const both = [
    { name: "wx3", endsAt: at },
    { name: "wx1", endsAt: at + 1 },
  ];
  expect(await it.index.endingTokens(10 * MINUTE_MS, () => true, 9)).toEqual(both);
  it.clock.advance(6 * MINUTE_MS);
  expect(await it.index.endingTokens(10 * MINUTE_MS, () => true, 9)).toEqual(both);
  expect(await it.index.endingTokens(10 * MINUTE_MS, () => true, 1)).toEqual(both.slice(0, 1));
  expect(await it.index.statesOf(["wx3", "wx2", "wx4", "none"])).toEqual([
    "failing",
    "failing",
    "failing",
    undefined,
  ]);
});

test("apps that could not reach their upstream are counted for five minutes", async () => {
  await using it = await setup([weixin("wx1"), weixin("wx2"), wecom("ww1", "1"), wecom("ww1", "2")]);
  const put = (key: string, code: "upstream_unreachable" | "upstream_timeout" | "upstream_invalid") => {
    const since = it.clock.now();
    const failure = { code, message: "no way" };
    return it.store.pacing.put({ key, reason: "exponential", failure, count: 1, since, until: since + 1000 });
  };
  await put("weixin:wx1:stable:access_token", "upstream_unreachable");
  await put("weixin:wx2:stable:access_token", "upstream_invalid");
  expect(await it.index.countUnreachable()).toBe(1);
  await put("wecom:ww1", "upstream_timeout");
  expect(await it.index.countUnreachable()).toBe(3);
  it.clock.advance(301_000);
  expect(await it.index.countUnreachable()).toBe(0);
});

test("more apps than are read at once are all there, and a foreign secret's credential counts for none", async () => {
  const ids = Array.from({ length: 2500 }, (_, n) => `wx${String(n).padStart(5, "0")}`);
  await using it = await setup(ids.map((id) => weixin(id)));
  await it.store.callCounts.add(
    ids.map((appId) => ({
      ...{ platform: "weixin" as const, appId, endpoint: "/cgi-bin/stable_token" },
      ...{ day: beijingDay(it.clock.now()), hour: hourOf(it.clock.now()), calls: 1 },
    })),
  );
  await it.obtain("wx02400");
  const slot = { platform: "weixin", appId: "wx00001", name: "~digest" } as const;
  const name = { slot, kind: "access_token" } as const;
  const now = it.clock.now();
  const { record } = await it.store.credentials.lease(name, { holder: "a", now, lifeMs: 1000 });
  const foreign = { value: new Secret("foreign"), issuedAt: now, expiresAt: now + LIFE_MS };
  await it.store.credentials.save(name, foreign, record.generation);
  expect(await it.index.counts(() => true)).toMatchObject({ fresh: 1, none: 2499 });
  expect((await it.index.fullestQuotas(() => true, 2500)).length).toBe(2500);
  expect(await it.names({ state: "fresh", order: "calls" })).toBe("wx02400");
});

test("while very many apps are looked through, others have their turn", async () => {
  const ids = Array.from({ length: 20_000 }, (_, n) => `wx${String(n).padStart(5, "0")}`);
  await using it = await setup(ids.map((id) => weixin(id)));
  const all = () => true;
  await it.index.counts(all);
  const asked: Readonly<Record<string, () => Promise<unknown>>> = {
    counts: () => it.index.counts(all),
    credentials: () => it.index.credentialCounts(),
    lives: () => it.index.shortestLives(all, 20),
    quotas: () => it.index.fullestQuotas(all, 10),
    foreign: () => it.index.foreignRefreshes(all, 20),
    ending: () => it.index.endingTokens(MINUTE_MS, all, 20),
    state: () => it.names({ state: "blocked" }),
    sorted: () => it.names({ order: "last_used", isDescending: true }),
    searched: () => it.names({ q: "none begins so" }),
  };
  for (const [name, ask] of Object.entries(asked)) {
    const turns = { count: 0, isOver: false };
    const turn = () => {
      turns.count += 1;
      if (!turns.isOver) setImmediate(turn);
    };
    setImmediate(turn);
    await ask();
    turns.isOver = true;
    // At most 2,000 apps are looked at in one.
    expect([name, turns.count >= 9]).toEqual([name, true]);
  }
});
