import { expect, test } from "bun:test";
import type { Socket } from "node:net";
import { httpAnswer } from "../support/answering-server.ts";
import { Harness } from "../support/harness.ts";
import { failureOf } from "../support/refusals.ts";
import { bodyOf, cancelled, forwarderHarness, type PartialRequest, textOf } from "./forwarder-harness.ts";

const OK = httpAnswer("ok");
const MAY_HAVE_RUN = "可能已经执行";
/** All far away; a test brings one near: to 50 ms, or to a second where something must come in time on a busy machine too. */
const FAR = { headMs: 30_000, uploadMs: 30_000, bodyMs: 30_000 };
const LARGE_HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";

/** Resolves when the other side has closed the connection. */
function closing(): { watch: (socket: Socket) => void; closed: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { watch: (socket) => void socket.on("close", () => resolve()), closed: promise };
}

/** Where nobody listens, nor will. */
const NOWHERE = "http://127.0.0.1:1";
/** The rest of an answer that goes on. */
const CHUNK = "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";

test.concurrent(
  "an answer whose head does not come in time is given up, and may have been carried out",
  async () => {
    const { watch, closed } = closing();
    await using it = await forwarderHarness(({ socket }) => watch(socket), {
      times: { ...FAR, headMs: 1000 },
    });
    const failure = await failureOf(it.forward({ method: "POST", body: Buffer.from("x") }));
    expect(failure.code).toBe("upstream_timeout");
    expect(failure.message).toContain(MAY_HAVE_RUN);
    await closed;
  },
);

test.concurrent("where something large goes up the head may take longer", async () => {
  const large: PartialRequest[] = [
    { body: Buffer.alloc(65_537) },
    { body: bodyOf(["x".repeat(65_537)], 65_537) },
    { body: Buffer.from("x"), headers: { "content-type": "multipart/form-data; boundary=x" } },
  ];
  for (const request of large) {
    const times = { ...FAR, uploadMs: 50 };
    await using it = await forwarderHarness(() => undefined, { times });
    expect((await failureOf(it.forward({ method: "POST", ...request }))).code).toBe("upstream_timeout");
  }
  const times = { ...FAR, headMs: 50 };
  await using it = await forwarderHarness(() => undefined, { times });
  const small = it.forward({ method: "POST", body: Buffer.alloc(65_536) });
  expect((await failureOf(small)).code).toBe("upstream_timeout");
});

test.concurrent("the head's time begins with the last byte that went up", async () => {
  let isRead = false;
  await using it = await forwarderHarness(
    ({ socket }) => {
      if (!isRead && it.arrived().endsWith("end")) socket.write(OK);
      isRead ||= it.arrived().endsWith("end");
    },
    { times: { ...FAR, headMs: 1000 } },
  );
  const parts = ["x", "x", "x", "end"];
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      await Bun.sleep(300);
      const part = parts.shift();
      if (part) controller.enqueue(Buffer.from(part));
      if (parts.length === 0) controller.close();
    },
  });
  expect((await it.forward({ method: "POST", body: { stream, length: 6 } })).status).toBe(200);
});

test.concurrent("a file that has to be made first may take its time, as a call may not", async () => {
  await using it = await forwarderHarness(({ socket }) => setTimeout(() => socket.write(OK), 150), {
    times: { ...FAR, headMs: 50 },
  });
  for (const path of ["/cgi-bin/media/get", "/cgi-bin/media/get/jssdk", "/wxa/getwxacodeunlimit"])
    expect([path, (await it.forward({ path })).status]).toEqual([path, 200]);
  expect((await failureOf(it.forward({ path: "/cgi-bin/user/get" }))).code).toBe("upstream_timeout");
});

test.concurrent("an upload that comes to a standstill is ended", async () => {
  const { watch, closed } = closing();
  await using it = await forwarderHarness(({ socket }) => watch(socket), {
    times: { ...FAR, uploadMs: 1000 },
  });
  const body = bodyOf(["x"], 100_000, "stays open");
  expect((await failureOf(it.forward({ method: "POST", body }))).code).toBe("upstream_timeout");
  await closed;
  expect(body.seen.isCancelled).toBe(true);
});

