/** What a case found: in order, or not to be had on this machine and why. Anything else is thrown. */
export type Outcome = { readonly figures: string } | { readonly skipped: string };

/** One row of the table. */
export interface FaultCase {
  /** Unique; under this name its result is kept. */
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

/** What the command line sets. */
export interface FaultOptions {
  /** How often a process is killed, in all. */
  readonly cycles: number;
  /** How many damaged databases are started with. */
  readonly damages: number;
  /** How many seeds make a plan of what goes wrong with a cluster. */
  readonly seeds: number;
  /** The program, as a command. */
  readonly program: readonly string[];
}

/** What makes a case fail. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Throws a violation unless `condition` holds. */
export function must(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Violation(otherwise);
}

/**
 * A control: a check is fed with what it exists to find, and must find it.
 *
 * @throws {Violation} when it finds nothing, so that everything it let pass is worth nothing.
 */
export async function mustFail(what: string, check: () => Promise<unknown> | void): Promise<string> {
  try {
    await check();
  } catch (error) {
    if (error instanceof Violation) return `${what} → ${error.message}`;
    throw error;
  }
  throw new Violation(`the check let this pass: ${what}`);
}

/** Polls until `condition` holds; false when that takes longer than `ms` milliseconds. */
export async function comesTrue(ms: number, condition: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + ms; !(await condition()); await Bun.sleep(50)) {
    if (performance.now() > end) return false;
  }
  return true;
}

/** A sequence of numbers in [0, 1) that is the same for the same seed, so that a failure can be had again. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
