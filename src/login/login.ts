import type { AppDirectory } from "../apps/app-directory.ts";
import { isAuthorizer, roleOf, type Slot, slotKey } from "../apps/app.ts";
import { Secret } from "../secret.ts";
import { createHash } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { Pacing } from "../credentials/pacing.ts";
import { SingleFlight } from "../credentials/single-flight.ts";
import { type TokenKeeper, withToken } from "../credentials/source.ts";
import { refusalOf, ServiceError, type UpstreamRefusal } from "../errors.ts";

/** A user of a web page, as WeChat's OAuth returns it. The tokens are the user's, not the app's. */
export interface OauthUser {
  readonly accessToken: Secret;
  /** Seconds, as WeChat says it: its lifetime is for the caller to watch. */
  readonly expiresIn: number;
  readonly refreshToken: Secret;
  readonly openId: string;
  readonly scope: string;
  readonly unionId?: string;
  /** 1 for a virtual account, whose ids must not be stored; absent otherwise. */
  readonly isSnapshotUser?: number;
  /** The JSON text of WeChat's answer, exactly as it came. */
  readonly answer: Secret;
}

/** A user of a Mini Program. */
export interface MiniProgramUser {
  readonly openId: string;
  readonly unionId: string | undefined;
  readonly sessionKey: Secret;
  /** The JSON text of WeChat's answer, exactly as it came. */
  readonly answer: Secret;
}

/**
 * Exchanges a user's one-time code. Every code works once, so nothing here is ever sent twice.
 *
 * Throws `upstream_rejected` (class `input` when the code is to blame), `upstream_invalid`, `upstream_unreachable`
 * and `upstream_timeout`.
 */
export interface LoginExchange {
  /**
   * `by` is the component's token, for an account that it has, and undefined for an app with a secret.
   *
   * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
   */
  oauth(slot: Slot, code: Secret, signal: AbortSignal, by?: Secret): Promise<OauthUser>;
  /** As `oauth`. https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html */
  miniProgram(slot: Slot, code: Secret, signal: AbortSignal, by?: Secret): Promise<MiniProgramUser>;
}

/**
 * What a WeCom code is of: a web page's, whose answer has an older form too; a page's for a school's parents; or a Mini
 * Program's. Those of a third-party app are exchanged with the token of its suite, whichever corp the user is of.
 */
export type WecomLoginKind =
  | "wecom_user"
  | "wecom_user_old_form"
  | "wecom_school_user"
  | "wecom_mini_program"
  | "suite_user"
  | "suite_user_old_form"
  | "suite_mini_program";

/** A user of a WeCom application, as WeCom returned it. */
export interface WecomUser {
  /** The JSON text of WeCom's answer, exactly as it came. */
  readonly answer: Secret;
}

/**
 * Exchanges a one-time code of WeCom's with an access token of the application. Nothing here is ever sent twice.
 *
 * Throws as `LoginExchange`; of class `token_invalid` when the token is invalid, and then the code is not used up.
 */
export type WecomLoginExchange = (
  kind: WecomLoginKind,
  slot: Slot,
  accessToken: Secret,
  code: Secret,
  signal: AbortSignal,
) => Promise<WecomUser>;

const DEADLINE_MS = 8000;
const REPLAY_MS = 10_000;
const POLL_MS = 20;

/** The state of a code: this caller exchanges it, another one does, or it was answered. */
export type IdempotencyState =
  | { readonly state: "ours" }
  | { readonly state: "under_way" }
  | { readonly state: "answered"; readonly answer: Secret };

