import { expect, test } from "bun:test";
import { rawRequest } from "../support/raw-http.ts";
import { CORP, WECOM, Harness, WX } from "../support/harness.ts";

/** Stands in every bad request; no answer may repeat it. */
const CANARY = "canary-Zq8vR2";
const LIMIT = 64 * 1024;

const GETS = [
  { path: "/", query: {} },
  { path: "/AccessToken/getXcx", query: { appid: WX.appId, secret: WX.secret } },
  { path: "/AccessToken/clearXcx", query: { appid: WX.appId, secret: WX.secret, access_token: "70_x" } },
  { path: "/AccessToken/getQyapi", query: { corpid: CORP, secret: WECOM.secret, agentid: WECOM.agent } },
  {
    path: "/AccessToken/clearQyapi",
    query: { corpid: CORP, secret: WECOM.secret, agentid: WECOM.agent, access_token: "70_x" },
  },
  { path: "/xcx/jscode2session", query: { appid: WX.appId, secret: WX.secret, code: "sandbox-code-1" } },
] as const;

const POSTS = [
  {
    path: "/JsSDK/getJsApiSign",
    body: { wx_app_id: WX.appId, wx_app_secret: WX.secret, url: "https://example.com/" },
  },
  {
    path: "/AccessToken/getOauthAccessToken",
    body: { wx_app_id: WX.appId, wx_app_secret: WX.secret, code: "sandbox-code-1" },
  },
] as const;

const JSON_TYPE = { "content-type": "application/json" };

/** Sends it, and expects that `code` comes back in the envelope, with nothing of what was sent and no stack. */
async function expectRefusal(
  world: Harness,
  code: number,
  path: string,
  init: RequestInit = {},
): Promise<void> {
  const answer = await world.request(path, init);
  const said = `${answer.text}\n${[...answer.headers.entries()].join("\n")}`;
  expect([path.slice(0, 80), answer.status, answer.code]).toEqual([path.slice(0, 80), 200, code]);
  const names = Object.keys(JSON.parse(answer.text) as object).filter((name) => name !== "hint");
  expect(names).toEqual(["code", "msg", "data", "trace_id"]);
  expect(answer.data).toEqual({});
  expect(answer.msg.length).toBeGreaterThan(5);
  expect(said).not.toContain(CANARY);
  expect(said).not.toMatch(/\bat .*:\d+|node_modules|\.ts\b|Elysia|TypeBox|SyntaxError/i);
}

/** Nothing of ours failed, and nobody upstream was asked. */
function expectUntouched(world: Harness): void {
  expect(world.sandbox.calls()).toBe(0);
  expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
}

/** The route's query with one more or another parameter, written as it is. */
function queryWith(query: Record<string, string>, name: string, rawValue: string): string {
  const others = Object.entries(query).filter(([key]) => key !== name);
  const search = new URLSearchParams(others).toString();
  return `${search}${search ? "&" : ""}${name}=${rawValue}`;
}

test.each(GETS)("GET $path refuses a bad value of each parameter", async ({ path, query }) => {
  await using world = await Harness.create();
  const bad = [
    CANARY.repeat(800),
    `${CANARY}%00`,
    `%00`,
    `${CANARY}%0A`,
    `${CANARY}%20x`,
    `${CANARY}%E4%BD%A0`,
    `${CANARY}%7F`,
  ];
  for (const name of Object.keys(query)) {
    for (const value of bad) await expectRefusal(world, 1, `${path}?${queryWith(query, name, value)}`);
  }
  expectUntouched(world);
});

test.each(GETS)(
  "GET $path refuses broken percent-encoding anywhere in the query",
  async ({ path, query }) => {
    await using world = await Harness.create();
    for (const name of [...Object.keys(query), "unheard-of"]) {
      for (const value of [
        `${CANARY}%zz`,
        `${CANARY}%`,
        `${CANARY}%ff`,
        `${CANARY}%C0%80`,
        `${CANARY}%ED%A0%80`,
      ]) {
        await expectRefusal(world, 1, `${path}?${queryWith(query, name, value)}`);
      }
    }
    await expectRefusal(world, 1, `${path}?%zz${CANARY}=1`);
    expectUntouched(world);
  },
);

