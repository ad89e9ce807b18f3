import { beijingDay, type Clock } from "../clock.ts";
import type { Platform } from "../errors.ts";
import type { EventListener } from "../events.ts";
import { type Counted, PendingCounts } from "./audit-counts.ts";

const FLUSH_MS = 1000;

type UsageNames = readonly [platform: Platform, appId: string, endpoint: string, day: string];

/** How often one endpoint was called for one app on one day in Beijing. */
export interface Usage {
  readonly platform: Platform;
  readonly appId: string;
  readonly endpoint: string;
  readonly day: string;
  readonly calls: number;
}

/** Where the counts of all processes are added up. */
export interface UsageStore {
  /** Adds each count to what is there, in one transaction. */
  add(usages: readonly Usage[]): Promise<void>;
  /** What was counted for an app on a day. */
  ofApp(platform: Platform, appId: string, day: string): Promise<Usage[]>;
}

/**
 * Counts every upstream call per app, endpoint and day.
 *
 * The counts of the last second are in memory and lost by a crash: they are for people and for caution, not for
 * accounts that must balance.
 */
export class UsageCounter {
  readonly #store: UsageStore;
  readonly #clock: Clock;
  readonly #counts: PendingCounts<UsageNames>;
  #timer: Timer | undefined;

  constructor(store: UsageStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#counts = new PendingCounts({ write: (rows) => store.add(rows.map(toUsage)) });
  }

  /** Counts what was sent up, for this service and for others. */
  readonly listen: EventListener = (event) => {
    if (event.type !== "upstream.called" && event.type !== "gateway.sent") return;
    const { platform, appId, endpoint } = event;
    this.#counts.add([platform, appId, endpoint, beijingDay(this.#clock.now())]);
  };

  /** Begins to write down what is counted, every second. */
  start(): void {
    // What can't be written now is kept and written next time.
    this.#timer = setInterval(() => void this.flush().catch(() => undefined), FLUSH_MS);
  }

  /** Writes down the rest and ends. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush().catch(() => undefined);
  }

  /** Writes down what was counted since the last call. What could not be written is kept for the next. */
  flush(): Promise<void> {
    this.#counts.forget();
    return this.#counts.flush();
  }

  /** What was counted today for an app, by endpoint, what is not written down yet included. */
  async today(platform: Platform, appId: string): Promise<Map<string, number>> {
    const day = beijingDay(this.#clock.now());
    const pending = this.#counts
      .pending()
      .map(toUsage)
      .filter((usage) => usage.platform === platform && usage.appId === appId && usage.day === day);
    const calls = new Map<string, number>();
    for (const usage of [...(await this.#store.ofApp(platform, appId, day)), ...pending]) {
      calls.set(usage.endpoint, (calls.get(usage.endpoint) ?? 0) + usage.calls);
    }
    return calls;
  }
}

function toUsage({ names: [platform, appId, endpoint, day], count: calls }: Counted<UsageNames>): Usage {
  return { platform, appId, endpoint, day, calls };
}
