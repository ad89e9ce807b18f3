import { expect, test as declared } from "bun:test";
import { slotKey } from "../../../src/apps/app.ts";
import { SERVICE } from "../../../src/audit/audit-entry.ts";
import type { CredentialRef } from "../../../src/credentials/credential.ts";
import { Secret } from "../../../src/secret.ts";
import { foreignSlot, tokenOf, wecomSlot, weixinSlot } from "../../support/slots.ts";
import { clearOne, rejectOne, saveUnderLease } from "../../support/store-folder.ts";
import type { OpenStore } from "./open-store.ts";

const [TOKEN, WECOM] = [tokenOf(), tokenOf(wecomSlot())];
const KEY = slotKey(TOKEN.slot);
const MINUTE_MS = 60_000;
const LIFE_MS = 120 * MINUTE_MS;

/** By what every store must know an access token again. `kind` names it in the tests' names. */
export function issuedTokenIndexContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const { store, clock } = opened;
    const { credentials } = store;
    return {
      ...opened,
      /** Saves as a refresh does, a value that was issued just now. */
      put: (text: string, name: CredentialRef = TOKEN) => {
        const issuedAt = clock.now();
        const credential = { value: new Secret(text), issuedAt, expiresAt: issuedAt + LIFE_MS };
        return saveUnderLease(credentials, name, credential);
      },
      reject: async () => rejectOne(credentials, TOKEN, (await credentials.find(TOKEN)).generation),
      markRevoked: async (text: string) => {
        const { generation } = await credentials.find(TOKEN);
        return credentials.markRevoked(TOKEN, new Secret(text), generation, { now: clock.now(), earlyMs: 0 });
      },
      /** The slot of a token, by its key, and whether it is a rejected one. */
      find: async (text: string, { issuedTokens } = store) => {
        const found = await issuedTokens.findIssued(new Secret(text), clock.now());
        return found && `${found.isRejected ? "rejected " : ""}${slotKey(found.slot)}`;
      },
      until: async (text: string) =>
        (await store.issuedTokens.findIssued(new Secret(text), clock.now()))?.until,
      [Symbol.dispose]: () => opened.dispose(),
    };
  }

  test(`${kind}: an access token that stands is known again, and nothing else is`, async () => {
    using it = await setup();
    expect(await it.find("one")).toBeUndefined();
    await it.put("one");
    expect([await it.find("one"), await it.until("one")]).toEqual([KEY, it.clock.now() + LIFE_MS]);
    for (const other of ["", "on", "one ", "One", "two"]) expect(await it.find(other)).toBeUndefined();
  });

  test(`${kind}: a token is known until it ends, by the end that it was given last`, async () => {
    using it = await setup();
    const { credential } = await it.put("one");
    it.clock.advance(LIFE_MS - 1);
    expect(await it.find("one")).toBe(KEY);
    it.clock.advance(1);
    expect(await it.find("one")).toBeUndefined();
    const soon = it.clock.now() + 10;
    await it.store.credentials.shorten(TOKEN, credential!, { expiresAt: soon, renewBeforeMs: 0 });
    expect(await it.until("one")).toBe(soon);
  });

  test(`${kind}: a token that came along with something else is known again, and to be healed once it is rejected`, async () => {
    using it = await setup();
    const accept = (text: string) => {
      const issuedAt = it.clock.now();
      const credential = { value: new Secret(text), issuedAt, expiresAt: issuedAt + LIFE_MS };
      return it.store.credentials.accept(TOKEN, credential);
    };
    await it.put("one");
    it.clock.advance(MINUTE_MS);
    await accept("two");
    expect([await it.find("one"), await it.find("two")]).toEqual([KEY, KEY]);
    await it.reject();
    expect(await it.find("two")).toBe(`rejected ${KEY}`);
  });

  test(`${kind}: a ticket is not known as a token`, async () => {
    using it = await setup();
    await it.put("ticket", { slot: TOKEN.slot, kind: "jsapi_ticket" });
    await it.put("later", { slot: TOKEN.slot, kind: "jsapi_ticket" });
    expect([await it.find("ticket"), await it.find("later")]).toEqual([undefined, undefined]);
  });

  test(`${kind}: WeChat's token before is known for the five minutes that it lives on`, async () => {
    using it = await setup();
    await it.put("one");
    it.clock.advance(MINUTE_MS);
    await it.put("two");
    expect([await it.find("one"), await it.find("two")]).toEqual([KEY, KEY]);
    expect(await it.until("one")).toBe(it.clock.now() + 5 * MINUTE_MS);
    it.clock.advance(5 * MINUTE_MS - 1);
    expect(await it.find("one")).toBe(KEY);
    it.clock.advance(1);
    expect([await it.find("one"), await it.find("two")]).toEqual([undefined, KEY]);
  });

  test(`${kind}: the token before is known no longer than its own life`, async () => {
    using it = await setup();
    await it.put("one");
    it.clock.advance(LIFE_MS - MINUTE_MS);
    await it.put("two");
    it.clock.advance(MINUTE_MS);
    expect(await it.find("one")).toBeUndefined();
    it.clock.advance(LIFE_MS);
    await it.put("three");
    expect(await it.find("two")).toBeUndefined();
  });

  test(`${kind}: of three, the first is known no more`, async () => {
    using it = await setup();
    for (const text of ["one", "two", "three"]) await it.put(text);
    expect([await it.find("one"), await it.find("two"), await it.find("three")]).toEqual([
      undefined,
      KEY,
      KEY,
    ]);
  });

  test(`${kind}: WeCom's token before is not known: nobody promises that it lives on`, async () => {
    using it = await setup();
    await it.put("one", WECOM);
    await it.put("two", WECOM);
    expect([await it.find("one"), await it.find("two")]).toEqual([undefined, slotKey(WECOM.slot)]);
  });

  test(`${kind}: a token that is repeated leaves the one before it where it is`, async () => {
    using it = await setup();
    await it.put("one");
    await it.put("two");
    const until = await it.until("one");
    it.clock.advance(MINUTE_MS);
    await it.put("two");
    expect([await it.until("one"), await it.find("two")]).toEqual([until, KEY]);
  });

  test(`${kind}: a save that was overtaken makes nothing known`, async () => {
    using it = await setup();
    const { generation, credential } = await it.put("one");
    await it.store.credentials.save(TOKEN, { ...credential!, value: new Secret("late") }, generation - 1);
    expect([await it.find("one"), await it.find("late")]).toEqual([KEY, undefined]);
  });

  test(`${kind}: a clear ends both at once`, async () => {
    using it = await setup();
    await it.put("one");
    await it.put("two");
    await clearOne(it.store.credentials, TOKEN);
    expect([await it.find("one"), await it.find("two")]).toEqual([undefined, undefined]);
    await it.put("three");
    expect([await it.find("two"), await it.find("three")]).toEqual([undefined, KEY]);
  });

  test(`${kind}: a reported token is known as rejected, and as before once it turns out to be valid`, async () => {
    using it = await setup();
    await it.put("one");
    await it.put("two");
    await it.reject();
    expect([await it.find("one"), await it.find("two")]).toEqual([KEY, `rejected ${KEY}`]);
    await it.put("two");
    expect(await it.find("two")).toBe(KEY);
    // And then it is no rejected one: it ends as every token before.
    await it.put("three");
    it.clock.advance(5 * MINUTE_MS);
    expect([await it.find("two"), await it.find("three")]).toEqual([undefined, KEY]);
  });

  test(`${kind}: a token that was rejected is known as such until its own end, and so are several of one slot`, async () => {
    using it = await setup();
    await it.put("one");
    it.clock.advance(MINUTE_MS);
    await it.markRevoked("one");
    expect(await it.find("one")).toBe(`rejected ${KEY}`);
    await it.put("two");
    await it.reject();
    await it.put("three");
    expect([await it.find("one"), await it.find("two"), await it.find("three")]).toEqual([
      `rejected ${KEY}`,
      `rejected ${KEY}`,
      KEY,
    ]);
    expect(await it.store.credentialFacts.countRejected([TOKEN.slot], it.clock.now())).toEqual([2]);
    it.clock.advance(LIFE_MS - MINUTE_MS);
    expect([await it.find("one"), await it.find("two")]).toEqual([undefined, `rejected ${KEY}`]);
    expect(await it.store.credentialFacts.countRejected([TOKEN.slot], it.clock.now())).toEqual([1]);
  });

  test(`${kind}: a token that came back and is rejected then is not known by its former place`, async () => {
    using it = await setup();
    await it.put("one");
    await it.put("two");
    await it.markRevoked("two");
    await it.put("one");
    await it.reject();
    expect(await it.find("one")).toBe(`rejected ${KEY}`);
  });

  test(`${kind}: a dead token that comes back is known as rejected all the same`, async () => {
    using it = await setup();
    await it.put("one");
    await it.markRevoked("one");
    await it.put("one");
    expect(await it.find("one")).toBe(`rejected ${KEY}`);
  });

  test(`${kind}: the token before that is dead is known no more, and the current one goes on`, async () => {
    using it = await setup();
    const { generation } = await it.put("one");
    await it.put("two");
    const death = { now: it.clock.now(), earlyMs: 0 };
    await it.store.credentials.markRevoked(TOKEN, new Secret("one"), generation, death);
    expect([await it.find("one"), await it.find("two")]).toEqual([undefined, KEY]);
  });

  test(`${kind}: rejected tokens are forgotten at once, in another process as well, and the current one is not`, async () => {
    using it = await setup();
    await it.put("one");
    await it.markRevoked("one");
    await it.put("two");
    const beside = await it.beside();
    expect(await it.find("one", beside)).toBe(`rejected ${KEY}`);
    await it.store.credentials.clear([{ name: tokenOf(weixinSlot("wx2")), isCurrent: false }]);
    expect(await it.find("one", beside)).toBe(`rejected ${KEY}`);
    await it.store.credentials.clear([{ name: TOKEN, isCurrent: false }]);
    expect([await it.find("one"), await it.find("one", beside)]).toEqual([undefined, undefined]);
    expect(await it.store.credentialFacts.countRejected([TOKEN.slot], it.clock.now())).toEqual([0]);
    // What was issued before is nobody's once it is rejected, what is issued from then on is known again.
    await it.markRevoked("two");
    await it.put("three");
    await it.markRevoked("three");
    expect([await it.find("two"), await it.find("three")]).toEqual([undefined, `rejected ${KEY}`]);
  });

  test(`${kind}: P7: a clear without a value has its entry where it ends rejected tokens, and only there`, async () => {
    using it = await setup();
    await it.put("one");
    await it.markRevoked("one");
    const entry = {
      ...SERVICE,
      action: "credential.cleared",
      app: "wx1",
      outcome: "ok",
      tokenDigest: "",
    } as const;
    const clear = (detail: object) =>
      it.store.credentials.clear([
        { name: TOKEN, isCurrent: false, entry: { ...entry, detail: { ...detail } } },
      ]);
    const unwritable = () => {
      throw new Error("unwritable");
    };
    expect(await clear({ toJSON: unwritable }).catch(String)).toContain("unwritable");
    expect(await it.find("one")).toBe(`rejected ${KEY}`);
    for (let n = 0; n < 2; n++) await clear({});
    expect(await it.find("one")).toBeUndefined();
    expect(await it.store.audit.list({}, { limit: 10 })).toHaveLength(1);
  });

  test(`${kind}: of tickets, and of tokens of a secret that is not held, none is known as rejected`, async () => {
    using it = await setup();
    const foreign = tokenOf(foreignSlot("x"));
    const ticket = { slot: TOKEN.slot, kind: "jsapi_ticket" } as const;
    for (const [name, text] of [
      [foreign, "foreign"],
      [ticket, "ticket"],
    ] as const) {
      const { generation } = await it.put(text, name);
      await it.store.credentials.markRevoked(name, new Secret(text), generation, {
        now: it.clock.now(),
        earlyMs: 0,
      });
      expect(await it.find(text)).toBeUndefined();
    }
  });

  test(`${kind}: tokens of several slots are told apart, and one that two have is the app's own`, async () => {
    using it = await setup();
    const foreign = tokenOf(foreignSlot("x"));
    await it.put("foreign", foreign);
    await it.put("of another", tokenOf(weixinSlot("wx2")));
    expect(await it.find("foreign")).toBe(slotKey(foreign.slot));
    expect(await it.find("of another")).toBe(slotKey(weixinSlot("wx2")));
    await it.put("both", foreign);
    await it.put("both");
    expect(await it.find("both")).toBe(KEY);
  });

  test(`${kind}: what was issued to an app is not known any more once its secret is another`, async () => {
    using it = await setup();
    const app = { platform: "weixin", id: "wx1", secret: new Secret("one"), tokenMode: "stable" } as const;
    await it.store.apps.replaceAll([app]);
    await it.put("one");
    await it.put("two");
    await it.store.apps.replaceAll([{ ...app, secret: new Secret("two") }]);
    expect([await it.find("one"), await it.find("two")]).toEqual([undefined, undefined]);
  });

  test(`${kind}: P3: tokens are known again in another process and after closing and opening`, async () => {
    using it = await setup();
    await it.put("one");
    await it.put("two");
    const beside = await it.beside();
    expect([await it.find("one", beside), await it.find("two", beside)]).toEqual([KEY, KEY]);
    const again = await it.reopen();
    expect([await it.find("one", again), await it.find("two", again)]).toEqual([KEY, KEY]);
    expect(again.virtualTokenKeys.keys()).toEqual(it.store.virtualTokenKeys.keys());
  });
}