/** Lets all processes share the answers to one-time codes. Answers are sealed and kept for seconds. */
export interface IdempotencyStore {
  /**
   * Takes the right to exchange until `expiresAt`, or returns the state of another caller's exchange. What has expired
   * at `now` is ignored. Epoch milliseconds both.
   */
  begin(key: string, now: number, expiresAt: number): Promise<IdempotencyState>;
  /** As `begin`, read-only: undefined when a `begin` may succeed. */
  find(key: string, now: number): Promise<Exclude<IdempotencyState, { state: "ours" }> | undefined>;
  /** Stores the answer of an exchange, while the right to it, taken until `expiresAt`, is still ours. */
  complete(key: string, expiresAt: number, answer: Secret): Promise<void>;
  /** Releases that right: there is no answer to repeat. Does nothing where it has expired and is another caller's. */
  release(key: string, expiresAt: number): Promise<void>;
}

/** What `Login` works with. */
export interface LoginParts {
  readonly exchange: LoginExchange;
  readonly wecomExchange: WecomLoginExchange;
  /** The tokens that logins send which send no secret. */
  readonly tokens: TokenKeeper;
  readonly directory: Pick<AppDirectory, "platformSlot">;
  readonly answers: IdempotencyStore;
  readonly pacing: Pacing;
  readonly clock: Clock;
  /** How long a login may take in all, in milliseconds; default 8000. */
  readonly deadlineMs?: number;
}

/** One exchange: its kind, what it sends beside the code, and its caller. */
interface Exchange {
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
 * the same caller with the same code gets the same answer from one exchange, in any process. Answers are stored sealed,
 * under a digest of the code. `caller` is a `callerKey`.
 */
export class Login {
  readonly #parts: LoginParts;
  readonly #flights = new SingleFlight<object>();

  constructor(parts: LoginParts) {
    this.#parts = parts;
  }

  /** The user behind a web OAuth code. Throws what the exchange throws. */
  oauth(slot: Slot, code: Secret, caller: string): Promise<OauthUser> {
    const { exchange } = this.#parts;
    const ask = this.#asked(slot, (signal, by) => exchange.oauth(slot, code, signal, by));
    return this.#once({ kind: "oauth", sends: sentFor(slot), slot, code, caller }, ask);
  }

  /** The user behind a Mini Program's login code. Throws what the exchange throws. */
  miniProgram(slot: Slot, code: Secret, caller: string): Promise<MiniProgramUser> {
    const { exchange } = this.#parts;
    const ask = this.#asked(slot, (signal, by) => exchange.miniProgram(slot, code, signal, by));
    return this.#once({ kind: "mini_program", sends: sentFor(slot), slot, code, caller }, ask);
  }

