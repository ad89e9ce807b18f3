import { setTimeout as passed } from "node:timers/promises";
import type { AppDirectory } from "../apps/app-directory.ts";
import { roleOf, type Slot, type SlotName } from "../apps/app.ts";
import { type Clock, Rounds } from "../clock.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import type { Pacing } from "../credentials/pacing.ts";
import { before } from "../credentials/source.ts";
import { ServiceError } from "../errors.ts";
import { type EventBus, failureFacts } from "../events.ts";
import { Secret } from "../secret.ts";
import {
  type AuthorizationCodeStore,
  type CodeAnswer,
  isDue,
  type StoredCode,
  UNNAMED,
} from "./authorization-store.ts";
import { type AuthorizedApps, slotOf } from "./authorized-apps.ts";
import { failureOf, givenIn, textOfFailure, textOfGiven } from "./kept-texts.ts";
import { type ExchangedCode, isLost, type PlatformProtocol } from "./platform-protocol.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** How long a code is good for where nobody says it. */
const CODE_MS = HOUR_MS;
/** How long what a code was exchanged for is told those who come with it later. */
const ANSWER_MS = HOUR_MS;
/** How long an operator sees a code that has come to nothing, and for what reason. */
const FAILED_MS = DAY_MS;
/** How long an attempt may take; and until when nobody else makes one: whoever has not ended by then was killed. */
const ATTEMPT_MS = 20_000;
const LEASE_MS = 30_000;
/** How long to wait after the first, second, … attempt that has failed. */
const AGAIN_MS = [2000, 5000, 15_000, 30_000, MINUTE_MS];
/** At which attempt it is believed that an authorization is withdrawn whose code was exchanged. */
const BELIEVED_AFTER = 5;
/** How often it is looked whether another process has exchanged a code. */
const LOOK_MS = 50;
/** How many codes are exchanged at the same time. */
const MAX_AT_ONCE = 8;
/** How long to sleep while nothing is due, and at the least. */
const MAX_SLEEP_MS = 10_000;
const MIN_SLEEP_MS = 20;
/** A comparison that failed is made again so much later. */
const RECONCILE_AGAIN_MS = HOUR_MS;
const RECONCILE_MS = 10 * MINUTE_MS;
const PRUNE_MS = 10 * MINUTE_MS;
/** WeChat's list is read no more often than that for codes of which callers alone have told. */
const LIST_MS = 10 * MINUTE_MS;
/** Begins what stands in the place of a code where an account is to be read again. */
const REREAD = "reread@@@";

/** What authorizations are taken with. */
export interface AuthorizationsParts {
  readonly codes: AuthorizationCodeStore;
  readonly apps: AuthorizedApps;
  readonly directory: Pick<AppDirectory, "sorted" | "findSlot">;
  /** Undefined for a platform that has no authorizations. */
  readonly protocolOf: (platform: Slot) => PlatformProtocol | undefined;
  readonly credentials: Pick<CredentialManager, "accept">;
  readonly pacing: Pick<Pacing, "admit">;
  /** See `MilestoneStore.claim`. */
  readonly claim: (work: string, everyMs: number) => Promise<number>;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Takes authorizations of third-party platforms: each code is exchanged once, whoever brings it and however often.
 *
 * A code waits in the store until it is exchanged, so that any process can do it, and does when the one that had begun was
 * killed. What it gave is stored with the account's app first. Where the answer was lost, and the code with it, WeChat's
 * list has what it was good for.
 *
 * Anybody can bring a code that is none. One that no push has told of is tried once for each time that somebody comes with
 * it, within a budget.
 */
export class Authorizations {
  readonly #parts: AuthorizationsParts;
  /** By platform, when to compare with WeChat's list next (monotonic). */
  readonly #reconcileAt = new Map<string, number>();
  #pruneAt = 0;
  readonly #rounds = new Rounds(() => this.#round(), MIN_SLEEP_MS);
  #reconciling: Promise<void> | undefined;
  readonly #attempts = new Set<Promise<unknown>>();
  /** By digest, what codes gave that the store would not take yet. */
  readonly #unkept = new Map<string, ExchangedCode>();
  readonly #stopping = new AbortController();

  constructor(parts: AuthorizationsParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#rounds.start();
  }

  /** Waits for what is under way: what a code is good for must be stored. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#rounds.stop(), this.#reconciling, ...this.#attempts]);
  }

  /**
   * Notes a code that was pushed, to be exchanged soon. One durable write and no upstream call. `expiresAt`, and `at`, when
   * it was made, are in epoch milliseconds.
   */
  async note(
    platform: Slot,
    code: Secret,
    about: { readonly account?: string; readonly expiresAt?: number; readonly at?: number } = {},
  ): Promise<void> {
    await this.#add(platform, code, { account: UNNAMED, ...about });
    this.#rounds.wake();
  }

  /** Has an account read again soon: what it allows has changed. One durable write, as `note`. */
  async readAgain(platform: Slot, account: string, at = this.#parts.clock.now()): Promise<void> {
    await this.note(platform, new Secret(`${REREAD}${account}@${at}`), { account });
  }

