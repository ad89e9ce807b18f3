import { type ErrorCode, ServiceError } from "../errors.ts";

/** The failures that say something of the upstream; others are our own affair and pause nothing. */
const UPSTREAM_CODES: ReadonlySet<ErrorCode> = new Set([
  "upstream_rejected",
  "upstream_invalid",
  "upstream_unreachable",
  "upstream_timeout",
]);

/** Errors that a pause has been made of already; a ticket fails with its token's error and must not count it again. */
const accounted = new WeakSet<ServiceError>();

/** Errors after which there is nothing left to try for a while. */
const deadEnds = new WeakSet<ServiceError>();

/** Why nothing is done that makes WeChat issue a new token at once. */
export const BUDGET_MESSAGE =
  "今日强制刷新次数已用完或间隔不足30秒，请稍后重试 (forced refreshes: 20 a day, 30 s apart; try again later)";

/** An error after which the credential is left alone for `retryAfterMs`, because nothing else can be tried. */
export function deadEnd(message: string, retryAfterMs: number): ServiceError {
  const error = unavailable(message, retryAfterMs);
  deadEnds.add(error);
  return error;
}

/** An error that is nobody's fault and pauses nothing. */
export function unavailable(message: string, retryAfterMs: number): ServiceError {
  return new ServiceError("unavailable", message, { retryAfterMs });
}

/** Marks an error as one that needs no pause, or has had one. */
export function markAccounted(error: ServiceError): ServiceError {
  accounted.add(error);
  return error;
}

/** Whether a pause was made of this error already, or none is to be made. */
export function isAccounted(error: ServiceError): boolean {
  return accounted.has(error);
}

/** Whether the upstream should be left alone for a while after this error. */
export function callsForPause(error: ServiceError): boolean {
  return !isAccounted(error) && (UPSTREAM_CODES.has(error.code) || deadEnds.has(error));
}
