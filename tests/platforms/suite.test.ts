import { expect, test } from "bun:test";
import { unavailable } from "../../src/credentials/backoff.ts";
import { EventBus } from "../../src/events.ts";
import { Authorizations } from "../../src/platforms/authorizations.ts";
import { Reconciliation } from "../../src/platforms/reconciliation.ts";
import { Gate } from "../../src/sandbox/fault.ts";
import { Secret } from "../../src/secret.ts";
import { failureOf } from "../support/refusals.ts";
import { CORP, MINUTE, OTHER_CORP, PROVIDER, SUITE, SuiteWorld, TEMPLATE } from "./suite-world.ts";

const { signal } = new AbortController();
const EXCHANGE = "service/v2/get_permanent_code";
const CALLER = "caller";
const AUTH_INFO = "/cgi-bin/service/get_auth_info";

test("a ticket and an installation are pushed, and the corp is an app: its tokens are there for who asks", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const { authCode } = await it.sandbox.suite(SUITE).install(CORP, { state: "s1" });
  expect(it.callsInPushes).toEqual([0, 0]);
  await it.authorizations.tick();
  await it.first.learn();

  const app = it.find(`${CORP}_${SUITE}`);
  expect(app).toMatchObject({
    managed: { title: "客户1", isDisabled: false },
    authorization: { platformApp: SUITE, agentId: "1000010", lostAt: undefined },
  });
  expect(app?.secret.reveal()).toBe(it.sandbox.suite(SUITE).permanentCodeOf(CORP) ?? "");
  expect(it.sandbox.accepts(await it.token(`${CORP}_${SUITE}`))).toBe(true);
  expect([it.calls(EXCHANGE), it.calls("service/get_suite_token")]).toEqual([1, 1]);
  const [entry] = await it.first.store.audit.list({}, { limit: 20 });
  expect(entry).toMatchObject({ app: `${CORP}_${SUITE}` });

  const [ticket = "", installed = ""] = it.forwarded;
  expect(ticket).toContain("ticket@@@withheld");
  expect(installed).not.toContain(authCode);
  expect(installed).toMatch(/<AuthCode>(<!\[CDATA\[)?authcode_[^<\]]+/);
  expect(installed).toContain("s1");
});

test("trap 10: nothing is asked of WeCom before a command is answered, whatever it says", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  await it.install();
  await it.install(TEMPLATE);
  it.sandbox.resetCalls();
  it.callsInPushes.length = 0;
  const [suite, template] = [it.sandbox.suite(SUITE), it.sandbox.suite(TEMPLATE)];
  const answers = [
    await suite.pushTicket(),
    (await suite.install(OTHER_CORP)).push,
    await suite.changeAuth(CORP),
    (await template.resetPermanentCode(CORP)).push,
    await suite.pushEvent("change_contact", { AuthCorpId: CORP }),
    await suite.cancelAuth(CORP),
  ];
  expect(answers.map((answer) => answer?.accepted)).toEqual(Array(6).fill(true));
  // Neither in the command nor behind it: the next round of the work that is due asks.
  expect([it.callsInPushes, it.sandbox.calls()]).toEqual([Array(6).fill(0), 0]);
  await it.authorizations.tick();
  expect(it.sandbox.calls()).toBeGreaterThan(0);
});

test("the code that comes by the browser and by a push is exchanged once, and each has the same answer", async () => {
  await using it = await SuiteWorld.create({ suiteTokenFlake: true });
  await it.ticket();
  const { authCode } = await it.sandbox.suite(SUITE).install(CORP, {
    send: "both",
    redirectUri: "https://a.example/back",
  });
  const code = new Secret(authCode);
  const exchange = () => it.authorizations.exchange(it.slot(SUITE), code, signal, CALLER);
  const [first, second] = await Promise.all([exchange(), exchange(), it.authorizations.tick()]);
  const third = await it.authorizations.answerOf(
    it.slot(SUITE),
    it.authorizations.digestOf(it.slot(SUITE), code),
  );
  const answers = [first, second, third].map((answer) => [answer?.app, answer?.text.reveal()]);
  expect(answers).toEqual(Array(3).fill([`${CORP}_${SUITE}`, first.text.reveal()]));
  expect(JSON.parse(first.text.reveal())).toMatchObject({
    permanent_code: it.sandbox.suite(SUITE).permanentCodeOf(CORP),
  });
  // Once refused, because its token was fresh.
  expect(it.calls(EXCHANGE)).toBe(2);
});

