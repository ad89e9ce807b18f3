import type { CredentialKind, CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import { ServiceError, type Platform } from "../errors.ts";
import type { TicketExchange } from "../jssdk/ticket-source.ts";
import type { Secret } from "../secret.ts";
import type { HttpClient } from "./http-client.ts";
import { readIssued } from "./issued-answer.ts";

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

/** Tickets of WeChat and WeCom. Both repeat a ticket while it lives, and allow few calls. */
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
