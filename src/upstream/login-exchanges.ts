import type { Slot } from "../apps/app.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import type { LoginExchange, WecomLoginExchange, WecomLoginKind } from "../login/login.ts";
import { Secret } from "../secret.ts";
import { type HttpClient, unusableAnswer } from "./http-client.ts";
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

/**
 * https://developer.work.weixin.qq.com/document/path/96442, in its older form /document/path/91023, and
 * https://developer.work.weixin.qq.com/document/path/91507; a suite's: https://developer.work.weixin.qq.com/document/path/91121
 */
const WECOM_PATHS: Readonly<Record<WecomLoginKind, string>> = {
  wecom_user: "/cgi-bin/auth/getuserinfo",
  wecom_user_old_form: "/cgi-bin/user/getuserinfo",
  wecom_school_user: "/cgi-bin/school/getuserinfo",
  wecom_mini_program: "/cgi-bin/miniprogram/jscode2session",
  suite_user: "/cgi-bin/service/auth/getuserinfo3rd",
  suite_user_old_form: "/cgi-bin/service/getuserinfo3rd",
  suite_mini_program: "/cgi-bin/service/miniprogram/jscode2session",
};

/**
 * Login of WeCom's web pages and Mini Programs. These endpoints take an access token, or a suite's, and a one-time code.
 *
 * A member, a visitor and each kind of application have other fields: any object without an errcode is an answer.
 */
export function wecomLogin(http: HttpClient): WecomLoginExchange {
  return async (kind, slot, token, code, signal) => {
    const sent: Record<string, string> =
      kind === "wecom_mini_program" || kind === "suite_mini_program"
        ? { js_code: code.reveal(), grant_type: "authorization_code" }
        : { code: code.reveal() };
    const { text } = await http.exchange({
      platform: "wecom",
      appId: slot.appId,
      path: WECOM_PATHS[kind],
      query: { [tokenKindOf(slot)]: token.reveal(), ...sent },
      takes: "takes_token",
      repeatable: false,
      signal,
    });
    return { answer: text };
  };
}

const TEXT = Type.String({ minLength: 1, maxLength: 2048 });

const OAUTH_ANSWER = Type.Object({
  access_token: TEXT,
  expires_in: Type.Integer({ minimum: 1 }),
  refresh_token: TEXT,
  openid: TEXT,
  scope: Type.String({ maxLength: 2048 }),
  unionid: Type.Optional(TEXT),
  is_snapshotuser: Type.Optional(Type.Integer()),
});

const MINI_PROGRAM_ANSWER = Type.Object({
  openid: TEXT,
  session_key: TEXT,
  unionid: Type.Optional(Type.String({ maxLength: 2048 })),
});

/**
 * Login of Official Account pages and Mini Programs. These endpoints take a one-time code and the AppSecret, or for an account
 * that a component has the component's token.
 */
export function weixinLogin(http: HttpClient): LoginExchange {
  const ask = async <T extends TSchema>(
    { appId, secret, name }: Slot,
    [path, ofComponent]: readonly [path: string, ofComponent: string],
    shape: T,
    code: Readonly<Record<string, string>>,
    { signal, by }: { readonly signal: AbortSignal; readonly by: Secret | undefined },
  ): Promise<{ answer: Static<T>; text: Secret }> => {
    const proof: Record<string, string> = by
      ? { component_appid: name, component_access_token: by.reveal() }
      : { secret: secret.reveal() };
    const platform = "weixin";
    const { answer, text } = await http.exchange({
      platform,
      appId,
      path: by ? ofComponent : path,
      query: { appid: appId, ...proof, ...code, grant_type: "authorization_code" },
      takes: by ? "takes_token" : "takes_secret",
      repeatable: false,
      signal,
    });
    if (!Value.Check(shape, answer)) throw unusableAnswer(platform);
    return { answer, text };
  };
  return {
    oauth: async (slot, code, signal, by) => {
      const paths = ["/sns/oauth2/access_token", "/sns/oauth2/component/access_token"] as const;
      const sent = { code: code.reveal() };
      const { answer, text } = await ask(slot, paths, OAUTH_ANSWER, sent, { signal, by });
      return {
        accessToken: new Secret(answer.access_token),
        expiresIn: answer.expires_in,
        refreshToken: new Secret(answer.refresh_token),
        openId: answer.openid,
        scope: answer.scope,
        ...(answer.unionid === undefined ? {} : { unionId: answer.unionid }),
        ...(answer.is_snapshotuser === undefined ? {} : { isSnapshotUser: answer.is_snapshotuser }),
        answer: text,
      };
    },
    miniProgram: async (slot, code, signal, by) => {
      const paths = ["/sns/jscode2session", "/sns/component/jscode2session"] as const;
      const sent = { js_code: code.reveal() };
      const { answer, text } = await ask(slot, paths, MINI_PROGRAM_ANSWER, sent, { signal, by });
      return {
        openId: answer.openid,
        unionId: answer.unionid,
        sessionKey: new Secret(answer.session_key),
        answer: text,
      };
    },
  };
}
