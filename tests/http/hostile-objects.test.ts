import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WX } from "../support/harness.ts";
import { rawRequest } from "../support/raw-http.ts";
import { type Operation, operationsOf } from "./openapi-document.ts";

const JSON_TYPE = { "content-type": "application/json" };
/** As JSON: a literal `__proto__` would be no member. */
const HOSTILE = [
  '{"toString":1}',
  '{"toString":1,"valueOf":1}',
  '{"toJSON":1}',
  '{"constructor":1}',
  '{"constructor":{"name":"Object"}}',
  '{"__proto__":null}',
  '{"__proto__":{"toString":1}}',
  '{"length":1}',
  '{"length":-1,"0":{"toString":1}}',
  '{"then":1}',
  '[{"toString":1}]',
];

/** A body that its schema allows, as far as these routes need one. */
const VALUES: Readonly<Record<string, unknown>> = {
  wx_app_id: WX.appId,
  url: "https://example.com/",
  code: "sandbox-code-1",
  platform: "weixin",
  app_id: "wx1",
  secret: "s",
  client: "c",
  environment: "dev",
  grants: [],
  rejected: "x",
  card_id: "p1",
};

async function operationsWithBody(world: Harness): Promise<Operation[]> {
  const { url } = world.service;
  const operations = operationsOf(await (await fetch(`${url}/swagger/json`)).text());
  return operations.filter(({ body, path }) => body && !path.startsWith("/cgi-bin/"));
}

function pathOf({ path }: Operation): string {
  return path
    .replace("{app}", WX.appId)
    .replace("{kind}", "access_token")
    .replace("{client}", "c")
    .replace("{key}", "ats_00000000");
}

test("an object with members of JavaScript's own in any field of any body is code 1, and no fault of ours", async () => {
  await using world = await Harness.create();
  const operations = await operationsWithBody(world);
  expect(operations.length).toBeGreaterThan(10);
  for (const operation of operations)
    for (const { properties = {} } of operation.body?.anyOf ?? [operation.body ?? {}]) {
      const valid = Object.entries(properties).flatMap(([name, { const: only }]) => {
        const value = only ?? VALUES[name];
        return value === undefined ? [] : [[name, value]];
      });
      const isProtocol = !operation.path.startsWith("/v1/");
      for (const name of Object.keys(properties))
        for (const hostile of HOSTILE) {
          const fields = { ...Object.fromEntries(valid), [name]: JSON.parse(hostile) as unknown };
          const body = JSON.stringify(fields);
          const init = { method: operation.method, headers: JSON_TYPE, body };
          const answer = await (isProtocol
            ? world.request(pathOf(operation), init)
            : world.administer(pathOf(operation), init));
          const expected = [operation.name, body, isProtocol ? 200 : 400, 1];
          expect([operation.name, body, answer.status, answer.code]).toEqual(expected);
        }
    }
  expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
});

test.each(HOSTILE.slice(0, -1))(
  "%s as a whole body or query, beside what is asked for, changes nothing",
  async (hostile) => {
    await using world = await Harness.create();
    const members = JSON.parse(hostile) as object;
    const body = (fields: object) => `${JSON.stringify(fields).slice(0, -1)},${hostile.slice(1)}`;
    const page = { wx_app_id: WX.appId, url: "https://example.com/" };
    const sign = { method: "POST", headers: JSON_TYPE, body: body(page) };
    expect((await world.request("/JsSDK/getJsApiSign", sign)).code).toBe(0);
    const app = { ...sign, body: body({ platform: "weixin", app_id: "wx1", secret: "s" }) };
    expect(await world.administer("/v1/apps", app)).toMatchObject({ status: 400, code: 1 });
    const token = {
      ...sign,
      body: body({ grant_type: "client_credential", appid: WX.appId, secret: WX.secret }),
    };
    expect((await world.request("/cgi-bin/stable_token", token)).text).toContain('"access_token"');
    const search = Object.getOwnPropertyNames(members)
      .map((name) => `${name}=1`)
      .join("&");
    expect((await world.request(`/AccessToken/getXcx?${search}`)).code).toBe(1);
    expect((await world.request(`/AccessToken/getXcx?appid=${WX.appId}&${search}`)).code).toBe(0);
    expect((await world.request(`/v1/apps?limit=x&${search}`)).code).toBe(1);
    expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
  },
);

