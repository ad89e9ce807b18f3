import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { type Answer, CORP, Harness, WECOM, type WorldOptions, WX, WX_FOREIGN } from "../support/harness.ts";

const TICKET = "/cgi-bin/ticket/getticket";
const STABLE = "/cgi-bin/stable_token";

function setup(options: WorldOptions = {}): Promise<Harness> {
  return Harness.create(options);
}

function sign(world: Harness, url = "https://example.com/page?id=1"): Promise<Answer> {
  return world.post("/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url });
}

/** The ticket that WeChat gives for the app's token, asked for as any holder of the token could. */
async function ticketOf(world: Harness, appid = WX.appId): Promise<string> {
  const secret = appid === WX.appId ? WX.secret : WX_FOREIGN.secret;
  const token = await world.get("/AccessToken/getXcx", { appid, secret });
  const search = new URLSearchParams({ access_token: String(token.data["access_token"]), type: "jsapi" });
  const response = await fetch(`${world.sandbox.weixinUrl}${TICKET}?${search.toString()}`);
  const { ticket } = (await response.json()) as { ticket: string };
  return ticket;
}

function expectSignature({ code, data }: Answer, ticket: string, url: string): void {
  expect(code).toBe(0);
  const text = `jsapi_ticket=${ticket}&noncestr=${data["noncestr"]}&timestamp=${data["timestamp"]}&url=${url}`;
  expect(data["signature"]).toBe(createHash("sha1").update(text).digest("hex"));
}

test("the signature is the one that WeChat computes from its ticket and the page's address", async () => {
  await using world = await setup();
  const answer = await sign(world);
  expectSignature(answer, await ticketOf(world), "https://example.com/page?id=1");
  expect(answer.data["app_id"]).toBe(WX.appId);
  expect(answer.data["timestamp"]).toBe(Math.floor(world.clock.now() / 1000));
});

test.each([
  ["https://example.com/a#/route?x=1", "https://example.com/a"],
  ["https://example.com/a#b#c", "https://example.com/a"],
  ["https://example.com/a?b=1&c=%E4%BD%A0+x", "https://example.com/a?b=1&c=%E4%BD%A0+x"],
  ["https://example.com/你好?名=值", "https://example.com/你好?名=值"],
  ["HTTP://Example.COM:80/../x?", "HTTP://Example.COM:80/../x?"],
])("the address %s is signed as %s", async (url, signed) => {
  await using world = await setup();
  expectSignature(await sign(world, url), await ticketOf(world), signed);
});

test("every signature has a nonce of its own", async () => {
  await using world = await setup();
  const answers = [await sign(world), await sign(world), await sign(world)];
  expect(new Set(answers.map(({ data }) => data["noncestr"])).size).toBe(3);
  for (const { data } of answers) expect(data["noncestr"]).toMatch(/^[0-9a-f]{16}$/);
});

test("P8: any number of signatures costs one token and one ticket, until the ticket's life is over", async () => {
  await using world = await setup();
  for (let n = 0; n < 3; n++) await sign(world);
  await Promise.all(Array.from({ length: 20 }, () => sign(world)));
  expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([1, 1]);
  world.clock.advance(7_200_000);
  await sign(world);
  expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([2, 2]);
});

test("P1: a hundred signatures at once on a cold start cost one token and one ticket", async () => {
  await using world = await setup();
  const answers = await Promise.all(Array.from({ length: 100 }, () => sign(world)));
  expect(answers.filter(({ code }) => code !== 0)).toEqual([]);
  expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([1, 1]);
});

test("a ticket outlives a restart, and the signature that it makes costs no upstream call", async () => {
  await using world = await setup();
  await sign(world);
  await world.stop();
  await world.start();
  world.sandbox.resetCalls();
  const answer = await sign(world);
  expect(world.sandbox.calls()).toBe(0);
  expectSignature(answer, await ticketOf(world), "https://example.com/page?id=1");
});

test("when getticket says that the token is dead, a new token is fetched once and the ticket asked for again", async () => {
  await using world = await setup({ environment: { WEIXIN_TOKEN_MODE: "classic" } });
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  world.sandbox.killTokens(WX.appId);
  const answer = await sign(world);
  expect([world.sandbox.calls("/cgi-bin/token"), world.sandbox.calls(TICKET)]).toEqual([2, 2]);
  expectSignature(answer, await ticketOf(world), "https://example.com/page?id=1");
});

test("when the new token is refused as well, the refusal is passed on and nothing is asked again", async () => {
  await using world = await setup();
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  world.sandbox.killTokens(WX.appId);
  world.sandbox.inject({ kind: "error", errcode: 40001, errmsg: "no", endpoint: TICKET, times: 3 });
  for (let n = 0; n < 3; n++) {
    const answer = await sign(world);
    expect([answer.code, answer.data]).toEqual([40001, {}]);
    expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([2, 2]);
  }
});

test("when WeChat repeats the dead token, it is asked whether it is dead, one is forced, and the ticket is had with that", async () => {
  await using world = await setup();
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  world.sandbox.killTokens(WX.appId, { unnoticed: true });
  const answer = await sign(world);
  expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([3, 2]);
  expect(world.sandbox.calls("/cgi-bin/getcallbackip")).toBe(1);
  expectSignature(answer, await ticketOf(world), "https://example.com/page?id=1");
});

test("a ticket's refusal of a token that lives costs nobody their token", async () => {
  await using world = await setup();
  const before = await world.get("/AccessToken/getXcx", { appid: WX.appId });
  world.sandbox.inject({ kind: "error", errcode: 40001, errmsg: "no", endpoint: TICKET, times: 1 });
  const answer = await sign(world);
  expectSignature(answer, await ticketOf(world), "https://example.com/page?id=1");
  const { access_token } = (await world.get("/AccessToken/getXcx", { appid: WX.appId })).data;
  expect(access_token).toBe(before.data["access_token"]);
});

test("a refusal of the ticket that is not about the token fetches no other token", async () => {
  await using world = await setup();
  world.sandbox.inject({
    kind: "error",
    errcode: 48001,
    errmsg: "api unauthorized",
    endpoint: TICKET,
    times: 1,
  });
  expect((await sign(world)).code).toBe(48001);
  expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([1, 1]);
});

test("P8: while WeChat is too busy for a token, a signature costs three attempts and not three times three", async () => {
  await using world = await setup();
  world.sandbox.inject({ kind: "error", errcode: -1, endpoint: STABLE, times: Number.POSITIVE_INFINITY });
  expect((await sign(world)).code).toBe(-1);
  expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([3, 0]);
});

test("a passing fault of getticket is asked again within the same call", async () => {
  await using world = await setup();
  world.sandbox.inject({ kind: "error", errcode: -1, endpoint: TICKET, times: 2 });
  expect((await sign(world)).code).toBe(0);
  expect([world.sandbox.calls(STABLE), world.sandbox.calls(TICKET)]).toEqual([1, 3]);
});

test("an app that the service does not know gets its signature with the secret that the caller brings", async () => {
  await using world = await setup();
  const url = "https://example.com/";
  const body = { wx_app_id: WX_FOREIGN.appId, wx_app_secret: WX_FOREIGN.secret, url };
  const answer = await world.post("/JsSDK/getJsApiSign", body);
  expect(answer.data["app_id"]).toBe(WX_FOREIGN.appId);
  expectSignature(answer, await ticketOf(world, WX_FOREIGN.appId), url);
});

const PAGE_ROUTES: readonly [path: string, body: object][] = [
  ["/JsSDK/getJsApiSign", { wx_app_id: WX.appId }],
  [`/v1/apps/${WX.appId}/signatures/jsapi`, {}],
  [`/v1/apps/${CORP}_${WECOM.agent}/signatures/agent-config`, {}],
];

test.each(PAGE_ROUTES)(
  "%s refuses what is no page's address, and asks WeChat for nothing",
  async (path, app) => {
    await using world = await setup();
    for (const url of ["https%3A%2F%2Fa.com%2F", "undefined", "/page", "a.com/", " https://a.com/"]) {
      const { code, data, text } = await world.post(path, { ...app, url });
      const { hint } = JSON.parse(text) as { hint?: string };
      expect([url, code, data, typeof hint]).toEqual([url, 1, {}, "string"]);
    }
    expect(world.sandbox.calls()).toBe(0);
  },
);

test.each(PAGE_ROUTES)(
  "%s returns the address that it signed, with a hint where it is suspicious",
  async (path, app) => {
    await using world = await setup();
    const sign = async (url: string) => JSON.parse((await world.post(path, { ...app, url })).text) as object;
    const suspicious = "http://mp.weixin.qq.com?params=value";
    expect(await sign(`${suspicious}#x`)).toMatchObject({
      code: 0,
      data: { url: suspicious },
      hint: expect.stringContaining("no slash after the host"),
    });
    const answer = await sign("https://example.com/page?id=1#x");
    expect(answer).toMatchObject({ code: 0, data: { url: "https://example.com/page?id=1" } });
    expect(answer).not.toHaveProperty("hint");
  },
);
