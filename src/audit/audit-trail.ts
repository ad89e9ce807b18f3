import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { AuditCounts, type Denial, FlushTimer } from "./audit-counts.ts";
import { type AuditEntry, AuditFailure, SERVICE } from "./audit-entry.ts";
import type { AuditStore, ChainBreak } from "./audit-store.ts";

/**
 * Writes down who did what, for the whole service.
 *
 * What changes something is written one by one, and is not done when it can't be written. Usage and denials are
 * counted; those of the last second are in memory and lost by a crash.
 */
export class AuditTrail {
  readonly #store: AuditStore;
  readonly #events: EventBus;
  readonly #counts: AuditCounts;
  readonly #retention: AuditRetention;
  readonly #timer: FlushTimer;

  constructor(store: AuditStore, clock: Clock, events: EventBus, retentionDays: number) {
    this.#store = store;
    this.#events = events;
    this.#counts = new AuditCounts(store, clock, () => this.#timer.arm());
    this.#timer = new FlushTimer(
      () => this.#counts.flush().catch((error: unknown) => this.#reportFailure(error)),
      () => this.#counts.isPending,
    );
    this.#retention = new AuditRetention(store, clock, retentionDays, {
      record: (entry) => this.record(entry),
      onFailed: (error) => this.#reportFailure(error),
      onBroken: ({ id }) => events.emit({ type: "audit.broken", id }),
    });
  }

  /**
   * Writes an entry; it is on the disk when this resolves. Call it before what it is about is done.
   *
   * @throws {AuditFailure} when it can't be written: then what it is about must not be done.
   */
  async record(entry: AuditEntry): Promise<void> {
    try {
      await this.#store.append(entry);
    } catch (error) {
      // The store itself has reported an entry that was refused.
      if (error instanceof AuditFailure) throw error;
      this.#events.emit({ type: "audit.failed", code: codeOf(error) });
      throw new AuditFailure(error);
    }
  }

  /** Counts that a client did what a grant's `action` allows, on the app of that public name. */
  countUsage(
    identity: { readonly client: string; readonly environment: string },
    action: string,
    app: string,
  ): void {
    this.#counts.usage(identity, action, app).count();
  }

  /** Counts that a caller was denied something. */
  countDenial(denial: Denial): void {
    this.#counts.denial(denial).count();
  }

  /** Begins to drop what is too old, once an hour among all processes. Counts are written down without it too. */
  start(): void {
    this.#retention.start();
  }

  /** Writes down now what was counted. Never throws. */
  flush(): Promise<void> {
    return this.#timer.flush();
  }

  /** Drops what is too old if that is due. Never throws. */
  prune(): Promise<void> {
    return this.#retention.tick();
  }

  /** Writes down the rest and ends. Called again, it writes down what was counted meanwhile. */
  async stop(): Promise<void> {
    await this.#retention.stop();
    await this.#timer.stop();
  }

  /** Reports what failed in the background, unless the database is locked just now: then it is done a moment later. */
  #reportFailure(error: unknown): void {
    const code = codeOf(error);
    if (code !== "unavailable") this.#events.emit({ type: "audit.failed", code });
  }
}

function codeOf(error: unknown) {
  return error instanceof ServiceError ? error.code : "internal";
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** Where pruning reports what it did. */
interface RetentionReports {
  /** Writes down how many entries were dropped. */
  readonly record: (entry: AuditEntry) => Promise<void>;
  /** Called when the store failed. */
  readonly onFailed: (error: unknown) => void;
  /** Called when entries can't be dropped, because they do not fit the chain. */
  readonly onBroken: (fault: ChainBreak) => void;
}

/** Drops what is older than the audit is kept for. The store decides which process does it. */
class AuditRetention {
  readonly #store: Pick<AuditStore, "claimPruning" | "prune">;
  readonly #clock: Clock;
  readonly #retentionDays: number;
  readonly #reports: RetentionReports;
  /** By the monotonic clock. */
  #dueAt = -Infinity;
  /** Whether this process has taken a round that it has not finished. */
  #hasClaim = false;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isStarted = false;
  #isStopping = false;

  constructor(
    store: Pick<AuditStore, "claimPruning" | "prune">,
    clock: Clock,
    retentionDays: number,
    reports: RetentionReports,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#retentionDays = retentionDays;
    this.#reports = reports;
  }

  start(): void {
    this.#isStarted = true;
    void this.tick();
  }

  /**
   * Prunes if an hour has passed since any process did, or a minute since it failed here. Resolves when nothing is
   * pruned any more; never throws.
   */
  async tick(): Promise<void> {
    if (!this.#running && !this.#isStopping && this.#clock.monotonic() >= this.#dueAt) {
      this.#running = this.#round().finally(() => {
        this.#running = undefined;
        this.#arm();
      });
    }
    await this.#running;
  }

  /** Ends after the piece that is being dropped. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #arm(): void {
    if (!this.#isStarted || this.#isStopping) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.tick(), this.#dueAt - this.#clock.monotonic());
  }

  async #round(): Promise<void> {
    try {
      const waitMs = this.#hasClaim ? 0 : await this.#store.claimPruning(HOUR_MS);
      this.#hasClaim = waitMs === 0;
      if (this.#hasClaim) await this.#prune();
      this.#hasClaim = false;
      this.#dueAt = this.#clock.monotonic() + (waitMs || HOUR_MS);
    } catch (error) {
      this.#dueAt = this.#clock.monotonic() + MINUTE_MS;
      this.#reports.onFailed(error);
    }
  }

  async #prune(): Promise<void> {
    const { record, onBroken } = this.#reports;
    const before = this.#clock.now() - this.#retentionDays * DAY_MS;
    let entries = 0;
    let fault: ChainBreak | undefined;
    try {
      for (let isDone = false; !isDone && !this.#isStopping; await nextTurn()) {
        const piece = await this.#store.prune(before);
        entries += piece.entries;
        ({ isDone, fault } = piece);
      }
    } finally {
      if (entries > 0) await record(prunedEntry(entries, before));
    }
    if (fault) onBroken(fault);
  }
}

function prunedEntry(entries: number, before: number): AuditEntry {
  const detail = { entries, before };
  return { ...SERVICE, action: "audit.pruned", app: "", outcome: "ok", tokenDigest: "", detail };
}
