import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { Secret } from "../../src/secret.ts";
import {
  COMPONENT,
  MINI,
  nameOf,
  OFFICIAL,
  pathOf,
  PlatformHarness,
  type PlatformProcess,
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

type Way = (it: PlatformHarness, other: PlatformProcess) => Promise<string>;
/** By who comes first, with a code. */
const ORDERS: Readonly<Record<string, Way>> = {
  "the push first": async (it, other) => {
    const { code } = await it.control.authorize(OFFICIAL);
    await it.first.authorizations.tick();
    await other.exchange(code);
    return code;
  },
  "the redirect first": async (it, other) => {
    const { code, sendPush } = await it.control.authorize(OFFICIAL, { send: "redirect-first" });
    await other.exchange(code);
    await sendPush();
    await it.first.authorizations.tick();
    return code;
  },
  "all at the same time": async (it, other) => {
    const { code, sendPush } = await it.control.authorize(OFFICIAL, { send: "redirect-first" });
    await Promise.all([
      sendPush().then(() => it.first.authorizations.tick()),
      ...[other, it.first, other].map((each) => each.exchange(code)),
      ...[other, it.first].map(({ authorizations }) => authorizations.tick()),
    ]);
    return code;
  },
};

test.each(Object.entries(ORDERS))(
  "trap 10: a code is exchanged once by all processes together, %s, and everybody gets the same answer",
  async (_order, come) => {
    await using it = await PlatformHarness.create();
    const other = await it.process();
    const code = await come(it, other);
    expect(it.calls(QUERY)).toBe(1);
    const answers = await Promise.all([it.first, other].map((each) => each.exchange(code)));
    expect(it.calls(QUERY)).toBe(1);
    for (const { app, text } of answers) {
      expect(app).toBe(nameOf(OFFICIAL));
      expect(JSON.parse(text.reveal())).toMatchObject({
        authorization_info: { authorizer_refresh_token: it.control.refreshTokenOf(OFFICIAL) },
      });
    }
    expect(await other.find()).toBeDefined();
  },
);

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

test("P3: what a code was good for is there, although the process that had exchanged it was killed before it could store it", async () => {
  await using it = await PlatformHarness.create();
  const killed = await it.process();
  await it.first.authorizations.tick();
  const { code } = await it.control.authorize(OFFICIAL);
  // What the killed process had done by then.
  const now = it.clock.now();
  await killed.store.authorizationCodes.take({ now, until: now + 30_000 });
  await exchangeUpstream(it, killed, code);
  expect(await it.first.find()).toBeUndefined();
  await it.first.authorizations.tick();
  expect(await it.first.find()).toBeUndefined();
  it.clock.advance(30_000);
  await it.first.authorizations.tick();
  expect(await it.first.refreshToken()).toBe(it.control.refreshTokenOf(OFFICIAL));
  expect((await it.first.exchange(code)).app).toBe(nameOf(OFFICIAL));
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
});

test("P3: nothing is lost where the answer to a code that came by the browser was, and the push says whose it was", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized(MINI);
  const { code, sendPush } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  it.sandbox.inject({ kind: "reset_after", endpoint: pathOf(QUERY), times: 1 });
  expect((await failureOf(it.first.exchange(code))).code).toStartWith("upstream_");
  it.clock.advance(2000);
  // Another account may have authorized in the same second: whose code it was nobody can tell.
  expect(await failureOf(it.first.exchange(code))).toMatchObject({ upstream: { errcode: 61009 } });
  expect(await it.first.refreshToken()).toBe(it.control.refreshTokenOf(OFFICIAL));
  await sendPush();
  expect((await it.first.exchange(code)).app).toBe(nameOf(OFFICIAL));
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
});

test("P3: what a code gave is there later, although it could not be stored with the account's app", async () => {
  await using it = await PlatformHarness.create();
  const broken = await it.process();
  broken.store.apps.create = () => Promise.reject(new Error("the audit can't be written"));
  const { code } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  expect(await broken.exchange(code).catch(() => "failed")).toBe("failed");
  expect(await it.first.find()).toBeUndefined();
  it.clock.advance(2000);
  await it.first.authorizations.tick();
  expect(await it.first.refreshToken()).toBe(it.control.refreshTokenOf(OFFICIAL));
  expect((await it.first.exchange(code)).app).toBe(nameOf(OFFICIAL));
  expect(it.calls(QUERY)).toBe(1);
});

