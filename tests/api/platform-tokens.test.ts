import { afterAll, expect, test } from "bun:test";
import type { Action } from "../../src/access/client.ts";
import { COMPONENT, CUSTOMER, nameOf, OFFICIAL, PROVIDER, SUITE } from "../support/platform-world.ts";
import { type Asking, STRANGE, VIRTUAL } from "./dropin-harness.ts";
import {
  asked,
  AUTHORIZER_TOKEN,
  ofAccount,
  PlatformDropins,
  QUERY_AUTH,
  service,
  TOKEN,
} from "./platform-dropins.ts";

const at = await PlatformDropins.create();
afterAll(() => at[Symbol.asyncDispose]());
const { it } = at;
const { sandbox, world } = it;

test("a component token is the one that stands, for a key or the true secret, whatever the ticket, by one request of WeChat", async () => {
  const { key } = await at.client(["*"], "real");
  sandbox.resetCalls();
  const tokens = await Promise.all(
    [key, COMPONENT.secret, key, key].map((secret) => at.componentToken(secret)),
  );
  expect(new Set(tokens).size).toBe(1);
  expect(sandbox.calls(TOKEN)).toBeLessThanOrEqual(1);
  const headers = { authorization: `Bearer ${key}` };
  const body = { component_appid: COMPONENT.appId };
  const { text } = await it.ask(TOKEN, { body, headers, from: STRANGE });
  expect(text).toBe(JSON.stringify({ component_access_token: tokens[0], expires_in: 7200 }));
  expect(sandbox.calls(TOKEN)).toBeLessThanOrEqual(1);
});

const START = "/cgi-bin/component/api_start_push_ticket";
const ofSuite = (change: object) => ({ suite_id: SUITE.id, suite_secret: SUITE.secret, ...change });
const ofProvider = (change: object) => ({
  corpid: PROVIDER.corpId,
  provider_secret: PROVIDER.secret,
  ...change,
});

test.each([
  [TOKEN, {}, 41018],
  [TOKEN, { component_appid: "wxc000000000000009", component_appsecret: COMPONENT.secret }, 40125],
  [TOKEN, { component_appid: COMPONENT.appId }, 41004],
  [TOKEN, { component_appid: COMPONENT.appId, component_appsecret: "wrong" }, 40125],
  [TOKEN, { component_appid: SUITE.id, component_appsecret: SUITE.secret }, 40013],
  [START, {}, 41018],
  [START, { component_appid: COMPONENT.appId, component_appsecret: COMPONENT.secret }, 41004],
  [START, { component_appid: COMPONENT.appId, component_secret: "wrong" }, 40125],
  [service("get_suite_token"), { suite_secret: "x" }, 41021],
  [service("get_suite_token"), ofSuite({ suite_secret: undefined }), 41024],
  [service("get_suite_token"), ofSuite({ suite_secret: "wrong" }), 40080],
  [service("get_suite_token"), { suite_id: PROVIDER.corpId, suite_secret: PROVIDER.secret }, 40083],
  [service("get_provider_token"), ofProvider({ corpid: undefined }), 41002],
  [service("get_provider_token"), ofProvider({ provider_secret: "wrong" }), 40001],
  [service("get_provider_token"), { corpid: SUITE.id, provider_secret: SUITE.secret }, 40013],
] as const)(
  "%s of %j from outside is refused with %p, without a request upstream",
  async (path, body, code) => {
    sandbox.resetCalls();
    expect((await it.refusal(path, { body, from: STRANGE }))[0]).toBe(code);
    expect(sandbox.calls(path)).toBe(0);
  },
);

test.each([
  [TOKEN, { component_appid: COMPONENT.appId }, [41004, "appsecret missing"]],
  [service("get_suite_token"), ofSuite({ suite_secret: undefined }), [41024, "missing suite_secret"]],
  [service("get_provider_token"), ofProvider({ provider_secret: "" }), [41004, "provider_secret missing"]],
] as const)(
  "%s of %j is refused on a trusted network too: a platform's token needs a key",
  async (path, body, why) => {
    sandbox.resetCalls();
    expect(await it.refusal(path, { body })).toEqual([...why]);
    expect(sandbox.calls()).toBe(0);
  },
);

