import { randomBytes, randomInt } from "node:crypto";

/**
 * An errcode that the sandbox answers instead of doing what was asked.
 *
 * The host that catches it adds what its platform adds: a request id on api.weixin.qq.com, a hint and the
 * caller's address on qyapi.weixin.qq.com.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly errcode: number;

  /** `errmsg` is the stem of the text, without request id or hint. */
  constructor(errcode: number, errmsg: string) {
    super(errmsg);
    this.errcode = errcode;
  }
}

/**
 * A request id as WeChat appends it to every errmsg: three groups of eight hex digits, the first of which is the
 * Unix time.
 */
export function newRid(seconds: number): string {
  const random = randomBytes(8).toString("hex");
  return `${seconds.toString(16).padStart(8, "0")}-${random.slice(0, 8)}-${random.slice(8)}`;
}

/** The errmsg of api.weixin.qq.com. The `/sns` endpoints put a comma before the request id, the others don't. */
export function weixinErrmsg(stem: string, rid: string, sns: boolean): string {
  return `${stem}${sns ? "," : ""} rid: ${rid}`;
}

/**
 * The errmsg of qyapi.weixin.qq.com, with the hint (Unix time and fifteen more digits) and the caller's address.
 */
export function wecomErrmsg(stem: string, seconds: number, errcode: number | string, peerIp: string): string {
  const random = `${randomDigits()}${randomDigits()}${randomDigits()}`;
  const link = `https://open.work.weixin.qq.com/devtool/query?e=${errcode}`;
  return `${stem}, hint: [${seconds}${random}], from ip: ${peerIp}, more info at ${link}`;
}

function randomDigits(): string {
  return String(randomInt(100_000)).padStart(5, "0");
}

/** What a server of the sandbox is about to send; faults may still change it. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string | Uint8Array;
}

/** The exact content type that each family of endpoints puts on its JSON. */
export const JSON_TYPE = {
  /** api.weixin.qq.com below `/cgi-bin`: it says `encoding` where every other says `charset`. */
  cgiBin: "application/json; encoding=utf-8",
  /** api.weixin.qq.com below `/sns`. */
  sns: "text/plain",
  /** qyapi.weixin.qq.com. */
  wecom: "application/json; charset=utf-8",
} as const;

/** A JSON answer with HTTP 200, which both platforms use for errors too. */
export function jsonAnswer(contentType: string, body: object): Answer {
  return { status: 200, headers: { "Content-Type": contentType }, body: JSON.stringify(body) };
}

/** A JSON answer of api.weixin.qq.com below `/cgi-bin` and `/wxa`. */
export function cgiAnswer(body: object): Answer {
  return jsonAnswer(JSON_TYPE.cgiBin, body);
}

/** A success of api.weixin.qq.com that says so in the body. */
export function ok(body: object = {}): Answer {
  return cgiAnswer({ errcode: 0, errmsg: "ok", ...body });
}

/** A request as the endpoints see it. */
export interface SandboxRequest {
  method: string;
  /** The path alone, exactly as it was sent. */
  path: string;
  query: URLSearchParams;
  /** Names in lower case. */
  headers: Record<string, string | string[] | undefined>;
  body: Uint8Array;
  /** The caller's IPv4 or IPv6 address as the platform sees it, or the one that the switches name. */
  peerIp: string;
}

/**
 * The JSON object in the body.
 *
 * @throws {Refusal} 47001 when the body is no JSON object.
 */
export function jsonBody(request: SandboxRequest): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(request.body).toString());
    if (isRecord(parsed)) return parsed;
  } catch {
    // Falls through: broken JSON and JSON that is no object get the same answer.
  }
  throw new Refusal(47001, "data format error");
}

/**
 * Lets only POST through.
 *
 * @throws {Refusal} 43002.
 */
export function requirePost(request: SandboxRequest): void {
  if (request.method !== "POST") throw new Refusal(43002, "require POST method");
}

/** Whether a JSON value is an object, not null and not an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `value` if it is a string, otherwise the empty string, which counts as missing. */
export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** One of the two servers of the sandbox. */
export type SandboxHost = "weixin" | "wecom";

/** What is said of a path that exists in reality, perhaps, and not here. */
export const NO_SUCH_PATH = "沙箱没有该路径 (the sandbox does not have this path)";
