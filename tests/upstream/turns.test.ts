import { expect, test } from "bun:test";
import { Turns } from "../../src/upstream/exchange.ts";

function setup(most: number) {
  const turns = new Turns(most);
  const gone: string[] = [];
  const come = (who: string, signal = new AbortController().signal) =>
    turns.take(who, signal).then(
      () => void gone.push(who),
      () => undefined,
    );
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { turns, gone, come, settle };
}

test("one caller gets about half of the turns, however many it wants, and others are let through at once", async () => {
  const { gone, come, settle } = setup(192);
  for (let count = 0; count < 500; count += 1) void come("a");
  await settle();
  expect(gone).toHaveLength(97);
  void come("b");
  void come("c");
  await settle();
  expect(gone.slice(97)).toEqual(["b", "c"]);
});

test("a turn that is given back goes to the first who may have it, and none is lost", async () => {
  const { turns, gone, come, settle } = setup(4);
  for (const who of ["a", "a", "a", "a", "b"]) void come(who);
  await settle();
  expect(gone).toEqual(["a", "a", "a", "b"]);
  turns.giveBack("b");
  await settle();
  expect(gone).toHaveLength(4);
  for (let count = 0; count < 3; count += 1) turns.giveBack("a");
  await settle();
  expect(gone).toEqual(["a", "a", "a", "b", "a"]);
  turns.giveBack("a");
  for (const who of ["c", "d", "e", "f"]) void come(who);
  await settle();
  expect(gone.slice(5)).toEqual(["c", "d", "e", "f"]);
});

test("who gives up waiting takes no turn, and the only one there is goes round", async () => {
  const { turns, gone, come, settle } = setup(1);
  void come("a");
  const gives = new AbortController();
  void come("b", gives.signal);
  void come("c");
  gives.abort(new Error("gone"));
  turns.giveBack("a");
  await settle();
  expect(gone).toEqual(["a", "c"]);
});