test("a code that waits for a ticket is exchanged when that has come, and one that somebody else has used is not tried again", async () => {
  await using it = await SuiteWorld.create();
  const { authCode } = await it.sandbox.suite(SUITE).install(CORP);
  await it.authorizations.tick();
  expect(it.sandbox.calls()).toBe(0);
  it.clock.advance(3 * MINUTE);
  await it.ticket();
  await it.authorizations.tick();
  expect(it.sandbox.accepts(await it.token(`${CORP}_${SUITE}`))).toBe(true);

  const query = { suite_access_token: await it.token(SUITE, "suite_access_token") };
  const url = `${it.sandbox.wecomUrl}/cgi-bin/${EXCHANGE}?${new URLSearchParams(query).toString()}`;
  const other = await it.sandbox.suite(SUITE).install(OTHER_CORP);
  await fetch(url, { method: "POST", body: JSON.stringify({ auth_code: other.authCode }) });
  await it.authorizations.tick();
  const used = () => it.authorizations.exchange(it.slot(SUITE), new Secret(other.authCode), signal, CALLER);
  expect((await failureOf(used())).upstream?.errcode).toBe(40078);
  it.clock.advance(5 * MINUTE);
  await it.authorizations.tick();
  expect(it.calls(EXCHANGE)).toBe(3);
  expect(it.find(`${OTHER_CORP}_${SUITE}`)).toBeUndefined();
  const told = JSON.stringify([it.first.events, await it.first.store.audit.list({}, { limit: 100 })]);
  for (const secret of [authCode, other.authCode, it.sandbox.suite(SUITE).permanentCodeOf(CORP)])
    expect(told).not.toContain(secret ?? "");
});

test("two processes share one suite token and one corp token, and both take a new permanent code at once", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  const second = await it.process();
  const [first, other] = await Promise.all([it.token(app), it.token(app, "access_token", second)]);
  expect(other).toBe(first);
  expect([it.calls("service/get_corp_token"), it.calls("service/get_suite_token")]).toEqual([1, 1]);
  await it.sandbox.suite(SUITE).cancelAuth(CORP, { isLost: true });
  await it.install();
  await second.learn();
  const token = await it.token(app, "access_token", second);
  expect([token === first, it.sandbox.accepts(token)]).toEqual([false, true]);
});

test("one corp has a third-party app and an agency app of one provider, and each goes its own way", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  await it.ticket(TEMPLATE);
  const [app, agency] = [await it.install(), await it.install(TEMPLATE)];
  expect(await it.token(app)).not.toBe(await it.token(agency));
  expect([it.calls("service/get_corp_token"), it.calls("gettoken")]).toEqual([1, 1]);

  it.clock.advance(MINUTE);
  await it.sandbox.suite(TEMPLATE).cancelAuth(CORP);
  await it.first.learn();
  expect(it.find(agency)).toBeUndefined();
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);
});

