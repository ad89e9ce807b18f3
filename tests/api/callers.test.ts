import { expect, test } from "bun:test";
import { WX } from "../support/harness.ts";
import { DropinHarness, STRANGE, WECOM_APP } from "./dropin-harness.ts";

const TOKEN = "/cgi-bin/token";
const GETTICKET = "/cgi-bin/ticket/getticket";
const APP = { grant_type: "client_credential", appid: WX.appId };
const LIFE_MS = 7_200_000;

test("a token whose life is over is 42001, real or virtual, and another one is to be had at once", async () => {
  // So that nothing is renewed by itself, at whatever moment.
  await using at = await DropinHarness.create({ environment: { REFRESH_IDLE_AFTER: "60" } });
  const key = await at.key("laptop", { delivery: "virtual" });
  const tokens = [await at.token("weixin"), await at.token("weixin", key)];
  at.world.clock.advance(LIFE_MS);
  const calls = at.sandbox.calls();
  for (const access_token of tokens) {
    const query = { access_token, type: "jsapi" };
    expect(await at.refusal(GETTICKET, { query })).toEqual([42001, "access_token expired"]);
    expect(await at.refusal("/cgi-bin/getcallbackip", { query })).toEqual([42001, "access_token expired"]);
  }
  expect(at.sandbox.calls()).toBe(calls);
  const again = await at.token("weixin", key);
  expect((await at.ask(GETTICKET, { query: { access_token: again, type: "jsapi" } })).body["errcode"]).toBe(
    0,
  );
});

test("a key that is revoked takes its virtual tokens with it, in the shape of their platform", async () => {
  await using at = await DropinHarness.create();
  const key = await at.key("laptop", { apps: [WECOM_APP], delivery: "virtual" });
  const access_token = await at.token("wecom", key);
  await at.world.administer(`/v1/clients/laptop/keys/${key.slice(0, 12)}`, { method: "DELETE" });
  const { body, headers } = await at.ask("/cgi-bin/user/get", { query: { access_token, userid: "x" } });
  expect(body["errcode"]).toBe(42001);
  expect([headers.get("error-code"), headers.get("content-type")]).toEqual([
    "42001",
    "application/json; charset=utf-8",
  ]);
});

test("a token that has ended is refused in the words of its platform at a path that both have", async () => {
  await using at = await DropinHarness.create();
  const WECOMS = ["42001", "application/json; charset=utf-8"];
  const WEIXINS = [undefined, "application/json; encoding=utf-8"];
  const wecomKey = await at.key("wecom", { apps: [WECOM_APP], delivery: "virtual" });
  const weixinKey = await at.key("weixin", { apps: [WX.appId], delivery: "virtual" });
  const tokens: [string, unknown[]][] = [
    [await at.token("wecom"), WECOMS],
    [await at.token("wecom", wecomKey), WECOMS],
    [await at.token("weixin"), WEIXINS],
    [await at.token("weixin", weixinKey), WEIXINS],
    ["atv1_", WEIXINS],
    ["whatever", WEIXINS],
  ];
  at.world.clock.advance(7_300_000);
  for (const [access_token, form] of tokens) {
    for (const path of ["/cgi-bin/media/get", "/cgi-bin/getcallbackip", "/cgi-bin/user/get/"]) {
      const { body, headers } = await at.ask(path, { query: { access_token } });
      const seen = [headers.get("error-code"), headers.get("content-type")];
      expect([access_token, path, body["errcode"], ...seen]).toEqual([access_token, path, 42001, ...form]);
    }
    // This one is WeChat's alone, whatever comes.
    const { headers } = await at.ask(GETTICKET, { query: { access_token, type: "jsapi" } });
    expect(headers.has("error-code")).toBe(false);
  }
});

test("a key, a secret or a token is answered by whichever way it comes, and nothing else is", async () => {
  await using at = await DropinHarness.create();
  const key = await at.key("server");
  const access_token = await at.token();
  const routes: Record<string, string>[] = [
    { "sec-fetch-site": "cross-site" },
    { origin: "https://evil.example" },
    { "x-forwarded-for": "10.0.0.1" },
    { "x-forwarded-proto": "https" },
  ];
  for (const headers of routes) {
    for (const from of ["127.0.0.1", STRANGE]) {
      for (const secret of [WX.secret, key]) {
        const { body } = await at.ask(TOKEN, { query: { ...APP, secret }, headers, from });
        expect([headers, body["access_token"]]).toEqual([headers, access_token]);
      }
      const query = { access_token, type: "jsapi" };
      expect((await at.ask(GETTICKET, { query, headers, from })).body).toMatchObject({ errcode: 0 });
      const byKey = { query: APP, headers: { ...headers, "x-api-key": key }, from };
      expect((await at.ask(TOKEN, byKey)).body["access_token"]).toBe(access_token);
      expect((await at.refusal(TOKEN, { query: APP, headers, from }))[0]).not.toBe(0);
      // A guess is not even tried at WeChat.
      expect((await at.refusal(TOKEN, { query: { ...APP, secret: "guess" }, headers, from }))[0]).toBe(40125);
    }
  }
  expect(at.sandbox.calls()).toBe(2);
});

