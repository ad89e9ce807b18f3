import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Backups, type MadeBackup } from "../../src/ops/backups.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MADE: MadeBackup = { file: "accesstoken-20270101T000000Z-3f9c21ab.tar.gz", bytes: 4096 };

/** Processes on one database, whose clock stands. `fails` decides what becomes of the next backup. */
async function setup({ everyMs = DAY_MS } = {}) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const { milestones } = await folder.open();
  const events: ServiceEvent[] = [];
  const world = { made: 0, fails: false };
  const bus = new EventBus();
  bus.subscribe((event) => events.push(event));
  const make = async () => {
    if (world.fails) throw new ServiceError("store_unusable", "磁盘已满 (the disk is full)");
    world.made += 1;
    await milestones.reach("backup", { at: clock.now(), detail: { ...MADE } });
    return MADE;
  };
  const process = (plan: { folder: string; everyMs: number } | undefined = { folder: "/backup", everyMs }) =>
    new Backups({ store: milestones, plan, make, clock, events: bus });
  const types = () => events.splice(0).map(({ type }) => type);
  return {
    folder,
    clock,
    milestones,
    world,
    events,
    types,
    process,
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

test("of several processes one makes the first backup at once, and the next when its time has come", async () => {
  using it = await setup();
  const processes = [it.process(), it.process(), it.process()];
  const tick = () => Promise.all(processes.map((each) => each.tick()));
  await tick();
  await tick();
  expect([it.world.made, it.events]).toEqual([
    1,
    [{ type: "backup.made", ...MADE, durationMs: expect.any(Number) }],
  ]);
  it.clock.advance(DAY_MS - 1);
  await tick();
  expect(it.world.made).toBe(1);
  it.clock.advance(1);
  await tick();
  expect(it.world.made).toBe(2);
  for (const each of processes) await each.stop();
});

test("a failure is said and noted, and another process tries again in an hour", async () => {
  using it = await setup();
  const [first, second] = [it.process(), it.process()];
  it.world.fails = true;
  await first.tick();
  expect(it.events).toEqual([
    { type: "backup.failed", code: "store_unusable", errmsg: "磁盘已满 (the disk is full)" },
  ]);
  const failed = { at: it.clock.now(), message: "磁盘已满 (the disk is full)" };
  expect(await second.state()).toEqual({ folder: "/backup", everyMs: DAY_MS, failed, isStale: true });
  it.world.fails = false;
  it.clock.advance(HOUR_MS - 1);
  await second.tick();
  expect(it.world.made).toBe(0);
  it.clock.advance(1);
  await second.tick();
  expect([it.world.made, (await second.state()).failed]).toEqual([1, undefined]);
  await Promise.all([first.stop(), second.stop()]);
});

test("a backup is stale after one and a half of its time, and one that was made by hand counts", async () => {
  using it = await setup({ everyMs: 12 * HOUR_MS });
  const process = it.process();
  await it.milestones.reach("backup", { at: it.clock.now(), detail: { file: "by-hand.tar.gz", bytes: 7 } });
  await process.tick();
  expect([it.world.made, await process.state()]).toMatchObject([
    0,
    { last: { file: "by-hand.tar.gz", bytes: 7 }, isStale: false },
  ]);
  it.world.fails = true;
  it.clock.advance(18 * HOUR_MS);
  expect(await process.state()).toMatchObject({ isStale: false });
  it.clock.advance(10_000);
  expect(await process.state()).toMatchObject({ isStale: true });
  await process.stop();
});

test("a service without BACKUP_DIR makes none, and calls what was made by hand stale a day and a half later", async () => {
  using it = await setup();
  const process = new Backups({
    ...{ store: it.milestones, plan: undefined, clock: it.clock, events: new EventBus() },
    make: () => Promise.reject(new Error("nobody asked for it")),
  });
  process.start();
  await process.tick();
  expect(await process.state()).toEqual({ isStale: false });
  const at = it.clock.now() - DAY_MS / 2;
  await it.milestones.reach("backup", { at, detail: { file: "a.tar.gz", bytes: 7 } });
  for (const isStale of [false, true]) {
    it.clock.advance(isStale ? DAY_MS : DAY_MS / 4);
    expect(await process.state()).toEqual({ last: { at, file: "a.tar.gz", bytes: 7 }, isStale });
  }
  await process.stop();
});

test("a stop gives up what is being made, waits for its end and reports no failure", async () => {
  using it = await setup();
  const begun = Promise.withResolvers<void>();
  let ended = false;
  const process = new Backups({
    ...{ store: it.milestones, plan: { folder: "/backup", everyMs: DAY_MS }, clock: it.clock },
    events: new EventBus(),
    make: async (signal) => {
      begun.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      ended = true;
      throw new ServiceError("store_unusable", "it was killed");
    },
  });
  void process.tick();
  await begun.promise;
  await process.stop();
  expect([ended, [...(await it.milestones.list()).keys()]]).toEqual([true, []]);
});
