import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { HttpClient, type HttpClientOptions, type UpstreamRequest } from "../../src/upstream/http-client.ts";
import { AnsweringServer, httpAnswer, type Responder } from "../support/answering-server.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";

const OK = '{"access_token":"token","expires_in":7200}';
const CANARY = "canary-0123456789";

/** A client whose two upstreams are one server that answers as `respond` says. */
async function setup(respond: Responder | string | Uint8Array, options: Partial<HttpClientOptions> = {}) {
  const server = await AnsweringServer.start(
    typeof respond === "function" ? respond : ({ socket }) => void socket.write(Buffer.from(respond)),
  );
  const events: ServiceEvent[] = [];
  const bus = new EventBus();
  bus.subscribe((event) => events.push(event));
  const counted: string[][] = [];
  const client = new HttpClient({
    baseUrls: { weixin: server.url, wecom: server.url },
    proxyUrl: undefined,
    clock: new ManualClock(),
    events: bus,
    calls: { count: (...names) => void counted.push(names) },
    ...options,
  });
  const call = (request: Partial<UpstreamRequest> = {}) =>
    client.call({
      platform: "weixin",
      appId: "wx1",
      path: "/cgi-bin/token",
      takes: "takes_secret",
      repeatable: true,
      ...request,
    });
  return { server, events, counted, call, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** Where nobody listens, nor will. */
const NOWHERE = "http://127.0.0.1:1";

test("a GET carries its query, encoded, asks for no compression and follows no path of a parameter", async () => {
  await using it = await setup(httpAnswer(OK));
  await it.call({ query: { appid: "wx1", secret: "a&b=c/../d +%" } });
  const text = it.server.requests[0]?.text ?? "";
  expect(text).toStartWith("GET /cgi-bin/token?appid=wx1&secret=a%26b%3Dc%2F..%2Fd+%2B%25 HTTP/1.1\r\n");
  expect(text.toLowerCase()).toContain("accept-encoding: identity\r\n");
});

test("a body goes as JSON by POST, with its length and not in chunks", async () => {
  await using it = await setup(httpAnswer(OK));
  await it.call({ path: "/cgi-bin/stable_token", body: { appid: "wx1", force_refresh: false } });
  const text = it.server.requests[0]?.text ?? "";
  expect(text).toStartWith("POST /cgi-bin/stable_token HTTP/1.1\r\n");
  expect(text).toEndWith('{"appid":"wx1","force_refresh":false}');
  expect(text.toLowerCase()).toContain("content-type: application/json\r\n");
  expect(text.toLowerCase()).toContain("content-length: 37\r\n");
  expect(text.toLowerCase()).not.toContain("transfer-encoding");
});

test("an answer is JSON whatever its content type says", async () => {
  for (const type of [
    "text/plain",
    "application/json; encoding=utf-8",
    "text/html",
    "application/octet-stream",
  ]) {
    await using it = await setup(httpAnswer(OK, { "Content-Type": type }));
    expect(await it.call(), type).toEqual({ access_token: "token", expires_in: 7200 });
  }
});

test("an errcode of 0, as a number or a text, is no refusal", async () => {
  for (const errcode of ["0", '"0"', "null"]) {
    await using it = await setup(httpAnswer(`{"errcode":${errcode},"errmsg":"ok","ticket":"t"}`));
    expect((await it.call())["ticket"]).toBe("t");
  }
});

test("an errcode is WeChat's refusal with its own words, also when it comes as a text", async () => {
  for (const errcode of ["40125", '"40125"']) {
    await using it = await setup(
      httpAnswer(`{"errcode":${errcode},"errmsg":"invalid appsecret rid: 6aac005a"}`),
    );
    const failure = await failureOf(it.call());
    expect(failure.code).toBe("upstream_rejected");
    expect(failure.upstream).toEqual({
      platform: "weixin",
      errcode: 40125,
      errmsg: "invalid appsecret rid: 6aac005a",
      class: "config",
    });
  }
});

test("40001 is about the secret or the token, as the endpoint takes one or the other, and on WeCom about the secret", async () => {
  await using it = await setup(httpAnswer('{"errcode":40001,"errmsg":"invalid credential"}'));
  const kind = async (request: Partial<UpstreamRequest>) =>
    (await failureOf(it.call(request))).upstream?.class;
  expect(await kind({ takes: "takes_secret" })).toBe("config");
  expect(await kind({ takes: "takes_token" })).toBe("token_invalid");
  expect(await kind({ takes: "takes_token", platform: "wecom" })).toBe("config");
});

test("an endless errmsg is cut, and one that is no text is left out", async () => {
  await using long = await setup(httpAnswer(`{"errcode":-1,"errmsg":"${"x".repeat(5000)}"}`));
  expect((await failureOf(long.call())).upstream?.errmsg).toHaveLength(512);
  await using odd = await setup(httpAnswer('{"errcode":-1,"errmsg":{"a":1}}'));
  expect((await failureOf(odd.call())).upstream?.errmsg).toBe("");
});

test("P6: what is no answer is refused without being quoted", async () => {
  const bodies = [
    "",
    "null",
    "[]",
    `["${CANARY}"]`,
    `"${CANARY}"`,
    "7200",
    `<html>${CANARY}</html>`,
    `{"access_token":"${CANARY}`,
    `{"errcode":true,"access_token":"${CANARY}"}`,
    `{"errcode":1.5}`,
    `{"errcode":"${CANARY}"}`,
    `{"errcode":[]}`,
  ];
  for (const body of bodies) {
    await using it = await setup(httpAnswer(body));
    const failure = await failureOf(it.call());
    expect(failure.code, body).toBe("upstream_invalid");
    expect(failure.message + String(failure.cause)).not.toContain(CANARY);
  }
});

test("broken UTF-8 is refused and not repaired", async () => {
  await using it = await setup(
    httpAnswer(Buffer.from([...Buffer.from('{"a":"'), 0xff, 0xfe, ...Buffer.from('"}')])),
  );
  expect((await failureOf(it.call())).code).toBe("upstream_invalid");
});

test("any status but 200 is no answer, whatever its body", async () => {
  for (const status of [201, 204, 400, 404, 412, 500, 502, 503]) {
    await using it = await setup(httpAnswer(status === 204 ? "" : OK, {}, status));
    expect((await failureOf(it.call())).code, String(status)).toBe("upstream_invalid");
  }
});

test("a redirect is not followed: its target sees nothing of the secret", async () => {
  await using target = await AnsweringServer.start(({ socket }) => void socket.write(httpAnswer(OK)));
  for (const status of [301, 302, 307, 308]) {
    await using it = await setup(httpAnswer("", { Location: `${target.url}/x` }, status));
    expect((await failureOf(it.call({ body: { secret: CANARY } }))).code).toBe("upstream_invalid");
  }
  expect(target.requests).toHaveLength(0);
});

test("an answer of 64 KiB is read, a larger one is refused, with a length, in chunks or without an end", async () => {
  const padded = (size: number) => OK + " ".repeat(size - OK.length);
  await using fits = await setup(httpAnswer(padded(65_536)));
  expect((await fits.call())["access_token"]).toBe("token");
  await using large = await setup(httpAnswer(padded(65_537)));
  expect((await failureOf(large.call())).code).toBe("upstream_invalid");
  const chunk = `10000\r\n${padded(65_536)}\r\n`;
  await using chunked = await setup(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`);
  expect((await failureOf(chunked.call())).code).toBe("upstream_invalid");
  await using endless = await setup(`HTTP/1.1 200 OK\r\n\r\n${padded(200_000)}`, { attemptMs: 5000 });
  expect((await failureOf(endless.call())).code).toBe("upstream_invalid");
});

test("a compressed answer is refused and never inflated, however small it would be", async () => {
  for (const body of [OK, OK + " ".repeat(10_000_000)]) {
    await using it = await setup(({ socket }) => {
      // Without a length, so that nothing but the encoding is odd about it.
      const head = Buffer.from("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n");
      socket.end(Buffer.concat([head, gzipSync(body)]));
    });
    expect((await failureOf(it.call({ repeatable: false }))).code).toBe("upstream_invalid");
  }
});

test("an answer that is shorter than it announced, or cut off without a length, is refused", async () => {
  await using short = await setup(({ socket }) => {
    socket.end(Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${OK.length + 10}\r\n\r\n${OK}`));
  });
  expect((await failureOf(short.call({ repeatable: false }))).code).toBe("upstream_invalid");
  await using cut = await setup(({ socket }) => {
    socket.end(Buffer.from(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${OK.slice(0, 20)}`));
  });
  expect((await failureOf(cut.call({ repeatable: false }))).code).toBe("upstream_invalid");
});

test("a connection that is reset, or speaks no HTTP, is no answer, and it is not known that nothing was sent", async () => {
  await using reset = await setup(({ socket }) => void socket.resetAndDestroy());
  expect((await failureOf(reset.call({ repeatable: false }))).code).toBe("upstream_invalid");
  await using rubbish = await setup("this is no HTTP\r\n\r\n");
  expect((await failureOf(rubbish.call({ repeatable: false }))).code).toBe("upstream_invalid");
});

test("a server that nobody runs is unreachable: nothing was sent", async () => {
  const it = await setup(OK);
  await it[Symbol.asyncDispose]();
  const failure = await failureOf(it.call({ query: { secret: CANARY } }));
  expect(failure.code).toBe("upstream_unreachable");
  expect(failure.message).not.toContain(CANARY);
});

test("an attempt is over when its time is: before the head, between head and body, and in a body that drips", async () => {
  const drip: Responder = ({ socket }) => {
    socket.write(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"));
    const timer = setInterval(() => socket.write(Buffer.from(" ")), 10);
    socket.on("close", () => clearInterval(timer));
  };
  const head: Responder = ({ socket }) => {
    socket.write(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"));
  };
  for (const respond of [() => {}, head, drip]) {
    await using it = await setup(respond, { attemptMs: 60 });
    expect((await failureOf(it.call({ repeatable: false }))).code).toBe("upstream_timeout");
  }
});

test("another of WeChat's hosts is asked only where that does no harm, and only when nothing could be sent to the first", async () => {
  await using other = await AnsweringServer.start(({ socket }) => void socket.write(httpAnswer(OK)));
  const baseUrls = { weixin: NOWHERE, wecom: NOWHERE };
  await using down = await setup(OK, { baseUrls, weixinFallbackUrls: [NOWHERE, other.url] });
  for (const request of [{}, { mayFallBack: false }, { mayFallBack: true, platform: "wecom" }] as const)
    expect((await failureOf(down.call(request))).code).toBe("upstream_unreachable");
  expect(other.requests).toHaveLength(0);
  expect((await down.call({ mayFallBack: true }))["access_token"]).toBe("token");
  expect(other.requests).toHaveLength(1);
  for (const answer of [httpAnswer("", {}, 500), httpAnswer('{"errcode":-1}'), "rubbish\r\n\r\n"]) {
    // After rubbish Bun waits for more, until the connection ends.
    await using up = await setup(({ socket }) => void socket.end(answer), {
      weixinFallbackUrls: [other.url],
    });
    await failureOf(up.call({ mayFallBack: true }));
    expect(up.server.requests).toHaveLength(1);
  }
  expect(other.requests).toHaveLength(1);
});

test("each call is told of once, however many hosts were tried", async () => {
  const baseUrls = { weixin: NOWHERE, wecom: NOWHERE };
  await using it = await setup(OK, { baseUrls, weixinFallbackUrls: [NOWHERE, NOWHERE] });
  await failureOf(it.call({ mayFallBack: true }));
  expect(it.events).toMatchObject([{ type: "upstream.called", outcome: "upstream_unreachable" }]);
});

test("whoever asks may end it sooner", async () => {
  await using it = await setup(() => {});
  expect((await failureOf(it.call({ signal: AbortSignal.timeout(30) }))).code).toBe("upstream_timeout");
});

test("a request whose time was up before it was sent is known not to have arrived", async () => {
  await using it = await setup(httpAnswer(OK));
  expect((await failureOf(it.call({ signal: AbortSignal.abort() }))).code).toBe("upstream_unreachable");
  expect(it.server.requests).toHaveLength(0);
});

test("a request that must not be sent twice has a connection of its own, so none is sent again behind our back", async () => {
  // Answers the first request of each connection and cuts the second one off.
  const cutSecond =
    (seen = new Set<number>()): Responder =>
    ({ connection, socket }) => {
      if (seen.has(connection)) socket.destroy();
      else socket.write(httpAnswer(OK, { Connection: "keep-alive" }));
      seen.add(connection);
    };
  await using once = await setup(cutSecond());
  for (let n = 0; n < 5; n++) await once.call({ repeatable: false });
  expect(once.server.requests).toHaveLength(5);
  expect(new Set(once.server.requests.map(({ connection }) => connection)).size).toBe(5);
});

test("the connection of a request that may be repeated is kept for the next one", async () => {
  await using it = await setup(httpAnswer(OK, { Connection: "keep-alive" }));
  for (let n = 0; n < 5; n++) await it.call({ repeatable: true });
  expect(new Set(it.server.requests.map(({ connection }) => connection)).size).toBe(1);
});

test("only the proxy of the configuration is used", async () => {
  await using proxy = await AnsweringServer.start(({ socket }) => void socket.write(httpAnswer(OK)));
  await using it = await setup(httpAnswer("{}"), { proxyUrl: proxy.url });
  expect((await it.call())["access_token"]).toBe("token");
  expect(proxy.requests[0]?.text).toStartWith(`GET ${it.server.url}/cgi-bin/token HTTP/1.1`);
  expect(it.server.requests).toHaveLength(0);
});

test("the proxy variables of the process are ignored", async () => {
  await using proxy = await AnsweringServer.start(({ socket }) => void socket.write(httpAnswer(OK)));
  await using target = await AnsweringServer.start(
    ({ socket }) => void socket.write(httpAnswer('{"direct":1}')),
  );
  const script = `
    import { EventBus } from "./src/events.ts";
    import { systemClock } from "./src/clock.ts";
    import { HttpClient } from "./src/upstream/http-client.ts";
    const baseUrls = { weixin: "${target.url}", wecom: "${target.url}" };
    const client = new HttpClient({ baseUrls, proxyUrl: undefined, clock: systemClock, events: new EventBus(), calls: { count: () => {} } });
    console.log(JSON.stringify(await client.call({ platform: "weixin", appId: "wx1", path: "/x", takes: "takes_secret", repeatable: true })));`;
  const names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
  const env = {
    PATH: process.env["PATH"] ?? "",
    ...Object.fromEntries(names.map((name) => [name, proxy.url])),
  };
  const child = Bun.spawn([process.execPath, "-e", script], {
    cwd: `${import.meta.dir}/../..`,
    env,
    stdout: "pipe",
  });
  expect(await new Response(child.stdout).text()).toBe('{"direct":1}\n');
  expect(proxy.requests).toHaveLength(0);
});

test("P7: each call is told of with its app, endpoint and outcome, and with nothing that was sent or answered", async () => {
  await using it = await setup(({ text, socket }) => {
    socket.write(
      httpAnswer(text.includes("bad") ? `{"errcode":40125,"errmsg":"${CANARY}"}` : `{"x":"${CANARY}"}`),
    );
  });
  await it.call({ query: { secret: CANARY } });
  await failureOf(it.call({ query: { secret: CANARY, bad: "1" } }));
  const told = {
    type: "upstream.called",
    platform: "weixin",
    appId: "wx1",
    endpoint: "/cgi-bin/token",
    durationMs: 0,
  } as const;
  expect(it.events).toEqual([
    { ...told, outcome: "ok" },
    { ...told, outcome: "errcode", errcode: 40125 },
  ]);
  expect(JSON.stringify(it.events)).not.toContain(CANARY);
  const names = ["weixin", "wx1", "/cgi-bin/token"];
  expect(it.counted).toEqual([names, names]);
});

test("P7: a call counts against the quota whatever a listener does with its event", async () => {
  const events = new EventBus();
  events.subscribe(() => {
    throw new Error("a listener's own fault");
  });
  await using it = await setup(({ socket }) => void socket.write(httpAnswer("{}")), { events });
  await it.call();
  expect(it.counted).toEqual([["weixin", "wx1", "/cgi-bin/token"]]);
});

test("a corp with a base URL of its own is asked there, and every other at the common one", async () => {
  await using own = await AnsweringServer.start(({ socket }) => void socket.write(httpAnswer(OK)));
  await using it = await setup(httpAnswer(OK));
  const { url } = it.server;
  await using common = await setup(httpAnswer(OK), {
    baseUrls: { weixin: url, wecom: url, corps: new Map([["ww1", own.url]]) },
  });
  await common.call({ platform: "wecom", appId: "ww1" });
  expect([own.requests.length, it.server.requests.length]).toEqual([1, 0]);
  await common.call({ platform: "wecom", appId: "ww2" });
  await common.call({ platform: "weixin", appId: "ww1" });
  expect([own.requests.length, it.server.requests.length]).toEqual([1, 2]);
});
