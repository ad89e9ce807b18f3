import { expect, test } from "bun:test";
import { createCipheriv } from "node:crypto";
import * as fc from "fast-check";
import {
  decryptPush,
  encryptPush,
  generatePushKey,
  isEncodingAesKey,
  isPushSignature,
  isPushToken,
  type PushKey,
  PushRefused,
  signPush,
} from "../../src/callbacks/push-crypto.ts";
import { Secret } from "../../src/secret.ts";
import { KEYS, VECTORS, vector } from "./push-vectors.ts";

const named = VECTORS.map((each) => [each.name, each] as const);

test.each(named)("decrypts %s", (_, { encrypted, key, receiveId, message, random }) => {
  const sealed = encrypted ?? encryptPush(message ?? "", receiveId, key, Buffer.from(random ?? ""));
  const opened = decryptPush(sealed, key);
  expect(opened.receiveId).toBe(receiveId);
  if (message !== undefined) expect(Buffer.from(opened.message).toString()).toBe(message);
});

test.each(named.filter(([, { random, encrypted }]) => random !== undefined && encrypted !== undefined))(
  "encrypts %s to the same text",
  (_, { encrypted, key, receiveId, random }) => {
    const { message } = decryptPush(encrypted!, key);
    expect(encryptPush(message, receiveId, key, Buffer.from(random!))).toBe(encrypted!);
  },
);

test.each(named.filter(([, { msgSignature }]) => msgSignature !== undefined))(
  "signs %s as its sender did",
  (_, { encrypted, key, receiveId, message, random, timestamp, nonce, msgSignature, signature }) => {
    const sealed = encrypted ?? encryptPush(message!, receiveId, key, Buffer.from(random!));
    expect(signPush(key, timestamp!, nonce!, sealed)).toBe(msgSignature!);
    expect(isPushSignature(msgSignature!, key, timestamp!, nonce!, sealed)).toBe(true);
    if (signature !== undefined) expect(signPush(key, timestamp!, nonce!)).toBe(signature);
  },
);

test.each([
  ["AAAAA", "1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"],
  ["AAAAA", "1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"],
])("signs timestamp and nonce with the Token %s as published", (token, timestamp, nonce, signature) => {
  expect(signPush({ token: new Secret(token) }, timestamp, nonce)).toBe(signature);
});

test("what is signed is sorted as text, not by number", () => {
  const signature = "c809f4e10aa4c80b7b6bbfdcb88ec827cd161d5a";
  expect(signPush({ token: new Secret("10token") }, "9", "1790000000", "2")).toBe(signature);
});

test("trap 3: the two spare bits of an EncodingAESKey change nothing", () => {
  const { encrypted, receiveId } = vector("authorized");
  const start = KEYS.MADE_UP.encodingAesKey!.reveal().slice(0, -1);
  for (const last of "IJKL") {
    const key = { ...KEYS.MADE_UP, encodingAesKey: new Secret(start + last) };
    expect(decryptPush(encrypted!, key).receiveId).toBe(receiveId);
  }
});

/** Any 32 bytes and more, encrypted without checks. */
function encryptRaw(text: Uint8Array, key: PushKey): string {
  const aesKey = Buffer.from(key.encodingAesKey!.reveal(), "base64");
  const cipher = createCipheriv("aes-256-cbc", aesKey, aesKey.subarray(0, 16)).setAutoPadding(false);
  return Buffer.concat([cipher.update(text), cipher.final()]).toString("base64");
}

function reasonOf(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof PushRefused) return error.reason;
    throw error;
  }
  return "none";
}

/** A block of 64 bytes: 16 random ones, `length` as the message's, and at the end `padding` bytes of `filler`. */
function plainBlock({ length = 4, padding = 32, filler = -1 }): Buffer {
  const block = Buffer.alloc(64, "x");
  block.writeUInt32BE(length, 16);
  return block.fill(filler < 0 ? padding : filler, 64 - Math.min(padding, 64));
}

