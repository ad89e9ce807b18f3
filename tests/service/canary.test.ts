import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { FaultEffect } from "../../src/sandbox/fault.ts";
import { FROM_SOURCE } from "../support/child.ts";
import { ask, ProcessWorld } from "../support/process-world.ts";
import type { Answer } from "../support/world.ts";

/** Apps whose secrets occur nowhere else. */
const OWN = { appId: "wx0000000000000c01", secret: "canaryOwnSecret+/=8f1d2c3b" };
const CLASSIC = { appId: "wx0000000000000c02", secret: "canaryClassicSecret&%4a5b6c7d" };
const FOREIGN = { appId: "wx0000000000000c03", secret: "canaryForeignSecret?#9e8d7c6b" };
const FOREIGN_LATER = { appId: "wx0000000000000c06", secret: "canaryForeignLater=7c6b5a49" };
const FROZEN = { appId: "wx0000000000000c04", secret: "canaryFrozenSecret-1a2b3c4d" };
const CORP = { corpId: "ww0000000000000c05", agent: "7", secret: "canaryCorpSecret\"'5f6e7d8c" };
const CORP_FOREIGN = { corpId: CORP.corpId, agent: "8", secret: "canaryCorpForeign<>0a1b2c3d" };
const CORP_LATER = { corpId: CORP.corpId, agent: "9", secret: "canaryCorpLater|2f3e4d5c" };
const CORP_APP = `${CORP.corpId}_${CORP.agent}`;
const WRONG = "canaryWrongSecret~!6c5d4e3f";
const MASTER_KEY = "c0ffee5eca5e0fca11ab1eca5cadedeca1c1f1edf00dfacade5ca1ab1eba11ad";
const BAD_CODE = "canaryBadCode*7b8a9c0d";
const CLEARED = "70_canaryClearedToken_2d3e4f5a";

/** What goes wrong upstream, one after the other, whoever asks. */
const FAULTS: readonly FaultEffect[] = [
  { kind: "error", errcode: -1 },
  { kind: "error", errcode: 45009, errmsg: "reach max api daily quota limit" },
  { kind: "http", status: 502 },
  { kind: "reset_before" },
  { kind: "reset_after" },
  { kind: "truncated_json" },
  { kind: "truncated_body" },
  { kind: "oversized", bytes: 128 * 1024 },
  { kind: "gzip_bomb", bytes: 1024 * 1024 },
  { kind: "field", field: "expires_in", value: "soon" },
  { kind: "redirect", location: "http://127.0.0.1:1/" },
];

/** Each form in which a value could stand in a text. */
function formsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  // Inside a longer text base64 starts at one of three offsets; the edges depend on the neighbours.
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .slice(shift === 0 ? 0 : 4, -4),
  );
  return [
    value,
    encodeURIComponent(value),
    new URLSearchParams({ "": value }).toString().slice(1),
    encodeURI(value),
    JSON.stringify(value).slice(1, -1),
    JSON.stringify(JSON.stringify(value)).slice(3, -3),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    ...base64,
    ...base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_")),
    value.split("").toReversed().join(""),
  ];
}

/** Which of `values` stand in `text` in any form, by their names. */
function findIn(text: string, values: ReadonlyMap<string, string>): string[] {
  return [...values]
    .filter(([value]) => formsOf(value).some((form) => text.includes(form)))
    .map(([, name]) => name);
}

/** Goes through every flow and every failure of a service, and keeps what was said and what is secret. */
class Journey {
  readonly secrets = new Map<string, string>();
  /** Every error answer, headers included. */
  said = "";
  #errors = 0;
  #codes = 0;
  readonly #world: ProcessWorld;
  readonly #url: string;

  constructor(world: ProcessWorld, url: string) {
    this.#world = world;
    this.#url = url;
    for (const app of [OWN, CLASSIC, FOREIGN, FOREIGN_LATER, FROZEN, CORP, CORP_FOREIGN, CORP_LATER])
      this.secrets.set(app.secret, "secret");
    this.secrets.set(WRONG, "wrong secret").set(MASTER_KEY, "master key").set(BAD_CODE, "bad code");
    this.secrets.set(CLEARED, "cleared token");
  }

