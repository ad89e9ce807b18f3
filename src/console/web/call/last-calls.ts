import { effect, signal } from "@preact/signals";
import { sessionState } from "../session.ts";

/** A call that was made in this tab, without queries and bodies. */
export interface LastCall {
  readonly app: string;
  readonly method: string;
  readonly path: string;
  readonly as: string;
  readonly status: number;
  /** Epoch milliseconds. */
  readonly at: number;
}

const KEY = "ats.calls";
const MAX_CALLS = 20;

function kept(): readonly LastCall[] {
  try {
    const calls: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(calls) ? (calls as LastCall[]) : [];
  } catch {
    return [];
  }
}

/** The last calls of this tab, the newest first. */
export const lastCalls = signal<readonly LastCall[]>(kept());

/** Notes a call; the same one before it is forgotten. */
export function noteCall(call: LastCall): void {
  const nameOf = ({ app, method, path, as }: LastCall) => [app, method, path, as].join(" ");
  const others = lastCalls.peek().filter((each) => nameOf(each) !== nameOf(call));
  lastCalls.value = [call, ...others].slice(0, MAX_CALLS);
  sessionStorage.setItem(KEY, JSON.stringify(lastCalls.value));
}

// Whoever signs in next may be somebody else.
effect(() => {
  if (sessionState.value !== "out") return;
  lastCalls.value = [];
  sessionStorage.removeItem(KEY);
});
