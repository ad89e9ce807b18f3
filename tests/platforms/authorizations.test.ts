import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import {
  COMPONENT,
  exchangeUpstream,
  MINI,
  nameOf,
  OFFICIAL,
  pathOf,
  PlatformHarness,
  WITHOUT_API,
} from "./platform-harness.ts";
import { failureOf } from "../support/refusals.ts";

const QUERY = "api_query_auth";

test("an account that has authorized is an app with WeChat's name and permission sets, and its token is there", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized(MINI);
  expect(await it.first.find(MINI)).toMatchObject({
    id: MINI,
    managed: { title: "小程序二", isDisabled: false },
    authorization: {
      platformApp: COMPONENT,
      authorizedAt: it.clock.now() - (it.clock.now() % 1000),
      scopes: [17],
      userName: "gh_000000000002",
      isMiniProgram: true,
    },
  });
  expect(it.sandbox.accepts(await it.first.token(MINI))).toBeTrue();
  // The one that came with the code.
  expect(it.calls("api_authorizer_token")).toBe(0);
  expect(await it.first.refreshToken(MINI)).toBe(it.control.refreshTokenOf(MINI));
  expect(await it.first.audited("authorization.granted")).toEqual([
    { app: nameOf(MINI), platform: COMPONENT, scopes: [17] },
  ]);
});

test("trap 10: nothing is asked of WeChat before a push is answered, whatever it says", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized();
  it.sandbox.resetCalls();
  await it.control.pushTicket();
  const { push } = await it.control.authorize(MINI);
  await it.control.updateAuthorization(OFFICIAL, { funcIds: [1] });
  await it.control.pushEvent("notify_third_fasteregister", { appid: MINI, status: 0, auth_code: "a-code" });
  await it.control.pushEvent("notify_icpfiling_verify_result", { appid: MINI });
  await it.control.unauthorize(OFFICIAL);
  expect(push?.accepted).toBeTrue();
  expect(it.calls()).toBe(0);
});

test("trap 10: a code is forwarded by a name that its own platform alone can exchange, and a ticket not at all", async () => {
  await using it = await PlatformHarness.create();
  const { code } = await it.control.authorize(OFFICIAL);
  const [ticket, authorized] = it.forwarded;
  expect(ticket).toMatchObject({
    InfoType: "component_verify_ticket",
    ComponentVerifyTicket: "ticket@@@withheld",
  });
  const virtual = authorized?.["AuthorizationCode"] ?? "";
  expect(virtual).toStartWith("queryauthcode@@@");
  expect(virtual).not.toContain(code.slice(16));
  expect(authorized).toMatchObject({ InfoType: "authorized", AuthorizerAppid: OFFICIAL });
  const digest = virtual.slice("queryauthcode@@@".length);
  // Whoever comes before it was exchanged gets its answer all the same.
  const { authorizations, component } = it.first;
  // Another platform's token makes WeChat be asked for nothing.
  const another = { ...component, appId: "wxc000000000000002" };
  expect(await authorizations.answerOf(another, digest)).toBeUndefined();
  expect(it.calls(QUERY)).toBe(0);
  expect((await authorizations.answerOf(component, digest))?.app).toBe(nameOf(OFFICIAL));
  expect(await authorizations.answerOf(component, "unknown")).toBeUndefined();
  expect(it.calls(QUERY)).toBe(1);
});

test("trap 23: an InfoType that is not known is forwarded as it is", async () => {
  await using it = await PlatformHarness.create();
  const { accepted } = await it.control.pushEvent("notify_of_tomorrow", { appid: OFFICIAL, what: "<b>&" });
  expect(accepted).toBeTrue();
  expect(it.forwarded.at(-1)).toMatchObject({
    InfoType: "notify_of_tomorrow",
    appid: OFFICIAL,
    what: "<b>&",
  });
});

test("P6: whatever an event is of, the codes, tickets and tokens in it are withheld", async () => {
  await using it = await PlatformHarness.create();
  const { code } = await it.control.authorize(OFFICIAL);
  expect(it.forwarded.at(-1)).toMatchObject({
    AuthorizationCode: expect.stringMatching(/^queryauthcode@@@/),
    AuthorizationCodeExpiredTime: expect.stringMatching(/^\d{10}$/),
    PreAuthCode: "code@@@withheld",
  });
  await it.control.pushEvent("notify_third_fastregisterbetaapp", { appid: MINI, status: 0, auth_code: code });
  expect(it.forwarded.at(-1)).toMatchObject({ appid: MINI, status: "0", auth_code: "code@@@withheld" });
  await it.control.pushEvent("notify_of_tomorrow", {
    ...{ AuthorizationCode: "a", AuthCode: "b", ComponentVerifyTicket: "c", access_token: "d" },
    ...{ authorizer_refresh_token: "e", auth_code: "", code: "913300", AuthCodeType: "1" },
  });
  expect(it.forwarded.at(-1)).toMatchObject({
    ...{ AuthorizationCode: "code@@@withheld", AuthCode: "code@@@withheld" },
    ...{ ComponentVerifyTicket: "ticket@@@withheld", access_token: "token@@@withheld" },
    ...{ authorizer_refresh_token: "token@@@withheld", auth_code: "", code: "913300", AuthCodeType: "1" },
  });
});

