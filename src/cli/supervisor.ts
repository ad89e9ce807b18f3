import type { Config } from "../config.ts";
import { reservePort } from "../http/server.ts";
import { prepareStore } from "../service.ts";
import { ownCommand } from "../service/own-process.ts";
import type { Snapshot } from "../ops/metrics.ts";
import { type ExitCode, stopSignal } from "./exit.ts";

/** How long the workers may take to stop: their own ten seconds, 1.5 for refreshes under way, and a little. */
const STOP_MS = 13_000;
const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5000;
/** A worker that lived so long was healthy; its next end is a new story. */
const HEALTHY_MS = 30_000;
/** How long the others have to tell their numbers when one of them is asked for the sum; Prometheus waits ten seconds. */
const SNAPSHOTS_MS = 2000;

/** What the supervisor runs. */
export interface SupervisorOptions {
  readonly workers: number;
  readonly config: Config;
  /** How the store is opened, before the workers do. */
  readonly store: Parameters<typeof prepareStore>[1];
  /** One line for the operator, when a worker ended and is started again. `cause` is a signal, or an exit code. */
  readonly onWorkerEnded: (index: number, cause: string) => void;
}

/**
 * Runs several worker processes on one port and one database, and restarts one that ends.
 *
 * The store is opened, migrated and given its key here, once, before any worker starts; so a start that can't succeed
 * fails with one line, as it does without workers.
 */
export async function superviseWorkers(options: SupervisorOptions): Promise<ExitCode> {
  const stopping = stopSignal();
  await prepareStore(options.config, options.store);
  const port = await reservePort(options.config);
  const pool = new WorkerPool(options, port);
  const outcome = await Promise.race([stopping.then(() => 0 as const), pool.start()]);
  await pool.stop();
  return outcome;
}

interface Worker {
  readonly process: Bun.Subprocess;
  readonly startedAt: number;
  isReady: boolean;
  /** The latest that it told. */
  snapshot?: Snapshot;
}

class WorkerPool {
  readonly #options: SupervisorOptions;
  readonly #port: number;
  readonly #workers = new Map<number, Worker>();
  readonly #failures = new Map<number, number>();
  readonly #collections = new Map<number, { left: Set<number>; finish: () => void }>();
  #nextCollection = 1;
  #isStopping = false;

  constructor(options: SupervisorOptions, port: number) {
    this.#options = options;
    this.#port = port;
  }

  /** Starts them all. Resolves only when one can't even start the first time: 1. */
  start(): Promise<ExitCode> {
    const { promise, resolve } = Promise.withResolvers<ExitCode>();
    for (let index = 0; index < this.#options.workers; index++) this.#spawn(index, () => resolve(1));
    return promise;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const processes = [...this.#workers.values()].map((worker) => worker.process);
    for (const each of processes) each.kill("SIGTERM");
    const timer = setTimeout(() => {
      for (const each of processes) each.kill("SIGKILL");
    }, STOP_MS);
    await Promise.allSettled(processes.map((each) => each.exited));
    clearTimeout(timer);
  }

  #spawn(index: number, onFirstFailure?: () => void): void {
    if (this.#isStopping) return;
    const { workers } = this.#options;
    const worker: Worker = {
      startedAt: performance.now(),
      isReady: false,
      process: Bun.spawn({
        cmd: [...ownCommand(), "worker", String(index), String(workers), String(this.#port)],
        stdio: ["ignore", "inherit", "inherit"],
        ipc: (message: FromWorker) => this.#receive(index, message),
        onExit: ({ signalCode }, exitCode) =>
          this.#ended(index, worker, String(signalCode ?? `exit code ${exitCode}`), onFirstFailure),
      }),
    };
    this.#workers.set(index, worker);
  }

  #ended(index: number, worker: Worker, cause: string, onFirstFailure?: () => void): void {
    this.#workers.delete(index);
    if (this.#isStopping) return;
    if (!worker.isReady && onFirstFailure) return onFirstFailure();
    this.#options.onWorkerEnded(index, cause);
    const wasHealthy = performance.now() - worker.startedAt > HEALTHY_MS;
    const failures = wasHealthy ? 0 : (this.#failures.get(index) ?? 0);
    this.#failures.set(index, failures + 1);
    setTimeout(() => this.#spawn(index), Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** failures));
  }

  #receive(index: number, message: FromWorker): void {
    const worker = this.#workers.get(index);
    if (message.type === "ready" && worker) worker.isReady = true;
    if (worker && "snapshot" in message) worker.snapshot = message.snapshot;
    if (message.type === "collect") this.#collect(index, message.id);
    if (message.type === "snapshot") {
      const collection = this.#collections.get(message.id);
      if (collection?.left.delete(index) && collection.left.size === 0) collection.finish();
    }
  }

  /**
   * Asks the other workers for their numbers, and sends everybody's to the one that wants the sum.
   *
   * Of one that does not answer in time the latest that it told counts: without it counters would go down, which
   * Prometheus takes for a restart.
   */
  #collect(asker: number, askersId: number): void {
    const id = this.#nextCollection++;
    const asked = [...this.#workers].filter(([index, worker]) => worker.isReady && index !== asker);
    const finish = () => {
      clearTimeout(timer);
      this.#collections.delete(id);
      const snapshots = [...this.#workers.values()].flatMap(({ snapshot }) => snapshot ?? []);
      this.#send(asker, { type: "snapshots", id: askersId, snapshots });
    };
    const timer = setTimeout(finish, SNAPSHOTS_MS);
    this.#collections.set(id, { left: new Set(asked.map(([index]) => index)), finish });
    for (const [index] of asked) this.#send(index, { type: "snapshot", id });
    if (asked.length === 0) finish();
  }

  #send(index: number, message: ToWorker): void {
    this.#workers.get(index)?.process.send(message);
  }
}

/** What a worker sends to the supervisor. */
export type FromWorker =
  /** It listens. */
  | { readonly type: "ready" }
  /** It tells its own numbers and wants those of all workers; the answer repeats `id`. */
  | { readonly type: "collect"; readonly id: number; readonly snapshot: Snapshot }
  /** Its own numbers, for the collection `id`. */
  | { readonly type: "snapshot"; readonly id: number; readonly snapshot: Snapshot };

/** What the supervisor sends to a worker. */
export type ToWorker =
  /** Asks for its numbers. */
  | { readonly type: "snapshot"; readonly id: number }
  /** The numbers of all workers. */
  | { readonly type: "snapshots"; readonly id: number; readonly snapshots: readonly Snapshot[] };
