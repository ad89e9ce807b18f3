import { ServiceError } from "../errors.ts";
import { usageError } from "./arguments.ts";
import { failureText, stopSignal } from "./exit.ts";
import { isRemote, type Managing } from "./managing.ts";
import type { Terminal } from "./terminal.ts";

/** It is asked so often at least: not every change is an event, and lives get shorter by themselves. */
const POLL_MS = 5000;
/** Changes that come together are shown together. */
const SETTLE_MS = 300;

/** The other screen of the terminal, without a cursor; and back. */
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";

/**
 * Shows what `read` finds until `stop` resolves or the person ends it: anew with each event of the service, and every five
 * seconds. What `read` resolves with says it as text, as of now. The terminal is then as it was before.
 *
 * @throws {ServiceError} a usage error without a terminal; what the first request throws.
 */
export async function watchScreen(
  at: Managing,
  read: () => Promise<() => string>,
  stop: Promise<unknown> = stopSignal(),
): Promise<void> {
  const { terminal } = at;
  const { screen } = terminal;
  if (!screen) throw usageError("--watch 须在终端中使用 (--watch needs a terminal)");
  // Before the screen is taken: what can't be asked at all is said as for any command.
  let text = await read();
  let failure: ServiceError | undefined;
  const quit = Promise.withResolvers<void>();
  const stopping = new AbortController();
  const stopped = Promise.race([stop, quit.promise]);
  void stopped.then(() => stopping.abort());
  const { signal } = stopping;
  const waker = new Waker();
  const draw = () => {
    const said = failure ? `${failureText(failure, terminal.language)}\n` : "";
    return terminal.print(frame(said + text(), screen.size()));
  };
  const unlisten = screen.onResize(() => void draw().catch(() => stopping.abort()));
  if (isRemote(at.args)) void listen(at, waker, signal);
  const release = screen.onQuit(quit.resolve);
  try {
    await terminal.print(ENTER);
    while (!signal.aborted) {
      await draw();
      await Promise.race([terminal.clock.sleep(POLL_MS), waker.next(), stopped]);
      if (signal.aborted) break;
      try {
        [text, failure] = [await read(), undefined];
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        failure = error;
      }
      await Promise.race([terminal.clock.sleep(SETTLE_MS), stopped]);
    }
  } finally {
    stopping.abort();
    unlisten();
    release();
    await terminal.print(LEAVE);
  }
}

/** Tells of what has come since it was asked last. */
class Waker {
  #next = Promise.withResolvers<void>();

  wake(): void {
    this.#next.resolve();
  }

  async next(): Promise<void> {
    await this.#next.promise;
    this.#next = Promise.withResolvers<void>();
  }
}

/** Wakes with each event of the service. Where there is no stream, as with too many of them, the polls are enough. */
async function listen({ api, terminal }: Managing, waker: Waker, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const chunk of await api.stream({ method: "GET", path: "/v1/events", signal })) {
        // Comments keep the connection, and say nothing.
        if (/^(event|data):/m.test(new TextDecoder().decode(chunk))) waker.wake();
      }
    } catch {
      // The next poll says what is wrong.
    }
    await terminal.clock.sleep(POLL_MS);
  }
}

/** What puts `text` on the screen in the place of whatever was there: no line is wider, and there are no more of them. */
export function frame(
  text: string,
  { columns, rows }: ReturnType<NonNullable<Terminal["screen"]>["size"]>,
): string {
  const lines = text.trimEnd().split("\n");
  const shown = lines.length > rows ? [...lines.slice(0, rows - 1), "…"] : lines;
  return `\u001b[H${shown.map((line) => `${cut(line, columns)}\u001b[K`).join("\r\n")}\u001b[J`;
}

/** `line` in so many columns at most; a Chinese character has two. */
function cut(line: string, columns: number): string {
  if (Bun.stringWidth(line) <= columns) return line;
  const slice = Bun.sliceAnsi(line, 0, Math.max(0, columns - 1));
  // A wide character across the end is still in the slice.
  return `${Bun.stringWidth(slice) < columns ? slice : Bun.sliceAnsi(line, 0, columns - 2)}…`;
}
