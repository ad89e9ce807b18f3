import { Harness } from "./harness.ts";

/** One event of a stream, as a browser would hand it over. */
export interface StreamedEvent {
  readonly type: string;
  readonly data: Record<string, unknown>;
  /** The id that a browser would send when it comes back after this event. */
  readonly lastId: string;
}

/**
 * A reader of `GET /v1/events`, which follows the rules of browsers: an id without data is no event, and yet is where it
 * would go on from. Use it with `using`.
 */
export class EventStreamReader implements Disposable {
  readonly status: number;
  readonly headers: Headers;
  readonly events: StreamedEvent[] = [];
  /** How many comments came. */
  comments = 0;
  /** The time after which it should come back, in milliseconds. */
  retryMs = 0;
  lastId = "";
  isEnded = false;
  readonly #abort: AbortController;

  private constructor(response: Response, abort: AbortController) {
    this.status = response.status;
    this.headers = response.headers;
    this.#abort = abort;
    void this.#read(response).catch(() => (this.isEnded = true));
  }

  /** Opens a stream with an API key, or with these headers, and waits for what it begins with. */
  static async open(
    url: string,
    caller: string | Readonly<Record<string, string>> = {},
    lastId?: string,
  ): Promise<EventStreamReader> {
    const abort = new AbortController();
    const headers = {
      ...(typeof caller === "string" ? { "x-api-key": caller } : caller),
      ...(lastId === undefined ? {} : { "last-event-id": lastId }),
    };
    const response = await fetch(`${url}/v1/events`, { headers, signal: abort.signal });
    const reader = new EventStreamReader(response, abort);
    if (response.ok) await Harness.until(() => reader.lastId !== "");
    return reader;
  }

  /** What came so far, in short: the types, of a credential with app and kind. */
  get told(): string[] {
    return this.events.map(({ type, data }) =>
      type === "credential" ? `${type} ${String(data["app"])} ${String(data["kind"])}` : type,
    );
  }

  /** Resolves when so many events came. */
  async until(count: number): Promise<StreamedEvent[]> {
    await Harness.until(() => this.events.length >= count);
    return this.events;
  }

  /** Resolves when the service has ended it. */
  ended(): Promise<void> {
    return Harness.until(() => this.isEnded);
  }

  [Symbol.dispose](): void {
    this.#abort.abort();
  }

  async #read({ body, ok }: Response): Promise<void> {
    if (!ok) return;
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) this.#take(block);
    }
    this.isEnded = true;
  }

  #take(block: string): void {
    let [type, data] = ["message", ""];
    for (const line of block.split("\n")) {
      const [, field = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
      if (field === "") this.comments++;
      else if (field === "id") this.lastId = value;
      else if (field === "retry") this.retryMs = Number(value);
      else if (field === "event") type = value;
      else if (field === "data") data += value;
    }
    if (data === "") return;
    this.events.push({ type, data: JSON.parse(data) as StreamedEvent["data"], lastId: this.lastId });
  }
}

/** The body of `response`: nothing of a stream of events, which has no end and is let go. */
export async function endingText(response: Response): Promise<string> {
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return response.text();
  await response.body?.cancel();
  return "";
}