test("P3: a push says whose the code is that a browser brought before, so that of two lost answers each is found", async () => {
  await using it = await PlatformHarness.create();
  const killed = await it.process();
  const { authorizationCodes: codes } = killed.store;
  await it.first.authorizations.tick();
  const now = it.clock.now();
  const [official, mini] = [
    await it.control.authorize(OFFICIAL, { send: "redirect-first" }),
    await it.control.authorize(MINI, { send: "redirect-first" }),
  ];
  for (const { code: text, sendPush } of [official, mini]) {
    const code = new Secret(text);
    await codes.add({ platformApp: COMPONENT, account: "", code, now, expiresAt: now + 3_600_000 });
    await codes.take({ digest: codes.digestOf(COMPONENT, code), now, until: now + 30_000 });
    await exchangeUpstream(it, killed, text);
    await sendPush();
  }
  it.clock.advance(30_000);
  expect((await it.first.exchange(official.code)).app).toBe(nameOf(OFFICIAL));
  expect((await it.first.exchange(mini.code)).app).toBe(nameOf(MINI));
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

test("WeChat's refusal of a code is told everybody who comes with it, and asked for once", async () => {
  await using it = await PlatformHarness.create();
  const { code } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  await exchangeUpstream(it, it.first, code);
  it.sandbox.resetCalls();
  const processes = [it.first, it.first, await it.process()];
  for (const failure of await Promise.all(processes.map((each) => failureOf(each.exchange(code)))))
    expect(failure).toMatchObject({ code: "upstream_rejected", upstream: { errcode: 61009 } });
  expect(it.calls(QUERY)).toBe(1);
});

test("codes that somebody makes up cost ten calls a minute, and nobody else's code has to wait for them", async () => {
  await using it = await PlatformHarness.create();
  const junk = async (n: number) => (await failureOf(it.first.exchange(`junk-${n}`))).code;
  const codes: string[] = [];
  for (let n = 0; n < 12; n++) codes.push(await junk(n));
  expect(codes).toEqual([...Array(10).fill("upstream_rejected"), "rate_limited", "rate_limited"]);
  expect(it.calls(QUERY)).toBe(10);
  const pushed = await it.control.authorize(OFFICIAL);
  expect((await it.first.exchange(pushed.code)).app).toBe(nameOf(OFFICIAL));
  const brought = await it.control.authorize(MINI, { send: "redirect-only" });
  expect((await failureOf(it.first.exchange(brought.code))).code).toBe("rate_limited");
  expect((await it.first.exchange(brought.code, undefined, "another")).app).toBe(nameOf(MINI));
  it.clock.advance(60_000);
  // What comes to something is free.
  for (let n = 0; n < 11; n++) {
    const { code } = await it.control.authorize(MINI, { send: "redirect-only" });
    await it.first.exchange(code);
  }
  expect(await junk(12)).toBe("upstream_rejected");
});

test("a code that no push has told of is tried when somebody comes with it, and never in between", async () => {
  await using it = await PlatformHarness.create();
  const other = await it.process();
  const { code, sendPush } = await it.control.authorize(OFFICIAL, { send: "redirect-first" });
  it.sandbox.inject({ kind: "error", errcode: -1, endpoint: pathOf(QUERY), times: 3 });
  const refused = { upstream: { errcode: -1 } };
  expect(await failureOf(it.first.exchange(code))).toMatchObject(refused);
  for (const { authorizations } of [it.first, other]) {
    it.clock.advance(60_000);
    await authorizations.tick();
  }
  expect(it.calls(QUERY)).toBe(1);
  expect(await failureOf(other.exchange(code))).toMatchObject(refused);
  expect(it.calls(QUERY)).toBe(2);
  await sendPush();
  await it.first.authorizations.tick();
  expect(await it.first.find()).toBeUndefined();
  it.clock.advance(60_000);
  await it.first.authorizations.tick();
  expect(await it.first.find()).toBeDefined();
  expect(it.calls(QUERY)).toBe(4);
});

test("codes that come to nothing after a failure have WeChat's list read once, and not for each of them", async () => {
  await using it = await PlatformHarness.create();
  it.sandbox.inject({ kind: "error", errcode: -1, endpoint: pathOf(QUERY), times: 4 });
  for (const errcode of [-1, 61009])
    for (let n = 0; n < 4; n++)
      expect(await failureOf(it.first.exchange(`junk-${n}`))).toMatchObject({ upstream: { errcode } });
  expect(it.calls("api_get_authorizer_list")).toBe(1);
});

test("P3: of each code that a killed process has used up, and no push has told of, the account is found", async () => {
  await using it = await PlatformHarness.create();
  const { authorizationCodes: codes } = it.first.store;
  await it.first.authorizations.tick();
  for (const account of [OFFICIAL, MINI]) {
    const { code: text } = await it.control.authorize(account, { send: "redirect-only" });
    const [code, now] = [new Secret(text), it.clock.now()];
    await codes.add({ platformApp: COMPONENT, account: "", code, now, expiresAt: now + 3_600_000 });
    await codes.take({ digest: codes.digestOf(COMPONENT, code), now, until: now + 30_000 });
    await exchangeUpstream(it, it.first, text);
    it.clock.advance(30_000);
    await it.first.authorizations.tick();
    expect(await it.first.find(account)).toBeDefined();
  }
});

test("what keeps a code from being exchanged now is told at once, and the code is exchanged later", async () => {
  await using it = await PlatformHarness.create({ hasTicket: false });
  const { code } = await it.control.authorize(OFFICIAL);
  await it.first.authorizations.tick();
  expect(await it.first.find()).toBeUndefined();
  expect(it.calls()).toBe(0);
  await it.control.pushTicket();
  it.clock.advance(2000);
  await it.first.authorizations.tick();
  expect(await it.first.find()).toBeDefined();
  expect((await it.first.exchange(code)).app).toBe(nameOf(OFFICIAL));
});

test("whoever no longer waits does not cut an exchange off", async () => {
  await using it = await PlatformHarness.create();
  const { code } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf(QUERY), times: 1 });
  const impatient = new AbortController();
  const waiting = it.first.exchange(code, impatient.signal).catch(({ code: name }) => name);
  await gate.arrived();
  impatient.abort();
  expect(await waiting).toBe("upstream_timeout");
  gate.open();
  expect((await it.first.exchange(code)).app).toBe(nameOf(OFFICIAL));
  expect(it.calls(QUERY)).toBe(1);
});

