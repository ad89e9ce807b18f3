import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import type { ForwardRequest } from "../../src/gateway/forwarder.ts";
import { HttpForwarder } from "../../src/upstream/http-forwarder.ts";
import { AnsweringServer, httpAnswer } from "../support/answering-server.ts";
import { failureOf } from "../support/refusals.ts";
import { bodyOf, forwarderHarness, textOf } from "./forwarder-harness.ts";

const OK = httpAnswer("ok");

/** `text` in UTF-8 with a character for each byte, as headers carry it. */
const utf8 = (text: string) => Buffer.from(text).toString("latin1");

test("path and query arrive byte for byte", async () => {
  await using it = await forwarderHarness(OK);
  const targets = [
    ["/cgi-bin/user/get", "access_token=t"],
    ["/a//b/", ""],
    ["/a%20b%2e", "a=%61&b=+&c=%zz&&=?/../x"],
    ["/a;b,c:@!$&'()*+=~|[x]...", "a=[]{}|^`\\"],
    ["/", "x"],
  ] as const;
  for (const [path, query] of targets) {
    await it.forward({ path, query });
    const line = it.server.requests.at(-1)?.text.split("\r\n")[0];
    expect(line).toBe(`GET ${path}${query ? `?${query}` : ""} HTTP/1.1`);
  }
});

test("what would arrive otherwise than it is written is not sent", async () => {
  await using it = await forwarderHarness(OK);
  const paths = [
    "",
    "a",
    "@evil/x",
    ":80/x",
    "//evil/x",
    "/a/../b",
    "/a/./b",
    "/a/..",
    "/a/%2e%2E/b",
    "/a\\b",
  ];
  const odd = [
    "/a b",
    "/a\tb",
    "/a\r\nb",
    "/ä",
    "/a?b",
    "/a#b",
    "/a#",
    '/a"b',
    "/a{b}",
    "/a\u007f",
    "/a\u0001",
  ];
  for (const path of [...paths, ...odd]) {
    expect((await failureOf(it.forward({ path }))).code, JSON.stringify(path)).toBe("internal");
    expect((await failureOf(it.forward({ path, query: "" }))).code, JSON.stringify(path)).toBe("internal");
  }
  for (const query of ["a=b c", "a=ä", "a='", 'a="', "a=<>", "a=b#c", "a=b#", "a=b\r\nX: 1", "a=\u007f"]) {
    expect((await failureOf(it.forward({ query }))).code, JSON.stringify(query)).toBe("internal");
  }
  for (const method of ["FOO", "get", "TRACE", "CONNECT", "GET /x HTTP/1.1\r\nX:"]) {
    expect((await failureOf(it.forward({ method }))).code, method).toBe("internal");
  }
  expect(it.server.requests).toBeEmpty();
});

test("a request's headers arrive byte for byte, but for those of the connection", async () => {
  await using it = await forwarderHarness(OK);
  await it.forward({
    method: "POST",
    body: Buffer.from("{}"),
    headers: [
      ["content-type", "application/json; encoding=utf-8"],
      ["user-agent", "SDK/1.0"],
      ["accept", "a/b"],
      ["x-name", utf8("名é")],
      ["connection", "close, X-Hop , Keep-Alive, not a name"],
      ["x-hop", "1"],
      ["keep-alive", "timeout=5"],
      ["te", "trailers"],
      ["trailer", "x"],
      ["transfer-encoding", "chunked"],
      ["upgrade", "websocket"],
      ["proxy-authorization", "Basic x"],
      ["proxy-connection", "close"],
      ["host", "evil"],
      ["content-length", "99"],
      ["accept-encoding", "gzip"],
      ["expect", "100-continue"],
    ],
  });
  const [, ...lines] = it.arrived().split("\r\n\r\n")[0]?.split("\r\n") ?? [];
  expect(lines.map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase())).toSorted()).toEqual([
    "accept-encoding: identity",
    "accept: a/b",
    "connection: keep-alive",
    "content-length: 2",
    "content-type: application/json; encoding=utf-8",
    `host: ${new URL(it.server.url).host}`,
    "user-agent: SDK/1.0",
    `x-name: ${utf8("名é")}`,
  ]);
});

