import { setTimeout as passed } from "node:timers/promises";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { Slot, SlotName } from "../apps/app.ts";
import { Rounds } from "../clock.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import type { Pacing } from "../credentials/pacing.ts";
import { before } from "../credentials/source.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { type CodeAnswer, isDue, type StoredCode, UNNAMED } from "./authorization-store.ts";
import {
  ATTEMPT_MS,
  CodeExchange,
  type CodeExchangeParts,
  isRefusal,
  LEASE_MS,
  rereadCode,
} from "./code-exchange.ts";
import { failureOf } from "./kept-texts.ts";
import type { Reconciliation } from "./reconciliation.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** How long a code is good for where nobody says it. */
const CODE_MS = HOUR_MS;
/** How often it is looked whether another process has exchanged a code. */
const LOOK_MS = 50;
/** How many codes are exchanged at the same time. */
const MAX_AT_ONCE = 8;
/** How long to sleep while nothing is due, and at the least. */
const MAX_SLEEP_MS = 10_000;
const MIN_SLEEP_MS = 20;
const PRUNE_MS = 10 * MINUTE_MS;

/** What authorizations are taken with. */
export interface AuthorizationsParts extends Omit<CodeExchangeParts, "readAgain"> {
  readonly reconciliation: Reconciliation;
  readonly directory: Pick<AppDirectory, "sorted" | "findSlot">;
  readonly pacing: Pick<Pacing, "admit">;
}

/**
 * Takes authorizations of third-party platforms: each code is exchanged once, whoever brings it and however often.
 *
 * A code waits in the store until it is exchanged, so that any process can do it, and does when the one that had begun was
 * killed.
 *
 * Anybody can bring a code that is none. One that no push has told of is tried once for each time that somebody comes with
 * it, within a budget.
 */
export class Authorizations {
  readonly #parts: AuthorizationsParts;
  #pruneAt = 0;
  readonly #rounds = new Rounds(() => this.#round(), MIN_SLEEP_MS);
  #reconciling: Promise<void> | undefined;
  readonly #exchange: CodeExchange;
  readonly #stopping = new AbortController();

  constructor(parts: AuthorizationsParts) {
    this.#parts = parts;
    this.#exchange = new CodeExchange({
      ...parts,
      readAgain: (platform, account) => this.readAgain(platform, account),
    });
  }

  start(): void {
    this.#rounds.start();
  }

  /** Waits for what is under way: what a code is good for must be stored. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#rounds.stop(), this.#reconciling, this.#exchange.stop()]);
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
    await this.note(platform, rereadCode(account, at), { account });
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

  /** See `Reconciliation.reconcile`. */
  reconcile(platform: Slot, signal?: AbortSignal): Promise<{ added: number; lost: number }> {
    return this.#parts.reconciliation.reconcile(platform, signal);
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
        await Promise.all(taken.map((code) => this.#exchange.attempt(code).catch(() => undefined)));
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
    const { reconciliation } = this.#parts;
    for (const platform of this.#platforms())
      await reconciliation.ifDue(platform, this.#stopping.signal).catch(() => undefined);
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
      const answer = await before(signal, taken ? this.#exchange.attempt(taken) : passed(LOOK_MS, undefined));
      if (answer) return answer;
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

/** Whether a code is tried once more when somebody comes with it. */
function mayComeAgain({ account, state, error }: StoredCode): boolean {
  return account === "" && state === "failed" && !isRefusal(failureOf(error));
}
