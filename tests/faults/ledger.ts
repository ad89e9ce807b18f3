import { Glob } from "bun";
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
const LEDGER = join(ROOT, "dist/faults.jsonl");

/** How one case ended. */
export interface Result {
  readonly name: string;
  readonly verdict: "passed" | "failed" | "skipped";
  /** Figures, or what is wrong, or why it was skipped. */
  readonly detail: string;
  readonly seconds: number;
  /** Of the sources that were tested. */
  readonly sources: string;
  readonly at: string;
}

/**
 * The results so far, a JSON line each, so that a run that was broken off goes on where it stood.
 *
 * What passed with other sources counts for nothing.
 */
export class Ledger {
  readonly #sources: string;
  readonly #passed = new Map<string, Result>();

  private constructor(sources: string) {
    this.#sources = sources;
  }

  /** Reads what is there, or with `fresh` begins anew. */
  static open(fresh: boolean): Ledger {
    const ledger = new Ledger(digestOfSources());
    mkdirSync(dirname(LEDGER), { recursive: true });
    if (fresh) rmSync(LEDGER, { force: true });
    const lines = existsSync(LEDGER) ? readFileSync(LEDGER, "utf8").split("\n").filter(Boolean) : [];
    for (const line of lines) {
      const result = parse(line);
      if (result?.sources !== ledger.#sources) continue;
      if (result.verdict === "passed") ledger.#passed.set(result.name, result);
      else ledger.#passed.delete(result.name);
    }
    return ledger;
  }

  /** The result of a case that has passed already. */
  passed(name: string): Result | undefined {
    return this.#passed.get(name);
  }

  /** Writes a result down. */
  add(result: Omit<Result, "sources" | "at">): Result {
    const whole = { ...result, sources: this.#sources, at: new Date().toISOString() };
    appendFileSync(LEDGER, `${JSON.stringify(whole)}\n`);
    return whole;
  }
}

/** A line that was cut off when a run was killed is no result. */
function parse(line: string): Result | undefined {
  try {
    return JSON.parse(line) as Result;
  } catch {
    return undefined;
  }
}

function digestOfSources(): string {
  const hash = new Bun.CryptoHasher("sha256");
  const folders = ["src", "drizzle", "tests/cluster", "tests/faults", "tests/support"];
  const files = folders.flatMap((folder) =>
    [...new Glob("**/*").scanSync({ cwd: join(ROOT, folder) })].map((file) => join(folder, file)),
  );
  if (files.length === 0) throw new Error("there are no sources");
  for (const file of files.toSorted()) hash.update(`${file}\n`).update(readFileSync(join(ROOT, file)));
  return hash.digest("hex").slice(0, 16);
}
