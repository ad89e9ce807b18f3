import { expect, test } from "bun:test";
import { createApiKey } from "../../src/access/api-key.ts";
import { rawRequest } from "../support/raw-http.ts";
import { Harness, WX, WX_FOREIGN } from "../support/harness.ts";
import { type Asking, DropinHarness, STRANGE, VIRTUAL, type WireAnswer } from "./dropin-harness.ts";

const TOKEN = "/cgi-bin/token";
const STABLE = "/cgi-bin/stable_token";
const GRANT = { grant_type: "client_credential" };
const APP = { ...GRANT, appid: WX.appId };

interface Way {
  readonly name: string;
  readonly ask: (at: DropinHarness, fields: Record<string, string>, more?: Asking) => Promise<WireAnswer>;
}

const WAYS: readonly Way[] = [
  { name: "GET token", ask: (at, query, more) => at.ask(TOKEN, { query, ...more }) },
  { name: "POST token with JSON", ask: (at, body, more) => at.ask(TOKEN, { body, ...more }) },
  {
    name: "POST token with a form",
    ask: (at, fields, more) => at.ask(TOKEN, { body: new URLSearchParams(fields).toString(), ...more }),
  },
  {
    name: "POST token with a query",
    ask: (at, query, more) => at.ask(TOKEN, { method: "POST", query, ...more }),
  },
  { name: "POST stable_token", ask: (at, body, more) => at.ask(STABLE, { body, ...more }) },
];

const errcodeOf = ({ body }: WireAnswer) => Number(body["errcode"]);

test.each(WAYS)(
  "$name gives the shared token, in WeChat's own form, to the holder of the secret",
  async ({ ask }) => {
    await using at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
    const fields = { ...APP, secret: WX.secret };
    const { text, headers, body } = await ask(at, fields, { from: STRANGE });
    expect(headers.get("content-type")).toBe("application/json; encoding=utf-8");
    expect(text).toBe(`{"access_token":"${body["access_token"]}","expires_in":${body["expires_in"]}}`);
    expect(at.sandbox.accepts(String(body["access_token"]))).toBe(true);
    at.world.clock.advance(1_000_000);
    const later = (await ask(at, fields)).body;
    expect([later["access_token"], later["expires_in"]]).toEqual([
      body["access_token"],
      body["expires_in"] - 1000,
    ]);
    expect(at.sandbox.calls()).toBe(1);
  },
);

test.each(WAYS)("$name takes an API key in the place of the secret, or in a header", async ({ ask }) => {
  await using at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
  const [real, virtual] = [await at.key("real"), await at.key("virtual", { delivery: "virtual" })];
  const mine = (await ask(at, { ...APP, secret: real })).body["access_token"];
  expect(at.sandbox.accepts(String(mine))).toBe(true);
  const places: [Record<string, string>, Asking][] = [
    [{ ...APP, secret: real }, { from: STRANGE }],
    [APP, { headers: { authorization: `Bearer ${real}` }, from: STRANGE }],
    [APP, { headers: { "x-api-key": real }, from: STRANGE }],
    [{ ...APP, secret: "" }, { headers: { "x-api-key": real } }],
    [{ ...APP, secret: WX.secret }, { headers: { "x-api-key": real } }],
  ];
  for (const [fields, more] of places) expect((await ask(at, fields, more)).body["access_token"]).toBe(mine);
  const ours = (await ask(at, { ...APP, secret: virtual })).body;
  expect(ours["access_token"]).toMatch(VIRTUAL);
  expect(ours["expires_in"]).toBe(7200);
  expect(at.sandbox.calls()).toBe(1);
});

test.each(WAYS)("$name gives anybody on a trusted network the token without a secret", async ({ ask }) => {
  await using at = await DropinHarness.create();
  expect(at.sandbox.accepts(String((await ask(at, APP)).body["access_token"]))).toBe(true);
  const foreign = await ask(at, { ...GRANT, appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret });
  expect(at.sandbox.accepts(String(foreign.body["access_token"]))).toBe(true);
});

