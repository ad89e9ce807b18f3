import { expect, test } from "bun:test";
import { LEASE_MS } from "../../src/credentials/refresh.ts";
import { Secret } from "../../src/secret.ts";
import { issued, ManualSource } from "../support/manual-source.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { tokenOf, wecomSlot, weixinSlot } from "../support/slots.ts";
import { saveUnderLease } from "../support/store-folder.ts";
import { CredentialsHarness } from "./credentials-harness.ts";

const BY = { actor: { client: "test", environment: "", address: "127.0.0.1", traceId: "" } };

async function setup(...answers: ConstructorParameters<typeof ManualSource>) {
  const world = await CredentialsHarness.create(new ManualSource(...answers));
  const replace = async (rejected: string, ref = tokenOf()) =>
    (await world.manager.replace(ref, new Secret(rejected))).value.reveal();
  const get = async (ref = tokenOf()) => (await world.manager.get(ref)).value.reveal();
  return { world, replace, get, [Symbol.dispose]: () => world[Symbol.dispose]() };
}

test("a token that WeChat refused is replaced by one upstream call, and nothing is forced", async () => {
  using it = await setup("one", "two");
  await it.get();
  expect(await it.replace("one")).toBe("two");
  expect(await it.get()).toBe("two");
  expect([it.world.source.asked.length, it.world.source.forced, it.world.probe.asked.length]).toEqual([
    2, 0, 0,
  ]);
  expect(it.world.emitted()).toEqual([
    "credential.refreshed",
    "credential.revoked_early",
    "credential.refreshed",
  ]);
});

test("a complaint about a value that was replaced already costs nothing", async () => {
  using it = await setup("one", "two");
  await it.get();
  await it.replace("one");
  expect(await it.replace("one")).toBe("two");
  expect(await it.replace("never-seen")).toBe("two");
  expect(it.world.source.asked).toHaveLength(2);
  expect(it.world.probe.asked).toEqual([]);
});

test("P1: a thousand complaints about one token cost one upstream call", async () => {
  using it = await setup("one", "two", "three");
  await it.get();
  const all = await Promise.all(Array.from({ length: 1000 }, () => it.replace("one")));
  expect(new Set(all)).toEqual(new Set(["two"]));
  expect(it.world.source.asked).toHaveLength(2);
});

test("P2: a complaint that joins an older flight is not answered with the value that was refused", async () => {
  using it = await setup();
  const first = it.get();
  await it.world.source.askedTimes(1);
  const replaced = it.replace("one");
  it.world.source.script("two");
  it.world.source.open[0]?.issue("one");
  expect(await first).toBe("one");
  expect(await replaced).toBe("two");
});

test("in stable mode WeChat may issue the same value again: when it says that it is valid, it is returned, and believed for 10 s", async () => {
  using it = await setup("one", "one", "one", "never");
  it.world.probe.verdict = "valid";
  await it.get();
  expect(await it.replace("one")).toBe("one");
  expect(it.world.source.asked).toHaveLength(2);
  it.world.clock.advance(9999);
  expect(await it.replace("one")).toBe("one");
  expect(it.world.source.asked).toHaveLength(2);
  expect(it.world.probe.asked).toEqual(["one"]);
  it.world.clock.advance(1);
  expect(await it.replace("one")).toBe("one");
  expect(it.world.probe.asked).toEqual(["one", "one"]);
  expect(it.world.source.forced).toBe(0);
});

for (const kind of ["stable", "classic", "wecom"] as const) {
  test(`P2: a token that WeChat has just called valid, and that another endpoint then rejects because it is revoked, is replaced at once (${kind})`, async () => {
    using it = await setup("one");
    const ref = tokenOf(kind === "wecom" ? wecomSlot() : weixinSlot("wx1", kind));
    const replace = async (endpoint: string) =>
      (await it.world.manager.replace(ref, new Secret("one"), undefined, { endpoint })).value.reveal();
    it.world.probe.verdict = "valid";
    await it.get(ref);
    if (kind !== "classic") it.world.source.script("one");
    expect(await replace("/cgi-bin/menu")).toBe("one");
    it.world.clock.advance(1000);
    it.world.probe.verdict = "revoked";
    it.world.source.script("two");
    expect(await replace("/cgi-bin/menu")).toBe("one");
    expect(await replace("/cgi-bin/user")).toBe("two");
    expect(await replace("/cgi-bin/menu")).toBe("two");
  });
}

