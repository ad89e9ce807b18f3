import { expect, test } from "bun:test";
import { connect } from "node:net";
import { type Fault, Gate } from "../../src/sandbox/fault.ts";
import { APP, SandboxHarness } from "./sandbox-harness.ts";

function setup(...faults: Fault[]) {
  const world = new SandboxHarness();
  for (const fault of faults) world.sandbox.inject(fault);
  return world;
}

const once = { endpoint: "/cgi-bin/token", times: 1 };

/** The bytes that come back for a classic token request, and whether the connection was reset. */
function rawAnswer(world: SandboxHarness): Promise<{ text: string; reset: boolean }> {
  const { hostname, port } = new URL(world.sandbox.weixinUrl);
  const query = `grant_type=client_credential&appid=${APP.appId}&secret=${APP.secret}`;
  return new Promise((resolve) => {
    let text = "";
    let reset = false;
    const socket = connect(Number(port), hostname, () => {
      socket.write(`GET /cgi-bin/token?${query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    });
    socket.on("data", (chunk) => (text += chunk.toString()));
    socket.on("error", () => (reset = true));
    socket.on("close", () => resolve({ text, reset }));
  });
}

test("a fault happens as often as it says, only to its endpoint, and the calls count all the same", async () => {
  await using world = setup({ ...once, kind: "error", errcode: -1, times: 2 });
  expect((await world.stable()).json["errcode"]).toBeUndefined();
  const first = await world.classic();
  expect(first.json["errmsg"]).toMatch(/^system error rid: /);
  expect(first.json["errcode"]).toBe(-1);
  expect((await world.classic()).json["errcode"]).toBe(-1);
  expect((await world.classic()).json["errcode"]).toBeUndefined();

  expect(world.sandbox.calls("/cgi-bin/token")).toBe(3);
  expect(world.sandbox.calls()).toBe(4);
  world.sandbox.resetCalls();
  expect(world.sandbox.calls()).toBe(0);
});

test.each([
  [40164, /^invalid ip 203\.0\.113\.7 ipv6 ::ffff:203\.0\.113\.7, not in whitelist rid: /],
  [40125, /^invalid appsecret rid: /],
  [12345, /^system error rid: /],
])(
  "an errcode %i that is asked for comes with the words that WeChat says with it",
  async (errcode, words) => {
    await using world = setup({ ...once, kind: "error", errcode });
    expect((await world.classic()).json).toMatchObject({ errcode, errmsg: expect.stringMatching(words) });
  },
);

test("faults wait in line, can be meant for one server, and can be forgotten", async () => {
  await using world = setup(
    { kind: "error", errcode: "45009", errmsg: "first", times: 1, host: "wecom" },
    { kind: "error", errcode: 2, times: 1 },
    { kind: "http", times: Number.POSITIVE_INFINITY },
  );
  expect((await world.classic()).json["errcode"]).toBe(2);
  expect((await world.corpToken()).json["errcode"]).toBe("45009");
  const page = await world.classic();
  expect(page.status).toBe(502);
  expect(page.type).toBe("text/html");
  world.sandbox.clearFaults();
  expect((await world.classic()).json["errcode"]).toBeUndefined();
});

test("a connection can be reset after the token was rotated: the answer is lost", async () => {
  await using world = setup();
  const first = (await world.classic()).json["access_token"];
  const second = (await world.classic()).json["access_token"];
  world.sandbox.inject({ ...once, kind: "reset_after" });

  expect(await rawAnswer(world)).toEqual({ text: "", reset: true });
  expect(await world.tryToken(first)).toBe(40001);
  expect(await world.tryToken(second)).toBeUndefined();
});

test("a connection can be reset before anything was done", async () => {
  await using world = setup();
  const first = (await world.classic()).json["access_token"];
  await world.classic();
  world.sandbox.inject({ ...once, kind: "reset_before" });

  expect(await rawAnswer(world)).toEqual({ text: "", reset: true });
  expect(await world.tryToken(first)).toBeUndefined();
});

test("an answer stands at a gate until it is opened, and its work is done meanwhile", async () => {
  const gate = new Gate();
  await using world = setup({ ...once, kind: "gate", gate, times: 2 });
  const first = world.classic();
  const second = world.classic();
  await gate.arrived(2);
  const third = await world.classic();
  gate.open();

  const tokens = [(await first).json["access_token"], (await second).json["access_token"]];
  expect(await world.tryToken(third.json["access_token"])).toBeUndefined();
  expect(
    (await Promise.all(tokens.map((token) => world.tryToken(token)))).filter((code) => code === 40001),
  ).toHaveLength(1);
});

test("a request stands at a gate before its work", async () => {
  const gate = new Gate();
  await using world = setup({ ...once, kind: "gate_before", gate });
  const slow = world.classic();
  await gate.arrived();
  world.sandbox.changeWeixinApp(APP.appId, { secret: "rotated" });
  gate.open();
  expect((await slow).json["errcode"]).toBe(40125);
});

test("a sandbox stops although an answer stands at a gate", async () => {
  const gate = new Gate();
  const world = setup({ ...once, kind: "gate", gate });
  const lost = world.classic().then(
    () => "answered",
    () => "cut off",
  );
  await gate.arrived();
  await world.sandbox.stop();
  expect(await lost).toBe("cut off");
});

test("a late answer is the right answer", async () => {
  await using world = setup({ ...once, kind: "delay", ms: 1 });
  expect((await world.classic()).json["access_token"]).toBeString();
});

test("half of the JSON comes with a length that fits it", async () => {
  await using world = setup({ ...once, kind: "truncated_json" });
  const reply = await world.classic();
  expect(reply.text).toStartWith('{"access_token":"');
  expect(reply.json).toEqual({});
  expect(reply.headers.get("Content-Length")).toBe(String(reply.text.length));
});

test("half of the body comes without a length, and the connection ends it", async () => {
  await using world = setup({ ...once, kind: "truncated_body" });
  const { text, reset } = await rawAnswer(world);
  expect(reset).toBeFalse();
  expect(text.toLowerCase()).not.toContain("content-length");
  expect(text.toLowerCase()).not.toContain("chunked");
  expect(text).toMatch(/\{"access_token":"[\w-]+$/);
});

test("bodies can be empty, anything at all, a redirect or plain text", async () => {
  await using world = setup(
    { ...once, kind: "empty_body" },
    { ...once, kind: "raw", body: "<xml/>", contentType: "text/xml" },
    { ...once, kind: "redirect", location: "http://127.0.0.1:1/" },
    { ...once, kind: "text_plain" },
  );
  expect(await world.classic()).toMatchObject({ status: 200, text: "" });
  expect(await world.classic()).toMatchObject({ status: 200, text: "<xml/>", type: "text/xml" });
  const redirect = await world.classic();
  expect(redirect.status).toBe(302);
  expect(redirect.headers.get("Location")).toBe("http://127.0.0.1:1/");
  const plain = await world.classic();
  expect(plain.type).toBe("text/plain");
  expect(plain.json["access_token"]).toBeString();
});

test("a field can have any JSON value or be missing", async () => {
  const values = ["7200", 0, -1, 1e300, null, [], undefined];
  await using world = setup(
    ...values.map((value): Fault => ({ ...once, kind: "field", field: "expires_in", value })),
    { ...once, kind: "field", field: "access_token", value: { nested: true } },
  );
  for (const value of values) expect((await world.classic()).json["expires_in"]).toEqual(value);
  expect((await world.classic()).json["access_token"]).toEqual({ nested: true });
});

test("an oversized answer is valid JSON and five megabytes long", async () => {
  await using world = setup({ ...once, kind: "oversized" });
  const reply = await world.classic();
  expect(reply.text).toHaveLength(5_000_000);
  expect(reply.json["access_token"]).toBeString();
});

test("a gzip bomb is small on the wire and large when it is inflated", async () => {
  await using world = setup({ ...once, kind: "gzip_bomb", bytes: 1_000_000 });
  const { text } = await rawAnswer(world);
  expect(text).toContain("Content-Encoding: gzip");
  expect(text.length).toBeLessThan(20_000);
  world.sandbox.inject({ ...once, kind: "gzip_bomb", bytes: 1_000_000 });
  expect((await world.classic()).text).toHaveLength(1_000_000);
});
