import { expect, test } from "bun:test";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { Access } from "../../src/access/access.ts";
import { createApiKey } from "../../src/access/api-key.ts";
import { type Caller, UNIDENTIFIED } from "../../src/access/principal.ts";
import { ClientDirectory } from "../../src/access/client-directory.ts";
import { type Action, ACTIONS, type ApiKeyRecord, type Client } from "../../src/access/client.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryClientStore } from "./memory-client-store.ts";

const [WX, OTHER, CORP] = ["wx1", "wx2", "ww1"] as const;
const [TRUE, OF_OTHER, OF_1, OF_2] = [
  "secret-of-wx1",
  "secret-of-wx2",
  "secret-of-1",
  "secret-of-2",
] as const;
const EVERYTHING = [...ACTIONS];
const ORDINARY = ACTIONS.filter((action) => action !== "admin");
const MINUTE_MS = 60_000;

interface Options {
  readonly anonymous?: boolean;
  readonly perSecond?: number;
  readonly workers?: number;
}

/** Access with two WeChat apps and a corp with two applications, clients in memory, and callers from anywhere. */
function setup({ anonymous, perSecond = 0, workers = 1 }: Options = {}) {
  const clock = new ManualClock();
  const store = new MemoryClientStore();
  const directory = new AppDirectory(
    [
      { platform: "weixin", id: WX, secret: new Secret(TRUE), tokenMode: "stable" },
      { platform: "weixin", id: OTHER, secret: new Secret(OF_OTHER), tokenMode: "stable" },
      { platform: "wecom", id: CORP, agent: "1", secret: new Secret(OF_1) },
      { platform: "wecom", id: CORP, agent: "2", secret: new Secret(OF_2) },
    ],
    (platform, appId, secret) => `digest of ${platform} ${appId} ${secret.reveal()}`,
  );
  const clients = new ClientDirectory(store, store.changes, clock);
  const access = new Access({
    directory,
    clients,
    clock,
    anonymous,
    anonymousPerSecond: perSecond,
    processes: () => workers,
  });
  return {
    access,
    clients,
    store,
    clock,
    /** A client with these actions on these apps; its key. */
    client: async (
      name: string,
      actions: readonly Action[],
      { apps = ["*"], ...facts }: { apps?: readonly string[] } & Partial<Client> = {},
      ofKey: Partial<ApiKeyRecord> = {},
    ) => {
      const key = store.add({ name, grants: [{ apps, actions }], ...facts }, ofKey);
      await clients.refresh();
      return key;
    },
    /** A caller with this key in a header. */
    keyed: (key: string, address = "192.0.2.1"): Caller => {
      const caller = callerFrom(address, true);
      return { ...caller, principal: access.byKey(caller.origin, key) };
    },
  };
}

function callerFrom(address: string, isUntrusted = false, disguise?: string): Caller {
  const untrustedReason = isUntrusted ? "a stranger" : undefined;
  return {
    principal: UNIDENTIFIED,
    origin: { address, untrustedReason, disguise, isBrowser: false },
    traceId: "trace",
  };
}

const near = () => callerFrom("127.0.0.1");
const far = () => callerFrom("192.0.2.1", true);

/** How it was refused: WeChat's errcode, or our code; and for how long where it is told. */
function refusalOf(work: () => unknown): [code: string | number, retryAfterMs?: number] {
  try {
    work();
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const { code, wording, retryAfterMs } = error;
    return retryAfterMs === undefined ? [wording?.errcode ?? code] : [wording?.errcode ?? code, retryAfterMs];
  }
  throw new Error("it was not refused");
}

/** As which client it was denied; undefined for what was no denial. */
function deniedTo(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof ServiceError) return error.deniedTo;
    throw error;
  }
  throw new Error("it was not refused");
}

