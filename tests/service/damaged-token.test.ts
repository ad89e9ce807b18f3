import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { CORP, WECOM, Harness, WX } from "../support/harness.ts";

const XCX = { appid: WX.appId };
const QYAPI = { corpid: CORP, agentid: WECOM.agent };
const KEY = `weixin:${WX.appId}:stable:access_token`;

/** A service that has handed out a WeChat token and a WeCom token, and a way to spoil what it stored. */
async function setup() {
  const world = await Harness.create();
  const get = async (path: "getXcx" | "getQyapi") => {
    const answer = await world.get(`/AccessToken/${path}`, path === "getXcx" ? XCX : QYAPI);
    return { code: answer.code, token: String(answer.data["access_token"]) };
  };
  return {
    world,
    get,
    weixin: await get("getXcx"),
    wecom: await get("getQyapi"),
    damaged: () => world.events.filter(({ type }) => type === "store.damaged"),
    /** Changes one bit of what is sealed in the first row of a table, from another connection. */
    flip(table: string, column: string, where: string) {
      const database = new Database(world.databasePath);
      const from = `FROM ${table} WHERE ${where}`;
      const text = database.query<{ text: string }, []>(`SELECT ${column} AS text ${from}`).get()?.text ?? "";
      const [keyId = "", body = ""] = text.split(".");
      const bytes = Buffer.from(body, "base64url");
      bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20);
      const spoilt = `${keyId}.${bytes.toString("base64url")}`;
      database.run(`UPDATE ${table} SET ${column} = ? WHERE ${where}`, [spoilt]);
      // What is in memory is read again once another process has changed it.
      if (table === "credentials") {
        database.run("UPDATE revisions SET number = number + 1 WHERE name = 'credentials'");
        const next = "(SELECT number FROM revisions WHERE name = 'credentials')";
        database.run(`UPDATE credentials SET epoch = ${next} WHERE ${where}`);
      }
      database.close();
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const TOKEN_ROW = `app_id = '${WX.appId}' AND kind = 'access_token'`;

test("P4: a stored token that was damaged is obtained anew by the next get and saved; it is told of, and other credentials are unaffected", async () => {
  await using it = await setup();
  await it.world.stop();
  it.flip("credentials", "value", TOKEN_ROW);
  await it.world.start();
  it.world.sandbox.resetCalls();
  const again = await it.get("getXcx");
  expect(again.code).toBe(0);
  expect(it.world.sandbox.accepts(again.token)).toBeTrue();
  expect(await it.get("getQyapi")).toEqual(it.wecom);
  expect([it.world.sandbox.calls("/cgi-bin/stable_token"), it.world.sandbox.calls()]).toEqual([1, 1]);
  expect(it.damaged()).toEqual([{ type: "store.damaged", key: KEY }]);

  // It was saved: the next life of the service asks nobody, and finds nothing damaged.
  await it.world.stop();
  await it.world.start();
  expect(await it.get("getXcx")).toEqual(again);
  expect(it.world.sandbox.calls()).toBe(1);
  expect(it.damaged()).toHaveLength(1);
});

test("P4: also while the service runs, whoever asks first, and a ticket as well as a token", async () => {
  await using it = await setup();
  const ticket = () => it.world.get("/v1/apps/" + WX.appId + "/credentials/jsapi_ticket");
  const first = await ticket();
  it.flip("credentials", "value", `app_id = '${WX.appId}' AND kind = 'jsapi_ticket'`);
  it.world.clock.advance(50);
  it.world.sandbox.resetCalls();
  const answers = await Promise.all(Array.from({ length: 20 }, ticket));
  expect(new Set(answers.map(({ code }) => code))).toEqual(new Set([0]));
  expect(new Set(answers.map(({ data }) => data["value"])).size).toBe(1);
  expect(first.code).toBe(0);
  expect([it.world.sandbox.calls("/cgi-bin/ticket/getticket"), it.world.sandbox.calls()]).toEqual([1, 1]);
  expect(await it.get("getXcx")).toEqual(it.weixin);
  const key = `weixin:${WX.appId}:stable:jsapi_ticket`;
  expect(it.damaged()).toEqual([{ type: "store.damaged", key }]);
});

test("P4: a damaged token can still be cleared", async () => {
  await using it = await setup();
  await it.world.stop();
  it.flip("credentials", "value", TOKEN_ROW);
  await it.world.start();
  expect((await it.world.get("/AccessToken/clearXcx", XCX)).code).toBe(0);
  expect((await it.get("getXcx")).code).toBe(0);
});

test("P4: a damaged app secret costs nothing while the environment names the same apps: it has the secret", async () => {
  await using it = await setup();
  await it.world.stop();
  it.flip("apps", "secret", `app_id = '${WX.appId}'`);
  for (let start = 0; start < 2; start++) {
    await it.world.start();
    expect(await it.get("getXcx")).toEqual(it.weixin);
    await it.world.stop();
  }
});
