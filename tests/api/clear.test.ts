import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { createClient } from "../support/access-harness.ts";
import { addAuthorized, COMPONENT } from "../support/platforms.ts";
import { type Answer, CORP, WECOM, Harness, type WorldOptions, WX } from "../support/harness.ts";

const STABLE = "/cgi-bin/stable_token";
const NEW_SECRET = "rotated-this-morning";
const CLASSIC_MODE: WorldOptions = { environment: { WEIXIN_TOKEN_MODE: "classic" } };

function get(world: Harness, query: Record<string, string> = {}): Promise<Answer> {
  return world.get("/AccessToken/getXcx", { appid: WX.appId, ...query });
}

function clear(world: Harness, query: Record<string, string> = {}): Promise<Answer> {
  return world.get("/AccessToken/clearXcx", { appid: WX.appId, ...query });
}

/** A world with a token of the configured slot and one of a caller's own secret, both of the same app. */
async function setupTwoSlots(): Promise<Harness> {
  const world = await Harness.create(CLASSIC_MODE);
  expect((await get(world)).code).toBe(0);
  world.sandbox.changeWeixinApp(WX.appId, { secret: NEW_SECRET });
  expect((await get(world, { secret: NEW_SECRET })).code).toBe(0);
  world.sandbox.changeWeixinApp(WX.appId, { secret: WX.secret });
  world.sandbox.resetCalls();
  return world;
}

test("clear answers code 0 and never asks upstream, also when there is nothing to clear", async () => {
  await using world = await Harness.create();
  const answers = [
    await clear(world),
    await clear(world, { secret: "unknown-secret" }),
    await clear(world, { appid: "wxNobodyKnows" }),
    await clear(world, { access_token: "70_nobody_knows_this_token" }),
    await world.get("/AccessToken/clearQyapi", { corpid: CORP }),
    await world.get("/AccessToken/clearQyapi", { corpid: "wwNobodyKnows" }),
    await world.get("/AccessToken/clearQyapi", { corpid: CORP, agentid: WECOM.agent }),
    await world.get("/AccessToken/clearQyapi", { corpid: CORP, agentid: "nobody" }),
    await world.get("/AccessToken/clearQyapi", { corpid: CORP, secret: "unknown-secret" }),
  ];
  for (const { code, msg, data } of answers) {
    expect({ code, msg, data }).toEqual({ code: 0, msg: "success", data: {} });
  }
  expect(world.sandbox.calls()).toBe(0);
});

test("after a clear the next get asks WeChat, which in stable mode may hand out the same token", async () => {
  await using world = await Harness.create();
  const before = await get(world);
  await clear(world);
  expect(world.sandbox.calls(STABLE)).toBe(1);
  expect((await get(world)).data).toEqual(before.data);
  expect(world.sandbox.calls(STABLE)).toBe(2);
});

test("after a clear the next get of a classic app brings a new token", async () => {
  await using world = await Harness.create(CLASSIC_MODE);
  const before = await get(world);
  await clear(world);
  const after = await get(world);
  expect(after.code).toBe(0);
  expect(after.data["access_token"]).not.toBe(before.data["access_token"]);
});

test("clear with a secret forgets that slot and leaves the app's others alone", async () => {
  await using world = await setupTwoSlots();
  expect((await clear(world, { secret: NEW_SECRET })).code).toBe(0);
  await get(world);
  expect(world.sandbox.calls()).toBe(0);
  await get(world, { secret: NEW_SECRET });
  expect(world.sandbox.calls(STABLE)).toBe(1);
});

test("clear with the configured secret leaves a caller's own slot alone", async () => {
  await using world = await setupTwoSlots();
  expect((await clear(world, { secret: WX.secret })).code).toBe(0);
  await get(world, { secret: NEW_SECRET });
  expect(world.sandbox.calls()).toBe(0);
  await get(world);
  expect(world.sandbox.calls("/cgi-bin/token")).toBe(1);
});

test("clear without a secret forgets every slot of the app", async () => {
  await using world = await setupTwoSlots();
  expect((await clear(world)).code).toBe(0);
  await get(world);
  world.sandbox.changeWeixinApp(WX.appId, { secret: NEW_SECRET });
  await get(world, { secret: NEW_SECRET });
  expect([world.sandbox.calls("/cgi-bin/token"), world.sandbox.calls(STABLE)]).toEqual([1, 1]);
});

