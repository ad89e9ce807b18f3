import { expect, test } from "bun:test";
import { type Answer, CORP, WECOM, Harness, WX } from "../support/harness.ts";

const PAGE = "https://example.com/page?id=1";

/** What a caller sends. A body makes it a POST. */
interface Call {
  path: string;
  query?: Record<string, string>;
  body?: Record<string, unknown>;
}

/** Every route, with a call that succeeds and the type of each field of its data. */
const ROUTES: readonly (Call & { data: Record<string, string> })[] = [
  { path: "/", data: { name: "string", version: "string", docs: "string", swagger: "string" } },
  {
    path: "/AccessToken/getXcx",
    query: { appid: WX.appId },
    data: { access_token: "string", expires_in: "number" },
  },
  { path: "/AccessToken/clearXcx", query: { appid: WX.appId }, data: {} },
  {
    path: "/AccessToken/getQyapi",
    query: { corpid: CORP, agentid: WECOM.agent },
    data: { access_token: "string", expires_in: "number" },
  },
  { path: "/AccessToken/clearQyapi", query: { corpid: CORP }, data: {} },
  {
    path: "/JsSDK/getJsApiSign",
    body: { wx_app_id: WX.appId, url: PAGE },
    data: { app_id: "string", noncestr: "string", timestamp: "number", signature: "string", url: "string" },
  },
  {
    path: "/AccessToken/getOauthAccessToken",
    body: { wx_app_id: WX.appId, code: "sandbox-code-1" },
    data: {
      access_token: "string",
      expires_in: "number",
      refresh_token: "string",
      openid: "string",
      scope: "string",
    },
  },
  {
    path: "/xcx/jscode2session",
    query: { appid: WX.appId, code: "sandbox-code-1" },
    data: { openid: "string", unionid: "string", session_key: "string" },
  },
];

function send(world: Harness, { path, query = {}, body }: Call): Promise<Answer> {
  return body ? world.post(path, body) : world.get(path, query);
}

/** The parts of the envelope that never differ. */
function expectEnvelope(answer: Answer): void {
  const envelope = JSON.parse(answer.text) as Record<string, unknown>;
  const optional = ["retry_after", "hint"].filter((name) => name in envelope);
  expect(Object.keys(envelope)).toEqual(["code", "msg", "data", "trace_id", ...optional]);
  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(String(envelope["trace_id"])).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(answer.headers.get("trace-id")).toBe(String(envelope["trace_id"]));
}

function expectFailure(answer: Answer, code: number, msg: string | RegExp): void {
  expectEnvelope(answer);
  expect(answer.msg).toMatch(msg);
  expect({ code: answer.code, data: answer.data }).toEqual({ code, data: {} });
}

test.each(ROUTES.map((route) => [route.path, route] as const))(
  "%s answers success in the envelope with exactly the documented data",
  async (_path, route) => {
    await using world = await Harness.create();
    const answer = await send(world, route);
    expectEnvelope(answer);
    expect({ code: answer.code, msg: answer.msg }).toEqual({ code: 0, msg: "success" });
    const types = Object.entries(answer.data).map(([name, value]) => [name, typeof value]);
    expect(Object.fromEntries(types)).toEqual(route.data);
    expect(Object.keys(answer.data)).toEqual(Object.keys(route.data));
  },
);

test("the index names the service, its version and where its documents are", async () => {
  await using world = await Harness.create();
  const { data } = await world.get("/");
  expect(data).toEqual({
    name: "accesstoken-service",
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    docs: "/docs/",
    swagger: "/swagger",
  });
});

test("every answer has a trace id of its own", async () => {
  await using world = await Harness.create();
  const answers = await Promise.all(ROUTES.map((route) => send(world, route)));
  expect(new Set(answers.map(({ headers }) => headers.get("trace-id"))).size).toBe(ROUTES.length);
});