test("on a trusted network, too, nobody without a key reads, renews or clears a platform's token", async () => {
  const { key } = await at.client(["*"], "real");
  const token = await at.componentToken(key);
  await at.queried(token, await at.authorized(OFFICIAL));
  const body = "{}";
  for (const [platform, kind] of [
    [COMPONENT.appId, "component_access_token"],
    [SUITE.id, "suite_access_token"],
    [PROVIDER.corpId, "provider_access_token"],
  ] as const) {
    const path = `/v1/apps/${platform}/credentials/${kind}`;
    const json = { method: "POST", headers: { "content-type": "application/json" }, body };
    const answers = [
      await world.request(path),
      await world.request(`${path}/refresh`, json),
      await world.request(path, { method: "DELETE" }),
    ];
    expect(answers.map(({ status, code }) => [status, code])).toEqual(Array(3).fill([401, 401]));
    expect(answers[0]?.text).not.toContain(token);
  }
  // Of an account it may.
  const own = await world.request(`/v1/apps/${nameOf(OFFICIAL)}/credentials/access_token`);
  expect(own.data).toMatchObject({ value: expect.any(String) });
});

test("a program that has WeChat push tickets is told that it does, where it may have the component's token, and WeChat is not asked", async () => {
  const [own, other] = [await at.client([COMPONENT.appId]), await at.client([OFFICIAL])];
  sandbox.resetCalls();
  const start = (secret: string) =>
    it.ask(START, { body: { component_appid: COMPONENT.appId, component_secret: secret }, from: STRANGE });
  for (const secret of [own.key, COMPONENT.secret])
    expect((await start(secret)).body).toEqual({ errcode: 0, errmsg: "in a normal state" });
  expect((await start(other.key)).body["errcode"]).toBe(48001);
  expect(sandbox.calls(START)).toBe(0);
});

test("a key of a client gets the tokens of platforms that it is granted, and of no other", async () => {
  const { key } = await at.client([COMPONENT.appId, SUITE.id]);
  expect(await at.componentToken(key)).toMatch(VIRTUAL);
  const ask = async (path: string, body: object) => (await it.ask(path, { body })).body;
  const suite = await ask(service("get_suite_token"), ofSuite({ suite_secret: key, suite_ticket: "any" }));
  expect(suite).toEqual({
    ...{ errcode: 0, errmsg: "ok" },
    ...{ suite_access_token: expect.stringMatching(VIRTUAL), expires_in: 7200 },
  });
  const denied = await ask(service("get_provider_token"), ofProvider({ provider_secret: key }));
  expect(denied["errcode"]).toBe(48002);
  expect((await ask(service("get_provider_token"), ofProvider({})))["provider_access_token"]).toBeString();
});

test.each([
  [COMPONENT.appId, "component_verify_ticket", "component_access_token"],
  [SUITE.id, "suite_ticket", "suite_access_token"],
])(
  "the ticket of %s is given to nobody by any verb, whatever is granted, and not cleared",
  async (platform, kind, token) => {
    const { key } = await at.client(["*"], "real", [
      "token:read",
      "token:refresh",
      "token:clear",
      "ticket:read",
    ]);
    const path = `/v1/apps/${platform}/credentials`;
    const headers = { "x-api-key": key, "content-type": "application/json" };
    const post = (body: object) => ({ method: "POST", headers, body: JSON.stringify(body) });
    const answers = [
      await world.request(`${path}/${kind}`, { headers }),
      await world.request(`${path}/${kind}/replace`, post({ rejected: "anything" })),
      await world.request(`${path}/${kind}/refresh`, post({})),
      await world.request(`${path}/${kind}`, { method: "DELETE", headers }),
    ];
    expect(answers.map(({ status, data }) => [status, data["value"]])).toEqual(
      Array(4).fill([403, undefined]),
    );
    expect(answers[3]?.text).toContain("pushed");
    expect((await world.request(`${path}/${token}`, { method: "DELETE", headers })).status).toBe(200);
    expect((await world.request(`${path}/${token}`, { headers })).data["value"]).toBeString();
  },
);

test("a client of real tokens gets a platform's own one only where it may use every account of the platform", async () => {
  const some = await at.client([COMPONENT.appId, nameOf(OFFICIAL)], "real");
  const every = await at.client(["*"], "real");
  expect(await at.componentToken(some.key)).toMatch(VIRTUAL);
  expect(await at.componentToken(every.key)).not.toMatch(VIRTUAL);
});

