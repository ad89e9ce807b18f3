import { afterAll, beforeAll, expect, test } from "bun:test";
import type { SandboxComponent, SandboxProvider } from "../../src/sandbox/sandbox-settings.ts";
import { consentPages } from "../../src/upstream/consent-pages.ts";
import type { AuthorizationLink } from "../../src/platforms/authorization-store.ts";
import { Harness } from "../support/harness.ts";
import {
  addTicket,
  COMPONENT,
  GAME,
  nameWith,
  PROVIDER,
  SHOP,
  SUITE,
  TEMPLATE,
} from "../support/platforms.ts";
import {
  PROVIDER as SANDBOX_PROVIDER,
  SUITE as SANDBOX_SUITE,
  SuiteWorld,
  TEMPLATE as SANDBOX_TEMPLATE,
} from "./suite-world.ts";

const PLATFORM = `/v1/platforms/${COMPONENT.id}`;
const PUBLIC_URL = "https://wx.example.com";
const CODES = "/cgi-bin/component/api_create_preauthcode";
const EXCHANGES = "/cgi-bin/component/api_query_auth";
const SETTINGS: SandboxComponent = {
  ...{ appId: COMPONENT.id, secret: COMPONENT.secret, token: "sandboxtoken2" },
  aesKey: "accesstokenSandboxKey0123456789abcdefghijkL",
  authorizers: [
    { appId: SHOP, name: "花店", userName: "gh_000000000001", kind: "official", funcIds: [1, 2] },
    { appId: GAME, name: "游戏", userName: "gh_000000000002", kind: "miniprogram", funcIds: [17] },
  ],
};
const CUSTOMER = "ww00000000000000a9";
const PROVIDERS: SandboxProvider = {
  ...{ corpId: PROVIDER.id, secret: PROVIDER.secret },
  suites: [
    {
      ...{ suiteId: SUITE.id, secret: SUITE.secret, token: "sandboxtoken3", aesKey: SETTINGS.aesKey },
      corps: [{ corpId: CUSTOMER, name: "客户甲", agentId: 1_000_010 }],
    },
  ],
};

