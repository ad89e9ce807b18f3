import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import { CORP, WX } from "../support/harness.ts";
import { httpAnswer } from "../support/answering-server.ts";
import { rawGet } from "../support/raw-http.ts";
import { GatewayHarness, rawGatewayWorld, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const STABLE = "/cgi-bin/stable_token";
const INFO = "/cgi-bin/user/get";
const DEPARTMENTS = "/cgi-bin/department/list";

test("One heal for a thousand concurrent victims", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  it.sandbox.resetCalls();
  // Sockets of their own: what this process may fetch at once is for the service.
  const ask = () => rawGet(it.url, `${INFO}?access_token=${token}`, ["Host: localhost"]);
  const answers = await Promise.all(Array.from({ length: 1000 }, ask));
  for (const { body } of answers) expect(body).toContain('"openid"');
  expect(it.sandbox.calls(STABLE)).toBe(1);
  // Whoever came before the heal was sent twice, and nobody more often.
  expect(it.sandbox.calls(INFO)).toBeLessThanOrEqual(2000);
  expect(it.sandbox.calls(INFO)).toBeGreaterThan(1000);
});

test("a call whose token died is sent once more with another, and the caller gets that answer alone", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  const dead = await it.realToken();
  it.sandbox.killTokens(WX.appId, { unnoticed: true });
  it.sandbox.resetCalls();
  const { status, text } = await it.post(`/cgi-bin/message/custom/send?access_token=${token}`, {
    touser: "o",
  });
  expect([status, text]).toEqual([200, '{"errcode":0,"errmsg":"ok"}']);
  expect(it.sandbox.calls("/cgi-bin/message/custom/send")).toBe(2);
  expect(await it.realToken()).not.toBe(dead);
  // It goes on with the new one.
  await it.send(`${INFO}?access_token=${token}`);
  expect(it.sandbox.calls(INFO)).toBe(1);
});

test("P2: a second invalidation within 10 s is healed at once too, and nobody is given the refused token", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  for (let n = 0; n < 3; n++) {
    const dead = await it.realToken();
    it.sandbox.killTokens(WX.appId);
    expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBeUndefined();
    expect(await it.realToken()).not.toBe(dead);
    it.world.clock.advance(1000);
  }
});

test("P2: while no other token is available, a token that was refused and is dead is given to nobody", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  it.sandbox.inject({ kind: "error", errcode: 40164, endpoint: STABLE, times: Infinity });
  expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBe(40001);
  const query = `grant_type=client_credential&appid=${WX_APP}&secret=${it.key}`;
  const answer = await it.send(`/cgi-bin/token?${query}`);
  expect([answer.errcode, answer.text]).toEqual([40164, expect.not.stringContaining(token)]);
  it.sandbox.clearFaults();
  it.world.clock.advance(30_000);
  expect(await it.token()).not.toBe(token);
});

test("a real token that was rejected goes on for its holder, with the current one in its place", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBeUndefined();
  it.sandbox.resetCalls();
  expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBeUndefined();
  expect([it.sandbox.calls(INFO), it.sandbox.calls()]).toEqual([1, 1]);
  expect(await it.token()).not.toBe(token);
});

test("a call of WeCom is healed as well", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token(WECOM_APP);
  it.sandbox.killTokens(CORP);
  it.sandbox.resetCalls();
  expect((await it.send(`${DEPARTMENTS}?access_token=${token}`)).errcode).toBe(0);
  expect(it.sandbox.calls(DEPARTMENTS)).toBe(2);
  expect(it.sandbox.calls("/cgi-bin/gettoken")).toBe(1);
});

test.each([
  ["weixin", 40001, true],
  ["weixin", 40014, true],
  ["weixin", 42001, true],
  ["weixin", 40125, false],
  ["weixin", 41001, false],
  ["weixin", 42002, false],
  ["weixin", 45009, false],
  ["weixin", 48001, false],
  ["weixin", -1, false],
  ["wecom", 40001, false],
  ["wecom", 40014, true],
  ["wecom", 42001, true],
  ["wecom", 60020, false],
  ["wecom", -1, false],
] as const)("on %s an answer with %d is looked into: %p", async (host, errcode, isHealed) => {
  await using it = await GatewayHarness.create();
  const app = host === "weixin" ? WX_APP : WECOM_APP;
  const path = host === "weixin" ? INFO : DEPARTMENTS;
  const token = await it.token(app);
  it.sandbox.killTokens(host === "weixin" ? WX.appId : CORP);
  it.sandbox.inject({ kind: "error", errcode, endpoint: path, times: 1 });
  it.sandbox.resetCalls();
  const answer = await it.send(`${path}?access_token=${token}`);
  const called = it.world.events.filter(({ type }) => type === "gateway.called");
  expect(called).toEqual([expect.objectContaining({ healing: isHealed ? "healed" : "none" })]);
  if (!isHealed) expect([answer.errcode, it.sandbox.calls(path)]).toEqual([errcode, 1]);
});

test.each<Record<string, string>>([
  { "Content-Type": "image/jpeg" },
  { "Content-Type": "application/json:UTF-8" },
  { "Content-Disposition": 'attachment; filename="error.jpg"' },
])("a refusal with the header %p is healed, and quotes no real token", async (headers) => {
  let answers = 0;
  const client = { delivery: "virtual" } as const;
  await using raw = await rawGatewayWorld(
    ({ socket, text }) => {
      answers += 1;
      const [, token = ""] = /access_token=([^& ]+)/.exec(text) ?? [];
      const body =
        answers === 1
          ? '{"errcode":40001,"errmsg":"invalid credential"}'
          : JSON.stringify({ errcode: 40029, errmsg: token });
      socket.write(httpAnswer(body, headers));
    },
    { client },
  );
  const token = await raw.it.token();
  raw.killToken();
  const answer = await raw.it.send(`/wxa/getwxacodeunlimit?access_token=${token}`, { method: "POST" });
  expect(raw.calls).toHaveLength(2);
  expect([answer.errcode, answer.errmsg]).toEqual([40029, token]);
});