test("an agency app's secret is replaced by its reset, whose event names no corp, and what was issued before is cleared", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(TEMPLATE);
  const [app, other] = [await it.install(TEMPLATE), await it.install(TEMPLATE, OTHER_CORP)];
  const [, otherToken] = [await it.token(app), await it.token(other)];
  it.clock.advance(MINUTE);
  const read = it.calls("service/get_auth_info");
  const { authCode } = await it.sandbox.suite(TEMPLATE).resetPermanentCode(CORP);
  expect(it.forwarded.at(-1)).toContain("reset_permanent_code");
  expect(it.forwarded.at(-1)).not.toContain(authCode);
  await it.authorizations.tick();
  expect(await it.permanentCode(app)).toBe(it.sandbox.suite(TEMPLATE).permanentCodeOf(CORP));
  // Nothing was asked before it was stored: nobody would give it once more.
  expect(it.calls("service/get_auth_info")).toBe(read);
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);
  expect(await it.token(other)).toBe(otherToken);
  expect(it.calls("gettoken")).toBe(3);
});

test("a permanent code whose app can't be stored at once is kept, and not asked for once more", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const authorizations = failing(it, 3);
  const { authCode } = await it.sandbox.suite(SUITE).install(CORP);
  const first = authorizations.exchange(it.slot(SUITE), new Secret(authCode), signal, CALLER);
  expect(await first.catch((error: unknown) => error)).toMatchObject({ code: "unavailable" });
  for (let attempt = 2; attempt <= 4; attempt++) {
    it.clock.advance(MINUTE);
    await authorizations.tick();
  }
  expect(await it.permanentCode(`${CORP}_${SUITE}`)).toBe(it.sandbox.suite(SUITE).permanentCodeOf(CORP));
  expect(it.calls(EXCHANGE)).toBe(1);
});

test("a permanent code that was kept is not given up when the time of its code is over", async () => {
  await using it = await SuiteWorld.create();
  await it.sandbox.suite(SUITE).install(CORP);
  it.clock.advance(MINUTE);
  await it.ticket();
  const authorizations = failing(it, 1);
  // WeCom takes it to the end, and this is the last second.
  it.clock.advance(9 * MINUTE - 1000);
  await authorizations.tick();
  it.clock.advance(MINUTE);
  await authorizations.tick();
  await it.first.learn();
  expect(await it.permanentCode(`${CORP}_${SUITE}`)).toBe(it.sandbox.suite(SUITE).permanentCodeOf(CORP));
  expect(it.calls(EXCHANGE)).toBe(1);
});

test("a corp that cancels between WeCom's word that it has not and its app is closed at once", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(TEMPLATE);
  const authorizations = failing(it, 1);
  await it.sandbox.suite(TEMPLATE).install(CORP);
  await authorizations.tick();
  it.clock.advance(MINUTE);
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: AUTH_INFO, times: 1 });
  const taken = authorizations.tick();
  await gate.arrived();
  await it.sandbox.suite(TEMPLATE).cancelAuth(CORP);
  gate.open();
  await taken;
  await authorizations.tick();
  await it.first.learn();
  expect(it.find(`${CORP}_${TEMPLATE}`)?.authorization?.lostAt).toBe(it.clock.now());
});

test("a permanent code that was kept replaces no newer one while WeCom can't be asked", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(TEMPLATE);
  const app = await it.install(TEMPLATE);
  const authorizations = failing(it, 1);
  const newest = () => it.sandbox.suite(TEMPLATE).permanentCodeOf(CORP);
  it.clock.advance(MINUTE);
  await it.sandbox.suite(TEMPLATE).resetPermanentCode(CORP);
  await authorizations.tick();
  it.clock.advance(1000);
  await it.sandbox.suite(TEMPLATE).resetPermanentCode(CORP);
  await authorizations.tick();
  expect(await it.permanentCode(app)).toBe(newest());
  it.sandbox.inject({ kind: "error", errcode: -1, endpoint: AUTH_INFO, times: 3 });
  for (const waitMs of [2000, MINUTE]) {
    it.clock.advance(waitMs);
    await authorizations.tick();
    expect(await it.permanentCode(app)).toBe(newest());
  }
});

