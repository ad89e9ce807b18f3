import type { Slot } from "../apps/app.ts";
import type {
  LoginExchange,
  MiniProgramUser,
  OauthUser,
  WecomLoginExchange,
  WecomUser,
} from "../login/login.ts";
import { Secret } from "../secret.ts";
import { type HttpClient, unusableAnswer } from "./http-client.ts";
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

/**
 * Login of WeCom's web pages and Mini Programs. These endpoints take an access token and a one-time code.
 *
 * A member, a visitor and each kind of application have other fields: any object without an errcode is an answer.
 */
export class WecomLogin implements WecomLoginExchange {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  user(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser> {
    return this.#ask(slot, "/cgi-bin/auth/getuserinfo", accessToken, { code: code.reveal() }, signal);
  }

  miniProgram(slot: Slot, accessToken: Secret, code: Secret, signal: AbortSignal): Promise<WecomUser> {
    const query = { js_code: code.reveal(), grant_type: "authorization_code" };
    return this.#ask(slot, "/cgi-bin/miniprogram/jscode2session", accessToken, query, signal);
  }

  async #ask(
    { appId }: Slot,
    path: string,
    accessToken: Secret,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<WecomUser> {
    const { text } = await this.#http.exchange({
      platform: "wecom",
      appId,
      path,
      query: { access_token: accessToken.reveal(), ...query },
      takes: "takes_token",
      repeatable: false,
      signal,
    });
    return { answer: text };
  }
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

/** Login of Official Account pages and Mini Programs. These endpoints take the AppSecret and a one-time code. */
export class WeixinLogin implements LoginExchange {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async oauth(slot: Slot, code: Secret, signal: AbortSignal): Promise<OauthUser> {
    const { answer, text } = await this.#ask(
      "/sns/oauth2/access_token",
      OAUTH_ANSWER,
      slot,
      { code },
      signal,
    );
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
  }

  async miniProgram(slot: Slot, code: Secret, signal: AbortSignal): Promise<MiniProgramUser> {
    const { answer, text } = await this.#ask(
      "/sns/jscode2session",
      MINI_PROGRAM_ANSWER,
      slot,
      { js_code: code },
      signal,
    );
    return {
      openId: answer.openid,
      unionId: answer.unionid,
      sessionKey: new Secret(answer.session_key),
      answer: text,
    };
  }

  async #ask<T extends TSchema>(
    path: string,
    shape: T,
    slot: Slot,
    code: Readonly<Record<string, Secret>>,
    signal: AbortSignal,
  ): Promise<{ answer: Static<T>; text: Secret }> {
    const query: Record<string, string> = { appid: slot.appId, secret: slot.secret.reveal() };
    for (const [name, value] of Object.entries(code)) query[name] = value.reveal();
    query["grant_type"] = "authorization_code";
    const { answer, text } = await this.#http.exchange({
      platform: "weixin",
      appId: slot.appId,
      path,
      query,
      takes: "takes_secret",
      repeatable: false,
      signal,
    });
    if (!Value.Check(shape, answer)) throw unusableAnswer("weixin");
    return { answer, text };
  }
}
