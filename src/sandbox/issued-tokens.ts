import { createHash, randomBytes } from "node:crypto";
import type { SandboxTime } from "./sandbox-time.ts";
import { Refusal } from "./sandbox-request.ts";

/** One access token that a platform of the sandbox issued to `owner`. */
export interface IssuedToken<Owner> {
  readonly value: string;
  readonly owner: Owner;
  /** When it expires, in epoch milliseconds at WeChat. */
  readonly expiresAt: number;
  /** When it is revoked because a newer one replaced it; infinite while it is the newest. */
  revokedAt: number;
  /** Rejected everywhere, yet the issuing endpoint does not know and would return it again. */
  isRevokedUnnoticed: boolean;
}

/** What a token that was sent is to its platform. */
export type TokenState = "missing" | "malformed" | "unknown" | "superseded" | "expired" | "valid";

/** More than all tokens that can be valid at once; older ones are dropped and count as unknown. */
const MAX_TOKENS = 20_000;

/** Every access token that one platform issued, revoked and expired ones included. */
export class IssuedTokens<Owner> {
  readonly #time: SandboxTime;
  readonly #tokens = new Map<string, IssuedToken<Owner>>();

  constructor(time: SandboxTime) {
    this.#time = time;
  }

  /** Issues a new token, which expires in `lifeMs` milliseconds. */
  issue(owner: Owner, value: string, lifeMs: number): IssuedToken<Owner> {
    const expiresAt = this.#time.now() + lifeMs;
    const token = { value, owner, expiresAt, revokedAt: Number.POSITIVE_INFINITY, isRevokedUnnoticed: false };
    this.#tokens.set(value, token);
    if (this.#tokens.size > MAX_TOKENS) {
      const [oldest] = this.#tokens.keys();
      if (oldest !== undefined) this.#tokens.delete(oldest);
    }
    return token;
  }

  /** The token with this value, valid or not. */
  find(value: string): IssuedToken<Owner> | undefined {
    return this.#tokens.get(value);
  }

  /** What becomes of a call with this token at this moment. */
  verdict(value: string): TokenState {
    if (value === "") return "missing";
    const token = this.#tokens.get(value);
    if (token === undefined) return /^[\w-]+$/.test(value) ? "unknown" : "malformed";
    const now = this.#time.now();
    if (token.isRevokedUnnoticed || now >= token.revokedAt) return "superseded";
    return now >= token.expiresAt ? "expired" : "valid";
  }

  /** The valid tokens of `owner`, oldest first. */
  valid(owner: Owner): IssuedToken<Owner>[] {
    const own = [...this.#tokens.values()].filter((token) => token.owner === owner);
    return own.filter((token) => this.verdict(token.value) === "valid");
  }

  /** Revokes every token of `owner` now; with `unnoticed` the endpoint that issued them does not know. */
  revoke(owner: Owner, unnoticed: boolean): void {
    for (const token of this.valid(owner)) {
      if (unnoticed) token.isRevokedUnnoticed = true;
      else token.revokedAt = this.#time.now();
    }
  }

  /** Whether the endpoint that issued `token` believes that it is valid. */
  isBelievedValid(token: IssuedToken<Owner>): boolean {
    return this.#time.now() < Math.min(token.revokedAt, token.expiresAt);
  }
}

/** The whole seconds that something is still valid at `now`, which is its `expires_in`; never negative. */
export function secondsLeft({ expiresAt }: { expiresAt: number }, now: number): number {
  return Math.max(0, Math.floor((expiresAt - now) / 1000));
}

/**
 * A random text of `length` characters from `[A-Za-z0-9_-]`, which is what recorded tokens and tickets consist of.
 */
export function tokenText(length: number): string {
  return randomBytes(Math.ceil((length * 3) / 4))
    .toString("base64url")
    .slice(0, length);
}

/** A token of api.weixin.qq.com: a counter, an underscore and random text, `length` characters in all. */
export function countedTokenText(counter: number, length: number): string {
  const prefix = `${counter}_`;
  return prefix + tokenText(length - prefix.length);
}

/** A token or ticket as people may see it: its beginning and its length. */
export function masked(value: string): string {
  return `${value.slice(0, 6)}… (${value.length} characters)`;
}

/** How a sequence makes its tokens. */
export interface TokenSequenceSettings<Owner> {
  owner: Owner;
  /** The text of the next token. */
  nextText: () => string;
  lifeMs: number;
  /** How long a token stays valid after its successor was issued. */
  handoverMs: number;
}

/**
 * The tokens of one owner that follow each other: at most the newest and its predecessor are valid.
 *
 * A WeChat app has two of them, classic and stable, which don't disturb each other.
 */
export class TokenSequence<Owner> {
  readonly #tokens: IssuedTokens<Owner>;
  readonly #settings: TokenSequenceSettings<Owner>;
  #newest: IssuedToken<Owner> | undefined;
  #previous: IssuedToken<Owner> | undefined;

  constructor(tokens: IssuedTokens<Owner>, settings: TokenSequenceSettings<Owner>) {
    this.#tokens = tokens;
    this.#settings = settings;
  }

  /** The newest token, as long as the platform believes that it is valid. */
  current(): IssuedToken<Owner> | undefined {
    return this.#newest && this.#tokens.isBelievedValid(this.#newest) ? this.#newest : undefined;
  }

  /** The newest token while a second of it is left, otherwise the next. */
  currentOrNext(now: number): IssuedToken<Owner> {
    const current = this.current();
    return current && secondsLeft(current, now) >= 1 ? current : this.rotate(now);
  }

