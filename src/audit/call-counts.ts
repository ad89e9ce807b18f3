import { beijingDay, type Clock, hourOf } from "../clock.ts";
import type { Platform } from "../errors.ts";
import { FlushTimer, OTHER } from "./audit-counts.ts";

/** So many counts are stored in one transaction: a statement has a limit of values. */
const PIECE = 500;

/** How often one endpoint was called for one app on one day in Beijing. */
export interface CallCount {
  readonly platform: Platform;
  /** `(other)` for all that we don't hold. */
  readonly appId: string;
  readonly endpoint: string;
  readonly day: string;
  readonly calls: number;
}

/** The same of one hour of that day. */
export interface HourOfCalls extends CallCount {
  /** Epoch milliseconds at which it began. */
  readonly hour: number;
}

/** A piece of something long, and behind what the next one begins; undefined at the end. */
export interface Piece<Item> {
  readonly items: readonly Item[];
  readonly next: string | undefined;
}

/** Where the counts of all processes are added up. */
export interface CallCountStore {
  /** Adds the counts, to what is counted of the app by the hour too, in one transaction. Gives up early while the store is busy. */
  add(counts: readonly HourOfCalls[]): Promise<void>;
  /** Those of a day for apps, of either platform, with these ids; one statement. */
  ofApps(appIds: readonly string[], day: string): Promise<CallCount[]>;
  /** At most `limit` of all of a day, behind `after`. */
  pageOfDay(day: string, after: string | undefined, limit: number): Promise<Piece<CallCount>>;
}

/**
 * Counts every upstream call per app, endpoint and day. Apps that we don't hold are summed: a caller can make up any
 * number of them.
 *
 * A crash loses those of the last second: the counts inform operators and the pacer, and need not be exact.
 */
export class CallCounter {
  readonly #store: Pick<CallCountStore, "add" | "ofApps">;
  readonly #clock: Clock;
  readonly #isHeld: (platform: Platform, appId: string) => boolean;
  /** What is not stored yet. */
  readonly #pending = new Map<string, HourOfCalls>();
  readonly #timer = new FlushTimer(
    // What can't be written now is kept and written next time.
    () => this.#write().catch(() => undefined),
    () => this.#pending.size > 0,
  );

  /** `isHeld` says whether we hold an app of that AppID or CorpID. */
  constructor(
    store: Pick<CallCountStore, "add" | "ofApps">,
    clock: Clock,
    isHeld: (platform: Platform, appId: string) => boolean = () => true,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#isHeld = isHeld;
  }

  /** Counts one call that was sent upstream for an app. */
  count(platform: Platform, appId: string, endpoint: string): void {
    const name = this.#isHeld(platform, appId) ? appId : OTHER;
    const now = this.#clock.now();
    this.#add({ platform, appId: name, endpoint, day: beijingDay(now), hour: hourOf(now), calls: 1 });
    this.#timer.arm();
  }

  /** Stores what was counted before. What can't be written is kept for the next time. */
  flush(): Promise<void> {
    return this.#timer.flush();
  }

  /** Stores the rest and stops. Called again, it stores what was counted meanwhile. */
  stop(): Promise<void> {
    return this.#timer.stop();
  }

  /** Today's calls for an app, by endpoint, those not stored yet included; none for one that we don't hold. */
  async today(platform: Platform, appId: string): Promise<Map<string, number>> {
    const [calls] = await this.ofToday([{ platform, appId }]);
    return calls ?? new Map<string, number>();
  }

  /** The same for each of these apps. */
  async ofToday(
    apps: readonly { readonly platform: Platform; readonly appId: string }[],
  ): Promise<Map<string, number>[]> {
    const day = beijingDay(this.#clock.now());
    const written = await this.#store.ofApps([...new Set(apps.map(({ appId }) => appId))], day);
    const all = [...written, ...[...this.#pending.values()].filter((each) => each.day === day)];
    const byApp = Map.groupBy(all, ({ platform, appId }) => `${platform}:${appId}`);
    return apps.map(({ platform, appId }) => {
      const calls = new Map<string, number>();
      for (const { endpoint, calls: more } of byApp.get(`${platform}:${appId}`) ?? [])
        calls.set(endpoint, (calls.get(endpoint) ?? 0) + more);
      return calls;
    });
  }

  #add(count: HourOfCalls): void {
    const key = [count.platform, count.appId, count.hour, count.endpoint].join(" ");
    const before = this.#pending.get(key)?.calls ?? 0;
    this.#pending.set(key, { ...count, calls: before + count.calls });
  }

  async #write(): Promise<void> {
    const all = [...this.#pending.keys()];
    for (let start = 0; start < all.length; start += PIECE) {
      const keys = all.slice(start, start + PIECE);
      const counts = keys.flatMap((key) => this.#pending.get(key) ?? []);
      for (const key of keys) this.#pending.delete(key);
      try {
        await this.#store.add(counts);
      } catch (error) {
        for (const count of counts) this.#add(count);
        throw error;
      }
    }
  }
}
