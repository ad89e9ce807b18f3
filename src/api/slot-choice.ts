import type { AppDirectory } from "../apps/app-directory.ts";
import type { Access } from "../access/access.ts";
import type { Permit } from "../access/permits.ts";
import { type Caller, wrongSecret } from "../access/principal.ts";
import type { Action } from "../access/client.ts";
import { refusalOf, ServiceError } from "../errors.ts";
import type { Parameters, WechatRequest } from "./wechat-request.ts";

/** Forms as in the documented protocol. Anything else is no name and must not be logged as one: it may be a secret. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const AGENT = /^[A-Za-z0-9]{1,64}$/;
const SECRET = /^[!-~]{1,512}$/;

/** What finds the app of a request with a secret, or an API key in its place. */
export interface SlotChoiceParts {
  readonly access: Access;
  readonly directory: Pick<AppDirectory, "namesOfCorp">;
}

/**
 * The slot of a WeChat app by the `appid` and the `secret` that were sent.
 *
 * @throws {ServiceError} WeChat's own refusals in WeChat's order: 41002, 40013, 40002, 41004, 40125; else as
 *   `SlotAccess.weixin`.
 */
export function weixinSlotOf(
  { access }: SlotChoiceParts,
  { call }: WechatRequest,
  parameters: Parameters,
  { action, grantType }: { readonly action: Action; readonly grantType: string },
): Permit {
  const appId = parameters.text("appid");
  const secret = parameters.text("secret");
  if (appId === undefined) throw refusalOf("weixin", 41002, "appid missing");
  if (!NAME.test(appId)) throw refusalOf("weixin", 40013, "invalid appid");
  const isGrantRight = parameters.text("grant_type") === grantType;
  let denial: { readonly deniedTo?: string } = {};
  try {
    if (!isSecret(secret)) throw wrongSecret("weixin");
    const permit = access.slots.weixin(call, action, appId, secret);
    if (isGrantRight) return permit;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (error.code === "invalid_parameter") throw refusalOf("weixin", 40013, "invalid appid");
    denial = denialOf(error);
    const isMissing = isWithoutSecret(access, call, secret, error);
    const isAboutSecret = isMissing || error.code === "unauthorized" || error.upstream !== undefined;
    if (isGrantRight || !isAboutSecret)
      throw isMissing ? refusalOf("weixin", 41004, "appsecret missing").with(denial) : error;
  }
  throw refusalOf("weixin", 40002, "invalid grant_type").with(denial);
}

/**
 * The slot of a WeCom application. The secret says which application of the corp is meant; with an API key its grants
 * do, or an `agentid`.
 *
 * @throws {ServiceError} WeCom's own refusals in WeCom's order: 41004, 41002, 40013, 40001; else as `SlotAccess.wecom`.
 */
export function wecomSlotOf(
  { access, directory }: SlotChoiceParts,
  { call }: WechatRequest,
  parameters: Parameters,
  action: Action,
): Permit {
  const corpId = parameters.text("corpid");
  const secret = parameters.text("corpsecret");
  const agent = parameters.text("agentid");
  const secretMissing = () => refusalOf("wecom", 41004, "corpsecret missing");
  if (corpId === undefined) {
    throw secret === undefined && call.principal.kind !== "client"
      ? secretMissing()
      : refusalOf("wecom", 41002, "corpid missing");
  }
  if (!NAME.test(corpId)) throw refusalOf("wecom", 40013, "invalid corpid");
  if (agent !== undefined && !AGENT.test(agent)) throw refusalOf("wecom", 40056, "invalid agentid");
  if (!isSecret(secret)) throw wrongSecret("wecom");
  try {
    return access.slots.wecom(call, action, corpId, secret, agent);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (isWithoutSecret(access, call, secret, error)) throw secretMissing().with(denialOf(error));
    if (error.code !== "invalid_parameter") throw error;
    const held = directory.namesOfCorp(corpId);
    // A secret that is not ours was refused before, so one that was sent is a client's key.
    const isClient = call.principal.kind === "client" || secret !== undefined;
    if (held.length === 0) throw isClient ? refusalOf("wecom", 40013, "invalid corpid") : secretMissing();
    const isUnknownAgent = agent !== undefined && !held.includes(`${corpId}_${agent}`);
    throw isUnknownAgent ? refusalOf("wecom", 40056, "invalid agentid") : error;
  }
}

/** Whether a secret, if there is one, could be one. */
function isSecret(secret: string | undefined): boolean {
  return secret === undefined || SECRET.test(secret);
}

/** Whether `error` refuses a caller that sent neither a secret nor a key, and needs one. */
function isWithoutSecret(
  access: Access,
  caller: Caller,
  secret: string | undefined,
  { code }: ServiceError,
): boolean {
  if (secret !== undefined) return false;
  return code === "unauthorized" || (code === "forbidden" && access.isUntrusted(caller));
}

/** The denial that another error in place of `error` must keep. */
function denialOf({ deniedTo }: ServiceError): { readonly deniedTo?: string } {
  return deniedTo === undefined ? {} : { deniedTo };
}
