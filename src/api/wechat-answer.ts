import { type ErrorCode, type Platform, ServiceError } from "../errors.ts";

/** WeChat's and WeCom's exact content types for JSON: below `/cgi-bin` WeChat has `encoding`, below `/sns` it is text. */
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
  readonly headers?: Readonly<Record<string, string>>;
  /** The request id in a failure of ours. */
  readonly rid?: string | undefined;
}

/** A proxy refuses an answer with larger headers than it has room for. */
const MAX_HEADER = 512;

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
  const rid = isVerbatim ? undefined : requestId(context);
  const errmsg = failure.errmsg + (rid === undefined ? "" : requestIdSuffix(context, rid, errcode));
  const seconds = retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(retryAfterMs / 1000));
  const body = { errcode, errmsg, ...(seconds === undefined ? {} : { retry_after: seconds }) };
  const wait: Record<string, string> = seconds === undefined ? {} : { "retry-after": String(seconds) };
  // Headers can't have the Chinese half; the body has it.
  const copied = {
    "error-code": String(errcode),
    "error-msg": errmsg.replaceAll(/[^ -~]+/g, "").slice(0, MAX_HEADER),
  };
  const headers = platform === "wecom" ? { ...wait, ...copied } : wait;
  return { text: JSON.stringify(body), contentType: contentType(platform, path), headers, rid };
}

function contentType(platform: Platform, path: string): string {
  if (platform === "wecom") return CONTENT_TYPES.wecom;
  return path.startsWith("/sns/") ? CONTENT_TYPES.sns : CONTENT_TYPES.cgiBin;
}

/** A request id in the platform's form. It begins with the time; the rest is the end of the trace id. */
function requestId({ platform, traceId, now }: AnswerContext): string {
  const trace = traceId.replaceAll("-", "");
  const seconds = Math.floor(now / 1000);
  if (platform === "wecom") return `${seconds}${trace.slice(-15)}`;
  const time = seconds.toString(16).padStart(8, "0");
  return `${time}-${trace.slice(-16, -8)}-${trace.slice(-8)}`;
}

/** The end of each errmsg, with the request id by which the log finds the request. */
function requestIdSuffix({ platform, path, address }: AnswerContext, rid: string, errcode: number): string {
  if (platform === "weixin") return `${path.startsWith("/sns/") ? "," : ""} rid: ${rid}`;
  const link = `https://open.work.weixin.qq.com/devtool/query?e=${errcode}`;
  return `, hint: [${rid}], from ip: ${address()}, more info at ${link}`;
}

/** An errcode and WeChat's or WeCom's text for it. */
type WechatError = readonly [errcode: number, errmsg: string];

/** Temporarily unavailable: SDKs treat it as "busy". The request was not carried out. */
const BUSY: WechatError = [-1, "system error"];

/** Our errors in the words of api.weixin.qq.com. Its own refusals keep their words. */
const WEIXIN = {
  invalid_parameter: [40097, "invalid args"],
  unauthorized: [40125, "invalid appsecret"],
  forbidden: [48001, "api unauthorized"],
  not_found: [40013, "invalid appid"],
  method_not_allowed: [43002, "require POST method"],
  conflict: BUSY,
  precondition_failed: BUSY,
  payload_too_large: [45001, "media size out of limit"],
  unsupported_media_type: [47001, "data format error"],
  rate_limited: [45011, "api minute-quota reach limit, must slower, retry next minute"],
  upstream_rejected: BUSY,
  upstream_invalid: BUSY,
  upstream_unreachable: BUSY,
  upstream_timeout: BUSY,
  unavailable: BUSY,
  invalid_config: BUSY,
  store_unusable: BUSY,
  internal: BUSY,
} satisfies Record<ErrorCode, WechatError>;

/** The same for qyapi.weixin.qq.com, where several numbers mean something else. */
const WECOM = {
  ...WEIXIN,
  invalid_parameter: [40058, "invalid parameter"],
  unauthorized: [40001, "invalid credential"],
  forbidden: [48002, "api forbidden"],
  not_found: [40013, "invalid corpid"],
  method_not_allowed: [40058, "invalid parameter"],
  rate_limited: [45009, "api freq out of limit"],
} satisfies Record<ErrorCode, WechatError>;

/** A failure in WeChat's shape. */
export interface WechatFailure {
  readonly errcode: number;
  /** Without a request id; what is ours in it is in Chinese and English. */
  readonly errmsg: string;
  /** Whether it is WeChat's own text, to which nothing is added. */
  readonly isVerbatim: boolean;
  readonly retryAfterMs: number | undefined;
}

/**
 * `error` in the shape of `platform`. Anything that is not a `ServiceError` reveals nothing about its cause.
 *
 * SDKs retry on -1, so a lost answer has a code of ours that no SDK retries: 502 or 504.
 */
export function toWechatFailure(error: unknown, platform: Platform): WechatFailure {
  const isCall = error instanceof ServiceError && error.mayHaveRun;
  if (!(error instanceof ServiceError) || error.code === "internal") {
    const [errcode, errmsg] = isCall ? BROKEN : BUSY;
    return { errcode, errmsg, isVerbatim: false, retryAfterMs: undefined };
  }
  const { code, upstream, wording, message, hint, retryAfterMs } = error;
  if (upstream) return { errcode: upstream.errcode, errmsg: upstream.errmsg, isVerbatim: true, retryAfterMs };
  if (wording) return { errcode: wording.errcode, errmsg: wording.errmsg, isVerbatim: false, retryAfterMs };
  const table: Record<ErrorCode, WechatError> = platform === "wecom" ? WECOM : WEIXIN;
  const [errcode, stem] = (isCall && LOST[code]) || table[code];
  // The refusal of a secret or key is worded exactly as WeChat's: SDKs and people search for it.
  const texts = code === "unauthorized" ? [stem] : [stem, message, ...(hint === undefined ? [] : [hint])];
  return { errcode, errmsg: texts.join(", "), isVerbatim: false, retryAfterMs };
}

const BROKEN: WechatError = [502, "bad answer, the call may have been carried out"];
const LOST: Partial<Record<ErrorCode, WechatError>> = {
  upstream_invalid: BROKEN,
  upstream_timeout: [504, "no answer in time, the call may have been carried out"],
};
