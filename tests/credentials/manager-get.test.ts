import type { Backoff } from "../../src/credentials/backoff.ts";
import { expect, test } from "bun:test";
import { once } from "node:events";
import { NO_RECORD } from "../../src/credentials/credential.ts";
import { ServiceError } from "../../src/errors.ts";
import { ManualSource, issued } from "../support/manual-source.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { foreignSlot, tokenOf, wecomSlot, weixinSlot } from "../support/slots.ts";
import { CredentialsHarness } from "./credentials-harness.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const silent = () => new ServiceError("upstream_timeout", "silent");
const times = <T>(count: number, work: (n: number) => T) => Array.from({ length: count }, (_, n) => work(n));

async function setup(...answers: ConstructorParameters<typeof ManualSource>) {
  return CredentialsHarness.create(new ManualSource(...answers));
}

test("P1: ten thousand callers at once cost one upstream call and get its answer", async () => {
  using world = await setup();
  const all = times(10_000, () => world.manager.get(tokenOf()));
  await world.source.askedTimes(1);
  world.source.open[0]?.issue("token");
  expect(new Set((await Promise.all(all)).map(({ value }) => value.reveal()))).toEqual(new Set(["token"]));
  expect(world.source.asked).toHaveLength(1);
  expect(world.emitted()).toEqual(["credential.refreshed"]);
});

test("P1: ten thousand callers at once cost one upstream call and get its failure", async () => {
  using world = await setup();
  const all = times(10_000, () => failureOf(world.manager.get(tokenOf())));
  await world.source.askedTimes(1);
  world.source.open[0]?.fail(refusal("config"));
  const failures = await Promise.all(all);
  expect(new Set(failures).size).toBe(1);
  expect(failures[0]?.upstream?.errcode).toBe(40125);
  expect(world.source.asked).toHaveLength(1);
});

test("P1: a hundred apps, a hundred callers each, cost a hundred upstream calls", async () => {
  using world = await setup(...times(100, (n) => `token-${n}`));
  const refs = times(100, (n) => tokenOf(weixinSlot(`wx${n}`)));
  const got = await Promise.all(refs.flatMap((ref) => times(100, () => world.manager.get(ref))));
  expect(new Set(got.map(({ value }) => value.reveal())).size).toBe(100);
  expect(world.source.asked).toHaveLength(100);
  expect(new Set(world.source.asked).size).toBe(100);
});

test("P4: a failing app never keeps another waiting or costs it anything", async () => {
  using world = await setup();
  const bad = failureOf(world.manager.get(tokenOf(weixinSlot("wx-bad"))));
  const good = world.manager.get(tokenOf(weixinSlot("wx-good")));
  await world.source.askedTimes(2);
  const openOf = (appId: string) => world.source.open.find(({ ref }) => ref.slot.appId === appId);
  openOf("wx-good")?.issue("token");
  expect((await good).value.reveal()).toBe("token");
  openOf("wx-bad")?.fail(refusal("config"));
  expect((await bad).upstream?.class).toBe("config");
});

test("P4: nothing is stuck after a refusal or a quota: it is repeated until its backoff ends, and then asked again", async () => {
  using world = await setup();
  const failures = [
    [refusal("config"), 10 * MINUTE],
    [refusal("quota_minute", 45011), MINUTE],
    [refusal("quota_day", 45009), 12 * HOUR - 11 * MINUTE],
  ] as const;
  for (const [failure, ms] of failures) {
    const lost = failureOf(world.manager.get(tokenOf()));
    await world.source.askedTimes(world.source.open.length + 1);
    world.source.open.at(-1)?.fail(failure);
    const first = await lost;
    expect(first.upstream).toEqual(failure.upstream);
    expect(first.retryAfterMs).toBe(ms);
    for (const [passedMs, leftMs] of [
      [0, ms],
      [ms - 1000, 1000],
    ] as const) {
      world.clock.advance(passedMs);
      const told = await failureOf(world.manager.get(tokenOf()));
      expect(told.upstream).toEqual(failure.upstream);
      expect(told.retryAfterMs).toBe(leftMs);
    }
    world.clock.advance(1000);
  }
  expect(world.source.asked).toHaveLength(failures.length);
  const next = world.manager.get(tokenOf());
  await world.source.askedTimes(failures.length + 1);
  world.source.open.at(-1)?.issue("token");
  expect((await next).value.reveal()).toBe("token");
  expect(world.emitted()).toEqual([
    ...failures.map(() => "credential.refresh_failed"),
    "credential.refreshed",
  ]);
});

