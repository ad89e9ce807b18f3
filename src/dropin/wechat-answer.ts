import type { Platform } from "../errors.ts";
import type { WechatFailure } from "./wechat-failure.ts";

/** The exact content types of their JSON: below `/cgi-bin` WeChat says `encoding`, below `/sns` it says text. */
const CONTENT_TYPES = {
  cgiBin: "application/json; encoding=utf-8",
  sns: "text/plain",
  wecom: "application/json; charset=utf-8",
} as const;

/** What an answer needs to know of its request. */
export interface AnswerContext {
  readonly platform: Platform;
  readonly path: string;
  readonly traceId: string;
  /** The caller's address, which WeCom names in its errors. */
  readonly address: () => string;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** An answer before it is sent: HTTP 200 with that text. */
export interface WechatAnswer {
  readonly text: string;
  readonly contentType: string;
  /** What else is said in headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A success in WeChat's own shape: `body` is JSON text, or an object whose fields keep their order. */
export function wechatAnswer(
  { platform, path }: Pick<AnswerContext, "platform" | "path">,
  body: object | string,
): WechatAnswer {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return { text, contentType: contentType(platform, path) };
}

/** A failure in WeChat's own shape: HTTP 200, errcode and errmsg with a request id of ours, and on WeCom both as headers. */
export function wechatFailureAnswer(context: AnswerContext, failure: WechatFailure): WechatAnswer {
  const { platform, path } = context;
  const { errcode, isVerbatim, retryAfterMs } = failure;
  const errmsg = isVerbatim ? failure.errmsg : failure.errmsg + signature(context, errcode);
  const seconds = retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(retryAfterMs / 1000));
  const body = { errcode, errmsg, ...(seconds === undefined ? {} : { retry_after: seconds }) };
  const wait: Record<string, string> = seconds === undefined ? {} : { "retry-after": String(seconds) };
  // What is Chinese has no place in a header, and is in the body.
  const said = { "error-code": String(errcode), "error-msg": errmsg.replaceAll(/[^ -~]+/g, "") };
  const headers = platform === "wecom" ? { ...wait, ...said } : wait;
  return { text: JSON.stringify(body), contentType: contentType(platform, path), headers };
}

function contentType(platform: Platform, path: string): string {
  if (platform === "wecom") return CONTENT_TYPES.wecom;
  return path.startsWith("/sns/") ? CONTENT_TYPES.sns : CONTENT_TYPES.cgiBin;
}

/**
 * What ends each errmsg. WeChat's request id begins with the time; the rest of ours is the end of the trace id, so that
 * whoever is shown the one finds the other in the log.
 */
function signature({ platform, path, traceId, address, now }: AnswerContext, errcode: number): string {
  const seconds = Math.floor(now / 1000);
  if (platform === "wecom") {
    const hint = `${seconds}${traceId.slice(-15)}`;
    const link = `https://open.work.weixin.qq.com/devtool/query?e=${errcode}`;
    return `, hint: [${hint}], from ip: ${address()}, more info at ${link}`;
  }
  const time = seconds.toString(16).padStart(8, "0");
  const rid = `${time}-${traceId.slice(-16, -8)}-${traceId.slice(-8)}`;
  return `${path.startsWith("/sns/") ? "," : ""} rid: ${rid}`;
}
