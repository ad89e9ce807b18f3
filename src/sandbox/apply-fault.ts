import { gzipSync } from "node:zlib";
import { type Answer, isRecord } from "./sandbox-request.ts";
import type { Fault } from "./fault.ts";

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

const HTML_PAGE =
  "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";

/** Lets `fault` happen to one request; `FaultEffect` says which of them do the work first. */
export async function applyFault(fault: Fault, stage: FaultStage): Promise<Delivery> {
  switch (fault.kind) {
    case "error":
      return send(stage.error(fault.errcode, fault.errmsg ?? "system error"));
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
