import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Answer, CORP, WECOM, WECOM_FOREIGN, Harness, WX, WX_FOREIGN } from "../support/harness.ts";

const MINUTE = 60_000;
const STABLE = "/cgi-bin/stable_token";
const CLASSIC = "/cgi-bin/token";
const WRONG = "not-the-secret-of-anything";
const FOREIGN = { appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret };

function getXcx(world: Harness, secret?: string, appid = WX.appId): Promise<Answer> {
  return world.get("/AccessToken/getXcx", secret === undefined ? { appid } : { appid, secret });
}

function getQyapi(world: Harness, secret: string): Promise<Answer> {
  return world.get("/AccessToken/getQyapi", { corpid: CORP, secret });
}

/** Asks with `count` secrets that nobody knows, one after the other; the codes that come back. */
async function guess(world: Harness, count: number, name: string): Promise<number[]> {
  const codes: number[] = [];
  for (let n = 0; n < count; n++) codes.push((await getXcx(world, `${name}-${n}`)).code);
  return codes;
}

/** Every byte of every file of the database. */
function databaseBytes(world: Harness): string {
  const folder = dirname(world.databasePath);
  const files = readdirSync(folder).filter((name) => name.startsWith("accesstoken.db"));
  return files.map((name) => readFileSync(join(folder, name), "latin1")).join("\n");
}

test("the configured secret may be given or left out: it is one token and one upstream call", async () => {
  await using world = await Harness.create();
  const without = await getXcx(world);
  const given = await getXcx(world, WX.secret);
  expect(without.code).toBe(0);
  expect(given.data).toEqual(without.data);
  expect(world.sandbox.calls(STABLE)).toBe(1);
});

test("an app that the service does not know is served with the secret that its caller brings", async () => {
  await using world = await Harness.create();
  const first = await getXcx(world, FOREIGN.secret, FOREIGN.appid);
  expect({ code: first.code, life: first.data["expires_in"] }).toEqual({ code: 0, life: 7190 });
  expect(world.sandbox.accepts(String(first.data["access_token"]))).toBe(true);
  const second = await getXcx(world, FOREIGN.secret, FOREIGN.appid);
  expect(second.data).toEqual(first.data);
  expect(world.sandbox.calls(STABLE)).toBe(1);
  expect((await getXcx(world, undefined, FOREIGN.appid)).code).toBe(1);
});

test("a secret that differs from the configured one is asked for in a slot of its own", async () => {
  await using world = await Harness.create({ environment: { WEIXIN_TOKEN_MODE: "classic" } });
  const own = await getXcx(world);
  world.sandbox.changeWeixinApp(WX.appId, { secret: "rotated-this-morning" });
  const caller = await getXcx(world, "rotated-this-morning");
  expect(caller.code).toBe(0);
  expect(caller.data["access_token"]).not.toBe(own.data["access_token"]);
  expect((await getXcx(world)).data).toEqual(own.data);
});

test("a caller's own secret is always asked for by stable_token, also when the app's mode is classic", async () => {
  await using world = await Harness.create({ environment: { WEIXIN_TOKEN_MODE: "classic" } });
  await getXcx(world, FOREIGN.secret, FOREIGN.appid);
  await getXcx(world, WRONG);
  expect([world.sandbox.calls(CLASSIC), world.sandbox.calls(STABLE)]).toEqual([0, 2]);
  await getXcx(world);
  expect([world.sandbox.calls(CLASSIC), world.sandbox.calls(STABLE)]).toEqual([1, 2]);
});

test("a wrong secret gets WeChat's refusal, and for ten minutes it costs one upstream call", async () => {
  await using world = await Harness.create();
  for (let n = 0; n < 5; n++) {
    const answer = await getXcx(world, WRONG);
    expect([answer.code, answer.data]).toEqual([40125, {}]);
    expect(answer.msg).toStartWith("invalid appsecret");
  }
  world.clock.advance(10 * MINUTE - 1);
  expect((await getXcx(world, WRONG)).code).toBe(40125);
  expect(world.sandbox.calls()).toBe(1);
  world.clock.advance(2);
  expect((await getXcx(world, WRONG)).code).toBe(40125);
  expect(world.sandbox.calls()).toBe(2);
});

test("a refusal is remembered for that app and secret and for no other", async () => {
  await using world = await Harness.create();
  await getXcx(world, FOREIGN.secret);
  expect((await getXcx(world, FOREIGN.secret)).code).toBe(40125);
  expect((await getXcx(world, FOREIGN.secret, FOREIGN.appid)).code).toBe(0);
  expect((await getXcx(world)).code).toBe(0);
});

test("a wrong secret in one flow is known in the others", async () => {
  await using world = await Harness.create();
  await getXcx(world, WRONG);
  const body = { wx_app_id: WX.appId, wx_app_secret: WRONG };
  const answers = await Promise.all([
    world.post("/JsSDK/getJsApiSign", { ...body, url: "https://example.com/" }),
    world.post("/AccessToken/getOauthAccessToken", { ...body, code: "sandbox-code-1" }),
    world.get("/xcx/jscode2session", { appid: WX.appId, secret: WRONG, code: "sandbox-code-1" }),
  ]);
  expect(answers.map(({ code }) => code)).toEqual([40125, 40125, 40125]);
  expect(world.sandbox.calls()).toBe(1);
});

