import type { Snapshot } from "../ops/metrics.ts";

/** What a worker tells the supervisor. */
export type FromWorker =
  /** It listens. */
  | { readonly type: "ready" }
  /** It wants the numbers of all workers; the answer repeats `id`. */
  | { readonly type: "collect"; readonly id: number }
  /** Its own numbers, for the collection `id`. */
  | { readonly type: "snapshot"; readonly id: number; readonly snapshot: Snapshot };

/** What the supervisor tells a worker. */
export type ToWorker =
  /** Tell your numbers. */
  | { readonly type: "snapshot"; readonly id: number }
  /** The numbers of all workers that answered in time. */
  | { readonly type: "snapshots"; readonly id: number; readonly snapshots: readonly Snapshot[] };
