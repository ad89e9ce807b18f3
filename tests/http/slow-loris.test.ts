import { expect, test } from "bun:test";
import { Elysia } from "elysia";
import type { RequestSocket } from "../../src/api/face.ts";
import { listen } from "../../src/http/server.ts";
import { DrippingSockets } from "../support/dripping-sockets.ts";
import { Harness, WX } from "../support/harness.ts";

const SOCKETS = 500;
const ROUNDS = 15;
const HEAD = "GET /AccessToken/getXcx HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const BODY =
  'POST /JsSDK/getJsApiSign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"url":"';

test.each([
  ["heads", HEAD],
  ["bodies", BODY],
])("beside 500 sockets with dripping %s every good request is answered", async (_what, beginning) => {
  await using world = await Harness.create();
  const ask = () => world.get("/AccessToken/getXcx", { appid: WX.appId });
  expect((await ask()).code).toBe(0);
  world.events.length = 0;
  let asked = 0;
  {
    await using slow = await DrippingSockets.open(world.service.url, {
      count: SOCKETS,
      everyMs: 100,
      beginning,
    });
    while (slow.rounds < ROUNDS || asked < 200) {
      expect((await ask()).code).toBe(0);
      asked += 1;
    }
    // On a machine so slow that some were cut off meanwhile, others have come in their place.
    expect(slow.open + slow.closed).toBeGreaterThanOrEqual(SOCKETS);
    expect(slow.answers).toBe("");
  }
  expect((await ask()).code).toBe(0);
  const codes = world.events.flatMap((event) =>
    event.type === "request.handled" && event.route === "/AccessToken/getXcx" ? [event.code] : [],
  );
  expect(codes).toEqual(Array<number>(asked + 1).fill(0));
  expect(world.events.filter(({ type }) => type === "request.failed")).toEqual([]);
});

test.concurrent(
  "a head that never ends, also behind a good request, and a body that drips for ever are cut off, however busy they keep",
  async () => {
    const read: string[] = [];
    const app = new Elysia().post(
      "/",
      async ({ request }) => {
        for await (const chunk of request.body ?? []) read.push(new TextDecoder().decode(chunk));
        return "done";
      },
      { parse: "none" },
    );
    const limits = { bodySeconds: 4, keepAliveSeconds: 4 };
    const server = listen((request) => app.fetch(request), { host: "127.0.0.1", port: 0, ...limits });
    const start = `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n`;
    const options = { count: 5, everyMs: 200 };
    {
      await using heads = await DrippingSockets.open(server.url, {
        ...options,
        beginning: `${start}X-Slow: `,
      });
      await using bodies = await DrippingSockets.open(server.url, { ...options, beginning: `${start}\r\n` });
      const next = `GET / HTTP/1.1\r\nHost: localhost\r\n\r\n${start}X-Slow: `;
      await using nextHeads = await DrippingSockets.open(server.url, { ...options, beginning: next });
      await using silent = await DrippingSockets.open(server.url, {
        ...options,
        everyMs: 60_000,
        beginning: "",
      });
      const end = performance.now() + 40_000;
      const all = [heads, nextHeads, bodies, silent];
      while (all.some(({ closed }) => closed < 5)) {
        if (performance.now() > end) break;
        await Bun.sleep(50);
      }
      expect(all.map(({ closed }) => closed >= 5)).toEqual([true, true, true, true]);
      expect(nextHeads.answers).toContain("HTTP/1.1 404");
      // Busy all the time: it was not silence that they were cut off for.
      expect(read.join("").length).toBeGreaterThan(20);
      expect(heads.rounds).toBeGreaterThan(20);
    }
    await server.close();
  },
);

test.concurrent("a body for which time was given may take longer than others", async () => {
  const serve = async (request: Request, { giveTime }: RequestSocket) => {
    if (request.url.endsWith("/given")) giveTime(60);
    return new Response(await request.text().catch(() => "cut off"));
  };
  const server = listen(serve, { host: "127.0.0.1", port: 0, bodySeconds: 1 });
  const post = (path: string) => `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n`;
  const options = { count: 1, everyMs: 200 };
  await using others = await DrippingSockets.open(server.url, { ...options, beginning: post("/other") });
  await using given = await DrippingSockets.open(server.url, { ...options, beginning: post("/given") });
  while (others.closed < 1) await Bun.sleep(100);
  expect([given.closed, given.open]).toEqual([0, 1]);
  await server.close();
});
