import { expect, test } from "bun:test";
import { once } from "node:events";
import { type Backoff, backoffKeys } from "../../src/credentials/backoff.ts";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import type { Credential } from "../../src/credentials/credential.ts";
import { LEASE_MS } from "../../src/credentials/refresh.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { busy } from "../../src/store/sql.ts";
import { ManualSource } from "../support/manual-source.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { clearOne, saveUnderLease } from "../support/store-folder.ts";
import { CredentialsHarness, type CredentialsWorldOptions } from "./credentials-harness.ts";

const ACTOR = { client: "test", environment: "", address: "127.0.0.1", traceId: "" };
const KEY = "weixin:wx1:stable:access_token";
const silent = () => new ServiceError("upstream_timeout", "silent");

async function setup(
  answers: ConstructorParameters<typeof ManualSource>,
  options: CredentialsWorldOptions = {},
) {
  const world = await CredentialsHarness.create(new ManualSource(...answers), options);
  const value = async () => (await world.manager.get(tokenOf())).value.reveal();
  return { world, value, [Symbol.dispose]: () => world[Symbol.dispose]() };
}

function credential(value: string, issuedAt: number): Credential {
  return { value: new Secret(value), issuedAt, expiresAt: issuedAt + 7_200_000 };
}

function backoff(since: number): Backoff {
  const failure = { code: "upstream_rejected", message: "45009" } as const;
  return { key: KEY, reason: "quota", failure, count: 1, since, until: since + 60_000 };
}

/** A store that is busy for `saves` saves, of which each takes three seconds. */
function busyStore(
  saves: number,
  meanwhile: (store: CredentialStore) => Promise<unknown> = async () => undefined,
) {
  const left = { saves };
  return {
    left,
    wrapFor: (passTime: () => void) => (store: CredentialStore) => ({
      save: async (...parts: Parameters<CredentialStore["save"]>) => {
        if (left.saves-- <= 0) return store.save(...parts);
        passTime();
        await meanwhile(store);
        throw busy();
      },
    }),
  };
}

test("P3: a token that WeChat has issued is not lost while the store is busy for as long as the lease lasts", async () => {
  const store = busyStore(3);
  using it = await setup(["one", "never"], { wrap: store.wrapFor(() => it.world.clock.advance(3000)) });
  expect(await it.value()).toBe("one");
  expect((await it.world.store.find(tokenOf())).credential?.value.reveal()).toBe("one");
  expect((await it.world.restarted().get(tokenOf())).value.reveal()).toBe("one");
  expect(it.world.source.asked).toHaveLength(1);
});

test("a token that can't be stored in the lease's time is still handed out, and to nobody later", async () => {
  const store = busyStore(4);
  using it = await setup(["one", "two"], { wrap: store.wrapFor(() => it.world.clock.advance(3000)) });
  expect(await it.value()).toBe("one");
  expect(store.left.saves).toBe(0);
  expect(await it.value()).toBe("two");
});

test("P2: a token that can't be stored is not handed out once it was cleared", async () => {
  const store = busyStore(4, (below) => clearOne(below, tokenOf()));
  using it = await setup(["one"], { wrap: store.wrapFor(() => it.world.clock.advance(3000)) });
  expect((await failureOf(it.value())).code).toBe("unavailable");
});

test("P5: a token that can't be stored is not handed out once another process has obtained one", async () => {
  const store = busyStore(4, async (below) => {
    if (store.left.saves === 0)
      await saveUnderLease(below, tokenOf(), credential("newer", it.world.clock.now()));
  });
  using it = await setup(["one"], { wrap: store.wrapFor(() => it.world.clock.advance(3000)) });
  expect(await it.value()).toBe("newer");
});

test("P4: a backoff that can't be removed makes no failure of a success, and one that can't be written hides no answer", async () => {
  using it = await setup([silent(), silent(), silent(), "one"], {
    wrapPacing: () => ({ remove: () => Promise.reject(busy()) }),
  });
  expect((await failureOf(it.value())).code).toBe("upstream_timeout");
  it.world.clock.advance(70_000);
  const { value } = await it.world.manager.refresh(tokenOf(), { force: false });
  expect(value.reveal()).toBe("one");
  using another = await setup([refusal("config")], {
    wrapPacing: () => ({ put: () => Promise.reject(busy()) }),
  });
  expect((await failureOf(another.value())).upstream?.errcode).toBe(40125);
});

test("nothing is fetched for an app that another process has changed, disabled or removed", async () => {
  let isOutdated = true;
  using it = await setup(["one"], { isOutdated: async () => isOutdated });
  const failure = await failureOf(it.value());
  expect([failure.code, failure.retryAfterMs]).toEqual(["unavailable", 1000]);
  expect(it.world.source.asked).toEqual([]);
  isOutdated = false;
  expect(await it.value()).toBe("one");
});

test("P5: a process that was stopped in its fetch hands out what another has stored meanwhile", async () => {
  using it = await setup([]);
  const classic = tokenOf(weixinSlot("wx1", "classic"));
  const slow = it.world.manager.get(classic);
  await it.world.source.askedTimes(1);
  it.world.clock.advance(LEASE_MS + 5000);
  const now = it.world.clock.now();
  await saveUnderLease(await it.world.elsewhere(), classic, credential("others", now));
  it.world.source.open[0]?.fail(silent());
  expect((await slow).value.reveal()).toBe("others");
  expect(await (await it.world.pacingElsewhere()).find(backoffKeys(classic))).toEqual([]);
});

