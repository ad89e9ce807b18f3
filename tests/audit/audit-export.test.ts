import { expect, test } from "bun:test";
import { Elysia } from "elysia";
import { attachCall, type RequestSocket } from "../../src/api/face.ts";
import { auditRoutes } from "../../src/api/v1-audit.ts";
import { type AuditRecord, SERVICE } from "../../src/audit/audit-entry.ts";
import { EventBus } from "../../src/events.ts";
import { listen } from "../../src/http/server.ts";
import { call } from "../support/callers.ts";
import { entryOf } from "../support/audit-entries.ts";
import { ManualClock } from "../support/manual-clock.ts";

const RECORD: AuditRecord = { ...entryOf(), id: 7, at: 1, hash: "ab" };

/** The audit's routes behind a real server that closes silent sockets soon, over a search that a test directs. */
function setup(search: () => AsyncGenerator<AuditRecord[], undefined>) {
  const clock = new ManualClock();
  const unused = () => Promise.reject(new Error("not asked for"));
  const recorded: string[] = [];
  const routes = auditRoutes({
    access: { admin: () => SERVICE, auditViewer: () => ({ actor: SERVICE, apps: undefined }) },
    audit: { record: async ({ action }) => void recorded.push(action) },
    auditStore: { walk: search, list: unused, listUsage: unused, listDenials: unused, verify: unused },
    milestones: { reach: unused },
    events: new EventBus(),
    clock,
  });
  const silent = () =>
    new Response(new ReadableStream({ pull: () => Promise.withResolvers<void>().promise }));
  const app = new Elysia().use(routes).get("/silent", silent);
  const serve = (request: Request, { giveTime }: RequestSocket) => {
    attachCall(call(request, giveTime));
    return app.fetch(request);
  };
  const server = listen(serve, { host: "127.0.0.1", port: 0, keepAliveSeconds: 1 });
  const get = async (path: string) => (await fetch(server.url + path)).text();
  return { clock, recorded, url: server.url, get, [Symbol.asyncDispose]: () => server.close() };
}

test("an export that finds nothing for longer than a socket may be silent is not cut off", async () => {
  const found = Promise.withResolvers<void>();
  await using it = setup(async function* () {
    yield [];
    await found.promise;
    yield [RECORD];
    return undefined;
  });
  const exported = it.get("/v1/audit/export");
  // By the time that another silent socket is closed, the export has been silent for as long.
  expect(await it.get("/silent").catch(() => "cut off")).toBe("cut off");
  found.resolve();
  expect(JSON.parse(await exported)).toMatchObject({ id: 7 });
  expect(it.recorded).toEqual(["audit.exported"]);
});

test("a long search keeps the line alive every ten seconds, with what JSON ignores before the next line", async () => {
  await using it = setup(async function* () {
    yield [RECORD];
    for (let second = 0; second < 25; second++) {
      it.clock.advance(1000);
      yield [];
    }
    yield [RECORD, RECORD];
    return undefined;
  });
  const lines = (await it.get("/v1/audit/export")).split("\n");
  expect(lines.pop()).toBe("");
  expect(lines[1]).toStartWith("  {");
  expect(lines.map((line) => (JSON.parse(line) as { id: number }).id)).toEqual([7, 7, 7]);
});

test("a search that fails breaks the export off, so that it is not taken for a whole one", async () => {
  await using it = setup(async function* () {
    yield [RECORD];
    await Promise.resolve();
    throw new Error("a disk that fails");
  });
  expect(await it.get("/v1/audit/export").catch(() => "broken off")).toBe("broken off");
});

test("a search ends when nobody reads its export any more", async () => {
  const ended = Promise.withResolvers<void>();
  await using it = setup(async function* () {
    try {
      for (;;) {
        yield [RECORD];
        await Bun.sleep(1);
      }
    } finally {
      ended.resolve();
    }
  });
  const controller = new AbortController();
  const response = await fetch(`${it.url}/v1/audit/export`, { signal: controller.signal });
  await response.body!.getReader().read();
  controller.abort();
  await ended.promise;
});
