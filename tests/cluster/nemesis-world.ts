import type { Call, Change, Fault, HistoryEvent, Probe, Read, Saved, Stall } from "./nemesis-history.ts";

/** What the service promises, and what a run has set; milliseconds. */
export interface Promises {
  /** In which a change is seen by every node that reaches the database. */
  readonly seenMs: number;
  /** For how long a node that does not reach it hands out what it had. */
  readonly cutOffMs: number;
  /** In which such a node says that it is not ready. */
  readonly notReadyMs: number;
}

/** How long after the end of a fault a node is one that reaches the database again. */
const RECOVERY_MS: Readonly<Record<Fault["kind"], number>> = {
  kill: 0,
  stop: 0,
  skew: 0,
  cut: 2000,
  halt: 2000,
  crash: 5000,
  shutdown: 5000,
};

/** The events of a run by type, in order, and what each node could know when. */
export class World {
  readonly promises: Promises;
  readonly reads: readonly Read[];
  readonly changes: readonly Change[];
  readonly calls: readonly Call[];
  readonly faults: readonly Fault[];
  readonly probes: readonly Probe[];
  readonly saved: readonly Saved[];
  readonly #stalls: readonly Stall[];
  readonly #known = new Map<string, number>();

  constructor(history: readonly HistoryEvent[], promises: Promises) {
    const of = <T extends HistoryEvent>(type: T["type"]) =>
      history.filter((event): event is T => event.type === type);
    const inOrder = <T extends { readonly from: number }>(events: readonly T[]) =>
      events.toSorted((a, b) => a.from - b.from);
    this.promises = promises;
    this.reads = inOrder(of<Read>("read"));
    this.changes = inOrder(of<Change>("change"));
    this.calls = inOrder(of<Call>("call"));
    this.faults = inOrder(of<Fault>("fault"));
    this.probes = inOrder(of<Probe>("probe"));
    this.saved = of<Saved>("saved");
    this.#stalls = of<Stall>("stall");
  }

  /** Until when a fault keeps a node from what it would do otherwise. */
  overAt({ kind, to }: Fault): number {
    return to + RECOVERY_MS[kind];
  }

  /** The faults that keep a node from the database, or from answering. */
  faultsOf(node: number): Fault[] {
    return this.faults.filter((fault) => (fault.node ?? node) === node && fault.kind !== "skew");
  }

  /** From when on a question to a node must be answered with what was acknowledged at `at`. */
  knownAt(node: number, at: number): number {
    const key = `${node} ${at}`;
    let known = this.#known.get(key);
    if (known === undefined) this.#known.set(key, (known = this.#firstKnown(node, at)));
    return known;
  }

  /** How long this machine stood still between two moments: so much later everything may be. */
  stalledMs(from: number, to: number): number {
    let ms = 0;
    for (const stall of this.#stalls)
      if (stall.from < to && stall.to > from) ms += stall.to - Math.max(from, stall.from);
    return ms;
  }

  #firstKnown(node: number, at: number): number {
    let since = at;
    for (let isMoved = true; isMoved;) {
      isMoved = false;
      const until = since + this.promises.seenMs;
      for (const fault of this.faultsOf(node)) {
        const over = this.overAt(fault);
        if (fault.from >= until || over <= since) continue;
        since = over;
        isMoved = true;
      }
    }
    const until = since + this.promises.seenMs;
    return until + this.stalledMs(at, until);
  }
}
