import type { Access } from "../access/access.ts";
import { visibleTo } from "../access/permits.ts";
import { mayUse } from "../access/authenticator.ts";
import { ANY_APP } from "../access/client.ts";
import { type Caller, type Principal, tooMany } from "../access/principal.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Burst, EventFeed, StateEvent } from "./event-feed.ts";

/** At most so many streams of one key or session, or of one address without one; of a client; and in this process. */
const MAX_OF_CALLER = 20;
const MAX_OF_CLIENT = 200;
const MAX_STREAMS = 1000;
/** A reader that has so many bytes not read when there are more has lost touch. */
const MAX_BEHIND = 64 * 1024;
/** How long the connection of such a reader stays open, in seconds. */
const LAST_SECONDS = 5;
/** How often it is looked who may still listen. */
const LOOK_MS = 500;
/** A proxy that hears nothing for longer may close the connection. */
const COMMENT_AFTER_MS = 15_000;
/** After how long readers come back whose stream has ended: between these two, so that not all come at once. */
const MIN_RETRY_MS = 2000;
const MAX_RETRY_MS = 5000;

/** Who wants a stream, and where it left off. */
export interface StreamRequest extends Pick<Caller, "principal" | "origin"> {
  /** Of the last event that it has had. */
  readonly lastId: string | undefined;
  /** Sets the time-out of the connection in seconds; 0 for none. */
  readonly giveTime: (seconds: number) => void;
}

/** What the streams work with. */
export interface EventStreamsParts {
  readonly access: Pick<Access, "present">;
  readonly feed: EventFeed;
  readonly clock: Clock;
  readonly events: Pick<EventBus, "emit">;
}

interface Stream extends Pick<StreamRequest, "principal" | "origin" | "giveTime"> {
  readonly owner: Owner;
  readonly send: ReadableStreamDefaultController<Uint8Array>;
  /** The client as it was when the last event was sent, to tell it of a change of its own. */
  known: Principal;
  /** By the monotonic clock. */
  sentAt: number;
}

/**
 * The streams of events that are open in this process, as `text/event-stream`.
 *
 * Each caller hears of what it may see at that moment: its grants are looked up for each event, and its stream ends within
 * a second after its key or its session.
 */
export class EventStreams {
  readonly #parts: EventStreamsParts;
  readonly #streams = new Set<Stream>();
  readonly #hear = (burst: Burst) => this.#publish(burst);
  readonly #counts = new Map<string, number>();
  /** How many are open or being opened. */
  #open = 0;
  #timer: Timer | undefined;
  /** The last burst of which somebody heard everything, as it is sent. */
  #whole: { readonly burst: Burst; readonly text: Uint8Array } | undefined;
  #isStopped = false;

  constructor(parts: EventStreamsParts) {
    this.#parts = parts;
  }

  /** How many are open. */
  get size(): number {
    return this.#streams.size;
  }