  /**
   * What a code is exchanged for, by this process or another, now or before. `caller` names who has brought it.
   *
   * @throws {ServiceError} WeChat's refusal, as `upstream_rejected`; what keeps it from being exchanged now: then it is tried
   *   again where a push has told of it, and otherwise when somebody comes with it; `rate_limited`; `upstream_timeout` when
   *   the signal is aborted, and the exchange goes on.
   */
  async exchange(platform: Slot, code: Secret, signal: AbortSignal, caller: string): Promise<CodeAnswer> {
    const { codes, pacing } = this.#parts;
    const digest = this.digestOf(platform, code);
    const known = await codes.find(digest);
    if (known && !mayComeAgain(known)) return this.#settle(digest, signal);
    const name = { slot: platform, kind: tokenKindOf(platform) };
    const admission = await pacing.admit("exchange", name, { caller });
    await this.#add(platform, code, {}, true);
    const answer = await this.#settle(digest, signal);
    await admission.giveBack().catch(() => undefined);
    return answer;
  }

  /** The name of a code, which stands for it where it must not be seen. */
  digestOf(platform: Slot, code: Secret): string {
    return this.#parts.codes.digestOf(platform.appId, code);
  }

  /** As `exchange`, of a code that has come before and is known by its digest; undefined for one that the platform has not. */
  async answerOf(
    platform: Slot,
    digest: string,
    signal = AbortSignal.timeout(ATTEMPT_MS),
  ): Promise<CodeAnswer | undefined> {
    const known = await this.#parts.codes.find(digest);
    return known?.platformApp === platform.appId ? this.#settle(digest, signal) : undefined;
  }

  /** See `AuthorizedApps.end`. */
  end(platform: Slot, account: string, at: number): Promise<void> {
    return this.#parts.apps.end(platform, account, at);
  }

  /** See `AuthorizedApps.lose`; by default it was asked now. */
  lose(slot: SlotName, why: ServiceError, at = this.#parts.clock.now()): Promise<void> {
    return this.#parts.apps.lose(slot, why, at);
  }

  /** See `AuthorizedApps.reconcile`. */
  reconcile(
    platform: Slot,
    signal = AbortSignal.timeout(RECONCILE_MS),
  ): Promise<{ added: number; lost: number }> {
    return this.#parts.apps.reconcile(platform, signal);
  }

  /** Does what is due: codes, and then a comparison with what WeChat says. Never throws. */
  async tick(): Promise<void> {
    await this.#exchangeDue();
    await this.#reconcileDue();
  }

  /** Exchanges what is due. Resolves with how long it is until more is, in milliseconds. Never throws. */
  async #exchangeDue(): Promise<number> {
    const { codes, clock } = this.#parts;
    try {
      if (this.#platforms().length === 0) return MAX_SLEEP_MS;
      while (!this.#stopping.signal.aborted) {
        const dueAt = await codes.nextDueAt();
        if (dueAt === undefined || !isDue(dueAt, clock.now())) break;
        const taken = await this.#take();
        if (taken.length === 0) break;
        await Promise.all(taken.map((code) => this.#attempt(code).catch(() => undefined)));
      }
      if (clock.monotonic() >= this.#pruneAt) {
        this.#pruneAt = clock.monotonic() + PRUNE_MS;
        await codes.prune(clock.now());
      }
      const next = (await codes.nextDueAt()) ?? Number.POSITIVE_INFINITY;
      return Math.min(MAX_SLEEP_MS, Math.max(MIN_SLEEP_MS, next - clock.now()));
    } catch {
      return MAX_SLEEP_MS;
    }
  }

  async #reconcileDue(): Promise<void> {
    for (const platform of this.#platforms()) await this.#reconcileIfDue(platform).catch(() => undefined);
  }

  async #add(
    platform: Slot,
    code: Secret,
    about: { readonly account?: string; readonly expiresAt?: number; readonly at?: number },
    isAgain = false,
  ): Promise<void> {
    const now = this.#parts.clock.now();
    const { account = "", expiresAt = now + CODE_MS, at = now } = about;
    const platformApp = platform.appId;
    await this.#parts.codes.add({ platformApp, account, code, now: Math.min(at, now), expiresAt, isAgain });
  }

  async #take(): Promise<StoredCode[]> {
    const { codes, clock } = this.#parts;
    const taken: StoredCode[] = [];
    while (taken.length < MAX_AT_ONCE) {
      const code = await codes.take({ now: clock.now(), until: clock.now() + LEASE_MS });
      if (!code) break;
      taken.push(code);
    }
    return taken;
  }

  /** Waits until a code is exchanged or refused, and exchanges it where nobody else does. */
  async #settle(digest: string, signal: AbortSignal): Promise<CodeAnswer> {
    const { codes, clock } = this.#parts;
    for (;;) {
      const code = await codes.find(digest);
      if (code?.state === "exchanged" && code.answer) return code.answer;
      if (code?.state !== "waiting") throw failureOf(code?.error);
      const now = clock.now();
      // Nobody writes to find out that another has it.
      const mayTake = isDue(code.dueAt, now);
      const taken = mayTake && (await codes.take({ digest, now, until: now + LEASE_MS }));
      // Whoever no longer waits must not cut it off: the code would be used up for nothing.
      const answer = await before(signal, taken ? this.#attempt(taken) : passed(LOOK_MS, undefined));
      if (answer) return answer;
    }
  }

