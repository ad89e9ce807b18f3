import { expect, test } from "bun:test";
import { COMPONENT, holdPlatforms, nameOf, OFFICIAL, PLATFORM_SANDBOX } from "../support/platform-world.ts";
import { DropinHarness } from "./dropin-harness.ts";

test("x", async () => {
  await using it = await DropinHarness.create({ sandbox: PLATFORM_SANDBOX });
  await holdPlatforms(it.world);
  const key = await it.key("prod");
  const a = await it.ask("/cgi-bin/component/api_component_token", {
    body: { component_appid: COMPONENT.appId, component_appsecret: key, component_verify_ticket: "x" },
  });
  console.log(a.text);
  const ct = a.body["component_access_token"];
  const { code } = await it.sandbox.component(COMPONENT.appId).authorize(OFFICIAL);
  const q = await it.ask("/cgi-bin/component/api_query_auth", {
    query: { component_access_token: ct },
    body: { component_appid: COMPONENT.appId, authorization_code: code },
  });
  console.log(q.text);
  const t = await it.ask("/cgi-bin/component/api_authorizer_token", {
    query: { component_access_token: ct },
    body: { component_appid: COMPONENT.appId, authorizer_appid: OFFICIAL, authorizer_refresh_token: q.body["authorization_info"].authorizer_refresh_token },
  });
  console.log(t.text, nameOf(OFFICIAL));
  const l = await it.ask("/cgi-bin/component/api_get_authorizer_list", {
    query: { component_access_token: ct },
    body: { component_appid: COMPONENT.appId, offset: 0, count: 10 },
  });
  console.log(l.text);
  const l2 = await it.ask("/cgi-bin/component/api_get_authorizer_info", {
    query: { component_access_token: ct },
    body: { component_appid: COMPONENT.appId, authorizer_appid: OFFICIAL },
  });
  console.log(l2.text);
  expect(1).toBe(1);
});
