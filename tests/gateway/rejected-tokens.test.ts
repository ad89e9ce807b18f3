import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CORP, WX_FOREIGN } from "../support/harness.ts";
import { rawGet } from "../support/raw-http.ts";
import { parseExposition } from "../ops/prometheus-text.ts";
import { ALL_ACTIONS, GatewayHarness, type GatewayOptions, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const TICKET = "/cgi-bin/ticket/getticket";
const MINUTE = 60_000;
/** A registered app that the sandbox knows. */
const MANAGED = WX_FOREIGN.appId;
const EVERYTHING = [{ apps: ["*"], actions: ALL_ACTIONS }];

function errcodeOf(it: GatewayHarness, token: string, url = it.url): Promise<number | undefined> {
  return fetch(`${url}${INFO}?access_token=${token}`)
    .then((response) => response.json() as Promise<{ errcode?: number }>)
    .then(({ errcode }) => errcode);
}

/** Kills the current token at WeChat, and lets a call find that out. The token that was killed. */
async function reject(it: GatewayHarness, app = WX_APP): Promise<string> {
  const token = await it.realToken(app);
  it.sandbox.killTokens(app);
  expect(await errcodeOf(it, token)).toBeUndefined();
  it.world.clock.advance(MINUTE);
  return token;
}

test("two hundred calls with a token that is killed under them are all healed, those that come late as well", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  const bodies: string[] = [];
  let isKilled = false;
  const program = async () => {
    for (let n = 0; n < 10; n++) {
      if (bodies.length >= 40 && !isKilled) it.sandbox.killTokens(WX_APP);
      isKilled ||= bodies.length >= 40;
      bodies.push((await rawGet(it.url, `${INFO}?access_token=${token}`, ["Host: localhost"])).body);
    }
  };
  await Promise.all(Array.from({ length: 20 }, program));
  expect(bodies).toHaveLength(200);
  for (const body of bodies) expect(body).toContain('"openid"');
  expect(it.sandbox.calls("/cgi-bin/stable_token")).toBe(2);
});

test("an SDK that never fetches again works until its token's own end, however often the token is killed", async () => {
  await using it = await GatewayHarness.create();
  const first = await it.token();
  const issued = [await reject(it), await reject(it), await reject(it)];
  expect(issued[0]).toBe(first);
  for (const token of issued) expect(await errcodeOf(it, token)).toBeUndefined();
  it.world.clock.advance(7_200_000 - 3 * MINUTE - 1);
  expect(await errcodeOf(it, first)).toBeUndefined();
  it.world.clock.advance(1);
  expect(await errcodeOf(it, first)).toBe(42001);
  expect(await errcodeOf(it, issued[2] ?? "")).toBeUndefined();
});

test("a rejected token heals and no more: it is not handed out, and shows nobody the current one", async () => {
  await using it = await GatewayHarness.create();
  const rejected = await reject(it);
  expect(await it.token()).not.toBe(rejected);
  expect((await it.send(`${INFO}?access_token=${rejected}`)).text).not.toContain(await it.realToken());
  for (const path of ["/cgi-bin/openapi/rid/get", "/cgi-bin/clear_quota"])
    expect((await it.post(`${path}?access_token=${rejected}`, {})).errcode).toBe(48001);
});

test("the endpoints that take an access token and are answered here know a rejected one as well", async () => {
  await using it = await GatewayHarness.create();
  const token = await reject(it);
  const { text } = await it.send(`${TICKET}?type=jsapi&access_token=${token}`);
  expect(JSON.parse(text)).toMatchObject({ errcode: 0, ticket: expect.any(String) as string });
  const wecom = await it.token(WECOM_APP);
  it.sandbox.killTokens(CORP);
  expect((await it.send(`/cgi-bin/department/list?access_token=${wecom}`)).errcode).toBe(0);
  for (const path of [
    "/cgi-bin/department/list?",
    "/cgi-bin/get_jsapi_ticket?",
    "/cgi-bin/ticket/get?type=agent_config&",
  ])
    expect((await it.send(`${path}access_token=${wecom}`)).errcode).toBe(0);
});

test("a token that is reported as rejected goes on for its holders while nobody has looked into that", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  const report = { appid: WX_APP, access_token: token };
  const headers = { "x-api-key": it.key };
  expect((await it.world.get("/AccessToken/clearXcx", report, { headers })).code).toBe(0);
  expect(await errcodeOf(it, token)).toBeUndefined();
});

