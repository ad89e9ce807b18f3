import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus, EventListener } from "../events.ts";
import { AuditCounts, type Refusal } from "./audit-counts.ts";
import { type AuditEntry, auditFailure, isAuditFailure, SERVICE } from "./audit-entry.ts";
import type { ChainBreak, AuditStore } from "./audit-store.ts";
import { setImmediate as nextTurn } from "node:timers/promises";

const TICK_MS = 1000;
/** How long a look at whether the audit can be written is believed. */
const BELIEVED_MS = 1000;
const UNWRITABLE =
  "审计无法写入，变更操作将被拒绝，读取不受影响 (the audit can't be written: nothing can be changed, reads go on)";

/** What the trail works with. */
export interface AuditTrailParts {
  readonly store: AuditStore;
  readonly clock: Clock;
  readonly events: EventBus;
  /** How many processes there are, this one included. */
  readonly workers: number;
  readonly retentionDays: number;
  /** Whether this process drops what is too old. One is enough. */
  readonly prunes: boolean;
}

/**
 * Writes down who did what, for the whole service, and knows whether that works.
 *
 * What changes something is written one by one, and is not done when it can't be written. Reads and refusals are
 * counted; those of the last second are in memory and lost by a crash.
 */
export class AuditTrail {
  readonly #parts: AuditTrailParts;
  readonly #counts: AuditCounts;
  readonly #retention: AuditRetention;
  #fault: string | undefined;
  /** By the monotonic clock. */
  #lookAgainAt = 0;
  #looking: Promise<void> | undefined;
  #flushing: Promise<void> | undefined;
  #timer: Timer | undefined;

  constructor(parts: AuditTrailParts) {
    const { store, clock, events, retentionDays } = parts;
    this.#parts = parts;
    this.#counts = new AuditCounts(store, clock, parts.workers);
    this.#retention = new AuditRetention({
      store,
      clock,
      retentionDays,
      record: (entry) => this.record(entry),
      onFailed: (error) => this.#tell(error),
      onBroken: ({ id }) => events.emit({ type: "audit.broken", id }),
    });
  }

  /** Notes that an entry could not be written, in whosever transaction it was. Bound, so that it can be subscribed. */
  readonly listen: EventListener = ({ type }) => {
    if (type !== "audit.failed") return;
    this.#fault ??= UNWRITABLE;
    this.#lookAgainAt = this.#parts.clock.monotonic() + BELIEVED_MS;
  };

  /**
   * Writes an entry; it is on the disk when this resolves. Call it before what it is about is done.
   *
   * @throws {ServiceError} `unavailable` when it can't be written: then what it is about must not be done.
   */
  async record(entry: AuditEntry): Promise<void> {
    try {
      await this.#parts.store.append(entry);
    } catch (error) {
      // The store itself has told of an entry that was refused.
      if (isAuditFailure(error)) throw error;
      this.#parts.events.emit({ type: "audit.failed", code: codeOf(error) });
      throw auditFailure(error);
    }
  }

  /** Counts that a client did what a grant's `action` allows, on the app of that public name. */
  countRead(
    { client, environment }: { readonly client: string; readonly environment: string },
    action: string,
    app: string,
  ): void {
    this.#counts.countRead(client, environment, action, app);
  }

  /** Counts that somebody was refused. */
  countRefusal(refusal: Refusal): void {
    this.#counts.countRefusal(refusal);
  }

  /**
   * Why the audit can't be written now, for a person; undefined when it can.
   *
   * After a failure it is tried again, at most once a second, when somebody asks here. Never throws.
   */
  async fault(): Promise<string | undefined> {
    if (this.#fault === undefined) return undefined;
    if (this.#parts.clock.monotonic() >= this.#lookAgainAt) this.#looking ??= this.#look();
    await this.#looking;
    return this.#fault;
  }

  /** Begins to write down what is counted, every second, and to drop what is too old, every hour. */
  start(): void {
    this.#timer = setInterval(() => void this.tick(), TICK_MS);
  }

  /** Does now what is done every second. Never throws. */
  async tick(): Promise<void> {
    await Promise.all([this.#flush(), this.#parts.prunes ? this.#retention.tick() : undefined]);
  }

  /** Writes down the rest and ends. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#retention.stop();
    // What was counted while another flush was under way is not in it.
    await this.#flushing;
    await this.#flush();
  }

  async #look(): Promise<void> {
    this.#lookAgainAt = this.#parts.clock.monotonic() + BELIEVED_MS;
    try {
      await this.#parts.store.probe();
      this.#fault = undefined;
    } catch (error) {
      this.#fault = error instanceof ServiceError ? `${UNWRITABLE}：${error.message}` : UNWRITABLE;
    } finally {
      this.#looking = undefined;
    }
  }

  async #flush(): Promise<void> {
    this.#flushing ??= this.#counts
      .flush()
      .catch((error: unknown) => this.#tell(error))
      .finally(() => (this.#flushing = undefined));
    await this.#flushing;
  }

  /** Tells of what failed in the background, unless it was told already or the database is locked just now. */
  #tell(error: unknown): void {
    const code = codeOf(error);
    if (code !== "unavailable") this.#parts.events.emit({ type: "audit.failed", code });
  }
}

function codeOf(error: unknown) {
  return error instanceof ServiceError ? error.code : "internal";
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** What pruning works with. */
export interface AuditRetentionParts {
  readonly store: Pick<AuditStore, "prune">;
  readonly clock: Clock;
  readonly retentionDays: number;
  /** Writes down how many entries were dropped. */
  readonly record: (entry: AuditEntry) => Promise<void>;
  /** Called when the store failed. */
  readonly onFailed: (error: unknown) => void;
  /** Called when entries can't be dropped, because they do not fit the chain. */
  readonly onBroken: (fault: ChainBreak) => void;
}

/** Drops what is older than the audit is kept for. */
export class AuditRetention {
  readonly #parts: AuditRetentionParts;
  /** By the monotonic clock. */
  #dueAt = -Infinity;
  #running: Promise<void> | undefined;
  #isStopping = false;

  constructor(parts: AuditRetentionParts) {
    this.#parts = parts;
  }

  /**
   * Prunes at the first call, and when an hour has passed since, or a minute since it failed. Resolves when nothing is
   * pruned any more; never throws.
   */
  async tick(): Promise<void> {
    const { clock } = this.#parts;
    if (!this.#running && !this.#isStopping && clock.monotonic() >= this.#dueAt) {
      this.#dueAt = clock.monotonic() + HOUR_MS;
      this.#running = this.#prune().catch((error: unknown) => this.#failed(error));
      void this.#running.finally(() => (this.#running = undefined));
    }
    await this.#running;
  }

  /** Ends after the piece that is being dropped. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  #failed(error: unknown): void {
    const { clock, onFailed } = this.#parts;
    this.#dueAt = clock.monotonic() + MINUTE_MS;
    onFailed(error);
  }

  async #prune(): Promise<void> {
    const { store, clock, retentionDays, record, onBroken } = this.#parts;
    const before = clock.now() - retentionDays * DAY_MS;
    let entries = 0;
    let fault: ChainBreak | undefined;
    try {
      for (let isDone = false; !isDone && !this.#isStopping; await nextTurn()) {
        const piece = await store.prune(before);
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
