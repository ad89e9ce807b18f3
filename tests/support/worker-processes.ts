import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Child } from "./child.ts";

/** A worker of `serve --workers`, found in the system's table of processes. */
export interface WorkerProcess {
  readonly pid: number;
  /** Its place among the workers, from 0. */
  readonly index: number;
}

/**
 * The worker processes of a supervisor that a test started.
 *
 * Use it with `await using`: it ends the supervisor and every worker, also those that a signal has stopped.
 */
export class WorkerProcesses {
  readonly #supervisor: Child;
  readonly #seen = new Map<number, WorkerProcess>();

  constructor(supervisor: Child) {
    this.#supervisor = supervisor;
  }

  /** Those that run now, by their place. One that was killed is still a child until it is collected. */
  running(): WorkerProcess[] {
    const found = processIds()
      .filter((pid) => statusOf(String(pid))?.parent === this.#supervisor.pid && isRunning(pid))
      .map((pid) => ({ pid, index: Number(commandOf(pid)[commandOf(pid).indexOf("worker") + 1]) }))
      .toSorted((a, b) => a.index - b.index);
    for (const worker of found) this.#seen.set(worker.pid, worker);
    return found;
  }

  /** Those that have been seen and still run, whoever their parent is by now. */
  left(): WorkerProcess[] {
    return [...this.#seen.values()].filter(({ pid }) => isRunning(pid) && commandOf(pid).includes("worker"));
  }

  /** Sends a signal to a worker that was seen. Throws for anything else: its number may be another process's by now. */
  signal(pid: number | undefined, signal: NodeJS.Signals): void {
    const worker = this.left().find((each) => each.pid === pid);
    if (!worker) throw new Error(`no worker has the number ${pid}`);
    process.kill(worker.pid, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.running();
    await this.#supervisor[Symbol.asyncDispose]();
    for (const { pid } of this.left()) this.signal(pid, "SIGKILL");
  }
}

/**
 * Whether the process runs, or is stopped by a signal; one that has ended and waits to be collected does not.
 *
 * Its first thread may have ended while another still holds its sockets, so every thread counts.
 */
export function isRunning(pid: number): boolean {
  return namesIn(`/proc/${pid}/task`).some((thread) => {
    const state = statusOf(`${pid}/task/${thread}`)?.state;
    return state !== undefined && state !== "Z" && state !== "X";
  });
}

/** How many sockets the process holds. */
export function socketsOf(pid: number): number {
  const folder = `/proc/${pid}/fd`;
  return namesIn(folder).filter((name) => linkOf(`${folder}/${name}`).startsWith("socket:")).length;
}

function processIds(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function statusOf(path: string): { state: string; parent: number } | undefined {
  const [, state = "", parent = ""] = /\) (\S) (\d+) /.exec(textOf(`/proc/${path}/stat`)) ?? [];
  return state === "" ? undefined : { state, parent: Number(parent) };
}

function commandOf(pid: number): string[] {
  return textOf(`/proc/${pid}/cmdline`).split("\0");
}

/** A process may end while it is looked at. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
