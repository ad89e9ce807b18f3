import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { rawRequest } from "../support/raw-http.ts";
import { Harness } from "../support/harness.ts";

const HEALTH = ["/livez", "/readyz"] as const;

test.each(HEALTH)("HEAD %s has the status and the headers of GET, and no body", async (path) => {
  await using world = await Harness.create();
  const ask = async (method: string) => {
    const response = await fetch(world.service.url + path, { method });
    const headers = [...response.headers].filter(([name]) => name !== "date" && name !== "trace-id");
    return { status: response.status, headers, text: await response.text() };
  };
  const got = await ask("GET");
  expect(got.status).toBe(200);
  expect(await ask("HEAD")).toEqual({ ...got, text: "" });
});

test("HEAD /readyz is 503, as GET is, for a service that is not ready", async () => {
  await using world = await Harness.create();
  using other = new Database(world.databasePath, { readwrite: true });
  other.run("BEGIN IMMEDIATE");
  expect((await fetch(`${world.service.url}/readyz`, { method: "HEAD" })).status).toBe(503);
  other.run("ROLLBACK");
});

test.each(HEALTH)("%s answers a health check in HTTP/1.0 without a Host", async (path) => {
  await using world = await Harness.create();
  for (const method of ["GET", "HEAD"]) {
    const answer = await rawRequest(world.service.url, `${method} ${path} HTTP/1.0\r\n\r\n`);
    expect([method, answer.status]).toEqual([method, 200]);
    expect(answer.body === "").toBe(method === "HEAD");
  }
});

test.each([
  "/",
  "/v1/apps",
  "/AccessToken/getXcx?appid=wx1",
  "/livez/x",
  "/livez?x=1",
  "//livez",
  "/cgi-bin/token",
])("%s in HTTP/1.0 without a Host is refused as ever", async (path) => {
  await using world = await Harness.create();
  expect((await rawRequest(world.service.url, `GET ${path} HTTP/1.0\r\n\r\n`)).status).toBe(400);
});

test("a health check without a Host that came through an unknown proxy is no more trusted than others", async () => {
  await using world = await Harness.create();
  const head = "GET /livez HTTP/1.0\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";
  expect((await rawRequest(world.service.url, head)).status).toBe(403);
});
