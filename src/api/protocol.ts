import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import { onBehalf, type Permit } from "../access/permits.ts";
import { actorOf, callerKey } from "../access/principal.ts";
import type { SlotName } from "../apps/app.ts";
import { dropEmpty } from "./body.ts";
import { callOf, immediate, Reply, route, type RouteRules, type Validated } from "./face.ts";
import type { ClearRequest } from "../credentials/clearing.ts";
import type { CredentialManager, GetNotes } from "../credentials/manager.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/virtual-tokens.ts";
import type { LoginCodes } from "../oauth/login-codes.ts";
import type { Login } from "../login/login.ts";
import type { UserTokens } from "../login/user-tokens.ts";
import { Secret } from "../secret.ts";
import {
  accessToken,
  agentId,
  appId,
  code,
  corpId,
  envelopeOf,
  minTtl,
  minTtlMs,
  secret,
  signedUrl,
  tokenReply,
  url,
  wecomSecret,
} from "./schema.ts";
import type { PageSigner } from "../signing/page-signer.ts";

/** Subtracted from the life that is stated, so that a caller that uses it to the last second is not refused. */
const MARGIN_SECONDS = 10;

const TOKEN_DATA = Type.Object({
  access_token: Type.String(),
  expires_in: Type.Integer({ description: "Seconds left, less 10. 剩余秒数（已减10秒）。" }),
});
const TOKEN_EXAMPLE = { access_token: "70_exampleToken", expires_in: 7190 };

const XCX_QUERY = Type.Object({
  appid: appId,
  secret: Type.Optional(secret),
  min_ttl: Type.Optional(minTtl),
});
const QYAPI_QUERY = Type.Object({
  corpid: corpId,
  secret: Type.Optional(wecomSecret),
  agentid: Type.Optional(agentId),
  min_ttl: Type.Optional(minTtl),
});

/** What the routes of `/AccessToken/*` work with. */
export interface AccessTokenRouteParts {
  readonly access: Access;
  readonly credentials: Pick<CredentialManager, "clear" | "clearApp">;
  readonly delivery: TokenDelivery;
  readonly login: Login;
  readonly loginCodes: Pick<LoginCodes, "codeFor">;
  readonly userTokens: Pick<UserTokens, "remember">;
}

