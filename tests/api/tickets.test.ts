import { expect, test } from "bun:test";
import { CORP, WX } from "../support/harness.ts";
import { type Asking, DropinHarness, STRANGE, WECOM_APP } from "./dropin-harness.ts";

const GETTICKET = "/cgi-bin/ticket/getticket";
const CORP_TICKET = "/cgi-bin/get_jsapi_ticket";
const APP_TICKET = "/cgi-bin/ticket/get";

interface Endpoint {
  readonly platform: "weixin" | "wecom";
  readonly path: string;
  readonly type?: string;
  readonly kind: string;
  readonly method: string;
}

const ENDPOINTS: readonly Endpoint[] = [
  { platform: "weixin", path: GETTICKET, type: "jsapi", kind: "jsapi_ticket", method: "GET" },
  { platform: "weixin", path: GETTICKET, type: "wx_card", kind: "wx_card_ticket", method: "GET" },
  { platform: "weixin", path: GETTICKET, type: "jsapi", kind: "jsapi_ticket", method: "POST" },
  { platform: "wecom", path: CORP_TICKET, kind: "jsapi_ticket", method: "GET" },
  { platform: "wecom", path: CORP_TICKET, kind: "jsapi_ticket", method: "POST" },
  { platform: "wecom", path: APP_TICKET, type: "wx_card", kind: "wx_card_ticket", method: "GET" },
  { platform: "wecom", path: APP_TICKET, type: "agent_config", kind: "agent_config_ticket", method: "GET" },
];
const APP = { weixin: WX.appId, wecom: WECOM_APP } as const;
const TYPES = {
  weixin: "application/json; encoding=utf-8",
  wecom: "application/json; charset=utf-8",
} as const;

const asking = ({ method, type }: Endpoint, token: string, more: Asking = {}): Asking => ({
  method,
  query: { access_token: token, ...(type ? { type } : {}) },
  ...more,
});

test.each(ENDPOINTS)(
  "$kind by $method $path gives the shared ticket for a token of ours, wherever its holder asks from",
  async (endpoint) => {
    await using at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
    const { path, platform, kind } = endpoint;
    const [real, virtual] = [
      await at.key("real", { apps: [APP[platform]] }),
      await at.key("virtual", { apps: [APP[platform]], delivery: "virtual" }),
    ];
    const held = await at.token(platform);
    const tokens = [held, await at.token(platform, real), await at.token(platform, virtual)];
    expect(new Set(tokens).size).toBe(2);
    const { data } = await at.world.administer(`/v1/apps/${APP[platform]}/credentials/${kind}`);
    const ticket = String(data["value"]);
    for (const token of tokens) {
      const { text, headers } = await at.ask(path, asking(endpoint, token, { from: STRANGE }));
      expect(text).toBe(`{"errcode":0,"errmsg":"ok","ticket":"${ticket}","expires_in":7200}`);
      expect(headers.get("content-type")).toBe(TYPES[platform]);
    }
    at.world.clock.advance(100_000);
    const later = await at.ask(path, asking(endpoint, held));
    expect(later.body).toEqual({ errcode: 0, errmsg: "ok", ticket, expires_in: 7100 });
    expect(at.sandbox.calls(path, platform)).toBe(1);
    expect(at.sandbox.calls()).toBe(2);
  },
);

test.each(ENDPOINTS)("$kind by $method $path needs a token that is ours and lives", async (endpoint) => {
  await using at = await DropinHarness.create();
  const { path, platform } = endpoint;
  const key = await at.key("client", { apps: [APP[platform]], delivery: "virtual" });
  const dying = await at.token(platform, key);
  const cleared = await at.token(platform);
  await at.world.administer(`/v1/apps/${APP[platform]}/credentials/access_token`, { method: "DELETE" });
  await at.world.administer("/v1/clients/client", { method: "DELETE" });
  const calls = at.sandbox.calls();
  expect(await at.refusal(path, { ...asking(endpoint, ""), from: STRANGE })).toEqual([
    41001,
    "access_token missing",
  ]);
  for (const token of [cleared, dying, "70_unheardOf", `${dying}x`, "x".repeat(6000)]) {
    const { body, headers } = await at.ask(path, { ...asking(endpoint, token), from: STRANGE });
    expect(body["errcode"]).toBe(42001);
    expect(body["errmsg"]).toStartWith("access_token expired");
    expect([headers.get("content-type"), headers.get("error-code")]).toEqual(
      // An unknown token says no more about the platform than the path does.
      platform === "wecom" ? [TYPES.wecom, "42001"] : [TYPES.weixin, undefined],
    );
  }
  const secret = await at.refusal(`${path}?access_token=${WX.secret}&access_token=${cleared}`);
  expect(secret[0]).toBe(platform === "wecom" ? 40058 : 40097);
  expect(at.sandbox.calls()).toBe(calls);
});