test("a corp that is given a new permanent code while it is read with the old one is not lost", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(TEMPLATE);
  const app = await it.install(TEMPLATE);
  it.clock.advance(MINUTE + 500);
  // The event's own time is in whole seconds, and so before the question that is asked in the same one.
  await it.sandbox.suite(TEMPLATE).resetPermanentCode(CORP);
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: AUTH_INFO, times: 1 });
  const reading = it.apps.describe(it.slot(TEMPLATE), CORP, signal);
  await gate.arrived();
  await it.authorizations.tick();
  gate.open();
  await reading;
  await it.first.learn();
  expect(it.find(app)?.authorization?.lostAt).toBeUndefined();
});

test("a stop waits for the exchange of somebody who waits no longer", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const { authCode } = await it.sandbox.suite(SUITE).install(CORP, { send: "neither" });
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: `/cgi-bin/${EXCHANGE}`, times: 1 });
  const impatient = new AbortController();
  const code = new Secret(authCode);
  const asked = failureOf(it.authorizations.exchange(it.slot(SUITE), code, impatient.signal, CALLER));
  await gate.arrived();
  impatient.abort();
  expect(await asked).toMatchObject({ code: "upstream_timeout" });
  const stopped = it.authorizations.stop();
  gate.open();
  await stopped;
  expect(
    (await it.first.store.authorizationCodes.find(it.authorizations.digestOf(it.slot(SUITE), code)))?.state,
  ).toBe("exchanged");
});

test("an older permanent code never replaces a newer one", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket(TEMPLATE);
  const app = await it.install(TEMPLATE);
  const old = it.find(app)?.secret;
  const at = it.clock.now();
  it.clock.advance(MINUTE);
  await it.sandbox.suite(TEMPLATE).resetPermanentCode(CORP);
  await it.authorizations.tick();
  // A process that was stopped between the exchange and the store goes on; the same in one second.
  const given = { account: CORP, secret: old, facts: {} };
  for (const late of [at, it.clock.now()]) await it.apps.grant(it.slot(TEMPLATE), given, late, signal);
  expect(await it.permanentCode(app)).toBe(it.sandbox.suite(TEMPLATE).permanentCodeOf(CORP));
});

test("a corp that has changed what it allows is read again, and one that cancels is gone with everything that came of it", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  await it.token(app);
  const read = it.calls("service/get_auth_info");
  it.clock.advance(MINUTE);
  await it.sandbox.suite(SUITE).changeAuth(CORP);
  await it.authorizations.tick();
  expect(it.calls("service/get_auth_info")).toBe(read + 1);

  // A late repetition of an older end says nothing of what was given since.
  const old = { AuthCorpId: CORP, TimeStamp: Math.floor(it.clock.now() / 1000) - 3600 };
  await it.sandbox.suite(SUITE).pushEvent("cancel_auth", old);
  expect(it.sandbox.accepts(await it.token(app))).toBe(true);

  const slot = it.slot(app);
  await it.sandbox.suite(SUITE).cancelAuth(CORP);
  await it.first.learn();
  expect(it.find(app)).toBeUndefined();
  expect((await it.first.store.credentials.find({ slot, kind: "access_token" })).credential).toBeUndefined();
  expect(new Set(it.callsInPushes)).toEqual(new Set([0]));

  expect(it.sandbox.accepts(await it.token(await it.install()))).toBe(true);
});

test("trap 23: an event that nobody knows is forwarded as it came, but for a code", async () => {
  await using it = await SuiteWorld.create();
  const fields = { AuthCorpId: CORP, AuthCode: "unknown-code", Odd: "<b>&amp;</b>" };
  const { accepted } = await it.sandbox.suite(SUITE).pushEvent("license_pay_success", fields);
  expect(accepted).toBe(true);
  expect(it.forwarded.at(-1)).toContain("<AuthCode><![CDATA[code@@@withheld]]></AuthCode>");
  expect(it.forwarded.at(-1)).toContain("<Odd><![CDATA[<b>&amp;</b>]]></Odd>");
  await it.authorizations.tick();
  expect(it.sandbox.calls()).toBe(0);
});

