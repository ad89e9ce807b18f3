import { expect, test } from "bun:test";
import type { Action } from "../../src/access/client.ts";
import { WX } from "../support/harness.ts";
import { type Asking, DropinHarness, STRANGE } from "./dropin-harness.ts";

const EXCHANGE = "/sns/oauth2/access_token";
const USER = "/sns/userinfo";
const CHECK = "/sns/auth";
const REFRESH = "/sns/oauth2/refresh_token";

async function setup(actions: readonly Action[] = ["login"]) {
  const at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
  const key = await at.key("site", { actions, apps: [WX.appId] });
  let codes = 0;
  /** What a code is exchanged for, with that key or secret. */
  const exchange = async (secret = key, more: Asking = {}) => {
    const code = `sandbox-code-private-${codes++}`;
    const query = { grant_type: "authorization_code", appid: WX.appId, secret, code };
    const { body } = await at.ask(EXCHANGE, { query, from: STRANGE, ...more });
    expect(body["access_token"]).toBeString();
    return body as Record<"access_token" | "refresh_token" | "openid", string>;
  };
  /** The second steps, as SDKs ask for them: from any machine, without a key. */
  const user = ({ access_token, openid }: Record<"access_token" | "openid", string>, from = STRANGE) =>
    at.ask(USER, { query: { access_token, openid, lang: "zh_CN" }, from });
  const check = ({ access_token, openid }: Record<"access_token" | "openid", string>) =>
    at.ask(CHECK, { query: { access_token, openid }, from: STRANGE });
  const refresh = (refresh_token: string, from = STRANGE) =>
    at.ask(REFRESH, { query: { appid: WX.appId, grant_type: "refresh_token", refresh_token }, from });
  return { at, key, exchange, user, check, refresh, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

const REFUSED = { errcode: 48001 };

test("what was exchanged here is good for the next steps from any machine, by a key or by the app's secret", async () => {
  await using it = await setup();
  for (const secret of [it.key, WX.secret]) {
    const given = await it.exchange(secret);
    expect((await it.user(given)).body).toMatchObject({ openid: given.openid });
    expect((await it.check(given)).body).toMatchObject({ errcode: 0 });
    expect((await it.refresh(given.refresh_token)).body).toMatchObject({ openid: given.openid });
  }
  const body = { wx_app_id: WX.appId, wx_app_secret: it.key, code: "sandbox-code-private-x" };
  const { data } = await it.at.world.post("/AccessToken/getOauthAccessToken", body);
  expect((await it.user(data as Awaited<ReturnType<typeof it.exchange>>)).body).toMatchObject({
    openid: data["openid"],
  });
});

test("a token that was issued elsewhere, or to nobody, is refused from an untrusted address, and is not sent up", async () => {
  await using it = await setup();
  const query = {
    grant_type: "authorization_code",
    appid: WX.appId,
    secret: WX.secret,
    code: "sandbox-code-9",
  };
  const url = `${it.at.sandbox.weixinUrl}${EXCHANGE}?${new URLSearchParams(query).toString()}`;
  const foreign = (await (await fetch(url)).json()) as Awaited<ReturnType<typeof it.exchange>>;
  it.at.sandbox.resetCalls();
  for (const given of [foreign, { ...foreign, access_token: "" }, { ...foreign, access_token: WX.secret }])
    expect((await it.user(given)).body).toMatchObject(REFUSED);
  expect((await it.refresh(foreign.refresh_token)).body).toMatchObject(REFUSED);
  expect(it.at.sandbox.calls()).toBe(0);
  expect((await it.user(foreign, "127.0.0.1")).body).toMatchObject({ openid: foreign.openid });
});

test("a refresh's answer is good from any machine, from whichever network it came, over a restart", async () => {
  await using it = await setup();
  for (const from of [STRANGE, "127.0.0.1"]) {
    const first = await it.exchange();
    it.at.world.clock.advance(3 * 3_600_000);
    expect((await it.user(first)).body).toMatchObject(REFUSED);
    const { body } = await it.refresh(first.refresh_token, from);
    const next = body as typeof first;
    expect(next.access_token).not.toBe(first.access_token);
    expect((await it.user(next)).body).toMatchObject({ openid: first.openid });
    await it.at.world.stop();
    await it.at.world.start();
    expect((await it.user(next)).body).toMatchObject({ openid: first.openid });
    expect((await it.refresh(next.refresh_token)).body).toMatchObject({ openid: first.openid });
  }
});

test("it ends after two hours and thirty days, and at once with the key, the client or the app", async () => {
  await using it = await setup();
  const { clock } = it.at.world;
  const given = await it.exchange();
  await it.at.world.stop();
  await it.at.world.start();
  clock.advance(2 * 3_600_000);
  expect((await it.user(given)).body).toMatchObject(REFUSED);
  expect((await it.refresh(given.refresh_token)).body).toMatchObject({ openid: given.openid });
  const change = (path: string, init: RequestInit) =>
    it.at.world.administer(path, { headers: { "content-type": "application/json" }, ...init });
  const [one, two] = [await it.exchange(), await it.exchange(WX.secret)];
  await change(`/v1/clients/site/keys/${it.key.slice(0, 12)}`, { method: "DELETE" });
  expect((await it.user(one)).body).toMatchObject(REFUSED);
  expect((await it.user(two)).body).toMatchObject({ openid: two.openid });
  const another = await it.at.key("another", { actions: ["login"], apps: [WX.appId] });
  const three = await it.exchange(another);
  expect((await it.user(three)).body).toMatchObject({ openid: three.openid });
  await change("/v1/clients/another", { method: "DELETE" });
  expect((await it.user(three)).body).toMatchObject(REFUSED);
  await it.at.key("another", { actions: ["login"], apps: [WX.appId] });
  expect((await it.user(three)).body).toMatchObject(REFUSED);
});

test("the client's grants, policy, networks and limits apply as they are now, and it is counted as the client's", async () => {
  await using it = await setup();
  const given = await it.exchange();
  const set = async (body: object) => {
    const headers = { "content-type": "application/json" };
    const init = { method: "PATCH", headers, body: JSON.stringify(body) };
    expect((await it.at.world.administer("/v1/clients/site", init)).status).toBe(200);
  };
  const grants = (actions: string[], apps = [WX.appId]) => ({ grants: [{ apps, actions }] });
  const cases: [object, object][] = [
    [grants(["ticket:sign"]), grants(["login"])],
    [grants(["login"], ["wx00000000000000bb"]), grants(["login"])],
    [
      { delivery: "virtual", policy: { preset: "all", deny: ["/sns/**"] } },
      { policy: { preset: "all", deny: [] } },
    ],
    [{ networks: ["192.0.2.0/24"] }, { networks: [] }],
  ];
  for (const [bad, good] of cases) {
    await set(bad);
    expect([bad, (await it.user(given)).body["errcode"]]).toEqual([bad, 48001]);
    await set(good);
    expect([good, (await it.user(given)).body["openid"]]).toEqual([good, given.openid]);
  }
  await set({ rate_limit: 1 });
  const codes = [];
  for (let n = 0; n < 20; n++) codes.push((await it.user(given)).body["errcode"]);
  expect(codes).toContain(45011);
  await it.at.world.stop();
  await it.at.world.start();
  const { data } = await it.at.world.administer("/v1/audit/usage?client=site&action=api:call");
  expect(data["usage"]).toMatchObject([{ action: "api:call /sns", app: WX.appId }]);
});

test("P6: the database has no such token, nor a plain digest of one", async () => {
  await using it = await setup();
  const { access_token, refresh_token } = await it.exchange();
  await it.at.world.stop();
  const bytes = Buffer.from(await Bun.file(it.at.world.databasePath).bytes());
  const wal = Bun.file(`${it.at.world.databasePath}-wal`);
  const all = Buffer.concat([bytes, Buffer.from((await wal.exists()) ? await wal.bytes() : [])]);
  for (const text of [access_token, refresh_token])
    for (const encoding of ["hex", "base64url"] as const)
      for (const found of [text, new Bun.CryptoHasher("sha256").update(text).digest(encoding)])
        expect(all.includes(found)).toBe(false);
  await it.at.world.start();
});
