import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { EventBus } from "../../src/events.ts";
import { WebLogins } from "../../src/oauth/web-logins.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { LoginHarness } from "./login-harness.ts";

const STATE = /^[A-Za-z0-9]{1,32}$/;

test("one address begins two hundred logins at once and ten a second", async () => {
  await using at = await LoginHarness.create();
  const states = await Promise.all(Array.from({ length: 201 }, () => at.begin("dev")));
  expect(states.filter((state) => STATE.test(state))).toHaveLength(200);
  expect(new Set(states.filter(Boolean)).size).toBe(200);
  at.world.clock.advance(100);
  expect(await at.begin("dev")).toMatch(STATE);
  expect(await at.begin("dev")).toBe("");
});

test("one address comes back from WeChat twice as often, and then gets a page that says so", async () => {
  await using at = await LoginHarness.create();
  const state = await at.begin("dev");
  await at.back(state, "sandbox-code-1");
  const repeated = await Promise.all(Array.from({ length: 399 }, () => at.back(state, "sandbox-code-1")));
  expect(new Set(repeated.map(({ status }) => status))).toEqual(new Set([302]));
  const late = await at.back(state, "sandbox-code-1");
  expect([late.status, late.headers.get("location")]).toEqual([429, null]);
  expect(late.text).toContain("too many logins");
  // Who comes back takes nothing from those who begin.
  expect(await at.begin("dev")).toMatch(STATE);
  at.world.clock.advance(50);
  expect((await at.back(state, "sandbox-code-1")).status).toBe(302);
  expect((await at.back(state, "sandbox-code-1")).status).toBe(429);
});

test("the networks of a /48 together have ten times what one has, and leave the rest to others", async () => {
  const clock = new ManualClock();
  const unused = undefined as never;
  const logins = new WebLogins({
    ...{ store: unused, origins: unused, environments: unused, directory: unused, publicSide: unused },
    ...{ loginUrls: unused, clock, events: new EventBus(), processes: () => 1 },
  });
  // Returns of no login; 4000 of them may come at once from a /48.
  const isLimited = async (address: string) => {
    const error: unknown = await logins.finish("state=x", address).catch((thrown: unknown) => thrown);
    return error instanceof ServiceError && error.code === "rate_limited";
  };
  const networkOf = (n: number) => `2001:db8:1:${n.toString(16)}::1`;
  const limited = async (from: number, to: number) => {
    let refused = 0;
    for (let n = from; n < to; n++) refused += Number(await isLimited(networkOf(n)));
    return refused;
  };
  expect(await limited(0, 4000)).toBe(0);
  expect(await limited(4000, 20_000)).toBe(16_000);
  expect(await isLimited("2001:db8:2::1")).toBeFalse();
  expect(await isLimited("192.0.2.1")).toBeFalse();
  clock.advance(1000);
  expect(await limited(20_000, 20_201)).toBe(1);
});