test.each(WAYS)("$name refuses in WeChat's order, and asks WeChat about nothing", async ({ ask }) => {
  await using at = await DropinHarness.create();
  const every = await at.key("every");
  const [wrong, secret] = ["f".repeat(32), WX.secret];
  const strange = { from: STRANGE };
  const byHeader = { headers: { "x-api-key": every } };
  const cases: [number, Record<string, string>, Asking][] = [
    [41002, {}, {}],
    [41002, { ...GRANT, appid: "", secret }, {}],
    [40013, { appid: "wx0unknown" }, {}],
    [40013, { appid: "wx0unknown", secret: every }, {}],
    [40013, { ...GRANT, appid: "wx0unknown", secret: every }, {}],
    [40013, { appid: "wx0unknown" }, byHeader],
    [40013, { appid: WX_FOREIGN.appId }, byHeader],
    [40013, { ...GRANT, appid: secret.replace("a", "+"), secret }, {}],
    [40013, { ...GRANT, appid: "x".repeat(65), secret: WX_FOREIGN.secret }, {}],
    [40002, { appid: WX.appId, secret }, {}],
    [40002, { appid: WX.appId, secret: every }, {}],
    [40002, { appid: WX.appId }, {}],
    [40002, { appid: WX.appId }, strange],
    [40002, { ...APP, grant_type: "authorization_code", secret }, {}],
    [40002, { appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret }, {}],
    [40002, { appid: WX.appId, secret: wrong }, {}],
    [40002, { appid: WX.appId, secret: wrong }, strange],
    [41004, APP, strange],
    [41004, { ...APP, secret: "" }, strange],
    [41004, { ...APP, appsecret: secret }, strange],
    [40125, { ...APP, secret: wrong }, strange],
    [40125, { ...GRANT, appid: "wx0unknown", secret: wrong }, strange],
    [40125, { ...GRANT, appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret }, strange],
    [40125, { ...APP, secret: wrong }, byHeader],
    [40125, { ...APP, secret: createApiKey().reveal() }, {}],
    [40125, { ...APP, secret: "x".repeat(513) }, {}],
    [40125, { ...APP, secret: "with space" }, {}],
    [40125, { ...APP, secret: "nul\u0000" }, {}],
    [40125, APP, { headers: { "x-api-key": "ats_wrong" } }],
  ];
  for (const [n, [errcode, fields, more]] of cases.entries()) {
    // Each from an address of its own: who is wrong too often is told nothing more.
    const from = more.from ? `127.1.1.${n}` : `127.0.1.${n}`;
    expect([fields, more, errcodeOf(await ask(at, fields, { ...more, from }))]).toEqual([
      fields,
      more,
      errcode,
    ]);
  }
  expect(at.sandbox.calls()).toBe(0);
});

test("what WeChat says of a secret that it was asked about passes as it came", async () => {
  await using at = await DropinHarness.create();
  for (const errmsg of ["invalid appsecret", "不合法 rid: 6aac005a-01bfdbee-79769285"]) {
    const body = JSON.stringify({ errcode: 40125, errmsg });
    at.sandbox.inject({ kind: "raw", body, contentType: "text/plain", times: 1 });
    const secret = crypto.randomUUID();
    const answer = await at.ask(TOKEN, { query: { ...GRANT, appid: WX_FOREIGN.appId, secret } });
    expect(answer.body).toEqual({ errcode: 40125, errmsg });
  }
  expect(at.sandbox.calls()).toBe(2);
});

test("without a client and with ANONYMOUS=off who sends nothing is missing a secret", async () => {
  await using at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
  expect(await at.refusal(TOKEN, { query: APP })).toEqual([41004, "appsecret missing"]);
});

test("a client is refused what it was not granted, in WeChat's words and with the reason in both languages", async () => {
  await using at = await DropinHarness.create();
  const other = await at.key("other", { apps: ["wx0other"] });
  const reader = await at.key("reader", { actions: ["ticket:read"] });
  for (const secret of [other, reader]) {
    const [errcode, errmsg] = await at.refusal(TOKEN, { query: { ...APP, secret } });
    expect(errcode).toBe(48001);
    expect(errmsg).toMatch(/^api unauthorized, .*[\u4e00-\u9fff].*not granted to this client/);
  }
  expect(at.sandbox.calls()).toBe(0);
});

test("who is wrong too often is told to wait, for how long, and not whether it is right now", async () => {
  await using at = await DropinHarness.create();
  let last: WireAnswer | undefined;
  for (let n = 0; n < 40; n++) {
    last = await at.ask(TOKEN, { query: { ...APP, secret: `wrong-${n}` }, from: STRANGE });
  }
  expect(last?.body["errcode"]).toBe(45011);
  expect(last?.body["retry_after"]).toBeGreaterThan(0);
  expect(last?.headers.get("retry-after")).toBe(String(last?.body["retry_after"]));
  expect(at.sandbox.calls()).toBe(0);
});

test("P1: a hundred cold callers by every way cost one upstream call", async () => {
  await using at = await DropinHarness.create();
  const key = await at.key("real");
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const way = WAYS[n % WAYS.length];
      const fields = n % 3 === 0 ? APP : { ...APP, secret: n % 3 === 1 ? key : WX.secret };
      return way?.ask(at, fields);
    }),
  );
  expect(new Set(answers.map((answer) => answer?.body["access_token"])).size).toBe(1);
  expect(at.sandbox.calls()).toBe(1);
});

test("the POSTed body is read as JSON whatever its content type says", async () => {
  await using at = await DropinHarness.create();
  const body = { ...APP, secret: WX.secret };
  for (const type of ["text/plain", "text/html; charset=UTF-8", "application/x-www-form-urlencoded", "x"]) {
    const { body: got } = await at.ask(STABLE, { body, headers: { "content-type": type } });
    expect([type, got["expires_in"]]).toEqual([type, expect.any(Number)]);
  }
  for (const wrong of ["", "grant_type=client_credential", "[]", "null", "{"]) {
    expect([wrong, ...(await at.refusal(STABLE, { body: wrong }))]).toEqual([
      wrong,
      47001,
      "data format error",
    ]);
  }
});

