import { closeSync, openSync } from "node:fs";
import type { RequestSocket } from "../api/face.ts";
import { envelopeResponse, newTraceId } from "../api/answer.ts";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError, systemCodeOf } from "../errors.ts";

/**
 * How long a body may take, its handler included, even one that comes byte by byte. For a connection's first head Bun has
 * a limit of its own, some twelve seconds in all.
 */
const BODY_SECONDS = 30;
/** A load balancer that keeps connections for 60 s must not find one closed that it sends a request on. */
const KEEP_ALIVE_SECONDS = 75;

/** A listening HTTP server. */
export interface HttpServer {
  /** As a browser on this machine would write it. */
  readonly url: string;
  /** Stops listening and resolves when every answer under way is sent. */
  drain(): Promise<void>;
  /** Closes everything at once. */
  close(): Promise<void>;
}

/** Where to listen. */
export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** Whether other processes of ours listen on the same port; the system then shares the connections out. */
  readonly isShared?: boolean;
  /** How long a body may take, in seconds; default 30. */
  readonly bodySeconds?: number;
  /**
   * How long a connection may wait for the whole next head, and a handler without a body may work, in seconds, at most
   * 255; default 75.
   */
  readonly keepAliveSeconds?: number;
  /** The certificate and its key, in PEM, for HTTPS. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Whose connection it is, by the port of the other end; default the other end's address. */
  readonly addressOf?: (port: number) => string | undefined;
  /** Called when no connections are accepted for want of descriptors, and when they are again. */
  readonly onPaused?: (isPaused: boolean) => void;
}

/** Answers one request. */
export type Serve = (request: Request, socket: RequestSocket) => Response | Promise<Response>;

/**
 * Has `serve` answer on a port; 0 lets the system choose one.
 *
 * @throws {ServiceError} `invalid_config` when the port is taken or the address is not ours.
 */
export function listen(serve: Serve, options: ListenOptions): HttpServer {
  try {
    return new Listener(serve, options);
  } catch (error) {
    throw cannotListen(error, options.host, options.port);
  }
}

/** How often it is looked whether descriptors are left, in milliseconds. */
const LOOK_MS = 250;
/** So many must be left, for database and upstream too; and so many before connections are accepted again. */
const MIN_DESCRIPTORS = 8;
const ENOUGH_DESCRIPTORS = 32;

/**
 * Listens while there are descriptors for more connections.
 *
 * At the limit the system refuses to accept a connection and offers it again at once, for ever, which takes a whole core.
 * So the port is closed, idle connections with it, and opened again when there is room; requests under way go on.
 */
class Listener implements HttpServer {
  readonly url: string;
  readonly #serve: Serve;
  readonly #options: ListenOptions;
  /** Undefined while no connections are accepted. */
  #current: Bun.Server<undefined> | undefined;
  /** Those that accept none any more, until their connections have ended. */
  readonly #former = new Map<Bun.Server<undefined>, Promise<void>>();
  readonly #timer: Timer;