test("P4: nothing is stuck after a fault of ours: the next call asks again at once", async () => {
  using world = await setup();
  for (const failure of [new Error("a bug"), new ServiceError("unavailable", "busy"), new Error("another")]) {
    const lost = world.manager.get(tokenOf()).catch((error: unknown) => error);
    await world.source.askedTimes(world.source.open.length + 1);
    world.source.open.at(-1)?.fail(failure);
    expect(await lost).toBe(failure);
  }
  const next = world.manager.get(tokenOf());
  await world.source.askedTimes(4);
  world.source.open.at(-1)?.issue("token");
  expect((await next).value.reveal()).toBe("token");
  expect(world.emitted()).toEqual([...times(3, () => "credential.refresh_failed"), "credential.refreshed"]);
});

test("a source that stays silent is told to stop at the deadline, and nothing is stuck afterwards", async () => {
  using world = await CredentialsHarness.create(new ManualSource(), { deadlineMs: 20 });
  const lost = failureOf(world.manager.get(tokenOf()));
  await world.source.askedTimes(1);
  const [open] = world.source.open;
  if (!open?.signal.aborted) await once(open?.signal as EventTarget, "abort");
  open?.fail(silent());
  expect((await lost).code).toBe("upstream_timeout");
  expect(world.source.asked).toHaveLength(1);
  const told = await failureOf(world.manager.get(tokenOf()));
  expect([told.code, told.retryAfterMs]).toEqual(["upstream_timeout", 1000]);
  expect(world.source.asked).toHaveLength(1);
  world.clock.advance(1000);
  world.source.script("token");
  expect((await failureOf(world.manager.get(tokenOf()))).code).toBe("upstream_timeout");
  await world.manager.settle();
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("token");
  expect(world.source.asked).toHaveLength(2);
});

test("P8: a warm get asks neither WeChat nor the database", async () => {
  const used: string[] = [];
  using world = await CredentialsHarness.create(new ManualSource("token"), {
    wrap: (store) => ({
      find: (...parts) => (used.push("find"), store.find(...parts)),
      lease: (...parts) => (used.push("lease"), store.lease(...parts)),
      release: (...parts) => (used.push("release"), store.release(...parts)),
      save: (...parts) => (used.push("save"), store.save(...parts)),
      touch: (...parts) => (used.push("touch"), store.touch(...parts)),
    }),
  });
  await world.manager.get(tokenOf());
  expect(used).toEqual(["find", "lease", "save", "release"]);
  used.length = 0;
  for (let n = 0; n < 100; n++) {
    world.clock.advance(5);
    await world.manager.get(tokenOf());
  }
  expect(used).toEqual([]);
  expect(world.source.asked).toHaveLength(1);
});

test("stable and classic tokens of one app, and a foreign secret's, are credentials of their own", async () => {
  using world = await setup("stable", "classic", "foreign");
  const refs = [weixinSlot("wx1", "stable"), weixinSlot("wx1", "classic"), foreignSlot("x")].map(tokenOf);
  for (const round of [1, 2]) {
    const got: string[] = [];
    for (const ref of refs) got.push((await world.manager.get(ref)).value.reveal());
    expect(got, `round ${round}`).toEqual(["stable", "classic", "foreign"]);
  }
  expect(world.source.asked).toHaveLength(3);
});

test("P3: a restart serves the stored token with the life that is left, and WeChat is not asked", async () => {
  using world = await setup("token");
  await world.manager.get(tokenOf());
  world.clock.advance(HOUR);
  const again = await world.restarted().get(tokenOf());
  expect(again.value.reveal()).toBe("token");
  expect(again.remainingMs()).toBe(HOUR);
  expect(world.source.asked).toHaveLength(1);
});

test("a token is asked for again when 200 s are left, and not before; its callers get it meanwhile, to its end", async () => {
  using world = await setup("one");
  const value = async () => (await world.manager.get(tokenOf())).value.reveal();
  await value();
  world.clock.advance(2 * HOUR - 200_001);
  expect(await value()).toBe("one");
  await world.manager.settle();
  expect(world.source.asked).toHaveLength(1);
  world.clock.advance(1);
  expect(await value()).toBe("one");
  await world.source.askedTimes(2);
  world.clock.advance(199_000);
  expect(await value()).toBe("one");
  world.clock.advance(1);
  const waiting = value();
  world.source.open[0]?.issue("two");
  expect(await waiting).toBe("two");
  expect(world.source.asked).toHaveLength(2);
});

