import type { Clock } from "../clock.ts";
import type { AuditStore, ReadCount, RefusalCount } from "./audit-store.ts";
import { type Counted, PendingCounts } from "./pending-counts.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** How many different refusals a minute are told apart, over all processes. */
const REFUSALS_MOST = 1000;
/** Of these, so many are left for the sums, of which there is one for each code. */
const SUMS = 20;
/** How many rows of each kind wait at most while nothing can be written. */
const WAITING_MOST = 10_000;

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
    this.#refusalsMost = Math.floor((REFUSALS_MOST - SUMS) / workers);
    this.#reads = new PendingCounts<ReadNames>({
      write: (rows) => store.addReads(rows.map(toRead)),
      waitingMost: WAITING_MOST,
      folds: [
        ([minute, client, environment, action]) => [minute, client, environment, action, "*"],
        ([minute, , , action]) => [minute, "*", "", action, "*"],
        ([minute, , , action]) => [startOf(minute, DAY_MS), "*", "", action, "*"],
      ],
    });
    this.#refusals = new PendingCounts<RefusalNames>({
      write: (rows) => store.addRefusals(rows.map(toRefusal)),
      waitingMost: WAITING_MOST,
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
