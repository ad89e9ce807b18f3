import { expect, test } from "bun:test";
import { connect } from "node:net";
import { once } from "node:events";
import { Gate } from "../../src/sandbox/fault.ts";
import { listen } from "../../src/http/server.ts";
import { Harness, WX } from "../support/harness.ts";

const GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
const SLOW_BODY = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nx";

/** A connection over which `text` is sent. */
function open(url: string, text: string) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname, () => socket.write(text));
  socket.setEncoding("utf8");
  socket.on("error", () => undefined);
  return { socket, closed: once(socket, "close"), answered: () => once(socket, "data") };
}

test.concurrent(
  "a connection outlives the time that a body has, also one that a body came over",
  async () => {
    const serve = async (request: Request) => {
      await request.text().catch(() => undefined);
      return new Response("done");
    };
    const server = listen(serve, { host: "127.0.0.1", port: 0, bodySeconds: 1, keepAliveSeconds: 60 });
    const idle = [GET, POST].map((text) => open(server.url, text));
    await Promise.all(idle.map(({ answered }) => answered()));
    // The server looks after all of them in the same rounds.
    await open(server.url, SLOW_BODY).closed;
    for (const { socket, answered } of idle) {
      socket.write(GET);
      expect(String(await answered())).toStartWith("HTTP/1.1 200");
      socket.destroy();
    }
    await server.close();
  },
);

test.concurrent("KEEP_ALIVE_TIMEOUT is how long an idle connection is kept", async () => {
  await using world = await Harness.create({ environment: { KEEP_ALIVE_TIMEOUT: "1" } });
  const { closed, answered } = open(world.service.url, GET);
  expect(String(await answered())).not.toMatch(/^connection: close/im);
  await closed;
});

test("the last answer before a stop says that the connection ends", async () => {
  await using world = await Harness.create();
  const gate = new Gate();
  world.sandbox.inject({ kind: "gate", gate, times: 1 });
  const asked = fetch(`${world.service.url}/AccessToken/getXcx?appid=${WX.appId}`);
  await gate.arrived();
  const stopped = world.stop();
  gate.open();
  const answer = await asked;
  expect([answer.status, answer.headers.get("connection")]).toEqual([200, "close"]);
  await answer.text();
  await stopped;
});
