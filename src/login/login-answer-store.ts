import type { Secret } from "../secret.ts";

/** What stands under a key: an exchange that is ours to make, one that somebody else makes, or its answer. */
export type LoginAnswerState =
  | { readonly state: "ours" }
  | { readonly state: "under_way" }
  | { readonly state: "answered"; readonly answer: Secret };

/** Lets all processes share what a one-time code was answered with. Answers are sealed and kept for seconds. */
export interface LoginAnswerStore {
  /** Takes the right to exchange, or tells what stands. What is over at `now` (epoch milliseconds) stands no more. */
  begin(key: string, now: number, expiresAt: number): Promise<LoginAnswerState>;
  /** Stores the answer of an exchange that was ours. */
  finish(key: string, answer: Secret): Promise<void>;
  /** Gives the right back: no answer came that is worth repeating. */
  abandon(key: string): Promise<void>;
}
