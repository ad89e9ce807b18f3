import { expect, test } from "bun:test";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { type Heartbeat, isLive, type Node, Nodes, type NodeStore } from "../../src/ops/nodes.ts";
import { ServiceError } from "../../src/errors.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** A list in memory, which some processes share as they share a database. */
class MemoryNodes implements NodeStore {
  readonly clock: ManualClock;
  readonly rows = new Map<string, Omit<Node, "silentMs">>();
  isAway = false;

  constructor(clock: ManualClock) {
    this.clock = clock;
  }

  async beat(beat: Heartbeat): Promise<readonly Node[]> {
    if (this.isAway) throw new ServiceError("unavailable", "away");
    const now = this.clock.now();
    const { startedAt = now } = this.rows.get(beat.id) ?? {};
    this.rows.set(beat.id, { ...beat, keyIds: ["k"], isListening: true, startedAt, seenAt: now });
    return this.list();
  }

  async list(): Promise<readonly Node[]> {
    return [...this.rows.values()].map((row) => ({ ...row, silentMs: this.clock.now() - row.seenAt }));
  }

  async remove(id: string): Promise<void> {
    this.rows.delete(id);
  }
}

function setup() {
  const clock = new ManualClock();
  const store = new MemoryNodes(clock);
  const events: ServiceEvent[] = [];
  const bus = new EventBus();
  bus.subscribe((event) => events.push(event));
  let offset = 0;
  const node = (id: string, workers = 1) =>
    new Nodes({
      ...{ id, host: "h", pid: 1, version: "1", store, clock, events: bus, workers },
      offsetMs: () => offset,
    });
  return { clock, store, events, node, setOffset: (ms: number) => void (offset = ms) };
}

test("M9: processes count each other from their first heartbeats on, and one that stops in order no more", async () => {
  const { node } = setup();
  const [a, b] = [node("a"), node("b")];
  await a.start();
  expect(a.count).toBe(1);
  await b.start();
  expect(b.count).toBe(2);
  await a.beat();
  expect(a.count).toBe(2);
  await b.stop();
  await a.beat();
  expect(a.count).toBe(1);
  await a.stop();
});

test("M9: a process that has died is missed ten seconds after its last heartbeat", async () => {
  const { clock, node } = setup();
  const [a, dead] = [node("a"), node("dead")];
  await dead.beat();
  for (let beats = 0; beats < 4; beats++) {
    await a.beat();
    expect(a.count).toBe(2);
    clock.advance(beats < 3 ? 3000 : 999);
  }
  expect(a.count).toBe(2);
  clock.advance(1);
  expect(a.count).toBe(1);
  expect((await a.list()).map(isLive)).toEqual([false, true]);
});

test("while the list can't be read its last count stays, however long that takes", async () => {
  const { clock, store, node } = setup();
  const [a, b] = [node("a"), node("b")];
  await b.beat();
  await a.beat();
  store.isAway = true;
  clock.advance(600_000);
  await a.beat();
  expect(a.count).toBe(2);
  store.isAway = false;
  await a.beat();
  expect(a.count).toBe(1);
});

test("the workers of one machine count before each of them was seen", async () => {
  const { node } = setup();
  expect(node("a", 4).count).toBe(4);
});

test("M7: a clock that is off by more than thirty seconds is reported once, and again after it was right", async () => {
  const { events, node, setOffset } = setup();
  const a = node("a");
  for (const offset of [30_000, -30_001, 45_000, 0, 31_000]) {
    setOffset(offset);
    await a.beat();
  }
  expect(events).toEqual([
    { type: "clock.skewed", offsetMs: -30_001 },
    { type: "clock.skewed", offsetMs: 31_000 },
  ]);
});
