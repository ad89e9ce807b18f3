import { STORE_FAILURES } from "../events.ts";
import { type Counter, type EventHandlers, type Gauge, type MetricRegistry } from "./metrics.ts";
import type { MilestoneStore } from "./milestones.ts";

const QUERY_BOUNDS = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const CHANGE_BOUNDS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 1.2, 2.5, 5, 10];

/** What the metrics of the database need beside the events. Each is called at each snapshot. */
export interface StoreMetricsParts {
  /** How many processes share the database, and how this one is tied to them. */
  readonly cluster: () => {
    readonly nodes: number;
    /** By how much the database's clock is ahead of this machine's. */
    readonly offsetMs: number;
    /** Whether notifications of changes arrive; undefined where there are none. */
    readonly isListening: boolean | undefined;
  };
  /** The id of the audit's last entry; 0 before the first. */
  readonly lastAuditId: () => Promise<number>;
  readonly milestones: Pick<MilestoneStore, "list">;
  /** Whether the service makes backups by itself. */
  readonly makesBackups: boolean;
}

/** Measures the database, the other processes on it and the audit in it. */
export class StoreMetrics {
  readonly #parts: StoreMetricsParts;
  readonly #nodes: Gauge;
  readonly #offsetSeconds: Gauge;
  readonly #listenUp: Gauge;
  readonly #auditEntries: Counter;
  readonly #verifiedAt: Gauge;
  readonly #backedUpAt: Gauge;
  readonly #backupBytes: Gauge;
  /** What is counted of each event. */
  readonly handlers: EventHandlers;

  constructor(registry: MetricRegistry, parts: StoreMetricsParts) {
    this.#parts = parts;
    const gauge = (name: string, help: string, merge: "max" | "worker") =>
      registry.gauge({ name: `accesstoken_${name}`, help, merge });
    this.#nodes = gauge(
      "nodes",
      "Processes that share the database and were seen in the last 10 s, this one included.",
      "max",
    );
    this.#offsetSeconds = gauge(
      "store_clock_offset_seconds",
      "By how much the clock of PostgreSQL is ahead of this machine's.",
      "worker",
    );
    this.#listenUp = gauge(
      "listen_up",
      "1 while notifications of PostgreSQL arrive, 0 while changes are looked for every 250 ms.",
      "worker",
    );
    this.#auditEntries = registry.counter({
      name: "accesstoken_audit_entries_total",
      help: "Entries of the audit that were ever written, by all processes.",
      merge: "max",
    });
    this.#verifiedAt = gauge(
      "audit_last_verified_timestamp_seconds",
      "When the audit's chain was last verified and found intact, in seconds since 1970; 0 for never.",
      "max",
    );
    this.#verifiedAt.set(0);
    this.#backedUpAt = gauge(
      "backup_last_success_timestamp_seconds",
      "When the database was last backed up, in seconds since 1970; 0 for never. Missing where nobody makes backups.",
      "max",
    );
    this.#backupBytes = gauge("backup_bytes", "The size of the last backup.", "max");
    this.handlers = handlersOf(registry);
  }

  /** Reads what is not counted as it happens. What the store can't read is left as it was. */
  async read(): Promise<void> {
    const { cluster, lastAuditId, milestones } = this.#parts;
    const { nodes, offsetMs, isListening } = cluster();
    this.#nodes.set(nodes);
    if (isListening !== undefined) {
      this.#offsetSeconds.set(offsetMs / 1000);
      this.#listenUp.set(isListening ? 1 : 0);
    }
    const last = await lastAuditId().catch(() => undefined);
    if (last !== undefined) this.#auditEntries.series().value = last;
    const reached = await milestones.list().catch(() => undefined);
    if (!reached) return;
    this.#verifiedAt.set((reached.get("audit_verified")?.at ?? 0) / 1000);
    const backup = reached.get("backup");
    if (!backup && !this.#parts.makesBackups) return;
    this.#backedUpAt.set((backup?.at ?? 0) / 1000);
    this.#backupBytes.set(Number(backup?.detail["bytes"] ?? 0));
  }
}

function handlersOf(registry: MetricRegistry): EventHandlers {
  const storeSeconds = registry.histogram({
    name: "accesstoken_store_duration_seconds",
    help: "Time that queries of the database took, transactions that write as a whole.",
    labelNames: ["operation"],
    bounds: QUERY_BOUNDS,
  });
  for (const operation of ["read", "write"] as const) storeSeconds.series(operation);
  const storeErrors = registry.counter({
    name: "accesstoken_store_errors_total",
    help: "Queries that the database failed, by what was in the way.",
    labelNames: ["code"],
  });
  storeErrors.show([], STORE_FAILURES);
  const changeSeconds = registry.histogram({
    name: "accesstoken_change_delay_seconds",
    help: "Time from a change on another machine until this process knew of it.",
    bounds: CHANGE_BOUNDS,
  });
  changeSeconds.series();
  const auditFailures = registry.counter({
    name: "accesstoken_audit_failures_total",
    help: "Writes to the audit that failed.",
  });
  const auditBreaks = registry.counter({
    name: "accesstoken_audit_breaks_total",
    help: "Times that the audit's chain was found broken.",
  });
  return {
    "store.queried": ({ operation, durationMs, failure }) => {
      storeSeconds.observe(durationMs / 1000, operation);
      if (failure) storeErrors.increase(failure);
    },
    "change.seen": ({ delayMs }) => changeSeconds.observe(delayMs / 1000),
    "audit.failed": () => auditFailures.increase(),
    "audit.broken": () => auditBreaks.increase(),
  };
}
