import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { AppIndex } from "../../src/credentials/app-index.ts";
import { Secret } from "../../src/secret.ts";
import { COMPONENT, MINI, nameOf, OFFICIAL, pathOf, PlatformHarness } from "./platform-harness.ts";
import { failureOf } from "../support/refusals.ts";

const TOKEN = "api_authorizer_token";
/** Past the life of a token. */
const LIFE_MS = 7_200_000;
const SLOT = { platform: "weixin", appId: OFFICIAL, name: COMPONENT } as const;

/** A component with one account, whose first token has expired. */
async function setup(refreshTokens: "stable" | "rotate" = "rotate") {
  const it = await PlatformHarness.create({ refreshTokens });
  await it.authorized();
  it.clock.advance(LIFE_MS);
  await it.control.pushTicket();
  it.sandbox.resetCalls();
  return it;
}

const current = (it: PlatformHarness) => it.control.refreshTokenOf(OFFICIAL) ?? "";

test("P1: four processes that need an account's token at the same time ask for one, and for one of the component", async () => {
  await using it = await setup();
  const processes = [it.first, await it.process(), await it.process(), await it.process()];
  const tokens = await Promise.all(processes.map((each) => each.token()));
  expect(new Set(tokens).size).toBe(1);
  expect(it.calls(TOKEN)).toBe(1);
  expect(it.calls("api_component_token")).toBe(1);
});

test("trap 12: a refresh token that WeChat has exchanged is stored before the token is handed out, and used from then on", async () => {
  await using it = await setup("rotate");
  const before = await it.first.refreshToken();
  await it.first.token();
  expect(await it.first.refreshToken()).toBe(current(it));
  expect(current(it)).not.toBe(before);
  // The one before is worth nothing by then.
  it.clock.advance(LIFE_MS);
  expect(it.sandbox.accepts(await (await it.process()).token())).toBeTrue();
  expect(await it.first.refreshToken()).toBe(current(it));
});

test("trap 12: while the refresh token that came can't be stored, no token is handed out, and none is lost", async () => {
  await using it = await setup("rotate");
  const broken = await it.process();
  const { apps } = broken.store;
  const exchange = apps.exchangeSecret.bind(apps);
  apps.exchangeSecret = () => Promise.reject(new Error("the disk is full"));
  expect(await broken.token().catch((error: unknown) => error)).toMatchObject({
    message: "the disk is full",
  });
  apps.exchangeSecret = exchange;
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(await it.first.refreshToken()).toBe(current(it));
});

test("trap 12: a refresh token that stays the same is written no more, and one that WeChat leaves out stays", async () => {
  await using it = await setup("stable");
  const before = await it.first.store.apps.findSecret(SLOT);
  await it.first.token();
  it.clock.advance(LIFE_MS);
  const endpoint = pathOf(TOKEN);
  it.sandbox.inject({ kind: "field", field: "authorizer_refresh_token", endpoint, times: 1 });
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(await it.first.store.apps.findSecret(SLOT)).toEqual(before);
});

test("trap 12: an answer that was lost is repaired by asking with the same refresh token again", async () => {
  await using it = await setup("rotate");
  it.sandbox.inject({ kind: "reset_after", endpoint: pathOf(TOKEN), times: 1 });
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(it.calls(TOKEN)).toBe(2);
  expect(await it.first.refreshToken()).toBe(current(it));
});

test("P5: a slow answer's refresh token never takes the place of a newer one", async () => {
  await using it = await setup("rotate");
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf(TOKEN), times: 1 });
  const slow = it.first.token();
  await gate.arrived();
  // Meanwhile the account changes what it allows, and WeChat the refresh token with it.
  const other = await it.process();
  const { code } = await it.control.updateAuthorization(OFFICIAL, { newRefreshToken: true, push: false });
  await other.exchange(code);
  expect(await other.refreshToken()).toBe(current(it));
  gate.open();
  await slow.catch(() => undefined);
  expect(await other.refreshToken()).toBe(current(it));
  expect(it.sandbox.accepts(await other.token())).toBeTrue();
});

test("P5: where two refresh tokens were given at the same time, the one that WeChat takes is stored", async () => {
  await using it = await setup("rotate");
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate_before", gate, endpoint: pathOf(TOKEN), times: 1 });
  const slow = it.first.token();
  await gate.arrived();
  const { code } = await it.control.updateAuthorization(OFFICIAL, { newRefreshToken: true, push: false });
  await (await it.process()).exchange(code);
  const stored = await it.first.refreshToken();
  gate.open();
  expect(it.sandbox.accepts(await slow)).toBeTrue();
  expect(await it.first.refreshToken()).toBe(current(it));
  expect(current(it)).not.toBe(stored);
});