test("a verdict has the token checked for one other endpoint; further ones get the verdict, and no error", async () => {
  using it = await setup("one", "one", "one", "never");
  const replace = async (endpoint?: string) =>
    (await it.world.manager.replace(tokenOf(), new Secret("one"), undefined, { endpoint })).value.reveal();
  it.world.probe.verdict = "valid";
  await it.get();
  for (const endpoint of ["/cgi-bin/menu", "/cgi-bin/user", "/cgi-bin/tags", undefined, "/cgi-bin/menu"])
    expect([endpoint, await replace(endpoint)]).toEqual([endpoint, "one"]);
  expect(it.world.probe.asked).toEqual(["one", "one"]);
});

test("P1: a thousand complaints from two endpoints about one token cost two verifications", async () => {
  using it = await setup("one", "one", "one", "never");
  it.world.probe.verdict = "valid";
  await it.get();
  for (const endpoint of ["/cgi-bin/menu", "/cgi-bin/user", "/cgi-bin/menu", "/cgi-bin/user"]) {
    const complain = () => it.world.manager.replace(tokenOf(), new Secret("one"), undefined, { endpoint });
    await Promise.all(Array.from({ length: 250 }, complain));
  }
  expect(it.world.probe.asked).toHaveLength(2);
});

test("another process has a second endpoint's complaint checked too, within the same budget", async () => {
  using it = await setup("one", "one", "one", "never");
  const other = it.world.restarted();
  it.world.probe.verdict = "valid";
  await it.get();
  const complain = (manager: typeof other, endpoint: string) =>
    manager.replace(tokenOf(), new Secret("one"), undefined, { endpoint });
  await complain(it.world.manager, "/cgi-bin/menu");
  expect((await failureOf(complain(other, "/cgi-bin/menu"))).code).toBe("unavailable");
  await complain(other, "/cgi-bin/user");
  expect(it.world.probe.asked).toHaveLength(2);
  expect((await complain(it.world.manager, "/cgi-bin/tags")).value.reveal()).toBe("one");
  expect(it.world.probe.asked).toHaveLength(2);
});

test("in stable mode a value that WeChat repeats although it says that it is dead is forced out, once, without a loop", async () => {
  using it = await setup("one", "one", "two", "never");
  await it.get();
  expect(await it.replace("one")).toBe("two");
  expect(await it.get()).toBe("two");
  expect([it.world.source.asked.length, it.world.source.forced]).toEqual([3, 1]);
  expect(it.world.probe.asked).toEqual(["one"]);
});

test("P2: a value that WeChat repeats even when forced is dead: it is handed out no more, and WeChat is left alone", async () => {
  using it = await setup("one", "one", "one", "never");
  await it.get();
  const failure = await failureOf(it.replace("one"));
  expect([failure.code, (await failureOf(it.get())).retryAfterMs]).toEqual(["unavailable", 30_000]);
  expect(it.world.source.asked).toHaveLength(3);
  expect(it.world.source.forced).toBe(1);
});

test("a classic token is asked about before another is fetched, and a living one stays", async () => {
  using it = await setup("one", "two");
  const classic = tokenOf(weixinSlot("wx1", "classic"));
  it.world.probe.verdict = "valid";
  await it.get(classic);
  expect(await it.replace("one", classic)).toBe("one");
  expect(it.world.source.asked).toHaveLength(1);
  it.world.probe.verdict = "revoked";
  it.world.clock.advance(10_000);
  expect(await it.replace("one", classic)).toBe("two");
});

test("when WeChat can't be asked whether a token is dead, nothing is spent on it and it goes on", async () => {
  using it = await setup("one", "never");
  const classic = tokenOf(weixinSlot("wx1", "classic"));
  it.world.probe.verdict = "unknown";
  await it.get(classic);
  const failure = await failureOf(it.replace("one", classic));
  expect([failure.code, failure.retryAfterMs]).toEqual(["unavailable", 10_000]);
  expect(await it.get(classic)).toBe("one");
  expect(it.world.source.asked).toHaveLength(1);
});