  constructor(serve: Serve, options: ListenOptions) {
    this.#serve = serve;
    const server = this.#bind(options);
    this.#current = server;
    this.#options = { ...options, port: server.port ?? options.port };
    this.url = server.url.origin;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  async drain(): Promise<void> {
    clearInterval(this.#timer);
    this.#retire();
    await Promise.all(this.#former.values());
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#retire();
    await Promise.all([...this.#former.keys()].map((server) => server.stop(true)));
  }

  #bind({ host, port, isShared = false, ...more }: ListenOptions) {
    const { bodySeconds = BODY_SECONDS, keepAliveSeconds = KEEP_ALIVE_SECONDS, tls, addressOf } = more;
    return Bun.serve({
      hostname: host,
      port,
      ...(tls && { tls }),
      reusePort: isShared,
      idleTimeout: keepAliveSeconds,
      // Bodies are bounded where they are read; Bun's own refusal would come without an envelope.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch: (request, server) => {
        let isTimed = request.body !== null;
        if (isTimed) server.timeout(request, bodySeconds);
        const finish = (response: Response): Response => {
          // A time-out that is set stays with the connection.
          if (isTimed) server.timeout(request, keepAliveSeconds);
          if (server !== this.#current) response.headers.set("connection", "close");
          return response;
        };
        const giveTime = (seconds: number) => {
          // What was given holds for the answer's body too.
          isTimed = false;
          server.timeout(request, seconds);
        };
        const peer = () => {
          const found = server.requestIP(request);
          return (found && addressOf ? addressOf(found.port) : found?.address) ?? "";
        };
        const answer = this.#serve(request, { peer, giveTime });
        return answer instanceof Promise ? answer.then(finish) : finish(answer);
      },
      error: (error) => envelopeResponse(failureEnvelope(error, newTraceId())),
    });
  }

  #look(): void {
    if (this.#current && !areFree(MIN_DESCRIPTORS)) {
      this.#retire();
      this.#options.onPaused?.(true);
    } else if (!this.#current && areFree(ENOUGH_DESCRIPTORS)) {
      try {
        this.#current = this.#bind(this.#options);
        this.#options.onPaused?.(false);
      } catch {
        // Whatever has the port just now, the next look tries again.
      }
    }
  }

  #retire(): void {
    const server = this.#current;
    this.#current = undefined;
    if (server)
      this.#former.set(
        server,
        server.stop().finally(() => this.#former.delete(server)),
      );
  }
}

/** Whether so many descriptors can be opened. */
function areFree(count: number): boolean {
  const opened: number[] = [];
  try {
    while (opened.length < count) opened.push(openSync("/dev/null", "r"));
    return true;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    return code !== "EMFILE" && code !== "ENFILE";
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}

/**
 * The port that several processes can share, chosen by the system for 0.
 *
 * A shared bind does not fail when another program has the port, so it is bound exclusively first.
 *
 * @throws {ServiceError} `invalid_config` as `listen`.
 */
export async function reservePort({ host, port }: ListenOptions): Promise<number> {
  try {
    const server = Bun.serve({ hostname: host, port, fetch: () => new Response(null, { status: 503 }) });
    const chosen = server.port ?? port;
    await server.stop(true);
    return chosen;
  } catch (error) {
    throw cannotListen(error, host, port);
  }
}

/** Why a port can't be listened on, with the variable that is to blame. */
export function cannotListen(error: unknown, host: string, port: number): ServiceError {
  const code = systemCodeOf(error);
  if (code === "EADDRINUSE") {
    return new ServiceError(
      "invalid_config",
      `PORT: 端口${port}已被占用，请停止占用它的程序，或用PORT换一个（demo、sandbox用--port） (port ${port} is in use; stop the other program, or choose another by PORT, or for demo and sandbox by --port)`,
    );
  }
  if (code === "EACCES") {
    return new ServiceError(
      "invalid_config",
      `PORT: 当前用户不能监听端口${port}，请换用1024以上的端口，或授予CAP_NET_BIND_SERVICE (this user may not listen on port ${port}: choose one from 1024 on, or grant CAP_NET_BIND_SERVICE)`,
    );
  }
  if (code === "EADDRNOTAVAIL") {
    return new ServiceError(
      "invalid_config",
      `HOST: ${host} 不是本机的地址 (${host} is no address of this machine; 0.0.0.0 or :: listens on all)`,
    );
  }
  if (code === "EINVAL") {
    return new ServiceError(
      "invalid_config",
      `HOST: 无法解析 ${host}，请填写本机的地址 (${host} can't be resolved: give an address of this machine)`,
    );
  }
  return new ServiceError(
    "invalid_config",
    `HOST: 无法监听 ${host}:${port} (can't listen on ${host}:${port}: ${code})`,
  );
}