test("P5: a code's refresh token never takes the place of one that WeChat gave later", async () => {
  await using it = await setup("rotate");
  const gate = new Gate();
  const { code } = await it.control.updateAuthorization(OFFICIAL, { funcIds: [1], push: false });
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf("api_query_auth"), times: 1 });
  const slow = (await it.process()).exchange(code);
  await gate.arrived();
  await it.first.token();
  const newest = current(it);
  gate.open();
  await slow;
  expect(await it.first.refreshToken()).toBe(newest);
  expect((await it.first.find())?.authorization?.scopes).toEqual([1]);
});

test("P5: a refresh token of before an account withdrew takes the place of none that it was given since", async () => {
  await using it = await setup("rotate");
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf(TOKEN), times: 1 });
  const slow = it.first.token().catch(() => undefined);
  await gate.arrived();
  const other = await it.process();
  await it.control.unauthorize(OFFICIAL);
  it.clock.advance(1000);
  await other.exchange((await it.control.authorize(OFFICIAL)).code);
  expect(await other.refreshToken()).toBe(current(it));
  gate.open();
  await slow;
  expect(await other.refreshToken()).toBe(current(it));
});

test("a refusal of an authorization does not close the one that was given in the same second", async () => {
  await using it = await setup("stable");
  await it.first.componentToken();
  it.clock.advance(1500 - (it.clock.now() % 1000));
  await it.control.unauthorize(OFFICIAL, { push: false });
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: pathOf(TOKEN), times: 1 });
  const token = it.first.token().catch(() => undefined);
  await gate.arrived();
  await it.control.authorize(OFFICIAL);
  await (await it.process()).authorizations.tick();
  gate.open();
  await token;
  expect((await it.first.find())?.authorization?.lostAt).toBeUndefined();
});

test("P5: a change by an administrator leaves the refresh token that WeChat has exchanged meanwhile", async () => {
  await using it = await setup("rotate");
  const other = await it.process();
  await it.first.token();
  const { credentials, directory } = it.first;
  const slot = directory.slotOfApp(nameOf(OFFICIAL));
  const options = { version: undefined, isVerified: false, actor: SERVICE };
  await other.administration.update(nameOf(OFFICIAL), { title: "新名" }, options);
  expect(await it.first.refreshToken()).toBe(current(it));
  expect((await it.first.find())?.managed?.title).toBe("新名");
  // Whoever has looked the app up before is served all the same.
  it.clock.advance(LIFE_MS);
  const { value } = await credentials.get({ slot, kind: "access_token" });
  expect(it.sandbox.accepts(value.reveal())).toBeTrue();
  const change = { secret: new Secret("refreshtoken@@@of-somebody-else") };
  expect(await failureOf(other.administration.update(nameOf(OFFICIAL), change, options))).toMatchObject({
    code: "invalid_parameter",
  });
});

test("a refresh token that WeChat refuses is recovered from WeChat, and the account goes on", async () => {
  await using it = await setup("stable");
  it.control.component.authorizer(OFFICIAL).renewRefreshToken();
  it.clock.advance(300_000);
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(await it.first.refreshToken()).toBe(current(it));
  expect(it.calls("api_get_authorizer_info")).toBe(1);
  expect(await it.first.audited("authorization.lost")).toEqual([]);
});

test("an authorization that WeChat refuses for good is closed in every process, told once, and good again when it is given again", async () => {
  await using it = await setup("stable");
  const other = await it.process();
  await it.control.unauthorize(OFFICIAL, { push: false });
  const refused = await failureOf(it.first.token());
  expect(refused).toMatchObject({ upstream: { errcode: 61003 } });
  await other.authorizations.lose(SLOT, refused);
  it.sandbox.resetCalls();
  const closed = await other.token().catch(({ code }) => code);
  expect(closed).toBe("unavailable");
  expect(it.calls()).toBe(0);
  expect(await it.first.audited("authorization.lost")).toEqual([{ app: nameOf(OFFICIAL), errcode: 61003 }]);
  it.clock.advance(5000);
  await it.authorized();
  expect(it.sandbox.accepts(await other.token())).toBeTrue();
  expect((await other.find())?.authorization?.lostAt).toBeUndefined();
});

