import { expect, test } from "bun:test";
import type { Action } from "../../src/access/client.ts";
import type { ServiceEvent } from "../../src/events.ts";
import { createLog } from "../../src/log.ts";
import type { FaultEffect } from "../../src/sandbox/fault.ts";
import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";

const TOKEN = "/cgi-bin/stable_token";
const NOT_LISTED = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist";
/** WeChat's own request id, by which its support finds the request. */
const WITH_RID = /^invalid ip 203\.0\.113\.7 .* rid: [0-9a-f-]{26}$/;
const XCX = `/AccessToken/getXcx?appid=${WX.appId}`;
const WORKING = { kind: "error", errcode: 0 } as const;

/** What is asked for, with `KEY` for the client's key; what the sandbox does; and the line of it. */
const FAILURES: readonly [what: string, path: string, fault: FaultEffect, line: Record<string, unknown>][] = [
  [
    "WeChat does not know the address",
    XCX,
    { kind: "error", errcode: 40164, errmsg: NOT_LISTED },
    {
      level: "warn",
      event: "request.unserved",
      route: "/AccessToken/getXcx",
      client: "shop",
      app: WX.appId,
      code: 40164,
      errcode: 40164,
      errmsg: expect.stringMatching(WITH_RID),
      hint: expect.stringContaining("203.0.113.7"),
    },
  ],
  [
    "an SDK gets no answer through the key in the place of its secret",
    `/cgi-bin/token?grant_type=client_credential&appid=${WX.appId}&secret=KEY`,
    { kind: "empty_body" },
    {
      level: "warn",
      event: "request.unserved",
      route: "/cgi-bin/token",
      client: "shop",
      app: WX.appId,
      code: -1,
      rid: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{8}){2}$/),
      errmsg: expect.stringContaining("can't be used"),
    },
  ],
  [
    "WeCom refuses a secret",
    `/cgi-bin/gettoken?corpid=${CORP}&corpsecret=KEY&agentid=${WECOM.agent}`,
    {
      kind: "error",
      errcode: 60020,
      errmsg: "not allow to access from your ip, from ip: 203.0.113.9",
    },
    {
      level: "warn",
      event: "request.unserved",
      client: "shop",
      app: `${CORP}_${WECOM.agent}`,
      errcode: 60020,
      hint: expect.stringContaining("203.0.113.9"),
    },
  ],
  [
    "a user's code is used up",
    `/xcx/jscode2session?appid=${WX.appId}&code=used-up`,
    WORKING,
    {
      level: "info",
      event: "request.invalid",
      route: "/xcx/jscode2session",
      client: "shop",
      app: WX.appId,
      errcode: 40029,
    },
  ],
  [
    "a call is not granted",
    `/v1/apps/${WX.appId}/credentials/jsapi_ticket`,
    WORKING,
    {
      level: "info",
      event: "access.denied",
      route: "/v1/apps/:app/credentials/:kind",
      client: "shop",
      app: WX.appId,
      code: 403,
      errmsg: expect.stringContaining("not granted to this client for this app: ticket:read"),
    },
  ],
  [
    "an app is neither granted nor held",
    "/gateway/wx0123456789abcdef/cgi-bin/user/info",
    WORKING,
    { level: "info", event: "access.denied", client: "shop", app: "*", code: 48001 },
  ],
  [
    "a page does not exist",
    "/favicon.ico",
    WORKING,
    { level: "info", event: "request.invalid", route: "(none)", client: "shop", code: 404 },
  ],
];

async function setup() {
  const world = await Harness.create();
  const actions: Action[] = ["token:read", "login"];
  const apps = [WX.appId, `${CORP}_${WECOM.agent}`];
  const key = await createClient(world, { name: "shop", grants: [{ apps, actions }] });
  const before = world.events.length;
  return {
    world,
    key,
    /** What a log of that level has of what happened since. */
    lines: (level: "debug" | "info" | "warn") => {
      const texts: string[] = [];
      const log = createLog(level, world.clock, (line) => texts.push(line));
      for (const event of world.events.slice(before)) log(event);
      return texts.map((text) => JSON.parse(text) as Record<string, unknown> & Pick<ServiceEvent, "type">);
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test.each(FAILURES)(
  "when %s, one line has the trace id and all that is known",
  async (_what, path, fault, line) => {
    await using t = await setup();
    if (fault !== WORKING) t.world.sandbox.inject({ ...fault, times: Infinity });
    const headers: Record<string, string> = path.includes("KEY") ? {} : { authorization: `Bearer ${t.key}` };
    const answer = await fetch(t.world.service.url + path.replace("KEY", t.key), { headers });
    const text = await answer.text();
    const traceId = answer.headers.get("trace-id");
    const found = t.lines("info").filter((each) => each["traceId"] === traceId);
    expect(found).toMatchObject([{ address: "127.0.0.1", errmsg: expect.any(String), ...line }]);
    const rid = found[0]?.["rid"];
    if (typeof rid === "string") expect(text).toContain(rid);
    expect(t.lines("warn").filter((each) => each["traceId"] === traceId)).toHaveLength(
      line["level"] === "warn" ? 1 : 0,
    );
  },
);

test("a refresh that fails says the address that WeChat does not know, and what to do", async () => {
  await using t = await setup();
  t.world.sandbox.inject({ kind: "error", errcode: 40164, errmsg: NOT_LISTED, endpoint: TOKEN, times: 1 });
  await t.world.get("/AccessToken/getXcx", { appid: WX.appId, secret: t.key });
  const [failed] = t.lines("warn").filter((each) => each["event"] === "credential.refresh_failed");
  expect(failed).toMatchObject({
    errcode: 40164,
    class: "config",
    errmsg: expect.stringMatching(WITH_RID),
  });
  expect(failed?.["hint"]).toContain("add 203.0.113.7 to the IP allow-list");
});

test("P6: a path that a policy refuses is not in the log, whatever it is made of", async () => {
  await using t = await setup();
  const grants = [{ apps: ["*"], actions: ["api:call" as const] }];
  const key = await createClient(t.world, {
    name: "reader",
    grants,
    policy: { preset: "read-only" },
  });
  const headers = { authorization: `Bearer ${key}` };
  const path = `/gateway/${WX.appId}/cgi-bin/canaryZq8vR2`;
  const answer = await t.world.request(path, { headers });
  expect(answer.text).toContain("canaryzq8vr2");
  const lines = t.lines("debug");
  expect(lines).toContainEqual(
    expect.objectContaining({ event: "access.denied", client: "reader", code: 48001 }),
  );
  expect(JSON.stringify(lines).toLowerCase()).not.toContain("canaryzq8vr2");
});
