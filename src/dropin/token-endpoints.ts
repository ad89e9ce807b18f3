import type { Slot } from "../apps/slot.ts";
import { actorOf } from "../clients/access.ts";
import type { CredentialRef } from "../credentials/credential.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/token-delivery.ts";
import { ServiceError } from "../errors.ts";
import { secondsLeft } from "../protocol/schema.ts";
import { type Parameters, readParameters } from "./parameters.ts";
import { type SlotChoiceParts, wecomSlotOf, weixinSlotOf } from "./slot-choice.ts";
import { refusalOf } from "./wechat-failure.ts";
import type { WechatRequest } from "./wechat-request.ts";

/** WeChat refuses a forced refresh within so long after the last one by handing out the current token. */
const FORCED_PAUSE_MS = 30_000;

/** What the endpoints that hand out tokens work with. */
export interface TokenEndpointParts extends SlotChoiceParts {
  readonly delivery: TokenDelivery;
}

/** An endpoint that takes an app's secret, or an API key in its place: what it answers with. */
export type SecretEndpoint = (request: WechatRequest) => Promise<object | string>;

/**
 * `GET|POST /cgi-bin/token`. Whatever mode the app's token is fetched in, it is the shared one, with the life that is
 * left. SDKs that can use stable tokens POST to the very same address.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
 */
export function classicTokenEndpoint(parts: TokenEndpointParts): SecretEndpoint {
  return async (request) => weixinToken(parts, request, await readParameters(request));
}

/**
 * `POST /cgi-bin/stable_token`, also with `force_refresh`, for who may order a new token, and within the app's budget.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getstableaccesstoken.html
 */
export function stableTokenEndpoint(parts: TokenEndpointParts): SecretEndpoint {
  return async (request) => {
    const parameters = await readParameters(request);
    if (!parameters.isJson) throw refusalOf("weixin", 47001, "data format error");
    return weixinToken(parts, request, parameters);
  };
}

/**
 * `GET /cgi-bin/gettoken`.
 *
 * https://developer.work.weixin.qq.com/document/path/91039
 */
export function wecomTokenEndpoint(parts: TokenEndpointParts): SecretEndpoint {
  return async (request) => {
    const { caller } = request;
    const slot = wecomSlotOf(parts, request, await readParameters(request), "token:read");
    const token = await parts.delivery.get(caller, tokenOf(slot), { notes: caller });
    return { errcode: 0, errmsg: "ok", ...tokenFields(token) };
  };
}

async function weixinToken(
  parts: TokenEndpointParts,
  request: WechatRequest,
  parameters: Parameters,
): Promise<object> {
  const { caller } = request;
  const { delivery } = parts;
  const isForced = parameters.isJson && parameters.isTrue("force_refresh");
  const action = isForced ? "token:refresh" : "token:read";
  const slot = weixinSlotOf(parts, request, parameters, { action, grantType: "client_credential" });
  const ref = tokenOf(slot);
  const current = () => delivery.get(caller, ref, { notes: caller });
  if (!isForced) return tokenFields(await current());
  try {
    return tokenFields(await delivery.refresh(caller, ref, { force: true, actor: actorOf(caller) }));
  } catch (error) {
    if (!isBudget(error)) throw error;
    const { retryAfterMs } = error;
    if (retryAfterMs <= FORCED_PAUSE_MS) return tokenFields(await current());
    throw refusalOf("weixin", 45009, "reach max api daily quota limit", { retryAfterMs });
  }
}

function tokenOf(slot: Slot): CredentialRef {
  return { slot, kind: "access_token" };
}

function tokenFields(token: DeliveredToken) {
  return { access_token: token.value.reveal(), expires_in: secondsLeft(token) };
}

function isBudget(error: unknown): error is ServiceError & { retryAfterMs: number } {
  if (!(error instanceof ServiceError) || error.retryAfterMs === undefined) return false;
  return !error.upstream && (error.code === "unavailable" || error.code === "rate_limited");
}
