import type { Clock } from "../clock.ts";

/** For how long an answer of the store is believed, in milliseconds. */
const BELIEVED_MS = 1000;

/** What keeps an open store from being used as it should be. */
export interface StoreFault {
  readonly part: "database" | "key" | "migrations" | "audit";
  /** For a person: what is wrong and what to do. */
  readonly message: string;
}

/** One thing that keeps this process from serving as it should. */
export interface NotReadyReason {
  readonly part: StoreFault["part"] | "service";
  /** For a person: what is wrong and what to do. */
  readonly message: string;
}

/**
 * Says whether this process can do all of its work: its store and its audit can be written, its key fits, and it is not
 * stopping.
 */
export class Readiness {
  readonly #probe: () => Promise<readonly StoreFault[]>;
  readonly #clock: Clock;
  #isStopping = false;
  #latest: Promise<readonly NotReadyReason[]> | undefined;
  /** By the monotonic clock; undefined while the store is being looked at, and all callers share the answer. */
  #latestEndsAt: number | undefined;

  /** `probe` looks at the store; it is asked at most once a second, however many ask here. */
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
    this.#latestEndsAt = this.#clock.monotonic() + BELIEVED_MS;
    return faults;
  }
}

const UNKNOWN: StoreFault = {
  part: "database",
  message:
    "数据库检查失败，请查看磁盘和数据库文件 (the database can't be checked; look at the disk and its file)",
};
