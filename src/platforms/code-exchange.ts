import { setTimeout as passed } from "node:timers/promises";
import type { AppDirectory } from "../apps/app-directory.ts";
import { roleOf, type Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { ServiceError } from "../errors.ts";
import { type EventBus, failureFacts } from "../events.ts";
import { Secret } from "../secret.ts";
import {
  type AuthorizationCodeStore,
  type CodeAnswer,
  type StoredCode,
  UNNAMED,
} from "./authorization-store.ts";
import { slotOf } from "./authorized-app.ts";
import type { AuthorizedApps } from "./authorized-apps.ts";
import { givenIn, textOfFailure, textOfGiven } from "./kept-texts.ts";
import { type ExchangedCode, isLost, type PlatformProtocol } from "./platform-protocol.ts";
import type { Reconciliation } from "./reconciliation.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** How long what a code was exchanged for is told those who come with it later. */
const ANSWER_MS = HOUR_MS;
/** How long an operator sees a code that has come to nothing, and for what reason. */
const FAILED_MS = DAY_MS;
/** How long an attempt may take. */
export const ATTEMPT_MS = 20_000;
/** Until when nobody else attempts what is being attempted: whoever has not ended by then was killed. */
export const LEASE_MS = 30_000;
/** How long to wait after the first, second, … attempt that has failed. */
const AGAIN_MS = [2000, 5000, 15_000, 30_000, MINUTE_MS];
/** At which attempt it is believed that an authorization is withdrawn whose code was exchanged. */
const BELIEVED_AFTER = 5;
/** WeChat's list is read no more often than that for codes of which callers alone have told. */
const LIST_MS = 10 * MINUTE_MS;
/** Begins what stands in the place of a code where an account is to be read again. */
const REREAD = "reread@@@";
/** How often it is tried again to keep what a code gave. */
const KEEP_MS = 200;

/** What codes are exchanged with. */
export interface CodeExchangeParts {
  readonly codes: AuthorizationCodeStore;
  readonly apps: AuthorizedApps;
  readonly reconciliation: Pick<Reconciliation, "takeListed">;
  readonly directory: Pick<AppDirectory, "findSlot">;
  /** Undefined for a platform that has no authorizations. */
  readonly protocolOf: (platform: Slot) => PlatformProtocol | undefined;
  readonly credentials: Pick<CredentialManager, "accept">;
  /** See `Authorizations.readAgain`. */
  readonly readAgain: (platform: Slot, account: string) => Promise<void>;
  /** See `MilestoneStore.claim`. */
  readonly claim: (work: string, everyMs: number) => Promise<number>;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Exchanges one code that was taken, and stores what it gave: first of all the answer itself, since it can't be had twice.
 *
 * Where an answer was lost, and the code with it, WeChat's list has what it was good for.
 */
export class CodeExchange {
  readonly #parts: CodeExchangeParts;
  readonly #attempts = new Set<Promise<unknown>>();
  #isStopping = false;

  constructor(parts: CodeExchangeParts) {
    this.#parts = parts;
  }

  /** Waits for what is under way, but for no store that is out of order. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#attempts);
  }

  /** Exchanges a code that was taken, and stores what it gave. Throws what it throws after noting it. */
  attempt(code: StoredCode): Promise<CodeAnswer | undefined> {
    const attempt = this.#attemptOnce(code);
    const ended: Promise<unknown> = attempt.then(
      () => this.#attempts.delete(ended),
      () => this.#attempts.delete(ended),
    );
    this.#attempts.add(ended);
    return attempt;
  }

  async #attemptOnce(code: StoredCode): Promise<CodeAnswer | undefined> {
    const { codes, directory, clock, events } = this.#parts;
    const platform = directory.findSlot(code.platformApp);
    try {
      if (!platform || !roleOf(platform) || platform.isDisabled) throw noPlatform();
      const signal = AbortSignal.timeout(ATTEMPT_MS);
      if (isReread(code)) {
        await this.#parts.apps.describe(platform, code.account, signal);
        await codes.drop(code.digest);
        return undefined;
      }
      // Whoever had begun was killed, and may have used it up.
      const isLeft = code.account === "" && code.attempts > 1 && code.error === undefined;
      if (isLeft && code.code) await this.#name(code, code.code);
      return await this.#exchange(platform, isLeft ? { ...code, account: UNNAMED } : code, signal);
    } catch (error) {
      const waitMs = AGAIN_MS[Math.min(code.attempts, AGAIN_MS.length) - 1] ?? 0;
      const dueAt = clock.now() + waitMs;
      const { platformApp, digest } = code;
      // What a code gave is to be stored, however often that fails.
      const kept = (await codes.find(digest).catch(() => undefined)) ?? code;
      // One that was withdrawn before it could be stored is given up, but not for a single answer.
      const isWithdrawn = code.attempts >= BELIEVED_AFTER && isLost(error);
      const isRefused = kept.answer ? isWithdrawn : isRefusal(error);
      const isOver = isRefused || dueAt >= kept.expiresAt;
      const over = { at: clock.now(), expiresAt: clock.now() + FAILED_MS };
      const failed = codes.fail(digest, textOfFailure(error), isOver ? over : { dueAt });
      // What can't be noted is tried again all the same.
      const isFinal = !(await failed.catch(() => true));
      events.emit({ type: "authorization.failed", platformApp, isFinal, ...failureFacts(error) });
      throw error;
    }
  }

  async #exchange(platform: Slot, code: StoredCode, signal: AbortSignal): Promise<CodeAnswer> {
    const { codes, apps, clock } = this.#parts;
    const askedAt = clock.now();
    const begunAt = clock.monotonic();
    const isLate = code.answer !== undefined;
    const exchanged = code.answer ? givenIn(code.answer.text) : await this.#ask(platform, code, signal);
    if (!isLate) {
      // It can't be had twice: should anything be in the way of what comes now, it is made up for later.
      const kept = await this.#keep(code, exchanged, signal);
      if (clock.monotonic() - begunAt > ATTEMPT_MS)
        return this.#exchange(platform, { ...code, answer: kept }, AbortSignal.timeout(ATTEMPT_MS));
    }
    const app = await apps.grant(platform, { ...exchanged, isLate }, code.createdAt, signal);
    // Before the code is done with: a token that is not stored would end the one that is.
    await this.#keepToken(platform, exchanged, askedAt);
    const answer = { app, text: exchanged.text };
    await codes.succeed(code.digest, answer, Math.max(code.expiresAt, clock.now() + ANSWER_MS));
    // What was given a while ago may have been withdrawn just before it was stored.
    if (isLate || exchanged.title === undefined) await this.#parts.readAgain(platform, exchanged.account);
    return answer;
  }

  /**
   * Keeps what a code gave, and tries again until the store takes it: of WeCom nobody gives it once more. A process that stops
   * waits for a store that is busy alone.
   */
  async #keep({ digest }: StoredCode, given: ExchangedCode, signal: AbortSignal): Promise<CodeAnswer> {
    const { codes, clock } = this.#parts;
    const kept = { app: "", text: textOfGiven(given) };
    for (;;) {
      try {
        const now = clock.now();
        await codes.keep(digest, kept, { until: now + LEASE_MS, expiresAt: now + DAY_MS });
        return kept;
      } catch (error) {
        const isBusy = error instanceof ServiceError && error.code === "unavailable";
        if (this.#isStopping && (!isBusy || signal.aborted)) throw error;
        await passed(KEEP_MS);
      }
    }
  }

  /** Asks what a code is good for. Where it is used up, and that may have been we, WeChat says what it was good for. */
  async #ask(platform: Slot, stored: StoredCode, signal: AbortSignal): Promise<ExchangedCode> {
    const { code, account, attempts } = stored;
    const protocol = this.#parts.protocolOf(platform);
    if (!protocol || !code) throw noPlatform();
    try {
      return await protocol.exchange(platform, code, signal);
    } catch (error) {
      const isRefused = error instanceof ServiceError && error.upstream?.class === "input";
      const isNamed = account !== "" && account !== UNNAMED;
      if (!isRefused || (!isNamed && attempts === 1)) throw error;
      const { apps, reconciliation, claim } = this.#parts;
      if (!isNamed) {
        const mayList = account === UNNAMED || (await claim(`list ${platform.appId}`, LIST_MS)) === 0;
        // Whose it was nobody knows; the account is here nevertheless.
        if (mayList) await reconciliation.takeListed(platform, signal).catch(() => undefined);
        throw error;
      }
      // An account that WeChat itself has named has authorized, whoever has used its code.
      const told = await apps.tell(platform, account, signal).catch(() => undefined);
      if (!told?.text || !told.secret) throw error;
      return { ...told, text: told.text, token: undefined };
    }
  }

  /** Of WeChat's tokens each ends the one before. Where none came, what was stored is cleared by now. */
  async #keepToken(platform: Slot, { account, token }: ExchangedCode, askedAt: number): Promise<void> {
    const name = { slot: slotOf(platform, account), kind: "access_token" } as const;
    if (!token) return;
    const life = { issuedAt: askedAt, expiresAt: askedAt + token.lifeMs };
    await this.#parts.credentials.accept(name, token.value, life);
  }

  /** Somebody but a caller tells of it from now on. */
  async #name({ platformApp, expiresAt }: StoredCode, code: Secret): Promise<void> {
    const { codes, clock } = this.#parts;
    await codes.add({ platformApp, account: UNNAMED, code, now: clock.now(), expiresAt });
  }
}

/** What stands in the place of a code where an account is to be read again. */
export function rereadCode(account: string, at: number): Secret {
  return new Secret(`${REREAD}${account}@${at}`);
}

/** Whether WeChat has said that nothing will come of it. */
export function isRefusal(error: unknown): boolean {
  return (error instanceof ServiceError && error.upstream?.class === "input") || isLost(error);
}

function isReread({ account, code }: StoredCode): boolean {
  return account !== "" && account !== UNNAMED && code?.reveal().startsWith(REREAD) === true;
}

function noPlatform(): ServiceError {
  return new ServiceError(
    "unavailable",
    "该第三方平台已停用或已删除 (the third-party platform is disabled or gone)",
  );
}
