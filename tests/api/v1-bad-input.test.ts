import { expect, test } from "bun:test";
import { CORP, Harness, WX, WX_FOREIGN } from "../support/harness.ts";

const APP = `/v1/apps/${WX.appId}`;
const TOKEN = `${APP}/credentials/access_token`;
const JSON_TYPE = { "content-type": "application/json" };
const CANARY = "canary-7d1f3b";

/** Sends every request and expects its status and code; nothing that was sent may come back, nothing goes upstream. */
async function expectFailures(requests: [path: string, init: RequestInit, status: number, code: number][]) {
  await using world = await Harness.create();
  for (const [path, init, status, code] of requests) {
    const answer = await world.request(path, init);
    expect([path, init.method, answer.status, answer.code]).toEqual([path, init.method, status, code]);
    expect(Object.keys(JSON.parse(answer.text) as object).slice(0, 4)).toEqual([
      "code",
      "msg",
      "data",
      "trace_id",
    ]);
    expect(answer.data).toEqual({});
    expect(answer.headers.get("trace-id")).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(answer.text).not.toContain(CANARY);
  }
  expect(world.sandbox.calls()).toBe(0);
}

function post(body: unknown): RequestInit {
  return { method: "POST", headers: JSON_TYPE, body: typeof body === "string" ? body : JSON.stringify(body) };
}

test("an app that we don't hold is 404 everywhere", async () => {
  for (const app of [WX_FOREIGN.appId, CORP, `${CORP}_`, `${CORP}_1000009`, `_${CORP}`, CANARY]) {
    const path = `/v1/apps/${app}`;
    await expectFailures([
      [path, {}, 404, 404],
      [`${path}/unblock`, { method: "POST" }, 404, 404],
      [`${path}/credentials/access_token`, {}, 404, 404],
      [`${path}/credentials/access_token`, { method: "DELETE" }, 404, 404],
      [`${path}/credentials/access_token/refresh`, post({}), 404, 404],
      [`${path}/credentials/access_token/replace`, post({ rejected: CANARY }), 404, 404],
      [`${path}/signatures/jsapi`, post({ url: "https://example.com/" }), 404, 404],
    ]);
  }
});

test("a name that can't be an app's, a kind that nobody issues and one that the platform lacks are code 1", async () => {
  await expectFailures([
    [`/v1/apps/${CANARY}%2F..%2Fx`, {}, 400, 1],
    [`/v1/apps/${"a".repeat(131)}`, {}, 400, 1],
    [`${APP}/credentials/${CANARY}`, {}, 400, 1],
    [`${APP}/credentials/agent_config_ticket`, {}, 400, 1],
    [`${APP}/credentials/agent_config_ticket`, { method: "DELETE" }, 400, 1],
    [`${APP}/signatures/agent-config`, post({ url: `https://example.com/${CANARY}` }), 400, 1],
  ]);
});

test("a page of the list has 1 to 200 apps", async () => {
  for (const limit of ["0", "201", "-1", "1.5", "x", "", "0100"]) {
    await expectFailures([[`/v1/apps?limit=${limit}`, {}, 400, 1]]);
  }
  await expectFailures([[`/v1/apps?after=${CANARY}%20`, {}, 400, 1]]);
});

test("a path that is not there is 404 and a method that a path lacks 405", async () => {
  await expectFailures([
    [`/v1/${CANARY}`, {}, 404, 404],
    [`${TOKEN}/${CANARY}`, {}, 404, 404],
    ["/v1/apps", { method: "PUT" }, 405, 405],
    [`${APP}/unblock`, {}, 405, 405],
    [`${TOKEN}/refresh`, {}, 405, 405],
    [TOKEN, post({}), 405, 405],
    [`${APP}/signatures/card`, {}, 405, 405],
  ]);
});

test("a body of another type, shape or size is refused before anything is done", async () => {
  const text = { "content-type": "text/plain" };
  const form = { "content-type": "application/x-www-form-urlencoded" };
  await expectFailures([
    [`${TOKEN}/refresh`, { method: "POST" }, 415, 415],
    [`${TOKEN}/refresh`, { method: "POST", headers: text, body: `{"force":true}` }, 415, 415],
    [`${TOKEN}/replace`, { method: "POST", headers: form, body: `rejected=${CANARY}` }, 415, 415],
    [`${APP}/unblock`, { method: "POST", headers: text, body: CANARY }, 415, 415],
    [TOKEN, { method: "DELETE", headers: form, body: CANARY }, 415, 415],
    [`${TOKEN}/refresh`, post({ force: CANARY }), 400, 1],
    [`${TOKEN}/refresh`, post(`{"force":${CANARY}`), 400, 1],
    [`${TOKEN}/refresh`, post("[]"), 400, 1],
    [`${TOKEN}/replace`, post({}), 400, 1],
    [`${TOKEN}/replace`, post({ rejected: "" }), 400, 1],
    [`${TOKEN}/replace`, post({ rejected: `${CANARY} with blanks` }), 400, 1],
    [`${TOKEN}/replace`, post({ rejected: 5 }), 400, 1],
    [`${TOKEN}/replace`, post({ rejected: CANARY.padEnd(70_000, "x") }), 413, 413],
    [`${APP}/signatures/jsapi`, post({ url: "" }), 400, 1],
    [`${APP}/signatures/card`, post({ for: CANARY, card_id: "card" }), 400, 1],
    [`${APP}/signatures/card`, post({ for: "addCard", code: CANARY }), 400, 1],
    [`${APP}/signatures/diagnose`, post({ text: `not ${CANARY}` }), 400, 1],
    [`${APP}/signatures/diagnose`, post({ platform: CANARY }), 400, 1],
  ]);
});

test("a caller from elsewhere gets HTTP 403 from /v1, as code 403 from the documented protocol", async () => {
  await using world = await Harness.create();
  const headers = { ...JSON_TYPE, "x-forwarded-for": "203.0.113.9" };
  for (const [path, init] of [
    ["/v1/apps", {}],
    [TOKEN, {}],
    [`${APP}/unblock`, post({})],
    [`${TOKEN}/replace`, post({ rejected: CANARY })],
  ] as [string, RequestInit][]) {
    const { status, code } = await world.request(path, { ...init, headers });
    expect([path, status, code]).toEqual([path, 403, 403]);
  }
  const documented = await world.get("/AccessToken/getXcx", { appid: WX.appId }, { headers });
  expect([documented.status, documented.code]).toEqual([200, 403]);
});

test("an unblock and a delete may come with a JSON body, which says nothing", async () => {
  await using world = await Harness.create();
  expect((await world.request(`${APP}/unblock`, post({}))).status).toBe(200);
  expect((await world.request(TOKEN, { ...post({}), method: "DELETE" })).status).toBe(200);
});
