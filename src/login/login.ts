import { createHash } from "node:crypto";
import { type Slot, slotKey } from "../apps/app.ts";
import type { UnknownSecrets } from "../apps/unknown-secrets.ts";
import type { Clock } from "../clock.ts";
import type { SlotCircuit } from "../credentials/backoff.ts";
import { type TokenKeeper, withToken } from "../credentials/source.ts";
import { ServiceError, type UpstreamRefusal } from "../errors.ts";
import { Secret } from "../secret.ts";
import type {
  LoginExchange,
  MiniProgramUser,
  OauthUser,
  WecomLoginExchange,
  WecomUser,
} from "./login-exchange.ts";

/** How long one exchange may take in all. */
const DEADLINE_MS = 8000;
const REPLAY_MS = 10_000;
const POLL_MS = 20;

/** What `Login` works with. */
export interface LoginParts {
  readonly exchange: LoginExchange;
  readonly wecomExchange: WecomLoginExchange;
  /** The access tokens that WeCom's logins are asked with. */
  readonly tokens: TokenKeeper;
  readonly answers: IdempotencyStore;
  readonly unknownSecrets: UnknownSecrets;
  readonly circuit: SlotCircuit;
  readonly clock: Clock;
}

/** One exchange: what for, what it sends beside the code, and for whom. */
interface Asked {
  readonly kind: string;
  readonly sends: "secret" | "token";
  readonly slot: Slot;
  readonly code: Secret;
  readonly caller: string;
}

/**
 * Turns a user's one-time code into who they are.
 *
 * Browsers and impatient users send the same code twice, and WeChat then says `code been used`. So for ten seconds
 * the same caller with the same code gets the same answer from one exchange, whichever process they reach. Answers are
 * kept sealed, under a digest of the code.
 */
export class Login {
  readonly #parts: LoginParts;

  constructor(parts: LoginParts) {
    this.#parts = parts;
  }

  /** The user behind a web OAuth code. `caller` is the address that asks. Throws what the exchange throws. */
  oauth(slot: Slot, code: Secret, caller: string): Promise<OauthUser> {
    const ask = (signal: AbortSignal) => this.#parts.exchange.oauth(slot, code, signal);
    return this.#once({ kind: "oauth", sends: "secret", slot, code, caller }, ask);
  }

  /** The user behind a Mini Program's login code. `caller` is the address that asks. */
  miniProgram(slot: Slot, code: Secret, caller: string): Promise<MiniProgramUser> {
    const ask = (signal: AbortSignal) => this.#parts.exchange.miniProgram(slot, code, signal);
    return this.#once({ kind: "mini_program", sends: "secret", slot, code, caller }, ask);
  }

  /**
   * Who stands behind a code of WeCom's web pages, by the application of a configured slot. A token that turns out to
   * be dead is replaced, once; the code is not used up by it. Throws what the exchange throws, and what kept us from
   * having a token.
   */
  wecomUser(slot: Slot, code: Secret, caller: string): Promise<WecomUser> {
    const { wecomExchange, tokens } = this.#parts;
    return this.#once({ kind: "wecom_user", sends: "token", slot, code, caller }, (signal) =>
      withToken(tokens, slot, (token) => wecomExchange.user(slot, token, code, signal), { signal }),
    );
  }

  /** As `wecomUser`, for the login code of a Mini Program inside WeCom. */
  wecomMiniProgram(slot: Slot, code: Secret, caller: string): Promise<WecomUser> {
    const { wecomExchange, tokens } = this.#parts;
    return this.#once({ kind: "wecom_mini_program", sends: "token", slot, code, caller }, (signal) =>
      withToken(tokens, slot, (token) => wecomExchange.miniProgram(slot, token, code, signal), { signal }),
    );
  }

  async #once<T extends object>(
    { kind, sends, slot, code, caller }: Asked,
    ask: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { answers, unknownSecrets, circuit } = this.#parts;
    const key = createHash("sha256")
      .update([kind, slotKey(slot), caller, code.reveal()].join("\n"))
      .digest("base64url");
    const known = await this.#beginOrWait(key);
    if (known) return unpack(known) as T;
    try {
      // The wait for a place counts too: a code must not be spent for a caller who has gone.
      const deadline = AbortSignal.timeout(DEADLINE_MS);
      const user = await circuit.run(slot, sends, () =>
        unknownSecrets.run(slot, () => ask(deadline), deadline),
      );
      // The code is spent: an answer that can't be kept for a repetition must still reach this caller.
      await answers.finish(key, packUser(user)).catch(() => undefined);
      return user;
    } catch (error) {
      // Only WeChat's own word about the code is worth repeating; after anything else the caller may try again.
      const noted = isAboutTheCode(error) ? answers.finish(key, packRefusal(error)) : answers.abandon(key);
      // What can't be noted is over by itself in ten seconds; the caller is told what WeChat said.
      await noted.catch(() => undefined);
      throw error;
    }
  }

  /** Undefined when the exchange is ours to make; else the answer that another call got. */
  async #beginOrWait(key: string): Promise<Secret | undefined> {
    const { answers, clock } = this.#parts;
    const startedAt = clock.monotonic();
    while (clock.monotonic() - startedAt < DEADLINE_MS) {
      const now = clock.now();
      const found = await answers.begin(key, now, now + REPLAY_MS);
      if (found.state === "ours") return undefined;
      if (found.state === "answered") return found.answer;
      await clock.sleep(POLL_MS);
    }
    throw new ServiceError(
      "upstream_timeout",
      "微信服务器未在规定时间内应答，请稍后重试 (WeChat did not answer in time; try again later)",
    );
  }
}

