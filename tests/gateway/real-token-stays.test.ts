import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { type ArrivedRequest, httpAnswer } from "../support/answering-server.ts";
import { rawRequest } from "../support/raw-http.ts";
import { rawGatewayWorld } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const REAL = "real_access_token_1";

/** An upstream that quotes the whole request line. */
function quoting(type: string | undefined, status: number) {
  return ({ text, socket }: ArrivedRequest) => {
    const body = `<a href="${text.split(" ", 2)[1] ?? ""}">moved</a>`;
    const head = type === undefined ? "" : `Content-Type: ${type}\r\n`;
    socket.write(`HTTP/1.1 ${status} X\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  };
}

test.each([
  "text/html",
  "text/html; charset=utf-8",
  "text/xml",
  "application/xml",
  "application/problem+json",
  "text/javascript",
  undefined,
])("P6: a page of the type %s that quotes the URL quotes the caller's own token", async (type) => {
  await using t = await rawGatewayWorld(quoting(type, 302), { client: { delivery: "virtual" } });
  const token = await t.it.token();
  const { text, status } = await t.it.send(`${INFO}?access_token=${token}`, { redirect: "manual" });
  expect(status).toBe(302);
  expect(text).toBe(`<a href="${INFO}?access_token=${token}">moved</a>`);
});

test.each([
  ["application/json", '{"name":"a long list"}'.repeat(10_000)],
  ["application/octet-stream", "0123456789".repeat(10)],
  ["application/octet-stream", "0123456789".repeat(20_000)],
  ["application/x-unheard-of", "0123456789".repeat(20_000)],
])(
  "P6: an answer of the type %s and of any length that quotes the URL has the caller's own token",
  async (type, long) => {
    const bodyOf = (token: string) =>
      `${long}?access_token=${token}&b=%zz ${encodeURIComponent(`="${token}"`)}${long}`;
    const encoded = REAL.replace("_", "%5f").replace("s", "\\u0073");
    await using t = await rawGatewayWorld(
      ({ socket }) =>
        void socket.write(httpAnswer(`${bodyOf(REAL)}${encoded}`, { "Content-Type": type, ETag: '"x"' })),
      { client: { delivery: "virtual" } },
    );
    const token = await t.it.token();
    const { text, headers } = await t.it.send(`${INFO}?access_token=${token}`);
    expect(text === `${bodyOf(token)}${token}`).toBe(true);
    expect(headers.get("etag")).toBe('"x"');
    const length = headers.get("content-length");
    expect(length === null || Number(length) === text.length).toBe(true);
  },
);

test.each(["image/png", "audio/amr", "video/mp4"])(
  "an answer of the type %s is not searched",
  async (type) => {
    const headers = { "Content-Type": type, "Content-Encoding": "br" };
    await using t = await rawGatewayWorld(httpAnswer(`x${REAL}x`, headers), {
      client: { delivery: "virtual" },
    });
    const init = { method: "GET", decompress: false };
    const { text } = await t.it.send(`${INFO}?access_token=${await t.it.token()}`, init);
    expect(text).toBe(`x${REAL}x`);
  },
);

test.each(["gzip", "br", "x-unheard-of"])(
  "P6: an answer in the encoding %s, which was not asked for, is 502 to whom the real token must not reach",
  async (encoding) => {
    const bytes = gzipSync(`{"errcode":0,"errmsg":"${REAL}"}`);
    await using t = await rawGatewayWorld(httpAnswer(bytes, { "Content-Encoding": encoding }), {
      client: { delivery: "virtual" },
    });
    const init = { headers: { "accept-encoding": "gzip, br" }, decompress: false };
    const path = `${INFO}?access_token=${await t.it.token()}`;
    const { text, errcode, headers } = await t.it.send(path, init);
    expect([errcode, headers.get("content-encoding")]).toEqual([502, null]);
    expect(text).toContain("Content-Encoding");
  },
);

test("P6: a part of an answer is not asked for on behalf of whom the real token must not reach", async () => {
  await using t = await rawGatewayWorld(httpAnswer("{}"), { client: { delivery: "virtual" } });
  const headers = { range: "bytes=0-50" };
  await t.it.send(`${INFO}?access_token=${await t.it.token()}`, { headers });
  await t.it.send(`${INFO}?access_token=${await t.it.realToken()}`, { headers });
  expect(t.calls.map((call) => /^range: /im.test(call))).toEqual([false, true]);
});

test("a page is no refusal: only what begins as JSON tells that a token is dead", async () => {
  const dead = '<pre>{"errcode":42001,"errmsg":"access_token expired"}</pre>';
  await using t = await rawGatewayWorld(httpAnswer(dead, { "Content-Type": "text/html" }));
  expect((await t.it.send(`${INFO}?access_token=${await t.it.token()}`)).text).toBe(dead);
  expect(t.calls).toHaveLength(1);
});

test("P6: an errmsg of WeChat's that quotes the token is handed on and kept without it", async () => {
  await using t = await rawGatewayWorld(
    ({ text, socket }) =>
      void socket.write(
        httpAnswer(JSON.stringify({ errcode: 48001, errmsg: `bad: ${text.split(" ", 2)[1]}` })),
      ),
    { client: { delivery: "virtual" } },
  );
  const query = `type=jsapi&access_token=${await t.it.token()}`;
  // The second one is told what was kept of the first.
  for (const again of [1, 2]) {
    const { errcode, errmsg } = await t.it.send(`/cgi-bin/ticket/getticket?${query}`);
    expect([again, errcode, errmsg.includes(REAL)]).toEqual([again, 48001, false]);
    expect(errmsg).toContain("***");
  }
});

test("a header that names another path or method than the request's does not go up", async () => {
  await using t = await rawGatewayWorld(httpAnswer("{}"));
  const headers = {
    "x-original-url": "/cgi-bin/message",
    "x-rewrite-url": "/cgi-bin/message",
    "x-envoy-original-path": "/cgi-bin/message",
    "x-http-method-override": "DELETE",
    "x-method-override": "DELETE",
    "x-http-method": "DELETE",
    "x-cluster-client-ip": "10.1.2.3",
  };
  await t.it.send(`${INFO}?access_token=${await t.it.token()}`, { headers });
  for (const name of Object.keys(headers)) expect(t.calls[0]?.toLowerCase()).not.toContain(name);
});

test.each(["#x", "#", "a=x#&b=y"])(
  "a query with a fragment is refused before anything is sent, with a user's own token too: %s",
  async (end) => {
    await using t = await rawGatewayWorld(httpAnswer("{}"));
    const ask = async (path: string, headers = "") => {
      const lines = `Host: localhost\r\nConnection: close\r\n${headers}\r\n`;
      const { body } = await rawRequest(t.it.url, `GET ${path}&${end} HTTP/1.1\r\n${lines}`);
      return (JSON.parse(body) as { errcode: number }).errcode;
    };
    expect(await ask(`${INFO}?access_token=${await t.it.token()}`)).toBe(40066);
    expect(await ask("/sns/userinfo?access_token=user", `X-API-Key: ${t.it.key}\r\n`)).toBe(40066);
    expect(t.calls).toHaveLength(0);
  },
);
