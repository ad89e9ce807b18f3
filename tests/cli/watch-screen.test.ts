import { expect, test } from "bun:test";
import type { Managing } from "../../src/cli/managing.ts";
import { watchScreen } from "../../src/cli/watch-screen.ts";
import { Harness } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { ManualTerminal } from "../support/manual-terminal.ts";

const POLL_MS = 5000;
const SETTLE_MS = 300;

/** A clock whose sleepers wait until a test wakes those that wanted to sleep no longer than it says. */
class WakingClock extends ManualClock {
  #sleepers: { readonly ms: number; readonly wake: () => void }[] = [];

  override sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleepers.push({ ms, wake }));
  }

  wakeAfter(ms: number): void {
    const due = this.#sleepers.filter((each) => each.ms <= ms);
    this.#sleepers = this.#sleepers.filter((each) => each.ms > ms);
    for (const { wake } of due) wake();
  }
}

/** A screen that shows how often it was asked for, and the service's stream of events. */
function setup(isRemote = true) {
  const clock = new WakingClock();
  const screen = {
    size: () => ({ columns: 80, rows: 24 }),
    onResize: () => () => undefined,
    onQuit: () => () => undefined,
  };
  const terminal = Object.assign(new ManualTerminal(), { clock, screen });
  const streams: ReadableStreamDefaultController<Uint8Array>[] = [];
  const stream = () =>
    Promise.resolve(new ReadableStream<Uint8Array>({ start: (controller) => void streams.push(controller) }));
  const at = { args: { isSet: () => isRemote }, terminal, api: { stream } } as unknown as Managing;
  const stop = Promise.withResolvers<void>();
  let reads = 0;
  const watching = watchScreen(
    at,
    () => {
      const n = ++reads;
      return Promise.resolve(() => `read ${n}`);
    },
    stop.promise,
  );
  return {
    clock,
    streams,
    send: (text: string) => streams.at(-1)?.enqueue(new TextEncoder().encode(text)),
    reads: () => reads,
    shows: (text: string) => Harness.until(() => terminal.stdout.includes(text)),
    /** Lets everybody run who can. */
    settle: async () => {
      for (let n = 0; n < 20; n++) await new Promise(setImmediate);
    },
    end: async () => {
      stop.resolve();
      await watching;
    },
  };
}

test("an event is shown before the next poll is due, and a comment of the stream is none", async () => {
  const it = setup();
  await it.shows("read 1");
  it.send(": keep the connection\n\n");
  await it.settle();
  expect(it.reads()).toBe(1);
  it.send("event: credential.refreshed\ndata: {}\n\n");
  await Harness.until(() => it.reads() === 2);
  it.clock.wakeAfter(SETTLE_MS);
  await it.shows("read 2");
  await it.end();
});

test("events that come together are shown together, and one that comes while they are is not lost", async () => {
  const it = setup();
  await it.shows("read 1");
  for (let n = 0; n < 10; n++) it.send("event: app.changed\ndata: {}\n\n");
  await it.settle();
  expect(it.reads()).toBe(2);
  it.send("event: app.changed\ndata: {}\n\n");
  await it.settle();
  expect(it.reads()).toBe(2);
  it.clock.wakeAfter(SETTLE_MS);
  await Harness.until(() => it.reads() === 3);
  await it.end();
});

test.each([true, false])(
  "without events it is asked every five seconds, from a service (%p) or not",
  async (isRemote) => {
    const it = setup(isRemote);
    await it.shows("read 1");
    it.clock.wakeAfter(POLL_MS - 1);
    await it.settle();
    expect(it.reads()).toBe(1);
    it.clock.wakeAfter(POLL_MS);
    await Harness.until(() => it.reads() === 2);
    it.clock.wakeAfter(SETTLE_MS);
    await it.shows("read 2");
    expect(it.streams).toHaveLength(isRemote ? 1 : 0);
    await it.end();
  },
);

test("a stream that breaks is opened again, and polls go on meanwhile", async () => {
  const it = setup();
  await it.shows("read 1");
  it.streams[0]?.error(new Error("the line was cut"));
  await it.settle();
  it.clock.wakeAfter(POLL_MS);
  await Harness.until(() => it.streams.length === 2 && it.reads() === 2);
  it.clock.wakeAfter(SETTLE_MS);
  await it.shows("read 2");
  it.send("event: app.changed\ndata: {}\n\n");
  await Harness.until(() => it.reads() === 3);
  await it.end();
});
