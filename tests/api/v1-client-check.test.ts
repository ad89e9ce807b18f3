import { expect, test } from "bun:test";
import type { Action } from "../../src/access/client.ts";
import { type CallAnswer, GatewayHarness, WECOM_APP, WX_APP } from "../gateway/gateway-harness.ts";
import { CORP } from "../support/harness.ts";

interface Verdict {
  readonly allowed: boolean;
  readonly action?: string;
  readonly answered_by?: string;
  readonly recipients?: readonly string[];
  readonly family: string;
  readonly preset: string;
  readonly reason?: string;
}

interface Asked {
  readonly app: string;
  readonly method: string;
  readonly path: string;
  readonly change?: object;
}

async function setup(client: NonNullable<Parameters<typeof GatewayHarness.create>[0]>["client"] = {}) {
  const it = await GatewayHarness.create({ client: { delivery: "virtual", ...client } });
  const check = async (asked: Asked, name = "program") => {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(asked),
    };
    const { status, data, text } = await it.world.administer(`/v1/clients/${name}/check`, init);
    return { status, text, verdict: data as unknown as Verdict };
  };
  return { it, check, [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() };
}

const GET = "GET";
const POST = "POST";
const CALLS: readonly [app: string, method: string, path: string][] = [
  [WX_APP, POST, "/cgi-bin/message/mass/send"],
  [WX_APP, POST, "/cgi-bin/Message/Custom/Send/"],
  [WX_APP, GET, "/cgi-bin/user/get"],
  [WX_APP, POST, "/cgi-bin/user/get"],
  [WX_APP, POST, "/cgi-bin/menu/delete"],
  [WX_APP, POST, "/wxa/msg_sec_check"],
  [WX_APP, POST, "/cgi-bin/user/%67et"],
  [WX_APP, GET, "/cgi-bin/../token"],
  [WX_APP, POST, "/cgi-bin/openapi/quota/get"],
  [WX_APP, POST, "/cgi-bin/clear_quota/v2"],
  [WX_APP, POST, "/cgi-bin/component/api_query_auth"],
  [WX_APP, POST, "/nobody/knows"],
  [WX_APP, GET, "/cgi-bin/ticket/getticket"],
  [WX_APP, GET, "/cgi-bin/auth/getuserinfo"],
  [WECOM_APP, POST, "/cgi-bin/message/send"],
  [WECOM_APP, GET, "/cgi-bin/user/get"],
  [WECOM_APP, GET, "/cgi-bin/ticket/get"],
  [WECOM_APP, POST, "/wxa/msg_sec_check"],
];

/** Refusals by who the caller is, and of what no API is called. */
const REFUSED = new Set([61014, 40066, 48001, 48002, 43001, 43002]);

test.each(["all", "no-messaging", "safe", "read-only", "none"] as const)(
  "with the preset %s the check says of each call what the call itself gets",
  async (preset) => {
    const actions: Action[] = ["token:read", "api:call", "ticket:read"];
    const grants = [{ apps: [WX_APP, WECOM_APP], actions }];
    await using t = await setup({ grants, policy: { preset } });
    const { it } = t;
    const tokens = new Map([
      [WX_APP, await it.token()],
      [WECOM_APP, await it.token(WECOM_APP)],
    ]);
    const verdicts = new Set<boolean>();
    for (const [app, method, path] of CALLS) {
      it.sandbox.resetCalls();
      const { verdict } = await t.check({ app, method, path });
      const query = `access_token=${tokens.get(app)}${path.endsWith("/getticket") ? "&type=jsapi" : ""}`;
      const body = method === POST ? { body: "{}", headers: { "content-type": "application/json" } } : {};
      // A client of HTTP would take the dots out.
      const answer: CallAnswer = path.includes("..")
        ? { ...(await it.send("/nobody")), errcode: 40066 }
        : await it.send(`${path}?${query}`, { method, ...body });
      // WeChat itself has such refusals too.
      const isRefused = REFUSED.has(answer.errcode ?? 0) && it.sandbox.calls(path) === 0;
      expect([app, method, path, verdict.allowed]).toEqual([app, method, path, !isRefused]);
      if (!verdict.allowed) expect(verdict.reason).toBeString();
      verdicts.add(verdict.allowed);
    }
    expect(verdicts).toEqual(new Set([true, false]));
  },
);

