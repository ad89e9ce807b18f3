import { expect, test } from "bun:test";
import { WX } from "../support/harness.ts";
import { type Asking, DropinHarness, STRANGE, VIRTUAL } from "./dropin-harness.ts";

const STABLE = "/cgi-bin/stable_token";
const FORCED = { grant_type: "client_credential", appid: WX.appId, force_refresh: true };
const DAY_MS = 86_400_000;

/** ManualRefresh a new token; gives what was answered. */
async function force(at: DropinHarness, secret: string = WX.secret, more: Asking = {}) {
  return (await at.ask(STABLE, { body: { ...FORCED, secret }, ...more })).body;
}

test("force_refresh gives another token, which is everybody's from then on", async () => {
  await using at = await DropinHarness.create();
  const before = await at.token();
  const { access_token: after, expires_in } = await force(at, WX.secret, { from: STRANGE });
  expect(after).not.toBe(before);
  expect(expires_in).toBe(7200);
  expect(await at.token()).toBe(after);
  expect(at.sandbox.calls(STABLE)).toBe(2);
});

test("force_refresh that is not true as JSON is none", async () => {
  await using at = await DropinHarness.create();
  const before = await at.token();
  for (const force_refresh of [false, 0, 1, null, "false", "", []]) {
    const body = { ...FORCED, force_refresh, secret: WX.secret };
    expect((await at.ask(STABLE, { body })).body["access_token"]).toBe(before);
  }
  const query = { grant_type: "client_credential", appid: WX.appId, force_refresh: "true" };
  expect((await at.ask("/cgi-bin/token", { query })).body["access_token"]).toBe(before);
  expect(at.sandbox.calls()).toBe(1);
});

test("within 30 s of the last one the current token is given, as WeChat does", async () => {
  await using at = await DropinHarness.create();
  await at.token();
  const { access_token: first } = await force(at);
  at.world.clock.advance(29_000);
  const again = await force(at);
  expect(again).toEqual({ access_token: first, expires_in: 7171 });
  expect(at.sandbox.calls(STABLE)).toBe(2);
  at.world.clock.advance(1000);
  expect((await force(at))["access_token"]).not.toBe(first);
  expect(at.sandbox.calls(STABLE)).toBe(3);
});

test("after twenty in a day the next is refused as WeChat does, until midnight", async () => {
  await using at = await DropinHarness.create();
  for (let n = 0; n < 20; n++) {
    expect((await force(at))["access_token"]).toBeString();
    at.world.clock.advance(30_000);
  }
  const calls = at.sandbox.calls();
  const refused = await force(at);
  expect(refused["errcode"]).toBe(45009);
  expect(refused["errmsg"]).toMatch(/^reach max api daily quota limit rid: [0-9a-f-]{26}$/);
  const waitMs = Number(refused["retry_after"]) * 1000;
  expect(waitMs).toBeLessThan(DAY_MS);
  expect(at.sandbox.calls()).toBe(calls);
  expect(await at.token()).toBeString();
  at.world.clock.advance(waitMs);
  expect((await force(at))["access_token"]).toBeString();
});

test("a client without the grant for it gets the current token, at no cost, and is counted", async () => {
  await using at = await DropinHarness.create();
  const reader = await at.key("reader", { actions: ["token:read"] });
  const before = await at.token();
  for (const secret of [
    reader,
    await at.key("virtual", { actions: ["token:read", "api:call"], delivery: "virtual" }),
  ]) {
    const { access_token: given } = await force(at, secret);
    expect(given).toEqual(secret === reader ? before : expect.stringMatching(VIRTUAL));
  }
  expect(await force(at, await at.key("caller", { actions: ["api:call"] }))).toMatchObject({
    errcode: 48001,
    errmsg: expect.stringContaining("not granted to this client for this app: token:read"),
  });
  expect(await at.token()).toBe(before);
  expect(at.sandbox.calls()).toBe(1);
  // A stop writes down what was counted.
  await at.world.stop();
  await at.world.start();
  const { data } = await at.world.administer("/v1/audit/usage?action=token:read&client=reader");
  expect(data["usage"]).toMatchObject([{ action: "token:read force_refresh", app: WX.appId, count: 1 }]);
});

test("a virtual client gets a virtual token for it, and the real one is another", async () => {
  await using at = await DropinHarness.create();
  const before = await at.token();
  const key = await at.key("laptop", { delivery: "virtual" });
  expect(await force(at, key)).toEqual({ access_token: expect.stringMatching(VIRTUAL), expires_in: 7200 });
  const after = await at.token();
  expect(after).not.toBe(before);
  // Within the pause too it is none of WeChat's.
  expect((await force(at, key))["access_token"]).toMatch(VIRTUAL);
  expect(await at.token()).toBe(after);
});
