import { expect, test } from "bun:test";
import { CachedCredential } from "../../src/credentials/credential-cache.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";

const HOUR = 3_600_000;

/** A credential that was asked for `ageMs` ago, by our own process or (`restored`) read from the disk. */
function setup({ lifeMs = 2 * HOUR, ageMs = 0, restored = false } = {}) {
  const clock = new ManualClock();
  const issuedAt = clock.now() - ageMs;
  const credential = { value: new Secret("token"), issuedAt, expiresAt: issuedAt + lifeMs };
  const endsAtMonotonic = clock.monotonic() - ageMs + lifeMs;
  return { clock, held: new CachedCredential(credential, 1, clock, restored ? undefined : endsAtMonotonic) };
}

test("a life is counted down truthfully and is over when its second is", () => {
  const { clock, held } = setup();
  expect(held.remainingMs()).toBe(2 * HOUR);
  clock.advance(HOUR);
  expect(held.remainingMs()).toBe(HOUR);
  clock.advance(HOUR - 1000);
  expect(held.isUsable()).toBeTrue();
  clock.advance(1);
  expect(held.isUsable()).toBeFalse();
});

test("a life that a caller wants longer than what is left is not enough", () => {
  const { held } = setup({ lifeMs: 60_000 });
  expect(held.isUsable(60_000)).toBeTrue();
  expect(held.isUsable(60_001)).toBeFalse();
});

test("an answer that was long on its way is older than it looks", () => {
  expect(setup({ ageMs: 5000 }).held.remainingMs()).toBe(2 * HOUR - 5000);
});

test("the life that it was issued with is known however much of it is left", () => {
  const { clock, held } = setup({ ageMs: 5000 });
  clock.advance(HOUR);
  expect(held.lifeMs()).toBe(2 * HOUR);
});

test("P2: a wall clock that is set forward three hours ends the life", () => {
  const { clock, held } = setup();
  clock.jumpWall(3 * HOUR);
  expect(held.isUsable()).toBeFalse();
});

test("P2: a wall clock that is set back one hour does not lengthen the life", () => {
  const { clock, held } = setup();
  clock.advance(HOUR);
  clock.jumpWall(-HOUR);
  expect(held.remainingMs()).toBe(HOUR);
  clock.advance(HOUR);
  expect(held.isUsable()).toBeFalse();
});

test("P2: a wall clock that is ten years ahead for a while leaves the life as it was", () => {
  const { clock, held } = setup();
  clock.jumpWall(10 * 365 * 24 * HOUR);
  expect(held.isUsable()).toBeFalse();
  clock.jumpWall(-10 * 365 * 24 * HOUR);
  clock.advance(HOUR);
  expect(held.remainingMs()).toBe(HOUR);
});

test("a restored credential has the life that the wall clock leaves it", () => {
  const { clock, held } = setup({ ageMs: HOUR, restored: true });
  expect(held.remainingMs()).toBe(HOUR);
  clock.advance(HOUR);
  expect(held.isUsable()).toBeFalse();
});

test("P2: a restored credential from the future is not handed out, because its age is unknown", () => {
  const { clock, held } = setup({ ageMs: -1, restored: true });
  expect(held.isUsable()).toBeFalse();
  clock.jumpWall(HOUR);
  expect(held.isUsable()).toBeFalse();
});
