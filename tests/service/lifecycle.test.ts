import { chmodSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config.ts";
import { ServiceError } from "../../src/errors.ts";
import { Gate } from "../../src/sandbox/fault.ts";
import { startService } from "../../src/service.ts";
import { CORP, WECOM, Harness, WX } from "../support/harness.ts";

const XCX = { appid: WX.appId };
const QYAPI = { corpid: CORP, agentid: WECOM.agent };

/** What starting a service with these variables throws. */
async function failureOf(environment: Record<string, string>): Promise<ServiceError> {
  try {
    const service = await startService(loadConfig({ ENV_FILE: "", ...environment }));
    await service.stop("it should not have started");
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error("the service started");
}

test("P3: after a restart the stored tokens are served with the life that is left, and nobody is asked", async () => {
  await using world = await Harness.create();
  const xcx = await world.get("/AccessToken/getXcx", XCX);
  const qyapi = await world.get("/AccessToken/getQyapi", QYAPI);
  await world.stop();
  world.clock.advance(3_000_000);
  await world.start();
  world.sandbox.resetCalls();
  expect((await world.get("/AccessToken/getXcx", XCX)).data).toEqual({ ...xcx.data, expires_in: 4190 });
  expect((await world.get("/AccessToken/getQyapi", QYAPI)).data).toEqual({ ...qyapi.data, expires_in: 4190 });
  expect(world.sandbox.calls()).toBe(0);
});

test("P2: after a restart that took longer than a token lives, a new one is fetched", async () => {
  await using world = await Harness.create();
  const before = await world.get("/AccessToken/getXcx", XCX);
  await world.stop();
  world.clock.advance(7_200_000);
  await world.start();
  const after = await world.get("/AccessToken/getXcx", XCX);
  expect(after.data["expires_in"]).toBe(7190);
  expect(after.data["access_token"]).not.toBe(before.data["access_token"]);
});

test("P2: a token that was cleared before a restart is not served after it", async () => {
  await using world = await Harness.create({ environment: { WEIXIN_TOKEN_MODE: "classic" } });
  const before = await world.get("/AccessToken/getXcx", XCX);
  await world.get("/AccessToken/clearXcx", XCX);
  await world.stop();
  await world.start();
  const after = await world.get("/AccessToken/getXcx", XCX);
  expect(after.data["access_token"]).not.toBe(before.data["access_token"]);
});

test("P2: after a restart at which the clock was set back, no token is trusted whose age is unknown", async () => {
  await using world = await Harness.create();
  await world.get("/AccessToken/getXcx", XCX);
  await world.stop();
  world.clock.jumpWall(-3_600_000);
  await world.start();
  world.sandbox.resetCalls();
  const after = await world.get("/AccessToken/getXcx", XCX);
  expect(world.sandbox.accepts(String(after.data["access_token"]))).toBe(true);
  expect(world.sandbox.calls()).toBe(1);
});

test("an app that the environment no longer names is no longer served", async () => {
  await using world = await Harness.create();
  await world.get("/AccessToken/getQyapi", QYAPI);
  await world.stop();
  await world.start({
    [`WECOM_SECRET_${CORP}_${WECOM.agent}`]: WECOM.secret,
    [`WEIXIN_SECRET_${WX.appId}`]: "other",
  });
  expect((await world.get("/AccessToken/getXcx", { ...XCX, secret: WX.secret })).code).toBe(0);
  expect((await world.get("/AccessToken/getXcx", XCX)).code).toBe(40125);
});

test("stop finishes the requests under way, stores what they fetched, and is the same stop when asked twice", async () => {
  await using world = await Harness.create();
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, endpoint: "/cgi-bin/stable_token", times: 1 });
  const underWay = world.get("/AccessToken/getXcx", XCX, { keepalive: false });
  await gate.arrived();
  const { service } = world;
  const [first, second] = [service.stop("test"), service.stop("again")];
  expect(second).toBe(first);
  gate.open();
  const answer = await underWay;
  expect(answer.code).toBe(0);
  await first;
  const last = world.events.filter(({ type }) => type !== "store.queried").slice(-2);
  expect(last.map(({ type }) => type)).toEqual(["request.handled", "service.stopped"]);
  expect(world.events.filter(({ type }) => type === "service.stopping")).toHaveLength(1);

  await world.start();
  expect((await world.get("/AccessToken/getXcx", XCX)).data).toEqual(answer.data);
  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(1);
});

test("after a stop nobody listens, and the port and the database can be had again", async () => {
  await using world = await Harness.create();
  const { url } = world.service;
  const { port } = new URL(url);
  await world.stop();
  const refused = await fetch(url, { keepalive: false }).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Error);
  await world.start({ PORT: port });
  expect(world.service.url).toBe(url);
});

test("a port that is taken stops the start with one line that names it, and leaves the database free", async () => {
  await using world = await Harness.create();
  const { port } = new URL(world.service.url);
  const DATABASE_URL = `file:${world.folder}/second/accesstoken.db`;
  const failure = await failureOf({ PORT: port, DATABASE_URL });
  expect(failure.code).toBe("invalid_config");
  expect(failure.message).toStartWith(`PORT: 端口${port}已被占用`);
  expect(failure.message).not.toContain("\n");
  await world.stop();
  await world.start({ PORT: port, DATABASE_URL });
  expect((await world.get("/")).code).toBe(0);
});

test("an address that is not this machine's stops the start with one line that names it", async () => {
  await using world = await Harness.create();
  const failure = await failureOf({
    HOST: "192.0.2.1",
    PORT: "0",
    DATABASE_URL: `file:${world.folder}/second/accesstoken.db`,
  });
  expect(failure.code).toBe("invalid_config");
  expect(failure.message).toStartWith("HOST: ");
});

test("P6: a key or database that other users may read is warned of, with what to do", async () => {
  await using world = await Harness.create();
  await world.stop();
  chmodSync(join(world.folder, "data", "master.key"), 0o644);
  await world.start();
  const warnings = world.events.filter((event) => event.type === "config.warning");
  expect(warnings.map(({ message }) => message)).toEqual([expect.stringMatching(/master\.key: .*chmod 600/)]);
});

test("P7: what was counted in the last second before a stop is written down", async () => {
  await using world = await Harness.create();
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  await world.stop();
  await world.start();
  const { data } = await world.administer("/v1/audit/usage");
  expect(data["usage"]).toMatchObject([{ client: "(anonymous 127.0.0.1)", action: "token:read", count: 1 }]);
});
