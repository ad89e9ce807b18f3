import { expect, test } from "bun:test";
import { connect } from "node:net";
import { createClient } from "../support/access-harness.ts";
import { httpAnswer } from "../support/answering-server.ts";
import { Harness } from "../support/harness.ts";
import { ALL_ACTIONS, rawGatewayWorld, WX_APP } from "./gateway-harness.ts";

test("a client that reads none of two hundred downloads keeps nobody else from calling", async () => {
  const file = httpAnswer(Buffer.alloc(4 << 20), { "Content-Type": "image/png" });
  await using t = await rawGatewayWorld(({ text, socket }) => {
    socket.write(text.includes("/media/get") ? file : httpAnswer("{}"));
  });
  const grants = [{ apps: ["*"], actions: ALL_ACTIONS }];
  const other = await createClient(t.it.world, { name: "other", grants });
  const token = await t.it.token();
  const { hostname, port } = new URL(t.it.url);
  const sockets = Array.from({ length: 200 }, () => {
    const socket = connect(Number(port), hostname).pause();
    socket.on("error", () => undefined);
    socket.write(`GET /cgi-bin/media/get?access_token=${token} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    return socket;
  });
  try {
    await Harness.until(() => t.calls.length >= 96);
    const headers = { "x-api-key": other };
    const { text } = await t.it.send(`/gateway/${WX_APP}/cgi-bin/user/get`, { headers });
    expect(text).toBe("{}");
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});
