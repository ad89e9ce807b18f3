import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Slot, slotKey } from "../../src/apps/app.ts";
import { CallCounter } from "../../src/audit/call-counts.ts";
import { credentialKey } from "../../src/credentials/credential.ts";
import { type CredentialKind, kindsOf } from "../../src/credentials/kinds.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import type { Backoff } from "../../src/credentials/backoff.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { type AppStatus, CredentialStates } from "../../src/credentials/status.ts";
import type { UpstreamErrorClass } from "../../src/errors.ts";
import { EventBus } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { beijingDay } from "../../src/clock.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { rejectOne } from "../support/store-folder.ts";

const LIFE_MS = 7_200_000;
const HOUR_MS = 3_600_000;

const SECRET = new Secret("a-secret");
const STABLE: Slot = {
  platform: "weixin",
  appId: "wx1",
  name: "stable",
  secret: SECRET,
  tokenMode: "stable",
  configured: true,
};
const WECOM: Slot = { ...STABLE, platform: "wecom", appId: "ww1", name: "1000002" };

async function setup(slot = STABLE, kind: CredentialKind = "access_token") {
  const clock = new ManualClock();
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-state-"));
  const store = await openSqliteStore({
    path: join(folder, "test.db"),
    masterKey: new Secret("00".repeat(32)),
    masterKeyFile: "",
    newDatabase: true,
    clock,
    onKeyCreated: () => undefined,
  });
  const memory = new CredentialCache(store.credentials, store.changes, clock);
  const calls = new CallCounter(store.callCounts, clock);
  const pacing = new Pacing({ store: store.pacing, clock, events: new EventBus() });
  const states = new CredentialStates({
    facts: store.credentialFacts,
    pacing,
    memory,
    calls,
    clock,
    idleAfterMs: 24 * HOUR_MS,
  });
  const name = { slot, kind };
  const lease = () => store.credentials.lease(name, { holder: "a", now: clock.now(), lifeMs: 10_000 });
  return {
    clock,
    store,
    memory,
    calls,
    pacing,
    states,
    name,
    lease,
    /** Stores a credential as a refresh does. */
    async obtain(lifeMs = LIFE_MS, renewAt?: number) {
      const issuedAt = clock.now();
      const { record } = await lease();
      const credential = { value: new Secret("the-value"), issuedAt, expiresAt: issuedAt + lifeMs };
      const standing = await store.credentials.save(name, credential, record.generation, { renewAt });
      await store.credentials.release(name, "a");
      return standing;
    },
    async backOff(key: string, reason: Backoff["reason"], untilMs: number, errorClass?: UpstreamErrorClass) {
      const upstream = errorClass && {
        platform: slot.platform,
        errcode: 40164,
        errmsg: "invalid ip 203.0.113.7",
        class: errorClass,
      };
      const failure = { code: "upstream_rejected" as const, message: "refused", hint: "a hint", upstream };
      const now = clock.now();
      await store.pacing.put({ key, reason, failure, count: 2, since: now, until: now + untilMs });
    },
    async status() {
      const [{ credentials }] = (await states.ofApps([slot])) as [AppStatus];
      const found = credentials.find((each) => each.kind === kind);
      if (!found) throw new Error(`no ${kind}`);
      return found;
    },
    async [Symbol.asyncDispose]() {
      store.close();
      rmSync(folder, { recursive: true });
    },
  };
}

test.each([STABLE, WECOM])(
  "an app lists every kind that its platform issues, before anything was asked: $platform",
  async (slot) => {
    await using world = await setup(slot);
    const [{ credentials }] = (await world.states.ofApps([slot])) as [AppStatus];
    expect(credentials.map(({ kind, state, generation }) => ({ kind, state, generation }))).toEqual(
      kindsOf(slot).map((kind) => ({ kind, state: "none", generation: 0 })),
    );
  },
);

test("a credential is fresh, then expiring from the moment of its renewal on, then none", async () => {
  await using world = await setup();
  const { generation } = await world.obtain();
  const issuedAt = world.clock.now();
  world.clock.advance(60_000);
  expect(await world.status()).toMatchObject({
    state: "fresh",
    generation,
    life: { issuedAt, expiresAt: issuedAt + LIFE_MS, ageMs: 60_000, remainingMs: LIFE_MS - 60_000 },
    lastFailure: undefined,
  });
  world.clock.advance(LIFE_MS - 60_000 - 285_001);
  expect((await world.status()).state).toBe("fresh");
  world.clock.advance(1);
  expect((await world.status()).state).toBe("expiring");
  world.clock.advance(285_000);
  expect(await world.status()).toMatchObject({ state: "none", generation, life: undefined });
});

