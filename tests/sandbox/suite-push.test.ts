import { expect, test } from "bun:test";

import { Harness } from "../support/harness.ts";
import { defaultSwitches } from "../../src/sandbox/sandbox-settings.ts";
import { MINUTE } from "./sandbox-harness.ts";
import { CORP, PROVIDER, SUITE, SuiteHarness } from "./suite-harness.ts";

test("both URLs are asked in the name of the provider, and are pushed to in the suite's and the corp's", async () => {
  await using it = new SuiteHarness();
  await Harness.until(async () => (await it.suite.check("command")).accepted);
  await Harness.until(async () => (await it.suite.check("data")).accepted);
  expect(it.suite.pushAttempts("check")).toBeGreaterThan(1);
  await it.suite.pushEvent("change_contact", { AuthCorpId: CORP, ChangeType: "create_user" });
  await it.suite.pushData(CORP, { MsgType: "text", Content: "好", FromUserName: "user-1" });
  await it.suite.pushData(CORP, { MsgType: "event", Event: "x" }, { hasNoReceiveId: true });
  expect(it.received).toMatchObject([
    { path: `/${SUITE}/command`, receiveId: SUITE, outer: SUITE },
    { path: `/${SUITE}/data/${CORP}`, receiveId: CORP, outer: CORP },
    { path: `/${SUITE}/data/${CORP}`, receiveId: "", outer: CORP },
  ]);
  expect(it.received[0]?.text).toMatch(
    /^<xml><SuiteId>.*<InfoType>.*<TimeStamp>\d{10}<\/TimeStamp><AuthCorpId>.*<ChangeType>.*<\/xml>$/,
  );
});

test.each([
  ["suite", SUITE, SUITE],
  ["provider_outside", PROVIDER.corpId, SUITE],
  ["provider", PROVIDER.corpId, PROVIDER.corpId],
] as const)(
  "create_auth can name the suite or its provider: %s",
  async (createAuthNames, outer, receiveId) => {
    await using it = new SuiteHarness({ createAuthNames });
    await it.suite.install(CORP, { state: "abc" });
    expect(it.received.at(-1)).toMatchObject({ outer, receiveId });
    expect([it.last("SuiteId"), it.last("State")]).toEqual([SUITE, "abc"]);
    await it.suite.pushTicket();
    expect(it.received.at(-1)).toMatchObject({ outer: SUITE, receiveId: SUITE });
  },
);

test.each([
  ["", 200],
  ["success\n", 200],
  ['{"code":0}', 200],
  ["success", 500],
])("a ticket is not accepted when the answer is %j with status %d, and still works", async (body, status) => {
  await using it = new SuiteHarness();
  it.answer = () => new Response(body, { status });
  const { accepted, attempts, ticket } = await it.suite.pushTicket();
  expect([accepted, attempts.length, it.suite.pushAttempts("suite_ticket")]).toEqual([false, 3, 3]);
  expect((await it.suiteToken(ticket)).json["suite_access_token"]).toBeString();
});

test("an answer to a command event that takes longer than a second is late", async () => {
  const { commandTimeoutMs } = defaultSwitches;
  expect(commandTimeoutMs).toBe(1000);
  await using it = new SuiteHarness({ commandTimeoutMs });
  it.answer = () => new Promise<Response>(() => undefined);
  const { attempts } = await it.suite.pushTicket({ attempts: 1 });
  expect(attempts).toMatchObject([{ verdict: "late" }]);
});

test("nothing is pushed where no URL is set, and nothing for what is lost or not installed", async () => {
  await using it = new SuiteHarness();
  it.template.setUrls({ commandUrl: undefined });
  expect(await it.template.pushTicket()).toMatchObject({ accepted: false, attempts: [] });
  await it.suite.install(CORP, { redirectUri: "https://a.example/" });
  await it.suite.install(CORP, { send: "neither" });
  await it.suite.cancelAuth(CORP, { isLost: true });
  expect(it.received).toEqual([]);
  expect(it.suite.permanentCodeOf(CORP)).toBeUndefined();
  expect(() => it.suite.changeAuth(CORP)).toThrow("not installed");
  expect(it.suite.install("ww-nobody")).rejects.toThrow("ww-nobody");
  expect(it.suite.resetPermanentCode(CORP)).rejects.toThrow("agency");
  expect(() => it.sandbox.suite("ww-nobody")).toThrow("ww-nobody");
});

test("an installation that is both pushed and redirected has one code", async () => {
  await using it = new SuiteHarness();
  const redirectUri = "https://a.example/back";
  const { authCode, redirect } = await it.suite.install(CORP, { send: "both", redirectUri, state: "s" });
  expect(it.last("AuthCode")).toBe(authCode);
  expect(new URL(redirect ?? "").searchParams.get("auth_code")).toBe(authCode);
});

test("an agency app is announced by push also when it was ordered from the provider's own site", async () => {
  await using it = new SuiteHarness();
  const { push, redirect } = await it.template.install(CORP, { redirectUri: "https://a.example/back" });
  expect([push?.accepted, redirect]).toEqual([true, undefined]);
});

test("tickets come at once and every ten minutes of the sandbox's time, until they are stopped", async () => {
  await using it = new SuiteHarness();
  const sent = () => [it.template.pushAttempts("suite_ticket"), it.suite.pushAttempts("suite_ticket")];
  const become = (template: number, suite: number) =>
    Harness.until(() => sent()[0] === template && sent()[1] === suite);
  it.template.startPushing();
  // Looks at the time after the other: what it has sent, the other would have sent before.
  it.suite.startPushing(10 * MINUTE - 1);
  await become(1, 1);
  it.clock.advance(10 * MINUTE - 1);
  await become(1, 2);
  it.clock.advance(1);
  await become(2, 2);
  it.template.stopPushing();
  it.clock.advance(10 * MINUTE);
  await become(2, 3);
});

test("the state shows where a suite is installed, and neither codes nor tickets", async () => {
  await using it = new SuiteHarness();
  const { ticket } = await it.suite.pushTicket();
  await it.suite.install(CORP, { send: "neither" });
  const { json, text } = await it.weixin("/sandbox/state");
  const last_push = { event: "suite_ticket", accepted: true };
  expect(json["wecom_suites"]).toMatchObject([
    { suite_id: SUITE, installed_in: [CORP], push_attempts: 1, last_push },
    { installed_in: [], push_attempts: 0 },
  ]);
  expect(text).not.toContain(ticket);
  expect(text).not.toContain(it.suite.permanentCodeOf(CORP) ?? "");
});
