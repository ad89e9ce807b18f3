import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import { isWellFormedApiKey } from "./api-key.ts";
import {
  type Caller,
  untrusted,
  forbidden,
  type Identity,
  markRefused,
  tooMany,
  unauthorized,
} from "./principal.ts";
import type { CallerLimits } from "./limits.ts";
import type { ClientDirectory, KnownClient, KnownKey } from "./client-directory.ts";
import { type Action, allows } from "./client.ts";
import { callerNetwork } from "./networks.ts";

/** For whom a virtual token was made, as the token tells. */
export interface TokenHolder {
  /** The client's name. */
  readonly client: string;
  /** When that client was made; epoch milliseconds, true to the second. */
  readonly createdAt: number;
  /** The key with which it was asked for. */
  readonly keyPrefix: string;
}

/** Which apps, by their public names, a caller may use for an action. */
export type MayUse = (app: string) => boolean;

const ANONYMOUS: Identity = { client: "(anonymous)", environment: "" };
const LOCAL: Identity = { client: "(command line)", environment: "" };

/** A token knows an instant to the second. */
const SECOND_MS = 1000;

/** What admission works with. */
export interface AdmissionParts {
  readonly clients: Pick<ClientDirectory, "keyOf" | "keyNamed" | "noteUse" | "isInUse">;
  readonly clock: Clock;
  /** Undefined: until the first client exists. */
  readonly anonymous: boolean | undefined;
  readonly limits: CallerLimits;
}

/** Makes callers who they are, by what they bring. Every refusal is marked on the caller, for the audit. */
export class Admission {
  readonly #parts: AdmissionParts;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** As `Access.admitKey`. */
  admitKey(caller: Caller, text: string): void {
    if (this.admitKnownKey(caller, text)) return;
    this.refuseWrong(caller, unauthorized("无效的API密钥", "no such API key"));
  }

  /** As `admitKey`, but for a text that is no key of ours it does nothing and is false. */
  admitKnownKey(caller: Caller, text: string): boolean {
    const known = isWellFormedApiKey(text) ? this.#parts.clients.keyOf(text) : undefined;
    if (!known) return false;
    caller.identity = known.owner.identity;
    const over = this.#overOf(known);
    if (over) return this.refuseWrong(caller, over);
    this.#letIn(caller, known);
    return true;
  }

  /** As `Access.admitToken`. */
  admitToken(caller: Caller, { client, createdAt, keyPrefix }: TokenHolder): boolean {
    const known = this.#parts.clients.keyNamed(client, keyPrefix);
    if (!known || this.#overOf(known)) return false;
    if (Math.abs(known.owner.client.createdAt - createdAt) >= SECOND_MS) return false;
    if (!caller.client) {
      caller.identity = known.owner.identity;
      this.#letIn(caller, known);
      return true;
    }
    if (caller.client.client.name === client) return true;
    throw markRefused(
      caller,
      forbidden("该access_token属于另一个客户端", "the access token is another client's, and not the key's"),
    );
  }

  /** As `Access.admitBearer`. */
  admitBearer(caller: Caller, { isRejected = false }: { readonly isRejected?: boolean } = {}): void {
    if (caller.client || caller.isLocal) return;
    if (caller.isSuspicious) throw markRefused(caller, untrusted(caller.untrustedReason ?? ""));
    const what = isRejected ? "rejected access token" : "access token";
    caller.identity = { client: `(${what} ${callerNetwork(caller.address)})`, environment: "" };
    this.limitAddress(caller);
  }

  /** Who asks, when no secret tells, and what it may use for `action`. Throws when it is nobody who is answered. */
  identify(caller: Caller, action: Action): MayUse {
    if (caller.client) {
      const { grants } = caller.client.client;
      return (app) => allows(grants, action, app);
    }
    if (caller.isLocal) {
      caller.identity = LOCAL;
      return () => true;
    }
    if (caller.untrustedReason !== undefined) throw markRefused(caller, untrusted(caller.untrustedReason));
    if (!this.isAnonymousOn)
      throw markRefused(
        caller,
        unauthorized("缺少API密钥", "no API key: send it as Authorization: Bearer, X-API-Key or secret"),
      );
    caller.identity ??= ANONYMOUS;
    this.limitAddress(caller);
    return () => action !== "admin";
  }

  /** As `Access.admitTrusted`. */
  admitTrusted(caller: Caller): void {
    if (caller.client) return;
    if (caller.untrustedReason !== undefined) throw markRefused(caller, untrusted(caller.untrustedReason));
    caller.identity ??= ANONYMOUS;
    this.limitAddress(caller);
  }

  /** Whether callers without key and secret are answered. */
  get isAnonymousOn(): boolean {
    const { anonymous, clients } = this.#parts;
    return anonymous ?? !clients.isInUse;
  }

  /** Counts a request of somebody without a key. Throws `rate_limited`. */
  limitAddress(caller: Caller): void {
    limit(caller, this.#parts.limits.ofAddress(caller.address));
  }

  /** Refuses who came with something wrong; and says no more than that it was too often, when it was. */
  refuseWrong(caller: Caller, error: ServiceError): never {
    const waitMs = this.#parts.limits.ofWrong(caller.address);
    const tooOften = () => tooMany("密钥或secret错误次数过多", "too many wrong keys or secrets", waitMs);
    throw markRefused(caller, waitMs > 0 ? tooOften() : error);
  }

  /** What is over about a key or its client; undefined while both are good. */
  #overOf({ key, owner }: KnownKey): ServiceError | undefined {
    const now = this.#parts.clock.now();
    if (key.revokedAt !== undefined) return unauthorized("API密钥已吊销", "the API key is revoked");
    if (isExpired(key.expiresAt, now)) return unauthorized("API密钥已过期", "the API key has expired");
    if (isExpired(owner.client.expiresAt, now)) return unauthorized("客户端已过期", "the client has expired");
    return undefined;
  }

  #letIn(caller: Caller, { key, owner }: KnownKey): void {
    checkNetwork(caller, owner);
    limit(caller, this.#parts.limits.ofClient(owner.client));
    this.#parts.clients.noteUse(key);
    caller.client = owner;
    caller.key = key;
  }
}

function checkNetwork(caller: Caller, { networks }: KnownClient): void {
  if (!networks) return;
  if (caller.isSuspicious) throw markRefused(caller, untrusted(caller.untrustedReason ?? ""));
  if (networks.includes(caller.address)) return;
  throw markRefused(
    caller,
    forbidden("来源地址不在该客户端的允许范围内", "the address is not one of the client's"),
  );
}

function limit(caller: Caller, waitMs: number): void {
  if (waitMs > 0) throw markRefused(caller, tooMany("请求过于频繁", "too many requests", waitMs));
}

function isExpired(endsAt: number | undefined, now: number): boolean {
  return endsAt !== undefined && endsAt <= now;
}
