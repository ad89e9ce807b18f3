import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Delivery } from "./fault.ts";
import type { SandboxRequest } from "./sandbox-request.ts";

const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** Answers one request, or says how the connection breaks. */
export type RequestHandler = (request: SandboxRequest) => Promise<Delivery>;

/**
 * One HTTP server on loopback.
 *
 * It is `node:http` because faults need the socket: `Bun.serve` can't reset a connection and always says where a
 * body ends.
 */
export class HttpServer {
  /** Where it listens, as `http://127.0.0.1:12345`. */
  readonly url: string;
  readonly #server: Server;

  /**
   * Listens on `port` of 127.0.0.1; 0 is any free one.
   *
   * @throws {Error} when the port is in use.
   */
  constructor(port: number, handle: RequestHandler) {
    this.#server = createServer((incoming, outgoing) => {
      void serve(incoming, outgoing, handle);
    });
    // A kept connection that the server closes just when the next request comes would look like a fault.
    this.#server.keepAliveTimeout = 0;
    this.#server.requestTimeout = 0;
    this.#server.headersTimeout = 0;
    this.#server.timeout = 0;
    this.#server.on("error", () => {
      // It is reported below, by the address that is then missing.
    });
    this.#server.listen(port, "127.0.0.1");
    const address = this.#server.address();
    if (address === null || typeof address === "string") {
      throw new Error(`the sandbox can't listen on 127.0.0.1:${port}`);
    }
    this.url = `http://127.0.0.1:${address.port}`;
  }

  /** Closes the server and every connection at once. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    await closed;
  }
}

async function serve(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  handle: RequestHandler,
): Promise<void> {
  try {
    deliver(await handle(await read(incoming)), incoming, outgoing);
  } catch {
    // A body that broke off or is too large, or a defect of the sandbox: no platform answers like this.
    if (!outgoing.headersSent) outgoing.writeHead(500, { "Content-Length": "0" });
    outgoing.end();
  }
}

async function read(incoming: IncomingMessage): Promise<SandboxRequest> {
  const target = incoming.url ?? "/";
  const mark = target.indexOf("?");
  return {
    method: incoming.method ?? "GET",
    path: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? "" : target.slice(mark + 1)),
    headers: incoming.headers,
    body: await readBody(incoming),
    peerIp: incoming.socket.remoteAddress?.replace("::ffff:", "") ?? "",
  };
}

async function readBody(incoming: IncomingMessage): Promise<Uint8Array> {
  const { "content-length": length, "transfer-encoding": encoding } = incoming.headers;
  if (encoding === undefined && (length === undefined || length === "0")) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new RangeError("the body is too large for the sandbox");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function deliver(delivery: Delivery, incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (delivery.how === "reset") {
    incoming.socket.resetAndDestroy();
    return;
  }
  const { status, headers, body } = delivery.answer;
  if (delivery.how === "close_delimited") {
    outgoing.shouldKeepAlive = false;
    outgoing.useChunkedEncodingByDefault = false;
    outgoing.writeHead(status, { ...headers, Connection: "close" });
    outgoing.write(body);
    outgoing.end();
    return;
  }
  outgoing.writeHead(status, { ...headers, "Content-Length": Buffer.byteLength(body) });
  outgoing.end(body);
}