test.each(GETS)(
  "GET $path refuses a parameter that comes twice, however it is written",
  async ({ path, query }) => {
    await using world = await Harness.create();
    const search = new URLSearchParams(query).toString();
    for (const [name, value] of [...Object.entries(query), ["unheard-of", "1"]] as [string, string][]) {
      const encoded = `%${name.charCodeAt(0).toString(16)}${name.slice(1)}`;
      const once = name in query ? search : `${search}&${name}=${value}`;
      for (const again of [`${name}=${CANARY}`, `${name}=${value}`, `${encoded}=${CANARY}`, name]) {
        await expectRefusal(world, 1, `${path}?${once}&${again}`);
      }
    }
    expectUntouched(world);
  },
);

test.each([...GETS, ...POSTS])("$path refuses a wrong method, with and without a body", async (route) => {
  await using world = await Harness.create();
  const isPost = "body" in route;
  const search = isPost ? "" : `?${new URLSearchParams(route.query).toString()}`;
  for (const method of [isPost ? "GET" : "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    await expectRefusal(world, 405, `${route.path}${search}`, { method });
    if (method === "GET" || method === "OPTIONS") continue;
    await expectRefusal(world, 405, `${route.path}${search}`, { method, body: CANARY, headers: JSON_TYPE });
  }
  expectUntouched(world);
});

test.each(GETS)("GET $path takes no notice of a parameter that it does not know", async ({ path }) => {
  await using world = await Harness.create();
  const answer = await world.request(`${path}?unheard-of=${CANARY}`);
  expect(answer.text).not.toContain(CANARY);
  expect(answer.status).toBe(200);
});

test.each(POSTS)("POST $path refuses what is no JSON object", async ({ path }) => {
  await using world = await Harness.create();
  const bodies = [
    "",
    " ",
    "null",
    "true",
    "5",
    `"${CANARY}"`,
    `["${CANARY}"]`,
    "[]",
    "{",
    `{"wx_app_id":"${CANARY}"`,
    `{"wx_app_id":"${CANARY}"}x`,
    `{'wx_app_id':'${CANARY}'}`,
    `wx_app_id=${CANARY}`,
    `{"wx_app_id":"\u0000${CANARY}"}`,
    "[".repeat(20_000),
    `{"a":`.repeat(8_000),
    "\ufeff",
  ];
  for (const body of bodies)
    await expectRefusal(world, 1, path, { method: "POST", headers: JSON_TYPE, body });
  const notUtf8 = Buffer.from(`{"wx_app_id":"${CANARY}\xff"}`, "latin1");
  await expectRefusal(world, 1, path, { method: "POST", headers: JSON_TYPE, body: notUtf8 });
  expectUntouched(world);
});

test.each(POSTS)("POST $path refuses every content type but application/json", async ({ path, body }) => {
  await using world = await Harness.create();
  const types = [
    "text/plain",
    "text/plain; charset=utf-8",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/jsonp",
    "application/json, text/plain",
    "text/plain; application/json",
    `x/${CANARY}`,
  ];
  for (const type of types) {
    const headers = { "content-type": type };
    await expectRefusal(world, 415, path, { method: "POST", headers, body: JSON.stringify(body) });
  }
  await expectRefusal(world, 415, path, { method: "POST", body: new Blob([JSON.stringify(body)]) });
  await expectRefusal(world, 415, path, { method: "POST" });
  expectUntouched(world);
});

const JSON_TYPES = [
  'Application/JSON; charset="UTF-8"',
  "application/json;charset=utf8",
  "application/json; encoding=utf-8",
  "application/json;",
  "application/json ; charset=UTF-8; x=y",
  "application/json; charset=gbk",
];

test.each(POSTS)("POST $path takes application/json with any parameters", async ({ path, body }) => {
  await using world = await Harness.create();
  for (const type of JSON_TYPES) {
    const headers = { "content-type": type };
    const answer = await world.request(path, { method: "POST", headers, body: JSON.stringify(body) });
    expect([type, answer.code]).toEqual([type, 0]);
  }
});

test.each([...POSTS, { path: "/cgi-bin/stable_token", body: { appid: WX.appId } }])(
  "POST $path says that it takes no compressed body",
  async ({ path, body }) => {
    await using world = await Harness.create();
    for (const encoding of ["gzip", "deflate", "br", "gzip, identity"]) {
      const headers = { ...JSON_TYPE, "content-encoding": encoding };
      const init = { method: "POST", headers, body: Bun.gzipSync(JSON.stringify(body)) };
      const text = await (await fetch(world.service.url + path, init)).text();
      expect(text).toContain("不支持压缩的请求体，请去掉Content-Encoding");
      expect(text).toMatch(/"code":415|"errcode":47001/);
    }
    expectUntouched(world);
  },
);

test.each(POSTS)("POST $path takes a body in the encoding identity", async ({ path, body }) => {
  await using world = await Harness.create();
  expect((await world.post(path, body, { headers: { "content-encoding": "identity" } })).code).toBe(0);
});

test.each(POSTS)("POST $path refuses a wrong type or a bad value of each field", async ({ path, body }) => {
  await using world = await Harness.create();
  const long = CANARY.repeat(800);
  const bad = [5, true, null, {}, [], [CANARY], { $ne: CANARY }, long, `${CANARY}\u0000`, `${CANARY}\n`];
  for (const name of Object.keys(body)) {
    // A secret may be left out, and null leaves it out.
    for (const value of name === "wx_app_secret" ? bad.filter((each) => each !== null) : bad) {
      // Prototype-less, so that a name like __proto__ would be sent as it is.
      const sent = JSON.stringify({ ...body, [name]: value });
      await expectRefusal(world, 1, path, { method: "POST", headers: JSON_TYPE, body: sent });
    }
  }
  expectUntouched(world);
});

test.each(POSTS)("POST $path refuses a parameter that comes twice in the query", async ({ path, body }) => {
  await using world = await Harness.create();
  const init = { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) };
  await expectRefusal(world, 1, `${path}?x=1&x=${CANARY}`, init);
  expectUntouched(world);
});

