import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CORP, WX, WX_FOREIGN } from "../support/harness.ts";
import { rawGet } from "../support/raw-http.ts";
import { ALL_ACTIONS, GatewayHarness, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const VIRTUAL = { client: { delivery: "virtual" } } as const;

/** Every path of the sandbox that takes an app's access token, and some that don't. */
const PATHS = {
  weixin: [
    "GET /cgi-bin/ticket/getticket?type=jsapi",
    "GET /cgi-bin/getcallbackip",
    "GET /cgi-bin/get_api_domain_ip",
    "POST /cgi-bin/message/custom/send",
    "POST /cgi-bin/media/upload?type=image",
    "GET /cgi-bin/media/get?media_id=x",
    "POST /cgi-bin/media/uploadimg",
    "POST /cgi-bin/material/add_material?type=image",
    "POST /cgi-bin/material/get_material",
    "POST /cgi-bin/message/template/send",
    "POST /cgi-bin/message/subscribe/send",
    "POST /cgi-bin/menu/create",
    "GET /cgi-bin/menu/get",
    "GET /cgi-bin/user/info?openid=x",
    "GET /cgi-bin/user/get",
    "POST /wxa/business/getuserphonenumber",
    "POST /wxa/getwxacode",
    "POST /wxa/msg_sec_check",
    "POST /cgi-bin/openapi/rid/get",
    "POST /cgi-bin/openapi/quota/get",
    "POST /cgi-bin/clear_quota",
    "POST /cgi-bin/clear_quota/v2",
    "GET /cgi-bin/token?grant_type=client_credential&appid=APP",
    "POST /cgi-bin/stable_token",
    "GET /sns/userinfo",
    "GET /sns/auth",
    "GET /no/such/path",
  ],
  wecom: [
    "GET /cgi-bin/get_jsapi_ticket",
    "GET /cgi-bin/ticket/get?type=agent_config",
    "GET /cgi-bin/auth/getuserinfo?code=x",
    "GET /cgi-bin/user/getuserinfo?code=x",
    "GET /cgi-bin/school/getuserinfo?code=x",
    "GET /cgi-bin/miniprogram/jscode2session?js_code=x",
    "GET /cgi-bin/getcallbackip",
    "GET /cgi-bin/get_api_domain_ip",
    "POST /cgi-bin/message/send",
    "GET /cgi-bin/user/get?userid=x",
    "GET /cgi-bin/department/list",
    "POST /cgi-bin/media/upload?type=image",
    "GET /cgi-bin/media/get?media_id=x",
    "GET /cgi-bin/gettoken?corpid=APP",
  ],
} as const;

test.each([
  ["weixin", WX_APP],
  ["wecom", WECOM_APP],
] as const)(
  "P6: a real token of %s reaches no holder of a virtual one, on any path, alive or dead",
  async (host, app) => {
    await using it = await GatewayHarness.create(VIRTUAL);
    const token = await it.token(app);
    const seen: string[] = [];
    const reals: string[] = [];
    for (const state of ["alive", "dead"]) {
      for (const path of PATHS[host]) {
        if (state === "dead") it.sandbox.killTokens(host === "weixin" ? WX.appId : CORP);
        reals.push(await it.realToken(app));
        const [method = "", target = ""] = path.split(" ");
        const body = method === "POST" ? { body: '{"rid":"x","touser":"x","media_id":"sandbox-news"}' } : {};
        const call = target.replace("APP", host === "weixin" ? WX.appId : CORP);
        for (const [url, headers] of [
          [`${call}${call.includes("?") ? "&" : "?"}access_token=${token}`, {}],
          [`/gateway/${app}${call}`, { "x-api-key": it.key }],
        ] as const) {
          const answer = await it.send(url, { method, headers, ...body });
          seen.push(answer.text, JSON.stringify([...answer.headers]));
        }
      }
    }
    const all = seen.join("\n");
    for (const real of new Set(reals)) expect(all.includes(real)).toBe(false);
    // The world is worth something: WeChat did answer.
    expect(all).toContain(host === "weixin" ? '"openid"' : '"department"');
  },
);

test("a virtual token lives 7200 s whatever the real one has left, and not a second longer", async () => {
  await using it = await GatewayHarness.create(VIRTUAL);
  await it.token();
  it.world.clock.advance(5_000_000);
  const token = await it.token();
  it.world.clock.advance(7_199_000);
  expect((await it.send(`${INFO}?access_token=${token}`)).text).toContain('"openid"');
  it.world.clock.advance(1000);
  expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBe(42001);
});

test("a virtual token dies at once with its key, and with its client", async () => {
  await using it = await GatewayHarness.create(VIRTUAL);
  const token = await it.token();
  const call = () => it.send(`${INFO}?access_token=${token}`);
  expect((await call()).errcode).toBeUndefined();
  const list = (await it.world.administer("/v1/clients/program/keys")).data["keys"] as { key: string }[];
  const revoked = await it.world.administer(`/v1/clients/program/keys/${list[0]?.key}`, { method: "DELETE" });
  expect(revoked.code).toBe(0);
  expect((await call()).errcode).toBe(42001);

  const grants = [{ apps: ["*"], actions: ALL_ACTIONS }];
  const other = await createClient(it.world, { name: "other", grants, delivery: "virtual" });
  const otherToken = await it.token(WX_APP, other);
  expect((await it.send(`${INFO}?access_token=${otherToken}`)).errcode).toBeUndefined();
  const { headers } = await it.world.administer("/v1/clients/other");
  const gone = await it.world.administer("/v1/clients/other", {
    method: "DELETE",
    headers: { "if-match": headers.get("etag") ?? "" },
  });
  expect(gone.code).toBe(0);
  expect((await it.send(`${INFO}?access_token=${otherToken}`)).errcode).toBe(42001);
  // Whoever is called so later is somebody else.
  it.world.clock.advance(5000);
  await createClient(it.world, { name: "other", grants, delivery: "virtual" });
  expect((await it.send(`${INFO}?access_token=${otherToken}`)).errcode).toBe(42001);
  expect(it.sandbox.calls(INFO)).toBe(2);
});

test("a virtual token is good for its app alone, and for what its client is granted", async () => {
  await using it = await GatewayHarness.create({
    client: { delivery: "virtual", grants: [{ apps: [WX_APP], actions: ["token:read", "login"] }] },
  });
  const token = await it.token();
  const { errcode, errmsg } = await it.send(`${INFO}?access_token=${token}`);
  expect([errcode, errmsg]).toEqual([48001, expect.stringContaining("api:call") as string]);
  expect((await it.send(`/gateway/${WX_APP}${INFO}`, { headers: { "x-api-key": it.key } })).errcode).toBe(
    48001,
  );
  expect(it.sandbox.calls(INFO)).toBe(0);
});

test("beside another client's key a virtual token is refused", async () => {
  await using it = await GatewayHarness.create(VIRTUAL);
  const token = await it.token();
  const grants = [{ apps: ["*"], actions: ALL_ACTIONS }];
  const other = await createClient(it.world, { name: "other", grants });
  const path = `${INFO}?access_token=${token}`;
  expect((await it.send(path, { headers: { "x-api-key": other } })).errcode).toBe(48001);
  expect((await it.send(path, { headers: { "x-api-key": it.key } })).errcode).toBeUndefined();
  expect((await it.send(path, { headers: { "x-api-key": "ats_wrong" } })).errcode).toBe(40125);
});

test("a virtual token works from wherever its client may ask, and from nowhere else", async () => {
  await using it = await GatewayHarness.create({
    client: { delivery: "virtual", networks: ["127.0.0.1/32"] },
    environment: { TRUSTED_NETWORKS: "127.0.0.1/32" },
  });
  const path = `${INFO}?access_token=${await it.token()}`;
  expect((await it.send(path)).errcode).toBeUndefined();
  const { body } = await rawGet(it.url, path, ["Host: localhost"], "127.0.0.2");
  expect(JSON.parse(body)).toMatchObject({ errcode: 48001 });
});

test("an app that is disabled is closed to every token of it, virtual, real or of a secret that is not ours", async () => {
  await using it = await GatewayHarness.create({
    client: { delivery: "virtual" },
    environment: { ANONYMOUS: "on" },
  });
  const token = async (secret: string) => {
    const query = `grant_type=client_credential&appid=${WX_FOREIGN.appId}&secret=${secret}`;
    return (JSON.parse((await it.send(`/cgi-bin/token?${query}`)).text) as { access_token: string })
      .access_token;
  };
  // Of a secret that was not ours yet.
  const foreign = await token(WX_FOREIGN.secret);
  // So that WeChat does not repeat it; here it still is what it was.
  it.sandbox.killTokens(WX_FOREIGN.appId);
  const made = await it.world.administer("/v1/apps", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ platform: "weixin", app_id: WX_FOREIGN.appId, secret: WX_FOREIGN.secret }),
  });
  expect(made.status).toBe(201);
  const tokens = [await token(it.key), await token(WX_FOREIGN.secret)];
  const headers = { "content-type": "application/json", "if-match": made.headers.get("etag") ?? "" };
  const path = `/v1/apps/${WX_FOREIGN.appId}`;
  for (const each of tokens) expect((await it.send(`${INFO}?access_token=${each}`)).errcode).toBeUndefined();
  expect((await it.send(`${INFO}?access_token=${foreign}`)).errcode).toBe(40001);
  it.sandbox.resetCalls();
  const disabled = await it.world.administer(path, { method: "PATCH", headers, body: '{"disabled":true}' });
  expect(disabled.code).toBe(0);
  for (const each of [...tokens, foreign]) {
    expect((await it.send(`${INFO}?access_token=${each}`)).errmsg).toContain("disabled");
  }
  expect(it.sandbox.calls()).toBe(0);
});
