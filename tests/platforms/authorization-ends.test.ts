import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { Secret } from "../../src/secret.ts";
import { exchangeUpstream, MINI, nameOf, OFFICIAL, pathOf, PlatformHarness } from "./platform-harness.ts";

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
