import { expect, test } from "bun:test";
import { heldBytes, isStreamed, prepareBody } from "../../src/gateway/call-body.ts";
import { failureOf } from "../support/refusals.ts";

const MIB = 1 << 20;

function bodyOf(parts: readonly (string | Uint8Array)[], fails = false): ReadableStream<Uint8Array> {
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

function posting(body: ReadableStream<Uint8Array> | null, length?: number) {
  return { method: "POST", body, length };
}

test("a body of known or unknown length is kept up to 1 MiB", async () => {
  const known = posting(bodyOf(["ab", "", "cde"]), 5);
  expect(Buffer.from((await prepareBody(known)) as Uint8Array).toString()).toBe("abcde");
  const largest = () => bodyOf([Buffer.alloc(MIB - 1), "x"]);
  for (const length of [MIB, undefined]) {
    expect(isStreamed(posting(largest(), length))).toBe(false);
    expect((await prepareBody(posting(largest(), length))) as Uint8Array).toHaveLength(MIB);
  }
});

test("a larger one of known length streams", async () => {
  const request = posting(bodyOf(["x"]), MIB + 1);
  expect(isStreamed(request)).toBe(true);
  expect(await prepareBody(request)).toEqual(expect.objectContaining({ length: MIB + 1 }) as never);
});

test.each([
  ["is shorter than it says", bodyOf(["ab"]), 5, "invalid_parameter"],
  ["is longer than it says", bodyOf(["abcd", "efgh"]), 5, "invalid_parameter"],
  ["breaks off", bodyOf(["ab"], true), 5, "invalid_parameter"],
  ["breaks off in chunks", bodyOf(["ab"], true), undefined, "invalid_parameter"],
  ["is too large in chunks", bodyOf([Buffer.alloc(MIB), "x"]), undefined, "payload_too_large"],
] as const)("a body that %s is refused", async (_what, stream, length, code) => {
  expect((await failureOf(prepareBody(posting(stream, length)))).code).toBe(code);
});

test.each([
  [0, 0],
  [1000, 1000],
  [MIB, MIB],
  [undefined, MIB],
  [1.5 * MIB, 1.5 * MIB],
  [100 * MIB, 1.5 * MIB],
])("of a body of %p bytes %p are held at most", (length, held) => {
  expect(heldBytes({ length })).toBe(held);
});

test("a POST without a body has one of no bytes, and a GET has none", async () => {
  expect(await prepareBody(posting(null))).toEqual(new Uint8Array());
  expect(await prepareBody({ method: "GET", body: null, length: undefined })).toBeUndefined();
});
