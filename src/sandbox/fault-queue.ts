import type { Fault, SandboxHost } from "./fault.ts";

/** The faults that wait for requests. A request meets the oldest one that fits it, and no other. */
export class FaultQueue {
  #waiting: { fault: Fault; left: number }[] = [];

  /** Adds a fault behind those that wait already. */
  add(fault: Fault): void {
    this.#waiting.push({ fault, left: fault.times });
  }

  /** The fault that a request to `path` of `host` meets, which is thereby used once. */
  take(host: SandboxHost, path: string): Fault | undefined {
    if (this.#waiting.length === 0) return undefined;
    const met = this.#waiting.find(
      ({ fault }) => (fault.host ?? host) === host && (fault.endpoint ?? path) === path,
    );
    if (met === undefined) return undefined;
    met.left--;
    if (met.left <= 0) this.#waiting = this.#waiting.filter((entry) => entry !== met);
    return met.fault;
  }

  /** Forgets every fault. */
  clear(): void {
    this.#waiting = [];
  }

  /** What still waits, for people to read. */
  pending(): object[] {
    return this.#waiting.map(({ fault: { kind, endpoint, host }, left }) => ({ kind, endpoint, host, left }));
  }
}
