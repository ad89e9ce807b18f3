import { expect, test } from "bun:test";
import { Secret } from "../../src/secret.ts";
import { HandSource } from "../support/hand-source.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { tokenOf } from "../support/slots.ts";
import { CredentialsWorld } from "./credentials-world.ts";

async function setup(...answers: ConstructorParameters<typeof HandSource>) {
  const world = await CredentialsWorld.create(new HandSource(...answers));
  const replace = async (rejected: string) =>
    (await world.manager.replace(tokenOf(), new Secret(rejected))).value.reveal();
  const get = async () => (await world.manager.get(tokenOf())).value.reveal();
  return { world, replace, get, [Symbol.dispose]: () => world[Symbol.dispose]() };
}

test("a token that WeChat refused is replaced by one upstream call", async () => {
  using it = await setup("one", "two");
  await it.get();
  expect(await it.replace("one")).toBe("two");
  expect(await it.get()).toBe("two");
  expect(it.world.source.asked).toHaveLength(2);
});

test("a complaint about a value that was replaced already costs nothing", async () => {
  using it = await setup("one", "two");
  await it.get();
  await it.replace("one");
  expect(await it.replace("one")).toBe("two");
  expect(await it.replace("never-seen")).toBe("two");
  expect(it.world.source.asked).toHaveLength(2);
});

test("P1: a thousand complaints about one token cost one upstream call", async () => {
  using it = await setup("one", "two", "three");
  await it.get();
  const all = await Promise.all(Array.from({ length: 1000 }, () => it.replace("one")));
  expect(new Set(all)).toEqual(new Set(["two"]));
  expect(it.world.source.asked).toHaveLength(2);
});

test("P2: a complaint that joins an older flight is not answered with the value that was refused", async () => {
  using it = await setup();
  const first = it.get();
  await it.world.source.askedTimes(1);
  const replaced = it.replace("one");
  it.world.source.script("two");
  it.world.source.open[0]?.issue("one");
  expect(await first).toBe("one");
  expect(await replaced).toBe("two");
});

test("in stable mode WeChat may issue the same value again: it is returned, once, without a loop", async () => {
  using it = await setup("one", "one", "never");
  await it.get();
  expect(await it.replace("one")).toBe("one");
  expect(it.world.source.asked).toHaveLength(2);
});

test("a replacement right after a clear is not limited by it", async () => {
  using it = await setup("one", "two", "three");
  await it.get();
  await it.world.manager.clear(tokenOf(), { address: "127.0.0.1" });
  await it.get();
  expect(await it.replace("two")).toBe("three");
});

test("a replacement that WeChat refuses passes the refusal on, and the refused value is not handed out", async () => {
  using it = await setup("one", refusal("config"), "two");
  await it.get();
  const failure = await failureOf(it.world.manager.replace(tokenOf(), new Secret("one")));
  expect(failure.upstream?.class).toBe("config");
  expect(await it.get()).toBe("two");
});

test("P5: a late complaint does not forget what somebody else stored meanwhile", async () => {
  let isLate = false;
  using world = await CredentialsWorld.create(new HandSource("one", "never"), {
    wrap: (store) => ({
      find: (name) => store.find(name),
      listOfApp: (...parts) => store.listOfApp(...parts),
      save: (...parts) => store.save(...parts),
      clear: async (name, generation) => {
        const now = world.clock.now();
        const newer = { value: new Secret("newer"), issuedAt: now, expiresAt: now + 7_200_000 };
        if (isLate) await store.save(name, newer, 1);
        return store.clear(name, generation);
      },
    }),
  });
  await world.manager.get(tokenOf());
  isLate = true;
  const got = await world.manager.replace(tokenOf(), new Secret("one"));
  expect(got.value.reveal()).toBe("newer");
  expect(world.source.asked).toHaveLength(1);
});
