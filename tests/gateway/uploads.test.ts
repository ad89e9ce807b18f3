import { expect, test } from "bun:test";
import { connect } from "node:net";
import { createClient } from "../support/access-harness.ts";
import { httpAnswer } from "../support/answering-server.ts";
import { Harness } from "../support/harness.ts";
import { ALL_ACTIONS, rawGatewayWorld, WX_APP } from "./gateway-harness.ts";

const SIZE = 2 << 20;
/** What one caller may have at once: 48 MiB, at 1.5 MiB each. */
const ADMITTED = 32;
const SENT_AT_ONCE = 12;

/** An upload that does not go on behind its first byte until it is told to. */
function startUpload(url: string, key: string) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const finish = () => void socket.write(Buffer.alloc(SIZE - 1));
  const upload = { answer: "", finish, socket };
  socket.on("error", () => undefined);
  socket.on("data", (bytes) => (upload.answer += bytes.toString("latin1")));
  const path = `/gateway/${WX_APP}/cgi-bin/media/upload`;
  const head = [`POST ${path} HTTP/1.1`, "Host: localhost", `X-API-Key: ${key}`, `Content-Length: ${SIZE}`];
  socket.write(`${head.join("\r\n")}\r\n\r\nx`);
  return upload;
}

/** A gateway before a WeChat that answers an upload once all of it has come and keeps which began. */
async function setup() {
  const missing = new Map<number, number>();
  const begun: string[] = [];
  const world = await rawGatewayWorld(({ connection, text, socket }) => {
    let size = text.length;
    if (text.startsWith("POST ")) {
      begun.push(text);
      missing.set(connection, SIZE);
      size -= text.indexOf("\r\n\r\n") + 4;
    }
    const left = (missing.get(connection) ?? 0) - size;
    if (left > 0) missing.set(connection, left);
    else socket.write(httpAnswer(missing.delete(connection) ? '{"media_id":"1"}' : "{}"));
  });
  const grants = [{ apps: ["*"], actions: ALL_ACTIONS }];
  const other = await createClient(world.it.world, { name: "other", grants });
  return { ...world, other, begun };
}

test("of sixty uploads at once what can be held waits, the rest is refused, and nothing else waits", async () => {
  await using t = await setup();
  const { it } = t;
  const passed = (upload: { readonly answer: string }) =>
    Harness.until(() => upload.answer.includes("media_id"));
  const uploads = Array.from({ length: 60 }, () => startUpload(it.url, it.key));
  try {
    const refused = () => uploads.filter(({ answer }) => answer.includes("45011")).length;
    await Harness.until(() => refused() === 60 - ADMITTED && t.begun.length === SENT_AT_ONCE);

    for (const key of [it.key, t.other]) {
      const headers = { "x-api-key": key };
      expect((await it.send(`/gateway/${WX_APP}/cgi-bin/user/get`, { headers })).text).toBe("{}");
    }
    const others = startUpload(it.url, t.other);
    uploads.push(others);
    others.finish();
    await passed(others);

    const held = uploads.filter(({ answer }) => answer === "");
    const [first, second, ...waiting] = held;
    for (const each of [first, second]) {
      each?.finish();
      if (each) await passed(each);
    }
    await Harness.until(() => t.begun.length === SENT_AT_ONCE + 3);

    const last = waiting.pop();
    for (const { socket } of waiting) socket.destroy();
    last?.finish();
    if (last) await passed(last);
    expect(refused()).toBe(60 - ADMITTED);
  } finally {
    for (const { socket } of uploads) socket.destroy();
  }
});
