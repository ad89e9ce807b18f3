import type { Clock } from "../clock.ts";

/** How long a result of the store's probe is cached. */
const CACHE_MS = 1000;

/** What is wrong with an open store. */
export interface StoreFault {
  readonly part: "database" | "key" | "migrations" | "audit";
  /** For a person: what is wrong and what to do. */
  readonly message: string;
}

/** One reason why this process is not ready. */
export interface NotReadyReason {
  readonly part: StoreFault["part"] | "service";
  /** For a person: what is wrong and what to do. */
  readonly message: string;
}

/**
 * Whether this process is ready: its store and its audit can be written, its key fits, and it is not stopping.
 */
export class Readiness {
  readonly #probe: () => Promise<readonly StoreFault[]>;
  readonly #clock: Clock;
  #isStopping = false;
  #latest: Promise<readonly NotReadyReason[]> | undefined;
  /** By the monotonic clock; undefined during a probe, which all callers share. */
  #latestEndsAt: number | undefined;

  /** `probe` checks the store; it is called at most once a second. */
  constructor(probe: () => Promise<readonly StoreFault[]>, clock: Clock) {
    this.#probe = probe;
    this.#clock = clock;
  }

  /** From now on the service is stopping, and not ready. */
  stopping(): void {
    this.#isStopping = true;
  }

  /** Why not; empty when ready. Never throws. */
  async reasons(): Promise<readonly NotReadyReason[]> {
    const faults = await this.#faults();
    if (!this.#isStopping) return faults;
    return [...faults, { part: "service", message: "服务正在停止 (the service is stopping)" }];
  }

  #faults(): Promise<readonly NotReadyReason[]> {
    const isOld = this.#latestEndsAt !== undefined && this.#clock.monotonic() >= this.#latestEndsAt;
    if (!this.#latest || isOld) {
      this.#latestEndsAt = undefined;
      this.#latest = this.#look();
    }
    return this.#latest;
  }

  async #look(): Promise<readonly NotReadyReason[]> {
    const faults = await this.#probe().catch(() => [UNKNOWN]);
    this.#latestEndsAt = this.#clock.monotonic() + CACHE_MS;
    return faults;
  }
}

const UNKNOWN: StoreFault = {
  part: "database",
  message:
    "数据库检查失败，请查看磁盘和数据库文件 (the database can't be checked; check the disk and the database file)",
};
