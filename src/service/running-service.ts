import { setImmediate as nextTurn } from "node:timers/promises";
import type { CredentialManager } from "../credentials/manager.ts";
import type { Renewal } from "../credentials/renewal.ts";
import type { EventBus, StartedEvent } from "../events.ts";
import type { HttpServer } from "../http/server.ts";
import type { Snapshot } from "../ops/metrics.ts";
import type { Store } from "../store/store.ts";
import { VERSION } from "../version.ts";

/** How long a closing service waits for refreshes under way. */
const REFRESHES_MS = 1500;

/** A route by its method and its path, with `:name` for what varies. */
export type Route = Readonly<Record<"method" | "path", string>>;

/** A background task. `stop` may be called twice: the second call flushes what was counted since. */
interface Background {
  start?(): void | Promise<void>;
  stop(): void | Promise<void>;
}

/** A wired service: its store is open, and nothing runs yet. */
export interface ServiceParts {
  readonly store: Store;
  readonly events: EventBus;
  readonly credentials: Pick<CredentialManager, "settle">;
  readonly renewal: Background & Pick<Renewal, "tick">;
  readonly background: readonly Background[];
  /** Its routes; for WeChat's paths, `*` means any method, and any rest of a path. */
  readonly routes: readonly Route[];
  readonly listen: () => HttpServer;
  /** What the log says of a start beside address and version. */
  readonly startFacts: () => Pick<StartedEvent, "apps" | "names" | "anonymous" | "docs" | "connectProxy">;
  /** Called with where it listens, once it does: while nobody manages it, tells how to begin. */
  readonly offerSetup: (url: string) => Promise<void>;
  readonly snapshot: () => Promise<Snapshot>;
  /** Answers a request of this process itself, as an administrator. */
  readonly handle: (request: Request) => Promise<Response>;
  /** Called when a stop begins. */
  readonly stopping: () => void;
  readonly stopMs: number;
}

/**
 * Starts a wired service: background tasks first, then the port.
 *
 * @throws What a part or the port throws; then nothing is left open.
 */
export async function start(parts: ServiceParts): Promise<Service> {
  const service = new RunningService(parts);
  try {
    await service.start();
    return service;
  } catch (error) {
    await service.close();
    throw error;
  }
}

/** A started service. */
export type Service = Omit<RunningService, "start" | "close">;

/** A wired service that runs between `start` and `stop`. One that is not started answers `handle` alone. */
export class RunningService {
  readonly #parts: ServiceParts;
  #server: HttpServer | undefined;
  #stopped: Promise<void> | undefined;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  /** Where it listens; empty while it does not. */
  get url(): string {
    return this.#server?.url ?? "";
  }

  /** See `ServiceParts.routes`. */
  get routes(): readonly Route[] {
    return this.#parts.routes;
  }

  /** Runs due renewals now. */
  tick(): Promise<void> {
    return this.#parts.renewal.tick();
  }

  /** The metrics of this process; `mergeSnapshots` merges those of all workers. */
  snapshot(): Promise<Snapshot> {
    return this.#parts.snapshot();
  }

  /** Answers a request of this process itself, as an administrator: it holds the database and its key anyway. */
  handle(request: Request): Promise<Response> {
    return this.#parts.handle(request);
  }

  /** As `start` of this module, but what it opened stays open when it throws. */
  async start(): Promise<void> {
    const { background, renewal, events } = this.#parts;
    for (const part of [...background, renewal]) await part.start?.();
    this.#server = this.#parts.listen();
    // The binary begins with a patient JIT compiler: most code of a start runs once.
    Bun.unsafe.setJITPolicy(1);
    const { docs, ...facts } = this.#parts.startFacts();
    const page = docs.startsWith("/") ? this.url + docs : docs;
    events.emit({ type: "service.started", url: this.url, version: VERSION, ...facts, docs: page });
    // Who can't have a link now can still ask for one.
    await this.#parts.offerSetup(this.url).catch(() => undefined);
  }

  /**
   * Stops accepting requests, flushes what was counted, and waits up to 10 s for the answers under way; longer ones are
   * cut off. Then waits for refreshes as `close` does, flushes again and closes the port and the database. Idempotent.
   */
  stop(reason: string): Promise<void> {
    this.#stopped ??= this.#stop(reason);
    return this.#stopped;
  }

  /**
   * Closes everything, also after a failed start. Waits for refreshes under way, 1.5 s at most: what WeChat is issuing is
   * stored. Never throws.
   */
  async close(): Promise<void> {
    await this.#server?.close().catch(() => undefined);
    // An answer that is cut off is counted in the next turn.
    await nextTurn();
    await atMost(REFRESHES_MS, this.#parts.credentials.settle());
    await this.#settle();
    this.#parts.store.close();
  }

  async #stop(reason: string): Promise<void> {
    const { events, credentials, stopMs } = this.#parts;
    events.emit({ type: "service.stopping", reason });
    this.#parts.stopping();
    const drained = this.#server?.drain();
    // First: the process may be killed while it waits for requests.
    const settled = this.#settle();
    const finished = Promise.all([drained, settled]).then(() => credentials.settle());
    await atMost(stopMs, finished);
    await this.close();
    events.emit({ type: "service.stopped" });
  }

  /** Stops the background tasks, which flush what they counted. Never throws. */
  async #settle(): Promise<void> {
    const { background, renewal } = this.#parts;
    await Promise.allSettled([...background, renewal].map(async (part) => part.stop()));
  }
}

/** Waits for `work`, but no longer than `ms` milliseconds. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const limit = Promise.withResolvers<void>();
  const timer = setTimeout(limit.resolve, ms);
  await Promise.race([work, limit.promise]);
  clearTimeout(timer);
}
