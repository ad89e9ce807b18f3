import { expect, test } from "bun:test";
import { runPushScenario } from "../callbacks/push-scenario.ts";
import { binary } from "../support/process-harness.ts";

/** A part of it for every change; `PUSH_KILLS=50` is 1,000 pushes and 50 kills. */
const KILLS = Number(process.env["PUSH_KILLS"] ?? 3);
const PUSHES_A_KILL = KILLS > 3 ? 20 : 10;

test(
  "P9: while the service is killed again and again, every push is answered rightly, and reaches each target",
  async () => {
    const report = await runPushScenario(binary(), { pushes: KILLS * PUSHES_A_KILL, kills: KILLS });
    const { answers, ...faults } = report;
    expect(faults).toEqual({ wrong: [], unanswered: [], missing: [] });
    expect(answers["reply"]).toBeGreaterThan(0);
    expect(answers["success"]).toBeGreaterThan(0);
  },
  180_000 + 20_000 * KILLS,
);
