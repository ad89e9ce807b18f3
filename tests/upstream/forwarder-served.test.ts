import { expect, test } from "bun:test";
import { httpAnswer, type Responder } from "../support/answering-server.ts";
import { rawGet } from "../support/raw-http.ts";
import { forwarderHarness } from "./forwarder-harness.ts";

/** Serves what `upstream` answers as it is. */
async function setup(upstream: string | Uint8Array | Responder) {
  const world = await forwarderHarness(upstream);
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    error: () => new Response("error", { status: 500 }),
    fetch: async ({ method, signal }) => {
      const { body, ...init } = await world.forward({ method, signal });
      return new Response(body, init);
    },
  });
  const dispose = async () => {
    await server.stop(true);
    await world[Symbol.asyncDispose]();
  };
  return { url: server.url.origin, [Symbol.asyncDispose]: dispose };
}

test("a small answer reaches the caller with its Content-Length and its headers", async () => {
  await using it = await setup(
    httpAnswer("hello", {
      "Content-Type": "application/json; encoding=utf-8",
      "Content-disposition": 'attachment; filename="名é.jpg"',
    }),
  );
  const { status, headers, body } = await rawGet(it.url, "/x", ["Host: localhost"]);
  expect([status, body]).toEqual([200, "hello"]);
  expect(headers.get("content-length")).toBe("5");
  expect(headers.get("transfer-encoding")).toBeUndefined();
  expect(headers.get("content-type")).toBe("application/json; encoding=utf-8");
  expect(headers.get("content-disposition")).toBe('attachment; filename="名é.jpg"');
});

test("an empty answer reaches the caller as one", async () => {
  await using it = await setup(httpAnswer(""));
  const { headers, body } = await rawGet(it.url, "/x", ["Host: localhost"]);
  expect([headers.get("content-length"), body]).toEqual(["0", ""]);
});

test("a large answer reaches the caller in chunks, and one that breaks off has no last chunk", async () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n";
  await using whole = await setup(`${head}\r\n${"x".repeat(100_000)}`);
  const answer = await rawGet(whole.url, "/x", ["Host: localhost"]);
  expect(answer.headers.get("transfer-encoding")).toBe("chunked");
  expect(answer.body).toEndWith("\r\n0");
  await using broken = await setup(({ socket }) => void socket.end(`${head}\r\nhello`));
  const outcome = rawGet(broken.url, "/x", ["Host: localhost"]).catch(() => ({ body: "reset" }));
  expect((await outcome).body).not.toContain("\r\n0");
});
