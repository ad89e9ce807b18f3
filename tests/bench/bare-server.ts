/** The least that can answer: `Bun.serve` with a fixed body of the size that is given in bytes. */
const size = Number(process.argv[2]);
const body = JSON.stringify({ pad: "x".repeat(Math.max(0, size - 10)) });
const headers = {
  "content-type": "application/json",
  "cache-control": "no-store",
  "trace-id": crypto.randomUUID(),
};
const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response(body, { headers }) });
console.log(`url ${server.url.origin}`);