test.each([
  ["a padding of 0", encryptRaw(plainBlock({ padding: 1, filler: 0 }), KEYS.MADE_UP)],
  ["a padding of 33", encryptRaw(plainBlock({ padding: 33 }), KEYS.MADE_UP)],
  ["a padding that is not all the same", encryptRaw(plainBlock({ padding: 1, filler: 32 }), KEYS.MADE_UP)],
  ["a message longer than the text", encryptRaw(plainBlock({ length: 13 }), KEYS.MADE_UP)],
  ["a message of 4 GiB", encryptRaw(plainBlock({ length: 0xff_ff_ff_ff }), KEYS.MADE_UP)],
  ["no room for a length", encryptRaw(Buffer.alloc(32, 16), KEYS.MADE_UP)],
  ["half a block", Buffer.alloc(40).toString("base64")],
  ["nothing", ""],
  ["no base64", "你好"],
])("refuses %s", (_, encrypted) => {
  expect(reasonOf(() => decryptPush(encrypted, KEYS.MADE_UP))).toBe("undecryptable");
});

test("trap 2: takes every padding from 1 to 32", () => {
  for (let padding = 1; padding <= 32; padding += 1) {
    const { message, receiveId } = decryptPush(
      encryptRaw(plainBlock({ padding }), KEYS.MADE_UP),
      KEYS.MADE_UP,
    );
    expect(Buffer.from(message).toString()).toBe("xxxx");
    expect(receiveId).toHaveLength(64 - 16 - 4 - 4 - padding);
  }
});

test("trap 4: the length of a message counts its bytes, not its characters", () => {
  const { encrypted, message, key } = vector("a text message that WeCom sent in 2021");
  expect(message).toContain("密文测试");
  const opened = decryptPush(encrypted!, key).message;
  expect([opened.length, Buffer.from(opened).toString()]).toEqual([290, message!]);
  expect(decryptPush(encryptPush("你好", "wx", key), key)).toEqual({
    message: Buffer.from("你好"),
    receiveId: "wx",
  });
});

test("without an EncodingAESKey, or with one that is none, nothing is encrypted or decrypted", () => {
  const { encrypted } = vector("authorized");
  for (const encodingAesKey of [
    undefined,
    new Secret(""),
    new Secret("A".repeat(42)),
    new Secret("=".repeat(43)),
  ]) {
    const key = { token: KEYS.MADE_UP.token, encodingAesKey };
    expect(reasonOf(() => decryptPush(encrypted!, key))).toBe("undecryptable");
    expect(reasonOf(() => encryptPush("x", "", key))).toBe("undecryptable");
  }
});

test("whatever is encrypted, for whomever, is decrypted to the same bytes, and differs each time", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ unit: "grapheme", maxLength: 40 }),
      (message, name) => {
        const key = generatePushKey();
        const receiveId = Buffer.from(name).toString();
        const encrypted = encryptPush(message, receiveId, key);
        expect(encryptPush(message, receiveId, key)).not.toBe(encrypted);
        expect(Buffer.from(encrypted, "base64").length % 32).toBe(0);
        const opened = decryptPush(encrypted, key);
        expect(Buffer.from(opened.message)).toEqual(Buffer.from(message));
        expect(opened.receiveId).toBe(receiveId);
      },
    ),
    { seed: 15, numRuns: 500 },
  );
});

test("a signature that differs in one digit, in case or in length is none", () => {
  const key = KEYS.MADE_UP;
  const right = signPush(key, "1790000000", "n", "text");
  expect(isPushSignature(right, key, "1790000000", "n", "text")).toBe(true);
  const wrong = [
    right.slice(1),
    `${right}0`,
    right.toUpperCase(),
    "",
    `${right.slice(0, -1)}g`,
    "é".repeat(20),
  ];
  for (const signature of wrong)
    expect(isPushSignature(signature, key, "1790000000", "n", "text")).toBe(false);
  for (const values of [
    ["1790000001", "n", "text"],
    ["1790000000", "m", "text"],
    ["1790000000", "n", "texu"],
    ["1790000000", "n"],
  ])
    expect(isPushSignature(right, key, ...values)).toBe(false);
});

test("a new Token and EncodingAESKey have the forms that WeChat's console takes, and are never the same", () => {
  const made = Array.from({ length: 50 }, generatePushKey);
  for (const { token, encodingAesKey } of made) {
    expect(isPushToken(token.reveal())).toBe(true);
    expect(isEncodingAesKey(encodingAesKey.reveal())).toBe(true);
  }
  expect(new Set(made.map(({ token }) => token.reveal())).size).toBe(50);
  expect(new Set(made.map(({ encodingAesKey }) => encodingAesKey.reveal())).size).toBe(50);
});
