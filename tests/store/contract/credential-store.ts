import { expect, test } from "bun:test";
import type { Slot } from "../../../src/apps/slot.ts";
import type { Credential } from "../../../src/credentials/credential.ts";
import { Secret } from "../../../src/secret.ts";
import { foreignSlot, tokenOf, weixinSlot } from "../../support/slots.ts";
import type { OpenStore } from "./open-store.ts";

const TOKEN = tokenOf();

function credential(value: string, issuedAt = 1000): Credential {
  return { value: new Secret(value), issuedAt, expiresAt: issuedAt + 7_200_000 };
}

/** What every store of credentials must do, whatever it is made of. `kind` names it in the tests' names. */
export function credentialStoreContract(kind: string, open: OpenStore): void {
  async function setup() {
    const opened = await open();
    const store = opened.store.credentials;
    const value = async (name = TOKEN) => (await store.find(name))?.credential?.value.reveal();
    return { ...opened, store, value, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: what was never saved is not there`, async () => {
    using it = await setup();
    expect(await it.store.find(TOKEN)).toBeUndefined();
    expect(await it.store.listOfApp("weixin", "wx1", "access_token")).toEqual([]);
  });

  test(`${kind}: what was saved is found as it was, and save answers with the very object`, async () => {
    using it = await setup();
    const given = credential("token", 1_795_000_000_000);
    const standing = await it.store.save(TOKEN, given, 0);
    expect(standing.credential).toBe(given);
    expect(standing.generation).toBe(1);
    const found = await it.store.find(TOKEN);
    expect(found?.generation).toBe(1);
    expect(found?.credential?.issuedAt).toBe(given.issuedAt);
    expect(found?.credential?.expiresAt).toBe(given.expiresAt);
    expect(await it.value()).toBe("token");
  });

  test(`${kind}: P5: a save that was overtaken changes nothing, and answers with what stands`, async () => {
    using it = await setup();
    await it.store.save(TOKEN, credential("one"), 0);
    for (const generation of [0, 2, 99]) {
      const standing = await it.store.save(TOKEN, credential("late"), generation);
      expect(standing.generation).toBe(1);
      expect(standing.credential?.value.reveal()).toBe("one");
    }
    expect(await it.value()).toBe("one");
    expect((await it.store.save(TOKEN, credential("two"), 1)).generation).toBe(2);
    expect(await it.value()).toBe("two");
  });

  test(`${kind}: P5: of a hundred saves at once under one generation exactly one wins, and all hear of it`, async () => {
    using it = await setup();
    const saves = Array.from({ length: 100 }, (_, n) => it.store.save(TOKEN, credential(`token-${n}`), 0));
    const values = (await Promise.all(saves)).map((record) => record.credential?.value.reveal());
    expect(new Set(values)).toEqual(new Set([await it.value()]));
  });

  test(`${kind}: P5: a clear forgets the value and raises the generation, so that what began before it loses`, async () => {
    using it = await setup();
    await it.store.save(TOKEN, credential("one"), 0);
    expect(await it.store.clear(TOKEN)).toEqual({ generation: 2, credential: undefined });
    expect(await it.store.find(TOKEN)).toEqual({ generation: 2, credential: undefined });
    const late = await it.store.save(TOKEN, credential("late"), 1);
    expect(late).toEqual({ generation: 2, credential: undefined });
    expect((await it.store.save(TOKEN, credential("two"), 2)).generation).toBe(3);
  });

  test(`${kind}: P5: a clear of what was never saved fences the flight that began before it`, async () => {
    using it = await setup();
    expect((await it.store.clear(TOKEN)).generation).toBe(1);
    expect((await it.store.save(TOKEN, credential("late"), 0)).credential).toBeUndefined();
    expect(await it.value()).toBeUndefined();
  });

  test(`${kind}: a clear of one generation leaves a newer one, and says what stands`, async () => {
    using it = await setup();
    await it.store.save(TOKEN, credential("one"), 0);
    await it.store.save(TOKEN, credential("two"), 1);
    const standing = await it.store.clear(TOKEN, 1);
    expect(standing.generation).toBe(2);
    expect(standing.credential?.value.reveal()).toBe("two");
    expect((await it.store.clear(TOKEN, 2)).credential).toBeUndefined();
    expect(await it.value()).toBeUndefined();
  });

  test(`${kind}: a generation never returns`, async () => {
    using it = await setup();
    const seen: number[] = [];
    for (let n = 0; n < 5; n++) {
      const last = seen.at(-1) ?? 0;
      seen.push((await it.store.save(TOKEN, credential("x"), last)).generation);
      seen.push((await it.store.clear(TOKEN)).generation);
    }
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
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
    for (const [n, name] of names.entries()) await it.store.save(name, credential(`token-${n}`), 0);
    for (const [n, name] of names.entries()) {
      expect((await it.store.find(name))?.credential?.value.reveal()).toBe(`token-${n}`);
    }
    await it.store.clear(TOKEN);
    for (const [n, name] of names.entries()) {
      if (n > 0) expect((await it.store.find(name))?.credential).toBeDefined();
    }
  });

  test(`${kind}: an app's credentials of one kind are listed, cleared ones too, and nobody else's`, async () => {
    using it = await setup();
    const wanted = [weixinSlot("wx1", "stable"), weixinSlot("wx1", "classic"), foreignSlot("x")];
    const others = [weixinSlot("wx2"), foreignSlot("x", "wecom")];
    for (const slot of [...wanted, ...others]) await it.store.save(tokenOf(slot), credential("x"), 0);
    await it.store.save({ slot: weixinSlot("wx1"), kind: "jsapi_ticket" }, credential("x"), 0);
    await it.store.clear(tokenOf(foreignSlot("x")));
    const listed = await it.store.listOfApp("weixin", "wx1", "access_token");
    expect(listed.map(({ slot }) => slot.name).toSorted()).toEqual(["classic", "stable", "~x"]);
    for (const { slot, kind } of listed) {
      expect([slot.platform, slot.appId, kind]).toEqual(["weixin", "wx1", "access_token"]);
      expect(slot).not.toHaveProperty("secret");
    }
  });

  test(`${kind}: a value of 2 KB and one with quotes and semicolons come back as they were`, async () => {
    using it = await setup();
    for (const [n, value] of ["x".repeat(2048), `'"; DROP TABLE credentials; --`, "€\u{1F600}"].entries()) {
      const name = tokenOf(weixinSlot(`wx-${n}`));
      await it.store.save(name, credential(value), 0);
      expect(await it.value(name)).toBe(value);
    }
  });

  test(`${kind}: P3: what was saved and what was cleared is still so after closing and opening`, async () => {
    using it = await setup();
    const cleared = tokenOf(weixinSlot("wx2"));
    await it.store.save(TOKEN, credential("token"), 0);
    await it.store.save(cleared, credential("gone"), 0);
    await it.store.clear(cleared);
    const again = (await it.reopen()).credentials;
    expect((await again.find(TOKEN))?.credential?.value.reveal()).toBe("token");
    expect(await again.find(cleared)).toEqual({ generation: 2, credential: undefined });
  });
}
