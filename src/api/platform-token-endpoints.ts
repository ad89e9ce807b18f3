import type { Access } from "../access/access.ts";
import type { Permit } from "../access/permits.ts";
import type { Action } from "../access/client.ts";
import { type PlatformRole, roleOf } from "../apps/app.ts";
import type { TokenDelivery } from "../credentials/virtual-tokens.ts";
import { type ErrorCode, type Platform, refusalOf, ServiceError } from "../errors.ts";
import type { SecretEndpoint } from "./dropin.ts";
import { Reply } from "./face.ts";
import { secondsLeft, tokenReply } from "./schema.ts";
import { readParameters, type WechatRequest } from "./wechat-request.ts";

/** What the endpoints that take a platform's secret work with. */
export interface PlatformTokenParts {
  readonly access: Access;
  readonly delivery: TokenDelivery;
}

type Refused = readonly [errcode: number, errmsg: string];

/** How each kind of platform is named where its own token is asked for, and what WeChat and WeCom say of a wrong name. */
interface PlatformForm {
  readonly platform: Platform;
  readonly id: string;
  readonly secret: string;
  readonly refusals: Readonly<Record<"noId" | "wrongId" | "noSecret" | "wrongSecret", Refused>>;
}

const FORMS: Readonly<Record<PlatformRole, PlatformForm>> = {
  component: {
    platform: "weixin",
    id: "component_appid",
    secret: "component_appsecret",
    refusals: {
      noId: [41018, "missing component_appid"],
      wrongId: [40013, "invalid appid"],
      noSecret: [41004, "appsecret missing"],
      wrongSecret: [40125, "invalid appsecret"],
    },
  },
  suite: {
    platform: "wecom",
    id: "suite_id",
    secret: "suite_secret",
    refusals: {
      noId: [41021, "missing suite_id"],
      wrongId: [40083, "invalid suite_id"],
      noSecret: [41024, "missing suite_secret"],
      wrongSecret: [40080, "invalid suite_secret"],
    },
  },
  provider: {
    platform: "wecom",
    id: "corpid",
    secret: "provider_secret",
    refusals: {
      noId: [41002, "corpid missing"],
      wrongId: [40013, "invalid corpid"],
      noSecret: [41004, "provider_secret missing"],
      wrongSecret: [40001, "invalid credential"],
    },
  },
};

/** What an id and a secret may be; anything else must not be logged as a name. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const SECRET = /^[!-~]{1,512}$/;

/**
 * `POST /cgi-bin/component/api_component_token`, `…/service/get_suite_token` and `…/service/get_provider_token`: the token
 * that all share. A ticket that is sent with it is not looked at: WeChat pushes it to us.
 *
 * https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getcomponentaccesstoken.html
 * https://developer.work.weixin.qq.com/document/path/97162
 * https://developer.work.weixin.qq.com/document/path/96237
 */
export function platformTokenEndpoint(parts: PlatformTokenParts, role: PlatformRole): SecretEndpoint {
  return async (request, action) => {
    const permit = await platformPermit(parts, request, action, { role, secretName: FORMS[role].secret });
    return tokenReply(parts.delivery, permit, {}, (token) => ({
      ...(role === "component" ? {} : OK),
      [`${role}_access_token`]: token.value.reveal(),
      expires_in: secondsLeft(token),
    }));
  };
}

const OK = { errcode: 0, errmsg: "ok" };

/**
 * `POST /cgi-bin/component/api_start_push_ticket`: what WeChat says while it pushes. This service has it begin again by
 * itself, so a program that asks for that at its start gets on, and costs no call.
 *
 * https://developers.weixin.qq.com/doc/oplatform/OpenApiDoc/thirdparty/ticket-token/api_start_push_ticket.html
 */
export function startPushEndpoint(parts: PlatformTokenParts): SecretEndpoint {
  const asked = { role: "component", secretName: "component_secret" } as const;
  return async (request, action) => {
    const permit = await platformPermit(parts, request, action, asked);
    return new Reply({ errcode: 0, errmsg: "in a normal state" }, { permit });
  };
}

/** That the caller has shown a key or the platform's own secret; refused in WeChat's and WeCom's words. */
async function platformPermit(
  { access }: PlatformTokenParts,
  request: WechatRequest,
  action: Action,
  { role, secretName }: { readonly role: PlatformRole; readonly secretName: string },
): Promise<Permit> {
  const { platform, id: idName, refusals } = FORMS[role];
  const refuse = (why: keyof typeof refusals) => refusalOf(platform, ...refusals[why]);
  const parameters = await readParameters(request);
  const id = parameters.text(idName);
  const secret = parameters.text(secretName);
  if (id === undefined) throw refuse("noId");
  if (!NAME.test(id)) throw refuse("wrongId");
  if (secret !== undefined && !SECRET.test(secret)) throw refuse("wrongSecret");
  const permit = permitFor(() => access.slots.platform(request.call, action, platform, id, secret), {
    not_found: refuse("wrongId"),
    unauthorized: secret === undefined ? refuse("noSecret") : refuse("wrongSecret"),
    ...(secret === undefined && access.isUntrusted(request.call) ? { forbidden: refuse("noSecret") } : {}),
  });
  if (roleOf(permit.slot) !== role) throw refuse("wrongId");
  return permit;
}

/** What `choose` returns; its refusals in the words that are given for them. */
function permitFor(choose: () => Permit, words: Partial<Record<ErrorCode, ServiceError>>): Permit {
  try {
    return choose();
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const wording = words[error.code]?.wording;
    throw wording ? error.with({ wording }) : error;
  }
}