test("a client needs the grant for tickets, by whichever token it asks", async () => {
  await using at = await DropinHarness.create();
  const grants = { apps: [WX.appId], actions: ["token:read", "api:call"] as const };
  const virtual = await at.token("weixin", await at.key("virtual", { ...grants, delivery: "virtual" }));
  const reader = await at.key("reader", { ...grants, delivery: "real" });
  const real = await at.token("weixin", reader);
  const query = { access_token: virtual, type: "jsapi" };
  const errmsg = expect.stringContaining("not granted to this client for this app: ticket:read");
  expect((await at.ask(GETTICKET, { query })).body).toMatchObject({ errcode: 48001, errmsg });
  const byKey = { query: { access_token: real, type: "jsapi" }, headers: { "x-api-key": reader } };
  expect((await at.ask(GETTICKET, byKey)).body).toMatchObject({ errcode: 48001, errmsg });
  expect(at.sandbox.calls()).toBe(1);
});

test("a virtual token beside the key of another client is refused", async () => {
  await using at = await DropinHarness.create();
  const virtual = await at.token("weixin", await at.key("virtual", { delivery: "virtual" }));
  const headers = { "x-api-key": await at.key("other") };
  const { body } = await at.ask(GETTICKET, { query: { access_token: virtual, type: "jsapi" }, headers });
  expect(body["errcode"]).toBe(48001);
});

test("another type is refused here, and asked of nobody", async () => {
  await using at = await DropinHarness.create();
  const [weixin, wecom] = [await at.token("weixin"), await at.token("wecom")];
  const calls = at.sandbox.calls();
  for (const type of ["", "agent_config", "JSAPI"]) {
    expect(await at.refusal(GETTICKET, { query: { access_token: weixin, type } })).toEqual([
      40097,
      "invalid args",
    ]);
  }
  for (const type of ["", "jsapi"]) {
    const query = { access_token: wecom, type };
    expect(await at.refusal(APP_TICKET, { query })).toEqual([40058, "invalid parameter"]);
  }
  expect(at.sandbox.calls()).toBe(calls);
});

test("a token of one platform at an endpoint of the other's goes to its own platform, through the gateway", async () => {
  await using at = await DropinHarness.create();
  const [weixin, wecom] = [await at.token("weixin"), await at.token("wecom")];
  await at.ask(CORP_TICKET, { query: { access_token: weixin } });
  expect(at.sandbox.calls(CORP_TICKET, "weixin")).toBe(1);
  await at.ask(GETTICKET, { query: { access_token: wecom, type: "jsapi" } }).catch(() => undefined);
  expect([at.sandbox.calls(GETTICKET, "wecom"), at.sandbox.calls(GETTICKET, "weixin")]).toEqual([1, 0]);
});

test("slashes too many and empty pairs in the query change nothing", async () => {
  await using at = await DropinHarness.create();
  const [weixin, wecom] = [await at.token("weixin"), await at.token("wecom")];
  const paths = [
    `//cgi-bin/ticket/getticket?&type=jsapi&access_token=${weixin}`,
    `/cgi-bin/ticket/getticket/?access_token=${weixin}&type=jsapi&`,
    `/cgi-bin//ticket/get?&&type=agent_config&access_token=${wecom}`,
  ];
  for (const path of paths) expect((await at.ask(path)).body["ticket"]).toBeString();
});

test("P1: a hundred cold callers cost one call for the token and one for the ticket", async () => {
  await using at = await DropinHarness.create();
  const key = await at.key("virtual", { apps: [WX.appId], delivery: "virtual" });
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const token = await at.token("weixin", n % 2 === 0 ? key : WX.secret);
      return (await at.ask(GETTICKET, { query: { access_token: token, type: "jsapi" } })).body;
    }),
  );
  expect(new Set(answers.map(({ ticket }) => ticket)).size).toBe(1);
  expect([at.sandbox.calls("/cgi-bin/stable_token"), at.sandbox.calls(GETTICKET)]).toEqual([1, 1]);
});

test("the gateway of an app answers with the shared ticket too, by a key alone", async () => {
  await using at = await DropinHarness.create();
  const headers = { "x-api-key": await at.key("real") };
  const weixin = await at.ask(`/gateway/${WX.appId}${GETTICKET}?type=jsapi`, { headers });
  const wecom = await at.ask(`/gateway/${WECOM_APP}${CORP_TICKET}`, { headers });
  for (const { body } of [weixin, wecom]) expect(body["ticket"]).toBeString();
  const none = await at.ask(`/gateway/${WECOM_APP}${CORP_TICKET}`);
  expect([none.body["errcode"], none.headers.get("error-code")]).toEqual([41001, "41001"]);
  expect((await at.ask(`/gateway/${CORP}_99${CORP_TICKET}`, { headers })).body["errcode"]).toBe(40013);
});