test.concurrent("an answer's body that brings nothing for too long is ended", async () => {
  for (const length of [10, 1_000_000]) {
    const { watch, closed } = closing();
    await using it = await forwarderHarness(
      ({ socket }) => {
        watch(socket);
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\nhello`);
      },
      { times: { ...FAR, bodyMs: 50 } },
    );
    const failure = await failureOf(it.forward().then((answer) => textOf(answer.body)));
    expect(failure.code).toBe("upstream_timeout");
    await closed;
  }
});

test.concurrent("a reader that takes its time ends nothing", async () => {
  await using it = await forwarderHarness(LARGE_HEAD + "x".repeat(1_000_000), {
    times: { ...FAR, bodyMs: 1000 },
  });
  const { body } = await it.forward();
  const reader = body instanceof ReadableStream ? body.getReader() : undefined;
  let size = 0;
  for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
    if (size === 0) await Bun.sleep(1500);
    size += part.value.byteLength;
  }
  expect(size).toBe(1_000_000);
});

test("the caller's abort ends a request that has no answer yet", async () => {
  const { watch, closed } = closing();
  const abort = new AbortController();
  await using it = await forwarderHarness(({ socket }) => {
    watch(socket);
    abort.abort();
  });
  expect((await failureOf(it.forward({ signal: abort.signal }))).code).toBe("upstream_timeout");
  await closed;
});

test("a caller that has gone already sends nothing", async () => {
  await using it = await forwarderHarness(OK);
  await failureOf(it.forward({ signal: AbortSignal.abort() }));
  await it.forward();
  expect(it.server.requests).toHaveLength(1);
});

test("the caller's abort ends a download in its middle", async () => {
  const { watch, closed } = closing();
  const abort = new AbortController();
  await using it = await forwarderHarness(({ socket }) => {
    watch(socket);
    socket.write(`${LARGE_HEAD}hello`);
  });
  const answer = await it.forward({ signal: abort.signal });
  const reading = failureOf(textOf(answer.body));
  abort.abort();
  expect((await reading).code).toBe("upstream_timeout");
  await closed;
});

test("a body that is wanted no more ends the download", async () => {
  const { watch, closed } = closing();
  await using it = await forwarderHarness(({ socket }) => {
    watch(socket);
    socket.write(`${LARGE_HEAD}hello`);
  });
  await cancelled(await it.forward());
  await closed;
});

test("the caller's abort ends an upload in its middle, and the body that it came from", async () => {
  const { watch, closed } = closing();
  const abort = new AbortController();
  const body = bodyOf(["x"], 100_000, "stays open");
  await using it = await forwarderHarness(({ socket }) => {
    watch(socket);
    abort.abort();
  });
  expect((await failureOf(it.forward({ method: "POST", body, signal: abort.signal }))).code).toBe(
    "upstream_timeout",
  );
  await closed;
  expect(body.seen.isCancelled).toBe(true);
});

test("nobody there means that nothing was sent", async () => {
  await using it = await forwarderHarness(OK, { baseUrls: { weixin: NOWHERE, wecom: NOWHERE } });
  for (const body of [undefined, Buffer.from("x"), bodyOf(["x"], 1)]) {
    const { code, mayHaveRun } = await failureOf(it.forward({ method: "POST", body }));
    expect([code, mayHaveRun]).toEqual(["upstream_unreachable", false]);
  }
});

test("what is refused before it goes out has not been carried out", async () => {
  await using it = await forwarderHarness(OK);
  const refused: Record<string, PartialRequest> = {
    "a fragment": { query: "a=x#y" },
    "a method that no API has": { method: "TRACE" },
    "a GET with a body": { body: Buffer.from("x") },
    "a caller who has gone": { signal: AbortSignal.abort() },
  };
  for (const [name, request] of Object.entries(refused)) {
    const { mayHaveRun, message } = await failureOf(it.forward(request));
    expect([mayHaveRun, message.includes(MAY_HAVE_RUN)], name).toEqual([false, false]);
  }
  expect(it.server.requests).toHaveLength(0);
});

test("an answer that breaks off or is none may have been carried out", async () => {
  const broken = [
    "",
    "HTTP/1.1 200 OK\r\nConte",
    "no http\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
  ];
  for (const text of broken) {
    await using it = await forwarderHarness(({ socket }) => void socket.end(text));
    const failure = await failureOf(it.forward({ method: "POST", body: Buffer.from("x") }));
    expect([failure.code, failure.mayHaveRun], text).toEqual(["upstream_invalid", true]);
    expect(failure.message).toContain(MAY_HAVE_RUN);
    expect(it.server.requests).toHaveLength(1);
  }
});

test("a large answer that breaks off errors its body", async () => {
  for (const text of [
    `${LARGE_HEAD}hello`,
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
  ]) {
    await using it = await forwarderHarness(({ socket }) => void socket.end(text));
    const answer = await it.forward();
    const { code, mayHaveRun } = await failureOf(textOf(answer.body));
    expect([code, mayHaveRun]).toEqual(["upstream_invalid", true]);
  }
});

test("requests share a kept connection", async () => {
  await using it = await forwarderHarness(OK);
  await it.forward();
  await it.forward({ method: "POST", body: Buffer.from("x") });
  await it.forward({ method: "POST" });
  await it.forward();
  expect(new Set(it.server.requests.map(({ connection }) => connection)).size).toBe(1);
});

test("a call that may have run is not sent again when its kept connection dies", async () => {
  const calls: Record<string, PartialRequest> = {
    "POST of bytes": { method: "POST", body: Buffer.from("x") },
    "POST of a stream": { method: "POST", body: bodyOf(["x"], 1) },
    "POST without a body": { method: "POST" },
    "PUT of bytes": { method: "PUT", body: Buffer.from("x") },
    "DELETE of a stream": { method: "DELETE", body: bodyOf(["x"], 1) },
    "DELETE without a body": { method: "DELETE" },
    "GET that does something": { path: "/cgi-bin/menu/delete" },
  };
  for (const [name, call] of Object.entries(calls)) {
    await using it = await forwarderHarness(({ text, socket }) => {
      if (text.includes("second")) socket.end();
      else socket.write(OK);
    });
    await it.forward();
    const failure = await failureOf(it.forward({ ...call, query: "second" }));
    expect([failure.code, it.arrived().split("?second").length - 1], name).toEqual(["upstream_invalid", 1]);
  }
});

test("a GET that reads is sent again when its kept connection dies", async () => {
  let times = 0;
  await using it = await forwarderHarness(({ text, socket }) => {
    if (text.includes("second") && times++ === 0) socket.end();
    else socket.write(OK);
  });
  await it.forward();
  expect((await it.forward({ query: "second" })).status).toBe(200);
});

test("so many requests are under way at once, and the others wait for their turn", async () => {
  const sockets: Socket[] = [];
  const arrivals = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using it = await forwarderHarness(
    ({ socket }) => {
      arrivals[sockets.push(socket) - 1]?.resolve();
    },
    { maxConcurrent: 1 },
  );
  const first = it.forward();
  const second = it.forward();
  await arrivals[0]?.promise;
  expect(it.server.requests).toHaveLength(1);
  sockets[0]?.write(OK);
  await first;
  await arrivals[1]?.promise;
  sockets[1]?.write(OK);
  expect((await second).status).toBe(200);
});

test("uploads that stream are fewer at once, and neither they nor other requests wait for the others", async () => {
  await using it = await forwarderHarness(() => undefined, { maxConcurrent: 1, maxUploads: 2 });
  const arrived = (method: string) => it.server.requests.filter(({ text }) => text.startsWith(method));
  const uploads = [1, 2, 3].map(() => it.forward({ method: "POST", body: bodyOf(["x"], 1) }));
  await Harness.until(() => arrived("POST").length === 2);
  const small = it.forward();
  await Harness.until(() => arrived("GET").length === 1);
  arrived("POST")[0]?.socket.write(OK);
  await Promise.race(uploads);
  await Harness.until(() => arrived("POST").length === 3);
  for (const { socket } of [...arrived("POST").slice(1), ...arrived("GET")]) socket.write(OK);
  for (const each of [...uploads, small]) expect((await each).status).toBe(200);
});

test("a status that there is none of is a bad answer, and its turn ends as well", async () => {
  const chunked = ({ text }: { text: string }) =>
    `HTTP/1.1 ${text.includes("none") ? 600 : 599} X\r\n${CHUNK}`;
  await using it = await forwarderHarness((request) => void request.socket.write(chunked(request)), {
    maxConcurrent: 1,
    times: FAR,
  });
  expect((await failureOf(it.forward({ query: "none" }))).code).toBe("upstream_invalid");
  const answer = await it.forward();
  expect(answer.status).toBe(599);
  await cancelled(answer);
});

test("who waits too long for a turn has sent nothing, and a turn ends however an exchange ends", async () => {
  await using it = await forwarderHarness(
    ({ text, socket }) => void (text.includes("hang") || socket.write(`${LARGE_HEAD}hello`)),
    { maxConcurrent: 1, times: { ...FAR, headMs: 2000 } },
  );
  const abort = new AbortController();
  const answer = await it.forward();
  expect((await failureOf(it.forward())).code).toBe("upstream_unreachable");
  await failureOf(it.forward({ signal: AbortSignal.abort() }));
  expect(it.server.requests).toHaveLength(1);
  await cancelled(answer);
  expect((await failureOf(it.forward({ query: "hang" }))).code).toBe("upstream_timeout");
  const read = await it.forward({ signal: abort.signal });
  abort.abort();
  await failureOf(textOf(read.body));
  await cancelled(await it.forward());
});
