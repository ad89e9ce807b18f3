import { expect, test } from "bun:test";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { Access } from "../../src/access/access.ts";
import type { TokenHolder } from "../../src/access/authenticator.ts";
import type { ApiPolicy } from "../../src/access/api-policy.ts";
import { actorOf, type Caller, UNIDENTIFIED } from "../../src/access/principal.ts";
import { checkPath } from "../../src/access/call-policy.ts";
import { ClientDirectory } from "../../src/access/client-directory.ts";
import type { ApiKeyRecord, Client } from "../../src/access/client.ts";
import { ServiceError } from "../../src/errors.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryClientStore } from "./memory-client-store.ts";

const CREATED_AT = 1_795_320_000_700;
const NO_MESSAGING: ApiPolicy = { preset: "no-messaging", allow: [], deny: [] };

/** Access with clients in memory; addresses without a key may ask `perSecond` times a second. */
function setup({ perSecond = 0 } = {}) {
  const clock = new ManualClock();
  const store = new MemoryClientStore();
  const directory = new AppDirectory([], () => "");
  const clients = new ClientDirectory(store, store.changes, clock);
  const options = { anonymous: false, anonymousPerSecond: perSecond, processes: () => 1 };
  const access = new Access({ directory, clients, clock, ...options });
  return {
    access,
    clients,
    clock,
    /** A client and its key; and for whom a virtual token of theirs is. */
    client: async (name: string, facts: Partial<Client> = {}, ofKey: Partial<ApiKeyRecord> = {}) => {
      const key = store.add({ name, grants: [], createdAt: CREATED_AT, ...facts }, ofKey);
      await clients.refresh();
      const { createdAt = CREATED_AT } = facts;
      const holder: TokenHolder = { client: name, createdAt, keyPrefix: key.slice(0, 12) };
      return { key, holder };
    },
    remove: async (name: string) => {
      store.remove(name);
      await clients.refresh();
    },
  };
}

function callerFrom(address = "192.0.2.1", disguise?: string): Caller {
  return {
    principal: UNIDENTIFIED,
    origin: { address, untrustedReason: "an untrusted network", disguise, isBrowser: false },
    traceId: "trace",
  };
}

