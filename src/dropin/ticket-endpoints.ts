import type { Slot } from "../apps/slot.ts";
import type { Access } from "../clients/access.ts";
import type { CredentialKind } from "../credentials/credential.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { secondsLeft } from "../protocol/schema.ts";
import { refusalOf } from "./wechat-failure.ts";
import { readParameters } from "./parameters.ts";
import type { WechatRequest } from "./wechat-request.ts";

/** What the endpoints that hand out tickets work with. */
export interface TicketEndpointParts {
  readonly access: Access;
  readonly credentials: Pick<CredentialManager, "get">;
}

/** An endpoint that takes an access token: what it answers with to the holder of one of `slot`'s. */
export type TokenEndpoint = (request: WechatRequest, slot: Slot) => Promise<object | string>;

const WEIXIN_KINDS: ReadonlyMap<string | undefined, CredentialKind> = new Map([
  ["jsapi", "jsapi_ticket"],
  ["wx_card", "wx_card_ticket"],
]);
const WECOM_KINDS: ReadonlyMap<string | undefined, CredentialKind> = new Map([
  ["agent_config", "agent_config_ticket"],
  ["wx_card", "wx_card_ticket"],
]);

/**
 * `GET|POST /cgi-bin/ticket/getticket?type=jsapi|wx_card`.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html
 */
export function weixinTicketEndpoint(parts: TicketEndpointParts): TokenEndpoint {
  return async (request, slot) => {
    const kind = WEIXIN_KINDS.get((await readParameters(request)).text("type"));
    if (!kind) throw refusalOf("weixin", 40097, "invalid args");
    return ticket(parts, request, slot, kind);
  };
}

/**
 * `GET|POST /cgi-bin/get_jsapi_ticket`: the corp's. PowerWeChat POSTs it.
 *
 * https://developer.work.weixin.qq.com/document/path/90506
 */
export function wecomCorpTicketEndpoint(parts: TicketEndpointParts): TokenEndpoint {
  return (request, slot) => ticket(parts, request, slot, "jsapi_ticket");
}

/**
 * `GET|POST /cgi-bin/ticket/get?type=agent_config|wx_card`: the application's.
 *
 * https://developer.work.weixin.qq.com/document/path/90506
 */
export function wecomAppTicketEndpoint(parts: TicketEndpointParts): TokenEndpoint {
  return async (request, slot) => {
    const kind = WECOM_KINDS.get((await readParameters(request)).text("type"));
    if (!kind) throw refusalOf("wecom", 40058, "invalid parameter");
    return ticket(parts, request, slot, kind);
  };
}

async function ticket(
  { access, credentials }: TicketEndpointParts,
  { caller }: WechatRequest,
  slot: Slot,
  kind: CredentialKind,
): Promise<object> {
  access.slotOfToken(caller, "ticket:read", slot);
  const held = await credentials.get({ slot, kind }, { notes: caller });
  return { errcode: 0, errmsg: "ok", ticket: held.value.reveal(), expires_in: secondsLeft(held) };
}