  get errors(): number {
    return this.#errors;
  }

  get url(): string {
    return this.#url;
  }

  async get(path: string, query: Record<string, string>): Promise<Answer> {
    return this.#keep(await ask(this.#url, path, query));
  }

  async post(path: string, body: object | string): Promise<Answer> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const headers = { "content-type": "application/json" };
    return this.#keep(await ask(this.#url, path, {}, { method: "POST", headers, body: text }));
  }

  /** A user's code, which is a secret as long as it is good. */
  code(kind = "plain"): string {
    const code = `sandbox-code-canary-${kind}-${this.#codes++}-x`;
    this.secrets.set(code, "code");
    return code;
  }

  /** Every flow once: with the configured secret, with a caller's own, with a wrong one. */
  async everyFlow(foreign = FOREIGN, corpForeign = CORP_FOREIGN): Promise<void> {
    await Promise.all([
      ...[OWN, CLASSIC, FROZEN].map(({ appId }) => this.#flowsOf({ appid: appId })),
      this.#flowsOf({ appid: foreign.appId, secret: foreign.secret }),
      this.#flowsOf({ appid: OWN.appId, secret: WRONG }),
      this.#corpFlows({ corpid: CORP.corpId, agentid: CORP.agent }),
      this.#corpFlows({ corpid: CORP.corpId, secret: corpForeign.secret }),
      this.#corpFlows({ corpid: CORP.corpId, secret: WRONG }),
      this.get("/AccessToken/getQyapi", { corpid: CORP.corpId, secret: CORP.secret, agentid: "99" }),
    ]);
    await Promise.all([OWN.appId, CLASSIC.appId, FROZEN.appId, CORP_APP].map((app) => this.#v1FlowsOf(app)));
    for (const path of ["/v1/apps", "/metrics", "/readyz", "/livez"]) await this.#overhear("GET", path);
  }

  /** An operator's word, so that what went wrong on purpose no longer keeps the apps from being asked for. */
  async unblock(): Promise<void> {
    for (const app of [OWN.appId, CLASSIC.appId, FROZEN.appId, CORP_APP])
      await this.#overhear("POST", `/v1/apps/${app}/unblock`);
  }

  /** What callers send that can't be used, with secrets in every place. */
  async everyBadInput(): Promise<void> {
    const { secret } = OWN;
    for (const path of ["/AccessToken/getXcx", "/AccessToken/clearXcx", "/xcx/jscode2session"]) {
      await this.get(path, { appid: "", secret, code: BAD_CODE, access_token: CLEARED });
      await this.get(path, { appid: secret, secret });
      await this.get(path, { appid: OWN.appId, secret: `${secret}\u0000` });
      const twice = new URLSearchParams([
        ["secret", secret],
        ["secret", WRONG],
      ]);
      this.#keep(await ask(this.#url, `${path}?${twice.toString()}`));
      this.#keep(await ask(this.#url, `${path}?secret=${secret}%zz`));
      this.#keep(await ask(this.#url, path, { secret }, { method: "POST", body: secret }));
      this.#keep(await ask(this.#url, `${path}/${encodeURIComponent(secret)}`, { secret }));
    }
    for (const path of ["/JsSDK/getJsApiSign", "/AccessToken/getOauthAccessToken"]) {
      await this.post(path, `{"wx_app_secret":${JSON.stringify(secret)}`);
      await this.post(path, { wx_app_id: { secret }, wx_app_secret: [secret], code: { BAD_CODE }, url: 5 });
      await this.post(path, {
        wx_app_id: secret,
        wx_app_secret: secret,
        code: BAD_CODE,
        url: "https://a.example/",
      });
      await this.post(path, JSON.stringify(secret));
      await this.post(path, JSON.stringify({ secret }).padEnd(70_000));
      this.#keep(await ask(this.#url, path, {}, { method: "POST", body: secret }));
    }
    const headers = {
      authorization: `Bearer ${secret}`,
      cookie: `s=${WRONG}`,
      "x-forwarded-for": "127.0.0.1",
    };
    this.#keep(await ask(this.#url, "/AccessToken/getXcx", { appid: OWN.appId, secret }, { headers }));
  }

  async #flowsOf(who: { appid: string; secret?: string }): Promise<void> {
    const body = { wx_app_id: who.appid, ...(who.secret ? { wx_app_secret: who.secret } : {}) };
    await this.get("/AccessToken/getXcx", { ...who });
    await this.post("/JsSDK/getJsApiSign", { ...body, url: "https://example.com/" });
    await this.post("/AccessToken/getOauthAccessToken", { ...body, code: this.code("union-snapshot") });
    await this.post("/AccessToken/getOauthAccessToken", { ...body, code: BAD_CODE });
    await this.get("/xcx/jscode2session", { ...who, code: this.code("union") });
    await this.get("/xcx/jscode2session", { ...who, code: BAD_CODE });
    await this.get("/AccessToken/clearXcx", { ...who, access_token: CLEARED });
    await this.get("/AccessToken/clearXcx", { ...who });
    await this.get("/AccessToken/getXcx", { ...who });
    await this.get("/AccessToken/clearXcx", { ...who });
  }

  async #v1FlowsOf(app: string): Promise<void> {
    const credentials = `/v1/apps/${app}/credentials`;
    for (const kind of ["access_token", "jsapi_ticket", "wx_card_ticket", "agent_config_ticket"]) {
      const { data } = await this.get(`${credentials}/${kind}`, {});
      await this.post(`${credentials}/${kind}/replace`, { rejected: String(data["value"] ?? CLEARED) });
      await this.post(`${credentials}/${kind}/replace`, { rejected: CLEARED });
      await this.post(`${credentials}/${kind}/replace`, { rejected: [CLEARED], [CLEARED]: CLEARED });
      await this.post(`${credentials}/${kind}/refresh`, { force: true });
    }
    for (const sort of ["jsapi", "card", "agent-config"]) {
      await this.post(`/v1/apps/${app}/signatures/${sort}`, { url: "https://example.com/" });
    }
    await this.#overhear("GET", `/v1/apps/${app}`);
  }

  /** What answers here must never hold a secret, also when it is a success. */
  async #overhear(method: string, path: string): Promise<void> {
    const response = await fetch(this.#url + path, { method, keepalive: false });
    this.said += `${await response.text()}\n${[...response.headers.entries()].join("\n")}\n`;
  }

  async #corpFlows(who: Record<string, string>): Promise<void> {
    await this.get("/AccessToken/getQyapi", who);
    await this.get("/AccessToken/clearQyapi", { ...who, access_token: CLEARED });
    await this.get("/AccessToken/clearQyapi", who);
  }

  /** An error answer is kept; from a success comes what is secret. */
  #keep(answer: Answer): Answer {
    if (answer.code !== 0) {
      this.#errors++;
      this.said += `${answer.text}\n${[...answer.headers.entries()].join("\n")}\n`;
    }
    for (const name of ["access_token", "refresh_token", "session_key", "value"]) {
      const value: unknown = answer.data[name];
      if (typeof value !== "string" || value === "" || this.secrets.has(value)) continue;
      this.secrets.set(value, name);
    }
    return answer;
  }

  /** The ticket of an app, asked for as any holder of its token could. */
  async keepTicket(appid: string): Promise<void> {
    const { data } = await this.get("/AccessToken/getXcx", { appid });
    expect(data["access_token"]).toBeString();
    const query = new URLSearchParams({ type: "jsapi", access_token: String(data["access_token"]) });
    const url = `${this.#world.sandbox.weixinUrl}/cgi-bin/ticket/getticket?${query.toString()}`;
    const { ticket } = (await (await fetch(url)).json()) as { ticket: string };
    expect(ticket).toBeString();
    this.secrets.set(ticket, "ticket");
  }
}