function refusalOf(work: () => unknown): ServiceError {
  try {
    work();
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("a key makes its caller the client, with that key", async () => {
  const { access, client } = setup();
  const { key } = await client("bot");
  const principal = access.byKey(callerFrom().origin, key);
  expect(principal.key).toMatchObject({ prefix: key.slice(0, 12), client: "bot" });
});

test("a virtual token makes its bearer the client for whom it was made, and counts as a use of its key", async () => {
  const { access, clients, client, clock } = setup();
  const { key, holder } = await client("bot");
  const caller = callerFrom();
  const principal = access.byToken(caller, holder);
  if (!principal) throw new Error("it was not the client");
  expect(principal.owner.client.name).toBe("bot");
  expect(principal.key.prefix).toBe(key.slice(0, 12));
  expect(actorOf(principal, caller)).toMatchObject({
    client: "bot",
    environment: "dev",
    address: "192.0.2.1",
  });
  expect(clients.keysOf("bot")[0]?.lastUsedAt).toBe(clock.now() - (clock.now() % 60_000));
});

test("a virtual token is worth nothing once its client or key is gone, over, revoked or made anew", async () => {
  const { access, client, clock, remove } = setup();
  const now = clock.now();
  const other = await client("other");
  const dead = {
    expired: (await client("expired", { expiresAt: now })).holder,
    "key-over": (await client("key-over", {}, { expiresAt: now })).holder,
    revoked: (await client("revoked", {}, { revokedAt: now })).holder,
    older: { ...other.holder, createdAt: CREATED_AT - 1 },
    newer: { ...other.holder, createdAt: CREATED_AT + 1 },
    "another-key": { ...(await client("another-key")).holder, keyPrefix: other.holder.keyPrefix },
    nobody: { ...other.holder, client: "nobody" },
    removed: (await client("removed")).holder,
  };
  expect(access.byToken(callerFrom(), dead.removed)).toBeDefined();
  await remove("removed");
  for (const [what, holder] of Object.entries(dead)) {
    expect([what, access.byToken(callerFrom(), holder)]).toEqual([what, undefined]);
  }
});

test("a virtual token ends at the very moment at which its key does", async () => {
  const { access, client, clock } = setup();
  const { holder } = await client("bot", {}, { expiresAt: clock.now() + 1000 });
  clock.advance(999);
  expect(access.byToken(callerFrom(), holder)).toBeDefined();
  clock.advance(1);
  expect(access.byToken(callerFrom(), holder)).toBeUndefined();
});

test("a client that has become real keeps its virtual tokens", async () => {
  const { access, client } = setup();
  const { holder } = await client("bot", { delivery: "real" });
  expect(access.byToken(callerFrom(), holder)).toBeDefined();
});

test("the bearer of a virtual token is held to the client's networks and rate", async () => {
  const { access, client } = setup();
  const { holder } = await client("homely", { networks: ["10.0.0.0/8"], rateLimit: 1 });
  for (const caller of [callerFrom("192.0.2.1"), callerFrom("10.0.0.1", "came through a proxy")]) {
    const { code, deniedTo } = refusalOf(() => access.byToken(caller, holder));
    expect([code, deniedTo]).toEqual(["forbidden", "homely"]);
  }
  expect(access.byToken(callerFrom("10.0.0.1"), holder)).toBeDefined();
  const { code, retryAfterMs } = refusalOf(() => access.byToken(callerFrom("10.0.0.2"), holder));
  expect([code, retryAfterMs]).toEqual(["rate_limited", 1000]);
});

test("beside a key in a header a virtual token must be the same client's, and is not counted twice", async () => {
  const { access, client } = setup();
  const one = await client("one", { rateLimit: 1 });
  const two = await client("two");
  const principal = access.byKey(callerFrom().origin, one.key);
  const caller = { ...callerFrom(), principal };
  expect(access.byToken(caller, one.holder)).toBe(principal);
  const refused = refusalOf(() => access.byToken(caller, two.holder));
  expect([refused.code, refused.deniedTo]).toEqual(["forbidden", "one"]);
  expect(access.byToken(caller, { ...two.holder, client: "nobody" })).toBeUndefined();
});

test("whoever holds a real token is told by the address and counted against its limit, by whichever way it comes", () => {
  const { access, clock } = setup({ perSecond: 1 });
  const caller = callerFrom("2001:db8:0:1::7");
  expect(access.bearer(caller).identity).toEqual({ client: "(access token 2001:db8:0:1)", environment: "" });
  for (let times = 1; times < 10; times++) access.bearer(callerFrom("2001:db8:0:1::8"));
  const { code, retryAfterMs } = refusalOf(() => access.bearer(callerFrom("2001:db8:0:1::9")));
  expect([code, retryAfterMs]).toEqual(["rate_limited", 1000]);
  clock.advance(1000);
  expect(access.bearer(callerFrom("192.0.2.1", "came through a proxy")).kind).toBe("bearer");
});

test("a client that holds a real token stays the client", async () => {
  const { access, client } = setup({ perSecond: 1 });
  const { key } = await client("bot");
  const caller = callerFrom("192.0.2.1", "came through a proxy");
  const principal = access.byKey(caller.origin, key);
  for (let times = 0; times < 20; times++) expect(access.bearer({ ...caller, principal })).toBe(principal);
});

test("a client's policy decides which paths it may call, and its refusal names policy and family, not the path", async () => {
  const { access, client } = setup();
  const { key } = await client("bot", { delivery: "virtual", policy: NO_MESSAGING });
  const principal = access.byKey(callerFrom().origin, key);
  checkPath(principal, "weixin", "/cgi-bin/user/get");
  const { code, message, deniedTo } = refusalOf(() =>
    checkPath(principal, "weixin", "/cgi-bin/message/custom/send"),
  );
  expect([code, deniedTo]).toEqual(["forbidden", "bot"]);
  expect(message).toContain("接口策略（no-messaging）不允许调用 /cgi-bin/message/**，可由管理员修改策略");
  expect(message).toContain(
    "(no-messaging) does not allow /cgi-bin/message/**; an administrator can change it",
  );
  const odd = refusalOf(() => checkPath(principal, "weixin", "/cgi-bin/us%65r/get"));
  expect(odd.message).toContain("does not allow *;");
});

test("who is no client may call any path", () => {
  for (const path of ["/cgi-bin/message/custom/send", "/odd%2fpath"]) checkPath(UNIDENTIFIED, "weixin", path);
});
