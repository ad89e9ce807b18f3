import { expect, test } from "bun:test";
import type { Credential } from "../../src/credentials/credential.ts";
import { LEASE_MS } from "../../src/credentials/refresh.ts";
import { Secret } from "../../src/secret.ts";
import { ManualSource } from "../support/manual-source.ts";
import { failureOf } from "../support/refusals.ts";
import { foreignSlot, tokenOf, weixinSlot } from "../support/slots.ts";
import { saveUnderLease } from "../support/store-folder.ts";
import { CredentialsHarness } from "./credentials-harness.ts";

const BY = { actor: { client: "test", environment: "", address: "127.0.0.1", traceId: "" } };
const WX1 = { platform: "weixin", appId: "wx1" } as const;

function credential(value: string, issuedAt: number): Credential {
  return { value: new Secret(value), issuedAt, expiresAt: issuedAt + 7_200_000 };
}

async function setup(...answers: ConstructorParameters<typeof ManualSource>) {
  const world = await CredentialsHarness.create(new ManualSource(...answers));
  const value = async (ref = tokenOf()) => (await world.manager.get(ref)).value.reveal();
  return { world, value, [Symbol.dispose]: () => world[Symbol.dispose]() };
}

test("after a clear WeChat is asked again, and the clear itself asks nobody", async () => {
  using it = await setup("one", "two");
  await it.value();
  await it.world.manager.clear(tokenOf(), BY);
  expect(it.world.source.asked).toHaveLength(1);
  expect(it.world.events.at(-1)).toEqual({
    type: "credential.cleared",
    key: "weixin:wx1:stable:access_token",
    address: "127.0.0.1",
  });
  expect(await it.value()).toBe("two");
});

test("P3: a cleared token stays cleared after a restart", async () => {
  using it = await setup("one", "two");
  await it.value();
  await it.world.manager.clear(tokenOf(), BY);
  expect((await it.world.restarted().get(tokenOf())).value.reveal()).toBe("two");
});

test("a clear of nothing is content, tells nobody and does not count as one", async () => {
  using it = await setup("one", "two");
  await it.world.manager.clear(tokenOf(), BY);
  await it.world.manager.clearApp(WX1, "access_token", BY);
  expect(it.world.emitted()).toEqual([]);
  await it.value();
  await it.world.manager.clear(tokenOf(), BY);
  expect(await it.value()).toBe("two");
});

test("a clear of an app leaves the account of its AppID that a component has, which is another app", async () => {
  using it = await setup("one", "of the account", "two");
  const account = tokenOf({ ...weixinSlot(), name: "wxc000000000000001" });
  await it.value();
  await it.value(account);
  await it.world.manager.clearApp(WX1, "access_token", BY);
  expect([await it.value(account), await it.value()]).toEqual(["of the account", "two"]);
});

test("a second effective clear within 10 s is limited and changes nothing; after 10 s it works", async () => {
  using it = await setup("one", "two", "three");
  await it.value();
  await it.world.manager.clear(tokenOf(), BY);
  await it.value();
  it.world.clock.advance(4000);
  const failure = await failureOf(it.world.manager.clear(tokenOf(), BY));
  expect(failure.code).toBe("rate_limited");
  expect(failure.retryAfterMs).toBe(6000);
  expect(await it.value()).toBe("two");
  it.world.clock.advance(6000);
  await it.world.manager.clear(tokenOf(), BY);
  expect(await it.value()).toBe("three");
});

test("clearing twice while there is nothing new to clear is no second clear", async () => {
  using it = await setup("one");
  await it.value();
  await it.world.manager.clear(tokenOf(), BY);
  await it.world.manager.clear(tokenOf(), BY);
  expect(it.world.emitted().filter((type) => type === "credential.cleared")).toHaveLength(1);
});

test("of two clears at the same moment one is limited", async () => {
  using it = await setup("one");
  await it.value();
  const both = [it.world.manager.clear(tokenOf(), BY), it.world.manager.clear(tokenOf(), BY)];
  const outcomes = (await Promise.allSettled(both)).map(({ status }) => status);
  expect(outcomes.toSorted()).toEqual(["fulfilled", "rejected"]);
});

test("with a value it is cleared only while that is still the current one", async () => {
  using it = await setup("one", "two");
  await it.value();
  await it.world.manager.clear(tokenOf(), { ...BY, onlyIf: new Secret("another") });
  expect(await it.value()).toBe("one");
  await it.world.manager.clear(tokenOf(), { ...BY, onlyIf: new Secret("one") });
  expect(await it.value()).toBe("two");
  await it.world.manager.clear(tokenOf(), { ...BY, onlyIf: new Secret("one") });
  expect(await it.value()).toBe("two");
});