test("whoever waits for a code that another exchanges writes nothing meanwhile", async () => {
  await using it = await PlatformHarness.create();
  const { code } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf(QUERY), times: 1 });
  const first = it.first.exchange(code);
  await gate.arrived();
  const other = await it.process();
  const codes = other.store.authorizationCodes;
  let [looks, taken] = [0, 0];
  const { find, take } = { find: codes.find.bind(codes), take: codes.take.bind(codes) };
  const looked = Promise.withResolvers<void>();
  codes.find = (digest) => {
    if (++looks === 3) looked.resolve();
    return find(digest);
  };
  codes.take = (request) => {
    taken++;
    return take(request);
  };
  const waiting = other.exchange(code);
  await looked.promise;
  gate.open();
  expect((await waiting).app).toBe((await first).app);
  expect(taken).toBe(0);
});

test("a code that was taken under a clock that is set back is exchanged soon", async () => {
  await using it = await PlatformHarness.create();
  const { code } = await it.control.authorize(OFFICIAL);
  const ahead = it.clock.now() + 50 * 60_000;
  await it.first.store.authorizationCodes.take({ now: ahead, until: ahead + 30_000 });
  await it.first.authorizations.tick();
  expect((await it.first.exchange(code)).app).toBe(nameOf(OFFICIAL));
});

test("a stop does not work off the codes that wait", async () => {
  await using it = await PlatformHarness.create();
  const { store, authorizations } = it.first;
  const now = it.clock.now();
  for (let n = 0; n < 20; n++) {
    const code = new Secret(`queryauthcode@@@${n}`);
    const about = { platformApp: COMPONENT, account: "", now, expiresAt: now + 3_600_000 };
    await store.authorizationCodes.add({ ...about, code });
  }
  await it.first.componentToken();
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf(QUERY), times: 1 });
  authorizations.start();
  await gate.arrived();
  const stopped = authorizations.stop();
  gate.open();
  await stopped;
  expect(it.calls(QUERY)).toBeLessThanOrEqual(8);
});