  /**
   * Issues the next token.
   *
   * The newest one so far stays valid for the hand-over, or not at all with `revokesNewest`. The one before it is revoked now,
   * unless `sparesOldest`.
   */
  rotate(now: number, how: { revokesNewest?: boolean; sparesOldest?: boolean } = {}): IssuedToken<Owner> {
    if (this.#previous && !how.sparesOldest) revokeAt(this.#previous, now);
    if (this.#newest) revokeAt(this.#newest, how.revokesNewest ? now : now + this.#settings.handoverMs);
    this.#previous = this.#newest;
    const { owner, nextText, lifeMs } = this.#settings;
    this.#newest = this.#tokens.issue(owner, nextText(), lifeMs);
    return this.#newest;
  }

  /** Revokes the newest token and its predecessor now. */
  revoke(now: number): void {
    for (const token of [this.#newest, this.#previous]) if (token) revokeAt(token, now);
  }
}

function revokeAt(token: { revokedAt: number }, at: number): void {
  token.revokedAt = Math.min(token.revokedAt, at);
}

/** The tickets of one app: one per type, returned again with its remaining lifetime until it expires. */
export class Tickets {
  readonly #time: SandboxTime;
  readonly #lifeMs: number;
  readonly #tickets = new Map<string, { ticket: string; expiresAt: number }>();

  constructor(time: SandboxTime, lifeMs: number) {
    this.#time = time;
    this.#lifeMs = lifeMs;
  }

  /** The success body with the ticket of `type`; a new one when the last has expired. */
  answer(type: string): { errcode: 0; errmsg: "ok"; ticket: string; expires_in: number } {
    const now = this.#time.now();
    let ticket = this.#tickets.get(type);
    if (ticket === undefined || secondsLeft(ticket, now) < 1) {
      ticket = { ticket: tokenText(86), expiresAt: now + this.#lifeMs };
      this.#tickets.set(type, ticket);
    }
    return { errcode: 0, errmsg: "ok", ticket: ticket.ticket, expires_in: secondsLeft(ticket, now) };
  }
}

const DAY_MS = 86_400_000;
const REFRESH_LIFE_MS = 30 * DAY_MS;
const USER_TOKEN_LENGTH = 110;

/** A user who authorized an app, as the login code said. */
export interface WeixinUser {
  appId: string;
  openid: string;
  unionid: string | undefined;
  scope: string;
}

interface UserToken {
  user: WeixinUser;
  expiresAt: number;
}

/** The per-user tokens of `/sns`, which have nothing to do with the global ones. */
export class UserTokens {
  readonly #time: SandboxTime;
  readonly #lifeMs: number;
  readonly #access = new Map<string, UserToken>();
  readonly #refresh = new Map<string, UserToken>();

  constructor(time: SandboxTime, lifeMs: number) {
    this.#time = time;
    this.#lifeMs = lifeMs;
  }

  /** New tokens for `user`; a given `refreshToken` is kept. */
  issue(user: WeixinUser, refreshToken = this.#newRefreshToken(user)): Record<string, unknown> {
    const accessToken = countedTokenText(60, USER_TOKEN_LENGTH);
    this.#access.set(accessToken, { user, expiresAt: this.#time.now() + this.#lifeMs });
    return {
      access_token: accessToken,
      expires_in: Math.floor(this.#lifeMs / 1000),
      refresh_token: refreshToken,
      openid: user.openid,
      scope: user.scope,
    };
  }

  /**
   * The user whose access token this is.
   *
   * @throws {Refusal} 41001, 40001 or 42001.
   */
  requireAccess(accessToken: string): WeixinUser {
    if (accessToken === "") throw new Refusal(41001, "access_token missing");
    const token = this.#access.get(accessToken);
    if (!token) {
      throw new Refusal(40001, "invalid credential, access_token is invalid or not latest");
    }
    if (this.#time.now() >= token.expiresAt) throw new Refusal(42001, "access_token expired");
    return token.user;
  }

  /**
   * The user of `appId` whose refresh token this is.
   *
   * @throws {Refusal} 41003, 40030 or 42002.
   */
  requireRefresh(appId: string, refreshToken: string): WeixinUser {
    if (refreshToken === "") throw new Refusal(41003, "refresh_token missing");
    const token = this.#refresh.get(refreshToken);
    if (token?.user.appId !== appId) throw new Refusal(40030, "invalid refresh_token");
    if (this.#time.now() >= token.expiresAt) throw new Refusal(42002, "refresh_token expired");
    return token.user;
  }

  #newRefreshToken(user: WeixinUser): string {
    const refreshToken = countedTokenText(60, USER_TOKEN_LENGTH);
    this.#refresh.set(refreshToken, { user, expiresAt: this.#time.now() + REFRESH_LIFE_MS });
    return refreshToken;
  }
}

/** How every code begins that the sandbox accepts; the rest is arbitrary. */
const CODE_PREFIX = "sandbox-code-";

/** The codes that one app has redeemed: each is valid once. */
export class OneTimeCodes {
  readonly #used = new Set<string>();

  /** Redeems `code`. */
  redeem(code: string): "ok" | "invalid" | "used" {
    if (!code.startsWith(CODE_PREFIX)) return "invalid";
    if (this.#used.has(code)) return "used";
    this.#used.add(code);
    return "ok";
  }
}

/**
 * An identifier of `length` characters that is always the same for the same `parts`.
 *
 * How a code identifies a user: the openid follows from the app and the code.
 */
export function derivedId(prefix: string, length: number, ...parts: string[]): string {
  const digest = createHash("sha256").update(JSON.stringify(parts)).digest("base64url");
  return (prefix + digest).slice(0, length);
}

/** A session key for a user: base64 of 16 bytes. */
export function derivedSessionKey(...parts: string[]): string {
  const digest = createHash("sha256")
    .update(JSON.stringify(["session_key", ...parts]))
    .digest();
  return digest.subarray(0, 16).toString("base64");
}
