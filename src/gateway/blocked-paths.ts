import { isPlatformPath } from "../access/api-policy.ts";
import { type Platform, refusalOf, ServiceError } from "../errors.ts";
import type { CallQuery } from "./forwarder.ts";

/** What WeChat's paths consist of. Anything else is refused, as servers may read it differently. */
const PLAIN_PATH = /^(\/[A-Za-z0-9._~-]+)+\/?$/;
const DOT_SEGMENT = /\/\.{1,2}(\/|$)/;
const METHODS = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/;

/** Paths that take a secret, or a token of another kind than an app's. */
const OTHER_CREDENTIAL =
  /^\/(cgi-bin\/(component|service)|sns)(\/|$)|^\/cgi-bin\/(token|stable_token|gettoken|clear_quota\/v2)$/;
/** Parameters with a token of another kind, on any path. */
const OTHER_TOKEN = /^(component|suite|provider|authorizer)_access_token$/i;
/**
 * Where the answer has the real token in URLs, or a real token of another app, or where the quota that all share is
 * spent.
 *
 * https://developer.work.weixin.qq.com/document/path/95816
 */
const REAL_TOKENS_ONLY = /^\/cgi-bin\/(openapi(\/|$)|clear_quota|corpgroup\/corp\/gettoken$)/;

/** What must be canonical about a call. */
export interface PlainCall {
  readonly method: string;
  readonly path: string;
  readonly query: CallQuery;
}

/**
 * Refuses a path that another server could read differently, or whose first segment is none of the platform's, as WeChat
 * or WeCom refuse an unknown path.
 */
export function assertCanonicalPath(platform: Platform, path: string): void {
  if (!PLAIN_PATH.test(path) || DOT_SEGMENT.test(path) || !isPlatformPath(path, platform))
    throw refusalOf(platform, 40066, "invalid url");
}

/**
 * Refuses a call that another server could read differently.
 *
 * @throws {ServiceError} WeChat's or WeCom's own refusal of an unknown path; `invalid_parameter` for a token that is
 *   sent twice, in any encoding; `method_not_allowed` for a method that no API has.
 */
export function assertCanonical(platform: Platform, { method, path, query }: PlainCall): void {
  assertCanonicalPath(platform, path);
  // It would begin a fragment, which is not sent.
  if (query.toString().includes("#")) throw refusalOf(platform, 40066, "invalid url");
  if (query.count("access_token") > 1) {
    throw new ServiceError("invalid_parameter", "access_token重复 (access_token is given twice)");
  }
  if (!METHODS.test(method)) throw new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
}

/**
 * Refuses paths and parameters that take secrets or other kinds of token, and for callers that must not see the current
 * token (`isHidden`) also those that would reveal a real one.
 *
 * @throws {ServiceError} `forbidden`.
 */
export function assertAllowed(path: string, query: CallQuery, isHidden: boolean): void {
  const name = path.toLowerCase().replace(/\/$/, "");
  if (OTHER_CREDENTIAL.test(name) || query.names.some((each) => OTHER_TOKEN.test(each))) {
    throw new ServiceError(
      "forbidden",
      "该接口使用secret或其他类型的token，不能经由网关调用 (this path takes a secret or another kind of token, and is blocked by the gateway)",
    );
  }
  if (isHidden && REAL_TOKENS_ONLY.test(name)) {
    throw new ServiceError(
      "forbidden",
      "使用虚拟token或已失效token的调用方不能调用该接口 (this path is blocked for callers with virtual tokens or a rejected token)",
    );
  }
}
