import { expect, test } from "bun:test";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { Access } from "../../src/access/access.ts";
import { ClientDirectory } from "../../src/access/client-directory.ts";
import { type Action, grantTable, tokenApps } from "../../src/access/client.ts";
import { type Caller, UNIDENTIFIED } from "../../src/access/principal.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { COMPONENT, GAME, nameWith, SHOP, SUITE } from "../support/platforms.ts";
import { MemoryClientStore } from "./memory-client-store.ts";

const OTHER = "wxc000000000000002";
const THIRD = "wxc000000000000003";
const OWN = "wx00000000000000aa";
const BOTH = "wx00000000000000bb";
const SHOP_OF = nameWith(SHOP, COMPONENT.id);
const READ: readonly Action[] = ["token:read"];
const grant = (...apps: string[]) => grantTable([{ apps, actions: READ }]);

/**
 * Access with two directly held apps and three components: one has two accounts, another the first of them too, and all
 * have one that is also held directly.
 */
async function setup(...apps: string[]) {
  const clock = new ManualClock();
  const store = new MemoryClientStore();
  const secret = new Secret("secret");
  const directory = new AppDirectory(
    [OWN, BOTH].map((id) => ({ platform: "weixin", id, secret, tokenMode: "stable" })),
    (platform, appId, given) => `digest of ${platform} ${appId} ${given.reveal()}`,
  );
  const managed = { title: undefined, isDisabled: false, version: 1 };
  const common = { platform: "weixin", tokenMode: "stable", secret, managed } as const;
  const account = (id: string, platformApp: string) => {
    return { ...common, id, authorization: { platformApp, authorizedAt: 0, scopes: [] } };
  };
  directory.replaceManaged([
    { ...common, id: COMPONENT.id, role: "component" },
    { ...common, id: OTHER, role: "component" },
    { ...common, id: THIRD, role: "component" },
    ...[COMPONENT.id, OTHER, THIRD].map((id) => account(BOTH, id)),
    account(SHOP, THIRD),
    ...[account(SHOP, COMPONENT.id), account(SHOP, OTHER), account(GAME, COMPONENT.id)],
  ]);
  const clients = new ClientDirectory(store, store.changes, clock);
  const options = { anonymous: undefined, anonymousPerSecond: 0, processes: () => 1 };
  const access = new Access({ directory, clients, clock, ...options });
  const key = store.add({ name: "bot", grants: [{ apps, actions: READ }] });
  await clients.refresh();
  const origin = { address: "192.0.2.1", untrustedReason: undefined, disguise: undefined, isBrowser: false };
  const caller: Caller = { principal: UNIDENTIFIED, origin, traceId: "trace" };
  const keyed = { ...caller, principal: access.byKey(origin, key) };
  return {
    /** As which app each way to name one in a path takes it. */
    meant: (name: string) => [
      resultOf(() => access.slotOfApp(keyed, "token:read", name).usage.app),
      resultOf(() => access.checkGrant(keyed, "token:read", name)),
      resultOf(() => access.visibleApp(keyed, name)),
    ],
    /** The app of the permit for a token, or why there is none. */
    app: (name: string) => resultOf(() => access.slots.weixin(keyed, "token:read", name).usage.app),
    /** Which slot alone a clear concerns. */
    cleared: (name: string) =>
      resultOf(() => access.slots.weixinScope(keyed, "token:read", name).slot?.name ?? "the app's"),
    /** What a caller reads that may not be answered. */
    refusal: (name: string) => messageOf(() => access.slots.weixin(keyed, "token:read", name)),
    named: (name: string) => resultOf(() => access.slotOfApp(keyed, "token:read", name).usage.app),
  };
}

function messageOf(work: () => unknown): string {
  try {
    work();
    return "";
  } catch (error) {
    return Error.isError(error) ? error.message : "";
  }
}

function resultOf(work: () => string): string {
  try {
    return work();
  } catch (error) {
    if (error instanceof ServiceError) return error.code;
    throw error;
  }
}

test("a grant on a platform's accounts is of every account of it alone, and of nothing else", () => {
  const allows = grant(`platform:${COMPONENT.id}/*`);
  const names = [SHOP_OF, nameWith("ww1_2", COMPONENT.id), nameWith(SHOP, OTHER), COMPONENT.id, SHOP, OWN];
  expect(names.filter((name) => allows("token:read", name))).toEqual(names.slice(0, 2));
  expect(allows("token:refresh", SHOP_OF)).toBe(false);
});