test("P6: what a provider is told of its suites counts as told them, and is forwarded without tickets, codes and tokens", async () => {
  await using it = await SuiteWorld.create();
  const receive = async (fields: string) => {
    const message = Buffer.from(
      `<xml>${fields}<TimeStamp>${Math.floor(it.clock.now() / 1000)}</TimeStamp></xml>`,
    );
    const { events } = it.first.platforms;
    const provider = it.find(PROVIDER.corpId)!;
    return Buffer.from(await events.receive(provider, message, it.clock.now())).toString();
  };
  const of = (suiteId: string, infoType: string) =>
    `<SuiteId>${suiteId}</SuiteId><InfoType><![CDATA[${infoType}]]></InfoType>`;
  const ticket = "<SuiteTicket><![CDATA[real-ticket-0123456789]]></SuiteTicket>";
  expect(await receive(of("ww0another0suite", "suite_ticket") + ticket)).toContain("ticket@@@withheld");
  expect((await failureOf(it.token(SUITE, "suite_ticket"))).code).toBe("unavailable");
  expect(await receive(of(SUITE, "suite_ticket") + ticket)).toContain("ticket@@@withheld");
  expect(await it.token(SUITE, "suite_ticket")).toBe("real-ticket-0123456789");

  const digest = it.authorizations.digestOf(it.slot(SUITE), new Secret("real-code"));
  const code = "<AuthCode>real-code</AuthCode>";
  expect(await receive(of(SUITE, "create_auth") + code)).toContain(
    `<AuthCode><![CDATA[authcode_${digest}]]>`,
  );
  expect(await receive(of("ww0another0suite", "create_auth") + code)).toContain("code@@@withheld");

  const contacts =
    "<ContactSync><AccessToken><![CDATA[real]]></AccessToken><ExpiresIn>7200</ExpiresIn></ContactSync>";
  expect(await receive(`<InfoType>register_corp</InfoType>${contacts}<State>s1</State>`)).toContain(
    "<ContactSync><AccessToken><![CDATA[token@@@withheld]]></AccessToken><ExpiresIn>7200</ExpiresIn></ContactSync><State>s1",
  );
});

test("one wrong refusal of a corp that WeCom itself says stands does not close it", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  const endpoint = "/cgi-bin/service/get_corp_token";
  it.sandbox.inject({ kind: "error", errcode: 48004, endpoint, times: 1 });
  expect((await failureOf(it.token(app))).upstream?.errcode).toBe(48004);
  await it.first.learn();
  expect(it.find(app)?.authorization?.lostAt).toBeUndefined();
});

test("a corp that was thought lost and that WeCom says stands is good again by the daily comparison", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const [app, ended] = [await it.install(), await it.install(SUITE, OTHER_CORP)];
  await it.authorizations.tick();
  await it.sandbox.suite(SUITE).cancelAuth(OTHER_CORP, { isLost: true });
  it.sandbox.inject({ kind: "error", errcode: 48004, endpoint: AUTH_INFO, times: 2 });
  expect(await it.authorizations.reconcile(it.slot(SUITE))).toEqual({ added: 0, lost: 2 });
  it.clock.advance(24 * 60 * MINUTE);
  await it.ticket();
  await it.authorizations.tick();
  await it.first.learn();
  const isLost = (name: string) => it.find(name)?.authorization?.lostAt !== undefined;
  expect([app, ended].map(isLost)).toEqual([false, true]);
  expect(it.sandbox.accepts(await it.token(app))).toBeTrue();
});

