import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  VIRTUAL_LIFE_MS,
  type VirtualTokenClaims,
  type VirtualTokenKeys,
  type VirtualTokenKeyStore,
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

/** A store whose keys never change. */
function keysOf(current: Uint8Array): VirtualTokenKeyStore {
  return { keys: () => ({ current, former: [] }), refresh: async () => undefined };
}

function setup() {
  const clock = new ManualClock();
  const tokens = new VirtualTokens(keysOf(new Uint8Array(32).fill(1)), clock);
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

test("what was issued reads back, in the characters and the length that WeChat promises", async () => {
  const { clock, tokens } = setup();
  const property = fc.asyncProperty(claimsAt(clock.now()), async (claims) => {
    const text = tokens.issue(claims).reveal();
    expect(text).toMatch(/^atv1_[A-Za-z0-9_-]{1,507}$/);
    expect(await tokens.read(text)).toEqual(claims);
  });
  await fc.assert(property);
});

test("a token that was changed in any character, cut or extended is none", async () => {
  const { clock, tokens } = setup();
  const changes = fc.record({
    claims: claimsAt(clock.now()),
    at: fc.nat(),
    character: fc.constantFrom(...ALPHABET, "=", "+", "/", " ", "\n", "é", "\0"),
    tail: fc.string({ minLength: 1, maxLength: 4 }),
  });
  const property = fc.asyncProperty(changes, async ({ claims, at, character, tail }) => {
    const text = tokens.issue(claims).reveal();
    const place = at % text.length;
    const changed = text.slice(0, place) + character + text.slice(place + 1);
    if (changed !== text) expect(await tokens.read(changed)).toBeUndefined();
    for (const other of [
      text.slice(0, place),
      text.slice(place + 1),
      text + tail,
      tail + text,
      text.slice(0, place) + tail + text.slice(place),
    ])
      expect(await tokens.read(other)).toBeUndefined();
  });
  await fc.assert(property);
});

test("every other last character makes it none: no two texts are the same token", async () => {
  const { tokens, issue } = setup();
  const text = issue();
  const read = await Promise.all(ALPHABET.map((last) => tokens.read(text.slice(0, -1) + last)));
  expect(ALPHABET.filter((_, n) => read[n])).toEqual([text.at(-1)!]);
});

test("two keys don't read each other's tokens", async () => {
  const { clock, tokens } = setup();
  const keys = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const property = fc.asyncProperty(keys, claimsAt(clock.now()), async (key, claims) => {
    const others = new VirtualTokens(keysOf(key), clock);
    expect(await tokens.read(others.issue(claims).reveal())).toBeUndefined();
    expect(await others.read(tokens.issue(claims).reveal())).toBeUndefined();
  });
  await fc.assert(property);
});

test("a text of any kind is no token, and reading it throws nothing", async () => {
  const { tokens } = setup();
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...ALPHABET), maxLength: 600 }));
  const property = fc.asyncProperty(text, fc.boolean(), async (tail, isPrefixed) => {
    expect(await tokens.read(isPrefixed ? `atv1_${tail}` : tail)).toBeUndefined();
  });
  await fc.assert(property);
});

test("with ordinary names it is as long as a real token, with the longest it has room in 512 characters", async () => {
  const { tokens, claims, issue } = setup();
  expect(issue().length).toBeGreaterThanOrEqual(110);
  expect(issue().length).toBeLessThanOrEqual(160);
  const longest = { ...claims, ...LONGEST };
  const text = tokens.issue(longest).reveal();
  expect(text.length).toBeLessThanOrEqual(512);
  expect(await tokens.read(text)).toEqual(longest);
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

test("it lives 7200 seconds to the millisecond", async () => {
  const { clock, tokens, claims, issue } = setup();
  const text = issue();
  clock.advance(7_199_999);
  expect(await tokens.read(text)).toEqual(claims);
  clock.advance(1);
  expect(await tokens.read(text)).toBeUndefined();
});

test("one from the future is none, but clocks may differ by a minute", async () => {
  const { clock, tokens, issue } = setup();
  const text = issue();
  clock.jumpWall(-60_000);
  expect(await tokens.read(text)).toBeDefined();
  clock.jumpWall(-1);
  expect(await tokens.read(text)).toBeUndefined();
});

test("after a change of the key, tokens that are out are read until the former key ends, and new ones go on", async () => {
  const clock = new ManualClock();
  const [old, now] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  let keys: VirtualTokenKeys = { current: old, former: [] };
  const tokens = new VirtualTokens({ keys: () => keys, refresh: async () => undefined }, clock);
  const issue = () => tokens.issue({ ...CLAIMS, issuedAt: clock.now() }).reveal();
  const before = issue();
  keys = { current: now, former: [{ key: old, until: clock.now() + 1000 }] };
  const after = issue();
  clock.advance(999);
  for (const each of [before, after]) expect(await tokens.read(each)).toBeDefined();
  clock.advance(1);
  expect([await tokens.read(before), (await tokens.read(after))?.client]).toEqual([undefined, CLAIMS.client]);
  keys = { current: now, former: [] };
  expect(await tokens.read(before)).toBeUndefined();
});

test("a token that another process has just issued under a new key is read: the keys are looked up first", async () => {
  const { clock, claims } = setup();
  let current = new Uint8Array(32).fill(1);
  const next = new Uint8Array(32).fill(2);
  let looks = 0;
  const refresh = async () => {
    looks++;
    current = next;
  };
  const tokens = new VirtualTokens({ keys: () => ({ current, former: [] }), refresh }, clock);
  const text = new VirtualTokens(keysOf(next), clock).issue(claims).reveal();
  expect(await tokens.read(text)).toEqual(claims);
  expect(await tokens.read(text)).toEqual(claims);
  expect(looks).toBe(1);
});
