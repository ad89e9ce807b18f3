import { parentPort, workerData } from "node:worker_threads";

/**
 * A thread that kills its process `delayUs` after its `gate` is opened, in the midst of whatever the process does. It
 * says when it waits.
 *
 * It imports nothing of ours, because it is started for every kill.
 */
export const KILL_AFTER = import.meta.path;

/** What the thread is given. */
export interface KillAfter {
  readonly gate: Int32Array;
  readonly delayUs: number;
}

if (parentPort) {
  const { gate, delayUs } = workerData as KillAfter;
  parentPort.postMessage("ready");
  Atomics.wait(gate, 0, 0);
  for (const end = performance.now() + delayUs / 1000; performance.now() < end;);
  process.kill(process.pid, "SIGKILL");
}