test("the daily comparison passes over a corp that can't be asked for", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const ended = [await it.install(), await it.install(SUITE, OTHER_CORP)];
  await it.authorizations.tick();
  for (const corp of [CORP, OTHER_CORP]) await it.sandbox.suite(SUITE).cancelAuth(corp, { isLost: true });
  it.sandbox.inject({ kind: "raw", body: "", contentType: "text/plain", endpoint: AUTH_INFO, times: 1 });
  expect(await it.authorizations.reconcile(it.slot(SUITE))).toEqual({ added: 0, lost: 1 });
  expect(ended.map((app) => it.find(app)?.authorization?.lostAt !== undefined)).toEqual([false, true]);
});

test("a comparison ends where WeCom wants to be asked no more, and goes on behind that corp", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const ended = [await it.install(), await it.install(SUITE, OTHER_CORP)];
  await it.authorizations.tick();
  for (const corp of [CORP, OTHER_CORP]) await it.sandbox.suite(SUITE).cancelAuth(corp, { isLost: true });
  const compare = () => failureOf(it.authorizations.reconcile(it.slot(SUITE)));
  const isLost = (app: string) => it.find(app)?.authorization?.lostAt !== undefined;
  const before = it.calls("service/get_auth_info");
  it.sandbox.inject({ kind: "error", errcode: 45009, endpoint: AUTH_INFO, times: 1 });
  expect((await compare()).upstream?.errcode).toBe(45009);
  expect([it.calls("service/get_auth_info") - before, ...ended.map(isLost)]).toEqual([1, false, false]);
  // The other corp's is the first question of the next one, whose second is refused.
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: AUTH_INFO, times: 1 });
  const again = compare();
  await gate.arrived();
  it.sandbox.inject({ kind: "error", errcode: 45009, endpoint: AUTH_INFO, times: 1 });
  gate.open();
  expect((await again).upstream?.errcode).toBe(45009);
  await it.first.learn();
  expect(ended.map(isLost)).toEqual([false, true]);
});

test("an end that is pushed, and what is read of one corp, reread no other app", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  const app = await it.install();
  const { apps } = it.first.store;
  const listManaged = apps.listManaged.bind(apps);
  let reads = 0;
  apps.listManaged = () => {
    reads++;
    return listManaged();
  };
  it.clock.advance(MINUTE);
  await it.sandbox.suite(SUITE).changeAuth(CORP);
  await it.authorizations.tick();
  await it.sandbox.suite(SUITE).cancelAuth(CORP);
  expect(reads).toBe(0);
  await it.first.learn();
  expect([reads, it.find(app)]).toEqual([1, undefined]);
});

test("an end whose event was lost is found by the daily comparison, of agency apps too", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  await it.ticket(TEMPLATE);
  const [app, kept] = [await it.install(), await it.install(SUITE, OTHER_CORP)];
  const agency = await it.install(TEMPLATE);
  await it.authorizations.tick();
  for (const suiteId of [SUITE, TEMPLATE]) await it.sandbox.suite(suiteId).cancelAuth(CORP, { isLost: true });
  it.clock.advance(24 * 60 * MINUTE);
  await it.ticket();
  await it.ticket(TEMPLATE);
  await it.authorizations.tick();
  const isLost = (name: string) => it.find(name)?.authorization?.lostAt !== undefined;
  expect([app, kept, agency].map(isLost)).toEqual([true, false, true]);
});

/** What takes authorizations on that store, whose first `failures` attempts to store an app fail. */
function failing(it: SuiteWorld, failures: number): Authorizations {
  const { apps, protocol, clock } = it;
  const grant = apps.grant.bind(apps);
  let left = failures;
  apps.grant = (...given) => (left-- > 0 ? Promise.reject(unavailable("busy", 1000)) : grant(...given));
  const { directory, credentials, store, pacing, administration } = it.first;
  const refresh = () => administration.refresh();
  const common = { apps, directory, clock, events: new EventBus() };
  const asked = { protocolOf: () => protocol, claim: () => Promise.resolve(1) };
  return new Authorizations({
    ...{ ...common, ...asked, codes: store.authorizationCodes, credentials, pacing },
    reconciliation: new Reconciliation({ ...common, ...asked, refresh }),
  });
}
