import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { type Access, repeaterOf } from "../clients/access.ts";
import type { Authentication } from "../clients/authentication.ts";
import type { Login } from "../login/login.ts";
import { Secret } from "../secret.ts";
import { appId, code, envelopeOf, secret } from "./schema.ts";

/** What the routes of `/xcx/*` work with. */
export interface XcxRouteParts {
  readonly identity: Authentication["identity"];
  readonly access: Access;
  readonly login: Login;
}

/** `/xcx/*`: login of Mini Programs (小程序). */
export function xcxRoutes({ identity, access, login }: XcxRouteParts) {
  return new Elysia({ prefix: "/xcx" }).use(identity).get(
    "/jscode2session",
    async ({ query, caller }) => {
      const slot = access.weixinSlot(caller, "login", query.appid, query.secret);
      const user = await login.miniProgram(slot, new Secret(query.code), repeaterOf(caller));
      return { openid: user.openId, unionid: user.unionId ?? "", session_key: user.sessionKey.reveal() };
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
