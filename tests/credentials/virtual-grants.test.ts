import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { UNIDENTIFIED, type Caller } from "../../src/access/principal.ts";
import type { App } from "../../src/apps/app.ts";
import { isVirtualGrant, VirtualGrants } from "../../src/credentials/virtual-grants.ts";
import { VirtualTokens } from "../../src/credentials/virtual-tokens.ts";
import { Secret } from "../../src/secret.ts";
import { caller, clientPrincipal } from "../support/callers.ts";
import { RotationFolder } from "../support/rotation-folder.ts";

const KEY = new Uint8Array(32).fill(1);
const SINCE = 1_795_320_060_000;
const ACCOUNT: App = {
  ...{ platform: "weixin", id: "wxa000000000000001", tokenMode: "stable" },
  secret: new Secret("refreshtoken@@@real"),
  authorization: { platformApp: "wxc000000000000001", authorizedAt: SINCE + 5000, since: SINCE, scopes: [] },
};
const CORP: App = {
  ...{ platform: "wecom", id: "ww0000000000000001", agent: "dk0000000000000001" },
  secret: new Secret("real-permanent-code"),
  authorization: { platformApp: "dk0000000000000001", authorizedAt: SINCE, scopes: [] },
};

const given = (app: App, since: number): App => ({
  ...app,
  authorization: { platformApp: "", scopes: [], ...app.authorization, authorizedAt: since, since },
});

/** Grants whose clients all exist, and whose stored secret is that of the app that is asked about. */
function setup(key = KEY) {
  const asked: Caller[] = [];
  const grants = new VirtualGrants({
    key: () => key,
    access: {
      byGrant: (from, { client }) => {
        asked.push(from);
        return client === "gone" ? undefined : clientPrincipal(client);
      },
    },
    apps: { findSecret: async () => ({ secret: ACCOUNT.secret, version: 1 }) },
  });
  return { grants, asked };
}

test("the same client is given the same text of the same authorization, in WeChat's form and in WeCom's", () => {
  const { grants } = setup();
  const principal = clientPrincipal("shop");
  const [refresh, code] = [ACCOUNT, CORP].map((app) => grants.issue(principal, app).reveal());
  expect(refresh).toMatch(/^refreshtoken@@@atvg1_[\w-]+$/);
  expect(code).toMatch(/^atvg1_[\w-]+$/);
  expect(grants.issue(principal, ACCOUNT).reveal()).toBe(String(refresh));
  for (const other of [clientPrincipal("other"), UNIDENTIFIED])
    expect(grants.issue(other, ACCOUNT).reveal()).not.toBe(String(refresh));
  for (const text of [refresh, code]) expect(isVirtualGrant(String(text))).toBeTrue();
  for (const text of ["refreshtoken@@@real", "real-permanent-code", "atv1_x", ""])
    expect(isVirtualGrant(text)).toBeFalse();
});

test("what was issued reads back, and nothing that was changed, cut or signed otherwise", () => {
  const { grants } = setup();
  const principal = clientPrincipal("shop");
  const text = grants.issue(principal, ACCOUNT).reveal();
  const { name: client, createdAt: clientCreatedAt } = principal.owner.client;
  const claims = { client, clientCreatedAt, keyPrefix: principal.key.prefix, since: SINCE };
  expect(grants.read(text)).toEqual({ ...claims, app: "wxa000000000000001_wxc000000000000001" });
  const changed = fc.tuple(fc.nat(text.length - 1), fc.constantFrom(...Array.from("aZ09-_@.")));
  fc.assert(
    fc.property(changed, ([at, character]) => {
      const other = text.slice(0, at) + character + text.slice(at + 1);
      if (other !== text) expect(grants.read(other)).toBeUndefined();
      expect(grants.read(text.slice(0, at))).toBeUndefined();
    }),
  );
  expect(setup(new Uint8Array(32).fill(2)).grants.read(text)).toBeUndefined();
});

test("a virtual token is no grant and a grant no virtual token, although one key were to sign both", async () => {
  const { grants } = setup();
  const keys = { keys: () => ({ current: KEY, former: [] }), refresh: async () => undefined };
  const tokens = new VirtualTokens(keys, {
    now: () => SINCE,
    monotonic: () => 0,
    sleep: async () => undefined,
  });
  const text = grants.issue(clientPrincipal("shop"), CORP).reveal();
  expect(await tokens.read(text)).toBeUndefined();
  expect(await tokens.read(text.replace("atvg1_", "atv1_"))).toBeUndefined();
  const claims = {
    client: "shop",
    clientCreatedAt: 1,
    keyPrefix: "ats_01234567",
    app: "wx1",
    issuedAt: SINCE,
  };
  const token = tokens.issue(claims).reveal();
  expect(grants.read(token)).toBeUndefined();
  expect(grants.read(token.replace("atv1_", "atvg1_"))).toBeUndefined();
});

test("a grant is good for its own account while the same authorization stands", async () => {
  const { grants, asked } = setup();
  const from = caller();
  const text = grants.issue(clientPrincipal("shop"), ACCOUNT).reveal();
  expect((await grants.holder(from, ACCOUNT, text))?.identity.client).toBe("shop");
  expect(asked).toEqual([from]);
  const later = { ...ACCOUNT, authorization: { ...ACCOUNT.authorization!, authorizedAt: SINCE + 99_000 } };
  expect(await grants.holder(from, later, text)).toBeDefined();
  expect(await grants.holder(from, given(ACCOUNT, SINCE + 1000), text)).toBeUndefined();
  expect(await grants.holder(from, { ...ACCOUNT, id: "wxa000000000000002" }, text)).toBeUndefined();
  const gone = grants.issue(clientPrincipal("gone"), ACCOUNT).reveal();
  expect(await grants.holder(from, ACCOUNT, gone)).toBeUndefined();
});

test("one that was given to nobody in particular, and the real secret, are whoever's that calls", async () => {
  const { grants, asked } = setup();
  const from = caller(clientPrincipal("shop"));
  const unbound = grants.issue(UNIDENTIFIED, ACCOUNT).reveal();
  for (const text of [unbound, ACCOUNT.secret.reveal()])
    expect(await grants.holder(from, ACCOUNT, text)).toBe(from.principal);
  expect(await grants.holder(from, ACCOUNT, "refreshtoken@@@wrong")).toBeUndefined();
  expect(asked).toEqual([]);
});

test("a change of the master key ends no grant, and one that revokes what is out ends them all", async () => {
  using files = new RotationFolder();
  await files.fill();
  const live = await files.open();
  const grantsOf = (key: () => Uint8Array) => new VirtualGrants({ ...partsOf(), key });
  const issued = grantsOf(live.virtualGrantKey).issue(clientPrincipal("shop"), ACCOUNT).reveal();
  await files.rotate();
  await live.virtualTokenKeys.refresh();
  for (const store of [live, await files.open()])
    expect(grantsOf(store.virtualGrantKey).read(issued)).toBeDefined();
  await files.rotate({ revokesVirtualTokens: true });
  await live.virtualTokenKeys.refresh();
  for (const store of [live, await files.open()]) {
    const grants = grantsOf(store.virtualGrantKey);
    expect(grants.read(issued)).toBeUndefined();
    expect(grants.read(grants.issue(clientPrincipal("shop"), ACCOUNT).reveal())).toBeDefined();
  }
});

function partsOf() {
  const access = { byGrant: () => undefined };
  return { access, apps: { findSecret: async () => undefined } };
}
