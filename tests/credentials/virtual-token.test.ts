import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  VIRTUAL_LIFE_MS,
  type VirtualTokenClaims,
  VirtualTokens,
} from "../../src/credentials/virtual-tokens.ts";
import { ManualClock } from "../support/manual-clock.ts";

const CLAIMS = {
  client: "dev-laptop",
  clientCreatedAt: 1_795_000_000_123,
  keyPrefix: "ats_0aB1cD2e",
  app: "wx00000000000000aa",
};
const LONGEST = {
  client: "c".repeat(64),
  app: `${"w".repeat(64)}_${"9".repeat(64)}`,
  keyPrefix: "ats_zzzzzzzz",
};
const ALPHABET = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

function setup() {
  const clock = new ManualClock();
  const tokens = new VirtualTokens(new Uint8Array(32).fill(1), clock);
  const claims: VirtualTokenClaims = { ...CLAIMS, issuedAt: clock.now() };
  return { clock, tokens, claims, issue: () => tokens.issue(claims).reveal() };
}

function name(characters: readonly string[], maxLength: number) {
  return fc.string({ unit: fc.constantFrom(...characters), minLength: 1, maxLength });
}

/** What a client and its app may be called, at whichever instant. */
function claimsAt(now: number): fc.Arbitrary<VirtualTokenClaims> {
  return fc.record({
    client: name(Array.from("abcxyz019._-"), 64),
    clientCreatedAt: fc.integer({ min: 0, max: now }),
    keyPrefix: name(ALPHABET, 12),
    app: name(ALPHABET, 130),
    issuedAt: fc.integer({ min: now - VIRTUAL_LIFE_MS + 1, max: now + 60_000 }),
  });
}

test("what was issued reads back, in the characters and the length that WeChat promises", () => {
  const { clock, tokens } = setup();
  const property = fc.property(claimsAt(clock.now()), (claims) => {
    const text = tokens.issue(claims).reveal();
    expect(text).toMatch(/^atv1_[A-Za-z0-9_-]{1,507}$/);
    expect(tokens.read(text)).toEqual(claims);
  });
  fc.assert(property);
});

test("a token that was changed in any character, cut or extended is none", () => {
  const { clock, tokens } = setup();
  const changes = fc.record({
    claims: claimsAt(clock.now()),
    at: fc.nat(),
    character: fc.constantFrom(...ALPHABET, "=", "+", "/", " ", "\n", "é", "\0"),
    tail: fc.string({ minLength: 1, maxLength: 4 }),
  });
  const property = fc.property(changes, ({ claims, at, character, tail }) => {
    const text = tokens.issue(claims).reveal();
    const place = at % text.length;
    const changed = text.slice(0, place) + character + text.slice(place + 1);
    if (changed !== text) expect(tokens.read(changed)).toBeUndefined();
    for (const other of [
      text.slice(0, place),
      text.slice(place + 1),
      text + tail,
      tail + text,
      text.slice(0, place) + tail + text.slice(place),
    ])
      expect(tokens.read(other)).toBeUndefined();
  });
  fc.assert(property);
});

test("every other last character makes it none: no two texts are the same token", () => {
  const { tokens, issue } = setup();
  const text = issue();
  const read = ALPHABET.filter((last) => tokens.read(text.slice(0, -1) + last));
  expect(read).toEqual([text.at(-1)!]);
});

test("two keys don't read each other's tokens", () => {
  const { clock, tokens } = setup();
  const keys = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const property = fc.property(keys, claimsAt(clock.now()), (key, claims) => {
    const others = new VirtualTokens(key, clock);
    expect(tokens.read(others.issue(claims).reveal())).toBeUndefined();
    expect(others.read(tokens.issue(claims).reveal())).toBeUndefined();
  });
  fc.assert(property);
});

test("a text of any kind is no token, and reading it throws nothing", () => {
  const { tokens } = setup();
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...ALPHABET), maxLength: 600 }));
  const property = fc.property(text, fc.boolean(), (tail, isPrefixed) => {
    expect(tokens.read(isPrefixed ? `atv1_${tail}` : tail)).toBeUndefined();
  });
  fc.assert(property);
});

test("with ordinary names it is as long as a real token, with the longest it has room in 512 characters", () => {
  const { tokens, claims, issue } = setup();
  expect(issue().length).toBeGreaterThanOrEqual(110);
  expect(issue().length).toBeLessThanOrEqual(160);
  const longest = { ...claims, ...LONGEST };
  const text = tokens.issue(longest).reveal();
  expect(text.length).toBeLessThanOrEqual(512);
  expect(tokens.read(text)).toEqual(longest);
});

test("names for which there is no room are refused and not cut", () => {
  const { tokens, claims } = setup();
  expect(() => tokens.issue({ ...claims, client: "c".repeat(256), app: "a" })).toThrow(RangeError);
  expect(() => tokens.issue({ ...claims, app: "a".repeat(400) })).toThrow(RangeError);
});

test("each is another, also of the same moment", () => {
  const { issue } = setup();
  expect(new Set(Array.from({ length: 100 }, issue)).size).toBe(100);
});

test("it lives 7200 seconds to the millisecond", () => {
  const { clock, tokens, claims, issue } = setup();
  const text = issue();
  clock.advance(7_199_999);
  expect(tokens.read(text)).toEqual(claims);
  clock.advance(1);
  expect(tokens.read(text)).toBeUndefined();
});

test("one from the future is none, but clocks may differ by a minute", () => {
  const { clock, tokens, issue } = setup();
  const text = issue();
  clock.jumpWall(-60_000);
  expect(tokens.read(text)).toBeDefined();
  clock.jumpWall(-1);
  expect(tokens.read(text)).toBeUndefined();
});
