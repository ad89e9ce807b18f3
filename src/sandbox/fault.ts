import { gzipSync } from "node:zlib";
import { type Answer, isRecord, type SandboxHost } from "./sandbox-request.ts";

/** What goes wrong. "After the work" means that a token was rotated or a code used up although the caller can't know. */
export type FaultEffect =
  /**
   * An errcode in the platform's own form, with its request id or hint; nothing is done. Without `errmsg` it has the
   * platform's words for the errcode, or `system error` where the sandbox has none.
   */
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

  /** Removes every fault. */
  clear(): void {
    this.#waiting = [];
  }

  /** What still waits, for people to read. */
  pending(): object[] {
    return this.#waiting.map(({ fault: { kind, endpoint, host }, left }) => ({ kind, endpoint, host, left }));
  }
}

/**
 * Holds answers back until a test opens it.
 *
 * Wait for `arrived(n)` to know that n requests wait at the gate, do what has to happen meanwhile, then `open()`.
 */
export class Gate {
  readonly #opening = Promise.withResolvers<void>();
  #arrivals = 0;
  #expected: { count: number; resolve: () => void }[] = [];

  /** How many requests have come to the gate so far. */
  get arrivals(): number {
    return this.#arrivals;
  }

  /** Resolves as soon as `count` requests have come to the gate. */
  arrived(count = 1): Promise<void> {
    return new Promise((resolve) => {
      if (this.#arrivals >= count) resolve();
      else this.#expected.push({ count, resolve });
    });
  }

  /** Lets through all requests, waiting and later ones. */
  open(): void {
    this.#opening.resolve();
  }

  /** Waits at the gate; the sandbox calls it for each request that the fault catches. */
  async pass(): Promise<void> {
    this.#arrivals++;
    for (const { resolve } of this.#expected.filter(({ count }) => this.#arrivals >= count)) resolve();
    this.#expected = this.#expected.filter(({ count }) => this.#arrivals < count);
    await this.#opening.promise;
  }
}

/** How an answer goes over the wire. */
export type Delivery =
  | { how: "send"; answer: Answer }
  /** Sent without Content-Length; the end of the connection ends it. */
  | { how: "close_delimited"; answer: Answer }
  /** Nothing is sent: the connection is reset. */
  | { how: "reset" };

/** What a fault needs of the server that it happens to. */
export interface FaultStage {
  /** Does what was asked and returns the right answer. */
  work: () => Promise<Answer>;
  /** An error in the form of the platform. */
  error: (errcode: number | string, stem: string) => Answer;
  /** Resolves after so many real milliseconds. */
  delay: (ms: number) => Promise<void>;
}

/** An address of the range that is kept for documents, as that of a caller whom the allow-list lacks. */
const UNLISTED = "203.0.113.7";

/** What the platforms say with the errcodes that people try out; WeCom's 40001 begins like WeChat's. */
const WORDS: Readonly<Record<string, string>> = {
  "40001": "invalid credential",
  "40013": "invalid appid",
  "40014": "invalid access_token",
  "40125": "invalid appsecret",
  "40164": `invalid ip ${UNLISTED} ipv6 ::ffff:${UNLISTED}, not in whitelist`,
  "40243": "appsecret is frozen",
  "42001": "access_token expired",
  "45009": "reach max api daily quota limit",
  "48001": "api unauthorized",
  "60020": "not allow to access from your ip",
};

const HTML_PAGE =
  "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";

/** Lets `fault` happen to one request; `FaultEffect` says which of them do the work first. */
export async function applyFault(fault: Fault, stage: FaultStage): Promise<Delivery> {
  switch (fault.kind) {
    case "error":
      return send(stage.error(fault.errcode, fault.errmsg ?? WORDS[fault.errcode] ?? "system error"));
    case "http":
      return send(plain(fault.status ?? 502, "text/html", fault.body ?? HTML_PAGE));
    case "raw":
      return send(plain(fault.status ?? 200, fault.contentType, fault.body));
    case "redirect":
      return send({ status: fault.status ?? 302, headers: { Location: fault.location }, body: "" });
    case "reset_before":
      return { how: "reset" };
    case "reset_after":
      await stage.work();
      return { how: "reset" };
    case "gate_before":
      await fault.gate.pass();
      return send(await stage.work());
    case "gate": {
      const answer = await stage.work();
      await fault.gate.pass();
      return send(answer);
    }
    case "delay": {
      const answer = await stage.work();
      await stage.delay(fault.ms);
      return send(answer);
    }
    case "truncated_json":
      return send(half(await stage.work()));
    case "truncated_body":
      return { how: "close_delimited", answer: half(await stage.work()) };
    case "empty_body":
      return send({ ...(await stage.work()), body: "" });
    case "gzip_bomb":
      return send(gzipped(padded(await stage.work(), fault.bytes ?? 64 * 1024 * 1024)));
    case "oversized":
      return send(padded(await stage.work(), fault.bytes ?? 5_000_000));
    case "field":
      return send(withField(await stage.work(), fault.field, fault.value));
    case "text_plain":
      return send(withHeader(await stage.work(), "Content-Type", "text/plain"));
    default:
      fault satisfies never;
      throw new Error("the sandbox does not know this fault");
  }
}

function send(answer: Answer): Delivery {
  return { how: "send", answer };
}

function plain(status: number, contentType: string, body: string): Answer {
  return { status, headers: { "Content-Type": contentType }, body };
}

function withHeader(answer: Answer, name: string, value: string): Answer {
  return { ...answer, headers: { ...answer.headers, [name]: value } };
}

function half(answer: Answer): Answer {
  return { ...answer, body: answer.body.slice(0, Math.floor(answer.body.length / 2)) };
}

/** Blanks after a JSON value are still JSON: only the size is wrong. */
function padded(answer: Answer, bytes: number): Answer {
  const body = Buffer.alloc(Math.max(bytes, answer.body.length), " ");
  body.set(Buffer.from(answer.body));
  return { ...answer, body };
}

function gzipped(answer: Answer): Answer {
  return withHeader({ ...answer, body: gzipSync(answer.body, { level: 1 }) }, "Content-Encoding", "gzip");
}

function withField(answer: Answer, field: string, value: unknown): Answer {
  const parsed: unknown = JSON.parse(Buffer.from(answer.body).toString());
  if (!isRecord(parsed)) return answer;
  return { ...answer, body: JSON.stringify({ ...parsed, [field]: value }) };
}
