import { expect, test } from "bun:test";
import { rawExchange } from "../support/raw-http.ts";
import { Harness, WX } from "../support/harness.ts";

const HOST = "Host: localhost\r\n";
const TAIL = `GET /livez HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
const TOKEN = `/AccessToken/getXcx?appid=${WX.appId}`;
const get = (headers: string) => `GET ${TOKEN} HTTP/1.1\r\n${HOST}${headers}\r\n`;
const at = (target: string, method = "GET") => `${method} ${target} HTTP/1.1\r\n${HOST}\r\n`;
const many = (count: number) => Array.from({ length: count }, (_, n) => `X-${n}: 1\r\n`).join("");

interface Outcome {
  readonly statuses: readonly number[];
  /** What is handled, as method, route and code, without the tail and the good request behind it. */
  readonly handled: readonly string[];
}

function handledIn(world: Harness): string[] {
  return world.events.flatMap((event) =>
    event.type === "request.handled" ? [`${event.method} ${event.route} ${event.code}`] : [],
  );
}

/** Sends it, then a good request on a connection of its own, which must be answered whatever was sent before. */
async function outcomeOf(world: Harness, sent: string): Promise<Outcome> {
  const answers = await rawExchange(world.service.url, sent, TAIL);
  expect((await world.get("/")).code).toBe(0);
  await Harness.until(() => handledIn(world).includes("GET / 0"));
  expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
  const handled = handledIn(world).filter((line) => line !== "GET /livez 0");
  expect(handled.pop()).toBe("GET / 0");
  return { statuses: answers.map(({ status }) => status), handled };
}

const MALFORMED: readonly [what: string, sent: string, status: number | undefined][] = [
  ["a bare LF behind every line", `GET ${TOKEN} HTTP/1.1\nHost: localhost\n\n`, 505],
  ["a bare LF behind a header", `GET ${TOKEN} HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n`, 400],
  ["a bare CR in a header", get("X-A: 1\rX-B: 2\r\n"), 400],
  ["a folded header", get("X-A: 1\r\n two\r\n"), 400],
  ["a folded first header", `GET ${TOKEN} HTTP/1.1\r\n X-A: 1\r\n${HOST}\r\n`, 400],
  ["a NUL in a header's name", get("X-\0A: 1\r\n"), 400],
  ["a NUL in a header's value", get("X-A: 1\x002\r\n"), 400],
  ["a control character in a header's name", get("X-\x01A: 1\r\n"), 400],
  ["a control character in a header's value", get("X-A: 1\x012\r\n"), 400],
  ["a blank before a colon", get("X-A : 1\r\n"), 400],
  ["a blank before the colon of Host", `GET ${TOKEN} HTTP/1.1\r\nHost : localhost\r\n\r\n`, 400],
  ["a blank in a header's name", get("X A: 1\r\n"), 400],
  ["a header without a name", get(": 1\r\n"), 400],
  ["a header without a colon", get("X-A\r\n"), 400],
  ["blank lines before it", `\r\n\r\n${get("")}`, 400],
  ["no target", `GET  HTTP/1.1\r\n${HOST}\r\n`, 400],
  ["a target without its slash", at(TOKEN.slice(1)), 400],
  ["a target that is only a query", at(`?appid=${WX.appId}`), 400],
  ["a target that begins with a backslash", at(TOKEN.replaceAll("/", "\\")), 400],
  ["a target that is an authority", at("localhost:80"), 400],
  ["a target that begins with a user", at(`@evil.example${TOKEN}`), 400],
  ["a target of *", at("*"), 400],
  ["OPTIONS *", at("*", "OPTIONS"), 400],
  ["a blank in the target", at("/AccessToken/get Xcx"), 505],
  ["a tab in the target", at("/Access\tToken/getXcx"), 505],
  ["a NUL in the target", at(`/\0${TOKEN}`), 505],
  ["HTTP/0.9", `GET ${TOKEN}\r\n\r\n`, 505],
  ["HTTP/1.0 without a Host", `GET ${TOKEN} HTTP/1.0\r\n\r\n`, 400],
  ["HTTP/1.2", get("").replace("HTTP/1.1", "HTTP/1.2"), 505],
  ["HTTP/2.0", get("").replace("HTTP/1.1", "HTTP/2.0"), 505],
  ["http/1.1 in lower case", get("").replace("HTTP/1.1", "http/1.1"), 505],
  ["HTTP/1.1 and more", get("").replace("HTTP/1.1", "HTTP/1.1x"), 505],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 400],
  ["the beginning of TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400],
  ["letters beyond ASCII in a header's name", get("X-\xc3\xa9: 1\r\n"), 400],
  ["an escape in a header's value", get("X-A: 1\x1b2\r\n"), 400],
  ["the PROXY protocol before it", `PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n${get("")}`, 400],
  ["a method in lower case", get("").replace("GET", "get"), undefined],
  ["a method that there is not", get("").replace("GET", "FOO"), undefined],
  ["a method of 5,000 characters", get("").replace("GET", "A".repeat(5000)), undefined],
];

test.each(MALFORMED)(
  "a request with %s is refused or cut off, and nothing is routed",
  async (_, sent, status) => {
    await using world = await Harness.create();
    expect(await outcomeOf(world, sent)).toEqual({ statuses: status ? [status] : [], handled: [] });
    expect(world.sandbox.calls()).toBe(0);
  },
);

test.each([
  ["a target of 20,000 characters", at(`/${"a".repeat(20_000)}`)],
  ["a query of 20,000 characters", at(`${TOKEN}&x=${"a".repeat(20_000)}`)],
  ["a header of 20,000 characters", get(`X-A: ${"a".repeat(20_000)}\r\n`)],
  ["300 headers", get(many(300))],
  ["10,000 headers", get(many(10_000))],
  ["10,000 empty headers of one name", get("a:\r\n".repeat(10_000))],
])("a request with %s is HTTP 431 or cut off, and nothing is routed", async (_what, sent) => {
  await using world = await Harness.create();
  const { statuses, handled } = await outcomeOf(world, sent);
  // Closed with bytes unread, the connection may be reset before the answer is.
  expect([[431], []]).toContainEqual([...statuses]);
  expect(handled).toEqual([]);
  expect(world.sandbox.calls()).toBe(0);
});

test.each([
  ["//evil.example in front", `//evil.example${TOKEN}`],
  ["a slash too many in front", `/${TOKEN}`],
  ["a slash too many inside", TOKEN.replace("/getXcx", "//getXcx")],
  ["only slashes", "///"],
  ["an encoded slash", TOKEN.replace("/getXcx", "%2FgetXcx")],
  ["an encoded letter", TOKEN.replace("getXcx", "%67etXcx")],
  ["an encoded NUL", TOKEN.replace("getXcx", "getXcx%00")],
  ["an encoded question mark", TOKEN.replace("?", "%3F")],
  ["a path parameter", TOKEN.replace("?", ";x?")],
  ["a fragment", TOKEN.replace("?", "#?")],
  ["a byte that is no UTF-8", TOKEN.replace("?", "\xe9?")],
  ["other letter cases", TOKEN.replace("getXcx", "GETXCX")],
  ["a semicolon in front", `/;${TOKEN}`],
])("a path with %s is no route", async (_what, target) => {
  await using world = await Harness.create();
  expect(await outcomeOf(world, at(target))).toEqual({ statuses: [200, 200], handled: ["GET (none) 404"] });
  expect(world.sandbox.calls()).toBe(0);
});

