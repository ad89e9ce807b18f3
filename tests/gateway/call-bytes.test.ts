import { expect, test } from "bun:test";
import { httpAnswer, type Responder } from "../support/answering-server.ts";
import { rawRequest } from "../support/raw-http.ts";
import { GatewayHarness, rawGatewayWorld, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const OK = httpAnswer('{"errcode":0}');

/** Sends these lines behind the request line, through a client that is given virtual tokens. */
async function setup(respond: Responder | Uint8Array = OK) {
  const raw = await rawGatewayWorld(respond, { client: { delivery: "virtual" } });
  const token = await raw.it.token();
  const send = (target: string, lines: readonly string[] = [], body = "") => {
    const head = [`${target} HTTP/1.1`, "Host: localhost", ...lines, "Connection: close", "", ""];
    return rawRequest(raw.it.url, head.join("\r\n") + body);
  };
  return { ...raw, token, send };
}

/** The request line and the headers, lower case, of a call as it arrived. */
function headOf(call = ""): { line: string; headers: Map<string, string>; body: string } {
  const [head = "", body = ""] = call.split("\r\n\r\n");
  const [line = "", ...lines] = head.split("\r\n");
  const headers = lines.map((each) => [
    each.slice(0, each.indexOf(":")).toLowerCase(),
    each.slice(each.indexOf(":") + 2),
  ]);
  return { line, headers: new Map(headers as [string, string][]), body };
}

test("the path, the query and their order go up byte for byte, with the real token in the place of the virtual one", async () => {
  await using it = await setup();
  const query = `a=%E4%BD%A0+x&b=%7e~&access_token=${it.token}&c&d=&=e&a=2&f=()!*`;
  await it.send(`GET //cgi-bin/media/get?${query}`);
  const expected = query.replace(it.token, "real_access_token_1");
  expect(headOf(it.calls[0]).line).toBe(`GET /cgi-bin/media/get?${expected} HTTP/1.1`);
  expect(it.calls[0]).not.toContain(it.token);
});

test("a slash at the end goes up as it came", async () => {
  await using it = await setup();
  await it.send(`GET /wxa/x/?access_token=${it.token}`);
  expect(headOf(it.calls[0]).line).toStartWith("GET /wxa/x/?");
});

test.each(["DELETE", "PUT", "PATCH", "POST"])("%s goes up as what it is, with its body", async (method) => {
  // A body may come in a packet of its own.
  await using it = await setup(({ text, socket }) => void (text.endsWith("hello") && socket.write(OK)));
  await it.send(`${method} /wxa/x?access_token=${it.token}`, ["Content-Length: 5"], "hello");
  const { line, headers, body } = headOf(it.calls.join(""));
  expect([line.split(" ")[0], headers.get("content-length"), body]).toEqual([method, "5", "hello"]);
});

test("a chunked body goes up with a Content-Length, because WeChat answers 412 to others", async () => {
  await using it = await setup();
  const chunks = "3\r\n\x00\x01\x7f\r\n2\r\nde\r\n0\r\n\r\n";
  await it.send(`POST /wxa/x?access_token=${it.token}`, ["Transfer-Encoding: chunked"], chunks);
  const { headers, body } = headOf(it.calls[0]);
  expect([headers.get("content-length"), headers.get("transfer-encoding")]).toEqual(["5", undefined]);
  expect(body).toBe("\x00\x01\x7fde");
});

test("a POST without a body goes up with a Content-Length of 0", async () => {
  await using it = await setup();
  await it.send(`POST /wxa/x?access_token=${it.token}`, ["Content-Length: 0"]);
  expect(headOf(it.calls[0]).headers.get("content-length")).toBe("0");
});

test("who the caller is to us, or to a proxy on the way, never goes up; every other header does as it came", async () => {
  await using it = await setup();
  const ours = [
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded",
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Via",
  ];
  const others = {
    "content-type": "application/json; charset=UTF-8",
    "user-agent": "sdk/1.0 (a; b)",
    accept: "*/*;q=0.1",
    "wechatmp-appid": "wx1",
    "wechatmp-signature": "aGVsbG8=",
    "x-custom": "  inner  blanks, and \xe9",
  };
  await it.send(`GET /wxa/x?access_token=${it.token}`, [
    `Authorization: Bearer ${it.it.key}`,
    `X-API-Key: ${it.it.key}`,
    "Cookie: session=canary",
    "X-Hop: 1",
    "TE: trailers",
    "Keep-Alive: timeout=5",
    "Proxy-Authorization: Basic canary",
    "Expect-Not: kept",
    ...Object.entries(others).map(([name, value]) => `${name}: ${value}`),
  ]);
  const { headers } = headOf(it.calls[0]);
  for (const [name, value] of Object.entries(others)) {
    // What was sent in UTF-8 arrives so, one character a byte.
    expect([name, headers.get(name)]).toEqual([name, Buffer.from(value.trim()).toString("latin1")]);
  }
  for (const name of ["authorization", "x-api-key", "cookie", "te", "keep-alive", "proxy-authorization"])
    expect([name, headers.get(name)]).toEqual([name, undefined]);
  expect(it.calls[0]).not.toContain(it.it.key);
  // Those that a proxy sets are refused from whoever is no known one, so each is asked with one that is.
  await it.it.world.stop();
  await it.it.world.start({ TRUSTED_PROXIES: "127.0.0.1/32" });
  for (const name of ours) {
    it.calls.length = 0;
    const vouched = name === "X-Forwarded-For" ? [] : ["X-Forwarded-For: 127.0.0.1"];
    await it.send(`GET /wxa/x?access_token=${it.token}`, [...vouched, `${name}: 127.0.0.1`]);
    expect(it.calls).toHaveLength(1);
    expect([name, headOf(it.calls[0]).headers.get(name.toLowerCase())]).toEqual([name, undefined]);
    expect(headOf(it.calls[0]).headers.has("x-forwarded-for")).toBe(false);
  }
});

test.each(["debug=1", "debug", "debug=0", "DEBUG=1", "%64ebug=1", "debug=1&debug=1"])(
  "WeCom's debug mode is not asked for: %s",
  async (debug) => {
    await using raw = await rawGatewayWorld(OK);
    const token = await raw.it.token(WECOM_APP);
    await raw.it.send(`/cgi-bin/user/get?a=1&${debug}&access_token=${token}&b=2`);
    const real = token;
    expect(headOf(raw.calls[0]).line).toBe(`GET /cgi-bin/user/get?a=1&access_token=${real}&b=2 HTTP/1.1`);
  },
);

test("of WeChat's APIs a parameter debug is one like others", async () => {
  await using it = await setup();
  await it.send(`GET /wxa/x?debug=1&access_token=${it.token}`);
  expect(headOf(it.calls[0]).line).toContain("debug=1");
});

test("with a key and no token the call goes to the path's app with its real token", async () => {
  await using it = await setup();
  await it.send(`GET /gateway/${WX_APP}/wxa/x?a=1`, [`X-API-Key: ${it.it.key}`]);
  expect(headOf(it.calls[0]).line).toBe("GET /wxa/x?a=1&access_token=real_access_token_1 HTTP/1.1");
  await it.send(`GET /gateway/${WX_APP}/wxa/x?access_token=anything&a=1`, [`X-API-Key: ${it.it.key}`]);
  expect(headOf(it.calls[1]).line).toBe("GET /wxa/x?access_token=real_access_token_1&a=1 HTTP/1.1");
});

test("a binary answer comes down byte for byte, with its status, headers and Content-Disposition", async () => {
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, n) => (n * 31) & 0xff));
  await using it = await setup(
    httpAnswer(
      bytes,
      {
        "Content-Type": "image/jpeg",
        "Content-disposition": 'attachment; filename="MEDIA_\xe9.jpg"',
        "X-Thing": "a, b",
        ETag: '"1"',
        "Cache-Control": "max-age=60",
        "Keep-Alive": "timeout=5",
      },
      206,
    ),
  );
  const response = await fetch(`${it.it.url}/cgi-bin/media/get?access_token=${it.token}&media_id=1`);
  expect(response.status).toBe(206);
  expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
  const expected = {
    "content-type": "image/jpeg",
    "content-disposition": 'attachment; filename="MEDIA_\xe9.jpg"',
    "x-thing": "a, b",
    etag: '"1"',
    "cache-control": "max-age=60",
    "keep-alive": null,
  };
  const seen = Object.fromEntries(Object.keys(expected).map((name) => [name, response.headers.get(name)]));
  // What Bun's client reads as UTF-8 it shows so.
  expect({ ...seen, "content-disposition": undefined }).toEqual({
    ...expected,
    "content-disposition": undefined,
  });
  expect(seen["content-disposition"]).toMatch(/^attachment; filename="MEDIA_.+\.jpg"$/);
});

