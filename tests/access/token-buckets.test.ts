import { expect, test } from "bun:test";
import { CallerLimits, TokenBuckets } from "../../src/access/limits.ts";
import { clientPrincipal } from "../support/callers.ts";
import { ManualClock } from "../support/manual-clock.ts";

const MOST = 10_000;

function setup() {
  const clock = new ManualClock();
  const buckets = new TokenBuckets(clock);
  /** How many of `count` requests at one moment are let through. */
  const passed = (caller: string, count: number, size: { perSecond: number; burst: number }) =>
    Array.from({ length: count }, () => buckets.take(caller, size)).filter((waitMs) => waitMs === 0).length;
  return { clock, buckets, passed };
}

test("a bucket begins full, lets a burst through, and then says how long to wait", () => {
  const { buckets, passed } = setup();
  const size = { perSecond: 2, burst: 5 };
  expect(passed("a", 5, size)).toBe(5);
  expect(buckets.take("a", size)).toBe(500);
});

test("whoever waits as long as was said is let through, and who comes before is told the rest", () => {
  for (const perSecond of [1 / 30, 1 / 3, 1, 3, 5, 7, 10, 50, 333]) {
    const { clock, buckets } = setup();
    const size = { perSecond, burst: 2 };
    // At uneven moments, so that the bucket holds every fraction of a token.
    for (let n = 0; n < 5000; n++) {
      const waitMs = buckets.take("a", size);
      if (waitMs === 0) clock.advance((n * 37) % 50);
      else if (n % 2 === 0) {
        const early = Math.floor(waitMs / 2);
        clock.advance(early);
        if (early < waitMs)
          expect([perSecond, n, buckets.take("a", size)]).toEqual([perSecond, n, waitMs - early]);
      } else {
        clock.advance(waitMs);
        expect([perSecond, n, buckets.take("a", size)]).toEqual([perSecond, n, 0]);
      }
    }
  }
});

test("over a minute as many pass as the burst and the rate allow, however the requests are spread", () => {
  for (const stepMs of [1, 7, 100, 333, 1000]) {
    const { clock, passed } = setup();
    const size = { perSecond: 10, burst: 20 };
    let all = 0;
    for (let ms = 0; ms < 60_000; ms += stepMs) {
      all += passed("a", Math.ceil(stepMs / 20), size);
      clock.advance(stepMs);
    }
    // The spread alone may cost the part of a token, never give one.
    expect([stepMs, all <= 20 + 600]).toEqual([stepMs, true]);
    expect([stepMs, all >= 600 - 2]).toEqual([stepMs, true]);
  }
});

test("what is not used is saved up to the burst and no further", () => {
  const { clock, passed } = setup();
  const size = { perSecond: 10, burst: 5 };
  expect(passed("a", 10, size)).toBe(5);
  clock.advance(7 * 86_400_000);
  expect(passed("a", 10, size)).toBe(5);
});

test("to be refused costs nothing: who goes on asking waits no longer than who does not", () => {
  const { clock, buckets, passed } = setup();
  const size = { perSecond: 1, burst: 1 };
  expect(passed("a", 1000, size)).toBe(1);
  clock.advance(999);
  expect(passed("a", 1000, size)).toBe(0);
  expect(buckets.take("a", size)).toBe(1);
  clock.advance(1);
  expect(passed("a", 1000, size)).toBe(1);
});

test("the wall clock has no say", () => {
  const { clock, passed } = setup();
  const size = { perSecond: 1, burst: 3 };
  expect(passed("a", 5, size)).toBe(3);
  clock.jumpWall(86_400_000);
  expect(passed("a", 5, size)).toBe(0);
  clock.jumpWall(-2 * 86_400_000);
  expect(passed("a", 5, size)).toBe(0);
  clock.advance(1000);
  expect(passed("a", 5, size)).toBe(1);
});

test("no caller takes anything from another", () => {
  const { passed } = setup();
  const size = { perSecond: 1, burst: 3 };
  expect(passed("greedy", 100_000, size)).toBe(3);
  for (const caller of ["b", "c", "", "__proto__", "greedy "]) expect(passed(caller, 5, size)).toBe(3);
});

test("a limit that is changed holds from the next request on", () => {
  const { clock, passed } = setup();
  expect(passed("a", 5, { perSecond: 1, burst: 10 })).toBe(5);
  expect(passed("a", 5, { perSecond: 1, burst: 2 })).toBe(2);
  clock.advance(1000);
  expect(passed("a", 200, { perSecond: 100, burst: 100 })).toBe(100);
});

test("the caller who was refused last is not the one who is forgotten when many others come", () => {
  const { passed } = setup();
  const size = { perSecond: 1 / 3600, burst: 3 };
  expect(passed("early", 3, size)).toBe(3);
  expect(passed("guesser", 3, size)).toBe(3);
  for (let n = 0; n < 3 * MOST; n++) {
    passed(`other ${n}`, 1, size);
    if (n % 5000 === 0) expect(passed("guesser", 1, size)).toBe(0);
  }
  expect(passed("guesser", 1, size)).toBe(0);
  // Forgotten is as good as full: nobody is worse off for it.
  expect(passed("early", 5, size)).toBe(3);
});

test("however many callers come, so many are remembered and no more", () => {
  const { buckets } = setup();
  const size = { perSecond: 1, burst: 1 };
  const callers = 3 * MOST;
  for (let n = 0; n < callers; n++) buckets.take(`caller ${n}`, size);
  // From the last one back: whoever is remembered is refused, and that takes no other's place.
  let remembered = 0;
  while (buckets.take(`caller ${callers - 1 - remembered}`, size) > 0) remembered++;
  expect(remembered).toBe(MOST);
});

test("requests from ever so many addresses, with wrong keys or none, give no client its requests back", () => {
  const limits = new CallerLimits({ clock: new ManualClock(), anonymousPerSecond: 1, processes: () => 1 });
  const { client } = clientPrincipal("one", { rateLimit: 1 }).owner;
  expect([limits.ofClient(client), limits.ofClient(client) > 0]).toEqual([0, true]);
  for (let n = 0; n < 2 * MOST; n++) {
    const address = `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;
    limits.ofAddress(address);
    limits.ofWrong(address);
  }
  expect(limits.ofClient(client)).toBeGreaterThan(0);
});