test("WeCom repeats its token to the end, so only its last minute is expiring", async () => {
  await using world = await setup(WECOM);
  await world.obtain();
  world.clock.advance(LIFE_MS - 60_001);
  expect((await world.status()).state).toBe("fresh");
  world.clock.advance(1);
  expect((await world.status()).state).toBe("expiring");
});

test("a credential is refreshing while any process has its lease, and not when the lease is over or from the future", async () => {
  await using world = await setup();
  await world.lease();
  expect((await world.status()).state).toBe("refreshing");
  world.clock.jumpWall(-HOUR_MS);
  expect((await world.status()).state).toBe("none");
  world.clock.jumpWall(HOUR_MS + 10_000);
  expect((await world.status()).state).toBe("none");
});

test("a refusal blocks the slot until its instant, and is failing until something succeeds", async () => {
  await using world = await setup();
  await world.obtain();
  await world.backOff(slotKey(STABLE), "circuit_open", 600_000, "config");
  const at = world.clock.now();
  const blocked = await world.status();
  expect(blocked).toMatchObject({ state: "blocked", nextAttemptAt: at + 600_000 });
  expect(blocked.lastFailure).toMatchObject({ at, count: 2 });
  expect(blocked.lastFailure?.error.upstream?.errcode).toBe(40164);
  expect(blocked.lastFailure?.error.hint).toBe("a hint");
  expect(blocked.life?.remainingMs).toBe(LIFE_MS);
  world.clock.advance(600_000);
  expect((await world.status()).state).toBe("failing");
  await world.store.pacing.remove(await world.store.pacing.find([slotKey(STABLE)]));
  expect(await world.status()).toMatchObject({ state: "fresh", lastFailure: undefined });
});

test("a refusal of a platform's own token is failing until something succeeds, and says nothing of its ticket", async () => {
  const slot: Slot = { ...STABLE, name: "@component" };
  await using world = await setup(slot, "component_access_token");
  await world.backOff(slotKey(slot), "circuit_open", 600_000, "config");
  const both = async () => (await world.states.ofCredentials([slot]))[0]?.map(({ state }) => state);
  expect(await both()).toEqual(["blocked", "none"]);
  world.clock.advance(600_000);
  expect(await both()).toEqual(["failing", "none"]);
});

test("a used-up quota blocks; an exponential backoff and a terminal error of our own are failing", async () => {
  await using world = await setup();
  const key = credentialKey(world.name);
  await world.backOff(key, "quota", 60_000, "quota_minute");
  expect((await world.status()).state).toBe("blocked");
  await world.backOff(key, "quota", 60_000);
  expect((await world.status()).state).toBe("failing");
  await world.backOff(key, "exponential", 4000, "transient");
  expect(await world.status()).toMatchObject({
    state: "failing",
    nextAttemptAt: world.clock.now() + 4000,
  });
});

test("a quota of the corp blocks the applications of the corp while it lasts, and their tickets no longer", async () => {
  await using world = await setup(WECOM, "jsapi_ticket");
  await world.backOff("wecom:ww1", "quota", 60_000, "quota_minute");
  expect((await world.status()).state).toBe("blocked");
  world.clock.advance(60_000);
  expect(await world.status()).toMatchObject({ state: "none", lastFailure: undefined });
});

test("a value that was rejected or cleared is none, and its use and early death are remembered", async () => {
  await using world = await setup();
  const { generation } = await world.obtain();
  const now = world.clock.now();
  await world.store.credentials.touch([{ name: world.name, usedAt: now }]);
  await rejectOne(world.store.credentials, world.name, generation);
  expect(await world.status()).toMatchObject({ state: "none", life: undefined, usedAt: now });
  const { generation: rejected } = await world.store.credentials.find(world.name);
  const death = { now, earlyMs: 5_000_000 };
  await world.store.credentials.markRevoked(world.name, new Secret("the-value"), rejected, death);
  expect((await world.status()).revokedEarly).toEqual({ at: now, earlyMs: 5_000_000 });
});

test("the next attempt is the renewal, and there is none planned for what nobody uses", async () => {
  await using world = await setup();
  const renewAt = world.clock.now() + LIFE_MS - 230_000;
  await world.obtain(LIFE_MS, renewAt);
  expect((await world.status()).nextAttemptAt).toBeUndefined();
  await world.memory.read(world.name);
  world.memory.markUsed(credentialKey(world.name));
  expect(await world.status()).toMatchObject({
    usedAt: world.clock.now(),
    nextAttemptAt: renewAt,
  });
});

