/**
 * What no service can do without: `Bun.serve` that reads the URL, the Host and the key of each request, and writes
 * an answer with a trace id of its own. The padding's size is given in bytes.
 */
const pad = "x".repeat(Math.max(0, Number(process.argv[2]) - 90));
let count = 0;
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: ({ url, headers }) => {
    count += 1;
    const traceId = `0123456789abcdef0123${count.toString(16).padStart(12, "0")}`;
    const isWhole = url.length > 0 && headers.has("host") && headers.has("authorization");
    const body = JSON.stringify({ code: isWhole ? 0 : 1, msg: "success", data: { pad }, trace_id: traceId });
    const answer = {
      "content-type": "application/json",
      "cache-control": "no-store",
      "trace-id": traceId,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    };
    return new Response(body, { headers: answer });
  },
});
console.log(`url ${server.url.origin}`);