let world: Harness;
beforeAll(async () => {
  world = await Harness.create({ sandbox: { components: [SETTINGS], providers: [PROVIDERS] } });
  await world.stop();
  const { weixinUrl, wecomUrl } = world.sandbox;
  await world.start({ PUBLIC_URL, WEIXIN_OPEN_BASE_URL: weixinUrl, WECOM_LOGIN_BASE_URL: wecomUrl });
  await send("/v1/platforms", { kind: "component", ...COMPONENT, title: "Shops & <more>" });
  const { component } = world.sandbox.component(COMPONENT.id);
  await addTicket(world, COMPONENT.id, world.clock.now(), component.addTicket());
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

/** As an administrator of the machine. */
function send(path: string, body?: object, method = "POST") {
  const init = body ? { body: JSON.stringify(body), headers: { "content-type": "application/json" } } : {};
  return world.administer(path, { method, ...init });
}

/** Makes a link, and gives the path of its page. */
async function makeLink(request: object = {}): Promise<string> {
  const { status, text, data } = await send(`${PLATFORM}/links`, request);
  if (status !== 201) throw new Error(text);
  expect(data["url"]).toBe(`${PUBLIC_URL}/connect/authorize/${data["state"]}`);
  return new URL(String(data["url"])).pathname;
}

/** As a browser outside asks, without following redirects. */
async function visit(path: string, init: RequestInit = {}) {
  const response = await fetch(world.service.url + path, { redirect: "manual", ...init });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Goes to WeChat by a link, as from its page, and lets the account authorize: the path that the browser comes back to. */
async function consent(link: string, account: string): Promise<string> {
  const { headers } = await visit(`${link}/go`);
  const page = new URL(String(headers.get("location")));
  const query = new URLSearchParams(page.search);
  query.set("authorizer", account);
  const posted = await fetch(page.origin + page.pathname, {
    method: "POST",
    body: query,
    redirect: "manual",
  });
  const back = new URL(String(posted.headers.get("location")));
  expect(back.origin).toBe(PUBLIC_URL);
  return back.pathname + back.search;
}

const calls = (path: string) => world.sandbox.calls(path, "weixin");

test("a link's page leads to WeChat, and names itself alone where it comes from", async () => {
  const link = await makeLink();
  const { status, headers, text } = await visit(link);
  expect([status, headers.get("referrer-policy"), headers.get("content-type")]).toEqual([
    200,
    "origin",
    "text/html; charset=utf-8",
  ]);
  expect(text).toContain("Shops &amp; &lt;more&gt;");
  expect(text).toContain(`href="${link}/go"`);
  const go = await visit(`${link}/go`);
  expect([go.status, go.headers.get("referrer-policy")]).toEqual([302, "origin"]);
  const page = new URL(String(go.headers.get("location")));
  expect(page.origin + page.pathname).toBe(`${world.sandbox.weixinUrl}/cgi-bin/componentloginpage`);
  const { pre_auth_code, ...asked } = Object.fromEntries(page.searchParams);
  expect(pre_auth_code).toStartWith("preauthcode@@@");
  expect(asked).toEqual({
    component_appid: COMPONENT.id,
    redirect_uri: `${PUBLIC_URL}/connect/authorize/return?state=${link.split("/").at(-1)}`,
    auth_type: "3",
  });
  // WeChat itself takes the origin alone for a page of that domain.
  const shown = await fetch(page, { headers: { referer: `${PUBLIC_URL}/` } });
  expect(await shown.text()).toContain("花店");
});

test("trap 11: each visit of a link has a code of its own, which is kept for nobody else", async () => {
  const link = await makeLink();
  const before = calls(CODES);
  const codeOf = async () =>
    new URL(String((await visit(`${link}/go`)).headers.get("location"))).searchParams.get("pre_auth_code");
  const codes = await Promise.all([codeOf(), codeOf(), codeOf()]);
  expect([new Set(codes).size, calls(CODES) - before]).toEqual([3, 3]);
  await visit(link);
  for (const path of [link, `${link}/go`, "/connect/authorize/return"])
    expect((await visit(path, { method: "HEAD" })).status).toBe(405);
  expect(calls(CODES) - before).toBe(3);
});

test("what a link asks for stands in WeChat's page, in WeChat as in a computer's browser", async () => {
  const request = { auth_type: 1, biz_app_id: SHOP, category_ids: [1, 2], mobile: true };
  const { headers } = await visit(`${await makeLink(request)}/go`);
  const page = new URL(String(headers.get("location")));
  expect([page.pathname, page.hash]).toEqual(["/wxaopen/safe/bindcomponent", "#wechat_redirect"]);
  expect(Object.fromEntries(page.searchParams)).toMatchObject({
    ...{ action: "bindcomponent", no_scan: "1", auth_type: "1", biz_appid: SHOP, category_id_list: "1|2" },
  });
});

test("an account that authorizes is an app at its return, and a second return exchanges nothing", async () => {
  const link = await makeLink();
  const before = calls(EXCHANGES);
  const back = await consent(link, SHOP);
  const { status, text, headers } = await visit(back);
  expect([status, headers.get("referrer-policy")]).toEqual([200, "no-referrer"]);
  expect(text).toContain(SHOP);
  expect(text).toContain("Shops &amp; &lt;more&gt;");
  expect(text).not.toContain("queryauthcode");
  expect((await visit(back)).status).toBe(200);
  expect(calls(EXCHANGES) - before).toBe(1);
  const { data } = await world.administer(`${PLATFORM}/authorizations`);
  expect(data["authorizations"]).toMatchObject([{ app: nameWith(SHOP, COMPONENT.id), account: SHOP }]);
});

test("who comes back goes to the return URL, which is told the app and keeps its own query", async () => {
  const link = await makeLink({ return_url: "https://shop.example.com/settings?tab=wx&app=old#top" });
  const { status, headers } = await visit(await consent(link, GAME));
  expect([status, headers.get("location")]).toEqual([
    302,
    `https://shop.example.com/settings?tab=wx&app=${nameWith(GAME, COMPONENT.id)}#top`,
  ]);
});

test("a link for one account takes no other's code, and the return URL is told whose the code was alone", async () => {
  const returnUrl = "https://shop.example.com/settings?tenant=7";
  const link = await makeLink({ biz_app_id: SHOP, return_url: returnUrl });
  const codeOf = async (account: string) =>
    new URLSearchParams((await consent(await makeLink(), account)).split("?")[1]).get("auth_code") ?? "";
  const come = async (account: string) => {
    const query = { state: link.split("/").at(-1) ?? "", auth_code: await codeOf(account) };
    const claimed = new URLSearchParams({ ...query, app: nameWith(GAME, COMPONENT.id), account: GAME });
    return visit(`/connect/authorize/return?${claimed.toString()}`);
  };
  const other = await come(GAME);
  expect([other.status, other.headers.get("location")]).toEqual([409, null]);
  expect(other.text).toContain(`this link is for ${SHOP} alone`);
  const own = await come(SHOP);
  const location = `${returnUrl}&app=${nameWith(SHOP, COMPONENT.id)}`;
  expect([own.status, own.headers.get("location")]).toEqual([302, location]);
});

test("a corp that installs a suite by its link is an app at its return", async () => {
  await send("/v1/platforms", { kind: "suite", ...SUITE, provider: PROVIDER.id });
  const { ticket } = await world.sandbox.suite(SUITE.id).pushTicket();
  await addTicket(world, SUITE.id, world.clock.now(), ticket);
  const { data } = await send(`/v1/platforms/${SUITE.id}/links`, { test: true });
  const { headers } = await visit(`${new URL(String(data["url"])).pathname}/go`);
  const page = new URL(String(headers.get("location")));
  const approval = new URLSearchParams(page.search);
  approval.set("corp_id", CUSTOMER);
  const approved = await fetch(`${page.origin}${page.pathname}/approve?${approval.toString()}`, {
    redirect: "manual",
  });
  const back = new URL(String(approved.headers.get("location")));
  const { status, text } = await visit(back.pathname + back.search);
  expect([status, text]).toEqual([200, expect.stringContaining(`${CUSTOMER} 已授权给 ${SUITE.id}`)]);
  const listed = await world.administer(`/v1/platforms/${SUITE.id}/authorizations`);
  expect(listed.data["authorizations"]).toMatchObject([
    { app: nameWith(CUSTOMER, SUITE.id), account: CUSTOMER, kind: "corp" },
  ]);
});

test("WeChat's refusal is told with its errcode, the way to begin again, and nothing of the code", async () => {
  const link = await makeLink();
  const back = `/connect/authorize/return?state=${link.split("/").at(-1)}&auth_code=queryauthcode@@@FAKE`;
  const { status, text } = await visit(back);
  expect(text).toContain(`<a href="${link}">`);
  expect(status).toBe(502);
  expect(text).toContain("errcode: 61009");
  expect(text).not.toContain("FAKE");
});

test("who comes back without a code, or by no link, is told so without a call to WeChat", async () => {
  const state = (await makeLink()).split("/").at(-1);
  const before = calls(EXCHANGES);
  const none = await visit(`/connect/authorize/return?state=${state}`);
  expect([none.status, none.text]).toEqual([400, expect.stringContaining("授权未完成")]);
  for (const other of ["", "a".repeat(32), "%00", "../../x"])
    expect(await visit(`/connect/authorize/return?auth_code=x&state=${other}`)).toMatchObject({
      ...{ status: 404, text: expect.not.stringContaining("<a ") },
    });
  expect((await visit(`/connect/authorize/${"b".repeat(32)}`)).status).toBe(404);
  expect(calls(EXCHANGES)).toBe(before);
});

test("a link ends when it says, but who opened it in time may still come back", async () => {
  const link = await makeLink({ expires_in: 60 });
  const back = await consent(link, SHOP);
  world.clock.advance(61_000);
  expect([(await visit(link)).status, (await visit(`${link}/go`)).status]).toEqual([404, 404]);
  expect((await visit(back)).status).toBe(200);
  world.clock.advance(3_600_000);
  expect((await visit(back)).status).toBe(404);
});

test("the codes of one link are limited, so that nobody can use the quota up by it", async () => {
  const link = await makeLink();
  const before = calls(CODES);
  const statuses: number[] = [];
  for (let n = 0; n < 12; n++) statuses.push((await visit(`${link}/go`)).status);
  expect([statuses.filter((status) => status === 302).length, statuses.at(-1)]).toEqual([10, 429]);
  expect(calls(CODES) - before).toBe(10);
  // Nor is who has opened it before kept from coming back.
  const back = `/connect/authorize/return?state=${link.split("/").at(-1)}&auth_code=junk`;
  expect((await visit(back)).status).toBe(502);
});

test("P7: a link is audited without what opens it", async () => {
  const link = await makeLink({ return_url: "https://shop.example.com/x?secret=1", category_ids: [1] });
  const { text, data } = await world.administer("/v1/audit?limit=1");
  const detail = {
    category_ids: [1],
    return_url: "https://shop.example.com",
    expires_at: expect.any(Number),
  };
  expect(data["entries"]).toMatchObject([
    { action: "authorization_link.created", app: COMPONENT.id, detail },
  ]);
  expect(text).not.toContain(String(link.split("/").at(-1)));
  expect(text).not.toContain("secret=1");
});

test("links that no page could serve are refused", async () => {
  for (const [kind, { id, secret }] of [
    ["suite", SUITE],
    ["suite", TEMPLATE],
  ] as const)
    await send("/v1/platforms", { kind, id, secret, provider: PROVIDER.id });
  const statusOf = async (id: string, request: object) => {
    const { status, msg } = await send(`/v1/platforms/${id}/links`, request);
    return [status, msg] as const;
  };
  expect((await statusOf(COMPONENT.id, { test: true }))[0]).toBe(400);
  expect((await statusOf(SUITE.id, { auth_type: 1 }))[0]).toBe(400);
  for (const url of ["javascript:alert(1)", "//shop.example.com", "ftp://x"])
    expect((await statusOf(COMPONENT.id, { return_url: url }))[0]).toBe(400);
  expect(await statusOf(TEMPLATE.id, {})).toEqual([409, expect.stringContaining("platforms add provider")]);
  await send("/v1/platforms", { kind: "provider", ...PROVIDER });
  expect((await statusOf(TEMPLATE.id, {}))[0]).toBe(201);
  expect((await statusOf(TEMPLATE.id, { return_url: "https://shop.example.com" }))[0]).toBe(400);
  expect((await statusOf(PROVIDER.id, {}))[0]).toBe(400);
});

test("WeChat is asked to push tickets again for a component, and for no suite", async () => {
  const start = "/cgi-bin/component/api_start_push_ticket";
  const before = calls(start);
  expect((await send(`${PLATFORM}/ticket`)).status).toBe(200);
  expect(calls(start) - before).toBe(1);
  await send("/v1/platforms", { kind: "suite", ...SUITE, provider: PROVIDER.id });
  expect((await send(`/v1/platforms/${SUITE.id}/ticket`)).status).toBe(409);
});

test("a comparison with WeChat's list says what it has found", async () => {
  const { status, data } = await send(`${PLATFORM}/reconcile`);
  expect<object>([status, data]).toEqual([200, { added: 0, lost: 0 }]);
  await send("/v1/platforms", { kind: "provider", ...PROVIDER });
  expect((await send(`/v1/platforms/${PROVIDER.id}/reconcile`)).status).toBe(409);
});

test("a suite's link leads to its installation with a code of its own, a template's to WeCom's QR code", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(SANDBOX_SUITE);
  const pages = consentPages({
    ...{ http: it.http, tokens: it.first.credentials, directory: it.first.directory },
    preAuthCode: () => Promise.reject(new Error("WeChat's")),
    loginUrls: { weixin: it.sandbox.weixinUrl, wecom: it.sandbox.wecomUrl },
  });
  const returnUrl = `${PUBLIC_URL}/connect/authorize/return`;
  const urlOf = async (id: string, request: AuthorizationLink["request"] = {}) => {
    const link = { state: "s".repeat(32), platformApp: id, request, createdAt: 0, expiresAt: 1 };
    return new URL(await pages.url(it.slot(id), link, returnUrl, new AbortController().signal));
  };
  const [first, second] = [await urlOf(SANDBOX_SUITE), await urlOf(SANDBOX_SUITE, { isTest: true })];
  expect(first.pathname).toBe("/3rdapp/install");
  expect(Object.fromEntries(first.searchParams)).toMatchObject({
    ...{ suite_id: SANDBOX_SUITE, redirect_uri: returnUrl, state: "s".repeat(32) },
  });
  expect(second.searchParams.get("pre_auth_code")).not.toBe(first.searchParams.get("pre_auth_code"));
  expect(it.calls("service/set_session_info")).toBe(1);
  expect((await urlOf(SANDBOX_TEMPLATE)).searchParams.get("state")).toBe("s".repeat(32));
  expect(it.calls("service/get_customized_auth_url")).toBe(1);
  expect(it.first.directory.find(SANDBOX_PROVIDER.corpId)?.role).toBe("provider");
});
