import type { SandboxTime } from "./sandbox-time.ts";

/** One access token that a platform of the sandbox issued to `owner`. */
export interface IssuedToken<Owner> {
  readonly value: string;
  readonly owner: Owner;
  /** When its life ends, in epoch milliseconds at WeChat. */
  readonly expiresAt: number;
  /** When it dies because another took its place; infinite while it is the newest. */
  diesAt: number;
  /** Refused everywhere, yet the issuing endpoint does not know and would hand it out again. */
  deadUnnoticed: boolean;
}

/** What a platform thinks of a token that somebody sent. */
export type TokenVerdict = "missing" | "malformed" | "unknown" | "superseded" | "expired" | "live";

/** More than all tokens that can live at once; older ones are forgotten and count as unknown. */
const REMEMBERED = 20_000;

/** Every access token that one platform issued, dead ones included. */
export class IssuedTokens<Owner> {
  readonly #time: SandboxTime;
  readonly #tokens = new Map<string, IssuedToken<Owner>>();

  constructor(time: SandboxTime) {
    this.#time = time;
  }

  /** Puts a new token into the world that lives for `lifeMs` milliseconds. */
  issue(owner: Owner, value: string, lifeMs: number): IssuedToken<Owner> {
    const expiresAt = this.#time.now() + lifeMs;
    const token = { value, owner, expiresAt, diesAt: Number.POSITIVE_INFINITY, deadUnnoticed: false };
    this.#tokens.set(value, token);
    if (this.#tokens.size > REMEMBERED) {
      const [oldest] = this.#tokens.keys();
      if (oldest !== undefined) this.#tokens.delete(oldest);
    }
    return token;
  }

  /** The token with this value, dead or alive. */
  find(value: string): IssuedToken<Owner> | undefined {
    return this.#tokens.get(value);
  }

  /** What becomes of a call with this token at this moment. */
  verdict(value: string): TokenVerdict {
    if (value === "") return "missing";
    const token = this.#tokens.get(value);
    if (token === undefined) return /^[\w-]+$/.test(value) ? "unknown" : "malformed";
    const now = this.#time.now();
    if (token.deadUnnoticed || now >= token.diesAt) return "superseded";
    return now >= token.expiresAt ? "expired" : "live";
  }

  /** The tokens of `owner` that are alive, oldest first. */
  live(owner: Owner): IssuedToken<Owner>[] {
    const own = [...this.#tokens.values()].filter((token) => token.owner === owner);
    return own.filter((token) => this.verdict(token.value) === "live");
  }

  /** Kills every token of `owner` at this moment; `unnoticed` by the endpoint that issued them, if so wanted. */
  kill(owner: Owner, unnoticed: boolean): void {
    for (const token of this.live(owner)) {
      if (unnoticed) token.deadUnnoticed = true;
      else token.diesAt = this.#time.now();
    }
  }

  /** Whether the endpoint that issued `token` believes that it is alive. */
  believedAlive(token: IssuedToken<Owner>): boolean {
    return this.#time.now() < Math.min(token.diesAt, token.expiresAt);
  }
}

/** The whole seconds that something has to live at `now`, which is its `expires_in`; never negative. */
export function secondsLeft({ expiresAt }: { expiresAt: number }, now: number): number {
  return Math.max(0, Math.floor((expiresAt - now) / 1000));
}