function setup(): ProcessWorld {
  return new ProcessWorld(FROM_SOURCE, {
    weixinApps: [OWN, CLASSIC, FOREIGN, FOREIGN_LATER, { ...FROZEN, frozenSecret: true }],
    wecomApps: [CORP, CORP_FOREIGN, CORP_LATER],
  });
}

const VARIABLES = {
  LOG_LEVEL: "debug",
  MASTER_KEY,
  [`WEIXIN_SECRET_${OWN.appId}`]: OWN.secret,
  [`WEIXIN_SECRET_${CLASSIC.appId}`]: CLASSIC.secret,
  [`WEIXIN_TOKEN_MODE_${CLASSIC.appId}`]: "classic",
  [`THIRD_APPID_${FROZEN.appId}`]: FROZEN.secret,
  [`WECOM_SECRET_${CORP.corpId}_${CORP.agent}`]: CORP.secret,
  WEIXIN_UNHEARD_OF: WRONG,
};

/** Every byte of every file that the service made, and the files' names. */
function filesOf(world: ProcessWorld): string {
  const folder = join(world.folder, "data");
  return readdirSync(folder)
    .map((name) => `${name}\n${readFileSync(join(folder, name), "latin1")}`)
    .join("\n");
}

test("P6: no secret, token, ticket, code or session key is in the output, an error answer or a file", async () => {
  await using world = setup();
  const { service, url } = await world.serve(VARIABLES);
  const journey = new Journey(world, url);
  for (let n = 0; n < 100; n++) for (const fault of FAULTS) world.sandbox.inject({ ...fault, times: 1 });
  await journey.everyFlow();
  // Every fault has happened: they stand in one line, and nobody passed it by.
  expect(world.sandbox.calls()).toBeGreaterThan(FAULTS.length);
  world.sandbox.clearFaults();
  await journey.unblock();
  const values = journey.secrets.size;
  // A caller's own app that met a daily quota is left alone until midnight, so others come now.
  await journey.everyFlow(FOREIGN_LATER, CORP_LATER);
  expect(journey.secrets.size).toBeGreaterThan(values + 10);
  await journey.keepTicket(OWN.appId);
  await journey.everyBadInput();
  for (let n = 0; n < 25; n++) {
    const secret = `canaryGuess-${n}-5b4c3d2e`;
    journey.secrets.set(secret, "guess");
    await journey.get("/AccessToken/getXcx", { appid: OWN.appId, secret });
  }
  await world.sandbox.stop();
  await journey.everyFlow();
  const whileRunning = filesOf(world);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);

  expect(journey.errors).toBeGreaterThan(100);
  expect(journey.secrets.size).toBeGreaterThan(70);
  const kinds = new Set(journey.secrets.values());
  for (const kind of ["secret", "access_token", "refresh_token", "session_key", "ticket", "value", "code"]) {
    expect([kind, kinds.has(kind)]).toEqual([kind, true]);
  }
  expect(service.stdout).toContain('"event":"request.handled"');
  expect(service.stdout).toContain('"event":"credential.refresh_failed"');
  expect({
    stdout: findIn(service.stdout, journey.secrets),
    stderr: findIn(service.stderr, journey.secrets),
    errors: findIn(journey.said, journey.secrets),
    files: findIn(whileRunning, journey.secrets),
    filesAfterwards: findIn(filesOf(world), journey.secrets),
  }).toEqual({ stdout: [], stderr: [], errors: [], files: [], filesAfterwards: [] });
});

test("the search for secrets finds each form in which one could stand, so that its silence means something", () => {
  const planted = new Map([[OWN.secret, "secret"]]);
  const { secret } = OWN;
  const bytes = Buffer.from(secret);
  const texts = [
    `{"secret":"${secret}"}`,
    `GET /x?secret=${encodeURIComponent(secret)}`,
    `GET /x?${new URLSearchParams({ secret }).toString()}`,
    JSON.stringify({ message: JSON.stringify({ secret }) }),
    bytes.toString("hex"),
    ...[0, 1, 2, 3].map((shift) => Buffer.from(`${"x".repeat(shift)}${secret}yyy`).toString("base64")),
    ...[0, 1, 2, 3].map((shift) => Buffer.from(`${"x".repeat(shift)}${secret}yyy`).toString("base64url")),
    bytes.toString("base64"),
    Buffer.concat([Buffer.from([0, 255, 128]), bytes, Buffer.alloc(9)]).toString("latin1"),
  ];
  for (const text of texts)
    expect([text, findIn(`before ${text} after`, planted)]).toEqual([text, ["secret"]]);
  expect(findIn(`before ${secret.slice(0, -1)} after`, planted)).toEqual([]);
});
