import { expect, test as declared } from "bun:test";
import type { Slot } from "../../../src/apps/app.ts";
import { type Credential, type CredentialName, NO_RECORD } from "../../../src/credentials/credential.ts";
import { Secret } from "../../../src/secret.ts";
import { foreignSlot, tokenOf, weixinSlot } from "../../support/slots.ts";
import { clearOne, rejectOne, saveUnderLease } from "../../support/store-folder.ts";
import type { OpenStore } from "./open-store.ts";

const TOKEN = tokenOf();

function credential(value: string, issuedAt = 1000): Credential {
  return { value: new Secret(value), issuedAt, expiresAt: issuedAt + 7_200_000 };
}

/** What every store of credentials must do, whatever it is made of. `kind` names it in the tests' names. */
export function credentialStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const store = opened.store.credentials;
    const value = async (name: CredentialName = TOKEN) => (await store.find(name)).credential?.value.reveal();
    /** Saves as a refresh does; the lease is free afterwards. */
    const put = (text: string, name: CredentialName = TOKEN) =>
      saveUnderLease(store, name, credential(text), opened.clock.now());
    const facts = opened.store.credentialFacts;
    return { ...opened, opened, store, facts, value, put, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: what was never saved is not there`, async () => {
    using it = await setup();
    expect(await it.store.find(TOKEN)).toEqual(NO_RECORD);
    expect(await it.store.listOfApp("weixin", "wx1")).toEqual([]);
    expect(await it.store.nextDueAt()).toBeUndefined();
  });

  test(`${kind}: what was saved is found as it was, and save answers with the very object`, async () => {
    using it = await setup();
    const given = { ...credential("token", 1_795_000_000_000), renewBeforeMs: 60_000 };
    const { generation } = (await it.store.lease(TOKEN, { holder: "a", now: 1, lifeMs: 10 })).record;
    const standing = await it.store.save(TOKEN, given, generation);
    expect(standing.credential).toBe(given);
    const { epoch } = standing;
    expect(standing).toEqual({ ...NO_RECORD, generation, credential: given, wasSaved: true, epoch });
    const found = await it.store.find(TOKEN);
    expect(found).toEqual(standing);
    expect(found.credential?.value.reveal()).toBe("token");
  });

  test(`${kind}: what is saved without a word of its renewal has none, also after one that had`, async () => {
    using it = await setup();
    await saveUnderLease(it.store, TOKEN, { ...credential("one"), renewBeforeMs: 60_000 });
    await it.put("two");
    expect((await it.store.find(TOKEN)).credential).not.toHaveProperty("renewBeforeMs");
  });

  test(`${kind}: what is known of all credentials comes in pieces, each once, with no life where none may be returned`, async () => {
    using it = await setup();
    const names = [tokenOf(weixinSlot("wx1")), tokenOf(weixinSlot("wx2")), tokenOf(weixinSlot("wx3"))];
    for (const name of names) await it.put("token", name);
    await it.put("ticket", { slot: weixinSlot("wx2"), kind: "jsapi_ticket" });
    const { generation } = await it.store.find(tokenOf(weixinSlot("wx3")));
    await rejectOne(it.store, tokenOf(weixinSlot("wx3")), generation);
    await it.store.touch([{ name: tokenOf(weixinSlot("wx1")), usedAt: 5000 }]);
    const found: string[] = [];
    let after: string | undefined;
    do {
      const { items, next } = await it.facts.page(after, 2);
      for (const { slot, kind: of, life, usedAt } of items)
        found.push([slot.appId, slot.name, of, life?.expiresAt, usedAt].join(" "));
      after = next;
    } while (after !== undefined);
    expect(found).toEqual([
      "wx1 stable access_token 7201000 5000",
      "wx2 stable access_token 7201000 ",
      "wx2 stable jsapi_ticket 7201000 ",
      "wx3 stable access_token  ",
    ]);
  });

  test(`${kind}: P5: a save that was overtaken changes nothing, and answers with what stands`, async () => {
    using it = await setup();
    const { generation } = await it.put("one");
    for (const other of [0, generation - 1, generation + 1, generation + 99]) {
      const standing = await it.store.save(TOKEN, credential("late"), other);
      expect(standing.generation).toBe(generation);
      expect(standing.credential?.value.reveal()).toBe("one");
    }
    expect(await it.value()).toBe("one");
    expect((await it.put("two")).generation).toBe(generation + 1);
    expect(await it.value()).toBe("two");
  });

  test(`${kind}: P5: a save without any lease before it changes nothing`, async () => {
    using it = await setup();
    expect(await it.store.save(TOKEN, credential("one"), 0)).toEqual(NO_RECORD);
    expect(await it.store.find(TOKEN)).toEqual(NO_RECORD);
  });

  test(`${kind}: P5: a clear forgets the value and raises the generation, so that what began before it loses`, async () => {
    using it = await setup();
    const { generation, epoch } = await it.put("one");
    const cleared = { ...NO_RECORD, generation: generation + 1, wasSaved: true, epoch: epoch + 1 };
    expect(await clearOne(it.store, TOKEN)).toEqual(cleared);
    expect(await it.store.find(TOKEN)).toEqual(cleared);
    expect(await it.store.save(TOKEN, credential("late"), generation)).toEqual(cleared);
    expect((await it.put("two")).generation).toBe(generation + 2);
  });

  test(`${kind}: P5: a clear of what was never saved fences the flight that began before it`, async () => {
    using it = await setup();
    const { record } = await it.store.lease(TOKEN, { holder: "a", now: it.clock.now(), lifeMs: 10_000 });
    expect((await clearOne(it.store, TOKEN)).generation).toBe(record.generation + 1);
    const late = await it.store.save(TOKEN, credential("late"), record.generation);
    expect(late.credential).toBeUndefined();
    expect(await it.value()).toBeUndefined();
  });

  test(`${kind}: a generation never returns`, async () => {
    using it = await setup();
    const seen: number[] = [];
    for (let n = 0; n < 5; n++) {
      seen.push((await it.put("x")).generation);
      seen.push((await rejectOne(it.store, TOKEN, seen.at(-1)!)).generation);
      seen.push((await clearOne(it.store, TOKEN)).generation);
    }
    expect(seen).toEqual(seen.map((_, n) => seen[0]! + n));
  });

  test(`${kind}: P5: a rejected value stands marked, under a new generation, until something is saved`, async () => {
    using it = await setup();
    const { generation } = await it.put("one");
    const rejected = await rejectOne(it.store, TOKEN, generation);
    expect([rejected.isRejected, rejected.generation]).toEqual([true, generation + 1]);
    expect(rejected.credential?.value.reveal()).toBe("one");
    expect(await it.store.find(TOKEN)).toEqual(rejected);
    const late = await it.store.save(TOKEN, credential("late"), generation);
    expect(late.credential?.value.reveal()).toBe("one");
    expect((await it.put("two")).isRejected).toBeFalse();
    expect((await it.store.find(TOKEN)).isRejected).toBeFalse();
  });

  test(`${kind}: P5: a rejection of an older generation changes nothing, and says what stands`, async () => {
    using it = await setup();
    const { generation } = await it.put("one");
    const two = await it.put("two");
    expect((await rejectOne(it.store, TOKEN, generation)).credential?.value.reveal()).toBe("two");
    expect(await it.store.find(TOKEN)).toEqual(two);
    expect(await rejectOne(it.store, tokenOf(weixinSlot("wx2")), 0)).toEqual(NO_RECORD);
  });

  test(`${kind}: a clear takes the mark of a rejection along`, async () => {
    using it = await setup();
    await rejectOne(it.store, TOKEN, (await it.put("one")).generation);
    expect((await clearOne(it.store, TOKEN)).isRejected).toBeFalse();
  });

  test(`${kind}: P2: a buried value is forgotten and remembered as dead, over saves, clears and a restart`, async () => {
    using it = await setup();
    const { generation } = await it.put("one");
    const dead = new Secret("one");
    const buried = await it.store.markRevoked(TOKEN, dead, generation, { now: 2000, earlyMs: 0 });
    expect([buried.credential, buried.revoked?.reveal(), buried.generation]).toEqual([
      undefined,
      "one",
      generation,
    ]);
    expect((await it.store.save(TOKEN, credential("two"), generation)).revoked?.reveal()).toBe("one");
    expect((await clearOne(it.store, TOKEN)).revoked?.reveal()).toBe("one");
    expect((await (await it.reopen()).credentials.find(TOKEN)).revoked?.reveal()).toBe("one");
  });

  test(`${kind}: P2, P5: a burial that was overtaken leaves the value that stands, and remembers the dead one all the same`, async () => {
    using it = await setup();
    const { generation } = await it.put("one");
    await it.put("two");
    const standing = await it.store.markRevoked(TOKEN, new Secret("one"), generation, {
      now: 2000,
      earlyMs: 5,
    });
    expect([standing.credential?.value.reveal(), standing.revoked?.reveal()]).toEqual(["two", "one"]);
    expect(await it.store.find(TOKEN)).toEqual(standing);
  });

  test(`${kind}: how early the last value died is kept, and one that died in time says nothing of it`, async () => {
    using it = await setup();
    const revokedEarly = async () => (await it.facts.ofSlots([TOKEN.slot]))[0]?.[0]?.revokedEarly;
    const one = await it.put("one");
    await it.store.markRevoked(TOKEN, new Secret("one"), one.generation, { now: 2000, earlyMs: 0 });
    expect(await revokedEarly()).toBeUndefined();
    const two = await it.put("two");
    await it.store.markRevoked(TOKEN, new Secret("two"), two.generation, { now: 3000, earlyMs: 5_000_000 });
    expect(await revokedEarly()).toEqual({ at: 3000, earlyMs: 5_000_000 });
  });

  test(`${kind}: the value that stands can be given another end, without disturbing whoever has the lease`, async () => {
    using it = await setup();
    const { credential: standing } = await it.put("one");
    const { record } = await it.store.lease(TOKEN, { holder: "a", now: it.clock.now(), lifeMs: 10_000 });
    const shortened = await it.store.shorten(TOKEN, standing!, { expiresAt: 5000, renewBeforeMs: 60 });
    expect(shortened.generation).toBe(record.generation);
    expect(shortened.credential).toEqual({ ...standing!, expiresAt: 5000, renewBeforeMs: 60 });
    expect(
      (await it.store.lease(TOKEN, { holder: "b", now: it.clock.now(), lifeMs: 10_000 })).isGranted,
    ).toBeFalse();
    expect((await it.store.save(TOKEN, credential("two", 9), record.generation)).credential?.expiresAt).toBe(
      7_200_009,
    );
  });

  test(`${kind}: P5: a value that has been replaced or cleared meanwhile is not given another end`, async () => {
    using it = await setup();
    const { credential: old } = await it.put("one");
    const newer = await saveUnderLease(it.store, TOKEN, credential("two", 1001), it.clock.now());
    expect(await it.store.shorten(TOKEN, old!, { expiresAt: 5000, renewBeforeMs: 60 })).toEqual(newer);
    const cleared = await clearOne(it.store, TOKEN);
    const end = { expiresAt: 5000, renewBeforeMs: 60 };
    expect(await it.store.shorten(TOKEN, newer.credential!, end)).toEqual(cleared);
    expect(await it.store.shorten(tokenOf(weixinSlot("wx2")), old!, end)).toEqual(NO_RECORD);
  });

  test(`${kind}: when a credential was last handed out is kept, over saves and a restart, and changes nothing else`, async () => {
    using it = await setup();
    const before = await it.put("one");
    expect(before.usedAt).toBeUndefined();
    await it.store.touch([
      { name: TOKEN, usedAt: 7000 },
      { name: tokenOf(weixinSlot("never-saved")), usedAt: 7000 },
    ]);
    expect(await it.store.find(TOKEN)).toEqual({ ...before, usedAt: 7000 });
    expect(await it.store.find(tokenOf(weixinSlot("never-saved")))).toEqual(NO_RECORD);
    // What another process learnt earlier, and stores only now.
    await it.store.touch([{ name: TOKEN, usedAt: 6000 }]);
    expect((await it.store.find(TOKEN)).usedAt).toBe(7000);
    await it.put("two");
    expect((await (await it.reopen()).credentials.find(TOKEN)).usedAt).toBe(7000);
  });

  test(`${kind}: platform, app, slot and kind each name a credential of their own`, async () => {
    using it = await setup();
    const slots: Slot[] = [
      weixinSlot("wx1", "stable"),
      weixinSlot("wx1", "classic"),
      weixinSlot("wx2"),
      foreignSlot("x"),
      foreignSlot("x", "wecom"),
    ];
    const names = [...slots.map(tokenOf), { slot: weixinSlot(), kind: "jsapi_ticket" as const }];
    for (const [n, name] of names.entries()) await it.put(`token-${n}`, name);
    for (const [n, name] of names.entries()) {
      expect(await it.value(name)).toBe(`token-${n}`);
    }
    await clearOne(it.store, TOKEN);
    for (const [n, name] of names.entries()) {
      if (n > 0) expect(await it.value(name)).toBe(`token-${n}`);
    }
  });

  test(`${kind}: an app's credentials are listed, of every kind and slot, cleared ones too, and nobody else's`, async () => {
    using it = await setup();
    const wanted = [weixinSlot("wx1", "stable"), weixinSlot("wx1", "classic"), foreignSlot("x")];
    const others = [weixinSlot("wx2"), foreignSlot("x", "wecom")];
    for (const slot of [...wanted, ...others]) await it.put("x", tokenOf(slot));
    await it.put("x", { slot: weixinSlot("wx1"), kind: "jsapi_ticket" });
    await clearOne(it.store, tokenOf(foreignSlot("x")));
    const listed = await it.store.listOfApp("weixin", "wx1");
    expect(listed.map(({ slot, kind: each }) => `${slot.name} ${each}`).toSorted()).toEqual([
      "classic access_token",
      "stable access_token",
      "stable jsapi_ticket",
      "~x access_token",
    ]);
    for (const { slot } of listed) {
      expect([slot.platform, slot.appId]).toEqual(["weixin", "wx1"]);
      expect(slot).not.toHaveProperty("secret");
    }
  });

  test(`${kind}: a value of 2 KB and one with quotes and semicolons come back as they were`, async () => {
    using it = await setup();
    for (const [n, value] of ["x".repeat(2048), `'"; DROP TABLE credentials; --`, "€\u{1F600}"].entries()) {
      const name = tokenOf(weixinSlot(`wx-${n}`));
      await it.put(value, name);
      expect(await it.value(name)).toBe(value);
    }
  });

  test(`${kind}: P5: what a store has lost is stored again where it is as it was found, with a new generation`, async () => {
    using it = await setup();
    const other = tokenOf(weixinSlot("wx2"));
    const found = await it.put("old");
    await it.store.lease(TOKEN, { holder: "gone", now: it.clock.now(), lifeMs: 10_000 });
    const leased = await it.store.find(TOKEN);
    it.clock.advance(60_000);
    const [late] = await it.store.restore([
      { name: TOKEN, credential: credential("new"), found, renewAt: undefined },
    ]);
    expect(late?.credential?.value.reveal()).toBe("old");
    const given = credential("new", it.clock.now());
    const renewAt = given.expiresAt - 1;
    const records = await it.store.restore([
      { name: TOKEN, credential: given, found: leased, renewAt },
      { name: other, credential: given, found: NO_RECORD, renewAt: undefined },
    ]);
    expect(records.map((record) => record.credential === given)).toEqual([true, true]);
    expect(await it.value()).toBe("new");
    expect(await it.value(other)).toBe("new");
    expect(records[0]?.generation).toBe(it.clock.now());
    expect(await it.store.nextDueAt()).toBe(renewAt);
    // The flight of that lease is overtaken, and nobody waits for it.
    const save = await it.store.save(TOKEN, credential("overtaken"), leased.generation);
    expect(save.credential?.value.reveal()).toBe("new");
    const lease = { holder: "b", now: it.clock.now(), lifeMs: 10_000 };
    expect((await it.store.lease(TOKEN, lease)).isGranted).toBe(true);
    const issued = await it.opened.store.issuedTokens.findIssued(new Secret("new"), it.clock.now());
    expect(issued?.slot.appId).toBe("wx1");
  });

  test(`${kind}: P3: what was saved and what was cleared is still so after closing and opening`, async () => {
    using it = await setup();
    const cleared = tokenOf(weixinSlot("wx2"));
    await it.put("token");
    await it.put("gone", cleared);
    const standing = await clearOne(it.store, cleared);
    const again = (await it.reopen()).credentials;
    expect((await again.find(TOKEN)).credential?.value.reveal()).toBe("token");
    expect(await again.find(cleared)).toEqual(standing);
  });
}