test("an untrusted caller without a true secret learns nothing of what is wrong with a body", async () => {
  await using world = await Harness.create({ environment: { TRUSTED_NETWORKS: "10.0.0.0/8" } });
  const page = { wx_app_id: WX.appId, url: { toString: 1 } };
  const ask = async (more: object, path = "/JsSDK/getJsApiSign") => {
    const { status, code } = await world.post(path, { ...page, ...more });
    expect(status).toBe(200);
    return code;
  };
  for (const path of ["/JsSDK/getJsApiSign", "/AccessToken/getOauthAccessToken"]) {
    expect(await ask({}, path)).toBe(403);
    expect(await ask({ wx_app_secret: { toString: 1 } }, path)).toBe(403);
    expect(await ask({ wx_app_secret: "wrong" }, path)).toBe(40125);
    expect(await ask({ wx_app_secret: "ats_wrong" }, path)).toBe(401);
    expect(await ask({ wx_app_id: { toString: 1 }, wx_app_secret: WX.secret }, path)).toBe(40125);
    expect(await ask({ wx_app_secret: WX.secret }, path)).toBe(1);
  }
  expect(await ask({ wx_app_secret: WX.secret, url: "https://example.com/" })).toBe(0);
  expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
});

test("without a key or a trusted network no schema is looked at, wherever a key is needed", async () => {
  await using world = await Harness.create({ environment: { ANONYMOUS: "off" } });
  const odd = { method: "POST", headers: JSON_TYPE, body: '{"url":{"toString":1}}' };
  for (const [path, init] of [
    ["/v1/apps?limit=x", {}],
    ["/v1/apps/a%20b", {}],
    ["/v1/apps/wx1/credentials/x", {}],
    ["/v1/apps/wx1/credentials/access_token?min_ttl=x", {}],
    ["/v1/apps/wx1/signatures/jsapi", odd],
    ["/JsSDK/getJsApiSign", odd],
    ["/AccessToken/getOauthAccessToken", odd],
  ] as const)
    expect([path, (await world.request(path, init)).code]).toEqual([path, 401]);
  const key = await createClient(world, {
    name: "reader",
    grants: [{ apps: ["wx1"], actions: ["token:read"] }],
  });
  const headers = { authorization: `Bearer ${key}` };
  const path = `/v1/apps/${CORP}/credentials/access_token?min_ttl=x`;
  expect((await world.request(path, { headers })).code).toBe(403);
});

test.each([
  ["JSON that is none", "POST /JsSDK/getJsApiSign HTTP/1.1", "{", "application/json", 1],
  [
    "a field of a wrong type",
    "POST /JsSDK/getJsApiSign HTTP/1.1",
    '{"url":{"toString":1}}',
    "application/json",
    1,
  ],
  ["another content type", "POST /JsSDK/getJsApiSign HTTP/1.1", "{}", "text/plain", 415],
  ["a bad parameter", "GET /AccessToken/getXcx?secret=x HTTP/1.1", "", "", 1],
  [
    "a body without an appid at WeChat's own path",
    "POST /cgi-bin/stable_token HTTP/1.1",
    "{}",
    "text/plain",
    41002,
  ],
] as const)(
  "%s counts against the limit of an address without a key",
  async (_what, line, body, type, code) => {
    await using world = await Harness.create({ environment: { ANONYMOUS_RATE_LIMIT: "1" } });
    const headers = [line, "Host: localhost", "Connection: close"];
    const content = body === "" ? [] : [`Content-Type: ${type}`, `Content-Length: ${body.length}`];
    const ask = async () => {
      const answer = await rawRequest(world.service.url, [...headers, ...content, "", body].join("\r\n"));
      const { code: own, errcode } = JSON.parse(answer.body) as { code?: number; errcode?: number };
      return Number(own ?? errcode);
    };
    for (let i = 0; i < 10; i++) expect(await ask()).toBe(code);
    expect([429, 45011]).toContain(await ask());
  },
);