test("an authorization that is withdrawn ends everything that came of it at once, in every process", async () => {
  await using it = await PlatformHarness.create();
  const other = await it.process();
  await it.authorized();
  const slot = (await other.learn()).directory.slotOfApp(nameOf(OFFICIAL));
  await other.token();
  it.clock.advance(5000);
  await it.control.unauthorize(OFFICIAL);
  expect(await other.find()).toBeUndefined();
  expect((await other.store.credentials.find({ slot, kind: "access_token" })).credential).toBeUndefined();
  expect(await it.first.audited("authorization.revoked")).toEqual([{ app: nameOf(OFFICIAL) }]);
});

test("a late repetition of an end does not end what was authorized since", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized();
  it.clock.advance(5000);
  await it.control.unauthorize(OFFICIAL);
  const endedAt = Math.floor(it.clock.now() / 1000);
  it.clock.advance(5000);
  await it.authorized();
  await it.control.pushEvent("unauthorized", { CreateTime: endedAt, AuthorizerAppid: OFFICIAL });
  expect(await it.first.find()).toBeDefined();
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(await it.first.audited("authorization.revoked")).toHaveLength(1);
});

test("an account that withdraws while WeChat's list is read is not brought back by it", async () => {
  await using it = await PlatformHarness.create();
  await it.authorized();
  await it.authorized(MINI);
  it.clock.advance(60_000);
  await it.first.componentToken();
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf("api_get_authorizer_list"), times: 1 });
  const found = it.first.authorizations.reconcile(it.first.component);
  await gate.arrived();
  await it.control.unauthorize(OFFICIAL);
  expect(await it.first.find()).toBeUndefined();
  gate.open();
  expect(await found).toEqual({ added: 0, lost: 0 });
  expect(await it.first.find()).toBeUndefined();
  expect(await it.first.audited("authorization.lost")).toEqual([]);
});

test("an account that withdraws while what its code gave waits to be stored is not made, and the code is given up", async () => {
  await using it = await PlatformHarness.create();
  const broken = await it.process();
  broken.store.apps.create = () => Promise.reject(new Error("busy"));
  const { code } = await it.control.authorize(OFFICIAL, { send: "redirect-only" });
  expect(await broken.exchange(code).catch(() => "failed")).toBe("failed");
  it.clock.advance(1000);
  await it.control.unauthorize(OFFICIAL);
  const { store, authorizations, component } = it.first;
  const digest = authorizations.digestOf(component, new Secret(code));
  for (const state of ["waiting", "waiting", "waiting", "failed"] as const) {
    it.clock.advance(60_000);
    await authorizations.tick();
    expect(await it.first.find()).toBeUndefined();
    expect((await store.authorizationCodes.find(digest))?.state).toBe(state);
  }
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

test("once a day one of all processes compares with WeChat: what was missed is taken over, what has ended is closed", async () => {
  await using it = await PlatformHarness.create();
  const other = await it.process();
  await it.authorized();
  // Another program has exchanged the code of an event that never came.
  const { code } = await it.control.authorize(MINI, { send: "neither" });
  await exchangeUpstream(it, it.first, code);
  await it.control.unauthorize(OFFICIAL, { push: false });
  it.clock.advance(86_400_000);
  await it.control.pushTicket();
  it.sandbox.resetCalls();
  await Promise.all([it.first, other].map(({ authorizations }) => authorizations.tick()));
  expect(it.calls("api_get_authorizer_list")).toBe(1);
  expect((await other.find(MINI))?.managed?.title).toBe("小程序二");
  expect(it.sandbox.accepts(await other.token(MINI))).toBeTrue();
  expect((await other.find())?.authorization?.lostAt).toBe(it.clock.now());
  expect(await other.token().catch(({ code: name }) => name)).toBe("unavailable");
  expect(await other.audited("authorization.lost")).toEqual([{ app: nameOf(OFFICIAL), errcode: 61003 }]);
});

/** Exchanges a code and keeps nothing of the answer: another program, or a process that is killed then. */
async function exchangeUpstream(it: PlatformHarness, process: PlatformProcess, code: string): Promise<void> {
  const query = new URLSearchParams({ component_access_token: await process.componentToken() }).toString();
  const response = await fetch(`${it.sandbox.weixinUrl}${pathOf(QUERY)}?${query}`, {
    method: "POST",
    body: JSON.stringify({ component_appid: COMPONENT, authorization_code: code }),
  });
  expect(await response.json()).toHaveProperty("authorization_info");
}