test.each([61003, 61023])(
  "one wrong %d of an account that WeChat itself says stands does not close it",
  async (errcode) => {
    await using it = await setup("stable");
    it.sandbox.inject({ kind: "error", errcode, endpoint: pathOf(TOKEN), times: 1 });
    expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
    expect([it.calls(TOKEN), it.calls("api_get_authorizer_info")]).toEqual([2, 1]);
    expect((await it.first.find())?.authorization?.lostAt).toBeUndefined();
  },
);

test("a refresh token that is refused and that WeChat has no other for is one of a lost authorization", async () => {
  await using it = await setup("stable");
  const [errcode, errmsg] = [61023, "refresh_token is invalid"];
  it.sandbox.inject({ kind: "error", errcode, errmsg, endpoint: pathOf(TOKEN), times: 9 });
  await it.control.unauthorize(OFFICIAL, { push: false });
  expect(await failureOf(it.first.token())).toMatchObject({ upstream: { errcode: 61023 } });
  expect((await it.first.find())?.authorization?.lostAt).toBe(it.clock.now());
  expect(it.calls(TOKEN)).toBe(1);
});

test.each([
  ["an empty token", { kind: "field", field: "authorizer_access_token", value: "" }],
  ["no token", { kind: "field", field: "authorizer_access_token" }],
  ["an errcode beside an empty token", { kind: "raw", body: EMPTY("61023"), contentType: "text/plain" }],
  ["an errcode as a text", { kind: "raw", body: EMPTY('"45009"'), contentType: "text/plain" }],
] as const)("trap 21: an answer with %s is an error, and nothing of it is stored", async (_what, fault) => {
  await using it = await setup("stable");
  const before = await it.first.refreshToken();
  it.sandbox.inject({ ...fault, endpoint: pathOf(TOKEN), times: 9 });
  await failureOf(it.first.token());
  const { credential } = await it.first.store.credentials.find({ slot: SLOT, kind: "access_token" });
  expect(credential === undefined || credential.expiresAt <= it.clock.now()).toBeTrue();
  expect(credential?.value.reveal()).not.toBe("");
  expect(await it.first.refreshToken()).toBe(before);
});

test("a component's token that WeChat no longer takes is replaced once, and the account's comes by the new one", async () => {
  await using it = await setup("stable");
  await it.first.componentToken();
  it.sandbox.killTokens(COMPONENT);
  it.clock.advance(60_000);
  expect(it.sandbox.accepts(await it.first.token())).toBeTrue();
  expect(it.calls("api_component_token")).toBe(2);
});

test("accounts whose renewal WeChat has limited are blocked, each asked for once, and named before their tokens end", async () => {
  await using it = await PlatformHarness.create();
  const accounts = [OFFICIAL, MINI];
  for (const account of accounts) {
    await it.authorized(account);
    await it.first.token(account);
  }
  it.clock.advance(LIFE_MS - 8 * 60_000);
  await it.control.pushTicket();
  it.sandbox.inject({ kind: "error", errcode: 45009, endpoint: pathOf(TOKEN), times: 10 });
  const { store, directory, credentials } = it.first;
  const index = new AppIndex({
    ...{ directory, calls: store.callCounts, changes: store.changes, clock: it.clock },
    ...{ facts: store.credentialFacts, pacing: store.pacing },
  });
  it.sandbox.resetCalls();
  for (const account of [...accounts, ...accounts]) {
    const ref = { slot: directory.slotOfApp(nameOf(account)), kind: "access_token" } as const;
    const refused = credentials.refresh(ref, { force: false });
    expect((await failureOf(refused)).upstream?.errcode).toBe(45009);
  }
  expect(it.calls(TOKEN)).toBe(2);
  const names = accounts.map(nameOf);
  expect(await index.statesOf(names)).toEqual(["blocked", "blocked"]);
  expect((await index.endingTokens(10 * 60_000, () => true, 10)).map(({ name }) => name)).toEqual(names);
});

test("nothing is asked for an account of a platform that is disabled", async () => {
  await using it = await setup("stable");
  const options = { version: undefined, isVerified: false, actor: SERVICE };
  await it.first.administration.update(COMPONENT, { isDisabled: true }, options);
  expect(await failureOf(it.first.token())).toMatchObject({ code: "unavailable" });
  expect(it.calls()).toBe(0);
});

/** How some answers say that there is none. */
function EMPTY(errcode: string): string {
  return `{"errcode":${errcode},"errmsg":"no","authorizer_access_token":"","expires_in":0,"authorizer_refresh_token":""}`;
}
