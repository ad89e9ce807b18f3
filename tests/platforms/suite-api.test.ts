import { expect, test } from "bun:test";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { Gate } from "../../src/sandbox/fault.ts";
import { Secret } from "../../src/secret.ts";
import { Harness } from "../support/harness.ts";
import { failureOf } from "../support/refusals.ts";
import { CORP, MINUTE, OTHER_CORP, PROVIDER, SUITE, SuiteWorld, TEMPLATE } from "./suite-world.ts";

const { signal } = new AbortController();
const SUITE_TOKEN = "service/get_suite_token";

test("a suite's token needs the newest ticket, is asked for once, and again only when it has expired", async () => {
  await using it = await SuiteWorld.create();
  const waiting = await failureOf(it.token(SUITE, "suite_access_token"));
  expect([waiting.code, waiting.retryAfterMs]).toEqual(["unavailable", MINUTE]);
  expect(it.calls(SUITE_TOKEN)).toBe(0);

  await it.ticket();
  const token = await it.token(SUITE, "suite_access_token");
  for (const _ of Array(11)) {
    it.clock.advance(10 * MINUTE);
    await it.ticket();
    expect(await it.token(SUITE, "suite_access_token")).toBe(token);
  }
  it.clock.advance(10 * MINUTE);
  await it.ticket();
  expect(await it.token(SUITE, "suite_access_token")).not.toBe(token);
  expect(it.calls(SUITE_TOKEN)).toBe(2);
});

test("a ticket that WeCom calls dead blocks nothing: the next one brings the token", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  it.clock.advance(30 * MINUTE - 5000);
  it.sandbox.inject({
    kind: "error",
    errcode: 40085,
    endpoint: "/cgi-bin/service/get_suite_token",
    times: 3,
  });
  const dead = await failureOf(it.token(SUITE, "suite_access_token"));
  expect([dead.upstream?.errcode, dead.upstream?.class, dead.hint]).toEqual([
    40085,
    "transient",
    expect.stringContaining("suite_ticket"),
  ]);
  it.clock.advance(1000);
  await it.ticket();
  // The first caller learns of the failure once more, and has it looked whether it is over.
  await Harness.until(() =>
    it.token(SUITE, "suite_access_token").then(
      () => true,
      () => false,
    ),
  );
});

test("a provider's token is WeCom's own, and a wrong secret opens the circuit", async () => {
  await using it = await SuiteWorld.create();
  const token = await it.token(PROVIDER.corpId, "provider_access_token");
  expect(it.sandbox.accepts(token)).toBe(true);
  it.clock.advance(119 * MINUTE);
  expect(await it.token(PROVIDER.corpId, "provider_access_token")).toBe(token);
  it.clock.advance(2 * MINUTE);
  it.sandbox.inject({ kind: "error", errcode: 40091, times: 1 });
  for (const _ of Array(3)) {
    const { upstream } = await failureOf(it.token(PROVIDER.corpId, "provider_access_token"));
    expect([upstream?.errcode, upstream?.class]).toEqual([40091, "config"]);
  }
  expect(it.calls("service/get_provider_token")).toBe(2);
});

test("a suite's token that WeCom refuses although it has just issued it is asked for once more and tried once more", async () => {
  await using it = await SuiteWorld.create({ suiteTokenFlake: true });
  await it.ticket();
  const app = await it.install();
  expect(it.calls("service/v2/get_permanent_code")).toBe(2);
  expect(it.calls(SUITE_TOKEN)).toBe(2);
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);

  // One that is dead indeed is replaced.
  it.clock.advance(121 * MINUTE);
  await it.ticket();
  it.sandbox.switches.suiteTokenFlake = false;
  await it.token(SUITE, "suite_access_token");
  it.sandbox.killTokens(SUITE);
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);
  expect(it.calls(SUITE_TOKEN)).toBe(4);
});

test("a suite's token that WeCom repeats although it refuses it costs two calls, and the refusal is passed on", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  it.sandbox.killTokens(SUITE, { unnoticed: true });
  const { upstream } = await failureOf(it.token(app));
  expect([upstream?.errcode, upstream?.class]).toEqual([40082, "token_invalid"]);
  expect([it.calls("service/get_corp_token"), it.calls(SUITE_TOKEN)]).toEqual([2, 2]);
});

test("a login code of a suite is exchanged with its token, whichever corp the user is of, also where that is refused once", async () => {
  await using it = await SuiteWorld.create({ suiteTokenFlake: true });
  await it.ticket();
  const slot = it.slot(SUITE);
  const read = async (kind: "suite_user" | "suite_user_old_form" | "suite_mini_program", code: string) => {
    const { answer } = await it.login.wecom(kind, slot, new Secret(code), "alice");
    return JSON.parse(answer.reveal()) as Record<string, unknown>;
  };
  expect(await read("suite_user", "sandbox-code-external")).toMatchObject({
    errcode: 0,
    openid: expect.any(String),
  });
  expect(it.calls("service/auth/getuserinfo3rd")).toBe(2);
  await it.install();
  expect(await read("suite_user", "sandbox-code-2")).toMatchObject({
    corpid: CORP,
    userid: expect.any(String),
  });
  expect(await read("suite_user_old_form", "sandbox-code-3")).toMatchObject({ CorpId: CORP });
  expect(await read("suite_mini_program", "sandbox-code-4")).toMatchObject({
    session_key: expect.any(String),
  });
});

test("a corp's token comes by its permanent code with the suite's token, also where there is no errcode in the answer", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  expect(app).toBe(`${CORP}_${SUITE}`);
  const token = await it.token(app);
  expect([await it.token(app), it.sandbox.accepts(token)]).toEqual([token, true]);
  expect([it.calls("service/get_corp_token"), it.calls("gettoken")]).toEqual([1, 0]);
});

