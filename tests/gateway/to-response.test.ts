import { expect, test } from "bun:test";
import { toResponse } from "../../src/gateway/answer.ts";
import { Secret } from "../../src/secret.ts";

const REAL = new Secret("70_realToken");
const GIVEN = new Secret("atv1_virtual$&token");

function setup({
  bytes,
  parts = [],
  fails = false,
}: {
  bytes?: Uint8Array;
  parts?: string[];
  fails?: boolean;
}) {
  const left = [...parts];
  const seen = { ends: 0, isCancelled: false };
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const part = left.shift();
        if (part !== undefined) controller.enqueue(Buffer.from(part));
        else if (fails) controller.error(new Error("broken"));
        else controller.close();
      },
      cancel() {
        seen.isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  const hand = (status = 200, given: Secret | undefined = GIVEN, headers: Record<string, string> = {}) =>
    toResponse(
      { answer: { status, headers: new Headers(headers), body }, bytes, errcode: undefined },
      { real: REAL, given, onEnd: () => void (seen.ends += 1) },
    );
  return { seen, hand };
}

test("what quotes the real token quotes the caller's own, byte for byte around it", async () => {
  const around = Buffer.from([0xff, 0x00, 0xc3, 0x28]);
  const bytes = Buffer.concat([around, Buffer.from("70_realToken,70_realToken"), around]);
  const { hand } = setup({ bytes });
  const response = hand(200, GIVEN, {
    "content-length": String(bytes.length),
    location: "/x?a=70_realToken",
  });
  const own = "atv1_virtual$&token";
  const expected = Buffer.concat([around, Buffer.from(`${own},${own}`), around]);
  expect(Buffer.from(await response.arrayBuffer()).equals(expected)).toBe(true);
  expect(response.headers.get("location")).toBe(`/x?a=${own}`);
  expect(response.headers.get("content-length")).not.toBe(String(bytes.length));
});

test("what quotes none, or the caller's own, is handed on as it is", async () => {
  for (const [text, given] of [
    ["nothing", GIVEN],
    ["70_realToken", REAL],
  ] as const) {
    const response = setup({ bytes: Buffer.from(text) }).hand(200, given, { "content-length": "12" });
    expect(await response.text()).toBe(text);
    expect(response.headers.get("content-length")).toBe("12");
  }
});

test("the end is told once: at once for what is no stream, else when it was read, breaks off or is wanted no more", async () => {
  const whole = setup({ bytes: Buffer.from("x") });
  whole.hand();
  expect(whole.seen.ends).toBe(1);

  const read = setup({ parts: ["a", "b"] });
  const response = read.hand();
  expect(read.seen.ends).toBe(0);
  expect(await response.text()).toBe("ab");
  expect(read.seen.ends).toBe(1);

  const broken = setup({ parts: ["a"], fails: true });
  expect(
    await broken
      .hand()
      .text()
      .catch(() => "broken"),
  ).toBe("broken");
  expect(broken.seen.ends).toBe(1);

  const left = setup({ parts: ["a", "b"] });
  await left.hand().body?.cancel();
  expect(left.seen).toEqual({ ends: 1, isCancelled: true });
});

test("nothing of a stream is taken before somebody wants it", async () => {
  const taken = { parts: 0 };
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        taken.parts += 1;
        controller.enqueue(Buffer.from("x"));
      },
    },
    { highWaterMark: 0 },
  );
  const answer = { status: 200, headers: new Headers(), body };
  const options = { real: REAL, given: GIVEN, onEnd: () => undefined };
  const reader = toResponse({ answer, bytes: undefined, errcode: undefined }, options).body?.getReader();
  await new Promise(setImmediate);
  expect(taken.parts).toBe(0);
  await reader?.read();
  expect(taken.parts).toBe(1);
});
