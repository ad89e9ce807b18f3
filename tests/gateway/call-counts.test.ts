import { expect, test } from "bun:test";
import { Harness } from "../support/harness.ts";
import { GatewayHarness, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const SEND = "/cgi-bin/message/custom/send";

/** What the audit tells once everything that was counted is written down. */
async function countsOf(world: Harness, path: string): Promise<Record<string, unknown>[]> {
  await world.stop();
  await world.start();
  const { data } = await world.administer(path);
  const counts = (data["usage"] ?? data["denials"]) as Record<string, unknown>[];
  return counts.map(({ minute: _minute, environment: _environment, ...count }) => count);
}

test("P7: calls are counted by client, app and family, and action=api:call finds them all", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const [token, wecom] = [await it.token(), await it.token(WECOM_APP)];
  await it.send(`${INFO}?access_token=${token}`);
  await it.send(`/cgi-bin/user/info?openid=nobody&access_token=${token}`);
  await it.send(`/gateway/${WECOM_APP}/cgi-bin/department/list`, { headers: { "x-api-key": it.key } });
  await it.send(`/cgi-bin/department/list?access_token=${wecom}`);
  // Its answer is lost: it may have been carried out, and is accounted for.
  it.sandbox.inject({ kind: "reset_after", endpoint: SEND, times: 1 });
  await it.post(`${SEND}?access_token=${token}`, {});
  await it.send("/sns/userinfo?access_token=x&openid=y", { headers: { "x-api-key": it.key } });
  const counts = await countsOf(it.world, "/v1/audit/usage?action=api:call");
  const call = (family: string, app: string, count: number) => ({
    client: "program",
    action: `api:call ${family}`,
    app,
    count,
  });
  expect(counts).toBeArrayOfSize(4);
  expect(counts).toEqual(
    expect.arrayContaining([
      call("/cgi-bin/user", WX_APP, 2),
      call("/cgi-bin/department", WECOM_APP, 2),
      call("/cgi-bin/message", WX_APP, 1),
      call("/sns", "*", 1),
    ]) as typeof counts,
  );
  const tokens = await countsOf(it.world, "/v1/audit/usage?action=token:read");
  expect(tokens.map(({ action }) => action)).toEqual(["token:read", "token:read"]);
});

test("P7: what was certainly not sent is not counted as a call", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  await it.sandbox.stop();
  expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBe(-1);
  expect(await countsOf(it.world, "/v1/audit/usage?action=api:call")).toEqual([]);
});

test("P7: the use of a real token is counted by address, and found by it", async () => {
  await using it = await GatewayHarness.create();
  await it.send(`${INFO}?access_token=${await it.token()}`);
  const client = "(access token 127.0.0.1)";
  const query = new URLSearchParams({ client, action: "api:call" }).toString();
  expect(await countsOf(it.world, `/v1/audit/usage?${query}`)).toEqual([
    { client, action: "api:call /cgi-bin/user", app: WX_APP, count: 1 },
  ]);
});

test("P7: what a policy refuses, or the gateway is closed to, is among the denials with the path's family as route", async () => {
  await using it = await GatewayHarness.create({ client: { policy: { preset: "no-messaging" } } });
  const token = await it.token();
  await it.post(`${SEND}?access_token=${token}`, {});
  await it.post(`/gateway/${WX_APP}${SEND}`, {}, { headers: { "x-api-key": it.key } });
  await it.post(`/cgi-bin/openapi/rid/get?access_token=${token}`, {});
  await it.post(`/wxa/made-up?access_token=${token}&component_access_token=x`, {});
  const counts = await countsOf(it.world, "/v1/audit/denials?client=program");
  const refusal = (route: string, count: number) => ({
    address: "127.0.0.1",
    client: "program",
    route,
    code: 48001,
    count,
  });
  expect(counts).toBeArrayOfSize(3);
  expect(counts).toEqual(
    expect.arrayContaining([
      refusal("/cgi-bin/message/**", 2),
      refusal("/cgi-bin/openapi/**", 1),
      refusal("/wxa/**", 1),
    ]) as typeof counts,
  );
  // What was refused was not used.
  expect(await countsOf(it.world, "/v1/audit/usage?action=api:call")).toEqual([]);
});
