import { expect, test } from "bun:test";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { CredentialsHarness } from "./credentials-harness.ts";

const BY = { actor: { client: "test", environment: "", address: "127.0.0.1", traceId: "" } };
const HOUR_MS = 3_600_000;

/** What `create` makes, and every map that was made meanwhile. */
async function withMaps<T>(create: () => Promise<T>): Promise<{ made: T; maps: Map<unknown, unknown>[] }> {
  const maps: Map<unknown, unknown>[] = [];
  const original = globalThis.Map;
  globalThis.Map = class<K, V> extends original<K, V> {
    constructor(entries?: Iterable<readonly [K, V]> | null) {
      super(entries);
      maps.push(this);
    }
  };
  try {
    return { made: await create(), maps };
  } finally {
    globalThis.Map = original;
  }
}

/** Credentials of apps, one after the other: each is obtained, reported, renewed, cleared, and long gone when the next comes. */
async function setup() {
  const { made: world, maps } = await withMaps(() => CredentialsHarness.create());
  world.probe.verdict = "valid";
  const live = async (number: number) => {
    const ref = tokenOf(weixinSlot(`wx${number}`));
    const value = `value-${number}`;
    // Obtained; fetched again for the complaint, and for the renewal, which brings nothing new.
    world.source.script(value, value, value);
    const got = await world.manager.get(ref);
    expect((await world.manager.replace(ref, got.value)).value.reveal()).toBe(value);
    await world.manager.renew(ref, got);
    world.clock.advance(11_000);
    await world.manager.clear(ref, BY);
    world.clock.advance(2 * HOUR_MS);
  };
  const sizes = () => maps.map(({ size }) => size).filter((size) => size > 0);
  return { live, sizes, [Symbol.dispose]: () => world[Symbol.dispose]() };
}

test("what is remembered of cleared keys, complaints and renewals is forgotten in time", async () => {
  using it = await setup();
  await it.live(0);
  const first = it.sizes();
  expect(first.length).toBeGreaterThan(0);
  for (let number = 1; number <= 20; number++) await it.live(number);
  expect(it.sizes()).toEqual(first);
});
