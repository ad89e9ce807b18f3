import { expect, test } from "bun:test";
import { type PushScenario, runPushScenario } from "../callbacks/push-scenario.ts";
import { PostgresServer, postgresTest } from "../support/postgres-server.ts";
import { binary } from "../support/process-harness.ts";

/** A part of it for every change; `PUSH_KILLS=50` is 1,000 pushes and 50 kills. */
const KILLS = Number(process.env["PUSH_KILLS"] ?? 3);
const PUSHES_A_KILL = KILLS > 3 ? 20 : 10;
const LIMIT_MS = 180_000 + 20_000 * KILLS;

async function killed(wanted: Partial<PushScenario> = {}): Promise<void> {
  const scenario = { pushes: KILLS * PUSHES_A_KILL, kills: KILLS, ...wanted };
  const { answers, ...faults } = await runPushScenario(binary(), scenario);
  expect(faults).toEqual({ wrong: [], unanswered: [], missing: [] });
  expect(answers["reply"]).toBeGreaterThan(0);
  expect(answers["success"]).toBeGreaterThan(0);
}

test(
  "P9: while the service is killed again and again, every push is answered rightly, and reaches each target",
  () => killed(),
  LIMIT_MS,
);

postgresTest(
  "P9: so it is while one of two nodes on PostgreSQL after the other is killed, and WeChat repeats its pushes at the other",
  async () => killed({ databaseUrl: await (await PostgresServer.shared()).createDatabase() }),
  LIMIT_MS,
);