test.each([
  ["a number in text", '{"errcode":"40001","errmsg":"x"}', 2],
  ["inside of something else", '{"base_resp":{"errcode":40001}}', 1],
  ["in a list", '[{"errcode":40001}]', 1],
  ["as a list", '{"errcode":[40001]}', 1],
  ["in hexadecimal", '{"errcode":"0x9c41"}', 1],
  ["in JSON that breaks off", '{"errcode":40001,"errmsg":', 1],
])("an errcode of a dead token that stands %s", async (_where, body, sent) => {
  let answers = 0;
  await using raw = await rawGatewayWorld(({ socket }) => {
    answers += 1;
    socket.write(httpAnswer(answers === 1 ? body : '{"errcode":0}'));
  });
  const token = await raw.it.token();
  raw.killToken();
  const answer = await raw.it.send(`${INFO}?access_token=${token}`);
  expect(raw.calls).toHaveLength(sent);
  expect(answer.text).toBe(sent === 2 ? '{"errcode":0}' : body);
});

test("an answer with broken UTF-8 and control characters is healed and handed on byte for byte", async () => {
  const wild = Buffer.concat([
    Buffer.from('{"errcode":42001,"errmsg":"'),
    Buffer.from([0xff, 0x01, 0xc3, 0x0a]),
    Buffer.from('"}'),
  ]);
  await using raw = await rawGatewayWorld(httpAnswer(wild));
  const token = await raw.it.token();
  raw.killToken();
  const { text } = await raw.it.send(`${INFO}?access_token=${token}`);
  expect(text).toBe(wild.toString("latin1"));
  expect(raw.calls).toHaveLength(2);
});

test("a token that WeChat itself calls alive is not replaced: the first answer goes on", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.inject({ kind: "error", errcode: 40001, errmsg: "a false one", endpoint: INFO, times: 1 });
  it.sandbox.resetCalls();
  const answer = await it.send(`${INFO}?access_token=${token}`);
  expect([answer.errcode, answer.errmsg]).toEqual([40001, expect.stringContaining("a false one") as string]);
  expect(it.sandbox.calls(INFO)).toBe(1);
  // It was asked for what it hands out now, and not for a new one.
  expect(it.sandbox.calls(STABLE)).toBe(1);
  expect(await it.realToken()).toBe(token);
});

test("where no other token is to be had, the first answer goes on", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  it.sandbox.inject({ kind: "error", errcode: 40125, endpoint: STABLE, times: Infinity });
  const answer = await it.send(`${INFO}?access_token=${token}`);
  expect(answer.errcode).toBe(40001);
  expect(it.sandbox.calls(INFO)).toBe(1);
});

test("an answer of the second try goes on whatever it says: nothing is sent a third time", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  it.sandbox.inject({ kind: "error", errcode: 40001, endpoint: INFO, times: 2 });
  expect((await it.send(`${INFO}?access_token=${token}`)).errcode).toBe(40001);
  expect(it.sandbox.calls(INFO)).toBe(2);
  expect(it.sandbox.calls(STABLE)).toBe(2);
});

test("a body that is too large to be kept is sent once: the token is replaced, and the heal is the caller's", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  const send = `/cgi-bin/message/custom/send?access_token=${token}`;
  const large = { touser: "o", text: "x".repeat(1 << 20) };
  expect((await it.post(send, large)).errcode).toBe(40001);
  expect(it.sandbox.calls("/cgi-bin/message/custom/send")).toBe(1);
  expect(await it.realToken()).not.toBe(token);
  // The caller's own retry finds it healed, be it with the old token or a new one.
  expect((await it.post(send.replace(token, await it.token()), large)).errcode).toBe(0);
});

test("a body is sent the second time as it was the first", async () => {
  const bodies: string[] = [];
  await using raw = await rawGatewayWorld(({ text, socket }) => {
    bodies.push(text.slice(text.indexOf("\r\n\r\n") + 4));
    socket.write(httpAnswer(bodies.length === 1 ? '{"errcode":40001}' : '{"errcode":0}'));
  });
  const token = await raw.it.token();
  raw.killToken();
  const body = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const { errcode } = await raw.it.send(`/wxa/x?access_token=${token}`, { method: "POST", body });
  expect(errcode).toBe(0);
  expect(bodies).toEqual([body.toString("latin1"), body.toString("latin1")]);
  expect(raw.calls.map((call) => /access_token=(\w+)/.exec(call)?.[1])).toEqual([
    "real_access_token_1",
    "real_access_token_3",
  ]);
});

test("a call that comes while the token is replaced goes with the new one at once", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate_before", gate, endpoint: STABLE, times: 1 });
  const first = it.send(`${INFO}?access_token=${token}`);
  await gate.arrived();
  const second = it.send(`/gateway/${WX_APP}${INFO}`, { headers: { "x-api-key": it.key } });
  gate.open();
  expect([(await first).errcode, (await second).errcode]).toEqual([undefined, undefined]);
  expect(it.sandbox.calls(STABLE)).toBe(2);
});