  /**
   * A new stream.
   *
   * @throws {ServiceError} `rate_limited` for one too many of the caller; `unavailable` when there are too many in all, while
   *   the service stops, or when the store can't be read.
   */
  async open({ lastId, giveTime, principal, origin }: StreamRequest): Promise<ReadableStream<Uint8Array>> {
    const owner = ownerOf(principal, origin);
    this.#take(owner);
    let missed: Burst;
    try {
      await this.#parts.feed.catchUp();
      if (this.#isStopped) throw stopping();
      // From here to where the stream is added nothing may wait: what is told meanwhile would miss it.
      missed = this.#parts.feed.listen(this.#hear, lastId);
    } catch (error) {
      this.#giveBack(owner);
      throw error;
    }
    this.#timer ??= setInterval(() => this.look(), LOOK_MS);
    let stream: Stream | undefined;
    const source = {
      start: (send: Stream["send"]) => {
        const known = principal;
        stream = { owner, send, principal, origin, giveTime, known, sentAt: 0 };
        this.#streams.add(stream);
        // The id stands before anything else, so that whoever is cut off at once misses nothing either.
        const retryMs = Math.round(MIN_RETRY_MS + Math.random() * (MAX_RETRY_MS - MIN_RETRY_MS));
        this.#send(stream, encoder.encode(`retry: ${retryMs}\nid: ${missed.id}\n\n`));
        if (missed.events.length > 0) this.#tell(stream, missed);
      },
      cancel: () => {
        if (stream) this.#remove(stream);
      },
    };
    return new ReadableStream(source, { highWaterMark: MAX_BEHIND, size: sizeOf });
  }

  /** Ends the streams of whoever may listen no more, and keeps the connections of the others open. */
  look(): void {
    const now = this.#parts.clock.monotonic();
    for (const stream of this.#streams) {
      if (!this.#present(stream)) this.#end(stream);
      // An id without data is no event: it says where to go on from.
      else if (now - stream.sentAt >= COMMENT_AFTER_MS)
        this.#send(stream, encoder.encode(`:\nid: ${this.#parts.feed.id}\n\n`));
    }
  }

  /** Ends every stream. */
  stop(): void {
    this.#isStopped = true;
    for (const stream of this.#streams) this.#end(stream);
    this.#parts.feed.close();
  }

  #publish(burst: Burst): void {
    for (const stream of this.#streams) this.#tell(stream, burst);
  }

  /** Sends what of it the caller may hear of. */
  #tell(stream: Stream, burst: Burst): void {
    const principal = this.#present(stream);
    if (!principal) return this.#end(stream);
    const mayHear = hearing(principal, isChanged(stream.known, principal));
    stream.known = principal;
    const heard = burst.events.filter(mayHear);
    if (heard.length === 0) return;
    if (heard.length < burst.events.length) return this.#send(stream, textOf(heard, burst.id));
    // Most hear all of it: written once for all of them.
    if (this.#whole?.burst !== burst) this.#whole = { burst, text: textOf(heard, burst.id) };
    this.#send(stream, this.#whole.text);
  }

  /** Who the caller is now; undefined when it may listen no more. */
  #present(stream: Stream): Principal | undefined {
    try {
      return this.#parts.access.present(stream);
    } catch {
      return undefined;
    }
  }

  #send(stream: Stream, text: Uint8Array): void {
    const { send, giveTime } = stream;
    if ((send.desiredSize ?? 0) <= 0) {
      // What is under way may never be read: then the connection ends by its time-out.
      giveTime(LAST_SECONDS);
      this.#parts.events.emit({ type: "event_stream.dropped" });
      return this.#end(stream);
    }
    send.enqueue(text);
    stream.sentAt = this.#parts.clock.monotonic();
  }

  #end(stream: Stream): void {
    if (this.#remove(stream)) stream.send.close();
  }

  #remove(stream: Stream): boolean {
    if (!this.#streams.delete(stream)) return false;
    this.#giveBack(stream.owner);
    return true;
  }

  #take(owner: Owner): void {
    if (this.#isStopped) throw stopping();
    const counts = owner.map(([name]) => this.#counts.get(name) ?? 0);
    if (owner.some(([, most], n) => (counts[n] ?? 0) >= most))
      throw tooMany("打开的事件流过多", "too many open event streams", MAX_RETRY_MS);
    if (this.#open >= MAX_STREAMS) throw full();
    for (const [n, [name]] of owner.entries()) this.#counts.set(name, (counts[n] ?? 0) + 1);
    this.#open += 1;
  }

  #giveBack(owner: Owner): void {
    for (const [name] of owner) {
      const count = (this.#counts.get(name) ?? 0) - 1;
      if (count > 0) this.#counts.set(name, count);
      else this.#counts.delete(name);
    }
    this.#open -= 1;
    if (this.#open > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#parts.feed.leave(this.#hear);
  }
}

const encoder = new TextEncoder();

/** Only the last has the new id: from the one before, all of them would be sent again. */
function textOf(events: readonly StateEvent[], id: string): Uint8Array {
  const last = events.length - 1;
  const blocks = events.map(
    ({ type, data }, n) => `${n === last ? `id: ${id}\n` : ""}event: ${type}\ndata: ${data}\n\n`,
  );
  return encoder.encode(blocks.join(""));
}

function sizeOf(chunk: Uint8Array | undefined): number {
  return chunk?.byteLength ?? 0;
}

/** What the limits of streams are counted by, and how many of each there may be. */
type Owner = readonly (readonly [name: string, most: number])[];

function ownerOf(principal: Principal, { address }: Caller["origin"]): Owner {
  if (principal.kind !== "client") return [[`${principal.kind} ${address}`, MAX_OF_CALLER]];
  const { session, key, owner } = principal;
  // A client may have very many sessions.
  return [
    [session?.digest ?? key.prefix, MAX_OF_CALLER],
    [`client ${owner.client.name}`, MAX_OF_CLIENT],
  ];
}

/** Whether the client's own grants may have changed meanwhile. */
function isChanged(before: Principal, now: Principal): boolean {
  return (
    before.kind === "client" &&
    now.kind === "client" &&
    before.owner.client.version !== now.owner.client.version
  );
}

/** What `principal` may hear of: of an app's credentials as it may see the app, of lists as it may see them. */
function hearing(principal: Principal, isChanged: boolean): (event: StateEvent) => boolean {
  const isVisible = visibleTo(principal);
  const isAdmin = mayUse(principal, "admin", ANY_APP);
  return ({ type, app }) => {
    if (app !== undefined) return isVisible(app);
    if (type === "client") return isAdmin || isChanged;
    if (type === "environment") return mayUse(principal, "oauth:manage", ANY_APP);
    if (type === "callback") return isAdmin || receives(principal);
    return true;
  };
}

/** Whether the caller may see how pushes of any app are received. */
function receives(principal: Principal): boolean {
  if (principal.kind !== "client") return false;
  return principal.owner.client.grants.some(({ actions }) =>
    actions.some((action) => action.startsWith("callback:") || action === "admin"),
  );
}

function full(): ServiceError {
  return new ServiceError(
    "unavailable",
    "本进程打开的事件流已达上限，请稍后重试 (this process has as many event streams open as it may: try again later)",
    { retryAfterMs: MAX_RETRY_MS },
  );
}

function stopping(): ServiceError {
  return new ServiceError("unavailable", "本进程正在停止 (this process is stopping)", {
    retryAfterMs: MIN_RETRY_MS,
  });
}