  /**
   * The user behind a code of WeCom's, for the application or the suite of a configured slot. A token that was rejected is replaced,
   * once; the code is not used up by it. Throws what the exchange throws, and what obtaining a token throws.
   */
  wecom(kind: WecomLoginKind, slot: Slot, code: Secret, caller: string): Promise<WecomUser> {
    const { wecomExchange, tokens } = this.#parts;
    return this.#once({ kind, sends: "token", slot, code, caller }, (signal) => {
      const ask = (token: Secret) => wecomExchange(kind, slot, token, code, signal);
      // Now and then WeCom refuses a suite's token that it has just issued.
      return withToken(tokens, slot, ask, { signal, triesValidAgain: roleOf(slot) === "suite" });
    });
  }

  /** `ask`, with the component's token for an account that it has; a token that was rejected is replaced, once. */
  #asked<T>(slot: Slot, ask: (signal: AbortSignal, by?: Secret) => Promise<T>) {
    return async (signal: AbortSignal): Promise<T> => {
      if (!isAuthorizer(slot)) return ask(signal);
      const { tokens, directory } = this.#parts;
      const component = directory.platformSlot(slot.name);
      if (!component) throw refusalOf("weixin", 61003, "component is not authorized by this account");
      return withToken(tokens, component, (token) => ask(signal, token), { signal });
    };
  }

  #once<T extends object>(exchange: Exchange, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { kind, slot, code, caller } = exchange;
    const key = createHash("sha256")
      .update([kind, slotKey(slot), caller, code.reveal()].join("\n"))
      .digest("base64url");
    // Under one key there is one kind of exchange, and so one type of user.
    return this.#flights.run(key, () => this.#exchange(key, exchange, ask)) as Promise<T>;
  }

  async #exchange(
    key: string,
    { sends, slot }: Exchange,
    ask: (signal: AbortSignal) => Promise<object>,
  ): Promise<object> {
    const { answers, pacing } = this.#parts;
    const begun = await this.#beginOrWait(key);
    if (begun instanceof Secret) return unpack(begun);
    try {
      // The wait for the budget counts too: a code must not be spent for a caller that has gone.
      const deadline = AbortSignal.timeout(begun.leftMs);
      const user = await pacing.login(slot, sends, () => ask(deadline), deadline);
      // The code is spent: an answer that can't be stored must still reach this caller.
      await answers.complete(key, begun.expiresAt, packUser(user)).catch(() => undefined);
      return user;
    } catch (error) {
      // Only WeChat's own verdict on the code is repeated; after anything else the caller may retry.
      const { expiresAt } = begun;
      const noted = isAboutTheCode(error)
        ? answers.complete(key, expiresAt, packRefusal(error))
        : answers.release(key, expiresAt);
      // What can't be stored expires in ten seconds; the caller gets WeChat's error.
      await noted.catch(() => undefined);
      throw error;
    }
  }

  /** The answer that another caller got; or how long this one may take to exchange the code, and until when that is its right. */
  async #beginOrWait(key: string): Promise<Secret | { readonly leftMs: number; readonly expiresAt: number }> {
    const { answers, clock, deadlineMs = DEADLINE_MS } = this.#parts;
    const startedAt = clock.monotonic();
    let found: IdempotencyState | undefined;
    let expiresAt = 0;
    while (clock.monotonic() - startedAt < deadlineMs) {
      const [now, begunAt] = [clock.now(), clock.monotonic()];
      if (!found) {
        expiresAt = now + REPLAY_MS;
        found = await answers.begin(key, now, expiresAt);
      }
      if (found.state === "ours") {
        // The right has been ours since before the wait for the store.
        const leftMs = begunAt + deadlineMs - clock.monotonic();
        if (leftMs > 0) return { leftMs, expiresAt };
        break;
      }
      if (found.state === "answered") return found.answer;
      await clock.sleep(POLL_MS);
      found = await answers.find(key, clock.now());
    }
    throw new ServiceError(
      "upstream_timeout",
      "微信服务器未在规定时间内应答，请稍后重试 (WeChat did not answer in time; try again later)",
    );
  }
}

function sentFor(slot: Slot): Exchange["sends"] {
  return isAuthorizer(slot) ? "token" : "secret";
}

function isAboutTheCode(
  error: unknown,
): error is ServiceError & { upstream: NonNullable<ServiceError["upstream"]> } {
  if (!(error instanceof ServiceError) || error.upstream === undefined) return false;
  // A rejected token is replaced, and the code is not used up.
  return error.upstream.class !== "transient" && error.upstream.class !== "token_invalid";
}

/** An answer as it is stored: what the exchange returned, its secrets apart, or WeChat's refusal. */
type StoredAnswer =
  | {
      readonly user: Readonly<Record<string, unknown>>;
      readonly secrets: Readonly<Record<string, string>>;
    }
  | {
      readonly refusal: {
        readonly message: string;
        readonly hint?: string;
        readonly upstream: UpstreamRefusal;
      };
    };

/** Packs what an exchange returned, secrets included, into one secret text. */
function packUser(user: object): Secret {
  const plain: Record<string, unknown> = {};
  const secrets: Record<string, string> = {};
  for (const [name, value] of Object.entries(user)) {
    if (value instanceof Secret) secrets[name] = value.reveal();
    else plain[name] = value;
  }
  return pack({ user: plain, secrets });
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
  const secrets = Object.entries(stored.secrets).map(([name, text]) => [name, new Secret(text)]);
  return { ...stored.user, ...(Object.fromEntries(secrets) as Record<string, Secret>) };
}

function pack(answer: StoredAnswer): Secret {
  return new Secret(JSON.stringify(answer));
}
