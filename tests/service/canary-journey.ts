import { expect } from "bun:test";
import type { Answer } from "../support/harness.ts";
import type { Ear } from "./canary-listener.ts";
import {
  BAD_CODE,
  CLASSIC,
  CLEARED,
  CORP,
  CORP_APP,
  CORP_FOREIGN,
  FOREIGN,
  FROZEN,
  OWN,
  WRONG,
} from "./canary-harness.ts";

/** Goes through every flow and every failure of the documented protocol, and of `/v1` as far as a caller may. */
export class Journey {
  readonly #ear: Ear;
  readonly #headers: Record<string, string>;
  static #codes = 0;

  /** `headers` come with every request: an API key, where there is one. */
  constructor(ear: Ear, headers: Record<string, string> = {}) {
    this.#ear = ear;
    this.#headers = headers;
  }

  /** A user's code, which is a secret as long as it is good. */
  #code(kind: string): string {
    const code = `sandbox-code-canary-${kind}-${Journey.#codes++}-x`;
    this.#ear.secrets.set(code, "code");
    return code;
  }

  #get(path: string, query: Record<string, string> = {}): Promise<Answer> {
    return this.#ear.get(path, query, this.#headers);
  }

  #post(path: string, body: object | string): Promise<Answer> {
    return this.#ear.post(path, body, this.#headers);
  }

  /** Every flow once: with the configured secret, with a caller's own, with a wrong one. */
  async everyFlow(foreign = FOREIGN, corpForeign = CORP_FOREIGN): Promise<void> {
    await Promise.all([
      ...[OWN, CLASSIC, FROZEN].map(({ appId }) => this.flowsOf({ appid: appId })),
      this.flowsOf({ appid: foreign.appId, secret: foreign.secret }),
      this.flowsOf({ appid: OWN.appId, secret: WRONG }),
      this.#corpFlows({ corpid: CORP.corpId, agentid: CORP.agent }),
      this.#corpFlows({ corpid: CORP.corpId, secret: corpForeign.secret }),
      this.#corpFlows({ corpid: CORP.corpId, secret: WRONG }),
      this.#get("/AccessToken/getQyapi", { corpid: CORP.corpId, secret: CORP.secret, agentid: "99" }),
    ]);
    await Promise.all([OWN.appId, CLASSIC.appId, FROZEN.appId, CORP_APP].map((app) => this.v1FlowsOf(app)));
    for (const path of ["/v1/apps", "/metrics", "/readyz", "/livez", "/"])
      await this.#ear.overhear("GET", path, this.#headers);
  }

  /** Every flow with an API key in the place of the secret. */
  async flowsByKey(key: string): Promise<void> {
    await this.flowsOf({ appid: OWN.appId, secret: key });
    await this.#corpFlows({ corpid: CORP.corpId, agentid: CORP.agent, secret: key });
  }

  /** An operator's word, so that what went wrong on purpose no longer keeps the apps from being asked for. */
  async unblock(): Promise<void> {
    for (const app of [OWN.appId, CLASSIC.appId, FROZEN.appId, CORP_APP])
      await this.#ear.send("POST", `/v1/apps/${app}/unblock`, { headers: this.#headers });
  }

  /** What callers send that can't be used, with secrets in every place. */
  async everyBadInput(secret = OWN.secret): Promise<void> {
    const send = (path: string, method = "GET", body?: string) =>
      this.#ear.send(method, path, { headers: this.#headers, ...(body ? { body } : {}) });
    for (const path of ["/AccessToken/getXcx", "/AccessToken/clearXcx", "/xcx/jscode2session"]) {
      await this.#get(path, { appid: "", secret, code: BAD_CODE, access_token: CLEARED });
      await this.#get(path, { appid: secret, secret });
      await this.#get(path, { appid: OWN.appId, secret: `${secret}\u0000` });
      const encoded = encodeURIComponent(secret);
      await send(`${path}?secret=${encoded}&secret=${encodeURIComponent(WRONG)}`);
      await send(`${path}?secret=${secret}%zz`);
      await send(`${path}?secret=${encoded}`, "POST", secret);
      await send(`${path}/${encoded}?secret=${encoded}`);
    }
    for (const path of ["/JsSDK/getJsApiSign", "/AccessToken/getOauthAccessToken"]) {
      await this.#post(path, `{"wx_app_secret":${JSON.stringify(secret)}`);
      await this.#post(path, { wx_app_id: { secret }, wx_app_secret: [secret], code: { BAD_CODE }, url: 5 });
      const everywhere = { wx_app_id: secret, wx_app_secret: secret, code: BAD_CODE };
      await this.#post(path, { ...everywhere, url: "https://a.example/" });
      await this.#post(path, JSON.stringify(secret));
      await this.#post(path, JSON.stringify({ secret }).padEnd(70_000));
      await send(path, "POST", secret);
    }
    const disguise = {
      authorization: `Bearer ${secret}`,
      cookie: `s=${WRONG}`,
      "x-forwarded-for": "127.0.0.1",
    };
    await this.#ear.get("/AccessToken/getXcx", { appid: OWN.appId, secret }, disguise);
  }

  /** Every flow of one WeChat app in the documented protocol. */
  async flowsOf(who: { appid: string; secret?: string }): Promise<void> {
    const body = { wx_app_id: who.appid, ...(who.secret ? { wx_app_secret: who.secret } : {}) };
    await this.#get("/AccessToken/getXcx", { ...who });
    await this.#post("/JsSDK/getJsApiSign", { ...body, url: "https://example.com/" });
    await this.#post("/AccessToken/getOauthAccessToken", { ...body, code: this.#code("union-snapshot") });
    await this.#post("/AccessToken/getOauthAccessToken", { ...body, code: BAD_CODE });
    await this.#get("/xcx/jscode2session", { ...who, code: this.#code("union") });
    await this.#get("/xcx/jscode2session", { ...who, code: BAD_CODE });
    await this.#get("/AccessToken/clearXcx", { ...who, access_token: CLEARED });
    await this.#get("/AccessToken/clearXcx", { ...who });
    await this.#get("/AccessToken/getXcx", { ...who });
    await this.#get("/AccessToken/clearXcx", { ...who });
  }

  /** Every flow of one app in `/v1`, as far as a caller may. */
  async v1FlowsOf(app: string): Promise<void> {
    const credentials = `/v1/apps/${app}/credentials`;
    for (const kind of ["access_token", "jsapi_ticket", "wx_card_ticket", "agent_config_ticket"]) {
      const { data } = await this.#get(`${credentials}/${kind}`, {});
      await this.#post(`${credentials}/${kind}/replace`, { rejected: String(data["value"] ?? CLEARED) });
      await this.#post(`${credentials}/${kind}/replace`, { rejected: CLEARED });
      await this.#post(`${credentials}/${kind}/replace`, { rejected: [CLEARED], [CLEARED]: CLEARED });
      await this.#post(`${credentials}/${kind}/refresh`, { force: true });
      await this.#ear.send("DELETE", `${credentials}/${kind}`, { headers: this.#headers });
      await this.#get(`${credentials}/${kind}`, {});
    }
    for (const sort of ["jsapi", "card", "agent-config", "diagnose"]) {
      await this.#post(`/v1/apps/${app}/signatures/${sort}`, { url: "https://example.com/" });
    }
    await this.#post(`/v1/apps/${app}/signatures/card`, { for: "addCard", card_id: "card", code: BAD_CODE });
    await this.#ear.overhear("GET", `/v1/apps/${app}`, this.#headers);
  }

  async #corpFlows(who: Record<string, string>): Promise<void> {
    await this.#get("/AccessToken/getQyapi", who);
    await this.#get("/AccessToken/clearQyapi", { ...who, access_token: CLEARED });
    await this.#get("/AccessToken/clearQyapi", who);
  }

  /** The ticket of an app, asked for as any holder of its token could. */
  async keepTicket(appid: string, weixinUrl: string): Promise<void> {
    const { data } = await this.#get("/AccessToken/getXcx", { appid });
    expect(data["access_token"]).toBeString();
    const query = new URLSearchParams({ type: "jsapi", access_token: String(data["access_token"]) });
    const answer = await fetch(`${weixinUrl}/cgi-bin/ticket/getticket?${query.toString()}`);
    const { ticket } = (await answer.json()) as { ticket: string };
    expect(ticket).toBeString();
    this.#ear.secrets.set(ticket, "ticket");
  }
}
