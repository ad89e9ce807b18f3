import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "../faults/fault-case.ts";
import { violationsOf } from "./nemesis-checker.ts";
import { asLines, type HistoryEvent } from "./nemesis-history.ts";
import { planOf } from "./nemesis-plan.ts";
import { CUT_OFF_MS, type NemesisOptions, NemesisRun } from "./nemesis-run.ts";

const PROMISES = { seenMs: 1200, cutOffMs: CUT_OFF_MS, notReadyMs: 5000 };
const FOLDER = join(import.meta.dir, "../../dist");

/**
 * N16: everything at once goes wrong with a cluster, as a seed has it, while its tokens are read, cleared and replaced.
 *
 * What came of it is checked for M1 to M3. The history of a run that failed is kept in `dist/`.
 *
 * @throws {Violation} with what contradicts them.
 */
export async function nemesis(seed: number, options: NemesisOptions): Promise<string> {
  const { ms, nodes, apps } = options;
  await using run = await NemesisRun.start(planOf(seed, { ms, nodes, apps }), options);
  const isHealed = await run.all();
  const { history } = run;
  const violations = violationsOf(history, PROMISES);
  if (violations.length > 0) {
    const path = join(FOLDER, `nemesis-${seed}.jsonl`);
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(path, asLines(history));
    must(false, `${violations.length} × with seed ${seed} (${path}): ${violations.slice(0, 5).join("; ")}`);
  }
  must(isHealed, `with seed ${seed} the nodes do not agree in the end`);
  return figuresOf(history);
}

function figuresOf(history: readonly HistoryEvent[]): string {
  const count = (isOne: (event: HistoryEvent) => boolean) => history.filter(isOne).length;
  const reads = count((event) => event.type === "read" && event.token !== undefined);
  const changes = count((event) => event.type === "change" && event.code === 0);
  const calls = count(({ type }) => type === "call");
  const faults = count(({ type }) => type === "fault");
  must(
    reads > 0 && changes > 0 && calls > 0 && faults > 0,
    `${reads} reads, ${changes} changes, ${calls} calls`,
  );
  return `${faults} faults, ${reads} tokens read, ${changes} changes done, ${calls} upstream calls`;
}