test("a small JSON answer comes down byte for byte and with its length", async () => {
  const body = '{ "errcode" : 0,\n"errmsg":"ok" , "x":"\\u4f60" }  ';
  await using it = await setup(httpAnswer(body, { "Content-Type": "application/json; encoding=utf-8" }));
  const { headers, body: got } = await it.send(`GET /wxa/x?access_token=${it.token}`);
  expect(got).toBe(body);
  expect(headers.get("content-length")).toBe(String(body.length));
  expect(headers.get("content-type")).toBe("application/json; encoding=utf-8");
});

test("JSON that is long comes down whole, whether its length is said or not", async () => {
  const body = JSON.stringify({ errcode: 40001, list: "x".repeat(200_000) });
  const chunked = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  for (const answer of [httpAnswer(body), Buffer.from(chunked)]) {
    await using it = await setup(answer);
    const { text } = await it.it.send(`/wxa/x?access_token=${it.token}`);
    expect(text === body).toBe(true);
    expect(it.calls).toHaveLength(1);
  }
});

test("an answer of 204 and one to HEAD have no body, and pass", async () => {
  await using it = await setup(Buffer.from("HTTP/1.1 204 No Content\r\nX-Thing: 1\r\n\r\n"));
  const answer = await it.it.send(`/wxa/x?access_token=${it.token}`);
  expect([answer.status, answer.text, answer.headers.get("x-thing")]).toEqual([204, "", "1"]);
  const head = await it.it.send(`/wxa/x?access_token=${it.token}`, { method: "HEAD" });
  expect([head.status, it.calls[1]?.split(" ")[0]]).toEqual([204, "HEAD"]);
});

