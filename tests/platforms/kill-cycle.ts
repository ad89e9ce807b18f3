import { Database } from "bun:sqlite";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Store } from "../../src/store/store.ts";
import { comesTrue, must, randomFrom } from "../faults/fault-case.ts";
import type { Child } from "../support/child.ts";
import type { PlatformProcesses } from "./platform-processes.ts";

/** How often the service is killed, and what makes the moments. */
export interface KillPlan {
  readonly kills: number;
  readonly seed: number;
  readonly program: readonly string[];
}

/**
 * The kill comes at a random moment of so many milliseconds from when something is done: at first; then the window grows
 * with each round in which most of it was cut off, and shrinks with each other, so that both are frequent.
 */
const FIRST_WINDOW_MS = 200;
const GROWTH = 1.15;
/** Longer than a code waits for its next attempt. */
const SETTLED_MS = 100_000;

/** What one round of a run does while the service runs, and what is compared when it does not. */
export interface Rounds {
  /** Begins everything of a round at once; each resolves with whether the service has answered to the end. */
  begin(url: string): Promise<boolean>[];
  /** Looks at the store while no process runs. Throws `Violation`. */
  check(store: Store, round: number): Promise<void>;
}

/** Kills one process after the other at random moments, each on what the one before has left. */
export async function killAgainAndAgain(
  world: PlatformProcesses,
  { kills, seed }: KillPlan,
  rounds: Rounds,
): Promise<{ readonly hits: number }> {
  const random = randomFrom(seed + 1);
  let hits = 0;
  let windowMs = FIRST_WINDOW_MS;
  for (let round = 0; round < kills; round++) {
    const { service, url } = await world.serve();
    const begun = rounds.begin(url);
    await kill(service, random() * windowMs);
    const answered = await Promise.all(begun);
    const cut = answered.filter((isAnswered) => !isAnswered).length;
    hits += cut > 0 ? 1 : 0;
    windowMs *= cut > answered.length / 2 ? GROWTH : 1 / GROWTH;
    world.sandbox.clearFaults();
    await look(world, (store) => rounds.check(store, round));
    endLeases(world);
  }
  return { hits };
}

/** Does something with the database, which is closed afterwards. */
export async function look<T>(world: PlatformProcesses, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await world.store();
  try {
    return await work(store);
  } finally {
    store.close();
  }
}

/** Kills a process `ms` milliseconds from now, and waits for its end. */
export async function kill(service: Child, ms = 0): Promise<void> {
  const at = performance.now() + ms;
  while (performance.now() < at) await nextTurn();
  service.signal("SIGKILL");
  await service.exited();
}

/** What killed processes have left open is free at once, and not half a minute later; none may run. */
export function endLeases({ databasePath }: PlatformProcesses): void {
  using database = new Database(databasePath);
  database.run("UPDATE credentials SET lease_expires_at = 0 WHERE lease_expires_at IS NOT NULL");
  database.run("UPDATE authorization_codes SET due_at = created_at WHERE state = 'waiting'");
}

/** Waits until no code is left that waits to be exchanged. */
export async function settled({ databasePath }: PlatformProcesses): Promise<void> {
  using database = new Database(databasePath, { readonly: true });
  const text = "SELECT account, attempts, error FROM authorization_codes WHERE state = 'waiting'";
  const waiting = () => JSON.stringify(database.query(text).all());
  const isSettled = async () => waiting() === "[]";
  must(await comesTrue(SETTLED_MS, isSettled), `codes are never exchanged: ${waiting()}`);
}
