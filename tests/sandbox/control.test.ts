import { expect, test } from "bun:test";

import { startSandbox } from "../../src/cli/sandbox.ts";
import { Harness } from "../support/harness.ts";
import { ask, APP, postOf, SandboxHarness, WECOM_APP } from "./sandbox-harness.ts";

const setup = () => new SandboxHarness();

test("the state shows calls and masked tokens, and neither tokens nor secrets", async () => {
  await using world = setup();
  const token = String((await world.stable()).json["access_token"]);
  const reply = await world.weixin("/sandbox/state");

  expect(reply.json).toMatchObject({
    beijing_day: "2026-11-22",
    calls_per_day: { "2026-11-22": { "weixin /cgi-bin/stable_token": 1 } },
  });
  expect(reply.text).toContain(token.slice(0, 6));
  expect(reply.text).not.toContain(token.slice(0, 20));
  expect(reply.text).not.toContain(APP.secret);
  expect(world.sandbox.calls()).toBe(1);
});

test("faults can be added and removed", async () => {
  await using world = setup();
  const add = (body: unknown) => world.weixin("/sandbox/faults", {}, postOf(body));
  expect((await add({ kind: "error", errcode: -1 })).status).toBe(200);
  expect((await world.classic()).json["errcode"]).toBe(-1);
  expect((await world.classic()).json["errcode"]).toBeUndefined();

  await add({ kind: "http", times: 9 });
  expect((await world.weixin("/sandbox/faults", {}, { method: "DELETE" })).status).toBe(200);
  expect((await world.classic()).status).toBe(200);
});

test("every kind of fault that can be sent is understood, and nonsense is explained", async () => {
  await using world = setup();
  const add = (body: unknown) => world.weixin("/sandbox/faults", {}, postOf(body));
  for (const fault of [
    { kind: "reset_after", endpoint: "/cgi-bin/token", host: "weixin", times: 2 },
    { kind: "delay", ms: 10 },
    { kind: "raw", body: "x", contentType: "text/plain" },
    { kind: "redirect", location: "http://localhost/" },
    { kind: "field", field: "expires_in", value: "7200" },
    { kind: "oversized", bytes: 10 },
  ]) {
    expect((await add(fault)).status).toBe(200);
  }
  for (const nonsense of [
    {},
    { kind: "gate" },
    { kind: "delay" },
    { kind: "http", times: 0 },
    { kind: "http", host: "x" },
    [],
  ]) {
    const reply = await add(nonsense);
    expect(reply.status).toBe(400);
    expect(reply.json["error"]).toBeString();
  }
});

test("tokens can be killed by appid and by corp", async () => {
  await using world = setup();
  const token = (await world.stable()).json["access_token"];
  const corpToken = (await world.corpToken()).json["access_token"];
  await world.weixin("/sandbox/kill-tokens", {}, postOf({ app: APP.appId }));
  await world.weixin("/sandbox/kill-tokens", {}, postOf({ app: WECOM_APP.corpId }));

  expect(await world.tryToken(token)).toBe(40001);
  expect(await world.tryCorpToken(corpToken)).toBe(40014);
  expect((await world.weixin("/sandbox/kill-tokens", {}, postOf({ app: "nobody" }))).status).toBe(400);
});

test("a rogue fetch brings a token that works", async () => {
  await using world = setup();
  const reply = await world.weixin("/sandbox/rogue-fetch", {}, postOf({ appid: APP.appId }));
  expect(await world.tryToken(reply.json["access_token"])).toBeUndefined();
});

test("a foreign web page can't send anything: only JSON is accepted", async () => {
  await using world = setup();
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
    const reply = await world.weixin("/sandbox/faults", {}, postOf({ kind: "http" }, type));
    expect(reply.status).toBe(415);
  }
  expect((await world.classic()).status).toBe(200);
});

test("what is no control is HTTP 404, and WeCom's server has none", async () => {
  await using world = setup();
  expect((await world.weixin("/sandbox/nothing")).status).toBe(404);
  expect((await world.wecom("/sandbox/state")).status).toBe(404);
});

test("a port that is taken is said at the start", async () => {
  await using world = setup();
  const { port } = new URL(world.sandbox.weixinUrl);
  expect(() => new SandboxHarness({ wecomPort: Number(port) })).toThrow(`127.0.0.1:${port}`);
});

test.each([
  ["component", { component_appid: "wxc000000000000001" }, "event_url"],
  ["suite", { suite_id: "ww5000000000000001" }, "command_url"],
])(
  "the tickets of a %s come by themselves once its URL is set, and after a start",
  async (of, named, url) => {
    await using sandbox = startSandbox(0, 0);
    let tickets = 0;
    const fetch = () => {
      tickets += 1;
      return new Response("success");
    };
    using service = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
    const order = (way: string, more = {}) =>
      ask(`${sandbox.weixinUrl}/sandbox/${of}/${way}`, postOf({ ...named, ...more }));
    await order("urls", { [url]: service.url.href });
    await Harness.until(() => tickets === 1);
    await order("stop");
    await order("start");
    await Harness.until(() => tickets === 2);
  },
);

test("the platforms of a sandbox from the command line push to a service and are authorized", async () => {
  await using sandbox = startSandbox(0, 0);
  sandbox.switches.commandTimeoutMs = 60_000;
  using service = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("success") });
  const order = async (way: string, body: object) =>
    (await ask(`${sandbox.weixinUrl}/sandbox/${way}`, postOf(body))).json;
  const url = service.url.href;

  const component = { component_appid: "wxc000000000000001" };
  await order("component/urls", { ...component, event_url: url });
  expect(await order("component/ticket", component)).toMatchObject({ accepted: true });
  const account = { ...component, authorizer_appid: "wxa000000000000001" };
  expect(await order("component/authorize", account)).toMatchObject({ push: { accepted: true } });
  for (const suite_id of ["ww5000000000000001", "dk5000000000000001"]) {
    await order("suite/urls", { suite_id, command_url: url, data_url: url });
    expect(await order("suite/ticket", { suite_id })).toMatchObject({ accepted: true });
    const installation = { suite_id, corp_id: "wwcustomer0000001" };
    expect(await order("suite/install", installation)).toMatchObject({ push: { accepted: true } });
    expect(await order("suite/message", installation)).toMatchObject({
      attempts: [expect.objectContaining({ status: 200 })],
    });
    expect(await order("suite/cancel", installation)).toMatchObject({ accepted: true });
  }
});