test("P7: calls on a rejected token are counted by themselves, in metrics, audit and the app's state", async () => {
  await using it = await GatewayHarness.create();
  const token = await reject(it);
  await it.send(`${INFO}?access_token=${token}`);
  await it.send(`${TICKET}?type=jsapi&access_token=${token}`);
  const exposition = parseExposition(await (await fetch(`${it.url}/metrics`)).text());
  expect(exposition.value("accesstoken_gateway_rejected_token_calls_total", { app: WX_APP })).toBe(2);
  const labels = { client: "(rejected access token)", app: WX_APP, family: "/cgi-bin/user", outcome: "ok" };
  expect(exposition.value("accesstoken_gateway_calls_total", labels)).toBe(1);
  const client = "(rejected access token 127.0.0.1)";
  const query = new URLSearchParams({ client }).toString();
  // What was counted is written down at a stop.
  await it.world.stop();
  await it.world.start();
  const { data } = await it.world.administer(`/v1/audit/reads?${query}`);
  const counts = (data["reads"] as { action: string }[]).map(({ action }) => action);
  expect(counts.toSorted()).toEqual(["api:call /cgi-bin/user", "ticket:read"]);
  const { data: app } = await it.world.administer(`/v1/apps/${WX_APP}`);
  expect(app["rejected_tokens"]).toBe(1);
});

/** Asks as an administrator for a change that must be made. */
async function change(it: GatewayHarness, method: string, path: string, body?: object): Promise<void> {
  const headers = { "content-type": "application/json" };
  const init = body ? { method, headers, body: JSON.stringify(body) } : { method };
  const { status, text } = await it.world.administer(path, init);
  if (status >= 300) throw new Error(text);
}

async function keyOf(it: GatewayHarness): Promise<string> {
  const { data } = await it.world.administer("/v1/clients/program/keys");
  return (data["keys"] as { key: string }[])[0]!.key;
}

const TOKEN_PATH = `/v1/apps/${MANAGED}/credentials/access_token`;
const NEW_SECRET = "ffffffffffffffffffffffffffffffff";

/** A rejected token of a registered app, known in two processes on one file. */
async function rejectedInTwo(options: GatewayOptions = {}) {
  const it = await GatewayHarness.create(options);
  await change(it, "POST", "/v1/apps", { platform: "weixin", app_id: MANAGED, secret: WX_FOREIGN.secret });
  await createClient(it.world, { name: "another", grants: EVERYTHING });
  await it.token(MANAGED, it.key);
  const rejected = await reject(it, MANAGED);
  const first = it.world.service;
  await it.world.start();
  const codes = async () => [await errcodeOf(it, rejected, first.url), await errcodeOf(it, rejected)];
  expect(await codes()).toEqual([undefined, undefined]);
  return {
    it,
    codes,
    [Symbol.asyncDispose]: async () => {
      await first.stop("test");
      await it[Symbol.asyncDispose]();
    },
  };
}

test.each<[string, (it: GatewayHarness) => Promise<void>]>([
  ["a clear", (it) => change(it, "DELETE", TOKEN_PATH)],
  [
    "a clear of the whole app by the documented protocol",
    async (it) => void (await it.world.get("/AccessToken/clearXcx", { appid: MANAGED, secret: it.key })),
  ],
  ["a forced refresh", (it) => change(it, "POST", `${TOKEN_PATH}/refresh`, { force: true })],
  [
    "another secret",
    async (it) => {
      it.sandbox.changeWeixinApp(MANAGED, { secret: NEW_SECRET });
      await change(it, "PATCH", `/v1/apps/${MANAGED}`, { secret: NEW_SECRET });
    },
  ],
  ["disabling the app", (it) => change(it, "PATCH", `/v1/apps/${MANAGED}`, { disabled: true })],
  ["removing the app", (it) => change(it, "DELETE", `/v1/apps/${MANAGED}`)],
  ["removing a client that was given real tokens", (it) => change(it, "DELETE", "/v1/clients/program")],
  ["virtual tokens for it", (it) => change(it, "PATCH", "/v1/clients/program", { delivery: "virtual" })],
  ["a policy for it", (it) => change(it, "PATCH", "/v1/clients/program", { policy: { preset: "none" } })],
  [
    "taking the app from it",
    (it) =>
      change(it, "PATCH", "/v1/clients/program", { grants: [{ apps: [WX_APP], actions: ["token:read"] }] }),
  ],
  [
    "an earlier end of it",
    (it) => change(it, "PATCH", "/v1/clients/program", { expires_at: it.world.clock.now() + MINUTE }),
  ],
  ["revoking a key of it", async (it) => change(it, "DELETE", `/v1/clients/program/keys/${await keyOf(it)}`)],
  [
    "rolling a key of it",
    async (it) => change(it, "POST", `/v1/clients/program/keys/${await keyOf(it)}/roll`, {}),
  ],
])("%s ends a rejected token at once, in another process as well", async (_what, end) => {
  await using t = await rejectedInTwo();
  await end(t.it);
  expect(await t.codes()).toEqual([42001, 42001]);
});

