import {
  type IssuedToken,
  type IssuedTokens,
  secondsLeft,
  TokenSequence,
  tokenText,
} from "./issued-tokens.ts";
import { OneTimeCodes } from "./user-tokens.ts";
import { QuotaCounter } from "./request-log.ts";
import type { SandboxTime, SandboxWecomApp } from "./sandbox-state.ts";

const TOKEN_LENGTH = 128;

/** What every app of qyapi.weixin.qq.com shares. */
export interface WecomSurroundings {
  time: SandboxTime;
  tokens: IssuedTokens<WecomApp>;
  lifeMs: number;
}

/** One app of qyapi.weixin.qq.com: its settings, its token, its tickets and the codes that it redeemed. */
export class WecomApp {
  settings: SandboxWecomApp;
  readonly tickets: Tickets;
  readonly codes = new OneTimeCodes();
  /** Ticket calls of this app per hour. */
  readonly hourly = new QuotaCounter();
  readonly #around: WecomSurroundings;
  readonly #line: TokenSequence<WecomApp>;

  constructor(settings: SandboxWecomApp, around: WecomSurroundings) {
    this.settings = settings;
    this.#around = around;
    this.tickets = new Tickets(around.time, around.lifeMs);
    this.#line = new TokenSequence(around.tokens, {
      owner: this,
      nextText: () => tokenText(TOKEN_LENGTH),
      lifeMs: around.lifeMs,
      handoverMs: 0,
    });
  }

  /** The token of this app: the same one until its life ends, then the next. */
  fetchToken(): IssuedToken<WecomApp> {
    const current = this.#line.current();
    if (current && secondsLeft(current, this.#around.time.now()) >= 1) return current;
    return this.#line.rotate(this.#around.time.now());
  }
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

  /** The success body with the ticket of `type`; a new one when the last has ended. */
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
