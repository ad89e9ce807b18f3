import { expect, test } from "bun:test";
import { stormRound } from "./storm-round.ts";
import { WorkersHarness } from "./workers-harness.ts";

/** How many callers come at once in each round. A hundred rounds are in the nightly suite. */
const ROUNDS = [10_000, 2000, 2000, 2000, 2000];

test.each([2, 4])(
  "P1: ten thousand cold requests to %d workers cost one upstream call, and all get its token",
  async (workers) => {
    await using at = await WorkersHarness.start({ workers, apps: ROUNDS.length });
    for (const [round, callers] of ROUNDS.entries()) {
      const { upstreamCalls, failures, tokens } = await stormRound(at, round, callers);
      expect(failures).toEqual([]);
      expect(tokens).toHaveLength(1);
      expect(at.sandbox.accepts(String(tokens[0]))).toBe(true);
      expect(upstreamCalls).toBe(1);
    }
  },
);