test("a redirect is handed on and not followed, and the real token in it is the caller's own", async () => {
  await using it = await setup(({ socket, text }) => {
    const real = /access_token=(\w+)/.exec(text)?.[1] ?? "";
    const to = { Location: `http://127.0.0.1:1/elsewhere?access_token=${real}` };
    socket.write(httpAnswer(`{"url":"?access_token=${real}"}`, to, 302));
  });
  const answer = await it.it.send(`/wxa/x?access_token=${it.token}`, { redirect: "manual" });
  expect(answer.status).toBe(302);
  expect(answer.headers.get("location")).toBe(`http://127.0.0.1:1/elsewhere?access_token=${it.token}`);
  expect(answer.text).toBe(`{"url":"?access_token=${it.token}"}`);
  expect(it.calls).toHaveLength(1);
});

test("who came with a key alone is shown no token either", async () => {
  await using it = await setup(({ socket, text }) => {
    const real = /access_token=(\w+)/.exec(text)?.[1] ?? "";
    socket.write(httpAnswer(`{"url":"?access_token=${real}"}`, { "X-Url": real }));
  });
  const headers = { "x-api-key": it.it.key };
  const answer = await it.it.send(`/gateway/${WX_APP}/wxa/x`, { headers });
  expect([answer.text, answer.headers.get("x-url")]).toEqual([
    '{"url":"?access_token=ACCESS_TOKEN"}',
    "ACCESS_TOKEN",
  ]);
});

test("what WeChat answers to an unknown path passes, and WeCom's 404", async () => {
  await using it = await GatewayHarness.create();
  const wx = await it.send(`/cgi-bin/nope?access_token=${await it.token()}`);
  expect([wx.status, wx.errcode]).toEqual([200, 40066]);
  const wecom = await it.send(`/cgi-bin/nope?access_token=${await it.token(WECOM_APP)}`);
  expect([wecom.status, Buffer.from(wecom.text, "latin1").toString()]).toEqual([
    404,
    expect.stringContaining("the sandbox does not have this path"),
  ]);
});
