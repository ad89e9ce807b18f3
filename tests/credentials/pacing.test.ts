import { expect, test } from "bun:test";
import { type Backoff, backoffKeys } from "../../src/credentials/backoff.ts";
import type { CredentialName } from "../../src/credentials/credential.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { ServiceError } from "../../src/errors.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { foreignSlot, tokenOf, wecomSlot, weixinSlot } from "../support/slots.ts";
import { StoreFolder } from "../support/store-folder.ts";

const SECOND = 1000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A pacer on a real database; `another` is one of another process. Use it with `using`. */
async function setup(options: Partial<ConstructorParameters<typeof Pacing>[0]> = {}) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const told: ServiceEvent[] = [];
  const another = async () => {
    const events = new EventBus();
    events.subscribe((event) => told.push(event));
    const store = (await folder.open()).pacing;
    return { store, pacing: new Pacing({ store, clock, events, ...options }) };
  };
  const { store, pacing } = await another();
  /** How often `purpose` is admitted when it is asked for `times` times. */
  const admitted = async (times: number, ...request: Parameters<Pacing["admit"]>) => {
    let count = 0;
    for (let n = 0; n < times; n++) {
      const isAdmitted = await pacing.admit(...request).then(
        () => true,
        (error: unknown) => !(error instanceof ServiceError),
      );
      if (isAdmitted) count++;
    }
    return count;
  };
  return { clock, told, store, pacing, another, admitted, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

test("each purpose has its interval, for its credential or its app, and no other purpose is held up by it", async () => {
  using it = await setup();
  const [token, ticket] = [tokenOf(), { ...tokenOf(), kind: "jsapi_ticket" } as const];
  const classic = tokenOf(weixinSlot("wx1", "classic"));
  for (const [purpose, code, ms, perApp] of [
    ["complaint", "unavailable", 10 * SECOND, true],
    ["clear", "rate_limited", 10 * SECOND, false],
    ["refresh", "rate_limited", 10 * SECOND, false],
    ["force", "unavailable", 30 * SECOND, true],
  ] as const) {
    expect(await it.admitted(3, purpose, token)).toBe(1);
    const failure = await failureOf(it.pacing.admit(purpose, token));
    expect([purpose, failure.code, failure.retryAfterMs, failure.pacing]).toEqual([
      purpose,
      code,
      ms,
      "handled",
    ]);
    for (const same of [ticket, classic]) expect(await it.admitted(1, purpose, same)).toBe(perApp ? 0 : 1);
    expect(await it.admitted(1, purpose, tokenOf(weixinSlot("wx2")))).toBe(1);
    it.clock.advance(ms - 1);
    expect(await it.admitted(1, purpose, token)).toBe(0);
    it.clock.advance(1);
    expect(await it.admitted(3, purpose, token)).toBe(1);
  }
});

test("of a platform's token a caller has a third of the rejections of an hour, and what comes to nothing counts for 10 s alone", async () => {
  using it = await setup();
  const platform = {
    slot: { ...weixinSlot("wxc1"), name: "@component" },
    kind: "component_access_token",
  } as const;
  const admitted = async (caller: string, name: CredentialName = platform) => {
    it.clock.advance(10 * SECOND);
    return it.admitted(1, "rejection", name, { caller });
  };
  let count = 0;
  for (let n = 0; n < 21; n++) count += await admitted("a");
  expect([count, await admitted("b"), await admitted("a")]).toEqual([20, 1, 0]);
  // Of an app that is no platform they are for all together.
  count = 0;
  for (let n = 0; n < 30; n++) count += await admitted("a", tokenOf());
  expect(count).toBe(30);
  const other = { ...platform, slot: { ...weixinSlot("wxc2"), name: "@component" } };
  for (let n = 0; n < 63; n++) {
    if (n % 3 === 0) it.clock.advance(10 * SECOND);
    await (await it.pacing.admit("rejection", other, { caller: "a" })).giveBack();
    if (n % 3 === 2) expect(await it.admitted(1, "rejection", other, { caller: "a" })).toBe(0);
  }
});

test("codes that come to nothing: ten a minute for a caller, sixty for a platform", async () => {
  using it = await setup();
  const platform = {
    slot: { ...weixinSlot("wxc1"), name: "@component" },
    kind: "component_access_token",
  } as const;
  const counts: number[] = [];
  for (let n = 0; n < 7; n++) counts.push(await it.admitted(12, "exchange", platform, { caller: `${n}` }));
  expect(counts).toEqual([10, 10, 10, 10, 10, 10, 0]);
  it.clock.advance(MINUTE);
  expect(await it.admitted(1, "exchange", platform, { caller: "0" })).toBe(1);
});

test("twenty forced refreshes a day in Beijing, over all processes and a restart", async () => {
  using it = await setup();
  const other = await it.another();
  const take = (n: number) => (n % 2 ? it : other).pacing.take("force", tokenOf());
  for (let n = 0; n < 20; n++) {
    expect([n, await take(n)]).toEqual([n, 0]);
    it.clock.advance(MINUTE);
  }
  expect(await (await it.another()).pacing.take("force", tokenOf())).toBe(12 * HOUR - 20 * MINUTE);
  expect(await it.pacing.forcedToday(["wx1"])).toEqual([20]);
  expect(await it.pacing.forcedOften(20)).toEqual([{ appId: "wx1", count: 20 }]);
  expect(await it.pacing.forcedOften(21)).toEqual([]);
  it.clock.advance(12 * HOUR - 20 * MINUTE);
  expect(await it.pacing.forcedToday(["wx1"])).toEqual([0]);
  expect(await take(0)).toBe(0);
});

test("what is given back may be used at once", async () => {
  using it = await setup();
  const admission = await it.pacing.admit("clear", tokenOf());
  await admission.giveBack();
  expect(await it.admitted(2, "clear", tokenOf())).toBe(1);
});

test("a complaint of another endpoint has a budget of its own, and a third has none", async () => {
  using it = await setup();
  const by = (endpoint?: string) => it.admitted(1, "complaint", tokenOf(), { endpoint });
  expect([
    await by("/a"),
    await by("/a"),
    await by(),
    await by("/b"),
    await by("/b"),
    await by("/c"),
  ]).toEqual([1, 0, 0, 1, 0, 0]);
  it.clock.advance(10 * SECOND);
  expect([await by("/c"), await by("/c"), await by("/a")]).toEqual([1, 0, 1]);
});

test("P4: a success removes only the backoffs that it saw: WeCom's word on the whole corp that came meanwhile stays", async () => {
  using it = await setup();
  const [one, two] = [tokenOf(wecomSlot("ww1", "1000001")), tokenOf(wecomSlot("ww1", "1000002"))];
  const tooOften = refusal("quota_minute", 45009, "wecom");
  await it.pacing.failed(one, tooOften, []);
  it.clock.advance(MINUTE);
  const seen = await it.pacing.seen(one);
  const other = await it.another();
  await other.pacing.failed(two, tooOften, await other.pacing.seen(two));
  await it.pacing.succeeded(seen);
  expect((await it.pacing.check(one))?.error).toMatchObject({
    upstream: { errcode: 45009 },
    retryAfterMs: 5 * MINUTE,
  });
  await it.pacing.succeeded(await it.pacing.seen(one));
  expect(await it.pacing.check(one)).toBeUndefined();
});

test("a failure that may pass is probed for a minute after its backoff, one that WeChat has spoken is not", async () => {
  using it = await setup();
  const verdict = async () => (await it.pacing.check(tokenOf()))?.mayProbe;
  await it.pacing.failed(tokenOf(), refusal("transient", -1), []);
  expect(await verdict()).toBeFalse();
  it.clock.advance(SECOND);
  expect(await verdict()).toBeTrue();
  it.clock.advance(MINUTE);
  expect(await verdict()).toBeUndefined();
  await it.pacing.failed(tokenOf(), refusal("config"), []);
  it.clock.advance(10 * MINUTE);
  expect(await verdict()).toBeUndefined();
});

test("an error that was handled, or is ours, calls for no backoff; a terminal one says itself how long it lasts", async () => {
  using it = await setup();
  const ours = new ServiceError("unavailable", "busy", { retryAfterMs: 1000 });
  expect(await it.pacing.failed(tokenOf(), ours, [])).toBe(ours);
  const first = await it.pacing.failed(tokenOf(), refusal("config"), []);
  expect(first.pacing).toBe("handled");
  expect(await it.pacing.failed({ ...tokenOf(), kind: "jsapi_ticket" }, first, [])).toBe(first);
  const terminal = new ServiceError("unavailable", "no way", { retryAfterMs: 7000, pacing: "terminal" });
  await it.pacing.failed(tokenOf(weixinSlot("wx2")), terminal, []);
  expect((await it.pacing.check(tokenOf(weixinSlot("wx2"))))?.error.retryAfterMs).toBe(7000);
  const keys = backoffKeys({ ...tokenOf(), kind: "jsapi_ticket" });
  expect(await it.store.find(keys)).toEqual([]);
});

test("what was said of a secret that was changed meanwhile opens no circuit, nor where that is while it is stored", async () => {
  // It is changed the moment that the backoff is stored.
  using it = await setup({
    isOutdated: async () => (await it.store.find(backoffKeys(tokenOf()))).length > 0,
  });
  const failure = await it.pacing.failed(tokenOf(), refusal("config"), []);
  expect([failure.pacing, failure.upstream?.errcode]).toEqual(["handled", 40125]);
  expect(await it.pacing.check(tokenOf())).toBeUndefined();
});

test("unblocking removes the backoffs of the app in every token mode, and says so", async () => {
  using it = await setup();
  const classic = tokenOf(weixinSlot("wx1", "classic"));
  for (const ref of [tokenOf(), classic, tokenOf(weixinSlot("wx2"))])
    await it.pacing.failed(ref, refusal("config"), []);
  await it.pacing.unblock(weixinSlot(), { client: "admin", environment: "", address: "::1", traceId: "" });
  expect([await it.pacing.check(tokenOf()), await it.pacing.check(classic)]).toEqual([undefined, undefined]);
  expect(await it.pacing.check(tokenOf(weixinSlot("wx2")))).toBeDefined();
  expect(it.told).toEqual([{ type: "app.unblocked", key: "weixin:wx1:stable", address: "::1" }]);
});

test("verdicts are believed for 10 s by the monotonic clock, and forgotten then", async () => {
  using it = await setup();
  const [one, two] = [new Secret("one"), new Secret("two")];
  it.pacing.rememberValid("key", one, "/a");
  it.clock.jumpWall(86_400_000);
  it.clock.advance(9999);
  expect(it.pacing.isKnownValid("key", one)).toBeTrue();
  expect([it.pacing.isKnownValid("key", two), it.pacing.isKnownValid("other", one)]).toEqual([false, false]);
  const answers = (endpoint?: string) => it.pacing.isFalseComplaint("key", one, endpoint);
  expect([answers("/a"), answers("/b"), answers()]).toEqual([true, false, true]);
  it.pacing.rememberValid("key", one, "/b");
  expect([answers("/a"), answers("/b"), answers("/c")]).toEqual([true, true, false]);
  it.clock.advance(10_000);
  expect(it.pacing.isKnownValid("key", one)).toBeFalse();
});

test("a backoff that a wrong clock has put off holds nothing up", async () => {
  using it = await setup();
  await it.pacing.failed(tokenOf(), refusal("config"), []);
  it.clock.jumpWall(-HOUR);
  expect(await it.pacing.check(tokenOf())).toBeUndefined();
  expect(await it.admitted(1, "refresh", tokenOf())).toBe(1);
  const written: Backoff[] = await it.store.find(["weixin:wx1:stable"]);
  expect(written).toHaveLength(1);
});

test("an administrator's checks of secrets have a budget of their own, over all processes and a restart", async () => {
  using it = await setup();
  const [weixin, wecom] = [tokenOf(foreignSlot("x")), tokenOf(foreignSlot("x", "wecom"))];
  for (let n = 0; n < 20; n++) expect(await it.pacing.take("unknown_secret", weixin)).toBe(0);
  expect(await it.admitted(12, "secret_check", weixin)).toBe(12);
  const { pacing } = await it.another();
  for (let n = 0; n < 8; n++) await pacing.admit("secret_check", wecom);
  const failure = await failureOf(it.pacing.admit("secret_check", weixin));
  expect([failure.code, failure.retryAfterMs, failure.message.includes("secret")]).toEqual([
    "rate_limited",
    MINUTE,
    true,
  ]);
  it.clock.advance(MINUTE);
  expect(await it.admitted(1, "secret_check", weixin)).toBe(1);
});
