import { expect, test } from "bun:test";
import { connect } from "node:net";
import { Gate } from "../../src/sandbox/fault.ts";
import { Harness, WX } from "../support/harness.ts";
import { GatewayHarness, rawGatewayWorld } from "./gateway-harness.ts";

const SEND = "/cgi-bin/message/custom/send";
const STABLE = "/cgi-bin/stable_token";
const MESSAGE = { touser: "o", msgtype: "text" };
/** In real time: so long that on a busy machine, too, a call has arrived by then. */
const SHORT = { forwardTimes: { headMs: 2000, uploadMs: 2000, bodyMs: 2000 } };

test("a call that WeChat does not answer in time is sent once, and told as 504: no SDK sends that again", async () => {
  await using it = await GatewayHarness.create(SHORT);
  const token = await it.token();
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: SEND, times: 1 });
  const answer = await it.post(`${SEND}?access_token=${token}`, MESSAGE);
  gate.open();
  expect([answer.status, answer.errcode]).toEqual([200, 504]);
  expect(answer.errmsg).toContain("may have been carried out");
  expect(it.sandbox.calls(SEND)).toBe(1);
});

test("a call whose answer is lost after it was carried out is sent once, and told as 502", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  it.sandbox.inject({ kind: "reset_after", endpoint: SEND, times: 1 });
  const answer = await it.post(`${SEND}?access_token=${token}`, MESSAGE);
  expect([answer.errcode, it.sandbox.calls(SEND)]).toEqual([502, 1]);
  expect(answer.errmsg).toContain("may have been carried out");
});

test("a small answer that breaks off is told as 502", async () => {
  await using raw = await rawGatewayWorld(({ socket }) => {
    socket.end('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"errcode":');
  });
  const answer = await raw.it.post(`${SEND}?access_token=${await raw.it.token()}`, MESSAGE);
  expect([answer.errcode, raw.calls.length]).toEqual([502, 1]);
});

test("an answer with a status that there is none of is told as 502", async () => {
  await using raw = await rawGatewayWorld(Buffer.from("HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nhi"));
  const answer = await raw.it.post(`${SEND}?access_token=${await raw.it.token()}`, MESSAGE);
  expect([answer.errcode, raw.calls.length]).toEqual([502, 1]);
});

test.each(["reset_before", "gate_before", "empty_body"] as const)(
  "where the token can't be obtained (%s) nothing was sent: -1, which SDKs may send again",
  async (kind) => {
    await using it = await GatewayHarness.create({ upstreamMs: { attempt: 100, total: 300 } });
    const gate = new Gate();
    it.sandbox.inject({ kind, gate, endpoint: STABLE, times: Infinity });
    const headers = { "x-api-key": it.key };
    const answer = await it.post(`/gateway/${WX.appId}${SEND}`, MESSAGE, { headers });
    gate.open();
    expect([answer.errcode, it.sandbox.calls(SEND)]).toEqual([-1, 0]);
  },
);

test("of a user's own token too, what gets no answer is told as 504, and as -1 where nothing was sent", async () => {
  await using raw = await rawGatewayWorld(() => undefined, SHORT);
  const path = `/sns/oauth2/refresh_token?appid=${WX.appId}&grant_type=refresh_token&refresh_token=r`;
  const headers = { "x-api-key": raw.it.key };
  const answer = await raw.it.send(path, { headers });
  expect([answer.errcode, raw.calls.length]).toEqual([504, 1]);
  expect(answer.errmsg).toContain("may have been carried out");
  await raw.upstream[Symbol.asyncDispose]();
  expect((await raw.it.send(path, { headers })).errcode).toBe(-1);
});

test("what WeChat refuses the token with keeps its errcode", async () => {
  await using it = await GatewayHarness.create();
  it.sandbox.inject({ kind: "error", errcode: 40164, endpoint: STABLE, times: Infinity });
  const answer = await it.post(`/gateway/${WX.appId}${SEND}`, MESSAGE, { headers: { "x-api-key": it.key } });
  expect([answer.errcode, it.sandbox.calls(SEND)]).toEqual([40164, 0]);
});

test("where WeChat can't be reached nothing was sent: -1", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  await it.sandbox.stop();
  expect((await it.post(`${SEND}?access_token=${token}`, MESSAGE)).errcode).toBe(-1);
});

test("a call that its caller gives up is ended upstream, and told to nobody as a fault of ours", async () => {
  const closed = Promise.withResolvers<void>();
  await using raw = await rawGatewayWorld(({ socket }) => void socket.on("close", () => closed.resolve()));
  const token = await raw.it.token();
  const { hostname, port } = new URL(raw.it.url);
  const caller = connect(Number(port), hostname);
  caller.write(`GET /cgi-bin/user/get?access_token=${token} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await Harness.until(() => raw.calls.length === 1);
  caller.destroy();
  await closed.promise;
  const { events } = raw.it.world;
  await Harness.until(() => events.some(({ type }) => type === "gateway.called"));
  expect(events.filter(({ type }) => type === "request.failed")).toEqual([]);
});

test("a body that breaks off is not sent, and told to nobody as a fault of ours", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  const { hostname, port } = new URL(it.url);
  const caller = connect(Number(port), hostname);
  const head = `POST ${SEND}?access_token=${token} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n`;
  caller.write(`${head}{"touser":`);
  // Its head is there once another that came later has been answered.
  await it.send(`/cgi-bin/user/get?access_token=${token}`);
  it.world.events.length = 0;
  caller.destroy();
  const { events } = it.world;
  await Harness.until(() => events.some(({ type }) => type === "gateway.called"));
  expect(events.find(({ type }) => type === "gateway.called")).toMatchObject({
    outcome: "invalid_parameter",
  });
  expect(events.filter(({ type }) => type === "request.failed")).toEqual([]);
  expect(it.sandbox.calls(SEND)).toBe(0);
});
