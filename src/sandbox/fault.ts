import type { Gate } from "./sandbox-state.ts";

/** One of the two servers of the sandbox. */
export type SandboxHost = "weixin" | "wecom";

/** What goes wrong. "After the work" means that a token was rotated or a code used up although the caller can't know. */
export type FaultEffect =
  /** An errcode in the platform's own form, with its request id or hint; nothing is done. -1 is `system error`. */
  | { kind: "error"; errcode: number | string; errmsg?: string }
  /** An HTTP error with an HTML page, by default 502; nothing is done. */
  | { kind: "http"; status?: number; body?: string }
  /** The connection is reset when the request has arrived; nothing is done. */
  | { kind: "reset_before" }
  /** The connection is reset after the work: the answer is lost. */
  | { kind: "reset_after" }
  /** The answer waits, after the work, until the test opens the gate. */
  | { kind: "gate"; gate: Gate }
  /** The request waits, before the work, until the test opens the gate. */
  | { kind: "gate_before"; gate: Gate }
  /** The answer comes `ms` real milliseconds late, after the work. */
  | { kind: "delay"; ms: number }
  /** Half of the JSON with a matching Content-Length, after the work. */
  | { kind: "truncated_json" }
  /** Half of the body, ended by closing the connection, without Content-Length; after the work. */
  | { kind: "truncated_body" }
  /** HTTP 200 without a body, after the work. */
  | { kind: "empty_body" }
  /** Any body under any content type; nothing is done. */
  | { kind: "raw"; body: string; contentType: string; status?: number }
  /** The right answer and then blanks, `bytes` in all (default 64 MiB), sent as a small gzip; after the work. */
  | { kind: "gzip_bomb"; bytes?: number }
  /** The right answer and then blanks, `bytes` in all (default 5 MB), sent as they are; after the work. */
  | { kind: "oversized"; bytes?: number }
  /** A redirect, by default 302; nothing is done. */
  | { kind: "redirect"; location: string; status?: number }
  /**
   * One field of the right answer has another JSON value, or is missing when `value` is; after the work.
   * For example `expires_in` as a string, or `access_token` as null.
   */
  | { kind: "field"; field: string; value?: unknown }
  /** The right answer as `text/plain`, after the work. */
  | { kind: "text_plain" };

/** A fault for the next `times` requests (`Infinity` for all) to `endpoint` (a path; absent: any) of `host` (absent: both). */
export type Fault = FaultEffect & { endpoint?: string; host?: SandboxHost; times: number };

/** The faults that wait for requests. A request meets the oldest one that fits it, and no other. */
export class FaultQueue {
  #waiting: { fault: Fault; left: number }[] = [];

  /** Queues a fault after those that are waiting. */
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

/**
 * A fault parsed from JSON sent to the control interface; `times` is 1 when it is not given.
 *
 * A gate can't be sent, because it could not be opened. Use `delay`.
 *
 * @throws {Error} with a sentence for the sender when it is no fault.
 */
export function parseFault(json: Record<string, unknown>): Fault {
  const { endpoint, host, times = 1 } = json;
  if (endpoint !== undefined && typeof endpoint !== "string") throw wrong("endpoint", "a path");
  if (host !== undefined && host !== "weixin" && host !== "wecom") throw wrong("host", "weixin or wecom");
  if (typeof times !== "number" || times < 1) throw wrong("times", "a number from 1");
  return { ...parseEffect(json), endpoint, host, times };
}

function parseEffect(json: Record<string, unknown>): FaultEffect {
  const { kind } = json;
  switch (kind) {
    case "reset_before":
    case "reset_after":
    case "truncated_json":
    case "truncated_body":
    case "empty_body":
    case "text_plain":
      return { kind };
    case "error": {
      const { errcode = -1 } = json;
      if (typeof errcode !== "number" && typeof errcode !== "string")
        throw wrong("errcode", "a number or text");
      return { kind, errcode, errmsg: optionalText(json, "errmsg") };
    }
    case "http":
      return { kind, status: optionalNumber(json, "status"), body: optionalText(json, "body") };
    case "delay":
      return { kind, ms: requiredNumber(json, "ms") };
    case "raw":
      return {
        kind,
        body: requiredText(json, "body"),
        contentType: requiredText(json, "contentType"),
        status: optionalNumber(json, "status"),
      };
    case "gzip_bomb":
    case "oversized":
      return { kind, bytes: optionalNumber(json, "bytes") };
    case "redirect":
      return { kind, location: requiredText(json, "location"), status: optionalNumber(json, "status") };
    case "field":
      return { kind, field: requiredText(json, "field"), value: json["value"] };
    default:
      throw wrong("kind", "one of the faults in src/sandbox/fault.ts, except a gate");
  }
}

function requiredText(json: Record<string, unknown>, name: string): string {
  const value = json[name];
  if (typeof value !== "string") throw wrong(name, "text");
  return value;
}

function requiredNumber(json: Record<string, unknown>, name: string): number {
  const value = json[name];
  if (typeof value !== "number" || value < 0) throw wrong(name, "a number from 0");
  return value;
}

function optionalText(json: Record<string, unknown>, name: string): string | undefined {
  return json[name] === undefined ? undefined : requiredText(json, name);
}

function optionalNumber(json: Record<string, unknown>, name: string): number | undefined {
  return json[name] === undefined ? undefined : requiredNumber(json, name);
}

function wrong(name: string, expected: string): Error {
  return new Error(`${name} must be ${expected}`);
}
