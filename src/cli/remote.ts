import { isLoopback } from "../access/networks.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { usageError } from "./arguments.ts";
import { type ApiRequest, requestHeaders, type Transport } from "./api.ts";

const ANSWER_MS = 30_000;
/** How long a body may pause. */
const PAUSE_MS = 30_000;

/** A service on another machine, or in another process of this one. */
export class RemoteTransport implements Transport {
  readonly #origin: string;
  readonly #key: Secret | undefined;

  /** `origin` is one that `parseOrigin` has passed. */
  constructor(origin: string, key: Secret | undefined) {
    this.#origin = origin;
    this.#key = key;
  }

  async send(request: ApiRequest): Promise<Response> {
    const { method, path, body, timeoutMs = ANSWER_MS, signal } = request;
    const limit = new IdleLimit(timeoutMs);
    try {
      const response = await fetch(this.#origin + path, {
        method,
        headers: {
          ...requestHeaders(request),
          ...(this.#key ? { authorization: `Bearer ${this.#key.reveal()}` } : {}),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // A key must not follow a redirect to another host, and changes must not be sent twice on a closed connection.
        redirect: "manual",
        keepalive: false,
        // Only a proxy of the service's own is believed; one from the environment would see the key.
        proxy: false,
        signal: signal ? AbortSignal.any([limit.signal, signal]) : limit.signal,
      });
      return new Response(response.body && watched(response.body, limit, this.#origin), response);
    } catch (error) {
      throw unreachable(this.#origin, error);
    } finally {
      limit.stop();
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** What a program on this machine answered a push. */
export interface Forwarded {
  readonly status: number;
  readonly body: string;
}

/**
 * Posts a push to a program on this machine, or near it, which may take as long as it likes: somebody may be looking at it
 * in a debugger.
 *
 * @throws {ServiceError} `unavailable` when it does not answer.
 */
export async function forwardPush(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array<ArrayBuffer>,
): Promise<Forwarded> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { ...headers },
      body,
      redirect: "manual",
      keepalive: false,
      proxy: false,
    });
    return { status: response.status, body: await response.text() };
  } catch (error) {
    throw unreachable(new URL(url).origin, error);
  }
}

/**
 * The origin that `--url` names.
 *
 * @throws {ServiceError} `invalid_parameter` when it is none, or when a key would travel in the clear.
 */
export function parseOrigin(text: string, isClearAllowed: boolean): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  if (!url || !isWeb || url.pathname !== "/" || url.search || url.hash || url.username || url.password) {
    throw usageError(
      "--url: 应为http(s)地址，不带路径，如 https://token.example.com (must be an http(s) origin without a path)",
    );
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname) && !isClearAllowed) {
    throw usageError(
      "--url: http会明文传输密钥和token，请改用https，或加 --insecure-http (keys and tokens would travel in the clear: use https, or add --insecure-http)",
    );
  }
  return url.origin;
}

/** Aborts what has been silent for too long. */
class IdleLimit {
  readonly #controller = new AbortController();
  #timer: Timer;

  constructor(ms: number) {
    this.#timer = this.#start(ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(ms: number): void {
    this.stop();
    this.#timer = this.#start(ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #start(ms: number): Timer {
    return setTimeout(() => this.#controller.abort(new DOMException("silent", "TimeoutError")), ms);
  }
}

/** `body` as it comes, aborted when it pauses for too long. */
function watched(
  body: ReadableStream<Uint8Array>,
  limit: IdleLimit,
  origin: string,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream({
    async pull(controller) {
      limit.restart(PAUSE_MS);
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        controller.error(unreachable(origin, error));
      } finally {
        limit.stop();
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/** The message of fetch's own error contains nothing that was sent. */
function unreachable(origin: string, cause: unknown): ServiceError {
  const { name = "", code = "" } = cause as { name?: string; code?: string };
  if (name === "TimeoutError") {
    return new ServiceError("unavailable", `${origin} 未在时限内应答 (${origin} did not answer in time)`, {
      cause,
    });
  }
  return new ServiceError(
    "unavailable",
    `无法连接 ${origin}，请检查它是否在运行、地址和端口是否正确 (can't connect to ${origin}: ${code || name}; check that it runs, and its address and port)`,
    { cause },
  );
}
