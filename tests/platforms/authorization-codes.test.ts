import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { Secret } from "../../src/secret.ts";
import {
  COMPONENT,
  exchangeUpstream,
  MINI,
  nameOf,
  OFFICIAL,
  pathOf,
  PlatformHarness,
  type PlatformProcess,
} from "./platform-harness.ts";
import { failureOf } from "../support/refusals.ts";

const QUERY = "api_query_auth";

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
  it.sandbox.inject({ kind: "error", errcode: 45009, endpoint: pathOf(QUERY), times: 3 });
  const refused = { upstream: { errcode: 45009 } };
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
