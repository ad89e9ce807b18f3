import type { Answer, SandboxRequest } from "./sandbox-request.ts";
import type { WeixinApp } from "./weixin-app.ts";
import type { SandboxHost } from "./fault.ts";

/** A request that was answered, as WeChat remembers it. */
export interface LoggedRequest {
  readonly request: SandboxRequest;
  readonly answer: Answer;
  /** Whose token it carried. */
  readonly owner: WeixinApp | undefined;
  /** Unix time in seconds. */
  readonly at: number;
}

/** WeChat keeps them for a week; the sandbox keeps the latest. */
const KEPT = 500;

/** Requests by their id, for `/cgi-bin/openapi/rid/get`. */
export class RequestLog {
  readonly #requests = new Map<string, LoggedRequest>();

  /** Keeps a request under its id. */
  add(rid: string, request: LoggedRequest): void {
    this.#requests.set(rid, request);
    if (this.#requests.size <= KEPT) return;
    const [oldest] = this.#requests.keys();
    if (oldest !== undefined) this.#requests.delete(oldest);
  }

  /** The request with that id. */
  find(rid: string): LoggedRequest | undefined {
    return this.#requests.get(rid);
  }
}

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

/** How much of each quota is used in its current window (a day, a minute, a month); an older window counts as 0. */
export class QuotaCounter {
  readonly #counts = new Map<string, { window: string | number; used: number }>();

  /** How often `name` was counted in `window`. */
  used(name: string, window: string | number): number {
    const count = this.#counts.get(name);
    return count?.window === window ? count.used : 0;
  }

  /** Counts one more of `name` and returns how many there are now in `window`. */
  add(name: string, window: string | number): number {
    const used = this.used(name, window) + 1;
    this.#counts.set(name, { window, used });
    return used;
  }

  /** Everything that was used in `window`, by name. */
  usage(window: string | number): Record<string, number> {
    const entries = [...this.#counts].filter(([, count]) => count.window === window);
    return Object.fromEntries(entries.map(([name, count]) => [name, count.used]));
  }

  /** Forgets what was used. */
  clear(): void {
    this.#counts.clear();
  }
}
