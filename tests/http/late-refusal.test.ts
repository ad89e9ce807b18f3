import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import { WX_FOREIGN } from "../support/harness.ts";

const APP = `/v1/apps/${WX_FOREIGN.appId}`;
const TOKEN = `${APP}/credentials/access_token`;

test("P4: a refusal of the old secret that comes after the new one was set does not block the app", async () => {
  await using at = await ManagingHarness.create();
  const wrong = { platform: "weixin", app_id: WX_FOREIGN.appId, secret: "a-wrong-secret" };
  expect((await at.ask("POST", "/v1/apps", wrong)).status).toBe(201);
  const gate = new Gate();
  at.world.sandbox.inject({ kind: "gate", gate, times: 1 });
  const late = at.ask("GET", TOKEN);
  await gate.arrived();
  expect((await at.ask("PATCH", APP, { secret: WX_FOREIGN.secret })).status).toBe(200);
  gate.open();

  expect((await late).code).toBe(40125);
  expect((await at.ask("GET", TOKEN)).status).toBe(200);
});

test("a secret that WeChat refused for another reason is verified anew at once", async () => {
  await using at = await ManagingHarness.create();
  const app = { platform: "weixin", app_id: WX_FOREIGN.appId, secret: WX_FOREIGN.secret, verify: true };
  at.world.sandbox.inject({ kind: "error", errcode: 40164, errmsg: "invalid ip 203.0.113.7", times: 1 });
  expect((await at.ask("POST", "/v1/apps", app)).code).toBe(40164);
  expect((await at.ask("POST", "/v1/apps", app)).status).toBe(201);
});

test("secrets are verified twenty times a minute at most, because WeCom bans who sends wrong ones", async () => {
  await using at = await ManagingHarness.create();
  const app = { platform: "weixin", app_id: WX_FOREIGN.appId, secret: "wrong", verify: true };
  for (let times = 0; times < 20; times++) expect((await at.ask("POST", "/v1/apps", app)).code).toBe(40125);
  const calls = at.world.sandbox.calls();
  const refused = await at.ask("POST", "/v1/apps", app);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "60"]);
  expect(at.world.sandbox.calls()).toBe(calls);
  at.world.clock.advance(60_000);
  expect((await at.ask("POST", "/v1/apps", app)).code).toBe(40125);
});
