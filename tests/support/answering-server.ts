import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** One request as it came over the wire. */
export interface ArrivedRequest {
  /** The number of the connection that it came over, from 0. */
  readonly connection: number;
  readonly text: string;
  readonly socket: Socket;
}

/** Says what is written to the socket for a request; it may also destroy the socket, or never answer. */
export type Responder = (request: ArrivedRequest) => void;

/** An HTTP/1.1 answer with a matching length. */
export function httpAnswer(
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  status = 200,
): Uint8Array {
  const bytes = Buffer.from(body);
  const all = { "Content-Type": "application/json", "Content-Length": String(bytes.length), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} X\r\n${lines.join("\r\n")}\r\n\r\n`), bytes]);
}

/** A server on loopback that answers byte by byte as a test says, and keeps what it was sent. */
export class AnsweringServer {
  readonly requests: ArrivedRequest[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(respond: Responder) {
    let connections = 0;
    this.#server = createServer((socket) => {
      const connection = connections++;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("data", (chunk) => {
        const request = { connection, text: chunk.toString("latin1"), socket };
        this.requests.push(request);
        respond(request);
      });
    });
  }

  /** Listens when it resolves. Requests are expected to fit into one packet, as those of this service do. */
  static async start(respond: Responder): Promise<AnsweringServer> {
    const server = new AnsweringServer(respond);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