function isAboutTheCode(
  error: unknown,
): error is ServiceError & { upstream: NonNullable<ServiceError["upstream"]> } {
  if (!(error instanceof ServiceError) || error.upstream === undefined) return false;
  // A dead token is replaced by whoever finds that out, and the code is as good as before.
  return error.upstream.class !== "transient" && error.upstream.class !== "token_invalid";
}

/** An answer as it is stored: what the exchange returned, or WeChat's refusal. */
type StoredAnswer =
  | { readonly user: Readonly<Record<string, unknown>> }
  | {
      readonly refusal: {
        readonly message: string;
        readonly hint?: string;
        readonly upstream: UpstreamRefusal;
      };
    };

/** Packs what an exchange returned, secrets included, into one secret text. */
function packUser(user: object): Secret {
  const plain = Object.entries(user).map(([name, value]) => [
    name,
    value instanceof Secret ? { secret: value.reveal() } : value,
  ]);
  return pack({ user: Object.fromEntries(plain) });
}

/** Packs a refusal of WeChat's. */
function packRefusal({ message, hint, upstream }: ServiceError & { upstream: UpstreamRefusal }): Secret {
  return pack({ refusal: { message, upstream, ...(hint === undefined ? {} : { hint }) } });
}

/** What was packed: the user is returned, the refusal thrown. */
function unpack(answer: Secret): object {
  const stored = JSON.parse(answer.reveal()) as StoredAnswer;
  if ("refusal" in stored) {
    const { message, ...detail } = stored.refusal;
    throw new ServiceError("upstream_rejected", message, detail);
  }
  const user = Object.entries(stored.user).map(([name, value]) => [
    name,
    isSealed(value) ? new Secret(value.secret) : value,
  ]);
  return Object.fromEntries(user) as object;
}

function pack(answer: StoredAnswer): Secret {
  return new Secret(JSON.stringify(answer));
}

function isSealed(value: unknown): value is { secret: string } {
  return typeof value === "object" && value !== null && "secret" in value && typeof value.secret === "string";
}

/** What stands under a key: an exchange that is ours to make, one that somebody else makes, or its answer. */
export type IdempotencyState =
  | { readonly state: "ours" }
  | { readonly state: "under_way" }
  | { readonly state: "answered"; readonly answer: Secret };

/** Lets all processes share what a one-time code was answered with. Answers are sealed and kept for seconds. */
export interface IdempotencyStore {
  /** Takes the right to exchange, or tells what stands. What is over at `now` (epoch milliseconds) stands no more. */
  begin(key: string, now: number, expiresAt: number): Promise<IdempotencyState>;
  /** Stores the answer of an exchange that was ours. */
  finish(key: string, answer: Secret): Promise<void>;
  /** Gives the right back: no answer came that is worth repeating. */
  abandon(key: string): Promise<void>;
}
