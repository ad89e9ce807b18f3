import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  apiKeyDigest,
  apiKeyPrefix,
  createApiKey,
  isWellFormedApiKey,
  looksLikeApiKey,
} from "../../src/access/api-key.ts";
import { Secret } from "../../src/secret.ts";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** Made once and never valid anywhere: what is stored and handed out must be read by every later version. */
const KNOWN = "ats_00000000000000000000000000000000000000000002CZclj";

function newKeys(count: number): string[] {
  return Array.from({ length: count }, () => createApiKey().reveal());
}

test("a key is ats_, 43 base62 characters of chance and 6 of checksum, and no two are the same", () => {
  const keys = newKeys(2000);
  for (const key of keys) {
    expect(key).toMatch(/^ats_[0-9A-Za-z]{49}$/);
    expect(isWellFormedApiKey(key)).toBeTrue();
    expect(looksLikeApiKey(key)).toBeTrue();
  }
  expect(new Set(keys.map((key) => apiKeyPrefix(new Secret(key)))).size).toBe(keys.length);
  expect(new Set(keys).size).toBe(keys.length);
});

test("the chance in a key is a number below 2^256 that fills all of it", () => {
  const numbers = newKeys(500).map((key) =>
    key
      .slice(4, 47)
      .split("")
      .reduce((sum, character) => sum * 62n + BigInt(ALPHABET.indexOf(character)), 0n),
  );
  for (const number of numbers) expect(number < 2n ** 256n).toBeTrue();
  for (let bit = 0n; bit < 256n; bit++) {
    const ones = numbers.filter((number) => (number >> bit) & 1n).length;
    // Eight standard deviations off the middle: no bit is ever so by chance.
    expect([bit, Math.abs(ones - 250) < 90]).toEqual([bit, true]);
  }
});

test("the checksum is the CRC32 of the chance, so that anybody's scanner can tell a leaked key", () => {
  for (const key of [KNOWN, ...newKeys(50)]) {
    let crc = BigInt(Bun.hash.crc32(key.slice(4, 47)));
    let text = "";
    for (; text.length < 6; crc /= 62n) text = ALPHABET.charAt(Number(crc % 62n)) + text;
    expect(key.slice(47)).toBe(text);
    expect(isWellFormedApiKey(key)).toBeTrue();
  }
});

test("every change of a single character is found out offline", () => {
  for (const key of newKeys(3)) {
    for (let at = 0; at < key.length; at++) {
      for (const character of `${ALPHABET}_-. é\n`) {
        if (character === key[at]) continue;
        const changed = key.slice(0, at) + character + key.slice(at + 1);
        expect([changed, isWellFormedApiKey(changed)]).toEqual([changed, false]);
      }
    }
  }
});

test("every swap of two neighbours is found out offline", () => {
  for (const key of newKeys(50)) {
    for (let at = 0; at + 1 < key.length; at++) {
      const swapped = key.slice(0, at) + key.charAt(at + 1) + key.charAt(at) + key.slice(at + 2);
      expect([swapped, isWellFormedApiKey(swapped)]).toEqual([swapped, swapped === key]);
    }
  }
});

test("a character too many or too few is found out offline", () => {
  for (const key of newKeys(20)) {
    for (let at = 0; at <= key.length; at++) {
      expect(isWellFormedApiKey(key.slice(0, at) + key.slice(at + 1))).toBe(at === key.length);
      expect(isWellFormedApiKey(`${key.slice(0, at)}0${key.slice(at)}`)).toBeFalse();
    }
    for (const around of [` ${key}`, `${key} `, `${key}\n`, `\n${key}`, `${key}\0`, key.toUpperCase()])
      expect(isWellFormedApiKey(around)).toBeFalse();
  }
});

test("what is no key at all is none", () => {
  const texts = ["", "ats_", "ats", "a".repeat(53), `ats_${"0".repeat(49)}`, `ats_${"x".repeat(1_000_000)}`];
  for (const text of texts) expect(isWellFormedApiKey(text)).toBeFalse();
  expect(looksLikeApiKey("a1b2c3d4e5f60718293a4b5c6d7e8f90")).toBeFalse();
  expect(looksLikeApiKey("ATS_0")).toBeFalse();
});

test("the public beginning tells 8 characters of chance and no more, and the digest is SHA-256 of the whole", () => {
  const key = createApiKey();
  expect(apiKeyPrefix(key)).toBe(key.reveal().slice(0, 12));
  expect(apiKeyDigest(key.reveal())).toBe(createHash("sha256").update(key.reveal(), "utf8").digest("hex"));
  expect(String(key)).not.toContain(key.reveal());
});
