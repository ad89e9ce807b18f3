import { HttpForwarder } from "../../src/upstream/http-forwarder.ts";

/**
 * Moves 32 MB and then 100 MB through a forwarder to or from the server of the first argument, `up` or `down` as the
 * second says, and prints by how many MB that made memory grow at most. Downwards it reads nothing for a second.
 */
const [, , url = "", direction] = process.argv;
const MB = 1024 * 1024;
const WARM_UP = 32 * MB;
const forwarder = new HttpForwarder({ baseUrls: { weixin: url, wecom: url }, proxyUrl: undefined });

async function move(bytes: number): Promise<void> {
  let left = bytes;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        controller.enqueue(new Uint8Array(Math.min(left, 64 * 1024)));
        left -= 64 * 1024;
        if (left <= 0) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const { body } = await forwarder.forward({
    platform: "weixin",
    appId: "wx1",
    method: direction === "up" ? "POST" : "GET",
    path: `/${bytes}`,
    query: "",
    headers: new Headers(),
    body: direction === "up" ? { stream, length: bytes } : undefined,
    signal: new AbortController().signal,
  });
  let size = 0;
  for await (const part of body instanceof ReadableStream ? body : []) {
    if (size === 0 && direction === "down" && bytes > WARM_UP) await Bun.sleep(1000);
    size += part.byteLength;
  }
  if (direction === "down" && size !== bytes) throw new Error(`${size} bytes came`);
}

await move(WARM_UP);
Bun.gc(true);
const before = process.memoryUsage.rss();
let most = before;
const timer = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
await move(100 * MB);
clearInterval(timer);
console.log(`grown ${((most - before) / MB).toFixed(1)} MB`);
process.exit(0);
