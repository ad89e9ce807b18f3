import type { Clock } from "../clock.ts";
import type { AuditStore, ReadCount, RefusalCount } from "./audit-store.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** How many different refusals a minute are told apart, over all processes. */
const MAX_REFUSALS = 1000;
/** Of these, so many are left for the sums, of which there is one for each code. */
const SUMS = 20;
/** How many rows of each kind wait at most while nothing can be written. */
const MAX_WAITING = 10_000;

type ReadNames = readonly [minute: number, client: string, environment: string, action: string, app: string];
type RefusalNames = readonly [minute: number, address: string, client: string, route: string, code: number];

/** Who is refused and what for. */
export interface Refusal {
  readonly address: string;
  /** Empty when nobody was recognised. */
  readonly client: string;
  /** The route's pattern. */
  readonly route: string;
  /** As in the envelope. */
  readonly code: number;
}

/**
 * What is too frequent to be written one by one: counted in memory per minute, and written down by `flush`.
 *
 * Anybody can be refused under any number of addresses, so what is refused is told apart up to 1,000 rows a minute, and
 * the rest is summed. Reads need no such bound: who may read is known.
 */
export class AuditCounts {
  readonly #clock: Clock;
  readonly #reads: PendingCounts<ReadNames>;
  readonly #refusals: PendingCounts<RefusalNames>;
  readonly #refusalsMost: number;
  #minute = 0;

  /** `workers` is among how many processes the refusals' bound is divided. */
  constructor(store: Pick<AuditStore, "addReads" | "addRefusals">, clock: Clock, workers: number) {
    this.#clock = clock;
    this.#refusalsMost = Math.floor((MAX_REFUSALS - SUMS) / workers);
    this.#reads = new PendingCounts<ReadNames>({
      write: (rows) => store.addReads(rows.map(toRead)),
      waitingMost: MAX_WAITING,
      folds: [
        ([minute, client, environment, action]) => [minute, client, environment, action, "*"],
        ([minute, , , action]) => [minute, "*", "", action, "*"],
        ([minute, , , action]) => [startOf(minute, DAY_MS), "*", "", action, "*"],
      ],
    });
    this.#refusals = new PendingCounts<RefusalNames>({
      write: (rows) => store.addRefusals(rows.map(toRefusal)),
      waitingMost: MAX_WAITING,
      folds: [
        ([minute, , , , code]) => sumOf(minute, code),
        ([minute, , , , code]) => sumOf(startOf(minute, DAY_MS), code),
      ],
    });
  }

  countRead(client: string, environment: string, action: string, app: string): void {
    this.#reads.add([this.#thisMinute(), client, environment, action, app]);
  }

  countRefusal({ address, client, route, code }: Refusal): void {
    const minute = this.#thisMinute();
    const names: RefusalNames = [minute, address, client, route, code];
    const isToldApart = this.#refusals.size < this.#refusalsMost || this.#refusals.has(names);
    this.#refusals.add(isToldApart ? names : sumOf(minute, code));
  }

  /** Writes down what was counted. What can't be written is kept for the next time. Throws the first failure. */
  async flush(): Promise<void> {
    const [reads, refusals] = await Promise.allSettled([this.#reads.flush(), this.#refusals.flush()]);
    for (const result of [reads, refusals]) if (result.status === "rejected") throw result.reason;
  }

  #thisMinute(): number {
    const minute = startOf(this.#clock.now(), MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#reads.forget();
      this.#refusals.forget();
    }
    return minute;
  }
}

function startOf(instant: number, lengthMs: number): number {
  return instant - (instant % lengthMs);
}

function sumOf(minute: number, code: number): RefusalNames {
  return [minute, "*", "", "*", code];
}

function toRead({ names, count }: Counted<ReadNames>): ReadCount {
  const [minute, client, environment, action, app] = names;
  return { minute, client, environment, action, app, count };
}

function toRefusal({ names, count }: Counted<RefusalNames>): RefusalCount {
  const [minute, address, client, route, code] = names;
  return { minute, address, client, route, code, count };
}

/** What a number is counted for, from the general to the particular. */
type Names = readonly (string | number)[];