test("P4: a wrong secret is not served the configured token, and does not touch it", async () => {
  await using world = await Harness.create();
  const before = await getXcx(world);
  expect((await getXcx(world, WRONG)).data).toEqual({});
  const wrong = { appid: WX.appId, secret: WRONG };
  expect((await world.get("/AccessToken/clearXcx", wrong)).code).toBe(0);
  const calls = world.sandbox.calls();
  expect((await getXcx(world)).data).toEqual(before.data);
  expect(world.sandbox.calls()).toBe(calls);
});

test("after twenty refused secrets in a minute, unknown ones are code 429 and WeChat is not asked", async () => {
  await using world = await Harness.create();
  expect(await guess(world, 20, "first")).toEqual(Array<number>(20).fill(40125));
  const turnedAway = await getXcx(world, "first-20");
  expect([turnedAway.code, turnedAway.data]).toEqual([429, {}]);
  expect(turnedAway.headers.get("retry-after")).toBe("60");
  expect(await getXcx(world, "first-0")).toMatchObject({ code: 40125 });
  expect(world.sandbox.calls()).toBe(20);
  world.clock.advance(MINUTE);
  expect((await getXcx(world, "first-20")).code).toBe(40125);
  expect(world.sandbox.calls()).toBe(21);
});

test("the limit holds for all apps, platforms and flows together", async () => {
  await using world = await Harness.create();
  await guess(world, 15, "x");
  for (let n = 0; n < 5; n++) expect((await getQyapi(world, `corp-${n}`)).code).toBe(40001);
  expect((await getQyapi(world, "corp-5")).code).toBe(429);
  expect((await getXcx(world, "x-20", "wxAnotherApp")).code).toBe(429);
  const login = { appid: WX.appId, secret: "x-21", code: "sandbox-code-1" };
  expect((await world.get("/xcx/jscode2session", login)).code).toBe(429);
  const oauth = { wx_app_id: WX.appId, wx_app_secret: "x-22", code: "sandbox-code-1" };
  expect((await world.post("/AccessToken/getOauthAccessToken", oauth)).code).toBe(429);
  const sign = { wx_app_id: WX.appId, wx_app_secret: "x-23", url: "https://example.com/" };
  expect((await world.post("/JsSDK/getJsApiSign", sign)).code).toBe(429);
  expect(world.sandbox.calls()).toBe(20);
});

test("fifty wrong secrets at once cost twenty upstream calls", async () => {
  await using world = await Harness.create();
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => getXcx(world, `at-once-${n}`)));
  const codes = answers.map(({ code }) => code);
  expect(codes.filter((code) => code === 40125)).toHaveLength(20);
  expect(codes.filter((code) => code === 429)).toHaveLength(30);
  expect(world.sandbox.calls()).toBe(20);
});

test("fifty signatures at once with wrong secrets all get an answer, and cost twenty upstream calls", async () => {
  await using world = await Harness.create();
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      world.post("/JsSDK/getJsApiSign", {
        wx_app_id: WX.appId,
        wx_app_secret: `sign-${n}`,
        url: "https://example.com/",
      }),
    ),
  );
  const codes = answers.map(({ code }) => code);
  expect(codes.filter((code) => code === 40125)).toHaveLength(20);
  expect(codes.filter((code) => code === 429)).toHaveLength(30);
  expect(world.sandbox.calls()).toBe(20);
});

test("P4: while unknown secrets are limited, configured and known good ones are served and refreshed", async () => {
  await using world = await Harness.create();
  const known = await getXcx(world, FOREIGN.secret, FOREIGN.appid);
  await guess(world, 20, "limit");
  expect((await getXcx(world, "limit-20")).code).toBe(429);
  expect((await getXcx(world)).code).toBe(0);
  expect((await getXcx(world, FOREIGN.secret, FOREIGN.appid)).data).toEqual(known.data);
  expect((await world.get("/AccessToken/clearXcx", FOREIGN)).code).toBe(0);
  const calls = world.sandbox.calls();
  expect((await getXcx(world, FOREIGN.secret, FOREIGN.appid)).code).toBe(0);
  expect(world.sandbox.calls()).toBe(calls + 1);
});

test("a secret that was good before a restart is known good after it", async () => {
  await using world = await Harness.create();
  await getXcx(world, FOREIGN.secret, FOREIGN.appid);
  await world.stop();
  await world.start();
  await guess(world, 20, "limit");
  expect((await world.get("/AccessToken/clearXcx", FOREIGN)).code).toBe(0);
  expect((await getXcx(world, FOREIGN.secret, FOREIGN.appid)).code).toBe(0);
});

