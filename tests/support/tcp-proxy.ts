import { connect, createServer, type Server, type Socket } from "node:net";

/** A piece of what is under way, and whom it is for. */
interface Piece {
  readonly chunk: string | Buffer;
  readonly to: Socket;
}

/** A line to a server of this machine that a test can cut, halt or make slow. Use it with `using`. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #held: Piece[] = [];
  #target: number;
  #port = 0;
  #delayMs = 0;
  #state: "open" | "cut" | "halted" = "open";

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => {
      if (this.#state === "cut") return client.destroy();
      const server = connect({ port: this.#target, host: "127.0.0.1" });
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from);
        from.on("data", (chunk) => this.#pass({ chunk, to }));
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

  /** From now on new connections lead to another port. */
  aim(target: number): void {
    this.#target = target;
  }

  /** Ends every connection, and each new one at once. */
  cut(): void {
    this.#state = "cut";
    this.#held = [];
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Lets nothing through any more, without a word to either side. */
  halt(): void {
    this.#state = "halted";
  }

  /** Whether something with `text` in it has waited since it was halted. */
  holds(text: string): boolean {
    return this.#held.some(({ chunk }) => chunk.includes(text));
  }

  /** Lets everything through again, also what has waited. */
  restore(): void {
    this.#state = "open";
    for (const piece of this.#held.splice(0)) this.#pass(piece);
  }

  /** From now on everything takes `ms` milliseconds, each way. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  [Symbol.dispose](): void {
    this.cut();
    this.#server.close();
  }

  #pass(piece: Piece): void {
    if (this.#state === "halted") this.#held.push(piece);
    else if (this.#delayMs === 0) piece.to.write(piece.chunk);
    else setTimeout(() => piece.to.write(piece.chunk), this.#delayMs);
  }
}
