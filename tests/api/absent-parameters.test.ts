import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";

const PAGE = "https://example.com/page?id=1";

const QUERIES: readonly [path: string, required: Record<string, string>, optional: readonly string[]][] = [
  ["/AccessToken/getXcx", { appid: WX.appId }, ["secret", "min_ttl"]],
  ["/AccessToken/clearXcx", { appid: WX.appId }, ["secret"]],
  ["/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent }, ["secret", "min_ttl"]],
  ["/AccessToken/getQyapi", { corpid: CORP, secret: WECOM.secret }, ["agentid", "min_ttl"]],
  ["/AccessToken/clearQyapi", { corpid: CORP }, ["secret", "agentid"]],
  ["/xcx/jscode2session", { appid: WX.appId, code: "sandbox-code-1" }, ["secret"]],
  [`/v1/apps/${WX.appId}/credentials/access_token`, {}, ["min_ttl"]],
];

test.each(QUERIES)("%s with %j takes an empty %j for an absent one", async (path, required, optional) => {
  await using world = await Harness.create();
  const { text, code } = await world.get(path, required);
  expect(code).toBe(0);
  for (const name of optional) {
    const answer = await world.get(path, { ...required, [name]: "" });
    expect(withoutTrace(answer.text)).toBe(withoutTrace(text));
  }
  const bare = [...Object.entries(required).map(([name, value]) => `${name}=${value}`), ...optional].join(
    "&",
  );
  expect(withoutTrace((await world.request(`${path}?${bare}`)).text)).toBe(withoutTrace(text));
});

test.each([
  ["/AccessToken/clearXcx", { appid: WX.appId }],
  ["/AccessToken/clearQyapi", { corpid: CORP }],
])("%s with an empty access_token clears nothing: it would clear only that one", async (path, required) => {
  await using world = await Harness.create();
  expect(await world.get(path, { ...required, access_token: "" })).toMatchObject({ code: 1 });
  expect(world.events.map(({ type }) => type)).not.toContain("credential.cleared");
});

const BODIES: readonly [path: string, required: Record<string, string>, optional: readonly string[]][] = [
  ["/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url: PAGE }, ["wx_app_secret"]],
  ["/AccessToken/getOauthAccessToken", { wx_app_id: WX.appId, code: "sandbox-code-1" }, ["wx_app_secret"]],
  [`/v1/apps/${WX.appId}/credentials/access_token/refresh`, {}, ["force"]],
  [`/v1/apps/${WX.appId}/signatures/card`, { for: "addCard", card_id: "p1" }, ["code", "openid", "balance"]],
];

test.each(BODIES)("%s with %j takes null and an empty %j for absent", async (path, required, optional) => {
  for (const empty of [null, ""]) {
    await using world = await Harness.create();
    const body = { ...required, ...Object.fromEntries(optional.map((name) => [name, empty])) };
    expect(await world.post(path, body)).toMatchObject({ code: 0 });
    for (const name of Object.keys(required)) {
      const answer = await world.post(path, { ...body, [name]: empty });
      expect(answer).toMatchObject({ code: 1, data: {} });
    }
  }
});

test("what administrators send is taken to the letter: an empty field is no absent one", async () => {
  await using world = await Harness.create();
  const init = { method: "POST", headers: { "content-type": "application/json" } };
  for (const networks of [null, ""]) {
    const body = JSON.stringify({ client: "a", environment: "dev", grants: [], networks });
    expect(await world.administer("/v1/clients", { ...init, body })).toMatchObject({ code: 1 });
  }
});

const HELD = `ww00000000000000cc_1000002, ww00000000000000cc_contacts, ${WX.appId}`;

test.each([
  ["/AccessToken/getXcx", { appid: "wxUnknown" }],
  ["/AccessToken/getQyapi", { corpid: "wwUnknown" }],
  ["/AccessToken/getQyapi", { corpid: CORP }],
  ["/AccessToken/getQyapi", { corpid: CORP, agentid: "1" }],
  ["/xcx/jscode2session", { appid: "wxUnknown", code: "sandbox-code-1" }],
])("%s with %j hints at the apps that are held", async (path, query) => {
  await using world = await Harness.create();
  const { msg, hint } = JSON.parse((await world.get(path, query)).text) as { msg: string; hint: string };
  expect(msg).toStartWith("缺少secret参数");
  expect(hint).toContain(HELD);
});

test("a hint names only apps that the client may see, and none where there are none", async () => {
  await using world = await Harness.create();
  const actions = ["token:read"] as const;
  const ask = async (name: string, apps: string[]) => {
    const key = await createClient(world, { name, grants: [{ apps, actions }] });
    const headers = { "x-api-key": key };
    return (await world.get("/AccessToken/getXcx", { appid: "wxUnknown" }, { headers })).text;
  };
  const some = await ask("some", ["wxUnknown", WX.appId]);
  expect(some).toContain(`你可用的应用：${WX.appId} (`);
  const none = await ask("none", ["wxUnknown"]);
  expect(none).toContain("accesstoken apps add");
  expect(none).not.toMatch(/ww0|wx0/);
});

function withoutTrace(text: string): string {
  return text.replace(/"trace_id":"[^"]*"/, "");
}