test("trap 24: the code of an account that was registered for somebody is exchanged", async () => {
  await using it = await PlatformHarness.create();
  const { code } = await it.control.authorize(MINI, { send: "neither" });
  await it.control.pushEvent("notify_third_fasteregister", { appid: MINI, status: 0, auth_code: code });
  await it.control.pushEvent("notify_third_fasteregister", { appid: OFFICIAL, status: 100001, msg: "no" });
  await it.first.authorizations.tick();
  expect(await it.first.find(MINI)).toBeDefined();
  expect(it.calls(QUERY)).toBe(1);
  expect(it.forwarded.at(-2)?.["auth_code"]).toStartWith("queryauthcode@@@");
});

test("P5: while WeChat can't be asked which of two refresh tokens is valid, a slow answer takes the place of nothing", async () => {
  await using it = await PlatformHarness.create({ refreshTokens: "rotate" });
  await it.authorized();
  const slot = it.first.directory.slotOfApp(nameOf(OFFICIAL));
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", endpoint: pathOf(QUERY), gate, times: 1 });
  await it.control.updateAuthorization(OFFICIAL, { funcIds: [1] });
  const exchanged = it.first.authorizations.tick();
  await gate.arrived();
  // Meanwhile its token is refreshed, and the refresh token is another.
  await it.first.store.credentials.clear([{ name: { slot, kind: "access_token" }, isCurrent: true }]);
  await (await it.process()).token();
  const newest = it.control.refreshTokenOf(OFFICIAL) ?? "";
  expect(await it.first.refreshToken()).toBe(newest);
  it.sandbox.inject({ kind: "error", endpoint: pathOf("api_get_authorizer_info"), errcode: -1, times: 1 });
  gate.open();
  await exchanged;
  expect(await it.first.refreshToken()).toBe(newest);
  it.clock.advance(2000);
  await it.first.authorizations.tick();
  expect((await it.first.find())?.authorization?.scopes).toEqual([1]);
  expect(await it.first.refreshToken()).toBe(it.control.refreshTokenOf(OFFICIAL) ?? "");
});

test("P2: an account that has authorized anew, of which nothing arrived, is found in WeChat's list, and no token of before is given", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized();
  const before = await it.first.token();
  await it.control.unauthorize(OFFICIAL, { push: false });
  it.clock.advance(60_000);
  const { code } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  await exchangeUpstream(it, it.first, code);
  expect(await it.first.authorizations.reconcile(it.first.component)).toEqual({ added: 1, lost: 0 });
  expect(it.sandbox.accepts(before)).toBeFalse();
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
});

test("P2: where the answer to a code was lost, and with it a token, the one that this has ended is given to nobody", async () => {
  await using it = await PlatformHarness.create({ authorizerOverlapMs: 0 });
  await it.authorized();
  const ended = await it.first.token();
  it.sandbox.inject({ kind: "reset_after", endpoint: pathOf(QUERY), times: 1 });
  await it.control.updateAuthorization(OFFICIAL, { funcIds: [1] });
  await it.first.authorizations.tick();
  it.clock.advance(2000);
  await it.first.authorizations.tick();
  expect(it.sandbox.accepts(ended)).toBeFalse();
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(it.sandbox.accepts(await (await it.process()).token())).toBeTrue();
});

test("an account that WeChat's list has while its code is exchanged keeps the token that came with the code", async () => {
  await using it = await PlatformHarness.create();
  const { first } = it;
  const other = await it.process();
  const { code } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  // WeChat has answered, and the account is not stored yet: the list has it, and nobody here.
  const [answered, stored] = [new Gate(), Promise.withResolvers<void>()];
  const apps = first.store.apps;
  const create = apps.create.bind(apps);
  apps.create = async (...args) => {
    await answered.pass();
    return create(...args);
  };
  const exchanged = first.exchange(code).finally(stored.resolve);
  await answered.arrived();
  const find = other.store.apps.find.bind(other.store.apps);
  other.store.apps.find = async (slot) => {
    answered.open();
    await stored.promise;
    return find(slot);
  };
  await other.authorizations.reconcile(other.component);
  await exchanged;
  const token = await first.token();
  expect(await (await it.process()).token()).toBe(token);
  expect([it.sandbox.accepts(token), it.calls("api_authorizer_token")]).toEqual([true, 0]);
});

test("a change of the permission sets changes the app and ends nothing", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized();
  const before = await it.first.refreshToken();
  it.clock.advance(60_000);
  await it.control.updateAuthorization(OFFICIAL, { funcIds: [1, 2, 11] });
  await it.first.authorizations.tick();
  expect((await it.first.find())?.authorization?.scopes).toEqual([1, 2, 11]);
  expect(await it.first.refreshToken()).toBe(before);
  // WeChat has issued another token with the code, and ends the one before.
  it.clock.advance(400_000);
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(it.calls("api_authorizer_token")).toBe(0);
});

test("P2: where WeChat's newest token was lost with an answer, the one before is not handed out to its end", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized();
  const before = await it.first.token();
  it.sandbox.inject({ kind: "reset_after", endpoint: pathOf(QUERY), times: 1 });
  await it.control.updateAuthorization(OFFICIAL, { funcIds: [1] });
  await it.first.authorizations.tick();
  it.clock.advance(2000);
  await it.first.authorizations.tick();
  expect((await it.first.find())?.authorization?.scopes).toEqual([1]);
  it.clock.advance(400_000);
  expect(it.sandbox.accepts(before)).toBeFalse();
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
});

test("trap 21: an account without any API has no token, and nobody is given an empty one", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized(WITHOUT_API);
  expect((await it.first.find(WITHOUT_API))?.managed?.title).toBe("无接口");
  expect(await failureOf(it.first.token(WITHOUT_API))).toMatchObject({ code: "unavailable" });
  expect(it.calls("api_authorizer_token")).toBe(0);
});