test("a body that is too large is refused before it is read", async () => {
  await using at = await DropinHarness.create();
  const body = JSON.stringify({ ...APP, secret: WX.secret }).padEnd(70_000);
  expect((await at.refusal(STABLE, { body }))[0]).toBe(45001);
  const head = `POST ${STABLE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n`;
  const answer = await rawRequest(at.world.service.url, head);
  expect(answer.body).toStartWith('{"errcode":45001,');
});

test("every other method is refused as WeChat refuses it", async () => {
  await using at = await DropinHarness.create();
  const query = { ...APP, secret: WX.secret };
  for (const method of ["PUT", "PATCH", "DELETE", "OPTIONS"]) {
    expect(await at.refusal(TOKEN, { method, query })).toEqual([43001, "require GET method"]);
    expect(await at.refusal(STABLE, { method, query })).toEqual([43002, "require POST method"]);
  }
  expect(await at.refusal(STABLE, { query })).toEqual([43002, "require POST method"]);
  expect((await at.ask(TOKEN, { method: "HEAD", query })).text).toBe("");
  expect(at.sandbox.calls()).toBe(0);
});

test("slashes too many change nothing, and a path in other words is another path", async () => {
  await using at = await DropinHarness.create();
  const query = { ...APP, secret: WX.secret };
  for (const path of ["//cgi-bin/token", "/cgi-bin//token", "/cgi-bin/token/", "//cgi-bin/token/"]) {
    expect([path, (await at.ask(path, { query })).body["access_token"]]).toEqual([path, expect.any(String)]);
  }
  for (const path of ["/cgi-bin/%74oken", "/cgi-bin/x%2Ftoken"]) {
    expect([path, ...(await at.refusal(path, { query }))]).toEqual([path, 40066, "invalid url"]);
  }
  expect(await at.refusal("/cgi-bin/tokens", { query })).toEqual([41001, "access_token missing"]);
  expect(at.sandbox.calls()).toBe(1);
});

test("a parameter that comes twice, or can't be decoded, is refused, and nothing of it is quoted", async () => {
  await using at = await DropinHarness.create();
  const search = new URLSearchParams({ ...APP, secret: WX.secret }).toString();
  const targets = [`${search}&secret=${WX.secret}`, `${search}%zz`, `${search}&%zz=1`, `${search}&appid=wx1`];
  for (const target of targets) {
    const { text, body } = await at.ask(`${TOKEN}?${target}`);
    expect([target, body["errcode"]]).toEqual([target, 40097]);
    expect(text).not.toContain(WX.secret);
  }
  const form = `${search}&secret=${WX.secret}`;
  expect((await at.refusal(TOKEN, { body: form }))[0]).toBe(40097);
  // SDKs that join with `&` leave pairs of nothing.
  expect((await at.ask(`${TOKEN}?&&${search}&`)).body["access_token"]).toBeString();
  expect((await at.ask(`${TOKEN}?${search}&x=${"y".repeat(12_000)}`)).body["access_token"]).toBeString();
});

test("a disabled app is refused with the reason, and its tokens are no longer taken", async () => {
  await using at = await DropinHarness.create();
  const headers = { "content-type": "application/json" };
  const change = (method: string, path: string, body: object) =>
    at.world.administer(path, { method, headers, body: JSON.stringify(body) });
  const { appId, secret } = WX_FOREIGN;
  expect((await change("POST", "/v1/apps", { platform: "weixin", app_id: appId, secret })).code).toBe(0);
  const query = { ...GRANT, appid: appId, secret };
  const token = String((await at.ask(TOKEN, { query })).body["access_token"]);
  expect((await change("PATCH", `/v1/apps/${appId}`, { disabled: true })).code).toBe(0);
  const calls = at.sandbox.calls();
  for (const asked of [query, { ...GRANT, appid: appId }]) {
    const [errcode, errmsg] = await at.refusal(TOKEN, { query: asked });
    expect([errcode, errmsg]).toEqual([48001, expect.stringContaining("this app is disabled")]);
  }
  const ticket = { access_token: token, type: "jsapi" };
  expect((await at.refusal("/cgi-bin/ticket/getticket", { query: ticket }))[0]).toBe(48001);
  expect((await at.refusal("/cgi-bin/getcallbackip", { query: ticket }))[0]).toBe(48001);
  expect(at.sandbox.calls()).toBe(calls);
});

test("while WeChat can't be reached callers are told that it is busy, and when to ask again", async () => {
  await using at = await DropinHarness.create({ upstreamMs: { attempt: 300, total: 900 } });
  await at.sandbox.stop();
  const query = { ...APP, secret: WX.secret };
  const first = await at.ask(TOKEN, { query });
  expect(first.body["errcode"]).toBe(-1);
  await Harness.until(async () => (await at.ask(TOKEN, { query })).body["retry_after"] !== undefined);
  const { body, headers } = await at.ask(TOKEN, { query });
  expect([body["errcode"], headers.get("retry-after")]).toEqual([-1, String(body["retry_after"])]);
  expect(String(body["errmsg"])).toMatch(/^system error, .*[\u4e00-\u9fff].* rid: /);
});