test.each(POSTS)("POST $path takes a body of 64 KiB and refuses one byte more", async ({ path, body }) => {
  await using world = await Harness.create();
  const text = JSON.stringify(body);
  const exact = text + " ".repeat(LIMIT - text.length);
  const init = { method: "POST", headers: JSON_TYPE };
  expect((await world.request(path, { ...init, body: exact })).code).toBe(0);
  world.sandbox.resetCalls();
  await expectRefusal(world, 413, path, { ...init, body: `${exact} ` });
  await expectRefusal(world, 413, path, { ...init, body: CANARY.repeat(10_000) });
  expectUntouched(world);
});

test.each(POSTS)("POST $path refuses a chunked body beyond 64 KiB", async ({ path }) => {
  await using world = await Harness.create();
  const chunk = CANARY.padEnd(1024, " ");
  const chunks = `400\r\n${chunk}\r\n`.repeat(65);
  const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  const framing = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
  const answer = await rawRequest(world.service.url, `${head}${framing}${chunks}0\r\n\r\n`);
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({ code: 413, data: {} });
  expect(answer.body).not.toContain(CANARY);
  expectUntouched(world);
});

test.each(POSTS)("POST $path reads a small chunked body as any other", async ({ path, body }) => {
  await using world = await Harness.create();
  const text = JSON.stringify(body);
  const stream = new ReadableStream({
    start(controller) {
      for (const character of text) controller.enqueue(Buffer.from(character));
      controller.close();
    },
  });
  expect((await world.request(path, { method: "POST", headers: JSON_TYPE, body: stream })).code).toBe(0);
});

test("a name out of JavaScript's own in a body harms nothing", async () => {
  await using world = await Harness.create();
  const body = `{"__proto__":{"url":"${CANARY}"},"constructor":1,"wx_app_id":"${WX.appId}","url":"https://a.example/"}`;
  const init = { method: "POST", headers: JSON_TYPE, body };
  expect((await world.request("/JsSDK/getJsApiSign", init)).code).toBe(0);
  expect(({} as Record<string, unknown>)["url"]).toBeUndefined();
});

test("a body that announces gigabytes is refused in the envelope before it is sent", async () => {
  await using world = await Harness.create();
  const head = ["POST /JsSDK/getJsApiSign HTTP/1.1", "Host: localhost", "Content-Type: application/json"];
  const lines = [...head, "Content-Length: 5000000000", "Connection: close", "", ""];
  const answer = await rawRequest(world.service.url, lines.join("\r\n"));
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({ code: 413, data: {} });
});
