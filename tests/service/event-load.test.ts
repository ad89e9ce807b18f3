import { expect, test } from "bun:test";
import { createAdmin } from "../support/access-harness.ts";
import { CredentialChanges } from "../support/credential-changes.ts";
import { Harness } from "../support/harness.ts";

const READERS = 20;
const SECONDS = 20;
const TICK_MS = 20;
/** Fifty times a second. */
const CHANGED_AT_ONCE = 10;
const APPS = Array.from({ length: 200 }, (_, n) => `wx${n.toString(16).padStart(16, "0")}`);
const MAX_GROWN_MB = 10;

/** Reads a stream to its end, keeps nothing of it, and counts its events. */
async function count(body: ReadableStream<Uint8Array>, events: { told: number; resets: number }) {
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true });
    events.told += text.split("event: credential\n").length - 1;
    events.resets += text.split("event: reset\n").length - 1;
  }
}

/** What is in use once everything that can be is collected, in MB. */
function inUse(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed / 2 ** 20;
}

test("500 changes a second for 20 s reach twenty readers, and memory stays flat", async () => {
  const secrets = APPS.map((app) => [`WEIXIN_SECRET_${app}`, app.slice(2).repeat(2)]);
  await using world = await Harness.create({ environment: Object.fromEntries(secrets) });
  const headers = { "x-api-key": await createAdmin(world) };
  using changes = new CredentialChanges(world.databasePath, APPS, world.clock.now());
  const abort = new AbortController();
  const events = { told: 0, resets: 0 };
  const open = () => fetch(`${world.service.url}/v1/events`, { headers, signal: abort.signal });
  const readers = await Promise.all(Array.from({ length: READERS }, open));
  const read = readers.map(({ body }) => count(body!, events).catch(() => undefined));
  const changeFor = async (ms: number) => {
    const end = performance.now() + ms;
    for (let next = performance.now(); performance.now() < end; next += TICK_MS) {
      changes.change(CHANGED_AT_ONCE);
      world.clock.advance(TICK_MS);
      await Bun.sleep(Math.max(0, next + TICK_MS - performance.now()));
    }
  };
  await changeFor(3000);
  const before = inUse();
  await changeFor(SECONDS * 1000);
  const grown = inUse() - before;
  const { told } = events;
  expect(told).toBeGreaterThan(READERS * APPS.length);
  // Nobody was cut off: all are told what is changed last, too.
  changes.change(CHANGED_AT_ONCE);
  await Harness.until(() => {
    world.clock.advance(TICK_MS);
    return events.told >= told + READERS * CHANGED_AT_ONCE;
  });
  expect(events.resets).toBe(0);
  expect(grown).toBeLessThan(MAX_GROWN_MB);
  abort.abort();
  await Promise.all(read);
});
