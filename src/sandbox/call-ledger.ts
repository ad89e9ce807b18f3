import type { SandboxHost } from "./sandbox-request.ts";

/** How many requests reached which endpoint, in all and per Beijing day. */
export class CallLedger {
  #counts = new Map<string, { host: SandboxHost; path: string; day: string; calls: number }>();

  /** Counts one request that reached `path` of `host`. */
  add(host: SandboxHost, path: string, day: string): void {
    const key = `${day} ${host} ${path}`;
    const count = this.#counts.get(key);
    if (count) count.calls++;
    else this.#counts.set(key, { host, path, day, calls: 1 });
  }

  /** The requests to `path` of `host`, on all days; what is left out is not asked. */
  total(path?: string, host?: SandboxHost): number {
    let calls = 0;
    for (const count of this.#counts.values()) {
      if ((path ?? count.path) === count.path && (host ?? count.host) === count.host) calls += count.calls;
    }
    return calls;
  }

  /** The requests per day, server and path, for people to read. */
  perDay(): Record<string, Record<string, number>> {
    const days: Record<string, Record<string, number>> = {};
    for (const { host, path, day, calls } of this.#counts.values()) {
      const ofDay = (days[day] ??= {});
      ofDay[`${host} ${path}`] = calls;
    }
    return days;
  }

  /** Forgets every count. */
  reset(): void {
    this.#counts.clear();
  }
}