test("P5: a complaint about an old value does not clear what replaced it meanwhile", async () => {
  using world = await CredentialsHarness.create(new ManualSource("one", "two"), {
    wrap: (store) => ({
      reject: async (rejections) => {
        // Somebody else saves between the look at the value and the complaint.
        await saveUnderLease(store, tokenOf(), credential("newer", world.clock.now()));
        return store.reject(rejections);
      },
    }),
  });
  await world.manager.get(tokenOf());
  await world.manager.clear(tokenOf(), { ...BY, onlyIf: new Secret("one") });
  const standing = await world.store.find(tokenOf());
  expect([standing.credential?.value.reveal(), standing.isRejected]).toEqual(["newer", false]);
  expect((await world.manager.get(tokenOf())).value.reveal()).toBe("newer");
  expect(world.source.asked).toHaveLength(1);
});

test("a complaint that was overtaken is told as no clear, and the next one need not wait", async () => {
  let overtaken = 2;
  const stable = tokenOf(weixinSlot("wx1", "stable"));
  const slots = [stable, tokenOf(weixinSlot("wx1", "classic"))];
  using world = await CredentialsHarness.create(new ManualSource("same", "same"), {
    wrap: (store) => ({
      reject: async (rejections) => {
        for (const each of slots.slice(0, overtaken))
          await saveUnderLease(store, each, credential("newer", world.clock.now()));
        return store.reject(rejections);
      },
    }),
  });
  for (const each of slots) await world.manager.get(each);
  const cleared = () => world.events.filter(({ type }) => type === "credential.cleared");
  await world.manager.clearApp(WX1, "access_token", { ...BY, onlyIf: new Secret("same") });
  expect(cleared()).toEqual([]);
  for (const each of slots) await saveUnderLease(world.store, each, credential("same", world.clock.now()));
  overtaken = 1;
  await world.manager.clearApp(WX1, "access_token", { ...BY, onlyIf: new Secret("same") });
  expect(cleared()).toMatchObject([{ key: "weixin:wx1:classic:access_token" }]);
  // What the overtaken one was admitted for is still there; that of the app is used.
  world.clock.advance(9000);
  overtaken = 0;
  const limited = await failureOf(world.manager.clear(stable, { ...BY, onlyIf: new Secret("newer") }));
  expect([limited.code, limited.retryAfterMs]).toEqual(["rate_limited", 1000]);
  await world.manager.clear(stable, BY);
  expect(cleared()).toHaveLength(2);
});

test("every slot of an app is cleared, no other app and no ticket", async () => {
  const slots = [
    weixinSlot("wx1", "stable"),
    weixinSlot("wx1", "classic"),
    foreignSlot("x"),
    weixinSlot("wx2"),
  ];
  using it = await setup("a", "b", "c", "d", "ticket", "a2", "b2", "c2");
  for (const slot of slots) await it.value(tokenOf(slot));
  const ticket = { slot: weixinSlot("wx1"), kind: "jsapi_ticket" } as const;
  await it.value(ticket);
  await it.world.manager.clearApp(WX1, "access_token", BY);
  const now: string[] = [];
  for (const slot of slots) now.push(await it.value(tokenOf(slot)));
  expect(now).toEqual(["a2", "b2", "c2", "d"]);
  expect(await it.value(ticket)).toBe("ticket");
});

test("every slot with that value is cleared, the others stay", async () => {
  using it = await setup("same", "other", "same", "new", "new");
  const slots = [weixinSlot("wx1", "stable"), weixinSlot("wx1", "classic"), foreignSlot("x")];
  for (const slot of slots) await it.value(tokenOf(slot));
  await it.world.manager.clearApp(WX1, "access_token", { ...BY, onlyIf: new Secret("same") });
  const now: string[] = [];
  for (const slot of slots) now.push(await it.value(tokenOf(slot)));
  expect(now).toEqual(["new", "other", "new"]);
});

test("all slots of an app are cleared or none: one that was cleared just now keeps the others too", async () => {
  using it = await setup("a", "b", "a2");
  const [a, b] = [tokenOf(weixinSlot("wx1", "stable")), tokenOf(weixinSlot("wx1", "classic"))];
  await it.value(a);
  await it.value(b);
  await it.world.manager.clear(a, BY);
  await it.value(a);
  expect((await failureOf(it.world.manager.clearApp(WX1, "access_token", BY))).code).toBe("rate_limited");
  expect([await it.value(a), await it.value(b)]).toEqual(["a2", "b"]);
});

