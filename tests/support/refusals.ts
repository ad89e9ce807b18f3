import { type Platform, ServiceError, type UpstreamErrorClass } from "../../src/errors.ts";

/** WeChat's or WeCom's refusal with an errcode of the given class. */
export function refusal(
  errorClass: UpstreamErrorClass,
  errcode = 40125,
  platform: Platform = "weixin",
): ServiceError {
  const upstream = { platform, errcode, errmsg: `refused with ${errcode}`, class: errorClass };
  return new ServiceError("upstream_rejected", `errcode ${errcode}`, { upstream });
}

/** What `promise` was rejected with, when that is a `ServiceError`; otherwise this throws. */
export async function failureOf(promise: Promise<unknown>): Promise<ServiceError> {
  const error: unknown = await promise.then(
    () => new Error("it did not fail"),
    (failure: unknown) => failure,
  );
  if (error instanceof ServiceError) return error;
  throw error;
}

/** `failureOf` each of what was begun at once: one that fails while another is waited for is handled already. */
export function failuresOf(promises: readonly Promise<unknown>[]): Promise<ServiceError[]> {
  return Promise.all(promises.map(failureOf));
}
