import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { rawGet } from "../support/raw-http.ts";
import { type Answer, Harness, type WorldOptions, WX, WX_FOREIGN } from "../support/harness.ts";

interface Who {
  appid?: string;
  secret?: string;
}

interface Flow {
  name: string;
  endpoint: string;
  login: (world: Harness, code: string, who?: Who) => Promise<Answer>;
}

const OAUTH: Flow = {
  name: "getOauthAccessToken",
  endpoint: "/sns/oauth2/access_token",
  login: (world, code, { appid = WX.appId, secret } = {}) =>
    world.post("/AccessToken/getOauthAccessToken", {
      wx_app_id: appid,
      ...(secret ? { wx_app_secret: secret } : {}),
      code,
    }),
};
const MINI_PROGRAM: Flow = {
  name: "jscode2session",
  endpoint: "/sns/jscode2session",
  login: (world, code, { appid = WX.appId, secret } = {}) =>
    world.get("/xcx/jscode2session", { appid, ...(secret ? { secret } : {}), code }),
};
const FLOWS = [OAUTH, MINI_PROGRAM];

const CODE = "sandbox-code-1";

function setup(options: WorldOptions = {}): Promise<Harness> {
  return Harness.create(options);
}

test("OAuth gives unionid and is_snapshotuser only where WeChat does", async () => {
  await using world = await setup();
  const always = ["access_token", "expires_in", "refresh_token", "openid", "scope"];
  const fields = async (code: string) => Object.keys((await OAUTH.login(world, code)).data);
  expect(await fields("sandbox-code-plain")).toEqual(always);
  expect(await fields("sandbox-code-union")).toEqual([...always, "unionid"]);
  expect(await fields("sandbox-code-snapshot")).toEqual([...always, "is_snapshotuser"]);
  const { data } = await OAUTH.login(world, "sandbox-code-union-snapshot-base");
  expect(Object.keys(data)).toEqual([...always, "unionid", "is_snapshotuser"]);
  expect([data["expires_in"], data["is_snapshotuser"], data["scope"]]).toEqual([7200, 1, "snsapi_base"]);
});

test("jscode2session gives an empty unionid where WeChat gives none", async () => {
  await using world = await setup();
  const without = await MINI_PROGRAM.login(world, "sandbox-code-plain");
  expect(without.data).toEqual({
    openid: expect.stringMatching(/^o/),
    unionid: "",
    session_key: expect.stringMatching(/^.{22}==$/),
  });
  const given = await MINI_PROGRAM.login(world, "sandbox-code-union");
  expect(given.data["unionid"]).toMatch(/^o.+/);
});

test.each(FLOWS)("$name: repeated within 10 s, a code gets the same answer from one call", async (flow) => {
  await using world = await setup();
  const first = await flow.login(world, CODE);
  expect(first.code).toBe(0);
  world.clock.advance(9_999);
  expect((await flow.login(world, CODE)).data).toEqual(first.data);
  expect((await flow.login(world, CODE, { secret: WX.secret })).data).toEqual(first.data);
  expect(world.sandbox.calls(flow.endpoint)).toBe(1);
});

test.each(FLOWS)("$name: sent many times at once, a code costs one call", async (flow) => {
  await using world = await setup();
  const answers = await Promise.all(Array.from({ length: 50 }, () => flow.login(world, CODE)));
  expect(new Set(answers.map(({ data }) => JSON.stringify(data))).size).toBe(1);
  expect(answers[0]?.code).toBe(0);
  expect(world.sandbox.calls(flow.endpoint)).toBe(1);
});

test.each(FLOWS)("$name: after 10 s a used code is WeChat's 40163", async (flow) => {
  await using world = await setup();
  await flow.login(world, CODE);
  world.clock.advance(10_001);
  const answer = await flow.login(world, CODE);
  expect([answer.code, answer.data]).toEqual([40163, {}]);
  expect(answer.msg).toStartWith("code been used");
});

