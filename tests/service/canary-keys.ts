import { createApiKey } from "../../src/access/api-key.ts";
import { type Answer, Harness } from "../support/harness.ts";
import { DropinJourney } from "./canary-dropin.ts";
import type { Ear } from "./canary-listener.ts";
import { Journey } from "./canary-journey.ts";
import { ALL, READER } from "./canary-management.ts";
import { MANAGED, OWN } from "./canary-harness.ts";

const APPS = "/v1/apps";
const CLIENTS = "/v1/clients";
const KEYS = `${CLIENTS}/${READER}/keys`;

/** The life of API keys: those that are good, those that are over, and those of clients who may do little. */
export class KeyLives {
  readonly #ear: Ear;
  readonly #headers: Record<string, string>;

  /** `key` is an administrator's. There must be the client that management makes. */
  constructor(ear: Ear, key: string) {
    this.#ear = ear;
    this.#headers = { authorization: `Bearer ${key}` };
  }

  #send(method: string, path: string, body?: object): Promise<Answer> {
    if (body === undefined) return this.#ear.send(method, path, { headers: this.#headers });
    return this.#ear.change(method, path, body, this.#headers);
  }

  /** Keys made, rolled, revoked and left to expire: what is over is tried, and what is good goes everywhere. */
  async everyKey(): Promise<void> {
    const { api_key: rolled, key } = (await this.#send("POST", KEYS, { label: "first" })).data;
    await this.#send("POST", KEYS, { label: "first" });
    const soon = { label: "short", expires_at: Date.now() + 1000 };
    const { api_key: short, key: shortName } = (await this.#send("POST", KEYS, soon)).data;
    for (const overlap of [this.#ear.fresh("stray secret"), -1])
      await this.#send("POST", `${KEYS}/${key}/roll`, { overlap });
    await this.#send("POST", `${KEYS}/${rolled}/roll`, {});
    await this.#send("DELETE", `${KEYS}/${rolled}`);
    const { api_key: revoked, key: revokedName } = await this.#roll(key, 0);
    const { api_key: good } = await this.#roll(revokedName, 60);
    await this.#send("DELETE", `${KEYS}/${revokedName}`);
    await Harness.until(async () => {
      const { keys } = (await this.#send("GET", KEYS)).data as { keys: { key: string; state: string }[] };
      return keys.some((each) => each.key === shortName && each.state === "expired");
    });
    await this.#tryBadKeys([rolled, revoked, short, `${good.slice(0, -1)}!`]);
    const places: Record<string, string>[] = [{ authorization: `Bearer ${good}` }, { "x-api-key": good }];
    for (const headers of places) {
      const journey = new Journey(this.#ear, headers);
      await journey.everyFlow();
      await new DropinJourney(this.#ear, headers).everyFlow();
      await journey.flowsOf({ appid: OWN.appId, secret: this.#ear.fresh("untried secret") });
      for (const path of [CLIENTS, KEYS, "/v1/audit", "/v1/audit/export", "/v1/audit/verify"])
        await this.#ear.get(path, {}, headers);
      await this.#ear.post(APPS, { secret: this.#ear.fresh("app secret") }, headers);
    }
    await new Journey(this.#ear).flowsByKey(good);
    await new DropinJourney(this.#ear).flowsByKey(good);
    await this.#limitedClients();
  }

  async #roll(key: string, overlap: number): Promise<{ api_key: string; key: string }> {
    const { data } = await this.#send("POST", `${KEYS}/${key}/roll`, { overlap });
    return data as { api_key: string; key: string };
  }

  /** Keys that are not good, in every place where a key may stand; each once before the address is told to wait. */
  async #tryBadKeys(keys: readonly string[]): Promise<void> {
    const unknown = createApiKey().reveal();
    this.#ear.secrets.set(unknown, "unknown key");
    const all = [unknown, this.#ear.fresh("no key"), ...keys];
    for (const key of keys) if (!this.#ear.secrets.has(key)) this.#ear.secrets.set(key, "bad key");
    const query = { appid: OWN.appId };
    const body = { wx_app_id: OWN.appId, url: "https://a.example/" };
    const token = `${APPS}/${OWN.appId}/credentials/access_token`;
    const places: readonly ((key: string) => Promise<unknown>)[] = [
      (key) => this.#ear.get(token, {}, { authorization: `Bearer ${key}` }),
      (key) => this.#ear.get("/AccessToken/getXcx", query, { "x-api-key": key }),
      (key) => this.#ear.get("/AccessToken/getXcx", { ...query, secret: key }),
      (key) => this.#ear.post("/JsSDK/getJsApiSign", { ...body, wx_app_secret: key }),
      async (key) =>
        this.#ear.wechat("GET", `/cgi-bin/token?secret=${encodeURIComponent(key)}&appid=${OWN.appId}`),
      async (key) =>
        this.#ear.wechat("GET", `/cgi-bin/getcallbackip?access_token=${encodeURIComponent(key)}`),
      (key) => this.#ear.get("/v1/audit", {}, { authorization: `Bearer ${key}`, "x-api-key": `${key}x` }),
      (key) =>
        this.#ear.get("/metrics", {}, { authorization: `Basic ${btoa(`x:${key}`)}`, "x-api-key": key }),
    ];
    for (const place of places) for (const key of all) await place(key);
  }

  /** Clients who may not, from where they may not, or not so often. */
  async #limitedClients(): Promise<void> {
    const grants = [{ apps: [MANAGED.appId], actions: ["token:read"] }];
    const limits = [{}, { networks: ["10.0.0.0/8"], grants: ALL }, { rate_limit: 1, grants: ALL }];
    for (const [n, limit] of limits.entries()) {
      const client = `limited-${n}`;
      await this.#send("POST", CLIENTS, { client, environment: "dev", grants, ...limit });
      const { api_key: key } = (await this.#send("POST", `${CLIENTS}/${client}/keys`, {})).data;
      await new Journey(this.#ear, { authorization: `Bearer ${key}` }).flowsOf({
        appid: OWN.appId,
        secret: OWN.secret,
      });
      await new Journey(this.#ear).flowsByKey(String(key));
      await new DropinJourney(this.#ear).flowsByKey(String(key));
      await this.#send("DELETE", `${CLIENTS}/${client}`);
    }
  }
}
