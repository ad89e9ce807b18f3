import { expect, test } from "bun:test";
import { isStreamed, prepareBody } from "../../src/gateway/call-body.ts";
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

function posting(body: ReadableStream<Uint8Array> | null, headers: Record<string, string> = {}): Request {
  return new Request("http://localhost/", { method: "POST", body, headers });
}

test("a body of known or unknown length is kept up to 1 MiB", async () => {
  const known = posting(bodyOf(["ab", "", "cde"]), { "content-length": "5" });
  expect(Buffer.from((await prepareBody(known)) as Uint8Array).toString()).toBe("abcde");
  const largest = () => bodyOf([Buffer.alloc(MIB - 1), "x"]);
  for (const headers of [{ "content-length": String(MIB) }, {}] as Record<string, string>[]) {
    expect(isStreamed(posting(largest(), headers))).toBe(false);
    expect((await prepareBody(posting(largest(), headers))) as Uint8Array).toHaveLength(MIB);
  }
});

test("a larger one of known length streams", async () => {
  const request = posting(bodyOf(["x"]), { "content-length": String(MIB + 1) });
  expect(isStreamed(request)).toBe(true);
  expect(await prepareBody(request)).toEqual(expect.objectContaining({ length: MIB + 1 }) as never);
});

test.each([
  ["is shorter than it says", bodyOf(["ab"]), { "content-length": "5" }, "invalid_parameter"],
  ["is longer than it says", bodyOf(["abcd", "efgh"]), { "content-length": "5" }, "invalid_parameter"],
  ["breaks off", bodyOf(["ab"], true), { "content-length": "5" }, "invalid_parameter"],
  ["breaks off in chunks", bodyOf(["ab"], true), {}, "invalid_parameter"],
  ["is too large in chunks", bodyOf([Buffer.alloc(MIB), "x"]), {}, "payload_too_large"],
  ["has a length that is no number", bodyOf(["ab"]), { "content-length": "5, 5" }, "invalid_parameter"],
] as const)("a body that %s is refused", async (_what, stream, headers, code) => {
  expect((await failureOf(prepareBody(posting(stream, headers)))).code).toBe(code);
});

test("a POST without a body has one of no bytes, and a GET has none", async () => {
  expect(await prepareBody(posting(null))).toEqual(new Uint8Array());
  expect(await prepareBody(new Request("http://localhost/"))).toBeUndefined();
});
