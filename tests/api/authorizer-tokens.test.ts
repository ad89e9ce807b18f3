import { afterAll, expect, test } from "bun:test";
import { COMPONENT, MINI, nameOf, OFFICIAL } from "../support/platform-world.ts";
import { VIRTUAL, type WireAnswer } from "./dropin-harness.ts";
import { AUTHORIZER_TOKEN, ofAccount, PlatformDropins, REFRESH } from "./platform-dropins.ts";

const at = await PlatformDropins.create();
afterAll(() => at[Symbol.asyncDispose]());
const { it } = at;
const { sandbox, world } = it;
const component = sandbox.component(COMPONENT.appId);

test("a refresh token is good for the client that it was given to, also beside a token that names nobody", async () => {
  const [one, two, every] = [await at.client(), await at.client(), await at.client(["*"], "real")];
  const code = await at.authorized(OFFICIAL);
  const own = await at.componentToken(one.key);
  const { authorizer_refresh_token: given } = await at.queried(own, code);
  const ask = async (token: string) => (await it.ask(AUTHORIZER_TOKEN, ofAccount(token, given))).body;
  expect((await ask(await at.componentToken(two.key)))["errcode"]).toBe(61023);
  const bearer = await at.componentToken(every.key);
  expect((await ask(bearer))["authorizer_access_token"]).toMatch(VIRTUAL);
  const { authorizer_refresh_token: unbound } = await at.queried(bearer, code);
  const unnamed = await it.ask(AUTHORIZER_TOKEN, ofAccount(bearer, unbound));
  expect(unnamed.body["authorizer_access_token"]).toBeString();
  expect(unnamed.body["authorizer_access_token"]).not.toMatch(VIRTUAL);
  await world.administer(`/v1/clients/${one.name}`, { method: "DELETE" });
  expect((await ask(bearer))["errcode"]).toBe(61023);
});

test("a refresh token outlives the key that it was given to when another takes its place, and not its revocation", async () => {
  const [own, every] = [await at.client(), await at.client(["*"], "real")];
  const bearer = await at.componentToken(every.key);
  const { authorizer_refresh_token: given } = await at.queried(
    await at.componentToken(own.key),
    await at.authorized(OFFICIAL),
  );
  const errcode = async () => {
    const answer = await it.ask(AUTHORIZER_TOKEN, ofAccount(bearer, given));
    return Number(answer.body["errcode"] ?? 0);
  };
  const keys = `/v1/clients/${own.name}/keys`;
  const prefixes = async () => {
    const { data } = await world.administer(keys);
    return (data["keys"] as { key: string; replaced_by?: string }[]).map(({ key }) => key);
  };
  const [first = ""] = await prefixes();
  const body = JSON.stringify({ overlap: 0 });
  const headers = { "content-type": "application/json" };
  await world.administer(`${keys}/${first}/roll`, { method: "POST", headers, body });
  expect(await errcode()).toBe(0);
  const next = (await prefixes()).find((each) => each !== first);
  await world.administer(`${keys}/${next}`, { method: "DELETE" });
  expect(await errcode()).toBe(61023);
});

test("a refresh token ends with the authorization, also when that is given again; a change of it ends none", async () => {
  const { key } = await at.client();
  const token = await at.componentToken(key);
  const before = await at.queried(token, await at.authorized(MINI));
  const ask = async ({ authorizer_refresh_token: given }: WireAnswer["body"]) =>
    (await it.ask(AUTHORIZER_TOKEN, ofAccount(token, given, MINI))).body;
  world.clock.advance(5000);
  const { code } = await component.updateAuthorization(MINI, { newRefreshToken: true, push: false });
  expect(await at.queried(token, code)).toMatchObject({
    authorizer_refresh_token: before["authorizer_refresh_token"],
  });
  expect(await ask(before)).toMatchObject({ authorizer_access_token: expect.stringMatching(VIRTUAL) });
  await component.unauthorize(MINI, { push: false });
  // The service learns of it by WeChat's list alone; only what is lost can be removed.
  world.clock.advance(5000);
  await world.administer(`/v1/platforms/${COMPONENT.appId}/reconcile`, { method: "POST" });
  expect((await world.administer(`/v1/apps/${nameOf(MINI)}`, { method: "DELETE" })).status).toBe(200);
  expect(await ask(before)).toMatchObject({ errcode: 61003 });
  world.clock.advance(5000);
  const after = await at.queried(token, await at.authorized(MINI));
  expect(await ask(before)).toMatchObject({ errcode: 61023 });
  expect((await ask(after))["authorizer_access_token"]).toMatch(VIRTUAL);
});

test("whoever has the real refresh token may go on with it, and is given a virtual one", async () => {
  const { key } = await at.client();
  const token = await at.componentToken(key);
  await at.queried(token, await at.authorized(OFFICIAL));
  const real = component.refreshTokenOf(OFFICIAL) ?? "";
  const { body } = await it.ask(AUTHORIZER_TOKEN, ofAccount(token, real));
  expect(body["authorizer_refresh_token"]).toMatch(REFRESH);
  for (const wrong of [`${real}x`, `${body["authorizer_refresh_token"]}x`, ""])
    expect((await it.refusal(AUTHORIZER_TOKEN, ofAccount(token, wrong)))[0]).toBe(61023);
  const unknown = ofAccount(token, real, "wxa000000000000009");
  expect((await it.refusal(AUTHORIZER_TOKEN, unknown))[0]).toBe(61003);
});
