import { appName } from "../apps/app.ts";
import { FlushTimer } from "../audit/audit-counts.ts";
import type { Clock } from "../clock.ts";
import { failureFacts } from "../events.ts";
import type { CredentialName } from "./credential.ts";

/**
 * Why a credential was obtained: before the one before ended, because there was none, because an administrator wanted it,
 * because WeChat had rejected the one before, or because WeChat sent it.
 */
export const REFRESH_TRIGGERS = ["ahead", "on_demand", "forced", "replaced", "pushed"] as const;
export type RefreshTrigger = (typeof REFRESH_TRIGGERS)[number];

/** How an attempt to obtain a credential ended. */
export interface RefreshAttempt {
  /** When it began; epoch milliseconds. */
  readonly at: number;
  /** The app's public name. */
  readonly app: string;
  readonly kind: string;
  readonly trigger: RefreshTrigger;
  /** `ok`, or our code of the failure. */
  readonly outcome: string;
  /** WeChat's, where it refused. */
  readonly errcode: number | undefined;
  readonly durationMs: number;
  /** Of what was stored; undefined where nothing was. */
  readonly generation: number | undefined;
  /** The machine that asked. */
  readonly host: string;
}

/** What is counted of an app by the hour: hand-outs are `uses`, and `calls` all that was sent to WeChat. */
export const SERIES = ["refreshes", "failures", "uses", "gateway", "calls"] as const;

/** How often something happened to an app in an hour. */
export interface HourlyCount {
  /** The app's public name; for `calls` its AppID or CorpID. */
  readonly app: string;
  /** Epoch milliseconds at which the hour began. */
  readonly hour: number;
  readonly series: (typeof SERIES)[number];
  readonly n: number;
}

/** What is kept at most. */
export interface HistoryLimits {
  /** Epoch milliseconds: attempts from before go, and hours from before. */
  readonly attemptsFrom: number;
  readonly hoursFrom: number;
  /** How many attempts. */
  readonly maxAttempts: number;
}

/** Where the attempts of all processes are kept, and what is counted by the hour. */
export interface RefreshLogStore {
  /** Writes attempts, and counts them by the hour, in one transaction. Gives up early while the store is busy. */
  add(attempts: readonly RefreshAttempt[]): Promise<void>;
  /** The newest attempts of an app that began at `from` or later and before `to`, newest first. */
  list(
    app: string,
    period: { readonly from: number; readonly to: number; readonly limit: number },
  ): Promise<RefreshAttempt[]>;
  /** The counts under these names of the hours that began at `from` or later and before `to`, in no order. */
  listHours(
    apps: readonly string[],
    period: { readonly from: number; readonly to: number },
  ): Promise<HourlyCount[]>;
  /** As `AuditStore.claimPruning`. */
  claimPruning(everyMs: number): Promise<number>;
  /** From which hour on, `from` at the earliest, there are at most `most` counts; epoch milliseconds. */
  firstHour(from: number, most: number): Promise<number>;
  /** Deletes up to a thousand rows of each that are beyond the limits; returns whether none is left. */
  prune(limits: HistoryLimits): Promise<boolean>;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const ATTEMPTS_MS = 14 * DAY_MS;
const HOURS_MS = 90 * DAY_MS;
const MAX_ATTEMPTS = 2_000_000;
const MAX_HOURS = 5_000_000;
/** So many attempts wait while nothing can be written; later ones are not noted. */
const MAX_WAITING = 10_000;
/** How many are written at once. */
const PIECE = 500;
/** The pause after each piece that is deleted: nothing else waits long, also where there are many. */
const PAUSE_MS = 100;

/**
 * Notes how each attempt to obtain a credential of an app that we hold has ended, in the background: it makes no refresh
 * slower, and none fails for want of it. A crash loses those of the last second.
 */
export class RefreshLog {
  readonly #store: RefreshLogStore;
  readonly #clock: Clock;
  readonly #host: string;
  readonly #waiting: RefreshAttempt[] = [];
  readonly #timer = new FlushTimer(
    // What can't be written now is written next time.
    () => this.#write().catch(() => undefined),
    () => this.#waiting.length > 0,
  );
  /** By the monotonic clock. */
  #pruneAt: number;
  #pruneTimer: Timer | undefined;
  #pruning: Promise<void> | undefined;
  #isStopping = false;

