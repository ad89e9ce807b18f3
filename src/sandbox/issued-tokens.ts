import { randomBytes } from "node:crypto";
import type { SandboxTime } from "./sandbox-time.ts";

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