/** How often something was counted. */
export interface Counted<N extends Names> {
  readonly names: N;
  readonly count: number;
}

/** How many rows are written at once: enough to be cheap, few enough that nobody waits for them. */
const PIECE = 500;

/** Where counts go, and what becomes of them when they can't go there. */
export interface PendingCountsOptions<N extends Names> {
  /** Adds each count to what is there. */
  readonly write: (rows: readonly Counted<N>[]) => Promise<void>;
  /** How many rows may wait when they can't be written; default any number. */
  readonly waitingMost?: number;
  /** Names that more rows have in common, used one after the other while too many rows wait. */
  readonly folds?: readonly ((names: N) => N)[];
}

/**
 * Counts in memory, written down from time to time.
 *
 * Counting is a walk along the names, which joins no strings. What can't be written is kept and written next time.
 */
export class PendingCounts<N extends Names> {
  readonly #options: PendingCountsOptions<N>;
  readonly #counting = new CountTree<N>();
  /** What could not be written. */
  readonly #waiting = new CountTree<N>();

  constructor(options: PendingCountsOptions<N>) {
    this.#options = options;
  }

  /** How many different names were counted since `forget`. */
  get size(): number {
    return this.#counting.size;
  }

  /** Whether these names were counted since `forget`. */
  has(names: N): boolean {
    return this.#counting.has(names);
  }

  add(names: N): void {
    this.#counting.add(names, 1);
  }

  /** Forgets which names were counted; what is not written down yet still will be. */
  forget(): void {
    this.#counting.forget();
  }

  /** What is not written down yet; the same names may come more than once. */
  pending(): Counted<N>[] {
    return [...this.#waiting.pending(), ...this.#counting.pending()];
  }

  /** Writes down what was counted since the last call. What could not be written is kept for the next. */
  async flush(): Promise<void> {
    this.#keep(this.#counting.take());
    const rows = this.#waiting.take();
    this.#waiting.forget();
    let written = 0;
    try {
      for (; written < rows.length; written += PIECE) {
        await this.#options.write(rows.slice(written, written + PIECE));
      }
    } catch (error) {
      this.#keep(rows.slice(written));
      this.#fold();
      throw error;
    }
  }

  #keep(rows: readonly Counted<N>[]): void {
    for (const { names, count } of rows) this.#waiting.add(names, count);
  }

  #fold(): void {
    const { waitingMost = Infinity, folds = [] } = this.#options;
    for (const fold of folds) {
      if (this.#waiting.size <= waitingMost) return;
      const rows = this.#waiting.take();
      this.#waiting.forget();
      this.#keep(rows.map(({ names, count }) => ({ names: fold(names), count })));
    }
  }
}

interface Cell<N extends Names> {
  readonly names: N;
  count: number;
}

interface Branch<N extends Names> {
  readonly children: Map<string | number, Branch<N>>;
  cell: Cell<N> | undefined;
}

class CountTree<N extends Names> {
  #root: Branch<N> = { children: new Map(), cell: undefined };
  #size = 0;
  /** The cells that were counted in since `take`. */
  #counted: Cell<N>[] = [];

  get size(): number {
    return this.#size;
  }

  has(names: N): boolean {
    let branch: Branch<N> | undefined = this.#root;
    for (const name of names) branch = branch?.children.get(name);
    return branch?.cell !== undefined;
  }

  add(names: N, count: number): void {
    let branch = this.#root;
    for (const name of names) {
      let next = branch.children.get(name);
      if (!next) {
        next = { children: new Map(), cell: undefined };
        branch.children.set(name, next);
      }
      branch = next;
    }
    if (!branch.cell) {
      branch.cell = { names, count: 0 };
      this.#size += 1;
    }
    if (branch.cell.count === 0) this.#counted.push(branch.cell);
    branch.cell.count += count;
  }

  pending(): Counted<N>[] {
    return this.#counted.map(({ names, count }) => ({ names, count }));
  }

  /** What was counted since the last call. */
  take(): Counted<N>[] {
    const rows = this.pending();
    for (const cell of this.#counted) cell.count = 0;
    this.#counted = [];
    return rows;
  }

  forget(): void {
    this.#root = { children: new Map(), cell: undefined };
    this.#size = 0;
  }
}
