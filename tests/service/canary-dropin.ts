import type { Ear } from "./canary-listener.ts";
import { BAD_CODE, CLASSIC, CLEARED, CORP, CORP_FOREIGN, FOREIGN, OWN, WRONG } from "./canary-harness.ts";

const TOKEN = "/cgi-bin/token";
const STABLE = "/cgi-bin/stable_token";
const GETTOKEN = "/cgi-bin/gettoken";
const GRANT = { grant_type: "client_credential" };
const BY_CODE = { grant_type: "authorization_code" };

/** Goes through every flow and every failure of WeChat's own paths. */
export class DropinJourney {
  readonly #ear: Ear;
  readonly #headers: Record<string, string>;
  static #codes = 0;

  /** `headers` come with every request: an API key, where there is one. */
  constructor(ear: Ear, headers: Record<string, string> = {}) {
    this.#ear = ear;
    this.#headers = headers;
  }

  /** A user's code, which is a secret as long as it is good. */
  #code(): string {
    const code = `sandbox-code-dropin-union-${DropinJourney.#codes++}-x`;
    this.#ear.secrets.set(code, "code");
    return code;
  }

  #get(path: string, query: Record<string, string>): Promise<Record<string, string>> {
    const search = new URLSearchParams(query).toString();
    return this.#ear.wechat("GET", `${path}?${search}`, { headers: this.#headers });
  }

  #post(path: string, body: object | string): Promise<Record<string, string>> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return this.#ear.wechat("POST", path, { headers: this.#headers, body: text });
  }

  /** Every flow once: with the configured secret, with a caller's own, with a wrong one, and without any. */
  async everyFlow(): Promise<void> {
    const { corpId, agent, secret } = CORP;
    await Promise.all([
      this.#weixinFlows({ appid: OWN.appId, secret: OWN.secret }),
      this.#weixinFlows({ appid: OWN.appId }),
      this.#weixinFlows({ appid: CLASSIC.appId, secret: CLASSIC.secret }),
      this.#weixinFlows({ appid: FOREIGN.appId, secret: FOREIGN.secret }),
      this.#weixinFlows({ appid: OWN.appId, secret: WRONG }),
      this.#wecomFlows({ corpid: corpId, corpsecret: secret }),
      this.#wecomFlows({ corpid: corpId, agentid: agent }),
      this.#wecomFlows({ corpid: corpId, corpsecret: CORP_FOREIGN.secret }),
      this.#wecomFlows({ corpid: corpId, corpsecret: WRONG }),
      this.#calls(CLEARED),
      this.#calls(WRONG),
    ]);
  }

  /** Every flow with an API key in the place of the secret. */
  async flowsByKey(key: string): Promise<void> {
    await this.#weixinFlows({ appid: OWN.appId, secret: key });
    await this.#wecomFlows({ corpid: CORP.corpId, agentid: CORP.agent, corpsecret: key });
  }

  /** What callers send that can't be used, with secrets in every place. */
  async everyBadInput(secret = OWN.secret): Promise<void> {
    const encoded = encodeURIComponent(secret);
    const send = (method: string, path: string, body?: string) =>
      this.#ear.wechat(method, path, { headers: this.#headers, ...(body ? { body } : {}) });
    for (const path of [TOKEN, STABLE, GETTOKEN, "/sns/jscode2session", "/cgi-bin/ticket/getticket"]) {
      await this.#get(path, { appid: secret, corpid: secret, secret, corpsecret: secret, type: secret });
      await this.#get(path, { access_token: secret, js_code: BAD_CODE, ...BY_CODE });
      for (const query of [`secret=${encoded}&secret=${encoded}`, `secret=${encoded}%zz`, `${encoded}%zz=1`])
        await send("GET", `${path}?${query}`);
      await send("PUT", `${path}?access_token=${encoded}`, secret);
      await send("POST", path, JSON.stringify({ ...GRANT, appid: { secret }, secret: [secret] }));
      await send("POST", path, `appid=${encoded}&secret=${encoded}&secret=${encoded}`);
      await send("POST", path, JSON.stringify({ secret }).padEnd(70_000));
      await send("GET", `${path}/${encoded}?access_token=${encoded}&access_token=${encoded}`);
    }
    const name = secret.replaceAll(/[^A-Za-z0-9_-]/g, "-");
    for (const path of [`/cgi-bin/${name}`, `/gateway/${name}/cgi-bin/user/get`, `/${name}/x`])
      await send("GET", `${path}?access_token=${encoded}&debug=${encoded}`);
    const disguise = { authorization: `Bearer ${secret}`, cookie: `s=${WRONG}`, forwarded: `for=${secret}` };
    await this.#ear.wechat("GET", `${TOKEN}?secret=${encoded}`, { headers: disguise });
  }

  async #weixinFlows(who: Record<string, string>): Promise<void> {
    const fields = { ...GRANT, ...who };
    const { access_token: token } = await this.#get(TOKEN, fields);
    await this.#post(TOKEN, new URLSearchParams(fields).toString());
    await this.#post(STABLE, { ...fields, force_refresh: true });
    await this.#post(STABLE, fields);
    await this.#calls(token ?? CLEARED);
    for (const [path, name] of [
      ["/sns/jscode2session", "js_code"],
      ["/sns/oauth2/access_token", "code"],
    ] as const) {
      const user = await this.#get(path, { ...who, ...BY_CODE, [name]: this.#code() });
      await this.#get(path, { ...who, ...BY_CODE, [name]: BAD_CODE });
      const { access_token: userToken, openid } = user;
      if (userToken) await this.#get("/sns/userinfo", { access_token: userToken, openid: openid ?? "" });
    }
  }

  async #wecomFlows(who: Record<string, string>): Promise<void> {
    const { access_token: token } = await this.#get(GETTOKEN, who);
    const access_token = token ?? CLEARED;
    await this.#calls(access_token);
    for (const code of [this.#code(), BAD_CODE]) {
      await this.#get("/cgi-bin/auth/getuserinfo", { access_token, code });
      await this.#get("/cgi-bin/miniprogram/jscode2session", { access_token, js_code: `${code}y` });
    }
  }

  /** What is asked with an app's token: tickets, and calls through the gateway. */
  async #calls(access_token: string): Promise<void> {
    for (const type of ["jsapi", "wx_card"])
      await this.#get("/cgi-bin/ticket/getticket", { access_token, type });
    await this.#get("/cgi-bin/get_jsapi_ticket", { access_token });
    await this.#get("/cgi-bin/ticket/get", { access_token, type: "agent_config" });
    await this.#get("/cgi-bin/getcallbackip", { access_token, debug: "1" });
    const query = new URLSearchParams({ access_token }).toString();
    await this.#post(`/cgi-bin/message/custom/send?${query}`, { touser: access_token, secret: OWN.secret });
    await this.#get(`/gateway/${OWN.appId}/cgi-bin/getcallbackip`, { access_token });
  }
}