test("a replacement right after a clear is not limited by it", async () => {
  using it = await setup("one", "two", "three");
  await it.get();
  await it.world.manager.clear(tokenOf(), BY);
  await it.get();
  expect(await it.replace("two")).toBe("three");
});

test("a second complaint about an app within 10 s is not looked into, and a third after them is", async () => {
  using it = await setup("one", "two", "three");
  await it.get();
  await it.replace("one");
  it.world.clock.advance(9000);
  const failure = await failureOf(it.replace("two"));
  expect([failure.code, failure.retryAfterMs]).toEqual(["unavailable", 1000]);
  expect(await it.get()).toBe("two");
  it.world.clock.advance(1000);
  expect(await it.replace("two")).toBe("three");
});

test("P4: a replacement that WeChat refuses passes the refusal on and is not tried again while the circuit is open; a value that nobody has seen dead goes on", async () => {
  using it = await setup("one", refusal("config"), "two");
  await it.get();
  for (let round = 0; round < 3; round++) {
    const failure = await failureOf(it.replace("one"));
    expect(failure.upstream?.class).toBe("config");
    it.world.clock.advance(10_000);
  }
  expect(it.world.source.asked).toHaveLength(2);
  expect(await it.get()).toBe("one");
  it.world.clock.advance(600_000);
  expect(await it.replace("one")).toBe("two");
});

test("P2: a value that WeChat said is dead is not handed out although its replacement was refused", async () => {
  using it = await setup("one", refusal("config"), "two");
  const classic = tokenOf(weixinSlot("wx1", "classic"));
  await it.get(classic);
  expect((await failureOf(it.replace("one", classic))).upstream?.class).toBe("config");
  expect((await failureOf(it.get(classic))).upstream?.class).toBe("config");
  it.world.clock.advance(600_000);
  expect(await it.get(classic)).toBe("two");
});

test("P5: a late complaint does not forget what somebody else stored meanwhile", async () => {
  using world = await CredentialsHarness.create(new ManualSource("one", "late", "never"), {
    wrap: (store) => ({
      markRevoked: async (...parts) => {
        // Whoever complained was held up for longer than a lease lives, and another process has dealt with it.
        world.clock.advance(LEASE_MS);
        const now = world.clock.now();
        const newer = { value: new Secret("newer"), issuedAt: now, expiresAt: now + 7_200_000 };
        await saveUnderLease(await world.elsewhere(), parts[0], newer);
        return store.markRevoked(...parts);
      },
    }),
  });
  await world.manager.get(tokenOf());
  const got = await world.manager.replace(tokenOf(), new Secret("one"));
  expect(got.value.reveal()).toBe("newer");
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("newer");
  expect(world.source.asked).toHaveLength(2);
  expect(world.emitted().at(-1)).toBe("credential.fenced");
});

test("a ticket that a page refused is asked for again, and the token behind it is left alone", async () => {
  using it = await setup(issued("ticket"), issued("another"));
  const ticket = { slot: weixinSlot(), kind: "jsapi_ticket" } as const;
  await it.get(ticket);
  expect(await it.replace("ticket", ticket)).toBe("another");
  expect(it.world.source.asked).toEqual(Array(2).fill("weixin:wx1:stable:jsapi_ticket"));
  expect(it.world.probe.asked).toEqual([]);
});

/** As `setup`, for rejections that the service meets itself while it calls for `client`. */
async function setupSeen(...answers: ConstructorParameters<typeof ManualSource>) {
  const it = await setup(...answers);
  const { world } = it;
  const see = async (rejected: string, client = "program", ref = tokenOf()) => {
    const actor = { ...BY.actor, client };
    return (await world.manager.replace(ref, new Secret(rejected), actor, { seen: true })).value.reveal();
  };
  /** How many verdicts that a token is valid come of rejections that come one after the other. */
  const verified = async (times: number, client?: string) => {
    const before = world.probe.asked.length;
    for (let n = 0; n < times; n++) {
      world.clock.advance(1);
      expect(await see("one", client)).toBe("one");
    }
    return world.probe.asked.length - before;
  };
  return { ...it, see, verified };
}

