import { expect, test } from "bun:test";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { Access, actorOf } from "../../src/access/access.ts";
import type { TokenHolder } from "../../src/access/admission.ts";
import type { ApiPolicy } from "../../src/access/api-policy.ts";
import { Caller } from "../../src/access/principal.ts";
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
  const options = { anonymous: false, anonymousPerSecond: perSecond, workers: 1 };
  const access = new Access({ directory, clients, clock, ...options });
  return {
    access,
    clients,
    clock,
    /** A client and its key; and for whom a virtual token of theirs is. */
    client: async (name: string, facts: Partial<Client> = {}, ofKey: Partial<ApiKeyRecord> = {}) => {
      const key = store.add({ name, grants: [], createdAt: CREATED_AT, ...facts }, ofKey);
      await clients.refresh();
      // A token knows the second alone.
      const holder: TokenHolder = { client: name, createdAt: 1_795_320_000_000, keyPrefix: key.slice(0, 12) };
      return { key, holder };
    },
    remove: async (name: string) => {
      store.remove(name);
      await clients.refresh();
    },
  };
}

function callerFrom(address = "192.0.2.1", isSuspicious = false): Caller {
  return new Caller("trace", () => ({ address, untrustedReason: "a stranger", isSuspicious }));
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

test("a key in a header is noted on the caller", async () => {
  const { access, client } = setup();
  const { key } = await client("bot");
  const caller = callerFrom();
  access.admitKey(caller, key);
  expect(caller.key).toMatchObject({ prefix: key.slice(0, 12), client: "bot" });
});

test("a virtual token makes its bearer the client for whom it was made, and counts as a use of its key", async () => {
  const { access, clients, client, clock } = setup();
  const { key, holder } = await client("bot");
  const caller = callerFrom();
  expect(access.admitToken(caller, holder)).toBe(true);
  expect(caller.client?.client.name).toBe("bot");
  expect(caller.key?.prefix).toBe(key.slice(0, 12));
  expect(actorOf(caller)).toMatchObject({ client: "bot", environment: "dev", address: "192.0.2.1" });
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
    anew: (await client("anew", { createdAt: CREATED_AT + 1000 })).holder,
    older: (await client("older", { createdAt: CREATED_AT - 2000 })).holder,
    "another-key": { ...(await client("another-key")).holder, keyPrefix: other.holder.keyPrefix },
    nobody: { ...other.holder, client: "nobody" },
    removed: (await client("removed")).holder,
  };
  expect(access.admitToken(callerFrom(), dead.removed)).toBe(true);
  await remove("removed");
  for (const [what, holder] of Object.entries(dead)) {
    const caller = callerFrom();
    expect([what, access.admitToken(caller, holder)]).toEqual([what, false]);
    expect([what, caller.client, caller.key]).toEqual([what, undefined, undefined]);
  }
});

test("a virtual token ends at the very moment at which its key does", async () => {
  const { access, client, clock } = setup();
  const { holder } = await client("bot", {}, { expiresAt: clock.now() + 1000 });
  clock.advance(999);
  expect(access.admitToken(callerFrom(), holder)).toBe(true);
  clock.advance(1);
  expect(access.admitToken(callerFrom(), holder)).toBe(false);
});

test("a client that has become real keeps its virtual tokens", async () => {
  const { access, client } = setup();
  const { holder } = await client("bot", { delivery: "real" });
  expect(access.admitToken(callerFrom(), holder)).toBe(true);
});

test("the bearer of a virtual token is held to the client's networks and rate", async () => {
  const { access, client } = setup();
  const { holder } = await client("homely", { networks: ["10.0.0.0/8"], rateLimit: 1 });
  for (const caller of [callerFrom("192.0.2.1"), callerFrom("10.0.0.1", true)]) {
    expect(refusalOf(() => access.admitToken(caller, holder)).code).toBe("forbidden");
    expect([caller.isRefused, actorOf(caller).client, caller.client]).toEqual([true, "homely", undefined]);
  }
  expect(access.admitToken(callerFrom("10.0.0.1"), holder)).toBe(true);
  const { code, retryAfterMs } = refusalOf(() => access.admitToken(callerFrom("10.0.0.2"), holder));
  expect([code, retryAfterMs]).toEqual(["rate_limited", 1000]);
});

test("beside a key in a header a virtual token must be the same client's, and is not counted twice", async () => {
  const { access, client } = setup();
  const one = await client("one", { rateLimit: 1 });
  const two = await client("two");
  const caller = callerFrom();
  access.admitKey(caller, one.key);
  expect(access.admitToken(caller, one.holder)).toBe(true);
  const refused = refusalOf(() => access.admitToken(caller, two.holder));
  expect([refused.code, caller.isRefused, caller.client?.client.name]).toEqual(["forbidden", true, "one"]);
  expect(access.admitToken(caller, { ...two.holder, client: "nobody" })).toBe(false);
});

test("whoever holds a real token is told by the address, counted against its limit, and refused when dubious", () => {
  const { access, clock } = setup({ perSecond: 1 });
  const caller = callerFrom("2001:db8:0:1::7");
  access.admitBearer(caller);
  expect(actorOf(caller)).toMatchObject({ client: "(access token 2001:db8:0:1)", environment: "" });
  for (let times = 1; times < 10; times++) access.admitBearer(callerFrom("2001:db8:0:1::8"));
  const { code, retryAfterMs } = refusalOf(() => access.admitBearer(callerFrom("2001:db8:0:1::9")));
  expect([code, retryAfterMs]).toEqual(["rate_limited", 1000]);
  clock.advance(1000);
  const dubious = callerFrom("192.0.2.1", true);
  expect(refusalOf(() => access.admitBearer(dubious)).code).toBe("forbidden");
  expect(dubious.isRefused).toBe(true);
});

test("a client that holds a real token stays the client", async () => {
  const { access, client } = setup({ perSecond: 1 });
  const { key } = await client("bot");
  const caller = callerFrom("192.0.2.1", true);
  access.admitKey(caller, key);
  for (let times = 0; times < 20; times++) access.admitBearer(caller);
  expect(actorOf(caller).client).toBe("bot");
});

test("a client's policy decides which paths it may call, and its refusal names policy and family, not the path", async () => {
  const { access, client } = setup();
  const { key } = await client("bot", { delivery: "virtual", policy: NO_MESSAGING });
  const caller = callerFrom();
  access.admitKey(caller, key);
  access.checkPath(caller, "weixin", "/cgi-bin/user/get");
  expect(caller.isRefused).toBeUndefined();
  const { code, message } = refusalOf(() =>
    access.checkPath(caller, "weixin", "/cgi-bin/message/custom/send"),
  );
  expect([code, caller.isRefused]).toEqual(["forbidden", true]);
  expect(message).toContain("接口策略（no-messaging）不允许调用 /cgi-bin/message/**，可由管理员修改策略");
  expect(message).toContain(
    "(no-messaging) does not allow /cgi-bin/message/**; an administrator can change it",
  );
  const odd = refusalOf(() => access.checkPath(caller, "weixin", "/cgi-bin/us%65r/get"));
  expect(odd.message).toContain("does not allow *;");
});

test("who is no client may call any path", () => {
  const { access } = setup();
  for (const path of ["/cgi-bin/message/custom/send", "/odd%2fpath"])
    access.checkPath(callerFrom(), "weixin", path);
});
