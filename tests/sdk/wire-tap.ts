import { type Socket, connect, createServer } from "node:net";

/**
 * A pipe between a program under test and a server, on a port of its own, that remembers every byte of both directions.
 *
 * What it passes on is never changed. Use it with `await using`.
 */
export class WireTap {
  readonly url: string;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  readonly #chunks: Buffer[] = [];

  private constructor(server: ReturnType<typeof createServer>, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** Listens, and hands everything on to the server of `url`. */
  static async open(url: string): Promise<WireTap> {
    const { hostname, port } = new URL(url);
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("the tap has no port");
    const tap = new WireTap(server, `http://127.0.0.1:${address.port}`);
    server.on("connection", (near) => tap.#join(near, connect(Number(port), hostname)));
    return tap;
  }

  /** Everything that has passed, in the order in which it came; one character a byte. */
  get heard(): string {
    return Buffer.concat(this.#chunks).toString("latin1");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<unknown>((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket, far: Socket): void {
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on("data", (chunk: Buffer) => {
        this.#chunks.push(chunk);
        to.write(chunk);
      });
      from.on("end", () => to.end());
      // A connection that is torn on one side is torn on the other.
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
