import { expect, test } from "bun:test";
import { binary } from "../support/process-harness.ts";
import { killComponent } from "./component-kills.ts";
import { killSuite } from "./suite-kills.ts";

/** A part of it for every change; `bun run test:faults` kills a thousand times. */
const KILLS = Number(process.env["PLATFORM_KILLS"] ?? 12);
const plan = (kills: number) => ({ kills, seed: Math.floor(Math.random() * 1e9), program: binary() });

test(
  "P3: kills lose no refresh token of a component's accounts, put none in the place of a newer one, and cost at most one more exchange of a code each",
  async () => {
    expect(await killComponent(plan(KILLS))).toContain("0 lost");
  },
  120_000 + 10_000 * KILLS,
);

test(
  "P3: kills lose no permanent code of a suite's corps but those that WeCom was giving out at that moment",
  async () => {
    expect(await killSuite(plan(Math.ceil(KILLS / 2)))).toContain("0 lost otherwise");
  },
  120_000 + 10_000 * KILLS,
);
