/**
 * Every way in which this service fails, as one closed list.
 *
 * A face (the envelope, later the drop-in shape) maps each of them with `satisfies Record<ErrorCode, …>`, so a
 * new code does not compile until every face has an answer for it.
 */
export type ErrorCode =
  /** What the caller sent can't be used. */
  | "invalid_parameter"
  /** No API key where one is needed, or one that is unknown, expired or revoked. */
  | "unauthorized"
  /** The caller may not have this. */
  | "forbidden"
  | "not_found"
  | "method_not_allowed"
  /** What is to be made is there already, and differs; or it is not ours to change. */
  | "conflict"
  /** It was changed by somebody else since the caller looked. */
  | "precondition_failed"
  | "payload_too_large"
  | "unsupported_media_type"
  /** Asked too often; `retryAfterMs` says how long to wait. */
  | "rate_limited"
  /** WeChat or WeCom understood us and said no; `upstream` has its errcode. */
  | "upstream_rejected"
  /** An answer came that is no answer: not JSON, too large, without a token. */
  | "upstream_invalid"
  /** No connection to WeChat or WeCom. */
  | "upstream_unreachable"
  /** WeChat or WeCom did not answer in time; what we asked may have happened all the same. */
  | "upstream_timeout"
  /** We can't serve just now: stopping, or the database can't be used. */
  | "unavailable"
  /** The configuration can't be used; stops the start. */
  | "invalid_config"
  /** The database or the master key can't be used; stops the start. */
  | "store_unusable"
  /** A fault of ours. Its message never reaches a caller. */
  | "internal";

/** The two upstreams. Their errcodes mean different things, so a number is never read without its platform. */
export type Platform = "weixin" | "wecom";

/** What an errcode asks of us; see `upstream/errcodes.ts` for which errcode is which. */
export type UpstreamErrorClass =
  /** Passing: try again soon. */
  | "transient"
  /** The token that was sent is dead. */
  | "token_invalid"
  /** An operator must change something; asking again changes nothing. */
  | "config"
  /** A minute's quota is used up. */
  | "quota_minute"
  /** A day's quota is used up. */
  | "quota_day"
  /** WeChat wants an administrator's confirmation, or a cool-down. */
  | "risk"
  /** The account is frozen or punished. */
  | "account"
  /** The account lacks the permission. */
  | "permission"
  /** What the end user or the caller brought is bad: a used code, a wrong parameter. */
  | "input";

/** What WeChat or WeCom said when it refused. `errmsg` is as it came, request id included. */
export interface UpstreamRefusal {
  readonly platform: Platform;
  readonly errcode: number;
  readonly errmsg: string;
  readonly class: UpstreamErrorClass;
}

/** How WeChat or WeCom would say what we refuse without having asked them: SDKs know their errcodes. */
export type Wording = Pick<UpstreamRefusal, "platform" | "errcode" | "errmsg">;

/** What a `ServiceError` may carry beside its code and message. */
export interface ServiceErrorDetail {
  /** What led to this one; for the log, never for a caller. */
  readonly cause?: unknown;
  readonly upstream?: UpstreamRefusal;
  /** For a refusal of ours that has an errcode of theirs. */
  readonly wording?: Wording;
  /** The client that was refused for who it is, empty for one that was not identified; counted as a denial. */
  readonly deniedTo?: string;
  /** Whether a call was sent up whose answer was lost, so that it may have been carried out. */
  readonly mayHaveRun?: boolean;
  /** After how many milliseconds asking again makes sense. */
  readonly retryAfterMs?: number;
  /** What the person who reads it should do next. */
  readonly hint?: string;
  /** For the pacer: a backoff was made of it already, or nothing else can be tried for `retryAfterMs`. */
  readonly pacing?: "handled" | "terminal";
}

/**
 * The one error of this service. Anything thrown that is not a `ServiceError` is a bug and is shown as `internal`.
 *
 * `message` is for the caller, in Chinese with English where both fit; it never contains what the caller sent.
 */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  readonly code: ErrorCode;
  readonly upstream: UpstreamRefusal | undefined;
  readonly wording: Wording | undefined;
  readonly deniedTo: string | undefined;
  readonly mayHaveRun: boolean;
  readonly retryAfterMs: number | undefined;
  readonly hint: string | undefined;
  readonly pacing: ServiceErrorDetail["pacing"];
  readonly #detail: ServiceErrorDetail;

  constructor(code: ErrorCode, message: string, detail: ServiceErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.#detail = detail;
    this.upstream = detail.upstream;
    this.wording = detail.wording;
    this.deniedTo = detail.deniedTo;
    this.mayHaveRun = detail.mayHaveRun ?? false;
    this.retryAfterMs = detail.retryAfterMs;
    this.hint = detail.hint;
    this.pacing = detail.pacing;
  }

  /** The same error with more said of it. */
  with(detail: Pick<ServiceErrorDetail, "deniedTo" | "mayHaveRun" | "pacing">): ServiceError {
    return new ServiceError(this.code, this.message, { ...this.#detail, ...detail });
  }
}

/**
 * A refusal of ours in the words of WeChat or WeCom, to which a face adds a request id.
 *
 * `code` is what it is to us; default `invalid_parameter`.
 */
export function refusalOf(
  platform: Platform,
  errcode: number,
  errmsg: string,
  more: { readonly code?: ErrorCode; readonly retryAfterMs?: number } = {},
): ServiceError {
  const { code = "invalid_parameter", retryAfterMs } = more;
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
  return new ServiceError(code, errmsg, { wording: { platform, errcode, errmsg }, ...wait });
}

/** An access token that we did not issue, or that has expired: the one code on which every SDK fetches another. */
export function unknownToken(platform: Platform): ServiceError {
  return refusalOf(platform, 42001, "access_token expired", { code: "unauthorized" });
}
