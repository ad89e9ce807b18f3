import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Slot } from "../apps/app.ts";
import type { IssuedCredential } from "../credentials/credential.ts";
import { type TokenKeeper, withToken } from "../credentials/source.ts";
import type {
  AuthorizedAccount,
  ExchangedCode,
  ListedAccount,
  PlatformProtocol,
} from "../platforms/platform-protocol.ts";
import { Secret } from "../secret.ts";
import { type HttpClient, unusableAnswer, type UpstreamAnswer } from "./http-client.ts";
import { EXPIRES_IN, ISSUED_VALUE, readIssued } from "./token-sources.ts";

/** 500 are allowed, but an answer of ours has at most 64 KiB. */
const PAGE_SIZE = 200;
/** No platform has as many accounts: a list that goes on and on is a fault. */
const MAX_PAGES = 500;

const FUNC_INFO = Type.Array(
  Type.Object({ funcscope_category: Type.Optional(Type.Object({ id: Type.Optional(Type.Integer()) })) }),
);
const APP_ID = Type.String({ pattern: "^wx[0-9a-f]{16}$" });
/** An account without any API has none: then it is empty, null or not there. */
const OPTIONAL_TOKEN = Type.Optional(Type.Union([ISSUED_VALUE, Type.Literal(""), Type.Null()]));

const SHAPES = {
  exchanged: Type.Object({
    authorization_info: Type.Object({
      authorizer_appid: APP_ID,
      authorizer_access_token: OPTIONAL_TOKEN,
      expires_in: Type.Optional(Type.Union([EXPIRES_IN, Type.Literal(0), Type.Literal(""), Type.Null()])),
      authorizer_refresh_token: OPTIONAL_TOKEN,
      func_info: Type.Optional(Type.Union([FUNC_INFO, Type.Null()])),
    }),
  }),
  refreshed: Type.Object({
    authorizer_access_token: ISSUED_VALUE,
    expires_in: EXPIRES_IN,
    authorizer_refresh_token: OPTIONAL_TOKEN,
  }),
  listed: Type.Object({
    total_count: Type.Integer({ minimum: 0 }),
    list: Type.Array(
      Type.Object({ authorizer_appid: APP_ID, refresh_token: OPTIONAL_TOKEN, auth_time: Type.Integer() }),
    ),
  }),
  described: Type.Object({
    authorizer_info: Type.Object({
      nick_name: Type.Optional(Type.String()),
      user_name: Type.Optional(Type.String()),
      MiniProgramInfo: Type.Optional(Type.Unknown()),
    }),
    authorization_info: Type.Object({
      authorizer_appid: APP_ID,
      authorizer_refresh_token: OPTIONAL_TOKEN,
      func_info: Type.Optional(Type.Union([FUNC_INFO, Type.Null()])),
    }),
  }),
  preAuthCode: Type.Object({ pre_auth_code: ISSUED_VALUE, expires_in: EXPIRES_IN }),
};

/** An authorizer's new token, and the refresh token that came with it. */
export interface RefreshedToken {
  readonly token: IssuedCredential;
  /** Undefined where none came: then the one that was sent stays. */
  readonly refreshToken: Secret | undefined;
}

/** What WeChat says of one code for its consent page: it is good for one visit. */
export interface PreAuthCode {
  readonly value: Secret;
  readonly lifeMs: number;
}

/**
 * What WeChat answers third-party platforms, with the platform's own token except where a method says otherwise. A token
 * that was rejected is replaced, once.
 */
export class ComponentApi implements PlatformProtocol {
  readonly tellsSecret = true;
  readonly #http: HttpClient;
  readonly #tokens: TokenKeeper;

  constructor(http: HttpClient, tokens: TokenKeeper) {
    this.#http = http;
    this.#tokens = tokens;
  }