test("after two hundred refused secrets in an hour, unknown WeCom ones are code 429 until the hour is over", async () => {
  await using world = await Harness.create();
  const good = await getQyapi(world, WECOM_FOREIGN.secret);
  world.sandbox.resetCalls();
  for (let minute = 0; minute < 10; minute++) {
    for (let n = 0; n < 20; n++) expect((await getQyapi(world, `hour-${minute}-${n}`)).code).toBe(40001);
    world.clock.advance(MINUTE);
  }
  expect((await getQyapi(world, "hour-10-0")).code).toBe(429);
  expect(world.sandbox.calls("/cgi-bin/gettoken")).toBe(200);
  expect((await getQyapi(world, WECOM_FOREIGN.secret)).data["access_token"]).toBe(good.data["access_token"]);
  expect((await getQyapi(world, WECOM.secret)).code).toBe(0);
  expect((await getXcx(world, "of-wechat")).code).toBe(40125);
  world.clock.advance(50 * MINUTE);
  expect((await getQyapi(world, "hour-10-0")).code).toBe(40001);
});

test("a user's bad code is not held against the secret that it came with", async () => {
  await using world = await Harness.create();
  const query = { ...FOREIGN, code: "not-a-code" };
  expect((await world.get("/xcx/jscode2session", query)).code).toBe(40029);
  expect((await world.get("/xcx/jscode2session", { ...query, code: "sandbox-code-1" })).code).toBe(0);
});

test("an app without the right to tickets keeps its token", async () => {
  await using world = await Harness.create();
  const sign = { wx_app_id: FOREIGN.appid, wx_app_secret: FOREIGN.secret, url: "https://example.com/" };
  const endpoint = "/cgi-bin/ticket/getticket";
  world.sandbox.inject({ kind: "error", errcode: 48001, errmsg: "api unauthorized", endpoint, times: 1 });
  expect((await world.post("/JsSDK/getJsApiSign", sign)).code).toBe(48001);
  world.clock.advance(8_000_000);
  expect((await getXcx(world, FOREIGN.secret, FOREIGN.appid)).code).toBe(0);
});

test("P6: neither a caller's secret nor a configured one nor a token is in the database's files", async () => {
  await using world = await Harness.create();
  const foreign = await getXcx(world, FOREIGN.secret, FOREIGN.appid);
  const own = await getXcx(world);
  await getXcx(world, WRONG);
  const corp = await getQyapi(world, WECOM_FOREIGN.secret);
  const bytes = databaseBytes(world);
  expect(bytes).toContain(FOREIGN.appid);
  const tokens = [foreign, own, corp].map(({ data }) => String(data["access_token"]));
  for (const secret of [FOREIGN.secret, WX.secret, WECOM.secret, WECOM_FOREIGN.secret, WRONG, ...tokens]) {
    expect(bytes).not.toContain(secret);
  }
});

test("a caller's token outlives a restart, and its secret opens it again without an upstream call", async () => {
  await using world = await Harness.create();
  const before = await getXcx(world, FOREIGN.secret, FOREIGN.appid);
  await world.stop();
  await world.start();
  world.sandbox.resetCalls();
  expect((await getXcx(world, FOREIGN.secret, FOREIGN.appid)).data).toEqual(before.data);
  expect(world.sandbox.calls()).toBe(0);
});

test("apps and secrets that callers make up leave no rows that grow with their number", async () => {
  await using world = await Harness.create();
  const ask = async (number: number) => {
    const [appid, corpid] = ["wx", "ww"].map((start) => start + String(number).padStart(16, "0"));
    const query = { appid: appid!, corpid: corpid!, secret: `${WRONG}-${number}`, code: `code${number}` };
    for (const path of [
      "/AccessToken/getXcx",
      "/AccessToken/clearXcx",
      "/AccessToken/getQyapi",
      "/AccessToken/clearQyapi",
      "/AccessToken/getOauthAccessToken",
      "/xcx/jscode2session",
    ])
      await world.get(path, query);
    await world.get("/AccessToken/clearXcx", { appid: appid! });
  };
  for (let number = 0; number < 15; number++) {
    await ask(number);
    // The limits on unknown secrets are those of a minute.
    world.clock.advance(MINUTE);
  }
  // What is kept for a while is pruned by whoever writes next.
  world.clock.advance(25 * 60 * MINUTE);
  await ask(15);
  const { databasePath } = world;
  await world.stop();
  using database = new Database(databasePath, { readonly: true });
  const tables = database
    .query<{ name: string }, []>("SELECT name FROM sqlite_master WHERE type = 'table'")
    .all();
  const sizes = tables.map(({ name }) => {
    const rows = database.query<{ n: number }, []>(`SELECT count(*) AS n FROM "${name}"`).get();
    return [name, rows?.n ?? 0] as const;
  });
  // A count for each minute and action; migrations are the version's.
  const grown = sizes.filter(([name, rows]) => rows > 10 && !["counts", "migrations"].includes(name));
  expect(grown).toEqual([]);
  const names = database.query<{ key: string }, []>("SELECT DISTINCT key FROM counts").all();
  expect(names.map(({ key }) => key.split("\u001f").at(-1))).toEqual(["*"]);
});
