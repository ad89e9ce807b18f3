import type { Clock } from "../clock.ts";

/** How long a result of the store's probe is cached. */
const CACHE_MS = 1000;

/** What is wrong with an open store. */
export interface StoreFault {
  readonly part: "database" | "key" | "migrations" | "audit" | "access";
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

/** So long may a change of clients or keys go unread before it counts; processes look again several times in it. */
const UNREAD_MS = 1000;

/** What is wrong when clients and keys could not be read for `unreadableMs`; Infinity for never. */
export function faultsOfAccess(unreadableMs: number): readonly StoreFault[] {
  if (unreadableMs <= UNREAD_MS) return [];
  const consequence =
    unreadableMs === Infinity
      ? "带密钥的请求都会被拒绝 (clients and keys can't be read, so no key is accepted"
      : "仍按此前读到的内容处理，之后的变更（如吊销密钥）尚未生效 (clients and keys can't be read, so later changes, as a revoked key, are not in effect";
  const message = `无法读取客户端和密钥，${consequence}; check the database and the disk)`;
  return [{ part: "access", message }];
}

const UNKNOWN: StoreFault = {
  part: "database",
  message:
    "数据库检查失败，请查看磁盘和数据库文件 (the database can't be checked; check the disk and the database file)",
};
