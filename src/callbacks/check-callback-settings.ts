import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import {
  type CallbackApp,
  type CallbackSettings,
  type Route,
  type Rule,
  type Target,
  targetUrl,
} from "./callback-settings.ts";
import { isEncodingAesKey, isPushToken } from "./push-crypto.ts";

/** How many targets and routes an app has at most, and entries a list of a rule. */
const MAX_TARGETS = 50;
const MAX_ROUTES = 200;
const MAX_LISTED = 1000;
const MAX_URL_LENGTH = 2048;

/** The name of a target. */
const TARGET_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ENVIRONMENT = /^[A-Za-z0-9._-]{1,32}$/;
const RECEIVE_ID = /^[A-Za-z0-9_-]{0,64}$/;
const HMAC_KEY = /^[\x21-\x7e]{16,256}$/;

/** Refuses settings that WeChat's console could not have. Throws `invalid_parameter`. */
export function checkSettings(
  { platform, role }: Pick<CallbackApp, "platform" | "role">,
  { token, aesKey, mode, format, receiveIds }: Omit<CallbackSettings, "app" | "version">,
): void {
  checkPushKey(token, aesKey);
  if (platform === "wecom" && mode !== "secure")
    throw invalid(
      "企业微信的推送总是加密的，模式只能是 secure",
      "WeCom's pushes are always encrypted: the mode must be secure",
    );
  if (platform === "wecom" && format !== "xml")
    throw invalid("企业微信的推送总是XML格式", "WeCom's pushes are always XML");
  if (role !== undefined && (mode !== "secure" || format !== "xml"))
    throw invalid(
      "第三方平台的推送总是加密的XML，模式只能是 secure，格式只能是 xml",
      "pushes of a third-party platform are always encrypted XML: the mode must be secure, the format xml",
    );
  if (receiveIds.length < 1 || receiveIds.length > 20 || !receiveIds.every((id) => RECEIVE_ID.test(id)))
    throw invalid(
      "receive_ids应为1到20个appid、corpid或空文本",
      "receive_ids must be 1 to 20 of appids, corpids or the empty text",
    );
}

/** Refuses a target that could not be delivered to. `count` is how many targets there would be. Throws `invalid_parameter`. */
export function checkTarget(
  { appId }: Pick<CallbackApp, "appId">,
  target: Omit<Target, "version" | "pulledAt">,
  count: number,
): void {
  const { name, environment, content, token, aesKey, hmacKey } = target;
  if (!TARGET_NAME.test(name))
    throw invalid(
      "目标名称应由字母、数字、点、下划线和连字符组成，最多64个字符",
      "a target's name is of letters, digits, dots, underscores and hyphens, 64 at most",
    );
  if (!ENVIRONMENT.test(environment))
    throw invalid("缺少environment，如 dev", "environment is missing, as dev");
  if (count > MAX_TARGETS)
    throw invalid(`每个应用最多${MAX_TARGETS}个目标`, `an app has ${MAX_TARGETS} targets at most`);
  if (content === "reencrypted") checkPushKey(token, aesKey);
  if (content === "decrypted" && !HMAC_KEY.test(hmacKey?.reveal() ?? ""))
    throw invalid("hmac_key应为16到256个可见字符", "hmac_key must be 16 to 256 visible characters");
  const url = targetUrl(target, appId);
  if (url !== undefined && !isTargetUrl(url))
    throw invalid(
      "url应为https地址，不含用户名、密码和#片段；可用 $APPID$、$CORPID$",
      "url must be an https URL without user, password and fragment; $APPID$ and $CORPID$ may stand in it",
    );
}

/** Refuses routes that say too much. Throws `invalid_parameter`. */
export function checkRoutes(routes: readonly Route[]): void {
  if (routes.length > MAX_ROUTES)
    throw invalid(`每个应用最多${MAX_ROUTES}条路由`, `an app has ${MAX_ROUTES} routes at most`);
  if (!routes.every(({ rule }) => listsOf(rule).every(isList)))
    throw invalid(
      `规则的每个列表最多${MAX_LISTED}项，每项为1到128个字符`,
      `each list of a rule has ${MAX_LISTED} entries at most, of 1 to 128 characters`,
    );
}

/** Whether both are the same but for their versions. */
export function isSameSettings(a: CallbackSettings, b: CallbackSettings): boolean {
  return (
    isSame(a.token, b.token) &&
    isSame(a.aesKey, b.aesKey) &&
    a.mode === b.mode &&
    a.format === b.format &&
    a.receiveIds.join() === b.receiveIds.join()
  );
}

/** Whether both are the same but for their versions. */
export function isSameTarget(a: Target, b: Omit<Target, "version" | "pulledAt">): boolean {
  return (
    a.environment === b.environment &&
    a.url === b.url &&
    a.content === b.content &&
    a.timeoutMs === b.timeoutMs &&
    isSame(a.token, b.token) &&
    isSame(a.aesKey, b.aesKey) &&
    isSame(a.hmacKey, b.hmacKey)
  );
}

function isSame(a: Secret | undefined, b: Secret | undefined): boolean {
  return a && b ? a.equals(b) : a === b;
}

function checkPushKey(token: Secret | undefined, aesKey: Secret | undefined): void {
  if (!isPushToken(token?.reveal() ?? ""))
    throw invalid("Token应为3到32位字母或数字", "a Token is 3 to 32 letters and digits");
  if (!isEncodingAesKey(aesKey?.reveal() ?? ""))
    throw invalid("EncodingAESKey应为43位字母或数字", "an EncodingAESKey is 43 letters and digits");
}

/**
 * Whether a push could be sent there. Plain http passes: whether its address is one of `CALLBACK_NETWORKS` is looked up at
 * each delivery.
 */
function isTargetUrl(text: string): boolean {
  if (!/^https?:\/\/[^/][\x21-\x7e]*$/i.test(text) || text.length > MAX_URL_LENGTH || !URL.canParse(text))
    return false;
  // A backslash is a slash to some and none to others.
  if (/[\\#]/.test(text)) return false;
  const { username, password, hostname } = new URL(text);
  return username === "" && password === "" && hostname !== "";
}

function listsOf({ types, events, eventKeys, openids }: Rule): (readonly string[])[] {
  return [types, events, eventKeys, openids].flatMap((list) => (list ? [list] : []));
}

function isList(list: readonly string[]): boolean {
  // oxlint-disable-next-line no-control-regex -- they are what must not be there
  return list.length <= MAX_LISTED && list.every((each) => /^[^\u0000-\u001f\u007f]{1,128}$/.test(each));
}

function invalid(chinese: string, english: string): ServiceError {
  return new ServiceError("invalid_parameter", `${chinese} (${english})`);
}