test("a key in a header beats one in the place of the secret, and beats its grants too", async () => {
  const { access, client, keyed } = setup();
  const reads = await client("reads", ["token:read"]);
  const nothing = await client("nothing", []);
  const caller = keyed(reads);
  const permit = access.slots.weixin(caller, "token:read", WX, nothing);
  expect(permit.slot).toMatchObject({ appId: WX, configured: true });
  expect(permit.principal.identity).toEqual({ client: "reads", environment: "dev" });
  const other = keyed(nothing);
  expect(refusalOf(() => access.slots.weixin(other, "token:read", WX, reads))).toEqual(["forbidden"]);
  expect(deniedTo(() => access.slots.weixin(other, "token:read", WX, reads))).toBe("nothing");
});

test("a key in the place of the secret makes its client of whoever sends it, from anywhere, and costs no trial", async () => {
  const { access, client } = setup();
  const key = await client("reads", ["token:read"], { apps: [WX, `${CORP}_2`] });
  const permit = access.slots.weixin(far(), "token:read", WX, key);
  expect(permit.slot).toMatchObject({ name: "stable", configured: true });
  const identity = { client: "reads", environment: "dev" };
  expect(permit.usage).toEqual({ identity, action: "token:read", app: WX });
  expect(access.slots.wecom(far(), "token:read", CORP, key).slot).toMatchObject({
    name: "2",
    configured: true,
  });
  expect(access.slots.weixinScope(near(), "token:read", WX, key).slot).toBeUndefined();
  expect(refusalOf(() => access.slots.weixin(far(), "token:clear", WX, key))).toEqual(["forbidden"]);
  expect(refusalOf(() => access.slots.weixin(far(), "token:read", OTHER, key))).toEqual(["forbidden"]);
});

test("a bad, expired or revoked key is refused and never taken for an anonymous caller", async () => {
  const { access, client, clock } = setup({ anonymous: true });
  const now = clock.now();
  const keys = {
    unknown: createApiKey().reveal(),
    malformed: "ats_000",
    expired: await client("expired", EVERYTHING, {}, { expiresAt: now }),
    revoked: await client("revoked", EVERYTHING, {}, { revokedAt: now }),
    over: await client("over", EVERYTHING, { expiresAt: now }),
  };
  expect(access.slots.weixin(near(), "token:read", WX).slot).toMatchObject({ configured: true });
  for (const [what, key] of Object.entries(keys)) {
    const caller = near();
    const byKey = () => access.byKey(caller.origin, key);
    expect([what, refusalOf(byKey)]).toEqual([what, ["unauthorized"]]);
    expect([what, deniedTo(byKey)]).not.toEqual([what, undefined]);
    const inSecret = near();
    const ask = () => access.slots.weixin(inSecret, "token:read", WX, key);
    expect([what, refusalOf(ask)]).toEqual([what, ["unauthorized"]]);
  }
});

test("a key and a client are good until the very moment at which they end", async () => {
  const { client, clock, keyed } = setup();
  const byKey = await client("one", ["token:read"], {}, { expiresAt: clock.now() + 1000 });
  const byClient = await client("two", ["token:read"], { expiresAt: clock.now() + 1000 });
  clock.advance(999);
  for (const key of [byKey, byClient]) expect(keyed(key).principal.kind).toBe("client");
  clock.advance(1);
  for (const key of [byKey, byClient]) expect(refusalOf(() => keyed(key))).toEqual(["unauthorized"]);
});

test("a client with networks is answered from those alone, and from no disguised address", async () => {
  const { access, client, keyed } = setup();
  const key = await client("homely", ["token:read"], { networks: ["10.0.0.0/8", "2001:db8::/32"] });
  for (const address of ["10.1.2.3", "2001:db8::7"])
    expect(keyed(key, address).principal.kind).toBe("client");
  for (const address of ["192.0.2.1", "127.0.0.1", "::1", ""])
    expect([address, refusalOf(() => keyed(key, address))]).toEqual([address, ["forbidden"]]);
  const disguised = callerFrom("10.1.2.3", true, "came through a proxy");
  expect(refusalOf(() => access.byKey(disguised.origin, key))).toEqual(["forbidden"]);
});