test("what takes a platform's token takes no other, and what takes an app's takes no platform's", async () => {
  const { key } = await at.client();
  const app = await it.token("weixin", key);
  const body = { authorization_code: "x" };
  expect((await it.refusal(QUERY_AUTH, asked(app, body, "access_token")))[0]).toBe(61014);
  expect((await it.refusal(QUERY_AUTH, asked("unknown", body)))[0]).toBe(42001);
  const token = await at.componentToken(key);
  const other = asked(token, { component_appid: "wxc000000000000009", ...body });
  expect((await it.refusal(QUERY_AUTH, other))[0]).toBe(61011);
  const query = { access_token: token, type: "jsapi" };
  expect((await it.refusal("/cgi-bin/ticket/getticket", { query }))[0]).toBe(48001);
  const both = { query: { access_token: token, component_access_token: "unknown" }, body: {} };
  expect((await it.refusal(QUERY_AUTH, both))[0]).toBe(42001);
  const suite = { query: { suite_access_token: "unknown" }, body };
  expect(await it.refusal(service("get_corp_token"), suite)).toEqual([42009, "suite_access_token expired"]);
});

const LOGIN = { grant_type: "authorization_code", component_appid: COMPONENT.appId, appid: OFFICIAL };
/** Every endpoint that takes a platform's token, with what it needs. */
const BY_TOKEN: readonly (readonly ["component" | "suite", Action, string, Asking])[] = [
  ["component", "token:read", QUERY_AUTH, asked("", { authorization_code: "x" })],
  ["component", "token:read", AUTHORIZER_TOKEN, ofAccount("", "x")],
  ["component", "login", "/sns/component/jscode2session", { query: { ...LOGIN, js_code: "x" } }],
  ["component", "login", "/sns/oauth2/component/access_token", { query: { ...LOGIN, code: "x" } }],
  ["suite", "token:read", service("get_permanent_code"), { body: { auth_code: "x" } }],
  ["suite", "token:read", service("v2/get_permanent_code"), { body: { auth_code: "x" } }],
  [
    ...(["suite", "token:read", service("get_corp_token")] as const),
    { body: { auth_corpid: CUSTOMER, permanent_code: "x" } },
  ],
  ["suite", "login", service("auth/getuserinfo3rd"), { query: { code: "x" } }],
  ["suite", "login", service("getuserinfo3rd"), { query: { code: "x" } }],
  ["suite", "login", service("miniprogram/jscode2session"), { query: { js_code: "x" } }],
];

test("P6: each endpoint that takes a platform's token is closed without it, without its grant, and to another's key", async () => {
  const every = await at.client(["*"], "real");
  const tokens = { component: await at.componentToken(every.key), suite: "" };
  tokens.suite = (await at.suiteQuery(every.key))["suite_access_token"] ?? "";
  const without = {
    "token:read": await at.client(["*"], "virtual", ["login", "api:call", "ticket:read"]),
    login: await at.client(["*"], "virtual", ["token:read", "api:call", "ticket:read"]),
  } as Readonly<Partial<Record<Action, { readonly key: string }>>>;
  const foreign = await at.client([OFFICIAL, CUSTOMER, PROVIDER.corpId]);
  const forbidden = { component: 48001, suite: 48002 };
  sandbox.resetCalls();
  for (const [role, need, path, { query = {}, body }] of BY_TOKEN) {
    const named = `${role}_access_token`;
    const answer = async (value: string, key?: string) => {
      const { [named]: _none, ...others } = query as Record<string, string>;
      const headers: Record<string, string> = key === undefined ? {} : { "x-api-key": key };
      const sent = { query: { ...others, ...(value && { [named]: value }) }, headers, from: STRANGE };
      const [errcode] = await it.refusal(path, { ...sent, ...(body && { body }) });
      return [path, errcode];
    };
    expect(await answer("")).toEqual([path, 41001]);
    expect(await answer("unknown")).toEqual([path, role === "suite" ? 42009 : 42001]);
    for (const { key } of [without[need] ?? every, foreign])
      expect(await answer(tokens[role], key)).toEqual([path, forbidden[role]]);
    expect(sandbox.calls(path)).toBe(0);
  }
});

test("every endpoint of third-party platforms is in one of these tables", () => {
  const described = [
    TOKEN,
    START,
    service("get_suite_token"),
    service("get_provider_token"),
    ...BY_TOKEN.map((row) => row[2]),
  ];
  const served = world.service.routes.map(({ path }) => path);
  const ofPlatforms = served.filter((path) =>
    /^\/(cgi-bin|sns)\/(oauth2\/)?(component|service)\//.test(path),
  );
  expect(new Set(ofPlatforms)).toEqual(new Set(described));
});
