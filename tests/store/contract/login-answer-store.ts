import { expect, test as declared } from "bun:test";
import { Secret } from "../../../src/secret.ts";
import type { OpenStore } from "./open-store.ts";

const LIFE_MS = 10_000;
const KEY = "digest-of-caller-app-and-code";

/** What every store of answers to one-time codes must do. `kind` names it in the tests' names. */
export function loginAnswerStoreContract(kind: string, open: OpenStore, test = declared): void {
  const setup = async () => {
    const { store, clock, beside, reopen, dispose } = await open();
    const answers = store.loginAnswers;
    const begin = async (key = KEY, of = answers) => {
      const begun = await of.begin(key, clock.now(), clock.now() + LIFE_MS);
      return begun.state === "answered" ? begun.answer.reveal() : begun.state;
    };
    const find = async (key = KEY, of = answers) => {
      const found = await of.find(key, clock.now());
      return found?.state === "answered" ? found.answer.reveal() : found?.state;
    };
    const end = () => clock.now() + LIFE_MS;
    return { end, answers, clock, beside, reopen, begin, find, [Symbol.dispose]: dispose };
  };

  test(`${kind}: of many that begin one exchange, in several processes, one makes it and the others see it under way`, async () => {
    using it = await setup();
    const stores = [it.answers, (await it.beside()).loginAnswers, (await it.beside()).loginAnswers];
    const states = await Promise.all(Array.from({ length: 12 }, (_, n) => it.begin(KEY, stores[n % 3])));
    expect(states.filter((state) => state === "ours")).toHaveLength(1);
    expect(states.filter((state) => state === "under_way")).toHaveLength(11);
    expect(await it.begin("another")).toBe("ours");
  });

  test(`${kind}: P3: the answer reaches every process and outlives a restart, until it expires`, async () => {
    using it = await setup();
    await it.begin();
    await it.answers.complete(KEY, it.end(), new Secret("the answer"));
    const other = (await it.beside()).loginAnswers;
    expect([await it.begin(KEY, other), await it.find(KEY, other)]).toEqual(["the answer", "the answer"]);
    const again = (await it.reopen()).loginAnswers;
    it.clock.advance(LIFE_MS - 1);
    expect([await it.begin(KEY, again), await it.find(KEY, again)]).toEqual(["the answer", "the answer"]);
    it.clock.advance(1);
    expect(await it.find(KEY, again)).toBeUndefined();
    expect(await it.begin(KEY, again)).toBe("ours");
  });

  test(`${kind}: finding tells what is there and takes nothing`, async () => {
    using it = await setup();
    expect(await it.find()).toBeUndefined();
    expect(await it.begin()).toBe("ours");
    expect([await it.find(), await it.find("another")]).toEqual(["under_way", undefined]);
  });

  test(`${kind}: an exchange that was released may be begun again at once, and one that was completed may not`, async () => {
    using it = await setup();
    await it.begin();
    await it.answers.release(KEY, it.end());
    expect(await it.find()).toBeUndefined();
    expect(await it.begin()).toBe("ours");
    await it.answers.complete(KEY, it.end(), new Secret("kept"));
    await it.answers.release(KEY, it.end());
    expect(await it.begin()).toBe("kept");
  });

  test(`${kind}: an exchange whose process is gone is anybody's when it has expired`, async () => {
    using it = await setup();
    await it.begin();
    it.clock.advance(LIFE_MS - 1);
    expect(await it.begin()).toBe("under_way");
    it.clock.advance(1);
    expect(await it.begin()).toBe("ours");
  });

  test(`${kind}: an exchange that ends after its right has expired takes nothing from the one that was begun since`, async () => {
    using it = await setup();
    const first = it.end();
    await it.begin();
    it.clock.advance(LIFE_MS);
    const second = it.end();
    expect(await it.begin()).toBe("ours");
    await it.answers.release(KEY, first);
    await it.answers.complete(KEY, first, new Secret("late"));
    expect(await it.begin()).toBe("under_way");
    await it.answers.complete(KEY, second, new Secret("the second's"));
    await it.answers.release(KEY, first);
    expect(await it.find()).toBe("the second's");
  });

  test(`${kind}: an answer from the future was written under a clock that was set back since, and is not repeated`, async () => {
    using it = await setup();
    await it.begin();
    await it.answers.complete(KEY, it.end(), new Secret("later"));
    it.clock.jumpWall(-LIFE_MS - 1);
    expect(await it.begin()).toBe("ours");
  });
}
