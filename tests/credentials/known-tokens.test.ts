import { expect, test } from "bun:test";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { slotKey } from "../../src/apps/app.ts";
import type { IssuedTokenIndex } from "../../src/credentials/credential-store.ts";
import { TokenIntrospector } from "../../src/credentials/token-resolver.ts";
import { VirtualTokens } from "../../src/credentials/virtual-tokens.ts";
import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { foreignSlot, tokenOf, weixinSlot } from "../support/slots.ts";
import { clearOne, rejectOne, saveUnderLease, StoreFolder } from "../support/store-folder.ts";

const SLOT = weixinSlot("wx1");
const LIFE_MS = 7_200_000;
/** After this, what another process has written is known. */
const KNOWLEDGE_MS = 25;

/** Two processes' views of one store, the first with an app and a count of its looks at the disk. */
async function setup() {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const [store, beside] = [await folder.open(), await folder.open()];
  const apps = [
    { platform: "weixin", id: "wx1", secret: SLOT.secret, tokenMode: "stable" },
    { platform: "wecom", id: "ww1", agent: "1", secret: new Secret("secret-of-1") },
  ] as const;
  const directory = new AppDirectory(apps, store.digest);
  let looks = 0;
  const hooks: { beforeAnswer?: () => Promise<unknown> } = {};
  const index: IssuedTokenIndex = {
    findIssued: async (token, now) => {
      looks += 1;
      const found = await store.issuedTokens.findIssued(token, now);
      await hooks.beforeAnswer?.();
      return found;
    },
  };
  const virtualTokens = new VirtualTokens(store.virtualTokenKeys, clock);
  const known = new TokenIntrospector({
    virtualTokens,
    index,
    directory,
    changes: store.changes,
    clock,
  });
  const find = (text: string) => known.find(new Secret(text));
  return {
    clock,
    store,
    beside,
    directory,
    known,
    virtualTokens,
    hooks,
    find,
    put: (text: string, { credentials }: Store = store, slot = SLOT, lifeMs = LIFE_MS) => {
      const issuedAt = clock.now();
      const credential = { value: new Secret(text), issuedAt, expiresAt: issuedAt + lifeMs };
      return saveUnderLease(credentials, tokenOf(slot), credential);
    },
    isKnown: async (text: string) => (await find(text)) !== undefined,
    /** How often the disk was looked at while `work` was done. */
    looksIn: async (work: () => Promise<unknown>) => {
      const before = looks;
      await work();
      return looks - before;
    },
    issue: (app: string) => {
      const claims = { client: "dev", clientCreatedAt: 1, keyPrefix: "ats_00000000", app };
      const full = { ...claims, issuedAt: clock.now() };
      return { claims: full, token: virtualTokens.issue(full) };
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

test("a virtual token tells its claims and the slot of its app, on either platform, without a look at the disk", async () => {
  using it = await setup();
  const looks = await it.looksIn(async () => {
    for (const app of ["wx1", "ww1_1"]) {
      const { claims, token } = it.issue(app);
      const slot = it.directory.slotOfApp(app);
      expect(await it.known.find(token)).toEqual({ kind: "virtual", claims, slot });
    }
  });
  expect(looks).toBe(0);
});

test("a virtual token of an app that is gone, or that is over, is not known", async () => {
  using it = await setup();
  expect(await it.known.find(it.issue("wx2").token)).toBeUndefined();
  const { token } = it.issue("wx1");
  it.clock.advance(LIFE_MS);
  expect(await it.known.find(token)).toBeUndefined();
});

test("a virtual token of a disabled app has a slot that says so", async () => {
  using it = await setup();
  const managed = { title: undefined, isDisabled: true, version: 1 };
  const app = { platform: "weixin", id: "wx3", secret: SLOT.secret, tokenMode: "stable", managed } as const;
  it.directory.replaceManaged([app]);
  const found = await it.known.find(it.issue("wx3").token);
  expect(found?.slot?.isDisabled).toBeTrue();
});

test("a real token tells whose it is, with a slot where its secret is ours", async () => {
  using it = await setup();
  const foreign = foreignSlot("x");
  await it.put("one");
  await it.put("foreign", it.store, foreign);
  const { platform, appId, name } = SLOT;
  expect(await it.find("one")).toEqual({
    kind: "real",
    name: { platform, appId, name },
    slot: it.directory.slotOfApp("wx1"),
  });
  const found = await it.find("foreign");
  expect(found).toMatchObject({ kind: "real", slot: undefined });
  expect(found?.kind === "real" && slotKey(found.name)).toBe(slotKey(foreign));
  expect(await it.find("another")).toBeUndefined();
});

test("P8: a token that was known a moment ago costs no look at the disk", async () => {
  using it = await setup();
  await it.put("one");
  await it.find("one");
  const looks = await it.looksIn(async () => {
    for (let n = 0; n < 100; n++) expect(await it.isKnown("one")).toBeTrue();
  });
  expect(looks).toBe(0);
});

test("what this process writes counts at once", async () => {
  using it = await setup();
  await it.put("one");
  await it.find("one");
  await clearOne(it.store.credentials, tokenOf());
  expect(await it.isKnown("one")).toBeFalse();
  await it.put("two");
  const { generation } = await it.put("three");
  await it.find("three");
  await rejectOne(it.store.credentials, tokenOf(), generation);
  expect(await it.find("three")).toEqual({ kind: "rejected", slot: it.directory.slotOfApp("wx1") });
});

test("a rejected token is looked up each time, so that another process ends it at once", async () => {
  using it = await setup();
  const { generation } = await it.put("one");
  await rejectOne(it.store.credentials, tokenOf(), generation);
  expect(await it.isKnown("one")).toBeTrue();
  await it.beside.credentials.clear([{ name: tokenOf(), isCurrent: false }]);
  expect(await it.isKnown("one")).toBeFalse();
});

test("what another process writes counts 25 ms later", async () => {
  using it = await setup();
  await it.put("one");
  await it.find("one");
  await clearOne(it.beside.credentials, tokenOf());
  it.clock.advance(KNOWLEDGE_MS);
  expect(await it.isKnown("one")).toBeFalse();
  await it.put("two", it.beside);
  expect(await it.isKnown("two")).toBeTrue();
});

test("a token that is over is known no more, although nothing was written", async () => {
  using it = await setup();
  await it.put("one", it.store, SLOT, 1000);
  await it.find("one");
  it.clock.advance(999);
  expect(await it.isKnown("one")).toBeTrue();
  it.clock.advance(1);
  expect(await it.isKnown("one")).toBeFalse();
});

test("what is cleared while it is being looked up is not kept in mind", async () => {
  using it = await setup();
  await it.put("one");
  it.hooks.beforeAnswer = () => clearOne(it.store.credentials, tokenOf());
  await it.find("one");
  delete it.hooks.beforeAnswer;
  expect(await it.isKnown("one")).toBeFalse();
});

test("a slow look that another caller has overtaken brings nothing back that was cleared", async () => {
  using it = await setup();
  await it.put("one");
  const { promise: isCleared, resolve } = Promise.withResolvers<void>();
  it.hooks.beforeAnswer = () => isCleared;
  const slow = it.find("one");
  delete it.hooks.beforeAnswer;
  await clearOne(it.beside.credentials, tokenOf());
  it.clock.advance(KNOWLEDGE_MS);
  expect(await it.isKnown("one")).toBeFalse();
  resolve();
  await slow;
  expect(await it.isKnown("one")).toBeFalse();
});

test("two processes of one database read each other's virtual tokens, those of another database don't", async () => {
  using it = await setup();
  using other = await setup();
  const { token, claims } = it.issue("wx1");
  const beside = new VirtualTokens(it.beside.virtualTokenKeys, it.clock);
  expect(await beside.read(token.reveal())).toEqual(claims);
  expect(await other.known.find(token)).toBeUndefined();
});
