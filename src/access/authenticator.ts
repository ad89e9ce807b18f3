import { type Clock, latestTime } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import { type Action, KEY_ACTIONS } from "./client.ts";
import type { ClientDirectory, KnownKey } from "./client-directory.ts";
import type { ConsoleSession, ConsoleSessions } from "./console-sessions.ts";
import type { CallerLimits } from "./limits.ts";
import { callerNetwork } from "./networks.ts";
import type { Origin } from "./origin.ts";
import {
  ANONYMOUS,
  APP_SECRET_HOLDER,
  type Caller,
  type ClientPrincipal,
  denied,
  forbidden,
  keyMissing,
  other,
  type Principal,
  tooMany,
  unauthorized,
  UNIDENTIFIED,
  untrusted,
} from "./principal.ts";

/** For whom a virtual token was issued, as the token itself says. */
export interface TokenHolder {
  /** The client's name. */
  readonly client: string;
  /** When that client was created; epoch milliseconds. */
  readonly createdAt: number;
  /** The key for which it was issued. */
  readonly keyPrefix: string;
}

/** What authentication goes by. */
export interface AuthenticatorOptions {
  readonly clients: Pick<
    ClientDirectory,
    "keyOf" | "keyNamed" | "keysOf" | "withoutKey" | "noteUse" | "settings"
  >;
  readonly sessions?: Pick<ConsoleSessions, "find" | "noteUse"> | undefined;
  readonly clock: Clock;
  /** Whether callers without key and secret are answered; undefined: as the settings say. */
  readonly anonymous: boolean | undefined;
  readonly limits: CallerLimits;
}