test("a slot that was stored before a restart is cleared with its app", async () => {
  using it = await setup("one", "two");
  await it.value(tokenOf(foreignSlot("x")));
  const manager = it.world.restarted();
  await manager.clearApp(WX1, "access_token", BY);
  expect((await manager.get(tokenOf(foreignSlot("x")))).value.reveal()).toBe("two");
});

test("P3: a clear that the database refused was none: it may be tried again at once", async () => {
  let broken = true;
  using world = await CredentialsHarness.create(new ManualSource("a", "b", "c", "d"), {
    wrap: (store) => ({
      clear: (...parts) => (broken ? Promise.reject(new Error("disk full")) : store.clear(...parts)),
    }),
  });
  const refs = [tokenOf(weixinSlot("wx1", "stable")), tokenOf(weixinSlot("wx1", "classic"))];
  for (const ref of refs) await world.manager.get(ref);
  const lost = await world.manager.clearApp(WX1, "access_token", BY).catch((error: Error) => error.message);
  expect(lost).toBe("disk full");
  broken = false;
  await world.manager.clearApp(WX1, "access_token", BY);
  const now: string[] = [];
  for (const ref of refs) now.push((await world.manager.get(ref)).value.reveal());
  expect(now).toEqual(["c", "d"]);
});

test("P5: a clear during a flight overtakes it: the slow answer is not stored, and all get the newer one", async () => {
  for (const how of ["slot", "app"] as const) {
    using it = await setup();
    const { manager, source, store } = it.world;
    const early = [it.value(), it.value()];
    await source.askedTimes(1);
    if (how === "slot") await manager.clear(tokenOf(), BY);
    else await manager.clearApp(WX1, "access_token", BY);
    const late = it.value();
    source.open[0]?.issue("slow");
    await source.askedTimes(2);
    source.open[1]?.issue("newer");
    expect(await Promise.all([...early, late])).toEqual(["newer", "newer", "newer"]);
    expect((await store.find(tokenOf()))?.credential?.value.reveal()).toBe("newer");
    expect(await it.value()).toBe("newer");
    expect(it.world.emitted()).toEqual(["credential.cleared", "credential.fenced", "credential.refreshed"]);
  }
});

test("P5: an answer that somebody else's newer one overtook is dropped, and the caller gets what stands", async () => {
  using it = await setup();
  const slow = it.value();
  await it.world.source.askedTimes(1);
  it.world.clock.advance(LEASE_MS);
  await saveUnderLease(await it.world.elsewhere(), tokenOf(), credential("others", it.world.clock.now()));
  it.world.source.open[0]?.issue("slow");
  expect(await slow).toBe("others");
  expect(await it.value()).toBe("others");
  expect(it.world.source.asked).toHaveLength(1);
  expect(it.world.emitted()).toEqual(["credential.fenced"]);
});

test("P2: two clears by two processes around one slow flight: no cleared value is handed out afterwards", async () => {
  using it = await setup();
  const { manager, source } = it.world;
  const slow = failureOf(manager.get(tokenOf()));
  for (const [index, clearing] of [manager, it.world.restarted()].entries()) {
    await source.askedTimes(index + 1);
    await clearing.clear(tokenOf(), BY);
    source.open.at(-1)?.issue(`overtaken-${index}`);
  }
  expect((await slow).code).toBe("unavailable");
  source.script("newest");
  expect(await it.value()).toBe("newest");
});

test("P2: a clear while the token is read after a restart is not undone by that read", async () => {
  const gate = Promise.withResolvers<void>();
  let hold = false;
  using world = await CredentialsHarness.create(new ManualSource("one", "two", "never"), {
    wrap: (store) => ({
      find: async (name) => {
        const isHeld = hold;
        hold = false;
        const record = await store.find(name);
        if (isHeld) await gate.promise;
        return record;
      },
    }),
  });
  await world.manager.get(tokenOf());
  const manager = world.restarted();
  hold = true;
  const reading = manager.get(tokenOf());
  await manager.clear(tokenOf(), BY);
  gate.resolve();
  const got = (await reading).value.reveal();
  expect(got).toBe("two");
  expect((await manager.get(tokenOf())).value.reveal()).toBe("two");
  expect(world.source.asked).toHaveLength(2);
});
