import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { type Slot, slotKey } from "../apps/slot.ts";
import type { UnknownSecrets } from "../apps/unknown-secrets.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { LoginExchange, MiniProgramUser, OauthUser } from "./login-exchange.ts";

/** How long one exchange may take in all. */
const LOGIN_DEADLINE_MS = 8000;
const REPLAY_MS = 10_000;
const REPLAYS_MOST = 10_000;

/** What `Login` works with. */
export interface LoginParts {
  readonly exchange: LoginExchange;
  readonly unknownSecrets: UnknownSecrets;
  readonly clock: Clock;
}

/**
 * Turns a user's one-time code into who they are.
 *
 * Browsers and impatient users send the same code twice, and WeChat then says `code been used`. So for ten seconds
 * the same caller with the same code gets the same answer from one exchange. Answers are kept in memory only, under a
 * digest of the code.
 */
export class Login {
  readonly #parts: LoginParts;
  readonly #answers: LRUCache<string, Promise<unknown>>;

  constructor(parts: LoginParts) {
    this.#parts = parts;
    this.#answers = new LRUCache({
      max: REPLAYS_MOST,
      ttl: REPLAY_MS,
      ttlResolution: 0,
      perf: { now: () => parts.clock.monotonic() },
    });
  }

  /** The user behind a web OAuth code. `caller` is the address that asks. Throws what the exchange throws. */
  oauth(slot: Slot, code: Secret, caller: string): Promise<OauthUser> {
    return this.#once("oauth", slot, code, caller, (signal) =>
      this.#parts.exchange.oauth(slot, code, signal),
    );
  }

  /** The user behind a Mini Program's login code. `caller` is the address that asks. */
  miniProgram(slot: Slot, code: Secret, caller: string): Promise<MiniProgramUser> {
    const ask = (signal: AbortSignal) => this.#parts.exchange.miniProgram(slot, code, signal);
    return this.#once("mini_program", slot, code, caller, ask);
  }

  #once<T>(
    kind: string,
    slot: Slot,
    code: Secret,
    caller: string,
    ask: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const key = createHash("sha256")
      .update([kind, slotKey(slot), caller, code.reveal()].join("\n"))
      .digest("base64url");
    const known = this.#answers.get(key) as Promise<T> | undefined;
    if (known) return known;
    // The wait for a place counts too: a code must not be spent for a caller who has gone.
    const deadline = AbortSignal.timeout(LOGIN_DEADLINE_MS);
    const answer = this.#parts.unknownSecrets.run(slot, () => ask(deadline), deadline);
    this.#answers.set(key, answer);
    answer.catch((error: unknown) => {
      // Only WeChat's own word about the code is worth repeating; after anything else the caller may try again.
      const final = error instanceof ServiceError && error.upstream && error.upstream.class !== "transient";
      if (!final && this.#answers.peek(key) === answer) this.#answers.delete(key);
    });
    return answer;
  }
}
