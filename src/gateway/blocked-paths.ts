import { isPlatformPath } from "../access/api-policy.ts";
import { tokenNamesIn } from "../credentials/kinds.ts";
import { type Platform, refusalOf, ServiceError } from "../errors.ts";
import { isAuthorizer, type PlatformRole, roleOf, type SlotName } from "../apps/app.ts";
import type { CallQuery } from "./forwarder.ts";

/** What WeChat's paths consist of. Anything else is refused, as servers may read it differently. */
const PLAIN_PATH = /^(\/[A-Za-z0-9._~-]+)+\/?$/;
const DOT_SEGMENT = /\/\.{1,2}(\/|$)/;
const METHODS = /^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/;

/** Paths that take a secret, or a token of another kind than an app's. */
const OTHER_CREDENTIAL =
  /^\/(cgi-bin\/(component|service)|sns)(\/|$)|^\/cgi-bin\/(token|stable_token|gettoken|clear_quota\/v2)$/;
/**
 * Of those that take a platform's token: what takes its secret or a code, which we answer ourselves, starts pushes, or clears
 * quotas.
 */
const CLOSED_TO_PLATFORMS =
  /^\/cgi-bin\/(component\/(api_component_token|api_start_push_ticket|api_query_auth|api_authorizer_token)|service\/(get_suite_token|get_provider_token|get_corp_token|(v2\/)?get_permanent_code))$|\/clear_quota(\/v2)?$/;
/** What takes a platform's token and nothing secret besides. */
const OF_PLATFORMS: Readonly<Record<PlatformRole, RegExp>> = {
  component: /^\/cgi-bin\/component\/|^\/sns\/oauth2\/component\/refresh_token$/,
  suite: /^\/cgi-bin\/service\//,
  provider: /^\/cgi-bin\/service\//,
};
/** What takes an account's own token, although it is the component that asks. */
const OF_AUTHORIZERS = /^\/cgi-bin\/component\/[gs]et_authorizer_option$/;
/** Parameters with a token of another kind, on any path. */
const OTHER_TOKEN = /^(component|suite|provider|authorizer)_access_token$/i;
/**
 * Where the answer has the real token in URLs, or a real token of another app, or where the quota that all share is
 * spent.
 *
 * https://developer.work.weixin.qq.com/document/path/95816
 */
const REAL_TOKENS_ONLY = /^\/cgi-bin\/(openapi(\/|$)|clear_quota|corpgroup\/corp\/gettoken$)/;

/** Where a platform's token belongs, under whichever name: what is refused elsewhere says nothing of the token. */
const OWN_PATHS: Readonly<Record<PlatformRole, RegExp>> = {
  component:
    /^\/cgi-bin\/component\/|^\/sns\/(oauth2\/)?component\/|^\/wxa\/(gettemplatedraftlist|gettemplatelist|addtotemplate|deletetemplate)\/?$/,
  suite: /^\/cgi-bin\/service\//,
  provider: /^\/cgi-bin\/(service|license)\//,
};

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
  if (tokenNamesIn(query).some((name) => query.count(name) > 1)) {
    throw new ServiceError("invalid_parameter", "access_token重复 (access_token is given twice)");
  }
  if (!METHODS.test(method)) throw new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
}

/**
 * Refuses paths and parameters that take secrets or other kinds of token than the slot's, and for callers that must not see the
 * current token (`isHidden`) also those that would reveal a real one.
 *
 * @throws {ServiceError} `forbidden`.
 */
export function assertAllowed(slot: SlotName, path: string, query: CallQuery, isHidden: boolean): void {
  const name = path.toLowerCase().replace(/\/$/, "");
  const role = roleOf(slot);
  const own = role && query.count("access_token") === 0 ? `${role}_access_token` : undefined;
  const isOther = query.names.some((each) => each !== own && OTHER_TOKEN.test(each));
  if (isOther || (OTHER_CREDENTIAL.test(name) && !takesTokenOf(slot, role, name)) || isClosed(role, name)) {
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

/** Whether the token of the slot belongs to that path: then its refusal there means that it is not valid. */
export function isOwnPath(slot: SlotName, path: string): boolean {
  const role = roleOf(slot);
  return role === undefined || OWN_PATHS[role].test(path.toLowerCase());
}

function takesTokenOf(slot: SlotName, role: PlatformRole | undefined, name: string): boolean {
  return role ? OF_PLATFORMS[role].test(name) : isAuthorizer(slot) && OF_AUTHORIZERS.test(name);
}

function isClosed(role: PlatformRole | undefined, name: string): boolean {
  return role !== undefined && CLOSED_TO_PLATFORMS.test(name);
}