  /**
   * A new component token, with the secret and a ticket. Each ends the one before, sooner or later.
   *
   * https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getcomponentaccesstoken.html
   */
  async componentToken(platform: Slot, ticket: Secret, signal: AbortSignal): Promise<IssuedCredential> {
    const { answer } = await this.#http.exchange({
      ...this.#to(platform, "api_component_token", "takes_secret", signal),
      body: {
        component_appid: platform.appId,
        component_appsecret: platform.secret.reveal(),
        component_verify_ticket: ticket.reveal(),
      },
    });
    return readIssued("weixin", "component_access_token", answer);
  }

  /**
   * Has WeChat push tickets again, with the secret alone. It changes nothing where they are pushed already.
   *
   * https://developers.weixin.qq.com/doc/oplatform/OpenApiDoc/thirdparty/ticket-token/api_start_push_ticket.html
   */
  async startPushing(platform: Slot, signal: AbortSignal): Promise<void> {
    await this.#http.exchange({
      ...this.#to(platform, "api_start_push_ticket", "takes_secret", signal),
      body: { component_appid: platform.appId, component_secret: platform.secret.reveal() },
    });
  }

  /**
   * A code for one visit of the consent page: never kept for another.
   *
   * https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getpreauthcode.html
   */
  async preAuthCode(platform: Slot, signal: AbortSignal): Promise<PreAuthCode> {
    const { answer } = await this.#ask(platform, "api_create_preauthcode", {}, signal);
    if (!Value.Check(SHAPES.preAuthCode, answer)) throw unusableAnswer("weixin");
    return { value: new Secret(answer.pre_auth_code), lifeMs: answer.expires_in * 1000 };
  }

  /** https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizerrefreshtoken.html */
  async exchange(platform: Slot, code: Secret, signal: AbortSignal): Promise<ExchangedCode> {
    const body = { authorization_code: code.reveal() };
    const { answer, text } = await this.#ask(platform, "api_query_auth", body, signal);
    if (!Value.Check(SHAPES.exchanged, answer)) throw unusableAnswer("weixin");
    const info = answer.authorization_info;
    const token = secretIn(info.authorizer_access_token);
    const seconds = Number(info.expires_in ?? 0);
    return {
      account: info.authorizer_appid,
      secret: secretIn(info.authorizer_refresh_token),
      token: token && seconds > 0 ? { value: token, lifeMs: seconds * 1000 } : undefined,
      facts: { scopes: scopesIn(info.func_info) },
      text,
    };
  }

  /**
   * A new token of an account, by its refresh token. The one that comes back is to be stored before the token is used.
   *
   * https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizeraccesstoken.html
   */
  async authorizerToken(
    platform: Slot,
    account: string,
    refreshToken: Secret,
    signal: AbortSignal,
  ): Promise<RefreshedToken> {
    const body = { authorizer_appid: account, authorizer_refresh_token: refreshToken.reveal() };
    const { answer } = await this.#ask(platform, "api_authorizer_token", body, signal);
    if (!Value.Check(SHAPES.refreshed, answer)) throw unusableAnswer("weixin");
    return {
      token: { value: new Secret(answer.authorizer_access_token), lifeMs: answer.expires_in * 1000 },
      refreshToken: secretIn(answer.authorizer_refresh_token),
    };
  }

  /** https://developers.weixin.qq.com/doc/oplatform/openApi/authorization-management/api_getauthorizerinfo.html */
  async describe(
    platform: Slot,
    account: string,
    _secret: Secret,
    signal: AbortSignal,
  ): Promise<AuthorizedAccount> {
    const body = { authorizer_appid: account };
    const { answer } = await this.#ask(platform, "api_get_authorizer_info", body, signal);
    if (!Value.Check(SHAPES.described, answer)) throw unusableAnswer("weixin");
    const { authorizer_info: about, authorization_info: info } = answer;
    return {
      account: info.authorizer_appid,
      secret: secretIn(info.authorizer_refresh_token),
      title: about.nick_name || undefined,
      facts: {
        scopes: scopesIn(info.func_info),
        userName: about.user_name || undefined,
        isMiniProgram: about.MiniProgramInfo !== undefined && about.MiniProgramInfo !== null,
      },
      // As an exchange of its code would have said it, but for a token.
      text: new Secret(JSON.stringify({ authorization_info: info })),
    };
  }

  /** https://developers.weixin.qq.com/doc/oplatform/openApi/authorization-management/api_getauthorizerlist.html */
  async list(platform: Slot, signal: AbortSignal): Promise<readonly ListedAccount[]> {
    const found = new Map<string, ListedAccount>();
    for (let page = 0; page < MAX_PAGES; page++) {
      const body = { offset: page * PAGE_SIZE, count: PAGE_SIZE };
      const { answer } = await this.#ask(platform, "api_get_authorizer_list", body, signal);
      if (!Value.Check(SHAPES.listed, answer)) throw unusableAnswer("weixin");
      // Accounts may come and go meanwhile, so that one is on two pages.
      for (const { authorizer_appid: account, refresh_token: token, auth_time: at } of answer.list)
        found.set(account, { account, secret: secretIn(token), authorizedAt: at * 1000 });
      if ((page + 1) * PAGE_SIZE >= answer.total_count) return [...found.values()];
    }
    throw unusableAnswer("weixin");
  }

  #ask(
    platform: Slot,
    name: string,
    body: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<UpstreamAnswer> {
    const ask = (token: Secret) =>
      this.#http.exchange({
        ...this.#to(platform, name, "takes_token", signal),
        query: { component_access_token: token.reveal() },
        body: { component_appid: platform.appId, ...body },
      });
    return withToken(this.#tokens, platform, ask, { signal });
  }

  #to({ appId }: Slot, name: string, takes: "takes_secret" | "takes_token", signal: AbortSignal) {
    const path = `/cgi-bin/component/${name}`;
    return { platform: "weixin", appId, path, takes, repeatable: false, mayFallBack: true, signal } as const;
  }
}

function secretIn(text: string | null | undefined): Secret | undefined {
  return text ? new Secret(text) : undefined;
}

function scopesIn(
  info: readonly { readonly funcscope_category?: { readonly id?: number } }[] | null | undefined,
): number[] {
  return (info ?? []).flatMap(({ funcscope_category: category }) => category?.id ?? []);
}
