import { type Platform, refusalOf, ServiceError } from "../errors.ts";
import type { CallQuery } from "./forwarder.ts";

/** What WeChat's paths consist of. All else could be read in one way here and in another there, and so is refused. */
const PLAIN_PATH = /^(\/[A-Za-z0-9._~-]+)+\/?$/;
const DOT_SEGMENT = /\/\.{1,2}(\/|$)/;
const METHODS = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/;

/** Paths that carry a secret, or a token of another kind than an app's. */
const OTHER_CREDENTIAL =
  /^\/(cgi-bin\/(component|service)|sns)(\/|$)|^\/cgi-bin\/(token|stable_token|gettoken|clear_quota\/v2)$/;
/** Parameters in which a token of another kind is sent, with whatever path. */
const OTHER_TOKEN = /^(component|suite|provider|authorizer)_access_token$/i;
/**
 * Where the answer shows URLs with the real token in them, or has another's real token, or where an app's quota is spent
 * for all.
 *
 * https://developer.work.weixin.qq.com/document/path/95816
 */
const REAL_TOKENS_ONLY = /^\/cgi-bin\/(openapi(\/|$)|clear_quota|corpgroup\/corp\/gettoken$)/;

/** What of a call must be plain. */
export interface PlainCall {
  readonly method: string;
  readonly path: string;
  readonly query: CallQuery;
}

/** Refuses a path that another server could read in another way: WeChat's or WeCom's refusal of an unknown path. */
export function assertCanonicalPath(platform: Platform, path: string): void {
  if (!PLAIN_PATH.test(path) || DOT_SEGMENT.test(path)) throw refusalOf(platform, 40066, "invalid url");
}

/**
 * Refuses a call that is not plainly what it looks like.
 *
 * @throws {ServiceError} WeChat's or WeCom's own refusal of an unknown path; `invalid_parameter` for a token that is
 *   given twice, however it is encoded; `method_not_allowed` for a method that no API has.
 */
export function assertCanonical(platform: Platform, { method, path, query }: PlainCall): void {
  assertCanonicalPath(platform, path);
  // A fragment's beginning: it would not be sent, nor what is behind it.
  if (query.toString().includes("#")) throw refusalOf(platform, 40066, "invalid url");
  if (query.count("access_token") > 1) {
    throw new ServiceError("invalid_parameter", "access_token重复 (access_token is given twice)");
  }
  if (!METHODS.test(method)) throw new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
}

/**
 * Refuses what goes through no gateway: paths and parameters that carry secrets or other kinds of token, and for callers
 * that must not see the current token (`isHidden`) also those that would show a real one.
 *
 * @throws {ServiceError} `forbidden`.
 */
export function assertAllowed(path: string, query: CallQuery, isHidden: boolean): void {
  const name = path.toLowerCase().replace(/\/$/, "");
  if (OTHER_CREDENTIAL.test(name) || query.names.some((each) => OTHER_TOKEN.test(each))) {
    throw new ServiceError(
      "forbidden",
      "该接口使用secret或其他类型的token，不能经由网关调用 (this path takes a secret or another kind of token, and is closed at the gateway)",
    );
  }
  if (isHidden && REAL_TOKENS_ONLY.test(name)) {
    throw new ServiceError(
      "forbidden",
      "使用虚拟token或已失效token的调用方不能调用该接口 (this path is closed to callers with virtual tokens or a rejected one)",
    );
  }
}
