import { connect, createServer, type Server, type Socket } from "node:net";

/** A line to a server of this machine that a test can cut or halt. Use it with `using`. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #state: "open" | "cut" | "halted" = "open";

  private constructor(target: number) {
    this.#server = createServer((client) => {
      if (this.#state === "cut") return client.destroy();
      const server = connect({ port: target, host: "127.0.0.1" });
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from);
        if (this.#state === "halted") from.pause();
        from.on("data", (chunk) => to.write(chunk));
        from.on("error", () => undefined);
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
      return undefined;
    });
  }

  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    const address = proxy.#server.address();
    proxy.#port = typeof address === "object" && address ? address.port : 0;
    return proxy;
  }

  /** `url` by way of this line. */
  through(url: string): string {
    const parsed = new URL(url);
    parsed.port = String(this.#port);
    return parsed.href;
  }

  /** Ends every connection, and each new one at once. */
  cut(): void {
    this.#state = "cut";
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Lets nothing through any more, without a word to either side. */
  halt(): void {
    this.#state = "halted";
    for (const socket of this.#sockets) socket.pause();
  }

  /** Lets everything through again, also what has waited. */
  restore(): void {
    this.#state = "open";
    for (const socket of this.#sockets) socket.resume();
  }

  [Symbol.dispose](): void {
    this.cut();
    this.#server.close();
  }
}
