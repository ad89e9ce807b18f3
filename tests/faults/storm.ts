import { type StormRound, stormRound } from "../binary/storm-round.ts";
import { WorkersHarness } from "../binary/workers-harness.ts";
import { type FaultCase, must, mustFail, type Outcome } from "./fault-case.ts";

const CALLERS = 10_000;
const ROUNDS_A_CASE = 10;
const CASES = 5;

/** A hundred storms of ten thousand callers without a token, half on two workers and half on four. */
export function stormCases(): FaultCase[] {
  const cases = [2, 4].flatMap((workers) =>
    Array.from({ length: CASES }, (_, part): FaultCase => {
      const [first, last] = [part * ROUNDS_A_CASE + 1, (part + 1) * ROUNDS_A_CASE];
      return { name: `storm: ${workers} workers, rounds ${first} to ${last}`, run: () => storms(workers) };
    }),
  );
  return [...cases, { name: "storm: control", run: control }];
}

async function storms(workers: number): Promise<Outcome> {
  // All come from one address, round after round, more than it is allowed otherwise.
  const env = { ANONYMOUS_RATE_LIMIT: "0" };
  await using at = await WorkersHarness.start({ workers, apps: ROUNDS_A_CASE, env });
  for (let round = 0; round < ROUNDS_A_CASE; round++) check(await stormRound(at, round, CALLERS), round);
  return { figures: `${ROUNDS_A_CASE} × ${CALLERS} callers, 1 upstream call and 1 token each` };
}

function check({ upstreamCalls, failures, tokens }: StormRound, round: number): void {
  must(failures.length === 0, `round ${round}: ${failures.length} answers were no success`);
  must(tokens.length === 1, `round ${round}: ${tokens.length} different tokens`);
  must(upstreamCalls === 1, `round ${round}: ${upstreamCalls} upstream calls`);
}

async function control(): Promise<Outcome> {
  const good: StormRound = { upstreamCalls: 1, failures: [], tokens: ["token"], wasTooSlow: false };
  const caught = [
    await mustFail("a second upstream call", () => check({ ...good, upstreamCalls: 2 }, 0)),
    await mustFail("a second token", () => check({ ...good, tokens: ["token", "another"] }, 0)),
    await mustFail("a failure", () => check({ ...good, failures: [{ code: 503 }] }, 0)),
  ];
  return { figures: caught.join("; ") };
}