test("the app's true secret makes its holder of anybody from anywhere, for every action but admin, on that app alone", () => {
  const { access } = setup({ anonymous: false });
  for (const action of ORDINARY) {
    const { slot, principal } = access.slots.weixin(far(), action, WX, TRUE);
    expect(slot).toMatchObject({ appId: WX, configured: true });
    expect(principal.identity.client).toBe("(app secret)");
  }
  expect(access.slots.wecom(far(), "token:read", CORP, OF_2).slot).toMatchObject({
    name: "2",
    configured: true,
  });
  expect(refusalOf(() => access.slots.weixin(far(), "token:read", OTHER, TRUE))).toEqual([40125]);
  expect(refusalOf(() => access.slots.wecom(far(), "token:read", CORP, TRUE))).toEqual([40001]);
  const caller = far();
  access.slots.weixin(caller, "token:read", WX, TRUE);
  expect(refusalOf(() => access.admin(caller))).toEqual(["forbidden"]);
  expect(refusalOf(() => access.slotOfApp(caller, "token:read", WX))).toEqual(["forbidden"]);
});

test("a client that brings the app's true secret has its own grants all the same", async () => {
  const { access, client, keyed } = setup();
  const caller = keyed(await client("reads", ["token:read"], { apps: [OTHER] }));
  expect(refusalOf(() => access.slots.weixin(caller, "token:read", WX, TRUE))).toEqual(["forbidden"]);
  expect(access.slots.weixin(caller, "token:read", OTHER, OF_OTHER).slot).toMatchObject({ appId: OTHER });
});

test("an unknown secret is tried for anonymous callers on a trusted network and for administrators, and for nobody else", async () => {
  const { access, client, keyed } = setup({ anonymous: true });
  const admin = await client("admin", ["admin"]);
  const plain = await client("plain", ORDINARY);
  const tried = { configured: false };
  expect(access.slots.weixin(near(), "token:read", WX, "unknown").slot).toMatchObject(tried);
  expect(access.slots.wecom(near(), "token:read", CORP, "unknown").slot).toMatchObject(tried);
  expect(access.slots.weixin(keyed(admin), "token:read", WX, "unknown").slot).toMatchObject(tried);
  for (const caller of [far(), keyed(plain)]) {
    expect(refusalOf(() => access.slots.weixin(caller, "token:read", WX, "unknown"))).toEqual([40125]);
    expect(refusalOf(() => access.slots.wecom(caller, "token:read", CORP, "unknown"))).toEqual([40001]);
    expect(deniedTo(() => access.slots.weixin(caller, "token:read", WX, "unknown"))).toBeString();
  }
  const off = setup({ anonymous: false });
  expect(refusalOf(() => off.access.slots.weixin(near(), "token:read", WX, "unknown"))).toEqual([40125]);
});

test("of a corp's applications the one that is granted is meant; several need a name, and none is forbidden", async () => {
  const { access, client, keyed } = setup();
  const one = keyed(await client("one", ["token:read"], { apps: [`${CORP}_2`] }));
  expect(access.slots.wecom(one, "token:read", CORP).slot).toMatchObject({ name: "2" });
  expect(access.slots.wecomScope(one, "token:read", CORP).slot).toMatchObject({ name: "2" });
  expect(refusalOf(() => access.slots.wecom(one, "token:read", CORP, undefined, "1"))).toEqual(["forbidden"]);
  expect(refusalOf(() => access.slots.wecomScope(one, "token:read", CORP, undefined, "1"))).toEqual([
    "forbidden",
  ]);

  const both = keyed(await client("both", ["token:read"], { apps: [`${CORP}_1`, `${CORP}_2`] }));
  expect(refusalOf(() => access.slots.wecom(both, "token:read", CORP))).toEqual(["invalid_parameter"]);
  expect(access.slots.wecom(both, "token:read", CORP, undefined, "1").slot).toMatchObject({ name: "1" });

  const none = keyed(await client("none", ["token:read"], { apps: [WX] }));
  for (const corp of [CORP, "ww9"]) {
    expect(refusalOf(() => access.slots.wecom(none, "token:read", corp))).toEqual(["forbidden"]);
    expect(refusalOf(() => access.slots.wecomScope(none, "token:read", corp))).toEqual(["forbidden"]);
  }
  const all = keyed(await client("all", ["token:clear"]));
  const { slot, usage } = access.slots.wecomScope(all, "token:clear", CORP);
  expect([slot, usage.action, usage.app]).toEqual([undefined, "token:clear", CORP]);
});