test("a corp that has ended its authorization is lost with the first refusal, but not where another code has come meanwhile", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate_before", gate, endpoint: "/cgi-bin/service/get_corp_token", times: 1 });
  const late = failureOf(it.token(app));
  await gate.arrived();
  await it.sandbox.suite(SUITE).cancelAuth(CORP, { isLost: true });
  await it.install();
  gate.open();
  expect((await late).upstream?.errcode).toBe(40084);
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);

  await it.sandbox.suite(SUITE).cancelAuth(CORP, { isLost: true });
  it.clock.advance(121 * MINUTE);
  await it.ticket();
  expect((await failureOf(it.token(app))).upstream?.errcode).toBe(40084);
  expect(it.find(app)?.authorization?.lostAt).toBe(it.clock.now());
  expect(it.slot(app).isDisabled).toBe(true);
});

test("a suite that is disabled keeps its corps' tokens from being requested", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  const options = { version: undefined, isVerified: false, actor: SERVICE };
  await it.first.administration.update(SUITE, { isDisabled: true }, options);
  expect((await failureOf(it.token(app))).code).toBe("unavailable");
  expect(it.calls("service/get_corp_token")).toBe(0);
});

test("trap 13, trap 14: an agency app has neither errcode nor token in its first answer, and its tokens come by gettoken alone", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(TEMPLATE);
  const app = await it.install(TEMPLATE);
  expect(it.find(app)).toMatchObject({
    managed: { title: "客户1" },
    authorization: { agentId: "1000020" },
  });
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);
  expect([it.calls("gettoken"), it.calls("service/get_corp_token")]).toEqual([1, 0]);
});

test("trap 15: a permanent code that was reset is sent once an hour at most, and the next one ends that at once", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(TEMPLATE);
  const app = await it.install(TEMPLATE);
  const other = await it.install(TEMPLATE, OTHER_CORP);
  await it.sandbox.suite(TEMPLATE).resetPermanentCode(CORP);
  for (const minutes of [0, 10, 20, 29]) {
    it.clock.advance(minutes * MINUTE);
    const { upstream } = await failureOf(it.token(app));
    expect([upstream?.errcode, upstream?.class]).toEqual([40001, "config"]);
  }
  expect(it.calls("gettoken")).toBe(1);
  expect(it.sandbox.accepts(await it.token(other))).toBe(true);

  // The event names no corp: its code says whose it is.
  await it.sandbox.suite(TEMPLATE).resetPermanentCode(CORP);
  await it.ticket(TEMPLATE);
  await it.authorizations.tick();
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);
  expect(it.calls("gettoken")).toBe(3);
});

test("a corp is described by its name and its agent, and its code is exchanged once", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const { authCode } = await it.sandbox.suite(SUITE).install(CORP);
  const protocol = it.protocol;
  const given = await protocol.exchange(it.slot(SUITE), new Secret(authCode), signal);
  expect([given.account, given.facts]).toEqual([CORP, {}]);
  expect(JSON.parse(given.text.reveal())).toMatchObject({ permanent_code: given.secret?.reveal() });
  const used = await failureOf(protocol.exchange(it.slot(SUITE), new Secret(authCode), signal));
  expect([used.upstream?.errcode, used.upstream?.class]).toEqual([40078, "input"]);
  expect(used.message).not.toContain(authCode);

  const secret = given.secret ?? new Secret("");
  const told = await protocol.describe(it.slot(SUITE), CORP, secret, signal);
  expect(told).toEqual({ account: CORP, secret, title: "客户1", facts: { agentId: "1000010" } });
  expect(await protocol.list(it.slot(SUITE), signal)).toBeUndefined();
  const wrong = await failureOf(protocol.describe(it.slot(SUITE), CORP, new Secret("x"), signal));
  expect([wrong.upstream?.errcode, wrong.upstream?.class]).toEqual([40084, "permission"]);
});

test("an answer without a permanent code, or with a corp that can be none, is no authorization", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const protocol = it.protocol;
  for (const fault of [
    { field: "permanent_code", value: "" },
    { field: "permanent_code" },
    { field: "auth_corp_info", value: { corpid: "../x" } },
  ]) {
    const { authCode } = await it.sandbox.suite(SUITE).install(CORP);
    const endpoint = "/cgi-bin/service/v2/get_permanent_code";
    it.sandbox.inject({ kind: "field", ...fault, endpoint, times: 1 });
    const failure = await failureOf(protocol.exchange(it.slot(SUITE), new Secret(authCode), signal));
    expect(failure.code).toBe("upstream_invalid");
  }
});

test("each install link has a code of its own and says where to return; a test says so to WeCom", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const request = {
    origin: it.sandbox.wecomUrl,
    redirectUri: "https://a.example/back?x=1",
    state: "s1",
    isTest: false,
  };
  const link = (change = {}) => it.links.installUrl(it.slot(SUITE), { ...request, ...change }, signal);
  const [first, second] = [await link(), await link({ isTest: true })];
  expect(it.calls("service/set_session_info")).toBe(1);
  const code = (url: string) => new URL(url).searchParams.get("pre_auth_code");
  expect(code(first)).not.toBe(code(second));
  expect(await (await fetch(second)).text()).toContain(CORP);
});

test("a link to agency apps comes with the provider's token, for the templates that it names", async () => {
  await using it = await SuiteWorld.create();
  const asked = { state: "s2", templates: [TEMPLATE] };
  const { url, lifeMs } = await it.links.agencyUrl(it.slot(PROVIDER.corpId), asked, signal);
  expect(lifeMs).toBe(10 * 24 * 60 * MINUTE);
  expect(await (await fetch(url)).text()).toContain(CORP);
});
