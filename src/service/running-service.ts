import type { EventBus } from "../events.ts";
import type { HttpServer } from "../http/server.ts";
import type { Snapshot } from "../ops/metrics.ts";

/** How long a stop waits for what is under way. */
const STOP_MS = 10_000;

/** In the place of a server, for a service that only the command line asks. */
export const NO_SERVER: HttpServer = { url: "", drain: async () => undefined, close: async () => undefined };

/** A route by its method and its path, with `:name` for what varies. */
export type Route = Readonly<Record<"method" | "path", string>>;

/** A running service. */
export interface Service {
  readonly url: string;
  /** Every route that it has; of paths of WeChat's, `*` stands for any method, and at the end for any path. */
  readonly routes: readonly Route[];
  /** Does now what the refresher does every second. */
  tick(): Promise<void>;
  /** What this process has measured, for one text over all workers: see `mergeSnapshots`. */
  snapshot(): Promise<Snapshot>;
  /** Answers a request of this process itself, as an administrator: it holds the database and its key anyway. */
  handle(request: Request): Promise<Response>;
  /** Finishes what is under way (10 s at most), then gives the port and the database back. Idempotent. */
  stop(reason: string): Promise<void>;
}

/** What a running service does with its inner parts. */
export interface Inside {
  readonly routes: readonly Route[];
  /** Ends what runs by itself, and resolves when nothing is under way any more. */
  readonly finish: () => Promise<void>;
  readonly close: () => void;
  readonly tick: () => Promise<void>;
  readonly snapshot: () => Promise<Snapshot>;
  /** Answers a request of the command line on this machine, as an administrator. */
  readonly handle: (request: Request) => Promise<Response>;
}

/** A service that runs: stopping it is the one thing that it does itself. */
export class RunningService implements Service {
  readonly url: string;
  readonly #server: HttpServer;
  readonly #events: EventBus;
  readonly #inside: Inside;
  #stopped: Promise<void> | undefined;

  constructor(server: HttpServer, events: EventBus, inside: Inside) {
    this.url = server.url;
    this.#server = server;
    this.#events = events;
    this.#inside = inside;
  }

  get routes(): readonly Route[] {
    return this.#inside.routes;
  }

  tick(): Promise<void> {
    return this.#inside.tick();
  }

  snapshot(): Promise<Snapshot> {
    return this.#inside.snapshot();
  }

  handle(request: Request): Promise<Response> {
    return this.#inside.handle(request);
  }

  stop(reason: string): Promise<void> {
    this.#stopped ??= this.#stop(reason);
    return this.#stopped;
  }

  async #stop(reason: string): Promise<void> {
    this.#events.emit({ type: "service.stopping", reason });
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, STOP_MS);
    await Promise.race([this.#server.drain().then(this.#inside.finish), limit.promise]);
    clearTimeout(timer);
    await this.#server.close();
    this.#inside.close();
    this.#events.emit({ type: "service.stopped" });
  }
}