test("a token that WeChat repeats is asked for again no sooner than 15 s later, however many callers come", async () => {
  using world = await setup("one", issued("one", 200_000), issued("one", 185_000));
  await world.manager.get(tokenOf());
  world.clock.advance(2 * HOUR - 200_000);
  for (let second = 0; second < 30; second++) {
    await Promise.all(times(10, () => world.manager.get(tokenOf())));
    await world.manager.settle();
    world.clock.advance(1000);
  }
  expect(world.source.asked).toHaveLength(3);
});

test("P2: a wall clock set back does not bring a token back whose life is over", async () => {
  using world = await setup("one");
  await world.manager.get(tokenOf());
  world.clock.advance(2 * HOUR - 100_000);
  world.clock.jumpWall(-HOUR);
  expect((await world.manager.get(tokenOf())).remainingMs()).toBe(100_000);
  await world.source.askedTimes(2);
  world.clock.advance(100_000);
  const waiting = world.manager.get(tokenOf());
  world.source.open[0]?.issue("two");
  expect((await waiting).value.reveal()).toBe("two");
  expect(world.source.asked).toHaveLength(2);
});

test("P2: a wall clock that jumps ten years ahead and back leaves a token that works, and asks at most twice", async () => {
  using world = await setup("one", "two", "three");
  await world.manager.get(tokenOf());
  world.clock.jumpWall(10 * 365 * 24 * HOUR);
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("two");
  world.clock.jumpWall(-10 * 365 * 24 * HOUR);
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("two");
  world.clock.advance(2 * HOUR);
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("three");
});

test("P2: after a restart with a wall clock before the issue, WeChat is asked again", async () => {
  using world = await setup("one", "two");
  await world.manager.get(tokenOf());
  world.clock.jumpWall(-HOUR);
  expect((await world.restarted().get(tokenOf())).value.reveal()).toBe("two");
});

test("P2: an answer that was long on its way is counted from before it was asked for", async () => {
  using world = await setup();
  const slow = world.manager.get(tokenOf());
  await world.source.askedTimes(1);
  world.clock.advance(7000);
  world.source.open[0]?.issue("token");
  expect((await slow).remainingMs()).toBe(2 * HOUR - 7000);
});

test("P2: a wall clock that is set back while an answer is on its way does not make it younger", async () => {
  using world = await setup();
  const slow = world.manager.get(tokenOf());
  await world.source.askedTimes(1);
  world.clock.advance(7000);
  world.clock.jumpWall(-4000);
  world.source.open[0]?.issue("token");
  expect((await slow).remainingMs()).toBe(2 * HOUR - 7000);
});

test("a token that lives 20 s is served for 19 s from one call, and then asked for once more", async () => {
  using world = await setup(issued("one", 20_000), issued("two", 20_000));
  for (let second = 0; second < 19; second++) {
    expect((await world.manager.get(tokenOf())).remainingMs()).toBe(20_000 - second * 1000);
    world.clock.advance(1000);
  }
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("one");
  world.clock.advance(1000);
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("two");
  expect(world.source.asked).toHaveLength(2);
});

test("P2: an answer that is dead on arrival is asked for once more, and is never handed out", async () => {
  using world = await setup();
  const late = failureOf(world.manager.get(tokenOf()));
  for (const count of [1, 2]) {
    await world.source.askedTimes(count);
    world.clock.advance(5000);
    world.source.open.at(-1)?.issue(`late-${count}`, 5000);
  }
  const failure = await late;
  expect(failure.code).toBe("unavailable");
  expect(failure.retryAfterMs).toBe(1000);
  world.source.script("in-time");
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("in-time");
  expect(world.source.asked).toHaveLength(3);
});

test("a busy WeChat is asked three times with growing pauses, and then its own word is passed on", async () => {
  using world = await setup(...times(3, () => refusal("transient", -1)), "never");
  expect((await failureOf(world.manager.get(tokenOf()))).upstream?.errcode).toBe(-1);
  expect(world.source.asked).toHaveLength(3);
  const [first = 0, second = 0] = world.clock.pauses;
  expect(world.clock.pauses).toHaveLength(2);
  expect(first).toBeWithin(100, 301);
  expect(second).toBeWithin(200, 601);
  const told = await failureOf(world.manager.get(tokenOf()));
  expect([told.upstream?.errcode, told.retryAfterMs]).toEqual([-1, 1000]);
  expect(world.source.asked).toHaveLength(3);
});

