import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary } from "../support/process-harness.ts";
import { clockCases } from "./clocks.ts";
import { clusterCases } from "./cluster.ts";
import { damageCases } from "./damage.ts";
import { diskCases } from "./disk.ts";
import { eventCases } from "./events.ts";
import { fileCases } from "./files.ts";
import type { FaultCase, FaultOptions } from "./fault-case.ts";
import { killCases } from "./kill.ts";
import { Ledger, type Result } from "./ledger.ts";
import { platformCases } from "./platforms.ts";
import { powerCases } from "./power.ts";
import { stormCases } from "./storm.ts";
import { sweepCases } from "./sweeps.ts";
import { uploadCases } from "./uploads.ts";
import { upstreamCases } from "./upstream.ts";

const USAGE =
  "Usage: bun run test:faults [--fresh] [--cycles <n>] [--damages <n>] [--seeds <n>] [--only <text in the case's name>]";

/** Runs every case that has not passed yet, and prints a table of all; the exit code is 1 when one failed. */
async function main(args: readonly string[]): Promise<number> {
  const option = (name: string) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);
  const count = (name: string, byDefault: number) => Number(option(name) ?? byDefault);
  const [cycles, damages, seeds] = [count("--cycles", 1000), count("--damages", 200), count("--seeds", 200)];
  if (args.includes("--help") || !(cycles > 0) || !(damages > 0) || !(seeds > 0)) {
    console.error(USAGE);
    return 2;
  }
  const only = option("--only") ?? "";
  // Somebody may build again while this runs; the whole run is about one program.
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-faults-"));
  const program = join(folder, "accesstoken");
  copyFileSync(binary()[0] ?? "", program);
  try {
    const cases = casesOf({ cycles, damages, seeds, program: [program] }).filter(({ name }) =>
      name.includes(only),
    );
    const results = await runAll(cases, Ledger.open(args.includes("--fresh")));
    console.log(asTable(results));
    return results.some(({ verdict }) => verdict === "failed") ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function casesOf(options: FaultOptions): FaultCase[] {
  return [
    killCases,
    platformCases,
    stormCases,
    upstreamCases,
    diskCases,
    fileCases,
    powerCases,
    damageCases,
    clockCases,
    uploadCases,
    eventCases,
    sweepCases,
    clusterCases,
  ].flatMap((cases) => cases(options));
}

async function runAll(cases: readonly FaultCase[], ledger: Ledger): Promise<Result[]> {
  const results: Result[] = [];
  for (const [index, each] of cases.entries()) {
    const known = ledger.passed(each.name);
    const result = known ?? ledger.add(await runOne(each));
    results.push(result);
    if (!known) console.error(`${index + 1}/${cases.length} ${asLine(result)}`);
  }
  return results;
}

async function runOne({ name, run }: FaultCase): Promise<Omit<Result, "sources" | "at">> {
  const startedAt = performance.now();
  const ended = (verdict: Result["verdict"], detail: string) => {
    const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
    return { name, verdict, detail: detail.replaceAll("\n", " ⏎ ").slice(0, 2000), seconds };
  };
  try {
    const outcome = await run();
    return "skipped" in outcome ? ended("skipped", outcome.skipped) : ended("passed", outcome.figures);
  } catch (error) {
    return ended("failed", error instanceof Error ? error.message : String(error));
  }
}

function asLine({ name, verdict, seconds, detail }: Result): string {
  return `${verdict.padEnd(8)} ${name.padEnd(44)} ${seconds.toFixed(1).padStart(6)} s  ${detail}`;
}

function asTable(results: readonly Result[]): string {
  const of = (verdict: Result["verdict"]) => results.filter((each) => each.verdict === verdict).length;
  const sum = `${of("passed")} passed, ${of("failed")} failed, ${of("skipped")} skipped`;
  return [...results.map(asLine), sum].join("\n");
}

// A server that cases share would keep this process.
process.exit(await main(process.argv.slice(2)));
