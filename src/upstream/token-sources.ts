import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import type { CredentialKind } from "../credentials/kinds.ts";
import { type Platform, ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { type HttpClient, unusableAnswer } from "./http-client.ts";
import type {
  CredentialSource,
  ObtainOptions,
  TicketExchange,
  TokenProbe,
  TokenVerdict,
} from "../credentials/source.ts";

/** Printable, without blanks, and no longer than what WeChat advises to reserve, with room to spare. */
const ISSUED_VALUE = Type.String({ minLength: 16, maxLength: 2048, pattern: "^[\\x21-\\x7e]+$" });
/** Seconds. Theirs are at most 7200; a day is sane, a year is a fault. */
const EXPIRES_IN = Type.Integer({ minimum: 1, maximum: 86_400 });

const SHAPES = {
  access_token: Type.Object({ access_token: ISSUED_VALUE, expires_in: EXPIRES_IN }),
  ticket: Type.Object({ ticket: ISSUED_VALUE, expires_in: EXPIRES_IN }),
};

/**
 * The credential in an answer, or `upstream_invalid`: an answer without errcode is not yet a token.
 *
 * `expires_in` is in seconds there and in milliseconds here.
 */
export function readIssued(
  platform: Platform,
  field: keyof typeof SHAPES,
  answer: Record<string, unknown>,
): IssuedCredential {
  if (!Value.Check(SHAPES[field], answer)) throw unusableAnswer(platform);
  const { [field]: value, expires_in: seconds } = answer as Record<typeof field, string> & {
    expires_in: number;
  };
  return { value: new Secret(value), lifeMs: seconds * 1000 };
}

/**
 * Access tokens of WeCom applications, one per corp and secret. WeCom repeats the same token until it expires.
 *
 * https://developer.work.weixin.qq.com/document/path/91039
 */
export class WecomTokenSource implements CredentialSource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async obtain({ slot }: CredentialRef, { signal }: ObtainOptions): Promise<IssuedCredential> {
    const answer = await this.#http.call({
      platform: "wecom",
      appId: slot.appId,
      path: "/cgi-bin/gettoken",
      query: { corpid: slot.appId, corpsecret: slot.secret.reveal() },
      takes: "takes_secret",
      repeatable: true,
      signal,
    });
    return readIssued("wecom", "access_token", answer);
  }
}

/** Access tokens of Official Accounts and Mini Programs, by the slot's token mode. */
export class WeixinTokenSource implements CredentialSource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async obtain(ref: CredentialRef, options: ObtainOptions): Promise<IssuedCredential> {
    const isClassic = ref.slot.tokenMode === "classic";
    const answer = await (isClassic ? this.#classic(ref, options) : this.#stable(ref, options));
    return readIssued("weixin", "access_token", answer);
  }

  /**
   * Repeats the same token until its last five minutes, so asking again is harmless; with `force` it makes a new one,
   * 20 times a day and 30 s apart.
   *
   * https://developers.weixin.qq.com/doc/subscription/api/base/api_getstableaccesstoken.html
   */
  #stable(
    { slot }: CredentialRef,
    { signal, force = false }: ObtainOptions,
  ): Promise<Record<string, unknown>> {
    const { appId, secret } = slot;
    return this.#http.call({
      platform: "weixin",
      appId,
      path: "/cgi-bin/stable_token",
      body: { grant_type: "client_credential", appid: appId, secret: secret.reveal(), force_refresh: force },
      takes: "takes_secret",
      repeatable: !force,
      mayFallBack: true,
      signal,
    });
  }

  /**
   * Makes a new token at each call and the one before stays valid for five minutes: it must not be sent twice, not even
   * to another of WeChat's hosts.
   *
   * https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
   */
  #classic({ slot }: CredentialRef, { signal }: ObtainOptions): Promise<Record<string, unknown>> {
    const { appId, secret } = slot;
    return this.#http.call({
      platform: "weixin",
      appId,
      path: "/cgi-bin/token",
      query: { grant_type: "client_credential", appid: appId, secret: secret.reveal() },
      takes: "takes_secret",
      repeatable: false,
      signal,
    });
  }
}

/**
 * Where each ticket comes from.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html
 * https://developer.work.weixin.qq.com/document/path/90506
 */
const ENDPOINTS: Readonly<
  Record<Platform, Partial<Record<CredentialKind, { path: string; type?: string }>>>
> = {
  weixin: {
    jsapi_ticket: { path: "/cgi-bin/ticket/getticket", type: "jsapi" },
    wx_card_ticket: { path: "/cgi-bin/ticket/getticket", type: "wx_card" },
  },
  wecom: {
    jsapi_ticket: { path: "/cgi-bin/get_jsapi_ticket" },
    wx_card_ticket: { path: "/cgi-bin/ticket/get", type: "wx_card" },
    agent_config_ticket: { path: "/cgi-bin/ticket/get", type: "agent_config" },
  },
};

/** Tickets of WeChat and WeCom. Both repeat a ticket while it is valid, and allow few calls. */
export class Tickets implements TicketExchange {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async ticketFor(
    { slot, kind }: CredentialRef,
    accessToken: Secret,
    signal: AbortSignal,
  ): Promise<IssuedCredential> {
    const endpoint = ENDPOINTS[slot.platform][kind];
    if (!endpoint) {
      throw new ServiceError("invalid_parameter", "该平台没有这种ticket (this platform has no such ticket)");
    }
    const { path, type } = endpoint;
    const answer = await this.#http.call({
      platform: slot.platform,
      appId: slot.appId,
      path,
      query: { access_token: accessToken.reveal(), ...(type === undefined ? {} : { type }) },
      takes: "takes_token",
      repeatable: true,
      signal,
    });
    return readIssued(slot.platform, "ticket", answer);
  }
}

/**
 * Finds out whether a token is valid with `getcallbackip`, which needs no permission and changes nothing.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getcallbackip.html
 */
export class CallbackIpProbe implements TokenProbe {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async check(
    { platform, appId }: { platform: Platform; appId: string },
    token: Secret,
    signal: AbortSignal,
  ): Promise<TokenVerdict> {
    try {
      await this.#http.call({
        platform,
        appId,
        path: "/cgi-bin/getcallbackip",
        query: { access_token: token.reveal() },
        takes: "takes_token",
        repeatable: true,
        signal,
      });
      return "valid";
    } catch (error) {
      if (!(error instanceof ServiceError) || !error.upstream || error.upstream.class === "transient")
        return "unknown";
      return error.upstream.class === "token_invalid" ? "revoked" : "valid";
    }
  }
}
