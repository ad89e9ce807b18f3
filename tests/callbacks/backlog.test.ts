import { expect, test } from "bun:test";
import type { AppCallbacks, Target } from "../../src/callbacks/callback-settings.ts";
import { Deliveries } from "../../src/callbacks/deliveries.ts";
import type { Delivery } from "../../src/callbacks/delivery-store.ts";
import { EventBus } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import { Harness, WX } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { keptText } from "./push-world.ts";

const APP = WX.appId;
const TARGET: Target = {
  ...{ app: APP, name: "dev", environment: "dev", url: "https://dev.example", content: "original" },
  version: 1,
};
const SETTINGS = {
  app: APP,
  token: new Secret("t"),
  mode: "secure",
  format: "xml",
  receiveIds: [APP],
} as const;
const CALLBACKS: AppCallbacks = { settings: { ...SETTINGS, version: 1 }, targets: [TARGET], routes: [] };

/** Forty deliveries that are due, to a target that answers with that status, or by a function with that of each attempt. */
async function setup(status: number | ((attempt: number) => number)) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const { deliveries: store } = await folder.open();
  const now = clock.now();
  const request = keptText(now);
  for (let n = 0; n < 40; n++) {
    const push = { app: APP, dedupeKey: String(n), type: "text", event: "", receivedAt: now };
    const to = {
      target: "dev",
      environment: "dev",
      role: "copy",
      sender: `o${n}`,
      leasedUntil: now,
    } as const;
    await store.accept({ ...push, request, answer: undefined }, [to], "a");
  }
  const target = { status };
  let attempts = 0;
  const answer = () => (typeof target.status === "number" ? target.status : target.status(++attempts));
  const deliveries = new Deliveries({
    ...{ store, clock, callbacks: { of: () => CALLBACKS } },
    directory: {
      find: () => ({ platform: "weixin", id: APP, secret: new Secret("s"), tokenMode: "stable" }),
    },
    sender: { send: async () => ({ status: answer(), body: Buffer.from("success") }) },
    events: new EventBus(),
    onDelivered: () => undefined,
  });
  const list = () => store.list({ app: APP }, { limit: 100 });
  /** Takes what is due until that is so of the deliveries; so much time passes between two rounds. */
  const until = (isSo: (all: readonly Delivery[]) => boolean, stepMs = 0) =>
    Harness.until(async () => {
      clock.advance(stepMs);
      await deliveries.tick();
      return isSo(await list());
    });
  const dispose = async () => {
    await deliveries.stop();
    folder[Symbol.dispose]();
  };
  return { now, target, list, until, [Symbol.asyncDispose]: dispose };
}

const isDelivered = ({ state }: Delivery) => state === "delivered";

test("what waits for a healthy target is delivered without a pause", async () => {
  await using t = await setup(200);
  await t.until((all) => all.every(isDelivered));
});

test("what waits for a target that refuses one push now and then follows without a pause", async () => {
  await using t = await setup((attempt) => (attempt % 3 === 0 ? 500 : 200));
  await t.until((all) => all.every((each) => isDelivered(each) || each.error !== undefined));
});

test("what a failing target has no room for is looked at again after half a minute", async () => {
  await using t = await setup(500);
  // The first attempt is that of the process that has stored them.
  const untried = (all: readonly Delivery[]) => all.filter(({ attempts }) => attempts === 1);
  await t.until((all) => untried(all).every(({ dueAt }) => dueAt === t.now + 30_000));
  const left = await t.list();
  expect(untried(left).length).toBeGreaterThan(0);
  t.target.status = 200;
  await t.until((all) => all.every(isDelivered), 1000);
});