test("an answer's headers come byte for byte, but for those of the connection", async () => {
  const disposition = utf8('attachment; filename="名é.jpg"');
  const lines = [
    "HTTP/1.1 200 OK",
    "Content-Type: application/json; encoding=utf-8",
    `Content-disposition: ${disposition}`,
    "Set-Cookie: a=1; Path=/",
    "Set-Cookie: b=2",
    "Error-Code: 40014",
    `Error-Msg: invalid access_token, ${utf8("名")}\u0080\u00ff`,
    "X-Empty:",
    "Connection: keep-alive, X-Hop",
    "Keep-Alive: timeout=5",
    "X-Hop: 1",
    "Proxy-Authenticate: Basic",
    "Trailer: X-T",
    "Upgrade: h2c",
    "Content-Length: 2",
  ];
  await using it = await forwarderHarness(Buffer.from(`${lines.join("\r\n")}\r\n\r\nok`, "latin1"));
  const answer = await it.forward();
  expect([...answer.headers].toSorted(([a], [b]) => a.localeCompare(b))).toEqual([
    ["content-disposition", disposition],
    ["content-length", "2"],
    ["content-type", "application/json; encoding=utf-8"],
    ["error-code", "40014"],
    ["error-msg", `invalid access_token, ${utf8("名")}\u0080\u00ff`],
    ["set-cookie", "a=1; Path=/"],
    ["set-cookie", "b=2"],
    ["x-empty", ""],
  ]);
  expect(await textOf(answer.body)).toBe("ok");
});

test("any status is an answer, a redirect is not followed and nothing is inflated", async () => {
  for (const status of [301, 302, 307, 400, 404, 412, 500, 502]) {
    await using it = await forwarderHarness(httpAnswer("x", { Location: "http://127.0.0.1:1/" }, status));
    const answer = await it.forward();
    expect([answer.status, answer.headers.get("location"), await textOf(answer.body)]).toEqual([
      status,
      "http://127.0.0.1:1/",
      "x",
    ]);
    expect(it.server.requests).toHaveLength(1);
  }
  const zipped = gzipSync("hello");
  await using it = await forwarderHarness(httpAnswer(zipped, { "Content-Encoding": "gzip" }));
  const answer = await it.forward();
  expect(answer.headers.get("content-encoding")).toBe("gzip");
  expect(await textOf(answer.body)).toBe(zipped.toString("latin1"));
});

test("an answer to HEAD, a 204 and a 304 have no body and keep their headers", async () => {
  const bare = (status: number) => `HTTP/1.1 ${status} X\r\nContent-Length: 77\r\nETag: "e"\r\n\r\n`;
  for (const [method, status] of [
    ["HEAD", 200],
    ["GET", 304],
  ] as const) {
    await using it = await forwarderHarness(bare(status));
    const answer = await it.forward({ method });
    expect(answer.body).toBeNull();
    expect([answer.headers.get("content-length"), answer.headers.get("etag")]).toEqual(["77", '"e"']);
  }
  await using it = await forwarderHarness("HTTP/1.1 204 X\r\nX-A: 1\r\n\r\n");
  const answer = await it.forward();
  expect([answer.status, answer.body, answer.headers.get("x-a")]).toEqual([204, null, "1"]);
});

test("only the proxy of the configuration is used, whatever NO_PROXY says", async () => {
  await using proxy = await AnsweringServer.start(({ socket }) => void socket.write(OK));
  await using it = await forwarderHarness(OK, { proxyUrl: proxy.url });
  const { NO_PROXY, HTTP_PROXY } = process.env;
  try {
    process.env["NO_PROXY"] = "*";
    await it.forward();
    process.env["NO_PROXY"] = "";
    process.env["HTTP_PROXY"] = proxy.url;
    await using direct = await forwarderHarness(OK);
    await direct.forward();
    expect(direct.server.requests).toHaveLength(1);
  } finally {
    if (NO_PROXY === undefined) delete process.env["NO_PROXY"];
    else process.env["NO_PROXY"] = NO_PROXY;
    if (HTTP_PROXY === undefined) delete process.env["HTTP_PROXY"];
    else process.env["HTTP_PROXY"] = HTTP_PROXY;
  }
  expect(proxy.requests.map(({ text }) => text.split("\r\n")[0])).toEqual([
    `GET ${it.server.url}/cgi-bin/user/get?access_token=t HTTP/1.1`,
  ]);
  expect(it.server.requests).toBeEmpty();
});

