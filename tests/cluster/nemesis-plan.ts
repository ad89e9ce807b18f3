import { randomFrom } from "../faults/fault-case.ts";

/** What goes wrong with one node: for how long, except a clock that is set and stays so. */
type NodeFault = "kill" | "stop" | "cut" | "halt" | "skew";

/** One fault of a node, or one restart of the database. Milliseconds from the beginning. */
export interface PlannedFault {
  readonly atMs: number;
  readonly forMs: number;
  readonly kind: NodeFault | "crash" | "shutdown";
  /** To what a clock is set, as faketime has it. */
  readonly offset: string;
}

/** What an app's token or a key meets. `disable` ends with the app enabled again. */
export type ChangeKind = "clear" | "replace" | "secret" | "disable" | "revoke";

/** One change, asked of one node. */
export interface PlannedChange {
  readonly atMs: number;
  readonly kind: ChangeKind;
  readonly node: number;
  /** How long an app stays disabled. */
  readonly forMs: number;
}

/** How large a run is. */
export interface PlanSize {
  readonly ms: number;
  readonly nodes: number;
  readonly apps: number;
}

/** Everything that a run does, but not what comes of it. */
export interface Plan extends PlanSize {
  readonly seed: number;
  readonly mode: "stable" | "classic";
  /** Of each node, one after the other. */
  readonly faults: readonly (readonly PlannedFault[])[];
  readonly restarts: readonly PlannedFault[];
  /** Of each app, one after the other. */
  readonly changes: readonly (readonly PlannedChange[])[];
  /** Each of a key of its own. */
  readonly revocations: readonly PlannedChange[];
}

/** How long each fault lasts at least and at most, in milliseconds: shorter and longer than leases and than `CUT_OFF_MS`. */
const LASTS: Readonly<Record<PlannedFault["kind"], readonly [least: number, most: number]>> = {
  kill: [0, 3000],
  stop: [200, 14_000],
  cut: [300, 11_000],
  halt: [300, 11_000],
  skew: [0, 0],
  crash: [100, 3000],
  shutdown: [100, 3000],
};
const NODE_FAULTS: readonly NodeFault[] = ["kill", "stop", "cut", "halt", "skew"];
const OFFSETS = ["-60s", "-20s", "+0", "+20s", "+60s"];
const KINDS_OF_CHANGE: readonly ChangeKind[] = ["clear", "clear", "replace", "replace", "secret", "disable"];

/** A token may be cleared, and a complaint about it checked, once in ten seconds. */
const CHANGE_EVERY_MS = [10_500, 14_000] as const;
const REVOKE_EVERY_MS = [2000, 5000] as const;
const FAULT_EVERY_MS = [1000, 6000] as const;
const RESTART_EVERY_MS = [10_000, 30_000] as const;
/** So long after the end of a run all faults are over. */
const AFTER_MS = 1000;
const DISABLED_MS = [1500, 5000] as const;

/** The plan of a seed: always the same for the same seed and size. */
export function planOf(seed: number, size: PlanSize): Plan {
  const random = randomFrom(seed);
  const between = ([least, most]: readonly [number, number]) => Math.round(least + random() * (most - least));
  const oneOf = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!;
  const indices = (count: number) => Array.from({ length: count }, (_, n) => n);
  const fault = (kinds: readonly PlannedFault["kind"][], atMs: number): PlannedFault => {
    const kind = oneOf(kinds);
    const forMs = Math.min(between(LASTS[kind]), size.ms + AFTER_MS - atMs);
    return { atMs, kind, forMs, offset: kind === "skew" ? oneOf(OFFSETS) : "+0" };
  };
  /** What follows each other with pauses in between, until there is no time left. */
  const row = <T extends { readonly forMs: number }>(
    pause: readonly [number, number],
    next: (atMs: number) => T,
    firstMs = between([500, pause[1]]),
  ): T[] => {
    const all: T[] = [];
    for (let atMs = firstMs; atMs < size.ms;) {
      const each = next(atMs);
      all.push(each);
      atMs += each.forMs + between(pause);
    }
    return all;
  };
  const change = (kinds: readonly ChangeKind[]) => (atMs: number) => {
    const kind = oneOf(kinds);
    const forMs = kind === "disable" ? between(DISABLED_MS) : 0;
    return { atMs, kind, node: Math.floor(random() * size.nodes), forMs };
  };
  return {
    ...size,
    seed,
    mode: oneOf(["stable", "classic"] as const),
    faults: indices(size.nodes).map(() => row(FAULT_EVERY_MS, (atMs) => fault(NODE_FAULTS, atMs))),
    restarts: row(RESTART_EVERY_MS, (atMs) => fault(["crash", "shutdown"], atMs)),
    changes: indices(size.apps).map(() => row(CHANGE_EVERY_MS, change(KINDS_OF_CHANGE))),
    revocations: row(REVOKE_EVERY_MS, change(["revoke"])),
  };
}

/** The AppIDs of a plan. */
export function namesOf({ apps }: PlanSize): string[] {
  return Array.from({ length: apps }, (_, n) => `wx${String(n).padStart(16, "0")}`);
}
