import { expect, test } from "bun:test";
import { createAdmin } from "../support/access-harness.ts";
import { allRoutes } from "../support/routes.ts";
import { Harness, WX } from "../support/harness.ts";

const PAGE = "https://www.example.com";
const DEV = "http://dev.example:8080";
const SIGN = "/JsSDK/getJsApiSign";
const SIGNATURES = ["jsapi", "agent-config", "card"].map((sort) => `/v1/apps/${WX.appId}/signatures/${sort}`);

function setup(environment: Record<string, string> = { CORS_ORIGINS: `${PAGE}, ${DEV}` }): Promise<Harness> {
  return Harness.create({ environment });
}

/** Asks as a browser does before a page of `origin` may send JSON. */
function preflight(world: Harness, path: string, origin: string, method = "POST"): Promise<Response> {
  const headers = {
    origin,
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "cors",
    "access-control-request-method": method,
    "access-control-request-headers": "content-type,x-api-key",
  };
  return fetch(world.service.url + path, { method: "OPTIONS", headers });
}

/** Has a page signed as a page of `origin` does. */
function sign(world: Harness, origin: string, more: Record<string, string> = {}) {
  const headers = { origin, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", ...more };
  return world.post(SIGN, { wx_app_id: WX.appId, url: `${origin}/page` }, { headers });
}

function corsHeadersOf({ headers }: { headers: Headers }): string[] {
  return [...headers.keys()].filter((name) => name.startsWith("access-control-"));
}

test.each([SIGN, ...SIGNATURES])(
  "a listed origin's preflight for %s is HTTP 204, without a key",
  async (path) => {
    await using world = await setup();
    for (const origin of [PAGE, DEV]) {
      const answer = await preflight(world, path, origin);
      expect([answer.status, await answer.text()]).toEqual([204, ""]);
      expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
      expect(answer.headers.get("access-control-allow-methods")).toBe("POST");
      expect(answer.headers.get("access-control-allow-headers")).toBe(
        "content-type, authorization, x-api-key",
      );
      expect(Number(answer.headers.get("access-control-max-age"))).toBeGreaterThan(0);
      expect(answer.headers.get("vary")).toBe("Origin");
      expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
    }
  },
);

test("a preflight needs no key where every call needs one, and the call then still does", async () => {
  await using world = await setup({ CORS_ORIGINS: PAGE, ANONYMOUS: "off" });
  expect((await preflight(world, SIGN, PAGE)).status).toBe(204);
  const refused = await sign(world, PAGE);
  expect([refused.code, refused.headers.get("access-control-allow-origin")]).toEqual([401, PAGE]);
  const key = await createAdmin(world);
  const signed = await sign(world, PAGE, { authorization: `Bearer ${key}` });
  expect([signed.code, signed.headers.get("access-control-allow-origin")]).toEqual([0, PAGE]);
});

test("a listed origin's page is signed and may read the answer, also an error", async () => {
  await using world = await setup();
  const signed = await sign(world, PAGE);
  expect([signed.code, signed.data["app_id"]]).toEqual([0, WX.appId]);
  expect(signed.headers.get("access-control-allow-origin")).toBe(PAGE);
  expect(signed.headers.get("vary")).toBe("Origin");
  const headers = { origin: PAGE, "sec-fetch-site": "cross-site" };
  for (const [path, body, code] of [
    [SIGN, {}, 1],
    [SIGNATURES[0] ?? "", {}, 1],
    [`/v1/apps/wx9/signatures/jsapi`, { url: PAGE }, 404],
    [`${SIGN}?a=1&a=2`, {}, 1],
  ] as const) {
    const failed = await world.post(path, body, { headers });
    expect([path, failed.code, failed.headers.get("access-control-allow-origin")]).toEqual([
      path,
      code,
      PAGE,
    ]);
    expect(failed.headers.get("vary")).toBe("Origin");
  }
  const wrongType = await world.request(SIGN, { method: "POST", body: "x", headers });
  expect([wrongType.code, wrongType.headers.get("access-control-allow-origin")]).toEqual([415, PAGE]);
});

test.each([
  "https://evil.example",
  "http://www.example.com",
  "https://www.example.com:8443",
  "https://www.example.com.evil.example",
  "https://evil.example/https://www.example.com",
  "https://www.example.co",
  "HTTPS://WWW.EXAMPLE.COM",
  "null",
])("a page of %s is refused as if no origin were listed", async (origin) => {
  await using world = await setup();
  const asked = await preflight(world, SIGN, origin);
  expect([asked.status, corsHeadersOf(asked)]).toEqual([200, []]);
  const refused = await sign(world, origin);
  expect([refused.code, corsHeadersOf(refused)]).toEqual([403, []]);
  expect(world.sandbox.calls()).toBe(0);
});

test("without CORS_ORIGINS no page of another origin is answered anywhere", async () => {
  await using world = await setup({});
  for (const path of [SIGN, ...SIGNATURES]) {
    const asked = await preflight(world, path, PAGE);
    expect([asked.status === 204, corsHeadersOf(asked)]).toEqual([false, []]);
  }
  const refused = await sign(world, PAGE);
  expect([refused.code, corsHeadersOf(refused)]).toEqual([403, []]);
});

const OTHERS = allRoutes().filter(({ pattern }) => pattern !== SIGN && !pattern.includes("/signatures/"));

test.each(OTHERS)("a listed origin is nothing special on $method $pattern", async ({ method, path }) => {
  await using world = await setup();
  const asked = await preflight(world, path, PAGE, method);
  const headers = { origin: PAGE, "sec-fetch-site": "cross-site", "content-type": "application/json" };
  const init = method === "GET" ? { method, headers } : { method, headers, body: "{}" };
  const answer = await world.request(path, init);
  expect([asked.status === 204, corsHeadersOf(asked)]).toEqual([false, []]);
  expect([answer.code, corsHeadersOf(answer)]).toEqual([403, []]);
  expect(world.sandbox.calls()).toBe(0);
});

test("only a question for POST is a preflight", async () => {
  await using world = await setup();
  for (const method of ["GET", "DELETE", ""])
    expect([method, (await preflight(world, SIGN, PAGE, method)).status]).toEqual([method, 200]);
  const plain = await world.request(SIGN, { method: "OPTIONS", headers: { origin: PAGE } });
  expect(plain.code).toBe(405);
});

test("a listed origin does not make up for an address that is not trusted", async () => {
  await using world = await setup({ CORS_ORIGINS: PAGE, TRUSTED_NETWORKS: "192.0.2.0/24" });
  const refused = await sign(world, PAGE);
  expect([refused.code, refused.headers.get("access-control-allow-origin")]).toEqual([403, PAGE]);
  expect(world.sandbox.calls()).toBe(0);
});