test("what is allowed says by which action, who answers, and which recipients there may be", async () => {
  const testOpenids = ["oListed-0000000000000000001x"];
  await using t = await setup({ policy: { preset: "safe", test_openids: testOpenids } });
  const ask = async (app: string, method: string, path: string) =>
    (await t.check({ app, method, path })).verdict;
  const family = "/cgi-bin/message";
  expect(await ask(WX_APP, POST, "/cgi-bin/message/custom/send")).toEqual({
    allowed: true,
    ...{ family, preset: "safe", action: "api:call", answered_by: "upstream", recipients: ["touser"] },
  });
  const own = [
    [WX_APP, GET, "/cgi-bin/token", "token:read"],
    [WX_APP, POST, "/cgi-bin/stable_token", "token:read"],
    [WECOM_APP, GET, "/cgi-bin/gettoken", "token:read"],
    [WX_APP, GET, "/cgi-bin/ticket/getticket", "ticket:read"],
    [WECOM_APP, GET, "/cgi-bin/auth/getuserinfo", "login"],
    [WX_APP, GET, "/sns/oauth2/access_token", "login"],
  ] as const;
  for (const [app, method, path, action] of own)
    expect(await ask(app, method, path)).toMatchObject({ allowed: true, action, answered_by: "service" });
  expect(await ask(WX_APP, GET, "/sns/userinfo")).toMatchObject({ allowed: true, answered_by: "upstream" });
  expect(await ask(WX_APP, POST, "/sns/userinfo")).toMatchObject({ allowed: false });
  expect(await ask(WX_APP, GET, "/cgi-bin/gettoken")).toMatchObject({ allowed: false });
  expect(await ask(WX_APP, GET, "/cgi-bin/stable_token")).toMatchObject({ allowed: false });
});

test("a client as it would be is asked about before it is saved, and stays as it is", async () => {
  await using t = await setup({ policy: { preset: "safe" } });
  const asked = { app: WX_APP, method: POST, path: "/cgi-bin/message/mass/send" };
  const before = (await t.it.world.administer("/v1/clients/program")).text;
  const withChange = async (change: object) => (await t.check({ ...asked, change })).verdict.allowed;
  expect(await withChange({})).toBe(false);
  expect(await withChange({ policy: { preset: "all" } })).toBe(true);
  expect(await withChange({ policy: { preset: "all", deny: ["/cgi-bin/message/**"] } })).toBe(false);
  expect(await withChange({ policy: { preset: "all" }, delivery: "real" })).toBe(true);
  expect(await withChange({ policy: { preset: "all" }, grants: [{ apps: ["*"], actions: ["login"] }] })).toBe(
    false,
  );
  expect(await withChange({ policy: { preset: "all" }, expires_at: 1 })).toBe(false);
  expect((await t.check({ ...asked, change: { policy: { preset: "safe" }, delivery: "real" } })).status).toBe(
    400,
  );
  expect(
    (await t.check({ ...asked, change: { grants: [{ apps: ["all"], actions: ["login"] }] } })).status,
  ).toBe(400);
  const after = (await t.it.world.administer("/v1/clients/program")).text;
  expect(JSON.parse(after)).toHaveProperty("data", (JSON.parse(before) as { data: object }).data);
});

test("a check sends nothing, counts nothing and is no denial of the client", async () => {
  await using t = await setup({ policy: { preset: "none" }, rateLimit: 1 });
  t.it.sandbox.resetCalls();
  for (let i = 0; i < 5; i++) {
    const { status, verdict } = await t.check({ app: WX_APP, method: POST, path: "/cgi-bin/user/get" });
    expect([status, verdict.allowed]).toEqual([200, false]);
  }
  expect(t.it.sandbox.calls("/cgi-bin/user/get")).toBe(0);
  // A stop writes down what was counted.
  await t.it.world.stop();
  await t.it.world.start();
  const { data } = await t.it.world.administer("/v1/audit/denials");
  expect(data["denials"]).toEqual([]);
});

test("clients and apps that there are not are 404, a query in the path 400, and only administrators ask", async () => {
  await using t = await setup();
  const asked = { app: WX_APP, method: GET, path: "/cgi-bin/user/get" };
  expect((await t.check(asked, "nobody")).status).toBe(404);
  expect((await t.check({ ...asked, app: "wx00000000000000ff" })).status).toBe(404);
  expect((await t.check({ ...asked, app: `${CORP}_9` })).status).toBe(404);
  const withToken = await t.check({ ...asked, path: "/cgi-bin/user/get?access_token=SECRET" });
  expect([withToken.status, withToken.text.includes("SECRET")]).toEqual([400, false]);
  const init = { method: POST, headers: { "content-type": "application/json", "x-api-key": t.it.key } };
  const body = JSON.stringify({ ...asked, method: "BREW" });
  expect((await t.it.send("/v1/clients/program/check", { ...init, body })).status).toBe(403);
});
