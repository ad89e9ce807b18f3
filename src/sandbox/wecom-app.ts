import { secondsLeft, type IssuedToken, type IssuedTokens } from "./issued-tokens.ts";
import { OneTimeCodes } from "./one-time-codes.ts";
import { QuotaCounter } from "./quota-counter.ts";
import type { SandboxWecomApp } from "./sandbox-apps.ts";
import type { SandboxTime } from "./sandbox-time.ts";
import { Tickets } from "./tickets.ts";
import { TokenLine } from "./token-line.ts";
import { tokenText } from "./token-text.ts";

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
  readonly #line: TokenLine<WecomApp>;

  constructor(settings: SandboxWecomApp, around: WecomSurroundings) {
    this.settings = settings;
    this.#around = around;
    this.tickets = new Tickets(around.time, around.lifeMs);
    this.#line = new TokenLine(around.tokens, {
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