test("admin implies every action on every app, and nobody without it is an administrator", async () => {
  const { access, client, keyed } = setup({ anonymous: true });
  const admin = keyed(await client("boss", ["admin"]));
  for (const action of ORDINARY)
    expect(access.slotOfApp(admin, action, WX).slot).toMatchObject({ appId: WX });
  expect(access.admin(admin)).toMatchObject({ client: "boss", address: "192.0.2.1" });
  const plain = keyed(await client("plain", ORDINARY));
  expect(refusalOf(() => access.admin(plain))).toEqual(["forbidden"]);
  expect(refusalOf(() => access.admin(near()))).toEqual(["forbidden"]);
});

test("admin on one app, as earlier versions could grant it, is every action on that app and nothing of the service", async () => {
  const { access, client, keyed } = setup();
  const caller = keyed(await client("boss", ["admin", "metrics:read"], { apps: [OTHER] }));
  for (const action of ORDINARY.filter((each) => each !== "metrics:read")) {
    expect(access.slotOfApp(caller, action, OTHER).slot).toMatchObject({ appId: OTHER });
    expect(refusalOf(() => access.slotOfApp(caller, action, WX))).toEqual(["forbidden"]);
  }
  expect(refusalOf(() => access.admin(caller))).toEqual(["forbidden"]);
  expect(refusalOf(() => access.checkMetrics(caller, false))).toEqual(["forbidden"]);
  expect([WX, OTHER].filter(access.visibleApps(caller))).toEqual([OTHER]);
  expect(refusalOf(() => access.slots.weixin(caller, "token:read", OTHER, "unknown"))).toEqual([40125]);
});

test("a client sees the apps on which anything is granted to it", async () => {
  const { access, client, keyed } = setup();
  const caller = keyed(await client("signs", ["ticket:sign"], { apps: [WX] }));
  expect([WX, OTHER].filter(access.visibleApps(caller))).toEqual([WX]);
  const admin = keyed(await client("boss", ["admin"]));
  expect([WX, OTHER].filter(access.visibleApps(admin))).toEqual([WX, OTHER]);
});

test("with ANONYMOUS unset callers without a key are answered as the settings say, whether there are clients or not", async () => {
  const { access, client, clients, store } = setup();
  const ask = () => access.slots.weixin(near(), "token:read", WX);
  // Before the settings were ever read.
  expect(refusalOf(ask)).toEqual(["unauthorized"]);
  const decide = async (isAnonymousOn: boolean) => {
    store.settings = { isAnonymousOn, corsOrigins: undefined };
    store.changes.raise("clients");
    await clients.refresh();
  };
  await decide(true);
  expect(ask().slot).toMatchObject({ appId: WX });
  await client("first", []);
  expect(ask().slot).toMatchObject({ appId: WX });
  await decide(false);
  expect(refusalOf(ask)).toEqual(["unauthorized"]);
});

test("ANONYMOUS=on and off hold whether there is a client or not", async () => {
  const [on, off] = [setup({ anonymous: true }), setup({ anonymous: false })];
  const ask = ({ access }: typeof on) => access.slots.weixin(near(), "token:read", WX);
  expect(refusalOf(() => ask(off))).toEqual(["unauthorized"]);
  for (const { client } of [on, off]) await client("first", []);
  expect(ask(on).slot).toMatchObject({ appId: WX });
  expect(refusalOf(() => ask(off))).toEqual(["unauthorized"]);
  expect(refusalOf(() => on.access.slots.weixin(far(), "token:read", WX))).toEqual(["forbidden"]);
});