test.each(FLOWS)("$name: each code, app and kind of login has an answer of its own", async (flow) => {
  await using world = await setup();
  const other = { appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret };
  const answers = [
    await flow.login(world, CODE),
    await flow.login(world, "sandbox-code-2"),
    await flow.login(world, CODE, other),
  ];
  expect(answers.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(new Set(answers.map(({ data }) => data["openid"])).size).toBe(3);
});

test.each(FLOWS)("$name: a caller with another secret does not get the first one's answer", async (flow) => {
  await using world = await setup();
  await flow.login(world, CODE);
  const answer = await flow.login(world, CODE, { secret: "not-the-secret" });
  expect([answer.code, answer.data]).toEqual([40125, {}]);
});

test("a caller at another address does not get the first one's answer", async () => {
  await using world = await setup();
  await MINI_PROGRAM.login(world, CODE);
  const path = `/xcx/jscode2session?appid=${WX.appId}&code=${CODE}`;
  const answer = await rawGet(world.service.url, path, ["Host: localhost"], "127.0.0.2");
  expect(JSON.parse(answer.body)).toMatchObject({ code: 40163, data: {} });
});

test.each(FLOWS)("$name: a login whose answer was lost is never sent again", async (flow) => {
  await using world = await setup();
  // Leaves connections behind: on one of those, fetch would send a lost GET again without a word.
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  for (const code of ["sandbox-code-2", "sandbox-code-3"])
    expect((await flow.login(world, code)).code).toBe(0);
  world.sandbox.resetCalls();
  world.sandbox.inject({ kind: "reset_after", endpoint: flow.endpoint, times: Number.POSITIVE_INFINITY });
  expect((await flow.login(world, CODE)).code).toBe(502);
  expect(world.sandbox.calls(flow.endpoint)).toBe(1);
});

test.each(FLOWS)(
  "$name: neither is one that WeChat was too busy for, or did not understand",
  async (flow) => {
    await using world = await setup();
    const { endpoint } = flow;
    world.sandbox.inject({ kind: "error", errcode: -1, endpoint, times: 1 });
    expect((await flow.login(world, CODE)).code).toBe(-1);
    world.sandbox.inject({ kind: "http", status: 502, endpoint, times: 1 });
    expect((await flow.login(world, CODE)).code).toBe(502);
    expect(world.sandbox.calls(endpoint)).toBe(2);
    expect((await flow.login(world, CODE)).code).toBe(0);
  },
);

test.each(FLOWS)("$name: a time-out is not remembered, the next call asks WeChat", async (flow) => {
  await using world = await setup({ upstreamMs: { attempt: 1500, total: 3000 } });
  const { sandbox } = world;
  const gate = new Gate();
  sandbox.inject({ kind: "gate_before", gate, endpoint: flow.endpoint, times: 1 });
  expect((await flow.login(world, CODE)).code).toBe(504);
  expect(sandbox.calls(flow.endpoint)).toBe(1);
  await flow.login(world, CODE);
  expect(sandbox.calls(flow.endpoint)).toBe(2);
});

test.each(FLOWS)(
  "$name: WeChat's word about a bad code is repeated for 10 s and then asked for anew",
  async (flow) => {
    await using world = await setup();
    for (let n = 0; n < 3; n++) expect((await flow.login(world, "no-code-of-ours")).code).toBe(40029);
    expect(world.sandbox.calls(flow.endpoint)).toBe(1);
    world.clock.advance(10_001);
    expect((await flow.login(world, "no-code-of-ours")).code).toBe(40029);
    expect(world.sandbox.calls(flow.endpoint)).toBe(2);
  },
);

test("one code is a different thing to web pages and to Mini Programs", async () => {
  await using world = await setup();
  const web = await OAUTH.login(world, CODE);
  expect(web.code).toBe(0);
  expect((await MINI_PROGRAM.login(world, CODE)).data).not.toEqual(web.data);
  expect([world.sandbox.calls(OAUTH.endpoint), world.sandbox.calls(MINI_PROGRAM.endpoint)]).toEqual([1, 1]);
});
