import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { Slot } from "../apps/app.ts";
import type { IssuedCredential } from "../credentials/credential.ts";
import type { CredentialKind } from "../credentials/kinds.ts";
import { type Platform, ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { type HttpClient, unusableAnswer, type UpstreamRequest } from "./http-client.ts";
import type { CredentialSource, ObtainOptions, TicketExchange, TokenProbe } from "../credentials/source.ts";

/** Printable, without blanks, and no longer than what WeChat advises to reserve, with room to spare. */
export const ISSUED_VALUE = Type.String({ minLength: 16, maxLength: 2048, pattern: "^[\\x21-\\x7e]+$" });
/** Seconds. Theirs are at most 7200; a day is sane, a year is a fault. */
export const EXPIRES_IN = Type.Integer({ minimum: 1, maximum: 86_400 });

const SHAPES = {
  component_access_token: Type.Object({ component_access_token: ISSUED_VALUE, expires_in: EXPIRES_IN }),
  access_token: Type.Object({ access_token: ISSUED_VALUE, expires_in: EXPIRES_IN }),
  ticket: Type.Object({ ticket: ISSUED_VALUE, expires_in: EXPIRES_IN }),
  suite_access_token: Type.Object({ suite_access_token: ISSUED_VALUE, expires_in: EXPIRES_IN }),
  provider_access_token: Type.Object({ provider_access_token: ISSUED_VALUE, expires_in: EXPIRES_IN }),
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
export function wecomTokenSource(http: HttpClient): CredentialSource {
  return { obtain: ({ slot }, { signal }) => askWithSecret(http, slot.appId, slot.secret, signal) };
}

/** An access token of the WeCom application with that secret, as of `wecomTokenSource`. */
export async function askWithSecret(
  http: HttpClient,
  corpId: string,
  secret: Secret,
  signal: AbortSignal,
): Promise<IssuedCredential> {
  const answer = await http.call({
    platform: "wecom",
    appId: corpId,
    path: "/cgi-bin/gettoken",
    query: { corpid: corpId, corpsecret: secret.reveal() },
    takes: "takes_secret",
    repeatable: true,
    signal,
  });
  return readIssued("wecom", "access_token", answer);
}

/** Access tokens of Official Accounts and Mini Programs, by the slot's token mode. */
export function weixinTokenSource(http: HttpClient): CredentialSource {
  return {
    obtain: async ({ slot }, options) => {
      const request = slot.tokenMode === "classic" ? classic(slot) : stable(slot, options);
      const answer = await http.call({ ...request, signal: options.signal });
      return readIssued("weixin", "access_token", answer);
    },
  };
}

/**
 * Repeats the same token until its last five minutes, so asking again is harmless; with `force` it makes a new one,
 * 20 times a day and 30 s apart.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getstableaccesstoken.html
 */
function stable({ appId, secret }: Slot, { force = false }: ObtainOptions): UpstreamRequest {
  return {
    platform: "weixin",
    appId,
    path: "/cgi-bin/stable_token",
    body: { grant_type: "client_credential", appid: appId, secret: secret.reveal(), force_refresh: force },
    takes: "takes_secret",
    repeatable: !force,
    mayFallBack: true,
  };
}

/**
 * Makes a new token at each call, and the one before stays valid for five minutes: it must not be sent twice, not even
 * to another of WeChat's hosts.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getaccesstoken.html
 */
function classic({ appId, secret }: Slot): UpstreamRequest {
  return {
    platform: "weixin",
    appId,
    path: "/cgi-bin/token",
    query: { grant_type: "client_credential", appid: appId, secret: secret.reveal() },
    takes: "takes_secret",
    repeatable: false,
  };
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
export function ticketExchange(http: HttpClient): TicketExchange {
  return {
    ticketFor: async ({ slot, kind }, accessToken, signal) => {
      const { platform, appId } = slot;
      const endpoint = ENDPOINTS[platform][kind];
      if (!endpoint) {
        throw new ServiceError(
          "invalid_parameter",
          "该平台没有这种ticket (this platform has no such ticket)",
        );
      }
      const { path, type } = endpoint;
      const query = { access_token: accessToken.reveal(), ...(type === undefined ? {} : { type }) };
      const request = {
        platform,
        appId,
        path,
        query,
        takes: "takes_token",
        repeatable: true,
        signal,
      } as const;
      return readIssued(platform, "ticket", await http.call(request));
    },
  };
}

/**
 * Finds out whether a token is valid with `getcallbackip`, which needs no permission and changes nothing.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/base/api_getcallbackip.html
 */
export function callbackIpProbe(http: HttpClient): TokenProbe {
  return {
    check: async ({ platform, appId }, token, signal) => {
      const path = "/cgi-bin/getcallbackip";
      const query = { access_token: token.reveal() };
      try {
        await http.call({ platform, appId, path, query, takes: "takes_token", repeatable: true, signal });
        return "valid";
      } catch (error) {
        if (!(error instanceof ServiceError) || !error.upstream || error.upstream.class === "transient")
          return "unknown";
        return error.upstream.class === "token_invalid" ? "revoked" : "valid";
      }
    },
  };
}