test.each(["TRACE", "PUT", "OPTIONS"])("%s is no way to a route", async (method) => {
  await using world = await Harness.create();
  const expected = { statuses: [200, 200], handled: [`${method} (none) 405`] };
  expect(await outcomeOf(world, at(TOKEN, method))).toEqual(expected);
  expect(world.sandbox.calls()).toBe(0);
});

test("CONNECT is HTTP 405 to every target and ends the connection: no tunnel seems to stand", async () => {
  await using world = await Harness.create();
  for (const target of [new URL(world.sandbox.weixinUrl).host, "/", TOKEN, "/nope", "/v1/apps/example"]) {
    world.events.length = 0;
    const hidden = at(TOKEN);
    const outcome = await outcomeOf(world, at(target, "CONNECT") + hidden);
    expect([target, outcome]).toEqual([target, { statuses: [405], handled: [] }]);
  }
  expect(world.sandbox.calls()).toBe(0);
});

test("of an absolute target the path alone counts: no other host is asked", async () => {
  await using world = await Harness.create();
  const { weixinUrl } = world.sandbox;
  const targets = [
    [`${weixinUrl}/cgi-bin/stable_token`, "GET /cgi-bin/stable_token 43002"],
    [`${weixinUrl}/cgi-bin/getcallbackip`, "GET /cgi-bin/getcallbackip/** 41001"],
    ["http://evil.example/nope", "GET (none) 404"],
  ] as const;
  for (const [target, handled] of targets) {
    world.events.length = 0;
    expect(await outcomeOf(world, at(target))).toEqual({ statuses: [200, 200], handled: [handled] });
  }
  world.events.length = 0;
  const short = await outcomeOf(world, at("http://x/swagger/livez"));
  expect(short.handled).toEqual(["GET (none) 404"]);
  expect(world.sandbox.calls()).toBe(0);
});

