import type { Gate } from "./gate.ts";

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
