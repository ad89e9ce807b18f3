import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { readIssued } from "../../src/upstream/token-sources.ts";

const VALUE = "70_abcdefghijklmnop-QRSTUV";

function read(answer: Record<string, unknown>, field: "access_token" | "ticket" = "access_token") {
  const { value, lifeMs } = readIssued("weixin", field, answer);
  return [value.reveal(), lifeMs];
}

function isRefused(answer: Record<string, unknown>): boolean {
  try {
    read(answer);
    return false;
  } catch (error) {
    const isOurs = error instanceof ServiceError && error.code === "upstream_invalid";
    return isOurs && !error.message.includes("canary");
  }
}

test("a token or ticket is read with its life, in milliseconds here and seconds there", () => {
  expect(read({ access_token: VALUE, expires_in: 7200 })).toEqual([VALUE, 7_200_000]);
  expect(read({ errcode: 0, errmsg: "ok", access_token: VALUE, expires_in: 345, more: 1 })).toEqual([
    VALUE,
    345_000,
  ]);
  expect(read({ ticket: VALUE, expires_in: 1 }, "ticket")).toEqual([VALUE, 1000]);
  expect(read({ access_token: "x".repeat(512), expires_in: 86_400 })).toEqual(["x".repeat(512), 86_400_000]);
});

test("an answer whose token is missing, empty, no text, of insane length or unprintable is refused", () => {
  const values = [
    undefined,
    null,
    "",
    42,
    true,
    ["canary"],
    { canary: 1 },
    "x",
    "canary".repeat(1706),
    "canary with blanks 0123",
    "canary-0123456789\n",
    "canary-0123456789\u0000",
    "令牌令牌令牌令牌令牌令牌令牌令牌",
  ];
  for (const value of values)
    expect(isRefused({ access_token: value, expires_in: 7200 }), Bun.inspect(value)).toBeTrue();
  expect(isRefused({ ticket: VALUE, expires_in: 7200 })).toBeTrue();
  expect(isRefused({})).toBeTrue();
});

test("an answer whose expires_in is missing, no whole number, not above zero or insanely large is refused", () => {
  for (const value of [
    undefined,
    null,
    0,
    -1,
    1.5,
    "7200",
    "",
    true,
    [7200],
    1e300,
    86_401,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ])
    expect(isRefused({ access_token: VALUE, expires_in: value }), String(value)).toBeTrue();
});
