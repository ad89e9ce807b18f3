import { expect, test } from "bun:test";
import { createLog } from "../../src/log.ts";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { ConsolePage } from "../support/console-page.ts";
import { Harness, WX } from "../support/harness.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT = `00-${TRACE}-b7ad6b7169203331-01`;
const CLEAR = "/AccessToken/clearXcx";

/** A service in front of an upstream that notes what `traceparent` each request came with. */
async function setup(environment: Record<string, string> = {}) {
  const arrived: [path: string, traceparent: string | null][] = [];
  const upstream = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => {
      const { pathname } = new URL(request.url);
      arrived.push([pathname, request.headers.get("traceparent")]);
      const token = { access_token: `${arrived.length}`.padStart(120, "t"), expires_in: 7200 };
      return Response.json(pathname === "/cgi-bin/stable_token" ? token : { errcode: 0, errmsg: "ok" });
    },
  });
  const url = `http://127.0.0.1:${upstream.port}`;
  const world = await Harness.create({ environment: { ...environment, WEIXIN_BASE_URL: url } });
  const key = await createAdmin(world);
  // Something that can be cleared.
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  arrived.length = 0;
  const entries = async () => {
    const { data } = await world.administer("/v1/audit");
    return data["entries"] as { client: string; trace_id: string; detail?: Record<string, unknown> }[];
  };
  return {
    world,
    key,
    arrived,
    entries,
    lastEntry: async () => (await entries())[0],
    /** The lines of the log that name the path's route, as JSON. */
    lines: (event: string) => {
      const lines: Record<string, unknown>[] = [];
      const log = createLog("debug", world.clock, (line) => lines.push(JSON.parse(line)));
      for (const each of world.events) if (each.type === event) log(each);
      return lines;
    },
    [Symbol.asyncDispose]: async () => {
      await world[Symbol.asyncDispose]();
      await upstream.stop(true);
    },
  };
}

test("the trace that a client's request is a part of stands beside our own id in audit and log", async () => {
  await using t = await setup();
  const headers = { authorization: `Bearer ${t.key}`, traceparent: TRACEPARENT };
  const cleared = await t.world.request(`${CLEAR}?appid=${WX.appId}`, { headers });
  const own = cleared.headers.get("trace-id");
  expect(own).not.toContain(TRACE);
  expect(await t.lastEntry()).toMatchObject({ trace_id: own, detail: { parent_trace_id: TRACE } });
  await t.world.request("/v1/apps/nope", { headers });
  expect(t.lines("request.invalid").at(-1)).toMatchObject({ client: "admin", parentTraceId: TRACE });
  // A key in the place of a secret, and one that lacks a grant.
  const key = await createClient(t.world, { name: "shop", grants: [] });
  await t.world.request(`/AccessToken/getXcx?appid=${WX.appId}&secret=${key}`, {
    headers: { traceparent: TRACEPARENT },
  });
  expect(t.lines("access.denied").at(-1)).toMatchObject({ client: "shop", parentTraceId: TRACE });
  expect((await t.world.administer("/v1/audit/verify")).data).toMatchObject({ intact: true });
});

test("so does that of somebody at the console", async () => {
  await using t = await setup();
  const page = new ConsolePage(t.world);
  await page.signIn(t.key);
  const path = `/v1/apps/${WX.appId}/unblock`;
  expect((await page.send("POST", path, {}, { traceparent: TRACEPARENT })).status).toBe(200);
  expect(await t.lastEntry()).toMatchObject({ detail: { via: "console", parent_trace_id: TRACE } });
});

test.each([
  ["another version", TRACEPARENT.replace("00-", "01-")],
  ["upper case", TRACEPARENT.toUpperCase()],
  ["a trace of zeros", `00-${"0".repeat(32)}-b7ad6b7169203331-01`],
  ["a span of zeros", `00-${TRACE}-${"0".repeat(16)}-01`],
  ["more behind it", `${TRACEPARENT}-x`],
  ["two of them", `${TRACEPARENT}, ${TRACEPARENT}`],
  ["none", ""],
])("what is no traceparent is not noted: %s", async (_name, traceparent) => {
  await using t = await setup();
  const headers = { authorization: `Bearer ${t.key}`, traceparent };
  await t.world.request(`${CLEAR}?appid=${WX.appId}`, { headers });
  await t.world.request("/v1/apps/nope", { headers });
  expect(JSON.stringify([await t.entries(), t.lines("request.invalid")])).not.toMatch(/parent/i);
});

test("that of a caller who is no client is not noted", async () => {
  await using t = await setup();
  const headers = { traceparent: TRACEPARENT };
  await t.world.request(`${CLEAR}?appid=${WX.appId}`, { headers });
  await t.world.request(`${CLEAR}?appid=${WX.appId}&secret=${WX.secret}`, { headers });
  await t.world.request(`${CLEAR}?appid=${WX.appId}&secret=wrong`, { headers });
  await t.world.request("/v1/apps", { headers: { ...headers, authorization: "Bearer ats_wrong" } });
  const told = [await t.entries(), ...["access.denied", "request.invalid"].map((event) => t.lines(event))];
  expect(JSON.stringify(told)).not.toMatch(/parent/i);
});

test("each request is logged with it where each request is logged", async () => {
  for (const [level, expected] of [["info", undefined] as const, ["debug", TRACE] as const]) {
    await using t = await setup({ LOG_LEVEL: level });
    const headers = { authorization: `Bearer ${t.key}`, traceparent: TRACEPARENT };
    expect((await t.world.request(`/AccessToken/getXcx?appid=${WX.appId}`, { headers })).code).toBe(0);
    expect(t.lines("request.handled").at(-1)?.["parentTraceId"]).toBe(expected);
  }
});

test("the gateway passes a traceparent on as it came, and what the service asks of its own account has none", async () => {
  await using t = await setup();
  const headers = { authorization: `Bearer ${t.key}`, traceparent: TRACEPARENT };
  await t.world.request(`${CLEAR}?appid=${WX.appId}`, { headers });
  const called = await fetch(`${t.world.service.url}/gateway/${WX.appId}/cgi-bin/user/get`, { headers });
  expect(await called.json()).toMatchObject({ errcode: 0 });
  expect(t.arrived).toEqual([
    ["/cgi-bin/stable_token", null],
    ["/cgi-bin/user/get", TRACEPARENT],
  ]);
});
