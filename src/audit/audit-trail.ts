import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../clock.ts";
import { type EventBus, failureFacts } from "../events.ts";
import { AuditCounts, type Denial, FlushTimer } from "./audit-counts.ts";
import { type AuditEntry, AuditFailure, SERVICE } from "./audit-entry.ts";
import type { AuditStore, ChainBreak } from "./audit-store.ts";

/**
 * Records who did what, for the whole service.
 *
 * Changes are recorded one by one, and not made when that fails. Usage and denials are counted; a crash loses those of
 * the last second.
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
      onPruned: (entries, before) => events.emit({ type: "audit.pruned", entries, before }),
      onFailed: (error) => this.#reportFailure(error),
      onBroken: ({ id }) => events.emit({ type: "audit.broken", id }),
    });
  }

  /**
   * Writes an entry; it is on the disk when this resolves. Call it before the action.
   *
   * @throws {AuditFailure} when it can't be written: then the action must not be done.
   */
  async record(entry: AuditEntry): Promise<void> {
    try {
      await this.#store.append(entry);
    } catch (error) {
      // The store itself has reported an entry that was refused.
      if (error instanceof AuditFailure) throw error;
      this.#events.emit({ type: "audit.failed", ...failureFacts(error) });
      throw new AuditFailure(error);
    }
  }

  /**
   * Records that the database has lost the entries `from` to `to`, as far as this process knows, unless another one has
   * recorded as much. Never throws: what keeps it from that is reported.
   */
  async recordLoss(from: number, to: number): Promise<void> {
    try {
      const [noted] = await this.#store.list({ action: "audit.lost" }, { limit: 1 });
      if (noted && noted.id >= from && Number(noted.detail["to"]) >= to) return;
      const detail = { from, to };
      await this.#store.append({
        ...SERVICE,
        action: "audit.lost",
        app: "",
        outcome: "ok",
        tokenDigest: "",
        detail,
      });
    } catch (error) {
      if (!(error instanceof AuditFailure))
        this.#events.emit({ type: "audit.failed", ...failureFacts(error) });
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

  /** As `countUsage`, for a caller without a key, who is called `name`: by address, up to 1,000 of them a day. */
  countAnonymous(name: string, address: string, action: string, app: string): void {
    this.#counts.usage(this.#counts.anonymousUser(name, address), action, app).count();
  }

  countDenial(denial: Denial): void {
    this.#counts.denial(denial).count();
  }

  /** Begins to prune after a day, once an hour among all processes. Counts are flushed without it too. */
  start(): void {
    this.#retention.start();
  }

  /** Flushes the counts. Never throws. */
  flush(): Promise<void> {
    return this.#timer.flush();
  }

  /** Prunes if that is due. Never throws. */
  prune(): Promise<void> {
    return this.#retention.tick();
  }

  /** Flushes the counts and stops. Called again, it flushes what was counted meanwhile. */
  async stop(): Promise<void> {
    await this.#retention.stop();
    await this.#timer.stop();
  }

  /** Reports a failure in the background, unless the database is only locked: then it is retried soon. */
  #reportFailure(error: unknown): void {
    const failure = failureFacts(error);
    if (failure.code !== "unavailable") this.#events.emit({ type: "audit.failed", ...failure });
  }
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** More than a clock that is kept in step is corrected by in an hour. */
const MAX_CORRECTION_MS = MINUTE_MS;
/** So long after the clock was last noted a process may start and go on counting: rounds are an hour apart. */
const MAX_PAUSE_MS = 2 * HOUR_MS;
/** So many pieces of a thousand entries go in one round; the rest in the next, a minute later. */
const MAX_PIECES = 50;

type PruningStore = Pick<AuditStore, "claimPruning" | "prune" | "steadyClock" | "noteSteadyClock">;

/** Where pruning reports what it did. */
interface RetentionReports {
  /** Records how many entries were deleted. */
  readonly record: (entry: AuditEntry) => Promise<void>;
  /** Called with how many that were, and before which time. */
  readonly onPruned: (entries: number, before: number) => void;
  readonly onFailed: (error: unknown) => void;
  /** Called when entries can't be deleted, because they do not fit the chain. */
  readonly onBroken: (fault: ChainBreak) => void;
}

/**
 * Deletes what is older than the retention. The store decides which process does it.
 *
 * What is old is a matter of the wall clock, which may be wrong: nothing is deleted before it has gone on for a day
 * without a jump, and then only a piece at a time. A process that is started soon after another has stopped goes on
 * counting where that one was.
 */