test("P2: a life that the monotonic clock or a wall clock set back says is over is not shown as living", async () => {
  await using world = await setup();
  await world.obtain();
  await world.memory.read(world.name);
  world.clock.advance(LIFE_MS);
  world.clock.jumpWall(-HOUR_MS);
  expect((await world.status()).life).toBeUndefined();
  await using other = await setup();
  await other.obtain();
  other.clock.jumpWall(-HOUR_MS);
  expect((await other.status()).life).toBeUndefined();
});

test("P7: today's calls are shown by endpoint beside what WeChat allows, forced refreshes too", async () => {
  await using world = await setup();
  world.calls.count("weixin", "wx1", "/cgi-bin/token");
  await world.calls.flush();
  world.calls.count("weixin", "wx1", "/cgi-bin/token");
  world.calls.count("weixin", "wx1", "/cgi-bin/ticket/getticket");
  expect(await world.pacing.take("force", world.name)).toBe(0);
  const [today] = (await world.states.ofApps([STABLE])) as [AppStatus];
  expect(new Set(today.calls)).toEqual(
    new Set([
      { endpoint: "/cgi-bin/token", calls: 2, limit: 2000 },
      { endpoint: "/cgi-bin/ticket/getticket", calls: 1 },
      { endpoint: "/cgi-bin/stable_token", calls: 0, limit: 500_000 },
    ]),
  );
  expect(today.forcedRefreshes).toEqual({ calls: 1, limit: 20 });
  world.clock.advance(24 * HOUR_MS);
  const [tomorrow] = (await world.states.ofApps([STABLE])) as [AppStatus];
  expect(tomorrow.calls).toEqual([{ endpoint: "/cgi-bin/stable_token", calls: 0, limit: 500_000 }]);
  expect(tomorrow.forcedRefreshes).toEqual({ calls: 0, limit: 20 });
});

test("calls that need an AppSecret are not shown at an account that has the same AppID through a platform", async () => {
  await using world = await setup();
  world.calls.count("weixin", "wx1", "/cgi-bin/stable_token");
  world.calls.count("weixin", "wx1", "/cgi-bin/ticket/getticket");
  const account: Slot = { ...STABLE, name: "wxc1", isAuthorized: true };
  const [own, theirs] = (await world.states.ofApps([STABLE, account])) as [AppStatus, AppStatus];
  const ticket = { endpoint: "/cgi-bin/ticket/getticket", calls: 1 };
  expect(own.calls).toContainEqual({ endpoint: "/cgi-bin/stable_token", calls: 1, limit: 500_000 });
  expect(theirs.calls).toEqual([ticket]);
});

test("of many apps each has its own state, by as many statements as of one", async () => {
  await using world = await setup();
  const asked: string[] = [];
  const counting = <T extends object>(parts: T): T =>
    new Proxy(parts, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        asked.push(String(name));
        return value.bind(target) as unknown;
      },
    });
  const { store, clock, memory } = world;
  const states = new CredentialStates({
    facts: counting(store.credentialFacts),
    pacing: new Pacing({ store: counting(store.pacing), clock, events: new EventBus() }),
    memory,
    calls: new CallCounter(counting(store.callCounts), clock),
    clock,
    idleAfterMs: 24 * HOUR_MS,
  });
  await world.obtain();
  await world.backOff("weixin:wx7", "circuit_open", HOUR_MS, "config");
  const day = beijingDay(clock.now());
  await store.callCounts.add([
    { platform: "weixin", appId: "wx3", endpoint: "/cgi-bin/user", day, hour: 0, calls: 5 },
  ]);
  const slots = Array.from({ length: 200 }, (_, n) => ({ ...STABLE, appId: `wx${n}` }));
  const all = await states.ofApps([WECOM, ...slots]);
  expect(asked).toHaveLength(5);
  expect(all.map(({ slot }) => slot.appId)).toEqual(["ww1", ...slots.map(({ appId }) => appId)]);
  const stateOf = (n: number) => all[n + 1]?.credentials[0]?.state;
  expect([0, 1, 2, 7].map(stateOf)).toEqual(["none", "fresh", "none", "blocked"]);
  expect(all[4]?.calls).toContainEqual({ endpoint: "/cgi-bin/user", calls: 5 });
  expect(all[5]?.calls).not.toContainEqual({ endpoint: "/cgi-bin/user", calls: 5 });
  expect(await states.ofApps([])).toEqual([]);
});

test("P6: looking at the state unseals nothing and shows no value", async () => {
  await using world = await setup();
  await world.obtain();
  expect(Bun.inspect(await world.states.ofApps([STABLE]), { depth: 9 })).not.toMatch(/the-value|a-secret/);
});