for (const kind of ["stable", "classic", "wecom"] as const) {
  test(`P2: two invalidations within 10 s that calls of ours meet are both healed at once (${kind})`, async () => {
    using it = await setupSeen("one", "two", "three");
    const ref = tokenOf(kind === "wecom" ? wecomSlot() : weixinSlot("wx1", kind));
    await it.get(ref);
    expect(await it.see("one", "a", ref)).toBe("two");
    it.world.clock.advance(1000);
    expect(await it.see("two", "a", ref)).toBe("three");
    expect(await it.get(ref)).toBe("three");
  });
}

test("P2: a token that WeChat called valid before a call of ours was rejected is verified again, at once", async () => {
  using it = await setupSeen("one", "one", "one", "two");
  it.world.probe.verdict = "valid";
  await it.get();
  expect(await it.verified(1)).toBe(1);
  it.world.clock.advance(1);
  it.world.probe.verdict = "revoked";
  expect(await it.see("one")).toBe("two");
});

test("a thousand rejections at once are verified once", async () => {
  using it = await setupSeen("one", "one", "never");
  it.world.probe.verdict = "valid";
  await it.get();
  const all = await Promise.all(Array.from({ length: 1000 }, (_, n) => it.see("one", `client-${n % 7}`)));
  expect(new Set(all)).toEqual(new Set(["one"]));
  expect(it.world.probe.asked).toHaveLength(1);
});

test("rejections are verified three times in 10 s and 60 times an hour, for all clients together", async () => {
  using it = await setupSeen(...Array.from({ length: 70 }, () => "one"));
  it.world.probe.verdict = "valid";
  await it.get();
  let inAll = 0;
  for (let round = 0; round < 21; round++) {
    const found = [await it.verified(2, `a${round}`), await it.verified(2, `b${round}`)];
    inAll += (found[0] ?? 0) + (found[1] ?? 0);
    expect(found).toEqual(round < 20 ? [2, 1] : [0, 0]);
    // A token that a verdict has just called valid is not blamed for the budget.
    if (round < 19) it.world.clock.advance(10_000);
  }
  expect(inAll).toBe(60);
});

test("after three false ones in a row a client has none verified for a minute, and others have", async () => {
  using it = await setupSeen(...Array.from({ length: 12 }, () => "one"));
  it.world.probe.verdict = "valid";
  await it.get();
  expect(await it.verified(2, "loud")).toBe(2);
  it.world.clock.advance(10_000);
  expect(await it.verified(1, "loud")).toBe(1);
  it.world.clock.advance(5_000);
  expect(await it.verified(1, "loud")).toBe(0);
  expect(await it.verified(1, "other")).toBe(1);
  it.world.clock.advance(50_000);
  // Nothing is known of the token by now.
  expect((await failureOf(it.see("one", "loud"))).code).toBe("unavailable");
  it.world.clock.advance(5_000);
  expect(await it.verified(2, "loud")).toBe(2);
});

test("a false one after a true one is the first in a row", async () => {
  using it = await setupSeen("one", "one", "one", "two", "two", "two", "two");
  it.world.probe.verdict = "valid";
  await it.get();
  expect(await it.verified(2)).toBe(2);
  it.world.clock.advance(10_000);
  expect(await it.see("one")).toBe("two");
  for (let n = 0; n < 2; n++) {
    it.world.clock.advance(1);
    expect(await it.see("two")).toBe("two");
  }
  it.world.clock.advance(10_000);
  expect(await it.see("two")).toBe("two");
  expect(it.world.probe.asked).toHaveLength(5);
});

test("P2: what our own call met and WeChat confirmed is issued no more, although its replacement is refused", async () => {
  using it = await setupSeen("one", refusal("config"), "two");
  await it.get();
  expect((await failureOf(it.see("one"))).upstream?.class).toBe("config");
  expect((await failureOf(it.get())).upstream?.class).toBe("config");
  it.world.clock.advance(600_000);
  expect(await it.get()).toBe("two");
});

test("P4: what our own call met and WeChat calls valid goes on although it can't be fetched", async () => {
  using it = await setupSeen("one", refusal("config"));
  it.world.probe.verdict = "valid";
  await it.get();
  expect((await failureOf(it.see("one"))).upstream?.class).toBe("config");
  expect(await it.get()).toBe("one");
});
