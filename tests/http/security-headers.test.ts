import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { failureEnvelope } from "../../src/envelope.ts";
import { ServiceError } from "../../src/errors.ts";
import { envelopeResponse } from "../../src/api/answer.ts";
import { endingText } from "../support/event-stream.ts";
import { rawRequest } from "../support/raw-http.ts";
import { allRoutes } from "../support/routes.ts";
import { Harness, WX } from "../support/harness.ts";

const DEFAULT_POLICY = "default-src 'none'; frame-ancestors 'none'";
const TOKEN = `/AccessToken/getXcx?appid=${WX.appId}`;

/** Whatever else it says, an answer must say this. */
function expectSecured(what: string, headers: { get(name: string): string | null | undefined }): void {
  const policy = headers.get("content-security-policy") ?? "";
  expect([
    what,
    headers.get("x-content-type-options"),
    headers.get("referrer-policy"),
    headers.get("cross-origin-resource-policy"),
    policy.includes("default-src 'none'") && policy.includes("frame-ancestors 'none'"),
  ]).toEqual([what, "nosniff", "no-referrer", "same-origin", true]);
}

test("every route has the security headers, with a right and with a wrong method", async () => {
  await using world = await Harness.create();
  for (const { path } of allRoutes()) {
    for (const method of ["GET", "POST", "DELETE", "OPTIONS", "HEAD"]) {
      const { headers } = await fetch(world.service.url + path, { method });
      expectSecured(`${method} ${path}`, headers);
      const isEnvelope =
        headers.get("content-type") === "application/json; charset=utf-8" && path !== "/swagger/json";
      if (isEnvelope) expect([path, headers.get("cache-control")]).toEqual([path, "no-store"]);
    }
  }
});

test("every route has the security headers for an administrator, whom nothing is refused", async () => {
  await using world = await Harness.create();
  for (const { method, path } of allRoutes().filter((route) => route.method === "GET")) {
    const response = await world.service.handle(new Request(`http://localhost${path}`, { method }));
    expectSecured(path, response.headers);
    await endingText(response);
  }
});

test.each([
  ["a success", `GET ${TOKEN} HTTP/1.1\r\nHost: localhost\r\n`],
  ["a path that is not there", "GET /nope HTTP/1.1\r\nHost: localhost\r\n"],
  ["a bad parameter", "GET /AccessToken/getXcx HTTP/1.1\r\nHost: localhost\r\n"],
  ["a refused caller", `GET ${TOKEN} HTTP/1.1\r\nHost: evil.example\r\n`],
  ["a Host that is too short", "GET /livez HTTP/1.1\r\nHost: x\r\n"],
  ["a path with dots", "GET /x/../livez HTTP/1.1\r\nHost: localhost\r\n"],
  ["CONNECT", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n"],
])("the answer to %s has the security headers and is kept by nobody", async (what, head) => {
  await using world = await Harness.create();
  const { headers } = await rawRequest(world.service.url, `${head}Connection: close\r\n\r\n`);
  expectSecured(what, headers);
  expect(headers.get("content-security-policy")).toBe(DEFAULT_POLICY);
  expect(headers.get("cache-control")).toBe("no-store");
});

test("the answer that says not ready has the security headers", async () => {
  await using world = await Harness.create();
  using other = new Database(world.databasePath);
  // Another process has the write lock and does not give it back.
  other.run("BEGIN IMMEDIATE");
  const answer = await fetch(`${world.service.url}/readyz`);
  expect(answer.status).toBe(503);
  expectSecured("/readyz", answer.headers);
  other.run("ROLLBACK");
});

test("the documentation's page alone may load something, and only from here", async () => {
  await using world = await Harness.create();
  const policyOf = async (path: string) =>
    (await fetch(world.service.url + path)).headers.get("content-security-policy");
  expect(await policyOf("/swagger")).toContain("script-src 'self'");
  for (const path of [
    "/swagger/ui.js",
    "/swagger/ui.css",
    "/swagger/start.js",
    "/swagger/json",
    "/docs/README.md",
    "/metrics",
  ])
    expect(await policyOf(path)).toBe(DEFAULT_POLICY);
});

test("an answer's own headers are never those of another", async () => {
  const limited = new ServiceError("rate_limited", "x", { retryAfterMs: 3000 });
  const success = (traceId: string) => ({ code: 0, msg: "success", data: {}, trace_id: traceId });
  const first = envelopeResponse(failureEnvelope(limited, "1".repeat(32)), 429, { vary: "Origin" });
  const second = envelopeResponse(success("2".repeat(32)));
  expect([first.status, first.headers.get("trace-id"), first.headers.get("retry-after")]).toEqual([
    429,
    "1".repeat(32),
    "3",
  ]);
  expect(first.headers.get("vary")).toBe("Origin");
  expect([second.status, second.headers.get("trace-id")]).toEqual([200, "2".repeat(32)]);
  expect([second.headers.get("retry-after"), second.headers.get("vary")]).toEqual([null, null]);
  second.headers.set("x-other", "1");
  expect(envelopeResponse(success("3".repeat(32))).headers.get("x-other")).toBeNull();
});