class AuditRetention {
  readonly #store: PruningStore;
  readonly #clock: Clock;
  readonly #retentionDays: number;
  readonly #reports: RetentionReports;
  /** By the monotonic clock. */
  #dueAt: number;
  /** Since when, by the monotonic clock, the wall clock has not jumped, and by how much it is ahead of that one. */
  #steadySince: number;
  #aheadMs: number;
  readonly #startedAt: number;
  /** Whether what was noted before the start has been looked at. */
  #hasAdopted = false;
  /** Whether this process has claimed a round and not finished it. */
  #hasClaim = false;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #isStarted = false;
  #isStopping = false;

  constructor(store: PruningStore, clock: Clock, retentionDays: number, reports: RetentionReports) {
    this.#store = store;
    this.#clock = clock;
    this.#retentionDays = retentionDays;
    this.#reports = reports;
    this.#startedAt = clock.now();
    this.#steadySince = clock.monotonic();
    this.#aheadMs = clock.now() - this.#steadySince;
    this.#dueAt = this.#steadySince + HOUR_MS;
  }

  start(): void {
    this.#isStarted = true;
    this.#arm();
  }

  /**
   * Prunes if the clock can be relied on and an hour has passed since any process did, or a minute since it failed here.
   * Resolves when that has ended; never throws.
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

  /** Stops after the piece that is being deleted. */
  async stop(): Promise<void> {
    const wasRunning = this.#isStarted && !this.#isStopping;
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.#running;
    // What can't be noted now was noted an hour ago at most.
    if (wasRunning) await this.#steadyMs().catch(() => undefined);
  }

  #arm(): void {
    if (!this.#isStarted || this.#isStopping) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.tick(), this.#dueAt - this.#clock.monotonic());
  }

  async #round(): Promise<void> {
    try {
      if ((await this.#steadyMs()) < DAY_MS) {
        this.#dueAt = this.#clock.monotonic() + HOUR_MS;
        return;
      }
      const waitMs = this.#hasClaim ? 0 : await this.#store.claimPruning(HOUR_MS);
      this.#hasClaim = waitMs === 0;
      if (this.#hasClaim) this.#hasClaim = !(await this.#prune());
      this.#dueAt = this.#clock.monotonic() + (this.#hasClaim ? MINUTE_MS : waitMs || HOUR_MS);
    } catch (error) {
      this.#dueAt = this.#clock.monotonic() + MINUTE_MS;
      this.#reports.onFailed(error);
    }
  }

  /** How long the wall clock has gone on without a jump. It is noted, for the process after this one. */
  async #steadyMs(): Promise<number> {
    if (!this.#hasAdopted) {
      const before = await this.#store.steadyClock();
      this.#hasAdopted = true;
      const pauseMs = before ? this.#startedAt - before.notedAt : Infinity;
      if (before && pauseMs >= 0 && pauseMs <= MAX_PAUSE_MS)
        this.#steadySince -= Math.max(0, before.notedAt - before.since);
    }
    const monotonic = this.#clock.monotonic();
    const now = this.#clock.now();
    const aheadMs = now - monotonic;
    if (Math.abs(aheadMs - this.#aheadMs) > MAX_CORRECTION_MS) this.#steadySince = monotonic;
    this.#aheadMs = aheadMs;
    const steadyMs = monotonic - this.#steadySince;
    await this.#store.noteSteadyClock({ since: Math.round(now - steadyMs), notedAt: now });
    return steadyMs;
  }

  /** Deletes what one round may; returns whether nothing is left to delete. */
  async #prune(): Promise<boolean> {
    const { record, onPruned, onBroken } = this.#reports;
    const before = this.#clock.now() - this.#retentionDays * DAY_MS;
    let entries = 0;
    let fault: ChainBreak | undefined;
    let isDone = false;
    try {
      for (let piece = 0; piece < MAX_PIECES && !isDone && !this.#isStopping; piece++, await nextTurn()) {
        const pruned = await this.#store.prune(before);
        entries += pruned.entries;
        ({ fault, isDone } = pruned);
      }
    } finally {
      if (entries > 0) {
        onPruned(entries, before);
        await record(prunedEntry(entries, before));
      }
    }
    if (fault) onBroken(fault);
    return isDone;
  }
}

function prunedEntry(entries: number, before: number): AuditEntry {
  const detail = { entries, before };
  return { ...SERVICE, action: "audit.pruned", app: "", outcome: "ok", tokenDigest: "", detail };
}
