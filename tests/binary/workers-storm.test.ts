import { expect, test } from "bun:test";
import { stormRound } from "./storm-round.ts";
import { WorkersHarness } from "./workers-harness.ts";

/** How many callers come at once in each round. A hundred rounds are in the nightly suite. */
const ROUNDS = [10_000, 2000, 2000, 2000, 2000];
/** Each round needs one; and as many again, for a machine too slow for so many callers. */
const APPS = 100;
const MIN_CALLERS = 100;

test.each([2, 4])(
  "P1: ten thousand cold requests to %d workers cost one upstream call, and all get its token",
  async (workers) => {
    const env = { ANONYMOUS_RATE_LIMIT: "0" };
    await using at = await WorkersHarness.start({ workers, apps: APPS, env });
    let app = 0;
    for (let callers of ROUNDS) {
      let round = await stormRound(at, app++, callers);
      while (round.failures.length > 0 && round.wasTooSlow && callers > MIN_CALLERS)
        round = await stormRound(at, app++, (callers /= 2));
      const { upstreamCalls, failures, tokens } = round;
      expect(failures).toEqual([]);
      expect(tokens).toHaveLength(1);
      expect(at.sandbox.accepts(String(tokens[0]))).toBe(true);
      expect(upstreamCalls).toBe(1);
    }
  },
);