test("who tries tokens that nobody has, or holds a real one, is counted by the address", async () => {
  await using at = await DropinHarness.create({ environment: { ANONYMOUS_RATE_LIMIT: "1" } });
  const access_token = await at.token();
  const ask = (token: string, from: string) =>
    at.ask(GETTICKET, { query: { access_token: token, type: "jsapi" }, from });
  for (const [token, from] of [
    ["70_unheardOf", "127.1.0.1"],
    [access_token, "127.1.0.2"],
  ] as const) {
    const errcodes = [];
    for (let n = 0; n < 12; n++) errcodes.push(Number((await ask(token, from)).body["errcode"]));
    expect(errcodes.at(0)).toBe(token === access_token ? 0 : 42001);
    expect(errcodes.at(-1)).toBe(45011);
  }
  at.world.clock.advance(1000);
  const { headers } = await ask("70_unheardOf", "127.1.0.1");
  expect(headers.has("retry-after")).toBe(false);
});

test("P7: who was handed what, and who was refused, is counted for the audit", async () => {
  await using at = await DropinHarness.create();
  const key = await at.key("shop");
  await at.ask(TOKEN, { query: { ...APP, secret: key } });
  const access_token = await at.token("weixin", WX.secret);
  await at.ask(GETTICKET, { query: { access_token, type: "jsapi" } });
  await at.ask("/sns/jscode2session", {
    query: { ...APP, grant_type: "authorization_code", js_code: "sandbox-code-1", secret: key },
  });
  await at.ask(TOKEN, { query: { ...APP, secret: "wrong" }, from: STRANGE });
  await at.ask(TOKEN, { query: APP, from: STRANGE });
  await at.world.stop();
  await at.world.start({ TRUSTED_NETWORKS: "127.0.0.0/16", ANONYMOUS: "on" });
  const { data: usage } = await at.world.administer("/v1/audit/usage");
  const counted = (usage["usage"] as Record<string, string>[]).map(({ client, action, app }) => [
    client,
    action,
    app,
  ]);
  expect(counted).toEqual(
    expect.arrayContaining([
      ["shop", "token:read", WX.appId],
      ["(app secret)", "token:read", WX.appId],
      ["(access token 127.0.0.1)", "ticket:read", WX.appId],
      ["shop", "login", WX.appId],
    ]),
  );
  const { data } = await at.world.administer("/v1/audit/denials");
  const refused = (data["denials"] as Record<string, unknown>[]).map(({ address, code, route }) => [
    address,
    code,
    route,
  ]);
  expect(refused).toEqual(
    expect.arrayContaining([
      [STRANGE, 40125, TOKEN],
      [STRANGE, 41004, TOKEN],
    ]),
  );
});

test("what a client sends wrongly is not counted against its address, whether a key in the secret's place or a virtual token shows it", async () => {
  await using at = await DropinHarness.create({ environment: { ANONYMOUS_RATE_LIMIT: "1" } });
  const key = await at.key("shop", { delivery: "virtual" });
  const from = "127.1.0.3";
  const { access_token } = (await at.ask(TOKEN, { query: { ...APP, secret: key }, from })).body;
  const query = { appid: WX.appId, secret: key, min_ttl: "nonsense" };
  for (let n = 0; n < 12; n++) {
    expect((await at.ask(GETTICKET, { query: { access_token, type: "odd" }, from })).body["errcode"]).toBe(
      40097,
    );
    expect((await at.ask("/AccessToken/getXcx", { query, from })).body).toMatchObject({ code: 1 });
    expect(
      (await at.ask("/cgi-bin/gettoken", { query: { corpsecret: key, secret: key }, from })).body["errcode"],
    ).toBe(41002);
  }
  // Whoever else comes from there is answered as ever.
  const other = { appid: WX.appId, secret: WX.secret };
  expect((await at.ask("/AccessToken/getXcx", { query: other, from })).body).toMatchObject({ code: 0 });
});
