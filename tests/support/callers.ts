import { ALLOW_ALL } from "../../src/access/api-policy.ts";
import type { ApiKeyRecord, Client } from "../../src/access/client.ts";
import {
  type Caller,
  type ClientPrincipal,
  type Principal,
  UNIDENTIFIED,
} from "../../src/access/principal.ts";
import type { Origin } from "../../src/access/origin.ts";
import { Call } from "../../src/api/face.ts";

/** A caller on a trusted network; by default one that has shown nothing. */
export function caller(principal: Principal = UNIDENTIFIED, origin: Partial<Origin> = {}): Caller {
  return { principal, origin: { ...TRUSTED, ...origin }, traceId: "trace" };
}

/** A client of that name that may do nothing but what `settings` say, by a key of its own. */
export function clientPrincipal(name: string, settings: Partial<Client> = {}): ClientPrincipal {
  const limits = { networks: [], expiresAt: undefined, rateLimit: undefined, concurrency: undefined };
  const reach = { delivery: "virtual", policy: ALLOW_ALL, environment: "dev", grants: [] } as const;
  const times = { createdAt: 0, updatedAt: 0, version: 1 };
  const client: Client = { name, ...limits, ...reach, ...times, ...settings };
  const ends = { expiresAt: undefined, revokedAt: undefined, lastUsedAt: undefined };
  const key: ApiKeyRecord = {
    prefix: "ats_00000000",
    client: name,
    digest: "",
    label: "default",
    createdAt: 0,
    ...ends,
  };
  const owner = { client, isAdmin: false, allows: () => false, networks: undefined };
  return { kind: "client", identity: { client: name, environment: client.environment }, key, owner };
}

/** A call as the door makes one, of a caller on a trusted network. */
export function call(request: Request, giveTime: (seconds: number) => void = () => undefined): Call {
  const traceId = "00000000-0000-4000-8000-000000000000";
  return new Call(request, { peer: () => "127.0.0.1", giveTime }, TRUSTED, { traceId, startedAt: 0 });
}

const TRUSTED: Origin = {
  address: "127.0.0.1",
  untrustedReason: undefined,
  disguise: undefined,
  isBrowser: false,
};
