import { expect } from "bun:test";
import type { FileForm } from "./file-forms.ts";
import type { HttpLibrary } from "./http-libraries.ts";
import { exchange, type WireAnswer } from "./wire-exchange.ts";

/** Where text goes that the SDK's parser reads: a body, and its type as the SDK writes it. */
interface TextBody {
  readonly text: string;
  /** Undefined where the SDK sends none. */
  readonly type: string | undefined;
}

/** An answer that an SDK's parser has been through. */
export type Fields = Readonly<Record<string, unknown>>;

/**
 * Sends what an SDK sends, byte for byte, and reads the answers as its parser would: HTTP 200, a JSON object, an `errcode`
 * that is absent or 0.
 */
export class Replay {
  readonly #url: string;
  readonly #library: HttpLibrary;

  /** To the service of `url`, with the headers of `library`. */
  constructor(url: string, library: HttpLibrary) {
    this.#url = url;
    this.#library = library;
  }

  /** A GET that succeeds. */
  async get(target: string): Promise<Fields> {
    return succeeded(await this.#send("GET", target));
  }

  /** A GET that is refused; gives the errcode. */
  async refusedGet(target: string): Promise<number> {
    const answer = await this.#send("GET", target);
    const { errcode, errmsg } = parsed(answer);
    if (typeof errcode !== "number" || typeof errmsg !== "string")
      throw new Error(`no refusal: ${text(answer)}`);
    return errcode;
  }

  /** A POST that succeeds; without a body one of length 0. */
  async post(target: string, body?: TextBody): Promise<Fields> {
    const bytes = Buffer.from(body?.text ?? "");
    return succeeded(await this.#send("POST", target, { type: body?.type, bytes }));
  }

  /** Sends a form with a file; `isChunked` where the SDK does not know its length. Gives the media id. */
  async upload(target: string, { type, body }: FileForm, isChunked = false): Promise<string> {
    const answer = succeeded(await this.#send("POST", target, { type, bytes: body, isChunked }));
    const { type: kind, media_id: mediaId } = answer;
    expect(kind).toBe("image");
    if (typeof mediaId !== "string") throw new Error("no media_id");
    return mediaId;
  }

  /** Downloads a file. SDKs know it by its type, and read its name from the header that came with it. */
  async download(target: string, method: "GET" | "POST" = "GET"): Promise<Buffer> {
    const empty = method === "POST" ? { type: undefined, bytes: Buffer.alloc(0) } : undefined;
    const { status, headers, body } = await this.#send(method, target, empty);
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("image/jpeg");
    expect(headers.get("content-disposition")).toMatch(/filename=".+\.jpg"/);
    return body;
  }

  #send(
    method: string,
    target: string,
    body?: { readonly type: string | undefined; readonly bytes: Buffer; readonly isChunked?: boolean },
  ): Promise<WireAnswer> {
    const { host } = new URL(this.#url);
    const announced = body && { type: body.type, length: body.isChunked ? undefined : body.bytes.length };
    const head = [`${method} ${target} HTTP/1.1`, ...this.#library(host, announced), "", ""].join("\r\n");
    const content = body?.isChunked ? chunked(body.bytes) : (body?.bytes ?? Buffer.alloc(0));
    return exchange(this.#url, head, content);
  }
}

/** The access token in an answer, and the seconds that SDKs plan with. */
export function tokenIn({ access_token, expires_in }: Fields): string {
  if (typeof access_token !== "string" || access_token === "") throw new Error("no access_token");
  expect(Number.isInteger(expires_in)).toBe(true);
  // go-workwx and silenceper subtract half an hour, and go in circles below.
  expect(expires_in).toBeGreaterThan(1800);
  expect(expires_in).toBeLessThanOrEqual(7200);
  return access_token;
}

/** The ticket in an answer. PowerWeChat reads `errcode` as a number without looking whether it is there. */
export function ticketIn({ errcode, ticket, expires_in }: Fields): string {
  expect(errcode).toBe(0);
  expect(expires_in).toBeGreaterThan(0);
  if (typeof ticket !== "string") throw new Error("no ticket");
  return ticket;
}

function succeeded(answer: WireAnswer): Fields {
  const fields = parsed(answer);
  if ((fields["errcode"] ?? 0) !== 0) throw new Error(`refused: ${text(answer)}`);
  return fields;
}

function parsed(answer: WireAnswer): Fields {
  expect(answer.status).toBe(200);
  // All of them read UTF-8 JSON, and some decompress what says that it is compressed.
  expect(answer.headers.get("content-type")).toMatch(
    /^(application\/json; (encoding|charset)=utf-8|text\/plain)$/,
  );
  expect(answer.headers.has("content-encoding")).toBe(false);
  return JSON.parse(text(answer)) as Fields;
}

function text({ body }: WireAnswer): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(body);
}

/** In chunks of a size that Java's streams have. */
function chunked(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 2048) {
    const part = bytes.subarray(at, at + 2048);
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n"));
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")]);
}
