import type { SandboxTime } from "./sandbox-time.ts";

const HOUR_MS = 3_600_000;

/** Addresses that sent wrong secrets to WeCom, and those that it therefore refuses for an hour. */
export class WrongSecretBan {
  readonly #time: SandboxTime;
  readonly #limit: () => number;
  readonly #wrongAt = new Map<string, number[]>();
  readonly #bannedUntil = new Map<string, number>();

  /** `limit` wrong secrets within an hour ban an address; it is read at each one. */
  constructor(time: SandboxTime, limit: () => number) {
    this.#time = time;
    this.#limit = limit;
  }

  /** Whether `ip` is refused at this moment. */
  isBanned(ip: string): boolean {
    return this.#time.now() < (this.#bannedUntil.get(ip) ?? 0);
  }

  /** Counts a wrong secret from `ip`. */
  count(ip: string): void {
    const now = this.#time.now();
    const recent = (this.#wrongAt.get(ip) ?? []).filter((at) => at > now - HOUR_MS);
    recent.push(now);
    this.#wrongAt.set(ip, recent);
    if (recent.length < this.#limit()) return;
    this.#bannedUntil.set(ip, now + HOUR_MS);
    this.#wrongAt.delete(ip);
  }
}
