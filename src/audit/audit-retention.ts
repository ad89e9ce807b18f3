import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../clock.ts";
import { type AuditEntry, SERVICE } from "./audit-entry.ts";
import type { AuditFault, AuditStore } from "./audit-store.ts";

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
  readonly onBroken: (fault: AuditFault) => void;
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
    let fault: AuditFault | undefined;
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
