import { expect, test } from "bun:test";
import { ANONYMOUS } from "../../src/access/principal.ts";
import type { Permit } from "../../src/access/permits.ts";
import { clientPrincipal } from "../support/callers.ts";
import type { Client } from "../../src/access/client.ts";
import type { CredentialRef } from "../../src/credentials/credential.ts";
import { CachedCredential } from "../../src/credentials/credential-cache.ts";
import type { GetOptions } from "../../src/credentials/manager.ts";
import {
  type DeliveredToken,
  TokenDelivery,
  VIRTUAL_LIFE_MS,
  VirtualTokens,
} from "../../src/credentials/virtual-tokens.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";
import { foreignSlot, tokenOf, wecomSlot } from "../support/slots.ts";

const TOKEN = tokenOf();
const TICKET: CredentialRef = { slot: TOKEN.slot, kind: "jsapi_ticket" };
const ORDER = { force: false };
const REJECTED = new Secret("70_old");

type Deliver = (it: ReturnType<typeof setup>, caller: Permit, ref: CredentialRef) => Promise<DeliveredToken>;

const VERBS: readonly [string, Deliver][] = [
  ["get", ({ delivery }, caller, ref) => delivery.get(caller, ref)],
  ["refresh", ({ delivery }, caller, ref) => delivery.refresh(caller, ref, ORDER)],
  ["replace", ({ delivery }, caller, ref) => delivery.replace(caller, ref, REJECTED)],
];

/** A delivery of the one credential `real` that has a minute left, or of nothing, because of `failure`. */
function setup({ failure }: { failure?: ServiceError } = {}) {
  const clock = new ManualClock();
  const now = clock.now();
  const real = new CachedCredential(
    { value: new Secret("70_real"), issuedAt: now - 7_140_000, expiresAt: now + 60_000 },
    1,
    clock,
  );
  const asked: [string, ...unknown[]][] = [];
  const answer = async (verb: string, ...args: unknown[]) => {
    asked.push([verb, ...args]);
    if (failure) throw failure;
    return real;
  };
  const credentials = {
    peek: () => undefined,
    get: (ref: CredentialRef, options?: GetOptions) => answer("get", ref, options),
    refresh: (ref: CredentialRef, order: object) => answer("refresh", ref, order),
    replace: (ref: CredentialRef, rejected: Secret) => answer("replace", ref, rejected),
  };
  const keys = { current: new Uint8Array(32), former: [] };
  const virtualTokens = new VirtualTokens({ keys: () => keys, refresh: async () => undefined }, clock);
  return {
    clock,
    real,
    asked,
    virtualTokens,
    delivery: new TokenDelivery({ credentials, virtualTokens, clock }),
  };
}

/** The permit of a client of that delivery, or of an anonymous caller. */
function callerOf(delivery?: Client["delivery"]): Permit {
  const settings = { createdAt: 1_795_000_000_123, ...(delivery && { delivery }) };
  const client = clientPrincipal("dev", settings);
  const principal = delivery ? { ...client, key: { ...client.key, prefix: "ats_01234567" } } : ANONYMOUS;
  const usage = { identity: principal.identity, action: "token:read", app: "wx1" };
  return { slot: TOKEN.slot, principal, usage };
}

test.each(VERBS)(
  "%s: a virtual client is given a token of ours with a whole life before it",
  async (_, deliver) => {
    const it = setup();
    const given = await deliver(it, callerOf("virtual"), TOKEN);
    expect(given).toMatchObject({
      issuedAt: it.clock.now(),
      expiresAt: it.clock.now() + VIRTUAL_LIFE_MS,
    });
    expect(given.remainingMs()).toBe(VIRTUAL_LIFE_MS);
    expect(await it.virtualTokens.read(given.value.reveal())).toEqual({
      client: "dev",
      clientCreatedAt: 1_795_000_000_123,
      keyPrefix: "ats_01234567",
      app: "wx1",
      issuedAt: it.clock.now(),
    });
  },
);

test.each(VERBS)(
  "%s: a real client, and whoever is no client, is given the credential itself",
  async (_, deliver) => {
    const it = setup();
    expect(await deliver(it, callerOf("real"), TOKEN)).toBe(it.real);
    expect(await deliver(it, callerOf(), TOKEN)).toBe(it.real);
  },
);

test.each(VERBS)("%s: a ticket stays a ticket", async (_, deliver) => {
  const it = setup();
  expect(await deliver(it, callerOf("virtual"), TICKET)).toBe(it.real);
});

test.each(VERBS)(
  "%s: what keeps us from having the real token is told to a virtual client too",
  async (_, deliver) => {
    const failure = new ServiceError("unavailable", "not now");
    const { code, message } = await failureOf(deliver(setup({ failure }), callerOf("virtual"), TOKEN));
    expect([code, message]).toEqual(["unavailable", "not now"]);
  },
);

test.each(VERBS)(
  "%s: no virtual token is made of a secret that this service does not hold",
  async (_, deliver) => {
    const it = setup();
    const caller = callerOf("virtual");
    const refusal = await failureOf(deliver(it, caller, tokenOf(foreignSlot("x"))));
    expect([refusal.code, refusal.deniedTo, it.asked]).toEqual(["forbidden", "dev", []]);
  },
);

test("a WeCom application is called by its public name", async () => {
  const it = setup();
  const given = await it.delivery.get(callerOf("virtual"), tokenOf(wecomSlot()));
  expect((await it.virtualTokens.read(given.value.reveal()))?.app).toBe("ww1_1000002");
});

test("a virtual client waits for no longer life of a token that it does not see, and how it came by it is noted", async () => {
  const it = setup();
  const notes = {};
  await it.delivery.get(callerOf("virtual"), TOKEN, { minTtlMs: 240_000, notes });
  await it.delivery.get(callerOf("real"), TOKEN, { minTtlMs: 240_000, notes });
  expect(it.asked).toEqual([
    ["get", TOKEN, { notes }],
    ["get", TOKEN, { minTtlMs: 240_000, notes }],
  ]);
});
