import { expect, test } from "bun:test";
import { prepareBody, ReplayBudget } from "../../src/gateway/call-body.ts";
import { failureOf } from "../support/refusals.ts";

function bodyOf(parts: readonly string[], fails = false): ReadableStream<Uint8Array> {
  const left = [...parts];
  return new ReadableStream({
    pull(controller) {
      const part = left.shift();
      if (part !== undefined) controller.enqueue(Buffer.from(part));
      else if (fails) controller.error(new Error("gone"));
      else controller.close();
    },
  });
}

function posting(body: ReadableStream<Uint8Array> | null, headers: Record<string, string> = {}): Request {
  return new Request("http://localhost/", { method: "POST", body, headers });
}

test("what is taken and given back is what is held, and no more than the total is taken", () => {
  const budget = new ReplayBudget({ each: 10, total: 15 });
  expect([budget.take(10), budget.take(6), budget.take(5), budget.take(1)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect(budget.held).toBe(15);
  budget.giveBack(10);
  expect([budget.held, budget.take(10)]).toEqual([5, true]);
});

test("a body of known length that fits is held as long as it is needed, and released once", async () => {
  const budget = new ReplayBudget({ each: 10, total: 15 });
  const request = posting(bodyOf(["ab", "", "cde"]), { "content-length": "5" });
  const { body, isReplayable, release } = await prepareBody(request, budget);
  expect([Buffer.from(body as Uint8Array).toString(), isReplayable, budget.held]).toEqual(["abcde", true, 5]);
  release();
  release();
  expect(budget.held).toBe(0);
});

test("one that is too large, or that there is no room for, streams and takes nothing", async () => {
  const budget = new ReplayBudget({ each: 10, total: 15 });
  for (const length of [11, 10]) {
    const { body, isReplayable } = await prepareBody(
      posting(bodyOf(["x"]), { "content-length": String(length) }),
      budget,
    );
    expect([body, isReplayable]).toEqual([expect.objectContaining({ length }) as never, false]);
    expect(budget.held).toBe(length === 11 ? 0 : 10);
    budget.take(10);
  }
});

test.each([
  ["is shorter than it says", bodyOf(["ab"]), { "content-length": "5" }, "invalid_parameter"],
  ["is longer than it says", bodyOf(["abcd", "efgh"]), { "content-length": "5" }, "invalid_parameter"],
  ["breaks off", bodyOf(["ab"], true), { "content-length": "5" }, "invalid_parameter"],
  ["breaks off in chunks", bodyOf(["ab"], true), {}, "invalid_parameter"],
  ["is too large in chunks", bodyOf(["abcdef", "ghijkl"]), {}, "payload_too_large"],
  ["has a length that is no number", bodyOf(["ab"]), { "content-length": "5, 5" }, "invalid_parameter"],
] as const)("nothing is kept of a body that %s", async (_what, stream, headers, code) => {
  const budget = new ReplayBudget({ each: 10, total: 15 });
  expect((await failureOf(prepareBody(posting(stream, headers), budget))).code).toBe(code);
  expect(budget.held).toBe(0);
});

test("chunks that there is no room for are refused for now, and what was held of them is free", async () => {
  const budget = new ReplayBudget({ each: 10, total: 15 });
  budget.take(8);
  const error = await failureOf(prepareBody(posting(bodyOf(["abcd", "efgh"])), budget));
  expect([error.code, error.retryAfterMs, budget.held]).toEqual(["rate_limited", 1000, 8]);
});

test("where all together is less than each, chunks beyond it are too large, and not told to come again", async () => {
  const budget = new ReplayBudget({ each: 10, total: 4 });
  const error = await failureOf(prepareBody(posting(bodyOf(["abc", "de"])), budget));
  expect([error.code, error.retryAfterMs, budget.held]).toEqual(["payload_too_large", undefined, 0]);
  expect((await prepareBody(posting(bodyOf(["ab", "cd"])), budget)).isReplayable).toBe(true);
});

test("bodies that are just as large as may be are held, and with 0 none is", async () => {
  const exact = () => posting(bodyOf(["ab", "cd"]), { "content-length": "4" });
  expect((await prepareBody(exact(), new ReplayBudget({ each: 4, total: 4 }))).isReplayable).toBe(true);
  const none = new ReplayBudget({ each: 0, total: 4 });
  expect((await prepareBody(exact(), none)).isReplayable).toBe(false);
  expect((await failureOf(prepareBody(posting(bodyOf(["a"])), none))).code).toBe("payload_too_large");
  expect((await prepareBody(posting(null), none)).isReplayable).toBe(true);
});

test("a POST without a body has one of no bytes, and a GET has none", async () => {
  const budget = new ReplayBudget({ each: 10, total: 15 });
  expect((await prepareBody(posting(null), budget)).body).toEqual(new Uint8Array());
  const get = await prepareBody(new Request("http://localhost/"), budget);
  expect([get.body, get.isReplayable]).toEqual([undefined, true]);
});

test("one caller leaves room for others, who get what is free", () => {
  const budget = new ReplayBudget({ each: 10, total: 64 });
  const [a, b] = [budget.of("a"), budget.of("b")];
  const taken = Array.from({ length: 7 }, () => a.take(10));
  expect(taken).toEqual([true, true, true, true, false, false, false]);
  expect([b.take(10), b.take(10), b.take(10)]).toEqual([true, true, false]);
  a.giveBack(10);
  expect([budget.held, a.take(10), b.take(10)]).toEqual([50, false, false]);
  for (let count = 0; count < 3; count += 1) a.giveBack(10);
  for (let count = 0; count < 2; count += 1) b.giveBack(10);
  expect(budget.held).toBe(0);
  expect(a.take(10)).toBe(true);
});

test("one caller may hold a whole body, also where there is hardly room for one", () => {
  const share = new ReplayBudget({ each: 10, total: 12 }).of("a");
  expect([share.take(4), share.take(4), share.take(2), share.take(1)]).toEqual([true, true, true, false]);
});
