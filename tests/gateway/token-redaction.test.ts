import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { TokenRedaction } from "../../src/gateway/token-redaction.ts";

const GIVEN = "atv1_virtual$&token";
/** What WeChat's tokens consist of, and what they might: the pattern allows all of ASCII that is printable. */
const WECHAT = "abcdefABCDEF0123456789_-";
const PRINTABLE = String.fromCharCode(...Array.from({ length: 94 }, (_, n) => 0x21 + n));

function streamOf(parts: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  const left = [...parts];
  return new ReadableStream(
    {
      pull(controller) {
        const part = left.shift();
        if (part) controller.enqueue(part);
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** The same digits in lower or upper case, each for itself. */
const hexOf = (char: string) =>
  fc.tuple(fc.boolean(), fc.boolean()).map((isUpper) =>
    Array.from(char.charCodeAt(0).toString(16).padStart(2, "0"))
      .map((digit, n) => (isUpper[n] ? digit.toUpperCase() : digit))
      .join(""),
  );

/** A character as it may stand in JSON or in a URL. */
const spelt = (char: string) =>
  fc.oneof(
    fc.constant(char),
    hexOf(char).map((hex) => `%${hex}`),
    hexOf(char).map((hex) => `\\u00${hex}`),
    ...('"\\/'.includes(char) ? [fc.constant(`\\${char}`)] : []),
  );

const tokens = (alphabet: string) =>
  fc
    .array(fc.constantFrom(...alphabet.split("")), { minLength: 16, maxLength: 40 })
    .map((characters) => characters.join(""));

/** Anything, and what looks like the beginning of a token: escapes, and pieces of it. */
const noise = (token: string) =>
  fc.oneof(
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    fc.constantFrom("", "%", "\\", "\\u", "\\u00", "%2", "\\u004", "%41", "\\u0041"),
    // Not so long that what follows could complete it.
    fc.nat({ max: token.length >> 1 }).map((length) => token.slice(0, length)),
  );

const answers = (alphabet: string) =>
  tokens(alphabet).chain((token) =>
    fc.record({
      token: fc.constant(token),
      pieces: fc.array(
        fc.record({
          before: noise(token),
          spelling: fc.tuple(...token.split("").map(spelt)).map((characters) => characters.join("")),
        }),
        { maxLength: 4 },
      ),
      end: noise(token),
      cuts: fc.array(fc.nat({ max: 400 }), { maxLength: 8 }),
    }),
  );

function partsOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, n) => bytes.subarray(at[n], end));
}

const read = async (body: ReadableStream<Uint8Array>) =>
  Buffer.from(await new Response(body).bytes()).toString("latin1");

test("P6: in any spelling and cut anywhere the real token is replaced, and all else is the same byte for byte", async () => {
  await fc.assert(
    fc.asyncProperty(answers(WECHAT), async ({ token, pieces, end, cuts }) => {
      const whole = Buffer.from(
        pieces.map(({ before, spelling }) => before + spelling).join("") + end,
        "latin1",
      );
      const expected = pieces.map(({ before }) => before + GIVEN).join("") + end;
      const redaction = new TokenRedaction(token, GIVEN);
      expect(Buffer.from(redaction.bytes(whole)).toString("latin1")).toBe(expected);
      expect(await read(redaction.stream(streamOf(partsOf(whole, cuts))))).toBe(expected);
    }),
    { numRuns: 300 },
  );
});

test("P6: no token of any printable characters is left, in no spelling", async () => {
  await fc.assert(
    fc.asyncProperty(answers(PRINTABLE), async ({ token, pieces, end, cuts }) => {
      const redaction = new TokenRedaction(token, GIVEN);
      for (const { spelling } of pieces) {
        const whole = Buffer.from(`${end}${spelling}${end}`, "latin1");
        const got = await read(redaction.stream(streamOf(partsOf(whole, cuts))));
        for (const text of [got, Buffer.from(redaction.bytes(whole)).toString("latin1")]) {
          expect(text.includes(spelling) || text.includes(token)).toBe(false);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("every single cut through a token in its longest spelling hides it as well", async () => {
  const token = "70_real-Token/19";
  for (const escape of [
    (hex: string) => `\\u00${hex.toUpperCase()}`,
    (hex: string) => `%${hex}`,
    (hex: string) => Buffer.from(hex, "hex").toString(),
  ]) {
    const spelling = token
      .split("")
      .map((char) => escape(Buffer.from(char).toString("hex")))
      .join("");
    const whole = Buffer.from(`{"a":"${spelling}"}`);
    const redaction = new TokenRedaction(token, GIVEN);
    for (let cut = 0; cut <= whole.length; cut++) {
      const got = await read(redaction.stream(streamOf([whole.subarray(0, cut), whole.subarray(cut)])));
      expect(got).toBe(`{"a":"${GIVEN}"}`);
    }
    const bytewise = Array.from(whole, (_, n) => whole.subarray(n, n + 1));
    expect(await read(redaction.stream(streamOf(bytewise)))).toBe(`{"a":"${GIVEN}"}`);
  }
});

test("a header is redacted, in each of those of one name", () => {
  const token = "70_realToken0123";
  const headers = new Headers({ location: `/x?u=%2Fcgi%3Fa%3D%37${token.slice(1)}&b=%zz`, server: "nginx" });
  headers.append("set-cookie", `a=${token}`);
  headers.append("set-cookie", "b=2");
  const redacted = new TokenRedaction(token, "own").headers(headers);
  expect(redacted.get("location")).toBe("/x?u=%2Fcgi%3Fa%3Down&b=%zz");
  expect(redacted.getSetCookie()).toEqual(["a=own", "b=2"]);
  expect(redacted.get("server")).toBe("nginx");
});

test("what quotes no token is handed on without a copy, part for part", async () => {
  const redaction = new TokenRedaction("70_realToken0123", GIVEN);
  const bytes = Buffer.from('{"url":"http:\\/\\/a\\/b?c=%20"}');
  expect(redaction.bytes(bytes)).toBe(bytes);
  const reader = redaction.stream(streamOf([bytes, bytes])).getReader();
  expect((await reader.read()).value).toBe(bytes);
});