test("a grant on a platform itself is of its own tokens, and of none of its accounts", () => {
  const allows = grant(`platform:${COMPONENT.id}`);
  expect([COMPONENT.id, SHOP_OF, OTHER].map((name) => allows("token:read", name))).toEqual([
    true,
    false,
    false,
  ]);
  expect(grant("*")("token:read", COMPONENT.id)).toBe(true);
});

test("P7: accounts of a platform count as any app where real tokens of theirs may have been given", () => {
  const of = (...apps: string[]) => tokenApps({ grants: [{ apps, actions: READ }], delivery: "real" });
  expect([of(`platform:${SUITE.id}/*`), of(`platform:${SUITE.id}`), of(OWN)]).toEqual([
    ["*"],
    [SUITE.id],
    [OWN],
  ]);
});

test("an account that one platform alone has is allowed by either of its names", async () => {
  const t = await setup(`platform:${COMPONENT.id}/*`);
  for (const name of [GAME, nameWith(GAME, COMPONENT.id)])
    expect([t.app(name), t.named(name)]).toEqual(Array(2).fill(nameWith(GAME, COMPONENT.id)));
  expect([t.app(OWN), t.named(COMPONENT.id)]).toEqual(["forbidden", "forbidden"]);
});

test("of several platforms that have an account, its AppID means the one that the caller may use", async () => {
  const one = await setup(`platform:${COMPONENT.id}/*`);
  expect([one.app(SHOP), one.app(nameWith(SHOP, OTHER))]).toEqual([SHOP_OF, "forbidden"]);
  const both = await setup(`platform:${COMPONENT.id}/*`, `platform:${OTHER}/*`);
  expect([both.app(SHOP), both.app(nameWith(SHOP, OTHER))]).toEqual([
    "invalid_parameter",
    nameWith(SHOP, OTHER),
  ]);
});

test("in a path, too, an AppID means the one account or app that the caller may use", async () => {
  const one = await setup(`platform:${COMPONENT.id}/*`);
  const both = nameWith(BOTH, COMPONENT.id);
  expect([SHOP, SHOP_OF, BOTH, both].flatMap(one.meant)).toEqual(
    [SHOP_OF, SHOP_OF, both, both].flatMap((name) => Array<string>(3).fill(name)),
  );
  expect([nameWith(SHOP, OTHER), OWN].flatMap(one.meant)).toEqual(Array(6).fill("forbidden"));
  const two = await setup(`platform:${COMPONENT.id}/*`, `platform:${OTHER}/*`);
  expect([SHOP, BOTH].flatMap(two.meant)).toEqual(Array(6).fill("invalid_parameter"));
  expect((await setup("*", both)).meant(BOTH)).toEqual(Array(3).fill(BOTH));
});

test("of several platforms that have an account, no caller is told those that it may not use", async () => {
  const t = await setup(`platform:${COMPONENT.id}/*`, `platform:${OTHER}/*`);
  for (const account of [SHOP, BOTH]) {
    const told = t.refusal(account);
    expect([COMPONENT.id, OTHER, THIRD].map((id) => told.includes(nameWith(account, id)))).toEqual([
      true,
      true,
      false,
    ]);
  }
});

test("a clear by AppID is of the one account that the caller may use, or of the app that is held directly", async () => {
  const one = await setup(`platform:${COMPONENT.id}/*`);
  const both = nameWith(BOTH, COMPONENT.id);
  expect([SHOP, SHOP_OF, GAME, BOTH, both].map(one.cleared)).toEqual(Array(5).fill(COMPONENT.id));
  expect([OWN, nameWith(BOTH, OTHER)].map(one.cleared)).toEqual(["forbidden", "forbidden"]);
  const direct = await setup(BOTH);
  expect([BOTH, both].map(direct.cleared)).toEqual(["the app's", "forbidden"]);
  const every = await setup("*");
  expect([BOTH, both, GAME, SHOP, "wx00000000000000cc"].map(every.cleared)).toEqual([
    ...["the app's", COMPONENT.id, COMPONENT.id, "invalid_parameter", "the app's"],
  ]);
});
