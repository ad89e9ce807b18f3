import { expect, test } from "bun:test";
import { type Caller, other, type Principal } from "../../src/access/principal.ts";
import type { Burst, EventFeed } from "../../src/api/event-feed.ts";
import { EventStreams } from "../../src/api/event-streams.ts";
import { ManualClock } from "../support/manual-clock.ts";

function setup() {
  const listeners = new Set<(burst: Burst) => void>();
  const state: { atOnce?: Burst } = {};
  const feed = {
    id: "1",
    catchUp: async () => undefined,
    listen: (listener: (burst: Burst) => void) => {
      listeners.add(listener);
      queueMicrotask(() => state.atOnce && listener(state.atOnce));
      return { events: [], id: "1" };
    },
    leave: (listener: (burst: Burst) => void) => void listeners.delete(listener),
    close: () => undefined,
  } as unknown as EventFeed;
  const [access, clock] = [
    { present: ({ principal }: Pick<Caller, "principal" | "origin">) => principal },
    new ManualClock(),
  ];
  const told: string[] = [];
  const streams = new EventStreams({ access, feed, clock, events: { emit: ({ type }) => told.push(type) } });
  const times: number[] = [];
  return {
    told,
    streams,
    listeners,
    state,
    /** The time-outs that connections were given. */
    times,
    open: (address: string, principal: Principal = other("local", "(test)")) =>
      streams.open({
        principal,
        origin: { address } as never,
        lastId: undefined,
        giveTime: (seconds) => times.push(seconds),
      }),
    /** Tells all streams of so many bytes. */
    tell: (bytes: number) => {
      const event = { type: "app", app: undefined, data: `"${"x".repeat(bytes)}"` } as const;
      for (const hear of listeners) hear({ events: [event], id: "2" });
    },
    [Symbol.dispose]: () => streams.stop(),
  };
}

test("a reader that has 64 KB unread when there is more is cut off, and the others go on", async () => {
  using it = setup();
  const [idle, busy] = [await it.open("10.0.0.1"), await it.open("10.0.0.2")];
  const reader = busy.getReader();
  await reader.read();
  for (let told = 0; told < 200; told += 20) {
    it.tell(20_000);
    await reader.read();
  }
  expect([it.streams.size, it.times, it.told]).toEqual([1, [5], ["event_stream.dropped"]]);
  // What it had is at most the limit and what came at once.
  expect((await new Response(idle).bytes()).length).toBeWithin(64_000, 90_000);
  it.tell(10);
  expect((await reader.read()).done).toBe(false);
});

test("much that comes at once cuts nobody off who has read all before", async () => {
  using it = setup();
  const reader = (await it.open("10.0.0.1")).getReader();
  await reader.read();
  it.tell(500_000);
  await reader.read();
  it.tell(10);
  expect([it.streams.size, (await reader.read()).done]).toEqual([1, false]);
});

test("what is told while a stream opens is in it", async () => {
  using it = setup();
  it.state.atOnce = { events: [{ type: "app", app: undefined, data: "{}" }], id: "2" };
  const stream = await it.open("10.0.0.1");
  it.streams.stop();
  expect(await new Response(stream).text()).toEndWith("id: 2\nevent: app\ndata: {}\n\n");
});

test("a client has 200 streams, with however many sessions", async () => {
  using it = setup();
  const as = (name: string, digest: string) =>
    ({ kind: "client", owner: { client: { name } }, key: {}, session: { digest } }) as unknown as Principal;
  for (let n = 0; n < 200; n++) await it.open("10.0.0.1", as("shop", `s${Math.floor(n / 20)}`));
  const error: unknown = await it.open("10.0.0.1", as("shop", "s10")).catch((failure: unknown) => failure);
  expect(error).toMatchObject({ code: "rate_limited" });
  await it.open("10.0.0.1", as("other", "s11"));
  expect(it.streams.size).toBe(201);
});

test("a process has 1000 streams; beyond that callers are told when to try again", async () => {
  using it = setup();
  for (let n = 0; n < 1000; n++) await it.open(`10.0.0.${Math.floor(n / 20)}`);
  const error: unknown = await it.open("10.0.1.1").catch((failure: unknown) => failure);
  expect(error).toMatchObject({ code: "unavailable", retryAfterMs: 5000 });
  expect(it.streams.size).toBe(1000);
});

test("when the last reader has gone, nobody listens any more", async () => {
  using it = setup();
  const [a, b] = [await it.open("10.0.0.1"), await it.open("10.0.0.1")];
  await a.cancel();
  expect([it.streams.size, it.listeners.size]).toEqual([1, 1]);
  await b.cancel();
  expect([it.streams.size, it.listeners.size]).toEqual([0, 0]);
});

test("after a stop there are no new streams", async () => {
  using it = setup();
  it.streams.stop();
  expect(await it.open("10.0.0.1").catch((failure: unknown) => failure)).toMatchObject({
    code: "unavailable",
  });
});
