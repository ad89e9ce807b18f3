const CONNECTING_AT_ONCE = 100;

interface Drip {
  readonly socket: Bun.Socket;
  isOpen: boolean;
}

/**
 * Connections on which a request never comes to its end: each begins with `beginning`, and a byte more comes at intervals.
 *
 * Those that the server closes are opened anew, so that there are as many all the time. Use it with `await using`.
 */
export class DrippingSockets {
  readonly #url: URL;
  readonly #beginning: string;
  #drips: Drip[] = [];
  #timer: Timer | undefined;
  #turn: Promise<void> = Promise.resolve();
  /** How many bytes were sent to each, as far as it was open. */
  rounds = 0;
  /** How many the server has closed. */
  closed = 0;
  /** What the server has said to them, if anything. */
  answers = "";

  private constructor(url: string, beginning: string) {
    this.#url = new URL(url);
    this.#beginning = beginning;
  }

  /** Opens `count` of them, and sends a byte on each every `everyMs`. */
  static async open(
    url: string,
    { count, everyMs, beginning }: { count: number; everyMs: number; beginning: string },
  ): Promise<DrippingSockets> {
    const sockets = new DrippingSockets(url, beginning);
    await sockets.#fill(count);
    sockets.#timer = setInterval(() => {
      sockets.#drip();
      sockets.#turn = sockets.#turn.then(() => sockets.#fill(count));
    }, everyMs);
    return sockets;
  }

  /** How many are open just now. */
  get open(): number {
    return this.#drips.filter(({ isOpen }) => isOpen).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#turn;
    for (const { socket } of this.#drips) socket.terminate();
  }

  #drip(): void {
    this.rounds += 1;
    for (const { socket, isOpen } of this.#drips) if (isOpen) socket.write("a");
  }

  async #fill(count: number): Promise<void> {
    this.#drips = this.#drips.filter(({ isOpen }) => isOpen);
    while (this.#drips.length < count) {
      const next = Math.min(CONNECTING_AT_ONCE, count - this.#drips.length);
      this.#drips.push(...(await Promise.all(Array.from({ length: next }, () => this.#connect()))));
    }
  }

  async #connect(): Promise<Drip> {
    const { hostname, port } = this.#url;
    let isClosed = false;
    let drip: Drip | undefined;
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        data: (_, chunk) => void (this.answers += chunk.toString()),
        close: () => {
          this.closed += 1;
          isClosed = true;
          if (drip) drip.isOpen = false;
        },
        error: () => undefined,
      },
    });
    drip = { socket, isOpen: !isClosed };
    socket.write(this.#beginning);
    return drip;
  }
}
