/** An answer in the documented envelope, as far as a storm of callers looks at it. */
export interface StormAnswer {
  readonly code: number;
  readonly msg: string;
  readonly data: { readonly access_token?: string };
}

interface State {
  received: string;
  readonly answer: PromiseWithResolvers<StormAnswer>;
}

const CONNECTING_AT_ONCE = 200;

/** One connection for one request, without the limit on connections that `fetch` has. */
export class Connection {
  readonly #socket: Bun.Socket<unknown>;
  readonly #state: State;

  private constructor(socket: Bun.Socket<unknown>, state: State) {
    this.#socket = socket;
    this.#state = state;
  }

  /** Connects to the service of `url`. */
  static async open(url: string): Promise<Connection> {
    const { hostname, port } = new URL(url);
    const state: State = { received: "", answer: Promise.withResolvers<StormAnswer>() };
    // Whoever waits for the answer is told; nobody has to.
    state.answer.promise.catch(() => undefined);
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        data: (_socket, chunk) => {
          state.received += chunk.toString();
          const body = /\r\n\r\n(\{.*\})$/s.exec(state.received)?.[1];
          if (body !== undefined) state.answer.resolve(JSON.parse(body) as StormAnswer);
        },
        close: () => state.answer.reject(new Error("the service closed the connection")),
      },
    });
    return new Connection(socket, state);
  }

  /** Opens many connections, a few hundred at a time. */
  static async openMany(url: string, count: number): Promise<Connection[]> {
    const connections: Connection[] = [];
    while (connections.length < count) {
      const next = Math.min(CONNECTING_AT_ONCE, count - connections.length);
      connections.push(...(await Promise.all(Array.from({ length: next }, () => Connection.open(url)))));
    }
    return connections;
  }

  /** Sends one request; the answer is in `answer`. */
  send(path: string): void {
    this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  }

  /** The answer to what was sent; rejects when the service closes the connection without one. */
  get answer(): Promise<StormAnswer> {
    return this.#state.answer.promise;
  }

  /** Closes the connection at once. */
  close(): void {
    this.#socket.terminate();
  }
}
