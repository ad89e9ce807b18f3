import { expect, test } from "bun:test";
import { ALLOW_ALL, API_PRESETS, type ApiPolicy, SAFE } from "../../src/access/api-policy.ts";
import {
  changeWithDelivery,
  type ClientSettings,
  withDefaults,
  isSame,
  validateSettings,
  type NewClientSettings,
} from "../../src/access/client-settings.ts";
import { defaultsOf } from "../../src/access/environments.ts";
import { ServiceError } from "../../src/errors.ts";

const READING: ApiPolicy = { preset: "read-only", allow: [], deny: [] };
const NO_MESSAGING: ApiPolicy = { preset: "no-messaging", allow: [], deny: [] };
const ALL_BUT_ONE: ApiPolicy = { preset: "all", allow: [], deny: ["/wxa/release"] };

function said(environment: string, reach: Partial<ClientSettings> = {}): NewClientSettings {
  const limits = { networks: [], expiresAt: undefined, rateLimit: undefined, concurrency: undefined };
  return { environment, grants: [], ...limits, ...reach };
}

/** The settings of a new client, of an environment that is what its name says. */
const made = (input: NewClientSettings) => withDefaults(input, defaultsOf(input.environment).isProduction);

function refusalOf(work: () => unknown): ServiceError {
  try {
    work();
  } catch (error) {
    if (error instanceof ServiceError) return error;
  }
  throw new Error("it was not refused");
}

test.each([
  ["prod", {}, "virtual", ALLOW_ALL],
  ["pre", {}, "virtual", SAFE],
  ["dev", {}, "virtual", SAFE],
  ["preprod", {}, "virtual", SAFE],
  ["prod-2", {}, "virtual", SAFE],
  ["prod", { delivery: "real" }, "real", ALLOW_ALL],
  ["prod", { policy: READING }, "virtual", READING],
  ["prod", { policy: ALL_BUT_ONE }, "virtual", ALL_BUT_ONE],
  ["dev", { policy: ALLOW_ALL }, "virtual", ALLOW_ALL],
  ["dev", { policy: ALLOW_ALL, delivery: "real" }, "real", ALLOW_ALL],
  ["dev", { delivery: "virtual" }, "virtual", SAFE],
  ["dev", { policy: NO_MESSAGING }, "virtual", NO_MESSAGING],
] as const)(
  "a new client of %s of which %j is said gets %s tokens",
  (environment, reach, delivery, policy) => {
    expect(made(said(environment, reach))).toMatchObject({ delivery, policy });
  },
);

test.each(["prod", "production", "prd", "online", "PROD", "Production", "PRD", "OnLine"])(
  "a new client of %s is one of production, which may call every path",
  (environment) => {
    expect(made(said(environment)).policy).toEqual(ALLOW_ALL);
  },
);

test("real tokens beside a policy that refuses anything are refused, with what to do", () => {
  for (const policy of [READING, NO_MESSAGING, ALL_BUT_ONE]) {
    for (const environment of ["prod", "dev"]) {
      const { code, message } = refusalOf(() => made(said(environment, { delivery: "real", policy })));
      expect(code).toBe("invalid_parameter");
      expect(message).toContain("omit delivery, make it virtual, or set the policy to all");
    }
  }
  expect(refusalOf(() => made(said("dev", { delivery: "real" }))).code).toBe("invalid_parameter");
});

test("test openids are refused beside a preset that lets messages go to anybody, with what to do", () => {
  const testOpenids = ["oListed-0000000000000000001x"];
  const { code, message } = refusalOf(() => validateSettings({ policy: { ...ALLOW_ALL, testOpenids } }));
  expect([code, message]).toEqual([
    "invalid_parameter",
    expect.stringContaining("take another, such as safe"),
  ]);
  for (const policy of [SAFE, READING, NO_MESSAGING])
    validateSettings({ policy: { ...policy, testOpenids } });
});

test("a policy that refuses anything makes a real client virtual; everything else leaves it what it is", () => {
  const real = made(said("prod", { delivery: "real" }));
  const virtual = made(said("dev"));
  expect(changeWithDelivery(real, { policy: READING })).toEqual({ policy: READING, delivery: "virtual" });
  expect(changeWithDelivery(real, { policy: ALLOW_ALL })).toEqual({ policy: ALLOW_ALL });
  expect(changeWithDelivery(real, { environment: "dev" })).toEqual({ environment: "dev" });
  expect(changeWithDelivery(virtual, { environment: "prod" })).toEqual({ environment: "prod" });
  expect(changeWithDelivery(virtual, { policy: ALLOW_ALL })).toEqual({ policy: ALLOW_ALL });
  const freed = { policy: ALLOW_ALL, delivery: "real" } as const;
  expect(changeWithDelivery(virtual, freed)).toEqual(freed);
  expect(refusalOf(() => changeWithDelivery(virtual, { delivery: "real" })).code).toBe("invalid_parameter");
  const both = { policy: READING, delivery: "real" } as const;
  expect(refusalOf(() => changeWithDelivery(real, both)).code).toBe("invalid_parameter");
});

test("the same facts are the same however their fields are ordered, and one that differs makes them others", () => {
  const facts = made(said("dev"));
  const { policy, ...rest } = facts;
  const { preset, allow, deny } = policy;
  expect(isSame(facts, { policy: { deny, allow, preset }, ...rest })).toBe(true);
  for (const other of API_PRESETS.filter((each) => each !== preset))
    expect(isSame(facts, { ...facts, policy: { ...policy, preset: other } })).toBe(false);
  expect(isSame(facts, { ...facts, policy: { ...policy, deny: ["/a"] } })).toBe(false);
  expect(isSame(facts, { ...facts, policy: { ...policy, allow: ["/a"] } })).toBe(false);
  expect(isSame(facts, { ...facts, delivery: "real" })).toBe(false);
  expect(isSame(facts, { ...facts, concurrency: 1 })).toBe(false);
});
