/**
 * Looks like WeChat: 1 KB of JSON to everything, as many bytes as `bytes` says to a download, and uploads are read. And
 * like a program that takes pushes.
 */
const KB = JSON.stringify({ errcode: 0, errmsg: "ok", pad: "x".repeat(988) });
const headers = { "content-type": "application/json; encoding=utf-8" };
const part = new Uint8Array(64 * 1024).fill(120);

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  fetch: async (request) => {
    if (request.method === "POST") {
      // Any other answer would be tried again.
      if (request.url.includes("/push?")) return new Response("success");
      let size = 0;
      for await (const chunk of request.body ?? []) size += chunk.byteLength;
      return Response.json({ errcode: 0, errmsg: "ok", size }, { headers });
    }
    const bytes = /[?&]bytes=(\d+)/.exec(request.url)?.[1];
    return bytes === undefined ? new Response(KB, { headers }) : download(Number(bytes));
  },
});

function download(bytes: number): Response {
  let left = bytes;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        controller.enqueue(part.subarray(0, left));
        left -= part.byteLength;
        if (left <= 0) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const type = { "content-type": "image/jpeg", "content-disposition": 'attachment; filename="a.jpg"' };
  return new Response(stream, { headers: type });
}

console.log(`url ${server.url.origin}`);
