import { expect, test } from "bun:test";
import { type Slot, slotKey, type SlotName } from "../../src/apps/app.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { ServiceError } from "../../src/errors.ts";
import { EventBus } from "../../src/events.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { foreignSlot, weixinSlot } from "../support/slots.ts";
import { StoreFolder } from "../support/store-folder.ts";

const MINUTE = 60_000;

/** A caller that would wait for ever. */
const run = <T>(pacing: Pacing, slot: Slot, ask: () => Promise<T>): Promise<T> =>
  pacing.login(slot, "secret", ask, new AbortController().signal);

/** `refuse` and `accept` send a slot's secret; `calls` counts what reached WeChat. Use it with `using`. */
async function setup(known: readonly string[] = []) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  /** How often a budget was used in the database, or found used up there. */
  const counted = { uses: 0 };
  /** A process of its own on the one database. */
  const process = async () => {
    const { pacing } = await folder.open();
    const use = pacing.use.bind(pacing);
    pacing.use = (request) => {
      counted.uses++;
      return use(request);
    };
    const isKnown = async (slot: SlotName) => known.includes(slotKey(slot));
    return new Pacing({ store: pacing, clock, events: new EventBus(), isKnown });
  };
  const secrets = await process();
  const calls: string[] = [];
  const refuse = (slot: Slot, error: Error = refusal("config"), by = secrets) =>
    failureOf(
      run(by, slot, async () => {
        calls.push(slotKey(slot));
        throw error;
      }),
    );
  const accept = (slot: Slot) =>
    run(secrets, slot, async () => {
      calls.push(slotKey(slot));
      return "served";
    });
  return {
    clock,
    secrets,
    counted,
    process,
    calls,
    refuse,
    accept,
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

const slots = (count: number, platform: Slot["platform"] = "weixin", prefix = "s") =>
  Array.from({ length: count }, (_, n) => foreignSlot(`${prefix}${n}`, platform));

async function refuseAll(world: Awaited<ReturnType<typeof setup>>, all: readonly Slot[]) {
  const errcodes: (number | undefined)[] = [];
  for (const slot of all) errcodes.push((await world.refuse(slot)).upstream?.errcode);
  return errcodes;
}

test("a wrong secret in a loop costs one upstream call, and is told WeChat's own refusal each time", async () => {
  using world = await setup();
  const { calls, refuse } = world;
  const first = await refuse(foreignSlot("a"));
  for (let n = 0; n < 100; n++) expect((await refuse(foreignSlot("a"))).upstream).toEqual(first.upstream);
  expect(first.upstream?.errcode).toBe(40125);
  expect(calls).toHaveLength(1);
});

test("a refusal is forgotten after ten minutes and not before, in every process", async () => {
  using world = await setup();
  const { clock, calls, refuse } = world;
  await refuse(foreignSlot("a"));
  clock.advance(10 * MINUTE - 1);
  await refuse(foreignSlot("a"));
  await refuse(foreignSlot("a"), refusal("config"), await world.process());
  expect(calls).toHaveLength(1);
  clock.advance(1);
  await refuse(foreignSlot("a"));
  expect(calls).toHaveLength(2);
});

test("a refusal is remembered for that app and secret alone", async () => {
  using world = await setup();
  const { accept, refuse } = world;
  await refuse(foreignSlot("a", "weixin", "wx1"));
  expect(await accept(foreignSlot("b", "weixin", "wx1"))).toBe("served");
  expect(await accept(foreignSlot("a", "weixin", "wx2"))).toBe("served");
  expect(await accept(foreignSlot("a", "wecom", "wx1"))).toBe("served");
  expect(await accept(weixinSlot("wx1"))).toBe("served");
});

test("every refusal that the secret or its app is to blame for is remembered", async () => {
  using world = await setup();
  const { calls, refuse } = world;
  for (const kind of ["config", "account", "risk", "permission"] as const) {
    await refuse(foreignSlot(kind), refusal(kind));
    await refuse(foreignSlot(kind), refusal(kind));
  }
  expect(calls).toHaveLength(4);
});

test("a passing fault, a dead token, a bad answer and silence are not remembered", async () => {
  using world = await setup();
  const { calls, refuse } = world;
  const failures = [
    ...(["transient", "token_invalid"] as const).map((kind) => refusal(kind)),
    ...(["upstream_invalid", "upstream_timeout", "upstream_unreachable"] as const).map(
      (code) => new ServiceError(code, "no answer"),
    ),
  ];
  for (const [n, failure] of failures.entries()) {
    await refuse(foreignSlot(`${n}`), failure);
    await refuse(foreignSlot(`${n}`), failure);
  }
  expect(calls).toHaveLength(2 * failures.length);
});

test("a code that WeChat refuses says nothing against the secret, which counts as good from then on", async () => {
  using world = await setup();
  await world.refuse(foreignSlot("a"), refusal("input", 40029));
  expect(await world.accept(foreignSlot("a"))).toBe("served");
  await refuseAll(world, slots(20));
  await world.refuse(foreignSlot("a"), refusal("input", 40163));
  expect(world.calls).toHaveLength(23);
});

test("twenty refusals a minute are allowed in all; the next unknown secret is limited without a call", async () => {
  using world = await setup();
  const halves = [...slots(10, "weixin"), ...slots(10, "wecom")];
  expect(await refuseAll(world, halves)).toEqual(Array.from({ length: 20 }, () => 40125));
  world.clock.advance(10_000);
  for (const platform of ["weixin", "wecom"] as const) {
    const failure = await world.refuse(foreignSlot("next", platform));
    expect(failure.code).toBe("rate_limited");
    expect(failure.retryAfterMs).toBe(50_000);
  }
  expect(world.calls).toHaveLength(20);
});

test("unknown secrets may be tried again once the first refusal is a minute old", async () => {
  using world = await setup();
  await refuseAll(world, slots(1));
  world.clock.advance(30_000);
  await refuseAll(world, slots(19, "weixin", "t"));
  world.clock.advance(29_999);
  expect((await world.refuse(foreignSlot("x"))).code).toBe("rate_limited");
  world.clock.advance(1);
  expect(await world.accept(foreignSlot("x"))).toBe("served");
  await world.refuse(foreignSlot("y"));
  expect((await world.refuse(foreignSlot("z"))).code).toBe("rate_limited");
});

test("a configured secret is never limited and its refusals never count", async () => {
  using world = await setup();
  for (let n = 0; n < 50; n++) await world.refuse(weixinSlot(`wx-${n}`));
  expect(world.calls).toHaveLength(50);
  await refuseAll(world, slots(20));
  expect(await world.accept(weixinSlot())).toBe("served");
  expect(await world.accept({ ...foreignSlot("a"), configured: true })).toBe("served");
});

test("good unknown secrets that were served before are not affected by the limit", async () => {
  using world = await setup(["weixin:wx1:~from-before"]);
  await world.accept(foreignSlot("good"));
  await refuseAll(world, slots(20));
  expect(await world.accept(foreignSlot("good"))).toBe("served");
  expect(await world.accept(foreignSlot("from-before"))).toBe("served");
  expect((await world.refuse(foreignSlot("new"))).code).toBe("rate_limited");
});

test("a secret that was good and is refused now is remembered as refused", async () => {
  using world = await setup();
  await world.accept(foreignSlot("a"));
  await world.refuse(foreignSlot("a"));
  await world.refuse(foreignSlot("a"));
  expect(world.calls).toHaveLength(2);
});

test("WeCom is sent at most 200 wrong secrets an hour, and WeChat's are not limited by that", async () => {
  using world = await setup();
  for (let minute = 0; minute < 10; minute++) {
    await refuseAll(world, slots(20, "wecom", `m${minute}-`));
    world.clock.advance(MINUTE);
  }
  expect(world.calls).toHaveLength(200);
  const failure = await world.refuse(foreignSlot("next", "wecom"));
  expect(failure.code).toBe("rate_limited");
  expect(failure.retryAfterMs).toBe(50 * MINUTE);
  expect(await world.accept(foreignSlot("next", "weixin"))).toBe("served");
  world.clock.advance(50 * MINUTE);
  expect(await world.accept(foreignSlot("next", "wecom"))).toBe("served");
});

test("attempts under way count: of a hundred wrong secrets at once, twenty reach WeChat", async () => {
  using world = await setup();
  const { secrets, calls } = world;
  const gate = Promise.withResolvers<void>();
  const all = slots(100).map((slot) =>
    failureOf(
      run(secrets, slot, async () => {
        calls.push(slotKey(slot));
        await gate.promise;
        throw refusal("config");
      }),
    ),
  );
  gate.resolve();
  const failures = await Promise.all(all);
  expect(calls).toHaveLength(20);
  expect(failures.filter(({ code }) => code === "rate_limited")).toHaveLength(80);
});

test("a hundred good secrets at once are all served, although only twenty may be under way", async () => {
  using world = await setup();
  const { secrets } = world;
  let now = 0;
  let most = 0;
  const answers = slots(100).map((slot) =>
    run(secrets, slot, async () => {
      most = Math.max(most, ++now);
      await Promise.resolve();
      now--;
      return "served";
    }),
  );
  expect(new Set(await Promise.all(answers))).toEqual(new Set(["served"]));
  expect(most).toBeLessThanOrEqual(20);
});

test("good and wrong secrets of both platforms at once: nobody waits for ever", async () => {
  using world = await setup();
  const { secrets, calls } = world;
  const mixed = [...slots(60, "wecom"), ...slots(60, "weixin")];
  const outcomes = await Promise.allSettled(
    mixed.map((slot, n) =>
      run(secrets, slot, async () => {
        calls.push(slotKey(slot));
        await Promise.resolve();
        if (n % 3 === 0) throw refusal("config", 40001, slot.platform);
        if (n % 3 === 1) throw refusal("transient", -1, slot.platform);
        return "served";
      }),
    ),
  );
  expect(outcomes).toHaveLength(120);
  expect(calls.length).toBeGreaterThan(20);
});

test("the same wrong secret many times at once costs WeChat one refusal", async () => {
  using world = await setup();
  const { secrets, calls } = world;
  const ask = () =>
    failureOf(
      run(secrets, foreignSlot("a"), async () => {
        calls.push("a");
        await Promise.resolve();
        throw refusal("config");
      }),
    );
  await Promise.all(Array.from({ length: 25 }, ask));
  expect(calls).toHaveLength(1);
  await ask();
  expect(calls).toHaveLength(1);
});

test("the same good secret many times at once is served to all, once it has proven itself", async () => {
  using world = await setup();
  const { accept, calls } = world;
  const all = await Promise.all(Array.from({ length: 25 }, () => accept(foreignSlot("a"))));
  expect(new Set(all)).toEqual(new Set(["served"]));
  expect(calls).toHaveLength(25);
});

test("P4: an attempt that failed for another reason leaves nothing behind: the next one asks again", async () => {
  using world = await setup();
  const { accept, refuse } = world;
  await refuse(foreignSlot("a"), new ServiceError("upstream_timeout", "silent"));
  expect(await accept(foreignSlot("a"))).toBe("served");
});

test("the limit holds for all processes together, and over a restart", async () => {
  using world = await setup();
  const processes = [world.secrets, await world.process(), await world.process()];
  for (const [n, slot] of slots(30).entries()) await world.refuse(slot, refusal("config"), processes[n % 3]);
  expect(world.calls).toHaveLength(20);
  const restarted = await world.process();
  expect((await world.refuse(foreignSlot("next"), refusal("config"), restarted)).code).toBe("rate_limited");
});

test("a flood of unknown secrets beyond the limit costs the database nothing", async () => {
  using world = await setup();
  await refuseAll(world, slots(21));
  const before = world.counted.uses;
  for (const slot of slots(500, "weixin", "flood"))
    expect((await world.refuse(slot)).retryAfterMs).toBe(MINUTE);
  expect(world.counted.uses).toBe(before);
});

test("attempts of another process that are under way are waited for, too", async () => {
  using world = await setup();
  const gate = Promise.withResolvers<string>();
  const twenty = slots(20).map((slot) => run(world.secrets, slot, () => gate.promise));
  const late = run(await world.process(), foreignSlot("late"), async () => "served");
  for (let n = 0; n < 5; n++) await world.clock.sleep(1);
  gate.resolve("served");
  await Promise.all(twenty);
  expect(await late).toBe("served");
});

test("an address that WeCom has banned is not asked on and on for an unknown secret, and is asked again after a minute", async () => {
  using world = await setup();
  const { calls, refuse, clock } = world;
  const banned = () => refuse(foreignSlot("a", "wecom"), refusal("quota_minute", 45009, "wecom"));
  for (let n = 0; n < 100; n++) expect((await banned()).upstream?.errcode).toBe(45009);
  expect(calls).toHaveLength(1);
  clock.advance(MINUTE + 1);
  await banned();
  expect(calls).toHaveLength(2);
});

test("the used-up quota of a secret that is known to be good is not held against the others", async () => {
  using world = await setup();
  await world.accept(foreignSlot("good"));
  for (let n = 0; n < 30; n++) await world.refuse(foreignSlot("good"), refusal("quota_day", 45009));
  expect(world.calls).toHaveLength(31);
  expect(await world.accept(foreignSlot("another"))).toBe("served");
});

test("a caller that waits for a place gives up when its time is over, and nothing is sent for it", async () => {
  using world = await setup();
  const { secrets, calls } = world;
  const gate = Promise.withResolvers<string>();
  const twenty = slots(20).map((slot) => run(secrets, slot, () => gate.promise));
  const caller = new AbortController();
  const late = failureOf(
    secrets.login(
      foreignSlot("late"),
      "secret",
      async () => {
        calls.push("late");
      },
      caller.signal,
    ),
  );
  caller.abort();
  expect((await late).code).toBe("rate_limited");
  gate.resolve("served");
  await Promise.all(twenty);
  expect(calls).toEqual([]);
});

test("a WeCom caller held back by WeCom's own limit does not keep a WeChat caller waiting", async () => {
  using world = await setup();
  for (let hour = 0; hour < 10; hour++) {
    await refuseAll(world, slots(hour < 9 ? 20 : 19, "wecom", `${hour}-`));
    world.clock.advance(MINUTE + 1);
  }
  const [slow, quick] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const wecom = slots(31, "wecom", "slow").map((slot) => run(world.secrets, slot, () => slow.promise));
  const weixin = slots(19, "weixin", "quick").map((slot) => run(world.secrets, slot, () => quick.promise));
  const last = run(world.secrets, foreignSlot("last"), async () => "served");
  quick.resolve("served");
  expect(await last).toBe("served");
  slow.resolve("served");
  expect(await Promise.all([...wecom, ...weixin])).toHaveLength(50);
});
