import { signal } from "@preact/signals";
import { ApiError, isOffline } from "../api.ts";
import { halfOf } from "../language.ts";
import { Icon } from "./icons.tsx";
import { common as w } from "./words.ts";

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly tone: "ok" | "bad";
}

const SHOWN_MS = 5_000;
const toasts = signal<readonly Toast[]>([]);
let last = 0;

/** Says for five seconds what came of an action. */
export function toast(text: string, tone: "ok" | "bad" = "ok"): void {
  const id = ++last;
  toasts.value = [...toasts.peek().slice(-2), { id, text, tone }];
  setTimeout(() => {
    toasts.value = toasts.peek().filter((each) => each.id !== id);
  }, SHOWN_MS);
}

/** What an error says to the user, with the hint. */
export function errorText(error: unknown): string {
  if (isOffline(error) || !(error instanceof ApiError)) return w.offline;
  return [error.message, error.hint ?? ""].filter(Boolean).map(halfOf).join(" · ");
}

/** Runs an action, and says in a toast when it fails: for buttons without a form. Resolves with whether it succeeded. */
export async function attempt(work: () => Promise<unknown>, done?: () => string): Promise<boolean> {
  try {
    await work();
    if (done) toast(done());
    return true;
  } catch (error) {
    toast(errorText(error), "bad");
    return false;
  }
}

/** Where toasts appear; once, in the frame. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, text, tone }) => (
        <div key={id} class={`toast ${tone}`}>
          <Icon name={tone === "ok" ? "check" : "alert"} />
          <span>{text}</span>
        </div>
      ))}
    </div>
  );
}
