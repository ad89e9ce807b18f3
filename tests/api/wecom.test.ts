import { expect, test } from "bun:test";
import { type Answer, CORP, WECOM, WECOM_CONTACTS, WECOM_FOREIGN, Harness } from "../support/harness.ts";

const LONELY = {
  corpId: "ww00000000000000dd",
  agent: "5",
  secret: "wecomSecretOfTheOnlyAgent-ddddddddddddddddd",
};

function setup(): Promise<Harness> {
  return Harness.create({
    sandbox: { wecomApps: [WECOM, WECOM_CONTACTS, WECOM_FOREIGN, LONELY] },
    environment: { [`WECOM_SECRET_${LONELY.corpId}_${LONELY.agent}`]: LONELY.secret },
  });
}

function get(world: Harness, query: Record<string, string>): Promise<Answer> {
  return world.get("/AccessToken/getQyapi", { corpid: CORP, ...query });
}

async function tokenOf(world: Harness, query: Record<string, string>): Promise<string> {
  const answer = await get(world, query);
  expect(answer.code).toBe(0);
  return String(answer.data["access_token"]);
}

test("each secret of a corp has a token of its own, by agentid, by label or by secret", async () => {
  await using world = await setup();
  const byAgent = await tokenOf(world, { agentid: WECOM.agent });
  const byLabel = await tokenOf(world, { agentid: WECOM_CONTACTS.agent });
  const foreign = await tokenOf(world, { secret: WECOM_FOREIGN.secret });
  expect(new Set([byAgent, byLabel, foreign]).size).toBe(3);
  expect(await tokenOf(world, { secret: WECOM.secret })).toBe(byAgent);
  expect(await tokenOf(world, { secret: WECOM_CONTACTS.secret })).toBe(byLabel);
  expect(await tokenOf(world, { secret: WECOM.secret, agentid: WECOM.agent })).toBe(byAgent);
  expect(world.sandbox.calls("/cgi-bin/gettoken")).toBe(3);
});

test("a corp with one configured secret needs neither secret nor agentid", async () => {
  await using world = await setup();
  expect((await get(world, { corpid: LONELY.corpId })).code).toBe(0);
});

test("a corp with several configured secrets and nothing that decides is code 1", async () => {
  await using world = await setup();
  const answer = await get(world, {});
  expect(answer.code).toBe(1);
  expect(answer.msg).toStartWith("缺少secret参数");
  expect(world.sandbox.calls()).toBe(0);
});

test("an agentid that contradicts the secret is code 1, and nobody is asked", async () => {
  await using world = await setup();
  const answer = await get(world, { secret: WECOM.secret, agentid: WECOM_CONTACTS.agent });
  expect([answer.code, answer.data]).toEqual([1, {}]);
  expect(answer.msg).toContain("agentid");
  const unknown = await get(world, { secret: WECOM.secret, agentid: "777" });
  expect(unknown.code).toBe(1);
  expect(world.sandbox.calls()).toBe(0);
});

test("a secret of another corp opens nothing in this one", async () => {
  await using world = await setup();
  const answer = await get(world, { secret: LONELY.secret });
  expect([answer.code, answer.data]).toEqual([40001, {}]);
});

test("clearing one agent leaves the other agents' tokens alone; clearing the corp takes all", async () => {
  await using world = await setup();
  await tokenOf(world, { agentid: WECOM.agent });
  await tokenOf(world, { agentid: WECOM_CONTACTS.agent });
  await tokenOf(world, { secret: WECOM_FOREIGN.secret });
  const clear = (query: Record<string, string>) =>
    world.get("/AccessToken/clearQyapi", { corpid: CORP, ...query });
  const costOfAll = async () => {
    world.sandbox.resetCalls();
    await tokenOf(world, { agentid: WECOM.agent });
    await tokenOf(world, { agentid: WECOM_CONTACTS.agent });
    await tokenOf(world, { secret: WECOM_FOREIGN.secret });
    return world.sandbox.calls("/cgi-bin/gettoken");
  };
  expect((await clear({ agentid: WECOM.agent })).code).toBe(0);
  expect(await costOfAll()).toBe(1);
  world.clock.advance(10_000);
  expect((await clear({ secret: WECOM_FOREIGN.secret })).code).toBe(0);
  expect(await costOfAll()).toBe(1);
  world.clock.advance(10_000);
  expect((await clear({})).code).toBe(0);
  expect(await costOfAll()).toBe(3);
});

test("a corp with a base URL of its own gets tokens and calls from there", async () => {
  await using world = await Harness.create();
  await world.stop();
  const nowhere = "http://127.0.0.1:1";
  await world.start({ WECOM_BASE_URL: nowhere, [`WECOM_BASE_URL_${CORP}`]: world.sandbox.wecomUrl });
  const token = await tokenOf(world, { agentid: WECOM.agent });
  const called = await fetch(`${world.service.url}/cgi-bin/getcallbackip?access_token=${token}`);
  expect(await called.json()).toMatchObject({ errcode: 0 });
  expect((await get(world, { corpid: LONELY.corpId, secret: LONELY.secret })).msg).toContain("ECONNREFUSED");
});