/** Authenticates callers, and counts their requests against their rate limits. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #now: () => number;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#now = latestTime(options.clock);
  }

  /**
   * The client whose API key `text` is.
   *
   * @throws {ServiceError} `unauthorized`; `forbidden` from an address that is not the client's; `rate_limited`.
   */
  byKey(origin: Origin, text: string): ClientPrincipal {
    const known = this.byKnownKey(origin, text);
    if (known) return known;
    throw this.wrong(UNIDENTIFIED, origin, unauthorized("无效的API密钥", "no such API key"));
  }

  /** As `byKey`, but undefined for a text that is no key of ours. */
  byKnownKey(origin: Origin, text: string): ClientPrincipal | undefined {
    const known = this.#options.clients.keyOf(text) ?? undefined;
    if (!known) return undefined;
    const expired = this.#invalidityOf(known);
    if (expired) throw this.wrong(known, origin, expired);
    this.#admit(origin, known);
    return known;
  }

  /**
   * The client for which a virtual token was issued, while it is one: undefined when that client is gone, was created
   * again or has expired, or its key is revoked, expired or gone.
   *
   * @throws {ServiceError} `forbidden` beside another client's key, or from an address that is not the client's;
   *   `rate_limited`.
   */
  byToken(
    { principal, origin }: Caller,
    { client, createdAt, keyPrefix }: TokenHolder,
  ): ClientPrincipal | undefined {
    const known = this.#options.clients.keyNamed(client, keyPrefix);
    if (!known || known.owner.client.createdAt !== createdAt || this.#invalidityOf(known)) return undefined;
    if (principal.kind !== "client") {
      this.#admit(origin, known);
      return known;
    }
    if (principal.owner.client.name === client) return principal;
    throw denied(
      principal,
      forbidden("该access_token属于另一个客户端", "the access token is another client's, and not the key's"),
    );
  }

  /**
   * As `byToken`, for what outlives the key that it was issued for: a client that has shown who it is may use it, and for
   * any other caller the key that took the place of an ended one counts. Undefined also for another client.
   */
  byGrant(caller: Caller, holder: TokenHolder): ClientPrincipal | undefined {
    const { principal } = caller;
    const { client, createdAt, keyPrefix } = holder;
    if (principal.kind === "client") {
      const { name, createdAt: since } = principal.owner.client;
      return name === client && since === createdAt ? principal : undefined;
    }
    const { clients } = this.#options;
    let known = clients.keyNamed(client, keyPrefix);
    while (
      known?.key.replacedBy !== undefined &&
      known.key.revokedAt === undefined &&
      this.#invalidityOf(known)
    )
      known = clients.keyNamed(client, known.key.replacedBy);
    return known && this.byToken(caller, { ...holder, keyPrefix: known.key.prefix });
  }

  /** The client of that name, by the first of its keys that is valid; undefined without one. Counts against no limit. */
  named(name: string): ClientPrincipal | undefined {
    const { clients } = this.#options;
    const keys = clients.keysOf(name).map(({ prefix }) => clients.keyNamed(name, prefix));
    return keys.find((known) => known && !this.#invalidityOf(known));
  }

  /**
   * The client that is signed in by that session, of which `digest` is. `isUse`: whether a person asks, and not the page by
   * itself, which must not keep a session that nobody uses.
   *
   * @throws {ServiceError} `unauthorized` when the session has ended, or its client or its key; `forbidden` from an address
   *   that is not the client's; `rate_limited`.
   */
  bySession(origin: Origin, digest: string, isUse = true): ClientPrincipal {
    const { sessions } = this.#options;
    const session = sessions?.find(digest);
    const known = session && this.#holderOf(session);
    if (!known) throw denied(UNIDENTIFIED, sessionEnded());
    if (isUse) sessions?.noteUse(session);
    checkNetwork(known, origin);
    limit(known, this.#options.limits.ofClient(known.owner.client));
    return known;
  }

  /** Whose session it is, while client and key are valid. */
  #holderOf(session: ConsoleSession): ClientPrincipal | undefined {
    const { client, clientCreatedAt, keyPrefix } = session;
    const { clients } = this.#options;
    const known = keyPrefix === "" ? clients.withoutKey(client) : clients.keyNamed(client, keyPrefix);
    if (known?.owner.client.createdAt !== clientCreatedAt || this.#invalidityOf(known)) return undefined;
    const identity = { ...known.identity, via: "console" } as const;
    return { ...known, identity, session };
  }

  /**
   * `principal` as it is now, for a request that has taken long since it was admitted. Counts against no limit.
   *
   * @throws {ServiceError} `unauthorized` for a client that is gone or was created again, or whose key or session is no
   *   longer valid.
   */
  confirm(principal: Principal): Principal {
    if (principal.kind !== "client") return principal;
    const { owner, key, session } = principal;
    if (session) {
      const current = this.#options.sessions?.find(session.digest);
      const holder = current && this.#holderOf(current);
      if (holder) return holder;
      throw denied(principal, sessionEnded());
    }
    const known = this.#options.clients.keyNamed(owner.client.name, key.prefix);
    const isSame = known?.owner.client.createdAt === owner.client.createdAt && !this.#invalidityOf(known);
    if (known && isSame) return known;
    throw denied(principal, unauthorized("API密钥已失效", "the API key is no longer valid"));
  }

  /** Refuses a client that has expired or is damaged, or whose key has ended. Throws `unauthorized` or `forbidden`. */
  assertValid(known: KnownKey): void {
    const error = this.#invalidityOf(known);
    if (error) throw denied(known, error);
  }

  /**
   * The bearer of a real access token of ours: the token names no client, so the address identifies the caller. A
   * client stays one.
   *
   * @throws {ServiceError} `rate_limited` by the address's limit.
   */
  bearer({ principal, origin }: Caller, name = "access token"): Principal {
    if (principal.kind === "client" || principal.kind === "local") return principal;
    const bearer = other("bearer", `(${name} ${callerNetwork(origin.address)})`);
    this.limitAddress(bearer, origin);
    return bearer;
  }

  /**
   * Who is calling when no secret says so: a client, the command line, or an anonymous caller.
   *
   * @throws {ServiceError} `forbidden` outside the trusted networks; `unauthorized` where a key is needed; `rate_limited`.
   */
  identify(caller: Caller): Principal {
    const principal = this.recognize(caller);
    if (principal.kind === "anonymous") this.limitAddress(principal, caller.origin);
    return principal;
  }

  /** As `identify`, without counting the request. */
  recognize({ principal, origin }: Pick<Caller, "principal" | "origin">): Principal {
    if (principal.kind === "client" || principal.kind === "local") return principal;
    if (origin.untrustedReason !== undefined) throw denied(UNIDENTIFIED, untrusted(origin.untrustedReason));
    if (!this.isAnonymousOn) throw denied(UNIDENTIFIED, keyMissing());
    return ANONYMOUS;
  }

  /** Whether `recognize` returns. */
  isRecognized({ principal, origin }: Caller): boolean {
    if (principal.kind === "client" || principal.kind === "local") return true;
    return origin.untrustedReason === undefined && this.isAnonymousOn;
  }

  /** Whether `text` is a key of ours, valid or not. */
  isKey(text: string): boolean {
    return this.#options.clients.keyOf(text) !== undefined;
  }

  /** As `identify`, whether anonymous callers are answered elsewhere or not. */
  trusted({ principal, origin }: Caller): Principal {
    if (principal.kind === "client") return principal;
    if (origin.untrustedReason !== undefined) throw denied(UNIDENTIFIED, untrusted(origin.untrustedReason));
    this.limitAddress(ANONYMOUS, origin);
    return ANONYMOUS;
  }

  /** The holder of an app's own secret, from any address. Throws `rate_limited`. */
  secretHolder({ principal, origin }: Caller): Principal {
    if (principal.kind === "client" || principal.kind === "local") return principal;
    this.limitAddress(APP_SECRET_HOLDER, origin);
    return APP_SECRET_HOLDER;
  }

  /** Whether callers without key and secret are answered. */
  get isAnonymousOn(): boolean {
    const { anonymous, clients } = this.#options;
    return anonymous ?? clients.settings.isAnonymousOn;
  }

  /** Counts a request of a caller without a key. Throws `rate_limited`. */
  limitAddress(principal: Principal, { address }: Origin): void {
    limit(principal, this.#options.limits.ofAddress(address));
  }

  /** The refusal of a wrong key or secret; `rate_limited` when there were too many. */
  wrong(principal: Principal, { address }: Origin, error: ServiceError): ServiceError {
    const waitMs = this.#options.limits.ofWrong(address);
    if (waitMs === 0) return denied(principal, error);
    return denied(principal, tooMany("密钥或secret错误次数过多", "too many wrong keys or secrets", waitMs));
  }

  /** What is damaged, expired or revoked about a key or its client; undefined while both are valid. */
  #invalidityOf({ key, owner }: KnownKey): ServiceError | undefined {
    if (key.revokedAt !== undefined) return unauthorized("API密钥已吊销", "the API key is revoked");
    if (key.isDamaged || owner.client.damaged)
      return forbidden(
        "该客户端或其密钥在数据库中的记录已损坏，请管理员重新设置",
        "the record of the client or of its key is damaged; an administrator must set it again",
      );
    const { expiresAt } = owner.client;
    if (key.expiresAt === undefined && expiresAt === undefined) return undefined;
    const now = this.#now();
    if (isExpired(key.expiresAt, now)) return unauthorized("API密钥已过期", "the API key has expired");
    if (isExpired(expiresAt, now)) return unauthorized("客户端已过期", "the client has expired");
    return undefined;
  }

  #admit(origin: Origin, known: KnownKey): void {
    const { owner, key } = known;
    checkNetwork(known, origin);
    const { origins } = owner.client;
    if (origins && origin.page !== undefined && !origins.includes(origin.page))
      throw denied(
        known,
        forbidden("该客户端的密钥不允许来自此网页的请求", "the client's key is not for pages of this origin"),
      );
    limit(known, this.#options.limits.ofClient(owner.client));
    this.#options.clients.noteUse(key, origin);
  }
}

/** Whether `principal` may do `action` on the app of that public name. */
export function mayUse(principal: Principal, action: Action, app: string): boolean {
  if (principal.kind === "client") return principal.owner.allows(action, app);
  return principal.kind === "local" || !KEY_ACTIONS.includes(action);
}

/** In the place of an app's name: every account that has authorized that third-party platform. */
export function accountsOf(platformApp: string): string {
  return `platform:${platformApp}/*`;
}

function sessionEnded(): ServiceError {
  return unauthorized("控制台会话已结束，请重新登录", "the console session has ended: sign in again");
}

/** Refuses a client from an address that is not in its networks. Throws `forbidden`. */
export function checkNetwork(known: KnownKey, origin: Origin): void {
  const { networks } = known.owner;
  if (!networks) return;
  if (origin.disguise !== undefined) throw denied(known, untrusted(origin.disguise));
  if (networks.includes(origin.address)) return;
  throw denied(
    known,
    forbidden(
      `来源地址 ${origin.address} 不在该客户端的允许范围内，可用 clients set --network 修改`,
      `the address ${origin.address} is not in the client's networks; clients set --network changes them`,
    ),
  );
}

function limit(principal: Principal, waitMs: number): void {
  if (waitMs > 0) throw denied(principal, tooMany("请求过于频繁", "too many requests", waitMs));
}

function isExpired(endsAt: number | undefined, now: number): boolean {
  return endsAt !== undefined && endsAt <= now;
}
