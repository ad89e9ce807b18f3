import { secondsLeft } from "./issued-tokens.ts";
import type { SandboxTime } from "./sandbox-time.ts";
import { tokenText } from "./token-text.ts";

/** The tickets of one app: one per type, handed out again with what it has left until it ends. */
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
