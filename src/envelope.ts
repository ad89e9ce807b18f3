import { type ErrorCode, ServiceError } from "./errors.ts";

/** The shape of every answer of the documented protocol and of `/v1`, errors included. */
export interface Envelope {
  /** 0, or WeChat's errcode, or one of ours. */
  readonly code: number;
  readonly msg: string;
  /** The answer; `{}` on error. */
  readonly data: object;
  /** Repeated in the header `trace-id`; quote it when asking for help. */
  readonly trace_id: string;
  /** Whole seconds to wait before a retry; only where waiting helps. */
  readonly retry_after?: number;
  /** What the person who reads it should do next, where that is known. */
  readonly hint?: string;
}

/** Our own numbers in `code`. A refusal of WeChat's is not here: its errcode is the code. */
const NUMBERS = {
  invalid_parameter: 1,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  precondition_failed: 412,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  internal: 500,
  invalid_config: 500,
  upstream_rejected: 502,
  upstream_invalid: 502,
  upstream_unreachable: 502,
  unavailable: 503,
  store_unusable: 503,
  upstream_timeout: 504,
} satisfies Record<ErrorCode, number>;

/** The message of an unexpected error, which reveals nothing about it. */
const INTERNAL_MESSAGE = "服务内部错误，请凭 trace_id 联系管理员 (internal error; quote the trace_id)";

/** The envelope of a failure. Anything that is not a `ServiceError` is code 500 and reveals nothing about its cause. */
export function failureEnvelope(error: unknown, traceId: string): Envelope {
  if (!(error instanceof ServiceError) || error.code === "internal") {
    return { code: NUMBERS.internal, msg: INTERNAL_MESSAGE, data: {}, trace_id: traceId };
  }
  return {
    code: (error.upstream ?? error.wording)?.errcode ?? NUMBERS[error.code],
    msg: (error.upstream ?? error.wording)?.errmsg ?? error.message,
    data: {},
    trace_id: traceId,
    ...(error.retryAfterMs === undefined ? {} : { retry_after: Math.ceil(error.retryAfterMs / 1000) }),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  };
}

/** The HTTP status of a failure where statuses are used: 502 when WeChat refused, 400 for a parameter, else our number. */
export function failureStatus(error: unknown): number {
  if (!(error instanceof ServiceError)) return NUMBERS.internal;
  if (error.upstream) return NUMBERS.upstream_rejected;
  return error.code === "invalid_parameter" ? 400 : NUMBERS[error.code];
}
