import { expect, test } from "bun:test";
import { knownErrcodes, meaningsOf } from "../../src/api/errcodes.ts";
import { masked } from "../../src/api/v1-errors.ts";
import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WX } from "../support/harness.ts";

const EXPLAIN = "/v1/errors/explain";
const GRANTS = [{ apps: [WX.appId], actions: ["api:call", "token:read"] as const }];

/** A client that may call WeChat for one app. */
async function setup() {
  const world = await Harness.create();
  const key = await createClient(world, { name: "caller", grants: GRANTS });
  const explain = (body: object, by = key) => world.post(EXPLAIN, body, { headers: { "x-api-key": by } });
  return { world, key, explain, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test.each([
  ['{"errcode":40003,"errmsg":"invalid openid rid: 6aac005a-01bfdbee-79769285"}', [40003], true],
  ["微信返回错误码：40164，errmsg: invalid ip 203.0.113.7", [40164], false],
  ["error code = -1, then errcode: 45009 and again errcode 45009", [-1, 45009], false],
  [" 48001\n", [48001], false],
  ['{"code":0,"msg":"success","data":{"app_id":"wx01"}}', [0], false],
])("of %s the errcodes and the rid are found", async (text, errcodes, hasRid) => {
  await using it = await setup();
  const { data, status } = await it.explain({ text });
  const found = new Set((data["errors"] as { errcode: number }[]).map(({ errcode }) => errcode));
  expect([status, [...found], data["rid"] !== undefined]).toEqual([200, errcodes, hasRid]);
});

test("an errcode is explained for both platforms where both have it, one that is not known is named, and text without any is 400", async () => {
  await using it = await setup();
  const { data } = await it.explain({ text: "errcode=40001 errcode=9999999" });
  expect(data["errors"]).toEqual([...meaningsOf(40001)]);
  expect(meaningsOf(40001).map(({ platform }) => platform)).toEqual(["weixin", "wecom"]);
  expect(data["unknown"]).toEqual([9999999]);
  const none = await it.explain({ text: "it does not work" });
  expect([none.status, none.code]).toEqual([400, 1]);
  expect(it.world.sandbox.calls("/cgi-bin/openapi/rid/get")).toBe(0);
});

test("each errcode has a meaning in both languages, once for each platform, and what to do is a sentence", () => {
  const all = knownErrcodes();
  expect(new Set(all.map(({ platform, errcode }) => `${platform} ${errcode}`)).size).toBe(all.length);
  for (const { errcode, errmsg, message, fix = "先核对 (check)" } of all) {
    expect([errcode, Number.isInteger(errcode), errmsg !== ""]).toEqual([errcode, true, true]);
    for (const text of [message, fix]) expect(text).toMatch(/\p{Script=Han}.* \([^\p{Script=Han}]+\)$/u);
  }
});

test("P6: WeChat's record of a refused request is shown by its rid, without the token", async () => {
  await using it = await setup();
  const { world, key } = it;
  const headers = { "x-api-key": key };
  const token = String(
    (await world.get(`/v1/apps/${WX.appId}/credentials/access_token`, {}, { headers })).data["value"],
  );
  const refused = await fetch(
    `${world.sandbox.weixinUrl}/cgi-bin/menu/get?access_token=${token}&code=0123abc`,
  );
  const text = await refused.text();
  const { data, text: answer, status } = await it.explain({ text, app: WX.appId });
  expect(status).toBe(200);
  expect(data["request"]).toMatchObject({
    url: "cgi-bin/menu/get?access_token=***&code=***",
    response_body: text,
    invoked_at: Math.floor(world.clock.now() / 1000) * 1000,
  });
  expect(answer).not.toContain(token);
  const unknown = await it.explain({ text: "rid: 6aac005a-01bfdbee-79769285", app: WX.appId });
  expect([unknown.status, unknown.code]).toEqual([502, 76001]);
});

test("WeChat is asked only for who may call it for that app, and WeCom has no look-up", async () => {
  await using it = await setup();
  const text = "rid: 6aac005a-01bfdbee-79769285";
  const signer = await createClient(it.world, {
    name: "signer",
    grants: [{ apps: ["*"], actions: ["ticket:sign"] }],
  });
  expect((await it.explain({ text, app: WX.appId }, signer)).status).toBe(403);
  expect((await it.explain({ text: "errcode 40003" }, signer)).status).toBe(200);
  expect((await it.explain({ text, app: `${CORP}_1000002` })).status).toBe(403);
  const admin = await createClient(it.world, {
    name: "all",
    grants: [{ apps: ["*"], actions: ["api:call"] }],
  });
  expect((await it.explain({ text, app: `${CORP}_1000002` }, admin)).status).toBe(400);
  expect(it.world.sandbox.calls("/cgi-bin/openapi/rid/get")).toBe(0);
});

test("a text that is made to take long takes no time", async () => {
  await using it = await setup();
  const before = process.cpuUsage();
  expect((await it.explain({ text: `errcode${" ".repeat(32_700)}x` })).status).toBe(400);
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});

test("a caller without a key is counted, though what it asks is looked up here", async () => {
  await using world = await Harness.create({ environment: { ANONYMOUS_RATE_LIMIT: "1" } });
  const statuses: number[] = [];
  for (let n = 0; n < 11; n++) statuses.push((await world.post(EXPLAIN, { text: "40001" })).status);
  expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429]);
});

test.each([
  [String.raw`{"session_key":"ab\/cd+==","openid":"o1"}`, '{"session_key":"***","openid":"o1"}'],
  [String.raw`{"errcode":0,"ticket":"kg\/abc"}`, '{"errcode":0,"ticket":"***"}'],
  ["access_token%3D70_abc", "access_token%3D***"],
  ['{"accessToken":"zzz","appSecret":"yyy"}', '{"accessToken":"***","appSecret":"***"}'],
  [
    String.raw`"{\"js_code\":\"0123\",\"errcode\":40029}"`,
    String.raw`"{\"js_code\":\"***\",\"errcode\":40029}"`,
  ],
])("P6: of %s the secret is masked as a whole, and nothing else", (text, shown) => {
  expect(masked(text)).toBe(shown);
});

test.each([
  [String.raw`{"session_key":"ab\/cd+==","x":1}`, String.raw`{"session_key":"***","x":1}`],
  [String.raw`{"ticket":"kg\/abc"}`, `{"ticket":"***"}`],
  ["redirect=a%3Faccess_token%3D70_abc%26openid%3Do1", "redirect=a%3Faccess_token%3D***%26openid%3Do1"],
  ["access_token%253D70_abc%2526openid", "access_token%253D***%2526openid"],
  ['{"accessToken":"zzz","sessionKey": "a"}', '{"accessToken":"***","sessionKey": "***"}'],
  ['{"code":["x"]}', '{"code":["***"]}'],
  [String.raw`"{\"access_token\":\"70\\/a\",\"a\":1}"`, String.raw`"{\"access_token\":\"***\",\"a\":1}"`],
  ["authorizer_refresh_token=ab&b=1", "authorizer_refresh_token=***&b=1"],
  ['{"errcode":40003,"errmsg":"invalid openid"}', '{"errcode":40003,"errmsg":"invalid openid"}'],
])("P6: of %s no secret stays, escaped or encoded", (text, shown) => {
  expect(masked(text)).toBe(shown);
});
