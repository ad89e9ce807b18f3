import { expect, test } from "bun:test";
import { rawRequest } from "../support/raw-http.ts";
import type { WantedClient } from "../support/access-harness.ts";
import { GatewayHarness, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";

async function setup(delivery: "real" | "virtual" = "virtual", policy?: WantedClient["policy"]) {
  const it = await GatewayHarness.create({ client: { delivery, ...(policy && { policy }) } });
  const token = await it.token();
  it.sandbox.resetCalls();
  const withKey = (path: string, init: RequestInit = {}) =>
    it.send(`/gateway/${WX_APP}${path}`, { ...init, headers: { "x-api-key": it.key } });
  /** The path as it stands, which `fetch` would resolve. */
  const raw = async (target: string) => {
    const head = `GET ${target} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: ${it.key}\r\nConnection: close\r\n\r\n`;
    const { status, body } = await rawRequest(it.url, head);
    return { status, ...(JSON.parse(body) as { errcode?: number; code?: number }) };
  };
  return { it, token, withKey, raw, [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() };
}

test.each([
  "/cgi-bin/user%2Fget",
  "/cgi-bin/user%2fget",
  "/cgi-bin%5Cuser/get",
  "/cgi-bin/%75ser/get",
  "/cgi-bin/user;x/get",
  "/cgi-bin/user/get%00",
  "/cgi-bin/user/get%20",
  "/cgi-bin/user/ge\u0074:x",
])("a path that can be read in two ways is refused and goes nowhere: %s", async (path) => {
  await using t = await setup();
  for (const target of [path, `/gateway/${WX_APP}${path}`]) {
    const { errcode, status, code } = await t.raw(`${target}?access_token=${t.token}`);
    // One that means a route of ours when it is resolved is refused as that route's own.
    expect([target, code === undefined ? errcode : [status, code]]).toEqual([target, 40066]);
  }
  expect(t.it.sandbox.calls()).toBe(0);
});

test.each([
  "/cgi-bin\\user/get",
  "/cgi-bin/x/../user/get",
  "/cgi-bin/x/%2e%2e/user/get",
  "//x/../cgi-bin/user/get",
  "/livez/../cgi-bin//user/get",
  "/cgi-bin/./user/get",
  "/cgi-bin//user//get",
])("the policy is checked on exactly the path that goes up, however it was written: %s", async (path) => {
  const policy = { preset: "all", deny: ["/cgi-bin/user/**"] } as const;
  await using denied = await setup("virtual", policy);
  expect((await denied.raw(`${path}?access_token=${denied.token}`)).errcode).toBe(48001);
  expect(denied.it.sandbox.calls()).toBe(0);
  await using allowed = await setup();
  const { status, errcode } = await allowed.raw(`${path}?access_token=${allowed.token}`);
  expect([status, errcode]).toEqual([200, undefined]);
  expect(allowed.it.sandbox.calls("/cgi-bin/user/get")).toBe(1);
});

test.each(["//cgi-bin/user/get", "/cgi-bin//user/get", "/cgi-bin/user/get/", "//cgi-bin//user/get/"])(
  "slashes too many are no matter: %s",
  async (path) => {
    await using t = await setup();
    expect((await t.raw(`${path}?access_token=${t.token}`)).errcode).not.toBe(42001);
    expect(t.it.sandbox.calls()).toBe(1);
  },
);

test.each(["access_token=x", "access%5Ftoken=x", "%61ccess_token=x", "access_token"])(
  "a token that is given twice is refused, however the second is written: %s",
  async (second) => {
    await using t = await setup();
    for (const query of [`access_token=${t.token}&${second}`, `${second}&access_token=${t.token}`]) {
      expect((await t.it.send(`${INFO}?${query}`)).errcode).toBe(40097);
      expect((await t.withKey(`${INFO}?${query}`)).errcode).toBe(40097);
    }
    expect(t.it.sandbox.calls()).toBe(0);
  },
);

test.each([
  "/cgi-bin/component/api_create_preauthcode",
  "/cgi-bin/component",
  "/CGI-BIN/Component/api_create_preauthcode",
  "/cgi-bin/service/get_corp_token",
  "/cgi-bin/Service/get_corp_token/",
  "/cgi-bin/clear_quota/v2",
  "/cgi-bin/clear_quota/V2/",
  "/cgi-bin/TOKEN",
  "/cgi-bin/Stable_Token/",
  "/cgi-bin/getToken",
  "/sns/oauth2/refresh",
  "/SNS/userinfo",
  "/cgi-bin/user/get?component_access_token=x",
  "/cgi-bin/user/get?suite%5Faccess_token=x",
  "/cgi-bin/user/get?Provider_Access_Token=x",
])("what carries a secret or another kind of token is refused with words: %s", async (path) => {
  await using t = await setup("real");
  const sep = path.includes("?") ? "&" : "?";
  const bearer = await t.it.send(`${path}${sep}access_token=${t.token}`);
  const keyed = await t.withKey(path);
  for (const { errcode, errmsg } of [bearer, keyed]) {
    expect([errcode, errmsg]).toEqual([48001, expect.stringContaining("another kind of token") as string]);
  }
  expect(t.it.sandbox.calls()).toBe(0);
});

test.each([
  "/cgi-bin/openapi/rid/get",
  "/cgi-bin/openapi/quota/get",
  "/cgi-bin/OpenAPI/rid/get/",
  "/cgi-bin/clear_quota",
  "/cgi-bin/clear_quota/",
  "/cgi-bin/Clear_Quota_Something",
])("who is given virtual tokens can't call what shows real ones, or spends for all: %s", async (path) => {
  await using t = await setup("virtual");
  const init = { method: "POST", body: "{}" };
  for (const { errcode, errmsg } of [
    await t.it.send(`${path}?access_token=${t.token}`, init),
    await t.withKey(path, init),
  ]) {
    expect([errcode, errmsg]).toEqual([48001, expect.stringContaining("virtual tokens") as string]);
  }
  expect(t.it.sandbox.calls()).toBe(0);
  await using real = await setup("real");
  await real.withKey(path, init);
  expect(real.it.sandbox.calls()).toBe(1);
});

test("the same of WeCom is 48002, and tokens of other corps are closed as well", async () => {
  await using t = await setup("virtual");
  const token = await t.it.token(WECOM_APP);
  for (const path of ["/cgi-bin/service/get_login_info", "/cgi-bin/corpgroup/corp/gettoken"]) {
    expect((await t.it.post(`${path}?access_token=${token}`, {})).errcode).toBe(48002);
  }
});

test("a drop-in endpoint in other letters is answered as that endpoint, and not asked of WeChat", async () => {
  await using t = await setup();
  const { errcode } = await t.it.send(`/cgi-bin/Ticket/GetTicket?type=jsapi&access_token=${t.token}`);
  expect(errcode).toBe(0);
  await t.it.send(`/cgi-bin/ticket/getticket?type=jsapi&access_token=${t.token}`);
  expect(t.it.sandbox.calls("/cgi-bin/ticket/getticket")).toBe(1);
  expect(t.it.sandbox.calls("/cgi-bin/Ticket/GetTicket")).toBe(0);
});

test.each(["PROPFIND", "TRACE", "PURGE"])("%s is no method of an API", async (method) => {
  await using t = await setup();
  const head = `${method} ${INFO}?access_token=${t.token} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
  const { status } = await rawRequest(t.it.url, head).catch(() => ({ status: 0 }));
  expect(t.it.sandbox.calls()).toBe(0);
  expect(t.it.world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
  expect(status).not.toBe(500);
});

test("a path without a token is 41001, and one with a token that is none of ours 42001; neither goes up", async () => {
  await using t = await setup();
  expect((await t.it.send(INFO)).errcode).toBe(41001);
  expect((await t.it.send(`${INFO}?access_token=`)).errcode).toBe(41001);
  for (const token of ["70_someOtherToken", t.it.key, `${t.token}x`, t.token.slice(0, -1), "%F0%9F%98%80"]) {
    expect((await t.it.send(`${INFO}?access_token=${token}`)).errcode).toBe(42001);
  }
  expect(t.it.sandbox.calls()).toBe(0);
});

test("whoever sends made-up tokens is held to the limit of the address, as whoever sends no key", async () => {
  await using it = await GatewayHarness.create({ environment: { ANONYMOUS_RATE_LIMIT: "1" } });
  const guess = async () => (await it.send(`${INFO}?access_token=70_madeUp`)).errcode;
  for (let n = 0; n < 10; n++) expect(await guess()).toBe(42001);
  expect(await guess()).toBe(45011);
  it.world.clock.advance(1000);
  expect(await guess()).toBe(42001);
});

test("/gateway/:app needs a key, also where anybody is answered; and an app that there is", async () => {
  await using t = await setup();
  await t.it.world.stop();
  await t.it.world.start({ ANONYMOUS: "on" });
  expect((await t.it.send(`/gateway/${WX_APP}${INFO}`)).errcode).toBe(41001);
  expect((await t.it.send(`/gateway/${WECOM_APP}${INFO}`)).errcode).toBe(41001);
  const headers = { "x-api-key": t.it.key };
  expect((await t.it.send(`/gateway/wx0000000000000404${INFO}`, { headers })).errcode).toBe(40013);
  expect((await t.it.send(`/gateway/${WX_APP}`, { headers })).errcode).toBe(40066);
  expect(t.it.sandbox.calls()).toBe(0);
});
