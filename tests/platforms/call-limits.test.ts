import { expect, test } from "bun:test";
import { failureOf } from "../support/refusals.ts";
import { MINI, OFFICIAL, pathOf, PlatformHarness } from "./platform-harness.ts";
import { CORP, MINUTE, OTHER_CORP, SUITE, SuiteWorld, TEMPLATE } from "./suite-world.ts";

const { signal } = new AbortController();
const REFRESH = "api_authorizer_token";
const CORP_TOKEN = "service/get_corp_token";
const refused = (errcode: number, retryAfterMs: number) => ({ upstream: { errcode }, retryAfterMs });

test("an endpoint of a component that has reached its limit is called for none of its accounts by any process for ten minutes", async () => {
  await using it = await PlatformHarness.create();
  const other = await it.process();
  for (const account of [OFFICIAL, MINI]) await it.authorized(account);
  it.clock.advance(3 * 3_600_000);
  await it.control.pushTicket();
  it.sandbox.inject({ kind: "error", errcode: 45009, endpoint: pathOf(REFRESH), times: 1 });
  expect(await failureOf(it.first.token(OFFICIAL))).toMatchObject(refused(45009, 10 * MINUTE));
  it.clock.advance(MINUTE);
  for (const account of [OFFICIAL, MINI])
    expect(await failureOf(other.token(account))).toMatchObject(refused(45009, 9 * MINUTE));
  expect(it.calls(REFRESH)).toBe(1);
  // Whatever else there is has limits of its own.
  await it.first.platforms.parts.preAuthCode(it.first.component, signal);
  it.clock.advance(9 * MINUTE);
  for (const account of [OFFICIAL, MINI]) expect(it.sandbox.accepts(await other.token(account))).toBeTrue();
});

test("a suite that WeCom wants to hear less of is quiet as a whole, for longer each time, and no corp's own app is", async () => {
  await using it = await SuiteWorld.create();
  await it.ticket();
  await it.ticket(TEMPLATE);
  const [app, other] = [await it.install(), await it.install(SUITE, OTHER_CORP)];
  const agency = await it.install(TEMPLATE, CORP);
  await it.authorizations.tick();
  it.sandbox.resetCalls();
  const endpoint = `/cgi-bin/${CORP_TOKEN}`;
  for (const minutes of [1, 5]) {
    it.sandbox.inject({ kind: "error", errcode: 45009, endpoint, times: 1 });
    expect(await failureOf(it.token(app))).toMatchObject(refused(45009, minutes * MINUTE));
    expect(await failureOf(it.token(other))).toMatchObject(refused(45009, minutes * MINUTE));
    const described = it.protocol.describe(it.slot(SUITE), CORP, it.find(app)!.secret, signal);
    expect(await failureOf(described)).toMatchObject(refused(45009, minutes * MINUTE));
    it.clock.advance(minutes * MINUTE);
  }
  expect([it.calls(CORP_TOKEN), it.calls("service/get_auth_info")]).toEqual([2, 0]);
  expect(it.sandbox.accepts(await it.token(agency))).toBeTrue();
  expect(it.sandbox.accepts(await it.token(other))).toBeTrue();
  // What has come to something begins anew.
  it.sandbox.inject({ kind: "error", errcode: 45009, endpoint, times: 1 });
  expect(await failureOf(it.token(app))).toMatchObject(refused(45009, MINUTE));
});
