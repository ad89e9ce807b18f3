import type { ChangeKind, PlannedFault } from "./nemesis-plan.ts";

/** When something was begun and when it was over, in milliseconds from the beginning of the run. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** A question for an app's token, by anybody or with a key. Nothing else than what a caller sees. */
export interface Read extends Span {
  readonly type: "read";
  readonly node: number;
  readonly app: string;
  readonly key?: string;
  /** Which of the app's tokens was handed out, in the order in which WeChat has issued them; -1 for none of them. */
  readonly token?: number;
  /** Of the answer; absent where there was none. */
  readonly code?: number;
}

/** Something that an administrator asked of a node. */
export interface Change extends Span {
  readonly type: "change";
  readonly kind: ChangeKind | "enable";
  readonly node: number;
  /** An app or a key. */
  readonly of: string;
  /** Of the answer; absent where there was none, and nobody knows whether it was done. */
  readonly code?: number;
  /** The newest token that must be handed out no more once this is done; -1 for none. */
  readonly ends: number;
  /** The secret that an app has from now on. */
  readonly secret?: number;
}

/** A call for a token, as WeChat has seen it. */
export interface Call extends Span {
  readonly type: "call";
  readonly node: number;
  readonly app: string;
  readonly secret: number;
  readonly token?: number;
}

/** What was done to a node, or to the database all of them have. */
export interface Fault extends Span {
  readonly type: "fault";
  readonly kind: PlannedFault["kind"];
  readonly node?: number;
}

/** What a node has written into its log of a token that it has saved. In the order of its log. */
export interface Saved {
  readonly type: "saved";
  readonly node: number;
  readonly app: string;
  readonly generation: number;
}

/** Whether a node said that it is ready. */
export interface Probe extends Span {
  readonly type: "probe";
  readonly node: number;
  readonly isReady: boolean;
}

/** For how long this process itself stood still: whatever was measured meanwhile was late. */
export interface Stall extends Span {
  readonly type: "stall";
}

/** What happened in a run, in any order. */
export type HistoryEvent = Read | Change | Call | Fault | Saved | Probe | Stall;

/** A line of JSON for each event. */
export function asLines(history: readonly HistoryEvent[]): string {
  return history.map((event) => `${JSON.stringify(event)}\n`).join("");
}

const SAVED =
  /"event":"credential\.refreshed","key":"weixin:(\w+):[^"]*:access_token","lifeMs":\d+,"generation":(\d+)/g;

/** What a node has saved, by its log. */
export function savedIn(log: string, node: number): Saved[] {
  const found = [...log.matchAll(SAVED)];
  return found.map(([, app = "", generation]) => ({
    type: "saved",
    node,
    app,
    generation: Number(generation),
  }));
}