/** `/AccessToken/*`: tokens of Official Accounts, Mini Programs and WeCom, and the OAuth exchange. */
export function accessTokenRoutes({
  access,
  credentials,
  delivery,
  login,
  loginCodes,
  userTokens,
}: AccessTokenRouteParts) {
  /** Clears the slot of `permit`, or every slot of the app; with `value` only while that is the current one. */
  const clear = async (
    request: Request,
    permit: Permit<SlotName | undefined>,
    app: Pick<SlotName, "platform" | "appId">,
    value: string | undefined,
  ): Promise<Reply> => {
    const actor = actorOf(permit.principal, callOf(request));
    const order: ClearRequest = value === undefined ? { actor } : { actor, onlyIf: new Secret(value) };
    const { slot } = permit;
    const clearing = slot
      ? credentials.clear({ slot, kind: "access_token" }, order)
      : credentials.clearApp(app, "access_token", order);
    await onBehalf(permit, clearing);
    return new Reply({}, { permit });
  };
  return new Elysia({ prefix: "/AccessToken" })
    .onTransform(({ query }) => dropEmpty(query))
    .get(
      "/getXcx",
      immediate(({ query, request }: Validated<typeof XCX_QUERY>) => {
        const permit = access.slots.weixin(callOf(request), "token:read", query.appid, query.secret);
        return tokenReply(delivery, permit, { minTtlMs: minTtlMs(query.min_ttl) }, tokenData);
      }),
      {
        query: XCX_QUERY,
        detail: {
          summary: "Access token of an Official Account or Mini Program · 获取公众号/小程序token",
          description:
            "The shared token of the app, with its remaining life. 返回共享的access_token及剩余有效期。",
          tags: ["AccessToken"],
          responses: envelopeOf("The token. 当前token。", TOKEN_DATA, TOKEN_EXAMPLE),
        },
      },
    )
    .get(
      "/clearXcx",
      async ({ query, request }) => {
        const { appid, secret, access_token: value } = query;
        const permit = access.slots.weixinScope(callOf(request), "token:clear", appid, secret);
        return clear(request, permit, { platform: "weixin", appId: appid }, value);
      },
      {
        query: Type.Object({
          appid: appId,
          secret: Type.Optional(secret),
          access_token: Type.Optional(accessToken),
        }),
        detail: {
          summary: "Clear the app's token · 清除公众号/小程序token",
          description:
            "The next get asks WeChat, which may return the same token again in stable mode. Without secret, every token of the app is cleared. 下次获取时将重新请求微信；不带secret时清除该应用的全部token。",
          tags: ["AccessToken"],
          responses: envelopeOf("Cleared, or there was none. 已清除或本无token。", Type.Object({}), {}),
        },
      },
    )
    .get(
      "/getQyapi",
      immediate(({ query, request }: Validated<typeof QYAPI_QUERY>) => {
        const { corpid, secret, agentid } = query;
        const permit = access.slots.wecom(callOf(request), "token:read", corpid, secret, agentid);
        return tokenReply(delivery, permit, { minTtlMs: minTtlMs(query.min_ttl) }, tokenData);
      }),
      {
        query: QYAPI_QUERY,
        detail: {
          summary: "Access token of a WeCom application · 获取企业微信token",
          description:
            "The secret decides which application; without it the agentid, and without either the corp's only one. 由secret决定应用；省略时由agentid决定；二者都省略时该企业只能配置一个应用。",
          tags: ["AccessToken"],
          responses: envelopeOf("The token. 当前token。", TOKEN_DATA, TOKEN_EXAMPLE),
        },
      },
    )
    .get(
      "/clearQyapi",
      async ({ query, request }) => {
        const { corpid, secret, agentid, access_token: value } = query;
        const permit = access.slots.wecomScope(callOf(request), "token:clear", corpid, secret, agentid);
        return clear(request, permit, { platform: "wecom", appId: corpid }, value);
      },
      {
        query: Type.Object({
          corpid: corpId,
          secret: Type.Optional(wecomSecret),
          agentid: Type.Optional(agentId),
          access_token: Type.Optional(accessToken),
        }),
        detail: {
          summary: "Clear a WeCom token · 清除企业微信token",
          description:
            "Without secret and agentid, every token of the corp is cleared. WeCom returns the same token again while it is valid. 不带secret和agentid时清除该企业的全部token；企业微信在有效期内会返回同一token。",
          tags: ["AccessToken"],
          responses: envelopeOf("Cleared, or there was none. 已清除或本无token。", Type.Object({}), {}),
        },
      },
    )
    .post(
      "/getOauthAccessToken",
      async ({ body, request }) => {
        const call = callOf(request);
        const permit = access.slots.weixin(call, "login", body.wx_app_id, body.wx_app_secret);
        const caller = callerKey(permit.principal, call.origin);
        const theirs = await onBehalf(permit, loginCodes.codeFor(permit, new Secret(body.code)));
        const user = await onBehalf(permit, login.oauth(permit.slot, theirs, caller));
        userTokens.remember(permit, user);
        const data = {
          access_token: user.accessToken.reveal(),
          expires_in: user.expiresIn,
          refresh_token: user.refreshToken.reveal(),
          openid: user.openId,
          scope: user.scope,
          ...(user.unionId === undefined ? {} : { unionid: user.unionId }),
          ...(user.isSnapshotUser === undefined ? {} : { is_snapshotuser: user.isSnapshotUser }),
        };
        return new Reply(data, { permit });
      },
      route(bySecret(access), {
        body: Type.Object({ code, wx_app_id: appId, wx_app_secret: Type.Optional(secret) }),
        detail: {
          summary: "Exchange a web OAuth code · 网页授权code换取用户token",
          description:
            "The user's own token, not the app's. The same caller that repeats a code within 10 s gets the same answer. 返回用户自己的token；同一调用方10秒内重复提交同一code得到相同结果。",
          tags: ["AccessToken"],
          responses: envelopeOf(
            "WeChat's object. 微信返回的对象。",
            Type.Object({
              access_token: Type.String(),
              expires_in: Type.Integer(),
              refresh_token: Type.String(),
              openid: Type.String(),
              scope: Type.String(),
              unionid: Type.Optional(Type.String()),
              is_snapshotuser: Type.Optional(Type.Integer()),
            }),
            {
              access_token: "70_exampleUserToken",
              expires_in: 7200,
              refresh_token: "70_exampleRefreshToken",
              openid: "oExampleOpenid",
              scope: "snsapi_base",
            },
          ),
        },
      }),
    );
}