test.each(["expiresAt", "keyExpiresAt"] as const)(
  "a rejected token ends when a client or key expires that may have been given it (%s)",
  async (end) => {
    const client = { name: "program", grants: EVERYTHING };
    await using it = await GatewayHarness.create();
    await createClient(it.world, { ...client, name: "short", [end]: it.world.clock.now() + 30 * MINUTE });
    await it.token();
    const token = await reject(it);
    it.world.clock.advance(29 * MINUTE - 1);
    expect(await errcodeOf(it, token)).toBeUndefined();
    it.world.clock.advance(1);
    expect(await errcodeOf(it, token)).toBe(42001);
  },
);

test("a token that is rejected after a client has ended that may have been given it is nobody's", async () => {
  await using it = await GatewayHarness.create();
  await createClient(it.world, {
    name: "short",
    grants: EVERYTHING,
    expiresAt: it.world.clock.now() + MINUTE,
  });
  const token = await it.token();
  it.world.clock.advance(MINUTE);
  await reject(it);
  expect(await errcodeOf(it, token)).toBe(42001);
  // One that was issued since is known.
  const second = await reject(it);
  expect(await errcodeOf(it, second)).toBeUndefined();
  await createClient(it.world, { name: "removed", grants: EVERYTHING });
  const third = await it.token();
  await change(it, "DELETE", "/v1/clients/removed");
  it.world.clock.advance(1);
  await reject(it);
  expect(await errcodeOf(it, third)).toBe(42001);
});

test("changes of clients that were given no real token of the app end nothing", async () => {
  await using t = await rejectedInTwo();
  const { it, codes } = t;
  const others = [
    { name: "virtual", grants: EVERYTHING, delivery: "virtual" as const },
    { name: "elsewhere", grants: [{ apps: [WX_APP], actions: ["token:read" as const] }] },
    { name: "tickets", grants: [{ apps: ["*"], actions: ["ticket:read" as const] }] },
  ];
  for (const client of others) {
    await createClient(it.world, client);
    await change(it, "DELETE", `/v1/clients/${client.name}`);
  }
  await change(it, "PATCH", "/v1/clients/program", { rate_limit: 100, networks: ["127.0.0.0/8"] });
  await change(it, "PATCH", `/v1/apps/${MANAGED}`, { title: "Shop" });
  await change(it, "DELETE", `/v1/apps/${WX_APP}/credentials/access_token`);
  expect(await codes()).toEqual([undefined, undefined]);
});

test("a token that was issued after an end is known again when it is rejected", async () => {
  await using t = await rejectedInTwo();
  await change(t.it, "POST", `${TOKEN_PATH}/refresh`, { force: true });
  t.it.world.clock.advance(MINUTE);
  await t.it.token(MANAGED);
  const token = await reject(t.it, MANAGED);
  expect(await errcodeOf(t.it, token)).toBeUndefined();
});

test("a token that WeChat repeats after a clear is not taken for one that was issued later", async () => {
  await using t = await rejectedInTwo();
  const before = await t.it.realToken(MANAGED);
  await change(t.it, "DELETE", TOKEN_PATH);
  t.it.world.clock.advance(MINUTE);
  await t.it.token(MANAGED);
  expect(await reject(t.it, MANAGED)).toBe(before);
  expect(await errcodeOf(t.it, before)).toBe(42001);
});

test("a token of a secret that is not held is nobody's once it was rejected", async () => {
  await using it = await GatewayHarness.create({ environment: { ANONYMOUS: "on" } });
  const query = `grant_type=client_credential&appid=${MANAGED}&secret=${WX_FOREIGN.secret}`;
  const { access_token: token } = JSON.parse((await it.send(`/cgi-bin/token?${query}`)).text) as {
    access_token: string;
  };
  it.sandbox.killTokens(MANAGED);
  const report = { appid: MANAGED, secret: WX_FOREIGN.secret, access_token: token };
  expect((await it.world.get("/AccessToken/clearXcx", report)).code).toBe(0);
  await it.send(`/cgi-bin/token?${query}`);
  expect(await errcodeOf(it, token)).toBe(42001);
});