test("a flight whose time ends between two attempts says what the last one met", async () => {
  using it = await setup([], { deadlineMs: 50 });
  const { source, clock } = it.world;
  const failure = failureOf(it.value());
  await source.askedTimes(1);
  const [request] = source.open;
  clock.sleep = async () => {
    if (!request?.signal.aborted) await once(request?.signal as EventTarget, "abort");
  };
  source.script(new ServiceError("upstream_unreachable", "nothing was sent"));
  request?.fail(silent());
  expect((await failure).code).toBe("upstream_timeout");
  expect(source.asked).toHaveLength(1);
});

test("P1: nothing is fetched when the lease or the look at the backoffs took most of the lease's time", async () => {
  let looks = 0;
  const slow = (passTime: () => void): CredentialsWorldOptions[] => [
    {
      wrap: (store) => ({
        lease: (...parts) => {
          passTime();
          return store.lease(...parts);
        },
      }),
    },
    {
      wrapPacing: (store) => ({
        find: (keys) => {
          // The first two come before the lease.
          if (++looks > 2) passTime();
          return store.find(keys);
        },
      }),
    },
  ];
  for (const place of [0, 1]) {
    using it = await setup(["never"], slow(() => it.world.clock.advance(7000))[place]);
    expect((await failureOf(it.value())).code).toBe("unavailable");
    expect(it.world.source.asked).toEqual([]);
  }
});

test("who waits for another's lease asks for it less and less often, and has none to give back", async () => {
  let released = 0;
  let asked = 0;
  using it = await setup([], {
    wrap: (store) => ({
      lease: async (...parts) => {
        if (++asked === 20) {
          const issued = credential("theirs", it.world.clock.now());
          await store.save(tokenOf(), issued, (await store.find(tokenOf())).generation);
        }
        return store.lease(...parts);
      },
      release: (...parts) => (released++, store.release(...parts)),
    }),
  });
  const { clock } = it.world;
  await (await it.world.elsewhere()).lease(tokenOf(), { holder: "they", now: clock.now(), lifeMs: LEASE_MS });
  expect(await it.value()).toBe("theirs");
  expect(released).toBe(0);
  expect(clock.pauses[0]).toBeLessThanOrEqual(30);
  expect(Math.min(...clock.pauses.slice(-5))).toBeGreaterThanOrEqual(100);
  expect(Math.max(...clock.pauses)).toBeLessThanOrEqual(300);
});

test("P1: a backoff of another process that comes after the pacer was asked is not overlooked", async () => {
  for (const place of [1, 2]) {
    let looks = 0;
    using it = await setup(["one"], {
      wrapPacing: (store) => ({
        find: async (keys) => {
          const found = await store.find(keys);
          if (++looks === place) await store.put(backoff(it.world.clock.now()));
          return found;
        },
      }),
    });
    expect((await failureOf(it.value())).retryAfterMs).toBe(60_000);
    expect(it.world.source.asked).toEqual([]);
    expect(await (await it.world.pacingElsewhere()).find([KEY])).toHaveLength(1);
  }
});

test("a forced refresh ends rejected tokens when a new token comes, and not when none does", async () => {
  for (const mode of ["stable", "classic"] as const) {
    const ref = tokenOf(weixinSlot("wx1", mode));
    using it = await setup(["one"]);
    const { manager, source, clock, probe } = it.world;
    await manager.get(ref);
    await manager.clear(ref, { actor: ACTOR, onlyIf: new Secret("one") });
    probe.verdict = "revoked";
    source.script("two");
    await manager.get(ref);
    expect(await it.world.knownAs("one")).toBe("rejected");
    source.script(refusal("quota_minute", 45_011));
    await failureOf(manager.refresh(ref, { force: true, actor: ACTOR }));
    expect(await it.world.knownAs("one")).toBe("rejected");
    clock.advance(120_000);
    source.script("three");
    await manager.refresh(ref, { force: true, actor: ACTOR });
    expect([await it.world.knownAs("one"), await it.world.knownAs("three")]).toEqual([undefined, "current"]);
  }
});

test("an app is cleared as a whole or not at all: where one entry can't be written, every token stays", async () => {
  using it = await setup(["a", "b"], {
    wrap: (store) => ({
      clear: (clears) =>
        store.clear(clears.map((each, n) => (n === 1 ? { ...each, entry: UNWRITABLE } : each))),
    }),
  });
  const refs = [tokenOf(weixinSlot("wx1", "stable")), tokenOf(weixinSlot("wx1", "classic"))];
  for (const ref of refs) await it.world.manager.get(ref);
  const app = { platform: "weixin", appId: "wx1" } as const;
  const lost = await it.world.manager.clearApp(app, "access_token", { actor: ACTOR }).catch(String);
  expect(lost).toContain("unwritable");
  const now: string[] = [];
  for (const ref of refs) now.push((await it.world.manager.get(ref)).value.reveal());
  expect(now).toEqual(["a", "b"]);
});

const UNWRITABLE = {
  ...ACTOR,
  action: "credential.cleared",
  app: "wx1",
  outcome: "ok",
  tokenDigest: "",
  detail: {
    toJSON: () => {
      throw new Error("unwritable");
    },
  },
} as const;
