import type { RequestSocket } from "../api/face.ts";
import { envelopeResponse, newTraceId } from "../api/answer.ts";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";

/**
 * A socket that says nothing for so long is closed; also how long a handler may work without an answer, and how long a
 * body may take, even one that comes byte by byte. For a head Bun has a limit of its own, some twelve seconds in all.
 */
const IDLE_TIMEOUT_SECONDS = 30;

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
  /** How long a socket may say nothing and a body may take, in seconds; default 30. */
  readonly idleSeconds?: number;
}

/**
 * Has `serve` answer on a port; 0 lets the system choose one.
 *
 * @throws {ServiceError} `invalid_config` when the port is taken or the address is not ours.
 */
export function listen(
  serve: (request: Request, socket: RequestSocket) => Response | Promise<Response>,
  options: ListenOptions,
): HttpServer {
  const { host, port, isShared = false, idleSeconds = IDLE_TIMEOUT_SECONDS } = options;
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      reusePort: isShared,
      idleTimeout: idleSeconds,
      // Bodies are bounded where they are read; Bun's own refusal would come without an envelope.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch: (request) => serve(request, socketOf(request)),
      error: (error) => envelopeResponse(failureEnvelope(error, newTraceId())),
    });
    const socketOf = (request: Request): RequestSocket => ({
      peer: () => server.requestIP(request)?.address ?? "",
      giveTime: (seconds) => server.timeout(request, seconds),
    });
    return { url: server.url.origin, drain: () => server.stop(), close: () => server.stop(true) };
  } catch (error) {
    throw cannotListen(error, host, port);
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
  const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
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
      `HOST: ${host} 不是本机的地址 (is no address of this machine; 0.0.0.0 or :: listens on all)`,
    );
  }
  if (code === "EINVAL") {
    return new ServiceError(
      "invalid_config",
      `HOST: 无法解析 ${host}，请填写本机的地址 (can't be resolved: give an address of this machine)`,
    );
  }
  return new ServiceError("invalid_config", `HOST: 无法监听 ${host}:${port} (can't listen: ${code})`);
}
