import { type Platform, ServiceError } from "../errors.ts";
import type { ForwardAnswer } from "./forwarder.ts";
import type { Secret } from "../secret.ts";
import { TokenRedaction } from "./token-redaction.ts";

/** The largest answer that is inspected. Refusals are some hundred bytes. */
const MAX_INSPECTED = 64 * 1024;

/** The errcodes of a rejected token; WeCom's 40001 is about a secret, 40082 and 42009 about a suite's or a provider's token. */
const INVALID_TOKEN: Readonly<Record<Platform, ReadonlySet<number>>> = {
  weixin: new Set([40001, 40014, 42001]),
  wecom: new Set([40014, 42001, 40082, 42009]),
};

/** An answer, and its text where it is a small one. */
export interface ReadAnswer {
  readonly answer: ForwardAnswer;
  /** The whole body, when it was read; then `answer.body` is used up. */
  readonly bytes: Uint8Array | undefined;
  /** 0 for success; undefined where the answer was not inspected or has none. */
  readonly errcode: number | undefined;
}

/**
 * Reads an answer whole if it is small and JSON or plain text, which may have an errcode, or begins as JSON whatever it
 * says that it is: refusals of endpoints for files and images have all kinds of types. All others are streamed,
 * unbuffered.
 */
export async function readSmallText(answer: ForwardAnswer): Promise<ReadAnswer> {
  const { headers, body } = answer;
  const none = { answer, bytes: undefined, errcode: undefined };
  const length = headers.get("content-length");
  if (!body || (length !== null && Number(length) > MAX_INSPECTED)) return none;
  const isText = !headers.has("content-disposition") && JSON_TYPES.test(headers.get("content-type") ?? "");
  const isWanted = (first: Uint8Array) => isText || OBJECT.test(DECODER.decode(first.subarray(0, 16)));
  if (body instanceof Uint8Array && !isWanted(body)) return none;
  const bytes = body instanceof Uint8Array ? body : await readWhole(body, isWanted);
  if (bytes instanceof Uint8Array)
    return { answer, bytes, errcode: isText ? errcodeIn(bytes) : strictErrcodeIn(bytes) };
  return { answer: { ...answer, body: bytes }, bytes: undefined, errcode: undefined };
}

/** Whether the platform rejects the token that it was sent. */
export function isInvalidToken(platform: Platform, { errcode }: ReadAnswer): boolean {
  return errcode !== undefined && INVALID_TOKEN[platform].has(errcode);
}

/** The types of answers with an errcode. */
const JSON_TYPES = /^\s*(application\/json|text\/(plain|json))\s*(;|$)/i;
/** How a JSON object begins; its byte order mark is not decoded. */
const OBJECT = /^\s*\{/;

const DECODER = new TextDecoder();

/** The errcode at the top level of an answer. */
function errcodeIn(bytes: Uint8Array): number | undefined {
  const text = DECODER.decode(bytes);
  if (!text.includes('"errcode"')) return undefined;
  const errcode = readFields(text)?.["errcode"];
  if (typeof errcode === "string") return /^-?\d{1,10}$/.test(errcode) ? Number(errcode) : undefined;
  return Number.isInteger(errcode) ? Number(errcode) : undefined;
}

/**
 * The same of what says to be no text: a file that somebody stored may look like a refusal, so it must be JSON to the
 * letter, with an errcode and an errmsg as WeChat writes them.
 */
function strictErrcodeIn(bytes: Uint8Array): number | undefined {
  try {
    const { errcode, errmsg } = JSON.parse(DECODER.decode(bytes)) as Partial<Record<string, unknown>>;
    return Number.isInteger(errcode) && typeof errmsg === "string" ? Number(errcode) : undefined;
  } catch {
    return undefined;
  }
}

/** A JSON object of WeChat's, which may have control characters, from user names; undefined for anything else. */
export function readFields(text: string): Record<string, unknown> | undefined {
  for (const attempt of [() => text, () => text.replaceAll(/\p{Cc}/gu, " ")]) {
    try {
      const value: unknown = JSON.parse(attempt());
      return isFields(value) ? value : undefined;
    } catch {
      // It is no JSON.
    }
  }
  return undefined;
}

/** Whether a value of JSON is an object. */
export function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The whole body if it is small and its first part is wanted; else a stream of it. */
async function readWhole(
  body: ReadableStream<Uint8Array>,
  isWanted: (first: Uint8Array) => boolean,
): Promise<Uint8Array | ReadableStream<Uint8Array>> {
  const reader: Reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { value } = await reader.read();
    if (!value) break;
    chunks.push(value);
    size += value.byteLength;
    if (size > MAX_INSPECTED || (chunks.length === 1 && !isWanted(value))) return rejoin(chunks, reader);
  }
  const [only, another] = chunks;
  return only && !another ? only : Buffer.concat(chunks);
}

interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(reason?: unknown): Promise<void>;
}

/** A stream of what was read already, and of the rest on demand. */
function rejoin(read: readonly Uint8Array[], reader: Reader): ReadableStream<Uint8Array> {
  const waiting = [...read];
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = waiting.shift();
        if (next) return controller.enqueue(next);
        const { value } = await reader.read();
        if (value) controller.enqueue(value);
        else controller.close();
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** How an answer is rewritten for its caller. */
export interface ResponseRewrite {
  /** The token that was sent up. */
  readonly real: Secret;
  /** The token that the caller sent; undefined for a caller with a key alone. */
  readonly given: Secret | undefined;
  /** Called once the body has been sent, has broken off or was cancelled; at once where it is no stream. */
  readonly onEnd?: (() => void) | undefined;
}

/** Images, sound and films quote nothing; what was read as text is none. */
const MEDIA = /^\s*(image|audio|video)\//i;

/**
 * The platform's answer for the caller, with unchanged status, headers and body, except that headers, and bodies of any
 * type but images, audio and video, have the caller's token wherever they quote the real one.
 *
 * @throws {ServiceError} `upstream_invalid` for a body in an encoding, in which the real token can't be found.
 */
export function toResponse({ answer, bytes }: ReadAnswer, { real, given, onEnd }: ResponseRewrite): Response {
  const body = bytes ?? answer.body;
  const [from, to] = [real.reveal(), given?.reveal() ?? "ACCESS_TOKEN"];
  if (from === to) return responseOf({ ...answer, body }, onEnd);
  const redaction = new TokenRedaction(from, to);
  const headers = redaction.headers(answer.headers);
  if (body === null || (!bytes && MEDIA.test(headers.get("content-type") ?? ""))) {
    return responseOf({ ...answer, headers, body }, onEnd);
  }
  if (!/^(\s*identity\s*)?$/i.test(headers.get("content-encoding") ?? "")) {
    if (body instanceof ReadableStream) body.cancel().catch(() => undefined);
    throw encoded();
  }
  const redacted = body instanceof Uint8Array ? redaction.bytes(body) : redaction.stream(body);
  if (redacted !== body) headers.delete("content-length");
  return responseOf({ ...answer, headers, body: redacted }, onEnd);
}

function encoded(): ServiceError {
  return new ServiceError(
    "upstream_invalid",
    "应答使用了未请求的Content-Encoding，无法检查；本次调用可能已经执行 (the answer has a Content-Encoding that was not asked for and can't be inspected; the call may have been carried out)",
    { mayHaveRun: true },
  );
}

/** `answer` as a response; `onEnd` as of `ResponseRewrite`. */
export function responseOf({ status, headers, body }: ForwardAnswer, onEnd?: () => void): Response {
  const isStream = body instanceof ReadableStream;
  if (!isStream) onEnd?.();
  const sent = isStream && onEnd ? watched(body, onEnd) : body;
  return new Response(sent as typeof sent & Uint8Array<ArrayBuffer>, { status, headers });
}

/** `body`, with a call of `onEnd` when it ends for whatever reason. */
function watched(body: ReadableStream<Uint8Array>, onEnd: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
        } catch (error) {
          onEnd();
          throw error;
        }
        onEnd();
        controller.close();
      },
      async cancel(reason) {
        onEnd();
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
