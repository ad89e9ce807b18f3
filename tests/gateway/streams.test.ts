import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { Harness } from "../support/harness.ts";
import { GatewayHarness, rawGatewayWorld, WX_APP } from "./gateway-harness.ts";

const UPLOAD = "/cgi-bin/media/upload";
const MIB = 1024 * 1024;

/** A file in a form, as SDKs upload it. */
function formOf(bytes: Uint8Array): { body: Buffer; type: string } {
  const head =
    '--edge\r\nContent-Disposition: form-data; name="media"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n';
  return {
    body: Buffer.concat([Buffer.from(head), bytes, Buffer.from("\r\n--edge--\r\n")]),
    type: "multipart/form-data; boundary=edge",
  };
}

function bytesOf(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, n) => (n * 31 + (n >> 8)) & 0xff));
}

test("a file goes up and comes down byte for byte, one that is held and one that streams", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  for (const length of [1000, 3 * MIB]) {
    const file = bytesOf(length);
    const { body, type } = formOf(file);
    const headers = { "content-type": type };
    const up = await it.send(`${UPLOAD}?type=image&access_token=${token}`, { method: "POST", headers, body });
    const { media_id: mediaId } = JSON.parse(up.text) as { media_id: string };
    const down = await fetch(`${it.url}/cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`);
    expect(down.headers.get("content-disposition")).toContain("attachment");
    const got = Buffer.from(await down.arrayBuffer());
    expect(createHash("sha256").update(got).digest("hex")).toBe(
      createHash("sha256").update(file).digest("hex"),
    );
  }
  expect(it.sandbox.calls(UPLOAD)).toBe(2);
});

test("an upload is healed where it is held, and is the caller's to repeat where it streams", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  const upload = (length: number) => {
    const { body, type } = formOf(bytesOf(length));
    const headers = { "content-type": type };
    return it.send(`${UPLOAD}?type=image&access_token=${token}`, { method: "POST", headers, body });
  };
  it.sandbox.killTokens(WX_APP);
  expect((await upload(1000)).errcode).toBeUndefined();
  expect(it.sandbox.calls(UPLOAD)).toBe(2);
  it.world.clock.advance(60_000);
  it.sandbox.killTokens(WX_APP);
  expect((await upload(3 * MIB)).errcode).toBe(40001);
  expect(it.sandbox.calls(UPLOAD)).toBe(3);
  expect((await upload(3 * MIB)).errcode).toBeUndefined();
  expect(it.sandbox.calls(UPLOAD)).toBe(4);
});

test("a body of unknown length is held up to 1 MiB, and refused beyond: WeChat takes no chunks", async () => {
  await using it = await GatewayHarness.create();
  const token = await it.token();
  const chunked = (parts: number) =>
    it.send(`/cgi-bin/message/custom/send?access_token=${token}`, {
      method: "POST",
      body: new ReadableStream({
        async start(controller) {
          controller.enqueue(Buffer.from('{"touser":"'));
          for (let n = 0; n < parts; n++) controller.enqueue(Buffer.alloc(100_000, "x"));
          controller.enqueue(Buffer.from('"}'));
          controller.close();
        },
      }),
    });
  expect((await chunked(10)).errcode).toBe(0);
  const refused = await chunked(11);
  expect([refused.errcode, refused.errmsg]).toEqual([
    45001,
    expect.stringContaining("Content-Length") as string,
  ]);
  expect(it.sandbox.calls("/cgi-bin/message/custom/send")).toBe(1);
});

test("a download is read from WeChat no faster than its caller reads it", async () => {
  const state = { written: 0 };
  await using raw = await rawGatewayWorld(({ socket }) => {
    const length = 200 * MIB;
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: ${length}\r\n\r\n`);
    const piece = Buffer.alloc(MIB);
    const more = () => {
      while (state.written < length) {
        state.written += piece.length;
        if (socket.write(piece)) continue;
        socket.once("drain", more);
        return;
      }
    };
    more();
  });
  const token = await raw.it.token();
  const { hostname, port } = new URL(raw.it.url);
  const caller = connect(Number(port), hostname);
  caller.write(`GET /cgi-bin/media/get?access_token=${token}&media_id=1 HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await new Promise<void>((resolve) => caller.once("data", () => resolve()));
  caller.pause();
  // It comes to rest with what lies in the sockets' buffers, far from all.
  let before = -1;
  await Harness.until(async () => {
    if (before === state.written) return true;
    before = state.written;
    await Bun.sleep(200);
    return false;
  });
  expect(state.written).toBeLessThan(60 * MIB);
  const closed = new Promise<void>((resolve) =>
    raw.upstream.requests.at(-1)?.socket.once("close", () => resolve()),
  );
  caller.destroy();
  await closed;
  expect(state.written).toBeLessThan(100 * MIB);
});