test("a client's limit is its own, wherever it asks from, and tells when the next request is welcome", async () => {
  const { client, clock, keyed } = setup();
  const two = await client("two", ["token:read"], { rateLimit: 2 });
  const free = await client("free", ["token:read"]);
  keyed(two, "192.0.2.1");
  keyed(two, "192.0.2.2");
  expect(refusalOf(() => keyed(two, "192.0.2.3"))).toEqual(["rate_limited", 500]);
  for (let times = 0; times < 100; times++) keyed(free);
  clock.advance(499);
  expect(refusalOf(() => keyed(two))).toEqual(["rate_limited", 1]);
  clock.advance(1);
  expect(keyed(two).principal.kind).toBe("client");
});

test("an address without a key may come for ten seconds' worth at once, and another has its own", async () => {
  const { access, clock } = setup({ anonymous: true, perSecond: 2 });
  const ask = (address: string) => access.slots.weixin(callerFrom(address), "token:read", WX);
  for (let times = 0; times < 20; times++) ask("127.0.0.1");
  expect(refusalOf(() => ask("127.0.0.1"))).toEqual(["rate_limited", 500]);
  expect(ask("127.0.0.2").slot).toMatchObject({ appId: WX });
  clock.advance(500);
  expect(ask("127.0.0.1").slot).toMatchObject({ appId: WX });
  expect(refusalOf(() => access.slots.weixin(near(), "token:read", WX, TRUE))).toEqual(["rate_limited", 500]);
});

test("limits are divided among the workers, so that together they keep to them", async () => {
  const { access, client, keyed } = setup({ perSecond: 2, workers: 4 });
  const key = await client("eight", ["token:read"], { rateLimit: 8 });
  for (let times = 0; times < 2; times++) keyed(key);
  expect(refusalOf(() => keyed(key))).toEqual(["rate_limited", 500]);
  for (let times = 0; times < 5; times++) access.slots.weixin(far(), "token:read", WX, TRUE);
  expect(refusalOf(() => access.slots.weixin(far(), "token:read", WX, TRUE))).toEqual(["rate_limited", 2000]);
  for (let times = 0; times < 5; times++)
    expect(refusalOf(() => access.byKey(far().origin, "ats_0"))).toEqual(["unauthorized"]);
  expect(refusalOf(() => access.byKey(far().origin, "ats_0"))).toEqual(["rate_limited", 12_000]);
});

test("twenty wrong keys and secrets a minute from one address are told so, then 429; a valid key is never locked out", async () => {
  const { access, client, clock, keyed } = setup({ anonymous: false });
  const good = await client("good", ["token:read"]);
  const wrongKey = () => access.byKey(far().origin, createApiKey().reveal());
  const wrongSecret = () => access.slots.weixin(far(), "token:read", WX, "wrong");
  for (let times = 0; times < 10; times++) {
    expect(refusalOf(wrongKey)).toEqual(["unauthorized"]);
    expect(refusalOf(wrongSecret)).toEqual([40125]);
  }
  for (const wrong of [wrongKey, wrongSecret]) expect(refusalOf(wrong)).toEqual(["rate_limited", 3000]);
  expect(keyed(good, far().origin.address).principal.kind).toBe("client");
  expect(access.slots.weixin(far(), "token:read", WX, good).slot).toMatchObject({ appId: WX });
  expect(access.slots.weixin(far(), "token:read", WX, TRUE).slot).toMatchObject({ appId: WX });
  const elsewhere = () => access.byKey(callerFrom("192.0.2.9", true).origin, "ats_0");
  expect(refusalOf(elsewhere)).toEqual(["unauthorized"]);
  clock.advance(MINUTE_MS);
  for (let times = 0; times < 20; times++) expect(refusalOf(wrongKey)).toEqual(["unauthorized"]);
  expect(refusalOf(wrongKey)).toEqual(["rate_limited", 3000]);
});
