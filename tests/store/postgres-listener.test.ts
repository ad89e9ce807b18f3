import { expect } from "bun:test";
import { Listener } from "../../src/store/postgres/listener.ts";
import { PostgresEngine } from "../../src/store/postgres/postgres-engine.ts";
import { Harness } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

/** A second between two looks at the database, and how long each takes. */
const LOOK_EVERY_MS = 1020;

test("a connection that went silent without an end counts as lost within seven seconds", async () => {
  const server = await PostgresServer.shared();
  const url = await server.createDatabase();
  using ear = await TcpProxy.start(server.port);
  const engine = new PostgresEngine({ url, password: undefined });
  const clock = new ManualClock();
  const silence = { onMessage: () => undefined, onListening: () => undefined, onUnheard: () => undefined };
  const listener = new Listener(engine, { url: ear.through(url), password: undefined }, clock, silence);
  listener.tend();
  await Harness.until(async () => listener.isListening);
  ear.halt();
  let ms = 0;
  for (; listener.isListening && ms < 60_000; ms += LOOK_EVERY_MS) {
    clock.advance(LOOK_EVERY_MS);
    listener.tend();
  }
  expect(ms).toBeLessThanOrEqual(7000);
  listener.close();
  engine.close();
});
