/**
 * Every way in which this service fails, as one closed list.
 *
 * Each face maps them with `satisfies Record<ErrorCode, …>`, so a new code does not compile until every face has an
 * answer for it.
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
  /** The resource exists with other content, or can't be changed here. */
  | "conflict"
  /** The resource has changed since the caller read it. */
  | "precondition_failed"
  | "payload_too_large"
  | "unsupported_media_type"
  /** Too many requests; `retryAfterMs` says how long to wait. */
  | "rate_limited"
  /** WeChat or WeCom refused the request; `upstream` has its errcode. */
  | "upstream_rejected"
  /** The answer can't be used: not JSON, too large, without a token. */
  | "upstream_invalid"
  /** No connection to WeChat or WeCom. */
  | "upstream_unreachable"
  /** WeChat or WeCom did not answer in time; the request may have been carried out. */
  | "upstream_timeout"
  /** Temporarily unable to serve: stopping, or the database can't be used. */
  | "unavailable"
  /** The configuration can't be used; prevents the start. */
  | "invalid_config"
  /** The database or the master key can't be used; prevents the start. */
  | "store_unusable"
  /** A bug. Its message never reaches a caller. */
  | "internal";

/** The two upstreams. Their errcodes mean different things, so a number is never read without its platform. */
export type Platform = "weixin" | "wecom";

/** How to react to an errcode; `upstream/errcodes.ts` maps them. */
export type UpstreamErrorClass =
  /** Temporary: retry soon. */
  | "transient"
  /** The token that was sent is rejected. */
  | "token_invalid"
  /** An operator must change something; a retry does not help. */
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
  /** The user's or the caller's input is invalid: a used code, a wrong parameter. */
  | "input";

/** A refusal by WeChat or WeCom. `errmsg` is unchanged, request id included. */
export interface UpstreamRefusal {
  readonly platform: Platform;
  readonly errcode: number;
  readonly errmsg: string;
  readonly class: UpstreamErrorClass;
}

/** A refusal of ours in the words of WeChat or WeCom: SDKs know their errcodes. */
export type Wording = Pick<UpstreamRefusal, "platform" | "errcode" | "errmsg">;

/** The optional parts of a `ServiceError`. */
export interface ServiceErrorDetail {
  /** For the log, never for a caller. */
  readonly cause?: unknown;
  readonly upstream?: UpstreamRefusal;
  /** For a refusal of ours that has an errcode of theirs. */
  readonly wording?: Wording;
  /** The client that was refused for who it is, empty for one that was not identified; counted as a denial. */
  readonly deniedTo?: string;
  /** For whom and for which app it was, for the log; the app by its public name, `*` for one that we don't hold. */
  readonly about?: { readonly client: string; readonly app: string };
  /** What the log has in place of a message that quotes a part of the request. */
  readonly logged?: string;
  /** Whether a call was sent and its answer lost, so that it may have been carried out. */
  readonly mayHaveRun?: boolean;
  /** How long to wait before a retry, in milliseconds. */
  readonly retryAfterMs?: number;
  /** What the person who reads it should do next. */
  readonly hint?: string;
  /** `handled`: it calls for no backoff (any more); `terminal`: nothing else can be tried for `retryAfterMs`. */
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
  readonly about: ServiceErrorDetail["about"];
  readonly logged: string;
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
    this.about = detail.about;
    this.logged = detail.logged ?? message;
    this.mayHaveRun = detail.mayHaveRun ?? false;
    this.retryAfterMs = detail.retryAfterMs;
    this.hint = detail.hint;
    this.pacing = detail.pacing;
  }

  /** A copy with more details. */
  with(detail: ServiceErrorDetail): ServiceError {
    return new ServiceError(this.code, this.message, { ...this.#detail, ...detail });
  }
}

/**
 * A refusal of ours in the words of WeChat or WeCom, to which a face adds a request id. `code` is our own; default
 * `invalid_parameter`.
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

/** The system's or a library's own name for a failure, as `ENOENT`; `unknown` where it has none. */
export function systemCodeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}