test("a body goes up with its length and never in chunks", async () => {
  const large = Buffer.alloc(200_000, "x");
  const bodies = {
    bytes: Buffer.from("hello"),
    "large bytes": large,
    stream: bodyOf(["he", "", "llo"], 5),
    "large stream": bodyOf([large.toString()], large.length),
  };
  for (const method of ["POST", "PUT", "DELETE"]) {
    for (const [name, body] of Object.entries(bodies)) {
      if (method !== "POST" && !Buffer.isBuffer(body)) continue;
      const length = body instanceof Uint8Array ? body.byteLength : body.length;
      await using it = await forwarderHarness(({ socket }) => {
        if (it.arrived().split("\r\n\r\n")[1]?.length === length) socket.write(OK);
      });
      await it.forward({ method, body });
      expect(it.arrived().toLowerCase(), name).toContain(`\r\ncontent-length: ${length}\r\n`);
      expect(it.arrived().toLowerCase(), name).not.toContain("transfer-encoding");
    }
  }
});

test("an empty POST has a Content-Length of 0", async () => {
  for (const body of [undefined, new Uint8Array(0), bodyOf([], 0)]) {
    await using it = await forwarderHarness(OK);
    await it.forward({ method: "POST", body });
    expect(it.arrived()).toContain("\r\nContent-Length: 0\r\n");
    expect(it.arrived()).not.toContain("Transfer-Encoding");
  }
});

test("a GET that carries a body is refused, because it can't be sent as it is", async () => {
  await using it = await forwarderHarness(OK);
  for (const body of [Buffer.from("x"), bodyOf(["x"], 1)]) {
    expect((await failureOf(it.forward({ body }))).code).toBe("invalid_parameter");
  }
  await it.forward({ body: new Uint8Array(0) });
  expect(it.server.requests).toHaveLength(1);
});

test("a stream that is not as long as announced never arrives as a complete request", async () => {
  const wrong = {
    short: bodyOf(["hel"], 5),
    none: bodyOf([], 5),
    "long in one part": bodyOf(["helloworld"], 5),
    "long by a further part": bodyOf(["hello", "world"], 5),
    "long by parts that cross the end": bodyOf(["hel", "loworld"], 5),
    "one that breaks off": bodyOf(["hel"], 5, "fails"),
    "one that breaks off behind its last byte": bodyOf(["hello"], 5, "fails"),
  };
  for (const [name, body] of Object.entries(wrong)) {
    const closed = Promise.withResolvers<void>();
    await using it = await forwarderHarness(({ socket }) => void socket.on("close", () => closed.resolve()));
    const failure = await failureOf(it.forward({ method: "POST", body }));
    expect(failure.code, name).toBe("invalid_parameter");
    if (it.server.requests.length > 0) await closed.promise;
    expect(it.arrived().split("\r\n\r\n")[1]?.length ?? 0, name).toBeLessThan(5);
  }
});

test("an answer can come while the body still goes up", async () => {
  await using it = await forwarderHarness(httpAnswer("too large", {}, 413));
  const body = bodyOf(["x"], 100_000, "stays open");
  const answer = await it.forward({ method: "POST", body });
  expect([answer.status, await textOf(answer.body)]).toEqual([413, "too large"]);
});

test("a kept body goes up unchanged as often as it is sent, and what a stream has sent is freed", async () => {
  const kept = crypto.getRandomValues(new Uint8Array(64 * 1024));
  const parts = [70_000, 1, 200_000].map((size) => new Uint8Array(size).fill(size % 251));
  const sent = Buffer.concat(parts);
  const bodies: string[] = [];
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      bodies.push(Buffer.from(await request.arrayBuffer()).toString("latin1"));
      return new Response("{}");
    },
  });
  const url = server.url.origin;
  const forwarder = new HttpForwarder({ baseUrls: { weixin: url, wecom: url }, proxyUrl: undefined });
  const post = (body: ForwardRequest["body"]) =>
    forwarder.forward({
      platform: "weixin",
      appId: "",
      method: "PUT",
      path: "/x",
      query: "",
      headers: new Headers({ "content-type": "multipart/form-data; boundary=x" }),
      body,
      signal: new AbortController().signal,
    });
  for (const body of [kept, kept]) await post(body);
  const left = [...parts];
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = left.shift();
      if (part) controller.enqueue(part);
      else controller.close();
    },
  });
  await post({ stream, length: sent.length });
  const text = Buffer.from(kept).toString("latin1");
  expect(bodies.map((body) => [text, text, sent.toString("latin1")].indexOf(body))).toEqual([0, 0, 2]);
  expect(parts.slice(0, 2).map(({ byteLength }) => byteLength)).toEqual([0, 0]);
});