test("the Host of an absolute target is believed no more than any other", async () => {
  await using world = await Harness.create();
  const sent = `GET http://localhost${TOKEN} HTTP/1.1\r\nHost: evil.example\r\n\r\n`;
  expect((await outcomeOf(world, sent)).handled).toHaveLength(1);
  expect(handledIn(world)[0]).toEndWith(" 403");
  expect(world.sandbox.calls()).toBe(0);
});

test.each([
  ["Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"],
  [
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
  ],
])("an upgrade is not taken: %j", async (headers) => {
  await using world = await Harness.create();
  const answers = await rawExchange(world.service.url, `GET /livez HTTP/1.1\r\n${HOST}${headers}\r\n`, TAIL);
  expect(answers.map(({ status }) => status)).toEqual([200, 200]);
});

test.each([
  ["a length of 0000000002", "Content-Length: 0000000002\r\n\r\n{}"],
  ["the same length twice", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"],
  ["CHUNKED in capitals", "Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n"],
  ["blanks around chunked", "Transfer-Encoding: \tchunked \r\n\r\n2\r\n{}\r\n0\r\n\r\n"],
  ["a chunk extension", "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n"],
  ["a last chunk of many zeros", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n00000000\r\n\r\n"],
  ["an expectation", "Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}"],
])("a body with %s has one reading, and the next request is found behind it", async (_what, rest) => {
  await using world = await Harness.create();
  const sent = `POST /JsSDK/getJsApiSign HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n${rest}`;
  const expected = { statuses: [200, 200], handled: ["POST /JsSDK/getJsApiSign 1"] };
  expect(await outcomeOf(world, sent)).toEqual(expected);
});

test("a good body whose length comes twice is not taken, though both say the same", async () => {
  await using world = await Harness.create();
  const body = JSON.stringify({ wx_app_id: WX.appId, url: "https://example.com/" });
  const length = `Content-Length: ${body.length}\r\n`;
  const head = `POST /JsSDK/getJsApiSign HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n`;
  const expected = { statuses: [200, 200], handled: ["POST /JsSDK/getJsApiSign 1"] };
  expect(await outcomeOf(world, `${head}${length}${length}\r\n${body}`)).toEqual(expected);
  expect((await outcomeOf(world, `${head}${length}\r\n${body}`)).handled.at(-1)).toBe(
    "POST /JsSDK/getJsApiSign 0",
  );
});

test("Expect: 100-continue is answered once, and the body that follows is read", async () => {
  await using world = await Harness.create();
  const body = JSON.stringify({ wx_app_id: WX.appId, wx_app_secret: WX.secret, url: "https://example.com/" });
  const head = `POST /JsSDK/getJsApiSign HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n`;
  const sent = `${head}Expect: 100-continue\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
  const answers = await rawExchange(world.service.url, sent, body);
  expect(answers.map(({ status }) => status)).toEqual([100, 200]);
  expect(JSON.parse(answers[1]?.body ?? "")).toMatchObject({ code: 0 });
});