test("clear forgets tokens that were fetched before a restart as well", async () => {
  await using world = await setupTwoSlots();
  await world.stop();
  await world.start();
  expect((await clear(world)).code).toBe(0);
  await get(world);
  expect(world.sandbox.calls("/cgi-bin/token")).toBe(1);
});

test("clear forgets tokens and keeps tickets", async () => {
  await using world = await Harness.create();
  const sign = () => world.post("/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url: "https://example.com/" });
  await sign();
  expect((await clear(world)).code).toBe(0);
  expect((await sign()).code).toBe(0);
  expect([world.sandbox.calls(STABLE), world.sandbox.calls("/cgi-bin/ticket/getticket")]).toEqual([1, 1]);
});

test("clear with access_token clears only where that is the current value", async () => {
  await using world = await Harness.create();
  const access_token = String((await get(world)).data["access_token"]);
  expect((await clear(world, { access_token: `${access_token}x` })).code).toBe(0);
  await get(world);
  expect(world.sandbox.calls(STABLE)).toBe(1);
  expect((await clear(world, { access_token })).code).toBe(0);
  await get(world);
  expect(world.sandbox.calls(STABLE)).toBe(2);
});

test("clear with the value of one slot leaves the app's other slots alone", async () => {
  await using world = await setupTwoSlots();
  const other = await get(world, { secret: NEW_SECRET });
  expect((await clear(world, { access_token: String(other.data["access_token"]) })).code).toBe(0);
  await get(world);
  expect(world.sandbox.calls()).toBe(0);
});

test("a second effective clear within ten seconds is code 429 and changes nothing", async () => {
  await using world = await Harness.create(CLASSIC_MODE);
  await get(world);
  expect((await clear(world)).code).toBe(0);
  const second = await get(world);
  world.clock.advance(9_999);
  const refused = await clear(world);
  expect([refused.code, refused.data]).toEqual([429, {}]);
  expect((await clear(world, { secret: WX.secret })).code).toBe(429);
  const access_token = String(second.data["access_token"]);
  expect((await clear(world, { access_token })).code).toBe(429);
  expect((await get(world)).data["access_token"]).toBe(access_token);
  world.clock.advance(1);
  expect((await clear(world)).code).toBe(0);
  expect((await get(world)).data["access_token"]).not.toBe(access_token);
});

test("a clear that has nothing to clear is code 0, however soon it comes", async () => {
  await using world = await Harness.create();
  await get(world);
  for (let n = 0; n < 3; n++) expect((await clear(world)).code).toBe(0);
});

test("the interval after a clear is that credential's own", async () => {
  await using world = await setupTwoSlots();
  expect((await clear(world, { secret: WX.secret })).code).toBe(0);
  expect((await clear(world, { secret: NEW_SECRET })).code).toBe(0);
});

test("P2: who asks after a clear gets no answer that WeChat was asked for before it", async () => {
  await using world = await Harness.create(CLASSIC_MODE);
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, endpoint: "/cgi-bin/token", times: 1 });
  const early = get(world);
  await gate.arrived();
  const cleared = await clear(world);
  const late = get(world);
  gate.open();
  expect(cleared.code).toBe(0);
  const [first, second] = await Promise.all([early, late]);
  expect(world.sandbox.calls("/cgi-bin/token")).toBe(2);
  expect(second.data["access_token"]).toBe(first.data["access_token"]);
  expect((await get(world)).data["access_token"]).toBe(second.data["access_token"]);
});

test("P7: a clear is recorded with the address that it came from", async () => {
  await using world = await Harness.create();
  await get(world);
  await clear(world);
  expect(world.events.filter(({ type }) => type === "credential.cleared")).toEqual([
    {
      type: "credential.cleared",
      key: `weixin:${WX.appId}:stable:access_token`,
      address: "127.0.0.1",
    },
  ]);
});

test("P7: a client of an account clears nothing of the app of that AppID that is held directly", async () => {
  await using world = await Harness.create();
  const name = await addAuthorized(world, WX.appId, COMPONENT.id);
  await Harness.until(async () => (await world.administer(`/v1/apps/${name}`)).status === 200);
  const apiKey = await createClient(world, {
    name: "shop",
    grants: [{ apps: [name], actions: ["token:clear"] }],
  });
  await get(world);
  for (const appid of [WX.appId, name]) {
    const headers = { "x-api-key": apiKey };
    const { code } = await world.request(`/AccessToken/clearXcx?appid=${appid}`, { headers });
    expect(code).toBe(0);
  }
  await get(world);
  expect(world.sandbox.calls(STABLE)).toBe(1);
});