  /** `host` is this machine's name. */
  constructor(store: RefreshLogStore, clock: Clock, host: string) {
    this.#store = store;
    this.#clock = clock;
    this.#host = host;
    this.#pruneAt = clock.monotonic() + MINUTE_MS;
  }

  /**
   * Does `work`, one attempt to obtain `name`, and notes how it ends: with the generation of what it has stored, or with
   * what it throws, which is passed on.
   */
  async noted<T>(
    name: CredentialName,
    trigger: RefreshTrigger,
    work: () => Promise<T>,
    generationOf: (result: T) => number | undefined,
  ): Promise<T> {
    const [at, startedAt] = [this.#clock.now(), this.#clock.monotonic()];
    const note = (
      outcome: string,
      rest: { readonly errcode?: number; readonly generation?: number | undefined },
    ) => {
      // Callers make up secrets that we don't hold.
      if (name.slot.name.startsWith("~") || this.#waiting.length >= MAX_WAITING) return;
      const durationMs = Math.round(this.#clock.monotonic() - startedAt);
      const { errcode, generation } = rest;
      const facts = { app: appName(name.slot), kind: name.kind, trigger, outcome, host: this.#host };
      this.#waiting.push({ at, ...facts, errcode, durationMs, generation });
      this.#timer.arm();
    };
    try {
      const result = await work();
      note("ok", { generation: generationOf(result) });
      return result;
    } catch (error) {
      const { code, errcode } = failureFacts(error);
      note(code, errcode === undefined ? {} : { errcode });
      throw error;
    }
  }

  /** Begins to prune, once an hour among all processes. Attempts are written without it too. */
  start(): void {
    this.#arm();
  }

  /** Prunes if that is due. Never throws: what can't be deleted now is deleted later. */
  async tick(): Promise<void> {
    if (!this.#pruning && !this.#isStopping && this.#clock.monotonic() >= this.#pruneAt) {
      this.#pruning = this.#prune().finally(() => {
        this.#pruning = undefined;
        this.#arm();
      });
    }
    await this.#pruning;
  }

  /** Writes what was noted before. */
  flush(): Promise<void> {
    return this.#timer.flush();
  }

  /** Writes the rest and stops, after the piece that is being deleted. Called again, it writes what was noted meanwhile. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#pruneTimer);
    await this.#pruning;
    await this.#timer.stop();
  }

  async #write(): Promise<void> {
    for (let left = this.#waiting.length; left > 0;) {
      const piece = this.#waiting.slice(0, Math.min(left, PIECE));
      await this.#store.add(piece);
      this.#waiting.splice(0, piece.length);
      left -= piece.length;
    }
  }

  #arm(): void {
    if (this.#isStopping) return;
    clearTimeout(this.#pruneTimer);
    this.#pruneTimer = setTimeout(() => void this.tick(), this.#pruneAt - this.#clock.monotonic());
    this.#pruneTimer.unref();
  }

  async #prune(): Promise<void> {
    let inMs = MINUTE_MS;
    try {
      inMs = await this.#store.claimPruning(HOUR_MS);
      if (inMs > 0) return;
      const now = this.#clock.now();
      const hoursFrom = await this.#store.firstHour(now - HOURS_MS, MAX_HOURS);
      const limits = { attemptsFrom: now - ATTEMPTS_MS, hoursFrom, maxAttempts: MAX_ATTEMPTS };
      while (!this.#isStopping && !(await this.#store.prune(limits))) await this.#clock.sleep(PAUSE_MS);
      inMs = HOUR_MS;
    } catch {
      inMs = MINUTE_MS;
    } finally {
      this.#pruneAt = this.#clock.monotonic() + inMs;
    }
  }
}