  /** Exchanges a code that was taken, and stores what it gave. Throws what it throws after noting it. */
  #attempt(code: StoredCode): Promise<CodeAnswer | undefined> {
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
      if (isLeft && code.code) await this.#add(platform, code.code, { account: UNNAMED });
      return await this.#exchange(platform, isLeft ? { ...code, account: UNNAMED } : code, signal);
    } catch (error) {
      const waitMs = AGAIN_MS[Math.min(code.attempts, AGAIN_MS.length) - 1] ?? 0;
      const dueAt = clock.now() + waitMs;
      const { platformApp, digest } = code;
      // What a code gave is to be stored, however often that fails.
      const kept = (await codes.find(digest).catch(() => undefined)) ?? code;
      // One that was withdrawn before it could be stored is given up, but not for a single answer.
      const isWithdrawn = code.attempts >= BELIEVED_AFTER && isLost(error);
      const isUnkept = this.#unkept.has(digest);
      const isRefused = kept.answer || isUnkept ? isWithdrawn : isRefusal(error);
      const isOver = isRefused || (dueAt >= kept.expiresAt && !isUnkept);
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
    const earlier = code.answer ? givenIn(code.answer.text) : this.#unkept.get(code.digest);
    const exchanged = earlier ?? (await this.#ask(platform, code, signal));
    // It can't be had twice: should anything be in the way of what comes now, it is made up for later.
    if (!code.answer) await this.#keep(code, exchanged, signal);
    const given = { ...exchanged, isLate: earlier !== undefined };
    const app = await apps.grant(platform, given, code.createdAt, signal);
    // Before the code is done with: a token that is not stored would end the one that is.
    await this.#keepToken(platform, exchanged, askedAt);
    const answer = { app, text: exchanged.text };
    await codes.succeed(code.digest, answer, Math.max(code.expiresAt, clock.now() + ANSWER_MS));
    if (exchanged.title === undefined) await this.readAgain(platform, exchanged.account);
    return answer;
  }

  /**
   * Keeps what a code gave, and tries again while the store is busy: of WeCom nobody gives it once more. Where the store is out
   * of order for longer, this process has it for the next attempt.
   */
  async #keep({ digest }: StoredCode, given: ExchangedCode, signal: AbortSignal): Promise<void> {
    const { codes, clock } = this.#parts;
    this.#unkept.set(digest, { ...given, token: undefined });
    for (;;) {
      try {
        await codes.keep(digest, { app: "", text: textOfGiven(given) }, clock.now() + DAY_MS);
        this.#unkept.delete(digest);
        return;
      } catch (error) {
        const isBusy = error instanceof ServiceError && error.code === "unavailable";
        if (!isBusy || signal.aborted) throw error;
        await passed(LOOK_MS);
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
      const { apps, claim } = this.#parts;
      if (!isNamed) {
        const mayList = account === UNNAMED || (await claim(`list ${platform.appId}`, LIST_MS)) === 0;
        // Whose it was nobody knows; the account is here nevertheless.
        if (mayList) await apps.takeListed(platform, signal).catch(() => undefined);
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

  async #reconcileIfDue(platform: Slot): Promise<void> {
    const { claim, clock } = this.#parts;
    const { appId } = platform;
    if (this.#stopping.signal.aborted) return;
    if (clock.monotonic() < (this.#reconcileAt.get(appId) ?? 0)) return;
    const work = `reconcile ${appId}`;
    const waitMs = await claim(work, DAY_MS);
    this.#reconcileAt.set(appId, clock.monotonic() + Math.min(waitMs || DAY_MS, HOUR_MS));
    if (waitMs > 0) return;
    try {
      await this.reconcile(
        platform,
        AbortSignal.any([AbortSignal.timeout(RECONCILE_MS), this.#stopping.signal]),
      );
    } catch {
      // What went wrong is in the log, as a failed call; without a ticket nothing is asked at all.
      await claim(work, RECONCILE_AGAIN_MS);
    }
  }

  #platforms(): Slot[] {
    const { directory, protocolOf } = this.#parts;
    const slots = directory.sorted().flatMap((app) => (app.role ? (directory.findSlot(app.id) ?? []) : []));
    return slots.filter((slot) => !slot.isDisabled && protocolOf(slot) !== undefined);
  }

  async #round(): Promise<number> {
    const nextMs = await this.#exchangeDue();
    // It may take minutes, and no code waits for it.
    this.#reconciling ??= this.#reconcileDue().finally(() => (this.#reconciling = undefined));
    return nextMs;
  }
}

/** Whether WeChat has said that nothing will come of it. */
function isRefusal(error: unknown): boolean {
  return (error instanceof ServiceError && error.upstream?.class === "input") || isLost(error);
}

/** Whether a code is tried once more when somebody comes with it. */
function mayComeAgain({ account, state, error }: StoredCode): boolean {
  return account === "" && state === "failed" && !isRefusal(failureOf(error));
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
