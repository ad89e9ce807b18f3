import { computed, effect, signal } from "@preact/signals";
import { loadSession, me } from "./session.ts";

/** What can change: the events of `/v1/events`. */
export type LiveTopic = "credential" | "app" | "client" | "environment" | "callback" | "backoffs";

/** `on`: told of changes at once; `polling`: asking every 5 s, as the stream is lost; `off`: not signed in. */
export const live = signal<"on" | "polling" | "off">("off");
/** Since when `live` is what it is, in epoch milliseconds. */
export const liveSince = signal(Date.now());

/** Called with the apps that changed; undefined where it may be any of them, or what has no app. */
export type LiveListener = (apps: ReadonlySet<string> | undefined) => void;

const TOPICS: readonly LiveTopic[] = ["credential", "app", "client", "environment", "callback", "backoffs"];
/** The first change is told at once, more of them this far apart. */
const SOON_MS = 100;
const APART_MS = 2_000;
/** Also how soon a lost stream is tried again. */
const POLL_MS = 5_000;
/** More changed apps than this count as any. */
const MAX_NAMES = 200;

interface Message {
  readonly type: LiveTopic | "reset" | "on" | "polling";
  readonly app?: string;
}

const listeners = new Map<LiveTopic, Set<LiveListener>>();
/** What has changed since the last flush: the names, or undefined for any. */
const pending = new Map<LiveTopic, Set<string> | undefined>();
let flushing: ReturnType<typeof setTimeout> | undefined;
let flushedAt = 0;

/**
 * Calls `listener` after changes of the topics, at most every two seconds and never while the page is hidden; `useResource`
 * does this for what it shows. Returns the function that unsubscribes it.
 */
export function onChange(topics: readonly LiveTopic[], listener: LiveListener): () => void {
  for (const topic of topics) listeners.set(topic, (listeners.get(topic) ?? new Set()).add(listener));
  return () => {
    for (const topic of topics) listeners.get(topic)?.delete(listener);
  };
}

function note(topic: LiveTopic, app: string | undefined): void {
  const names = pending.has(topic) ? pending.get(topic) : new Set<string>();
  const isAny = app === undefined || names === undefined || names.size >= MAX_NAMES;
  pending.set(topic, isAny ? undefined : names.add(app));
  flushing ??= setTimeout(flush, Math.max(SOON_MS, flushedAt + APART_MS - performance.now()));
}

function flush(): void {
  flushing = undefined;
  if (document.hidden || pending.size === 0) return;
  flushedAt = performance.now();
  const due = new Map<LiveListener, Set<string> | undefined>();
  for (const [topic, names] of pending) {
    for (const listener of listeners.get(topic) ?? []) {
      const before = due.has(listener) ? due.get(listener) : new Set<string>();
      due.set(listener, names && before ? before.union(names) : undefined);
    }
  }
  pending.clear();
  for (const [listener, names] of due) listener(names);
}

function turn(to: "on" | "polling" | "off"): void {
  if (live.peek() === to) return;
  live.value = to;
  liveSince.value = Date.now();
}

function take(message: Message): void {
  if (message.type === "on" || message.type === "polling") turn(message.type);
  else if (message.type === "reset") for (const topic of TOPICS) note(topic, undefined);
  else note(message.type, message.app);
}

/** Follows the stream in this tab, for all tabs of this browser. Returns the function that ends it. */
function follow(tell: (message: Message) => void): () => void {
  let source: EventSource | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const lost = () => {
    source?.close();
    tell({ type: "polling" });
    retry = setTimeout(connect, POLL_MS);
    // A session that has ended ends its streams: then there is nothing to retry for.
    void loadSession({ isBackground: true });
  };
  function connect(): void {
    source = new EventSource("/v1/events");
    let isNew = true;
    source.onopen = () => {
      tell({ type: "on" });
      // A new stream knows nothing of what has changed before it; when the browser reconnects, it goes on where it was.
      if (isNew) tell({ type: "reset" });
      isNew = false;
    };
    // While it says CONNECTING, the browser itself is about to try again.
    source.onerror = () => {
      if (source?.readyState === EventSource.CLOSED) lost();
      else tell({ type: "polling" });
    };
    for (const type of [...TOPICS, "reset"] as const) {
      source.addEventListener(type, ({ data }: MessageEvent<string>) => {
        const { app } = JSON.parse(data || "{}") as { app?: string };
        tell({ type, ...(app === undefined ? {} : { app }) });
      });
    }
  }
  connect();
  return () => {
    clearTimeout(retry);
    source?.close();
  };
}

/** Begins to follow changes while somebody is signed in: one stream for all tabs, which tell each other. */
export function startLive(): void {
  const channel = new BroadcastChannel("ats.live");
  channel.addEventListener("message", ({ data }: MessageEvent<Message | "who">) => {
    if (data !== "who") take(data);
    else if (isLeader && live.peek() !== "off") channel.postMessage({ type: live.peek() });
  });
  let isLeader = false;
  const tell = (message: Message) => {
    take(message);
    channel.postMessage(message);
  };
  document.addEventListener("visibilitychange", flush);
  setInterval(() => {
    if (live.peek() === "polling") take({ type: "reset" });
  }, POLL_MS);
  const caller = computed(() => me.value?.client);
  effect(() => {
    if (caller.value === undefined) return turn("off");
    const ended = new AbortController();
    const lead = () => {
      isLeader = true;
      const stop = follow(tell);
      return new Promise<void>((resolve) => {
        ended.signal.addEventListener("abort", () => {
          stop();
          isLeader = false;
          resolve();
        });
      });
    };
    navigator.locks.request("ats.live", { signal: ended.signal }, lead).catch(() => undefined);
    channel.postMessage("who");
    return () => ended.abort();
  });
}
