import { expect, test } from "bun:test";
import { createAdmin } from "../support/access-harness.ts";
import { Harness, WX } from "../support/harness.ts";
import { rawRequest } from "../support/raw-http.ts";

const PUBLIC = { PUBLIC_URL: "https://WX.example.com/", ANONYMOUS: "on" };
/** Spellings of the host of `PUBLIC_URL`, as a proxy may pass them on. */
const HOSTS = [
  "wx.example.com",
  "WX.Example.COM",
  "wx.example.com.",
  "wx.example.com:443",
  "wx.example.com.:8080",
];

/** Where a route of every face is, whose names stand for anything. */
function pathOf(pattern: string): string {
  return pattern.replace(/:[A-Za-z_]+/g, WX.appId).replace(/\*$/, "cgi-bin/getcallbackip");
}

async function ask(world: Harness, line: string, host: string, key = "") {
  const head = [`${line} HTTP/1.1`, `Host: ${host}`, "Connection: close"];
  if (key) head.push(`Authorization: Bearer ${key}`);
  const { status, body } = await rawRequest(world.service.url, `${head.join("\r\n")}\r\n\r\n`);
  return { status, body: body.replace(/"trace_id":"[^"]*"/, "") };
}

test("under the host of PUBLIC_URL every route but the public ones is 404, whatever key comes", async () => {
  await using world = await Harness.create({ environment: PUBLIC });
  const key = await createAdmin(world);
  const absent = await ask(world, "GET /nothing/of/that/name", "wx.example.com");
  expect(absent.status).toBe(404);
  const open: string[] = [];
  for (const { method, path } of world.service.routes) {
    const line = `${method === "*" ? "GET" : method} ${pathOf(path)}`;
    if (PUBLIC_PATHS.test(path)) continue;
    for (const host of HOSTS) {
      const got = await ask(world, line, host, key);
      if (!Bun.deepEquals(got, absent)) open.push(`${line} (${host}): ${JSON.stringify(got)}`);
    }
  }
  expect(open).toEqual([]);
  // Proxies take the name from a URL in the place of the path, and pass it on as the Host.
  expect(await ask(world, "GET http://localhost/v1/apps", "wx.example.com", key)).toEqual(absent);
  expect((await ask(world, "GET /v1/apps", "localhost", key)).status).toBe(200);
  expect((await ask(world, "GET /v1/apps", "wx.example.com.evil.example", key)).status).toBe(200);
});

/** What WeChat and users' browsers come for. */
const PUBLIC_PATHS = /^\/(callback|connect|wwlogin)\/|^\/get-weixin-code\.html$|^\/MP_verify_:name\.txt$/;

test("what is public is answered under that host, and under any other", async () => {
  await using world = await Harness.create({ environment: PUBLIC });
  for (const host of ["wx.example.com", "localhost"]) {
    for (const path of [
      "/connect/oauth2/authorize",
      "/connect/qrconnect",
      "/connect/return",
      "/wwlogin/sso/login",
    ])
      expect([path, (await ask(world, `GET ${path}`, host)).status]).toEqual([path, 400]);
    const file = await ask(world, "GET /MP_verify_a1B2.txt", host);
    expect(file.body).toContain("没有该文件");
    for (const behind of ["", "/auth", "/$APPID$", `/${WX.appId}`])
      expect((await ask(world, `POST /callback/${WX.appId}${behind}`, host)).status).toBe(403);
  }
});

test("under the host of PUBLIC_URL a public route answers the same with a key, with a wrong one and without", async () => {
  await using world = await Harness.create({ environment: PUBLIC });
  const keys = [await createAdmin(world), "ats_wrong", ""];
  for (const { method, path } of world.service.routes.filter((route) => PUBLIC_PATHS.test(route.path))) {
    const answers = keys.map(async (key) => {
      const { status, body } = await ask(world, `${method} ${pathOf(path)}`, "wx.example.com", key);
      return `${path} ${status} ${body.replace(/trace_id: \S+/, "")}`;
    });
    expect(new Set(await Promise.all(answers)).size).toBe(1);
  }
});

test("what is asked under the host of PUBLIC_URL is counted as nobody's use", async () => {
  await using world = await Harness.create({ environment: PUBLIC });
  const key = await createAdmin(world);
  await ask(world, `GET /v1/apps/${WX.appId}/credentials/access_token`, "wx.example.com", key);
  const routes = world.events.flatMap((event) =>
    event.type === "request.handled" ? [[event.route, event.code, event.result]] : [],
  );
  expect(routes.at(-1)).toEqual(["(none)", 404, "caller"]);
});

test("with PUBLIC_URL_SERVES=all the API is answered under that host, too", async () => {
  await using world = await Harness.create({ environment: { ...PUBLIC, PUBLIC_URL_SERVES: "all" } });
  const key = await createAdmin(world);
  expect((await ask(world, "GET /v1/apps", "wx.example.com", key)).status).toBe(200);
});

test("an app's own public URL has the same wall, from the moment that it is set", async () => {
  await using world = await Harness.create();
  const key = await createAdmin(world);
  const send = (method: string, path: string, body: object) =>
    world.administer(path, {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const app_id = "wx00000000000000dd";
  await send("POST", "/v1/apps", { platform: "weixin", app_id, secret: "d".repeat(32) });
  expect((await ask(world, "GET /v1/apps", "shop.example.com", key)).status).toBe(200);
  const path = `/v1/apps/${app_id}`;
  const { data } = await send("PATCH", path, { public_url: "https://shop.example.com" });
  expect(data["public_url"]).toBe("https://shop.example.com");
  expect((await ask(world, "GET /v1/apps", "shop.example.com", key)).status).toBe(404);
  for (const bad of [
    "https://shop.example.com/path",
    "shop.example.com",
    "ftp://shop.example.com",
    "https://*.example.com",
  ])
    expect((await send("PATCH", path, { public_url: bad })).code).toBe(1);
  await send("PATCH", path, { public_url: null });
  expect((await ask(world, "GET /v1/apps", "shop.example.com", key)).status).toBe(200);
});
