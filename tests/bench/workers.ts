import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compiled } from "./compiled.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { type KeyedService, startKeyedService } from "./keyed-service.ts";
import { loadInTurn, ratios } from "./load.ts";

/** Often enough to tell apart what two workers write each second. */
const LOOK_MS = 100;
const WORKERS = ["--workers", "2"];

/** Warm reads at two workers that write their counts down every second, in turn with two that write nothing down. */
export async function twoWorkers(effort: Effort): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-bench-"));
  using cleanup = new DisposableStack();
  cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
  await using flushing = await startKeyedService({ args: WORKERS });
  const program = await compiled("rare-flushes.ts", folder);
  await using still = await startKeyedService({ args: WORKERS, program });
  using flushes = new CommitWatch(flushing);
  using none = new CommitWatch(still);
  // How the system spreads connections over workers differs from burst to burst.
  const pairs = effort.pairs * 2;
  const targets = { flushing: flushing.read, still: still.read };
  const of = await loadInTurn("two workers", targets, { ...effort, pairs });
  const seconds = pairs * effort.seconds;
  console.error(`two workers: ${flushes.count} commits seen beside flushes, ${none.count} without`);
  if (flushes.count < seconds || none.count > flushes.count / 5)
    throw new Error("the one wrote too little down, or the other too much, for a comparison");
  return [
    {
      name: "2 workers: p99 of warm reads beside audit flushes / without",
      unit: "×",
      values: ratios(of.flushing, of.still, "p99Ms"),
      target: { atMost: 1.2 },
    },
    {
      name: "2 workers: throughput beside audit flushes / without",
      unit: "×",
      values: ratios(of.flushing, of.still, "requestsPerSecond"),
    },
  ];
}

/** Counts the commits that are seen from outside. */
class CommitWatch implements Disposable {
  readonly #database: Database;
  readonly #timer: Timer;
  #version: number;
  count = 0;

  constructor({ folder }: KeyedService) {
    this.#database = new Database(join(folder, "data", "accesstoken.db"), { readonly: true });
    this.#version = this.#read();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#database.close();
  }

  #look(): void {
    const version = this.#read();
    if (version !== this.#version) this.count += 1;
    this.#version = version;
  }

  #read(): number {
    return this.#database.query<{ data_version: number }, []>("PRAGMA data_version").get()?.data_version ?? 0;
  }
}