test("a WeChat that was busy for a moment costs the caller nothing but the pause", async () => {
  using world = await setup(refusal("transient", -1), silent(), "token");
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("token");
  expect(world.emitted()).toEqual(["credential.refreshed"]);
});

test("a refusal that says more than `busy` is never asked again", async () => {
  const kinds = [
    "config",
    "quota_minute",
    "quota_day",
    "risk",
    "account",
    "permission",
    "input",
    "token_invalid",
  ] as const;
  for (const kind of kinds) {
    using world = await setup(refusal(kind), "never");
    expect((await failureOf(world.manager.get(tokenOf()))).upstream?.class).toBe(kind);
    expect(world.source.asked).toHaveLength(1);
  }
});

test("a classic fetch whose answer was lost is never sent again, because it may have issued a token", async () => {
  for (const code of ["upstream_timeout", "upstream_invalid"] as const) {
    using world = await setup(new ServiceError(code, "lost"), "never");
    expect((await failureOf(world.manager.get(tokenOf(weixinSlot("wx1", "classic"))))).code).toBe(code);
    expect(world.source.asked).toHaveLength(1);
  }
});

test("a classic fetch that was never sent, or that WeChat answered with `busy`, is sent again", async () => {
  using world = await setup(
    new ServiceError("upstream_unreachable", "no route"),
    refusal("transient", -1),
    "token",
  );
  expect((await world.manager.get(tokenOf(weixinSlot("wx1", "classic")))).value.reveal()).toBe("token");
});

test("a stable fetch and a ticket whose answer was lost are asked for again", async () => {
  for (const kind of ["access_token", "jsapi_ticket"] as const) {
    using world = await setup(silent(), new ServiceError("upstream_invalid", "rubbish"), "value");
    const slot = weixinSlot("wx1", kind === "access_token" ? "stable" : "classic");
    expect((await world.manager.get({ slot, kind })).value.reveal()).toBe("value");
    expect(world.source.asked).toHaveLength(3);
  }
});

test("a wrong foreign secret is refused from memory, and the configured token is neither served nor touched", async () => {
  using world = await setup("token", refusal("config"));
  await world.manager.get(tokenOf());
  for (let n = 0; n < 5; n++) {
    expect((await failureOf(world.manager.get(tokenOf(foreignSlot("wrong"))))).upstream?.errcode).toBe(40125);
  }
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("token");
  expect(world.source.asked).toHaveLength(2);
  // Nothing stays of it: or every wrong secret that is ever tried would fill the disk.
  expect(await world.store.find(tokenOf(foreignSlot("wrong")))).toEqual(NO_RECORD);
});

test("settling waits for the refresh that runs", async () => {
  using world = await setup();
  const got = world.manager.get(tokenOf());
  await world.source.askedTimes(1);
  let settled = false;
  const settling = world.manager.settle().then(() => (settled = true));
  await world.clock.sleep(0);
  expect(settled).toBeFalse();
  world.source.open[0]?.issue("token");
  await settling;
  expect((await got).value.reveal()).toBe("token");
});

test("P4: a fetch that succeeds leaves the word on the whole corp that another process got meanwhile", async () => {
  using world = await setup();
  const [one, two] = [tokenOf(wecomSlot("ww1", "1000001")), tokenOf(wecomSlot("ww1", "1000002"))];
  const elsewhere = await world.pacingElsewhere();
  const now = world.clock.now();
  const failure = { code: "upstream_rejected", message: "too often" } as const;
  const corp: Backoff = {
    key: "wecom:ww1",
    reason: "quota",
    failure,
    count: 1,
    since: now - MINUTE,
    until: now,
  };
  await elsewhere.put(corp);
  const got = world.manager.get(one);
  await world.source.askedTimes(1);
  await elsewhere.put({ ...corp, count: 2, since: now, until: now + 5 * MINUTE });
  world.source.open[0]?.issue("token");
  expect((await got).value.reveal()).toBe("token");
  expect((await failureOf(world.manager.get(two))).retryAfterMs).toBe(5 * MINUTE);
  expect(world.source.asked).toHaveLength(1);
});