/** A body's own secret may identify its sender. */
function bySecret(access: Access): RouteRules {
  return { prove: (call, body) => access.slots.checkSecret(call, body["wx_app_id"], body["wx_app_secret"]) };
}

function tokenData(credential: DeliveredToken) {
  const seconds = Math.ceil(credential.remainingMs() / 1000) - MARGIN_SECONDS;
  return { access_token: credential.value.reveal(), expires_in: Math.max(1, seconds) };
}

/** What the routes of `/JsSDK/*` work with. */
export interface JsSdkRouteParts {
  readonly access: Access;
  readonly signer: PageSigner;
}

/** `/JsSDK/*`: signatures for `wx.config`. */
export function jsSdkRoutes({ access, signer }: JsSdkRouteParts) {
  return new Elysia({ prefix: "/JsSDK" }).post(
    "/getJsApiSign",
    async ({ body, request }) => {
      const { wx_app_id: appid, wx_app_secret } = body;
      const permit = access.slots.weixin(callOf(request), "ticket:sign", appid, wx_app_secret);
      const notes: GetNotes = {};
      const { nonce, timestamp, signature, url, hint } = await onBehalf(
        permit,
        signer.sign(permit.slot, body.url, { notes }),
      );
      return new Reply(
        { app_id: appid, noncestr: nonce, timestamp, signature, url },
        { permit, result: notes.result, hint },
      );
    },
    route(bySecret(access), {
      body: Type.Object({ wx_app_id: appId, wx_app_secret: Type.Optional(secret), url }),
      detail: {
        summary: "Sign a page for the JS-SDK · 获取JS-SDK签名",
        description:
          "Send location.href.split('#')[0]; pass the answer to wx.config (nonceStr is noncestr). 请传location.href.split('#')[0]，结果用于wx.config（nonceStr即noncestr）。",
        tags: ["JsSDK"],
        responses: envelopeOf(
          "The signature. 签名。",
          Type.Object({
            app_id: Type.String(),
            noncestr: Type.String(),
            timestamp: Type.Integer({ description: "Seconds. 秒。" }),
            signature: Type.String(),
            url: signedUrl,
          }),
          {
            app_id: "wx0000000000000001",
            noncestr: "3f1b6a0c9d2e4f58",
            timestamp: 1414587457,
            signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
            url: "https://example.com/page?id=1",
          },
        ),
      },
    }),
  );
}

/** What the routes of `/xcx/*` work with. */
export interface XcxRouteParts {
  readonly access: Access;
  readonly login: Login;
}

/** `/xcx/*`: login of Mini Programs (小程序). */
export function xcxRoutes({ access, login }: XcxRouteParts) {
  return new Elysia({ prefix: "/xcx" })
    .onTransform(({ query }) => dropEmpty(query))
    .get(
      "/jscode2session",
      async ({ query, request }) => {
        const call = callOf(request);
        const permit = access.slots.weixin(call, "login", query.appid, query.secret);
        const caller = callerKey(permit.principal, call.origin);
        const user = await onBehalf(permit, login.miniProgram(permit.slot, new Secret(query.code), caller));
        const { openId, unionId = "", sessionKey } = user;
        return new Reply({ openid: openId, unionid: unionId, session_key: sessionKey.reveal() }, { permit });
      },
      {
        query: Type.Object({ appid: appId, secret: Type.Optional(secret), code }),
        detail: {
          summary: "Exchange a Mini Program's login code · 小程序登录code换取openid",
          description:
            "The code of wx.login. Keep session_key on the server. The same caller that repeats a code within 10 s gets the same answer. wx.login得到的code；session_key不可下发到前端；同一调用方10秒内重复提交得到相同结果。",
          tags: ["xcx"],
          responses: envelopeOf(
            'The user; "" where WeChat gives none. 用户；微信未返回的字段为""。',
            Type.Object({ openid: Type.String(), unionid: Type.String(), session_key: Type.String() }),
            { openid: "oExampleOpenid", unionid: "", session_key: "AAAAAAAAAAAAAAAAAAAAAA==" },
          ),
        },
      },
    );
}
