/** The least that a gateway in Bun can do: fetch the same path from the upstream that is given, and answer with what comes. */
const upstream = process.argv[2] ?? "";
const server: Bun.Server<undefined> = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: ({ url }): Promise<Response> => fetch(upstream + url.slice(origin.length)),
});
const { origin } = server.url;
console.log(`url ${origin}`);
