import { Worker } from "node:worker_threads";
import { systemClock } from "../../../src/clock.ts";
import { rotateMasterKey } from "../../../src/store/sqlite/rotate-master-key.ts";
import { KILL_AFTER, type KillAfter } from "./kill-after.ts";

/**
 * A program that changes the master key and kills itself at a given point of it, whatever it is doing just then.
 *
 * Its arguments: the database, the key file, a step with its number, as `encrypting 1` or `written 1`, and how many
 * microseconds after it the signal comes; with 0, at once. `started 1` is before the first step.
 */
export const ROTATE = import.meta.path;

async function rotate([path = "", masterKeyFile = "", point, delay]: string[]): Promise<void> {
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const delayUs = Number(delay);
  if (delayUs > 0) {
    const killer = new Worker(KILL_AFTER, { workerData: { gate, delayUs } satisfies KillAfter });
    await new Promise((resolve) => killer.once("message", resolve));
  }
  const counts = new Map<string, number>();
  const pass = (step: string) => {
    const count = (counts.get(step) ?? 0) + 1;
    counts.set(step, count);
    if (`${step} ${count}` !== point) return;
    if (delayUs === 0) process.kill(process.pid, "SIGKILL");
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
  };
  pass("started");
  await rotateMasterKey({
    path,
    masterKey: undefined,
    masterKeyFile,
    newKeyFile: undefined,
    clock: systemClock,
    graceMs: 5,
    onProgress: ({ step }) => pass(step),
  });
  process.exit(0);
}

if (import.meta.main) await rotate(process.argv.slice(2));