const REQUIRED: readonly [route: Call, parameter: string][] = [
  [{ path: "/AccessToken/getXcx", query: { appid: WX.appId } }, "appid"],
  [{ path: "/AccessToken/clearXcx", query: { appid: WX.appId } }, "appid"],
  [{ path: "/AccessToken/getQyapi", query: { corpid: CORP } }, "corpid"],
  [{ path: "/AccessToken/clearQyapi", query: { corpid: CORP } }, "corpid"],
  [{ path: "/JsSDK/getJsApiSign", body: { wx_app_id: WX.appId, url: PAGE } }, "wx_app_id"],
  [{ path: "/JsSDK/getJsApiSign", body: { wx_app_id: WX.appId, url: PAGE } }, "url"],
  [{ path: "/AccessToken/getOauthAccessToken", body: { wx_app_id: WX.appId, code: "c" } }, "wx_app_id"],
  [{ path: "/AccessToken/getOauthAccessToken", body: { wx_app_id: WX.appId, code: "c" } }, "code"],
  [{ path: "/xcx/jscode2session", query: { appid: WX.appId, code: "c" } }, "appid"],
  [{ path: "/xcx/jscode2session", query: { appid: WX.appId, code: "c" } }, "code"],
];

/** The same call with one parameter left out, or with another value. */
function withParameter({ path, query, body }: Call, name: string, value: string | undefined): Call {
  const { [name]: _, ...others } = query ?? body ?? {};
  const parameters = value === undefined ? others : { ...others, [name]: value };
  return query ? { path, query: parameters as Record<string, string> } : { path, body: parameters };
}

test.each(REQUIRED.map(([route, parameter]) => [route.path, parameter, route] as const))(
  "%s without %s, or with an empty one, says which parameter is missing, and WeChat is not asked",
  async (_path, parameter, route) => {
    await using world = await Harness.create();
    const message = new RegExp(`^缺少${parameter}参数$`);
    expectFailure(await send(world, withParameter(route, parameter, undefined)), 1, message);
    expectFailure(await send(world, withParameter(route, parameter, "")), 1, message);
    expect(world.sandbox.calls()).toBe(0);
  },
);

const NEEDS_SECRET: readonly Call[] = [
  { path: "/AccessToken/getXcx", query: { appid: "wxUnknown" } },
  { path: "/AccessToken/getQyapi", query: { corpid: "wwUnknown" } },
  { path: "/AccessToken/getQyapi", query: { corpid: "wwUnknown", agentid: "1" } },
  { path: "/xcx/jscode2session", query: { appid: "wxUnknown", code: "sandbox-code-1" } },
];

test.each(NEEDS_SECRET.map((call) => [call.path, call.query, call] as const))(
  "%s %j has no secret to ask with and says so, and WeChat is not asked",
  async (_path, _query, call) => {
    await using world = await Harness.create();
    expectFailure(await send(world, call), 1, /^缺少secret参数$/);
    expect(world.sandbox.calls()).toBe(0);
  },
);

test("an unknown appid in a body has no secret to ask with and says so", async () => {
  await using world = await Harness.create();
  const sign = await world.post("/JsSDK/getJsApiSign", { wx_app_id: "wxUnknown", url: PAGE });
  expectFailure(sign, 1, /^缺少secret参数$/);
  const oauth = { wx_app_id: "wxUnknown", code: "sandbox-code-1" };
  expectFailure(await world.post("/AccessToken/getOauthAccessToken", oauth), 1, /^缺少secret参数$/);
});

test.each(["/nope", "/AccessToken", "/AccessToken/getxcx", "/swagger/nope", "/%zz", "/favicon.ico"])(
  "an unknown path %s is code 404 in the envelope",
  async (path) => {
    await using world = await Harness.create();
    expectFailure(await world.request(path), 404, /^页面不存在$/);
    expectFailure(await world.request(path, { method: "POST", body: "x" }), 404, /^页面不存在$/);
  },
);

test.each(ROUTES.map((route) => [route.path, route] as const))(
  "%s under another method is code 405 in the envelope",
  async (path, route) => {
    await using world = await Harness.create();
    const search = new URLSearchParams(route.query).toString();
    for (const method of [route.body ? "GET" : "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      expectFailure(await world.request(`${path}?${search}`, { method }), 405, "wrong method");
    }
    expect(world.sandbox.calls()).toBe(0);
  },
);

test("a refusal that waiting helps against says how long, in the envelope and in the header", async () => {
  await using world = await Harness.create();
  const clear = { appid: WX.appId };
  await world.get("/AccessToken/getXcx", clear);
  await world.get("/AccessToken/clearXcx", clear);
  await world.get("/AccessToken/getXcx", clear);
  const answer = await world.get("/AccessToken/clearXcx", clear);
  expectFailure(answer, 429, "10秒");
  expect(JSON.parse(answer.text)["retry_after"]).toBe(10);
  expect(answer.headers.get("retry-after")).toBe("10");
});
