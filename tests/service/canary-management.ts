import type { Answer } from "../support/harness.ts";
import type { Ear } from "./canary-listener.ts";
import { Journey } from "./canary-journey.ts";
import { CORP_MANAGED, MANAGED, OWN } from "./canary-harness.ts";

const APPS = "/v1/apps";
const CLIENTS = "/v1/clients";
/** The client whose keys are handled. */
export const READER = "reader";
const KEYS = `${CLIENTS}/${READER}/keys`;
/** A grant of everything but administration. */
export const ALL = [
  { apps: ["*"], actions: ["token:read", "token:refresh", "token:clear", "ticket:sign", "login"] },
];

/** An administrator who makes, changes and ends apps, clients and keys, rightly and wrongly. */
export class Management {
  readonly #ear: Ear;
  readonly #headers: Record<string, string>;

  constructor(ear: Ear, key: string) {
    this.#ear = ear;
    this.#headers = { authorization: `Bearer ${key}` };
  }

  #send(method: string, path: string, body?: object | string, more = {}): Promise<Answer> {
    const headers = { ...this.#headers, ...more };
    if (body === undefined) return this.#ear.send(method, path, { headers });
    return this.#ear.change(method, path, body, headers);
  }

  /** Apps registered, changed, disabled and removed, with right secrets and wrong ones. */
  async everyApp(): Promise<void> {
    const fresh = () => this.#ear.fresh("app secret");
    const app = { platform: "weixin", app_id: MANAGED.appId };
    const name = `${APPS}/${MANAGED.appId}`;
    await this.#send("POST", APPS, { ...app, secret: fresh(), verify: true });
    await this.#send("POST", APPS, { ...app, secret: MANAGED.secret, verify: true, title: "Shop" });
    await this.#send("POST", APPS, { ...app, secret: MANAGED.secret, title: "Shop" });
    await this.#send("POST", APPS, { ...app, secret: fresh() });
    await this.#send("POST", APPS, { ...app, app_id: OWN.appId, secret: fresh() });
    const { corpId, agent, secret } = CORP_MANAGED;
    await this.#send("POST", APPS, {
      platform: "wecom",
      app_id: corpId,
      agent,
      secret: fresh(),
      verify: true,
    });
    await this.#send("POST", APPS, { platform: "wecom", app_id: corpId, agent, secret, verify: true });
    const journey = new Journey(this.#ear, this.#headers);
    await journey.flowsOf({ appid: MANAGED.appId });
    await journey.v1FlowsOf(`${corpId}_${agent}`);
    await this.#wrongBodies("POST", APPS, { ...app, secret: MANAGED.secret }, [
      "app_id",
      "agent",
      "mode",
      "platform",
      "secret",
      "title",
      "verify",
      "app_secret",
    ]);
    await this.#wrongBodies("PATCH", name, {}, [
      "secret",
      "mode",
      "title",
      "disabled",
      "verify",
      "app_secret",
    ]);

    await this.#send("PATCH", name, { secret: fresh(), verify: true });
    await this.#send("PATCH", name, { secret: fresh() }, { "if-match": `"${fresh()}"` });
    await this.#send("PATCH", name, { secret: fresh() }, { "if-match": '"99"' });
    await this.#send("PATCH", `${APPS}/${OWN.appId}`, { secret: fresh() });
    await this.#send("PATCH", `${APPS}/wx0000000000000c99`, { secret: fresh() });
    await this.#send("PATCH", `${APPS}/${encodeURIComponent(fresh())}`, { secret: fresh() });
    await this.#send("PATCH", name, { secret: fresh() });
    await journey.flowsOf({ appid: MANAGED.appId });
    await this.#send("PATCH", name, { secret: MANAGED.secret, verify: true, mode: "classic" });
    await journey.flowsOf({ appid: MANAGED.appId });
    await this.#send("PATCH", name, { disabled: true });
    await journey.flowsOf({ appid: MANAGED.appId, secret: MANAGED.secret });
    await this.#send("PATCH", name, { disabled: false, title: null });
    await journey.flowsOf({ appid: MANAGED.appId, secret: MANAGED.secret });
    await this.#send("DELETE", `${APPS}/${encodeURIComponent(fresh())}`);
    await this.#send("DELETE", name);
  }

  /** Clients and keys with secrets in every field where none belongs. */
  async everyClient(): Promise<void> {
    const client = { client: READER, environment: "dev", grants: ALL };
    await this.#send("POST", CLIENTS, client);
    await this.#send("POST", CLIENTS, { ...client, environment: "st" });
    await this.#wrongBodies("POST", CLIENTS, client, [
      "client",
      "environment",
      "grants",
      "networks",
      "expires_at",
      "rate_limit",
      "concurrency",
      "delivery",
      "policy",
      "api_key",
    ]);
    const secret = this.#ear.fresh("stray secret");
    for (const change of [
      { grants: [{ apps: [secret], actions: ["login"] }] },
      { grants: [{ apps: ["*"], actions: [secret], [secret]: secret }] },
      { networks: [secret] },
      { policy: { preset: secret } },
      { policy: { preset: "none", allow: [secret] } },
      { policy: { preset: "none", [secret]: [] } },
      { networks: ["10.0.0.0/8", secret.slice(0, 40)] },
    ]) {
      await this.#send("POST", CLIENTS, { ...client, client: "another", ...change });
      await this.#send("PATCH", `${CLIENTS}/${READER}`, change);
    }
    await this.#wrongBodies("PATCH", `${CLIENTS}/${READER}`, {}, [
      "environment",
      "grants",
      "networks",
      "expires_at",
      "rate_limit",
      "concurrency",
      "delivery",
      "policy",
      "secret",
    ]);
    await this.#wrongBodies("POST", KEYS, {}, ["expires_at", "api_key", "key"]);
    await this.#send("POST", KEYS, { label: `${secret}\n` });
    for (const path of [
      `${CLIENTS}/${encodeURIComponent(secret)}`,
      `${CLIENTS}?after=${encodeURIComponent(secret)}`,
      `/v1/audit?client=${encodeURIComponent(secret)}`,
      `/v1/audit?before=${encodeURIComponent(secret)}`,
      `/v1/audit/usage?after=${encodeURIComponent(secret)}`,
      `/v1/audit/denials?after=${encodeURIComponent(secret)}`,
      `/v1/audit/export?environment=${encodeURIComponent(secret)}`,
    ])
      await this.#send("GET", path);
  }

  /** What an administrator may read of all that. */
  async readEverything(): Promise<string> {
    let read = "";
    for (const path of [
      APPS,
      `${APPS}/${OWN.appId}`,
      CLIENTS,
      KEYS,
      "/v1/audit?limit=1000",
      "/v1/audit/usage?limit=1000",
      "/v1/audit/denials?limit=1000",
      "/v1/audit/export",
      "/v1/audit/verify",
      "/metrics",
      "/readyz",
      "/swagger",
      "/swagger/json",
    ])
      read += await this.#ear.overhear("GET", path, this.#headers);
    return read;
  }

  /** Everything that must be written down, while that is impossible. */
  async changeInVain(): Promise<readonly Answer[]> {
    const fresh = () => this.#ear.fresh("secret in vain");
    const [app, name] = [{ platform: "weixin", app_id: MANAGED.appId }, `${APPS}/${CORP_MANAGED.corpId}_10`];
    const answers = [
      await this.#send("POST", APPS, { ...app, secret: fresh() }),
      await this.#send("POST", APPS, { ...app, secret: MANAGED.secret, verify: true }),
      await this.#send("PATCH", name, { secret: fresh() }),
      await this.#send("DELETE", name),
      await this.#send("POST", CLIENTS, { client: "another", environment: "dev", grants: ALL }),
      await this.#send("POST", KEYS, { label: "in vain" }),
      await this.#send("POST", `${APPS}/${OWN.appId}/credentials/access_token/refresh`, { force: true }),
      await this.#send("GET", "/v1/audit/export"),
    ];
    // A clear may be refused for another reason: there was one just before.
    await this.#send("DELETE", `${APPS}/${OWN.appId}/credentials/access_token`);
    await new Journey(this.#ear, this.#headers).flowsOf({ appid: OWN.appId, secret: OWN.secret });
    return answers;
  }

  /** A body that is wrong in every way, and wrong in each of these fields, each time with secrets of its own. */
  async #wrongBodies(method: string, path: string, good: object, fields: readonly string[]) {
    const fresh = () => this.#ear.fresh("stray secret");
    for (const field of fields) {
      const value = fresh();
      for (const wrong of [{ [value]: value }, [value], value.padEnd(600, "\u00e9"), `${value}\u0000`]) {
        await this.#send(method, path, { ...good, [field]: wrong });
      }
    }
    const secret = fresh();
    await this.#send(method, path, { ...good, [secret]: secret });
    await this.#send(method, path, `{"secret":${JSON.stringify(secret)}`);
    await this.#send(method, path, JSON.stringify([{ ...good, secret }]));
    await this.#send(method, path, JSON.stringify(secret));
    await this.#send(method, path, JSON.stringify({ ...good, secret }).padEnd(70_000));
    for (const type of ["text/plain", "application/x-www-form-urlencoded", secret]) {
      await this.#send(method, path, JSON.stringify({ ...good, secret }), { "content-type": type });
    }
    await this.#send("PUT", path, { ...good, secret });
  }
}
