import { appName, type SlotName } from "../apps/app.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import { type Clock, hourOf, startOfBeijingDay } from "../clock.ts";
import { Semaphore } from "../access/semaphore.ts";
import { ServiceError } from "../errors.ts";
import { type HourlyCount, type RefreshAttempt, type RefreshLogStore } from "./refresh-log.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How many points a series has at most, and how many attempts are shown. */
export const MAX_POINTS = 1500;
export const MAX_ATTEMPTS = 200;
/** To find callers, each minute of every app is looked through: so many days are the most. */
export const CALLERS_DAYS = 7;

/** What was found is good for so many times what it took to find. */
const PAUSES = 20;
const MAX_SCANS = 100;

/** How far apart the points of a series are. A day is one of Beijing, as WeChat's quotas count. */
type HistoryStep = "hour" | "day";

/** Which history; epoch milliseconds. */
export interface HistoryRequest {
  /** Default: a day before `to`. */
  readonly from?: number | undefined;
  /** Default: now. */
  readonly to?: number | undefined;
  /** Default: by the hour, and by the day where that would be too many points. */
  readonly step?: HistoryStep | undefined;
  /** Whether who used the app is looked up; default true. */
  readonly hasCallers?: boolean;
}

/** What happened to an app in a period. */
export interface History {
  /** When the first step begins. */
  readonly from: number;
  readonly to: number;
  readonly step: HistoryStep;
  /** Of each step in which something happened, when it began and how often that was; the oldest first. */
  readonly series: Readonly<Record<HourlyCount["series"], readonly (readonly [number, number])[]>>;
  /** Who used the app in the last days of the period, most often first. */
  readonly callers: readonly {
    readonly client: string;
    readonly environment: string;
    readonly uses: number;
  }[];
  /** The newest attempts to obtain a credential, newest first. */
  readonly attempts: readonly RefreshAttempt[];
}

/** What an `AppHistory` is read from. */
export interface AppHistoryParts {
  readonly log: Pick<RefreshLogStore, "list" | "listHours">;
  readonly auditStore: Pick<AuditStore, "sumUsage">;
  readonly clock: Clock;
}

/** Looks up what happened to an app: what was refreshed and failed, and who used it. */
export class AppHistory {
  readonly #parts: AppHistoryParts;
  readonly #scans = new Map<string, Scan>();
  readonly #turns = new Semaphore(1);

  constructor(parts: AppHistoryParts) {
    this.#parts = parts;
  }

  /**
   * Who used an app in a period of whole hours. Each count of every app is looked through, so that is done one at a time,
   * once for all who ask meanwhile, and not again before it has been left alone for longer than it took.
   */
  #callersOf(app: string, since: number, until: number): Promise<Sums> {
    const { clock } = this.#parts;
    const name = [app, since, until].join(" ");
    const known = this.#scans.get(name);
    if (known && clock.monotonic() < known.until) return known.sums;
    const scan: Scan = { sums: this.#sum(app, since, until, () => scan), until: Infinity };
    this.#scans.delete(name);
    this.#scans.set(name, scan);
    scan.sums.catch(() => this.#scans.delete(name));
    const [oldest] = this.#scans.keys();
    if (this.#scans.size > MAX_SCANS && oldest !== undefined) this.#scans.delete(oldest);
    return scan.sums;
  }

  async #sum(app: string, since: number, until: number, scan: () => Scan): Promise<Sums> {
    const { auditStore, clock } = this.#parts;
    await this.#turns.acquire();
    const startedAt = clock.monotonic();
    try {
      return await auditStore.sumUsage({ app, since, until });
    } finally {
      this.#turns.release();
      const endedAt = clock.monotonic();
      scan().until = endedAt + PAUSES * (endedAt - startedAt);
    }
  }

  /** @throws {ServiceError} `invalid_parameter` for no period, or one of too many points. */
  async of(
    slot: SlotName,
    { to = this.#parts.clock.now(), hasCallers = true, ...request }: HistoryRequest,
  ): Promise<History> {
    const { log } = this.#parts;
    const given = request.from ?? to - DAY_MS;
    const step = request.step ?? (to - given <= (MAX_POINTS - 1) * HOUR_MS ? "hour" : "day");
    const startOf = step === "hour" ? hourOf : startOfBeijingDay;
    const from = startOf(given);
    if (given >= to) throw noPeriod();
    if ((to - from) / (step === "hour" ? HOUR_MS : DAY_MS) > MAX_POINTS) throw tooLong();
    const app = appName(slot);
    const since = Math.max(from, hourOf(to - CALLERS_DAYS * DAY_MS));
    // Upstream calls are counted for the whole corp of a WeCom application, as WeCom's quotas do.
    const names = [...new Set([app, slot.appId])];
    const [hours, sums, attempts] = await Promise.all([
      log.listHours(names, { from, to }),
      hasCallers ? this.#callersOf(app, since, hourOf(to - 1) + HOUR_MS) : [],
      log.list(app, { from, to, limit: MAX_ATTEMPTS }),
    ]);
    const callers = sums
      // A target is sent pushes, and asks for nothing.
      .filter(({ client }) => !client.startsWith("(target "))
      .map(({ client, environment, count: uses }) => ({ client, environment, uses }));
    const bySeries = Map.groupBy(hours, ({ series }) => series);
    const points = (name: HourlyCount["series"]) => pointsOf(bySeries.get(name) ?? [], startOf);
    const series = {
      refreshes: points("refreshes"),
      failures: points("failures"),
      uses: points("uses"),
      gateway: points("gateway"),
      calls: points("calls"),
    };
    return { from, to, step, series, callers, attempts };
  }
}

/** What adds up many counts: who used an app in a period. */
interface Scan {
  readonly sums: Promise<Sums>;
  /** By the monotonic clock: until when what it found is good enough. */
  until: number;
}

type Sums = Awaited<ReturnType<AppHistoryParts["auditStore"]["sumUsage"]>>;

function pointsOf(counts: readonly HourlyCount[], startOf: (at: number) => number): [number, number][] {
  const sums = new Map<number, number>();
  for (const { hour, n } of counts) sums.set(startOf(hour), (sums.get(startOf(hour)) ?? 0) + n);
  return [...sums].toSorted(([a], [b]) => a - b);
}

function noPeriod(): ServiceError {
  return new ServiceError("invalid_parameter", "from应早于to (from must be before to)");
}

function tooLong(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    `时间段过长，最多${MAX_POINTS}个点；请用step=day，或缩短时间段 (too long: at most ${MAX_POINTS} points; use step=day, or a shorter period)`,
  );
}
