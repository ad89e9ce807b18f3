import { must } from "../faults/fault-case.ts";

/** How a change is looked for. */
export interface WatchOptions<N> {
  /** For people. */
  readonly what: string;
  readonly nodes: readonly N[];
  /** Whether a node's answer does not know of the change. */
  readonly isStale: (node: N) => Promise<boolean>;
  /** Makes it; resolves when it is acknowledged. */
  readonly change: () => Promise<void>;
  /** How long after it a request may be answered by what was; default 1,200, and what the machine was slow. */
  readonly boundMs?: number | undefined;
}

/** In which a change is seen at every node, also where its notification is lost. */
const BOUND_MS = 1200;

const MAX_WAIT_MS = 10_000;
/** So many answers in a row must know of it. */
const MIN_FRESH = 3;

/**
 * Asks every node each millisecond or so, before, while and after something is changed.
 *
 * A request that is sent later than the bound must know of it. Where none is given, the longest that this machine has
 * taken meanwhile, for an answer or for the change itself, is added to that of the service: tests run beside others.
 */
export async function watchChange<N>({
  what,
  nodes,
  isStale,
  change,
  boundMs,
}: WatchOptions<N>): Promise<number> {
  let acknowledgedAt: number | undefined;
  let waitMs = 0;
  let latestMs = 0;
  let slowestMs = 0;
  const over = new AbortController();
  const watch = async (node: N) => {
    for (let fresh = 0; fresh < MIN_FRESH && !over.signal.aborted; await Bun.sleep(1)) {
      const sentAt = performance.now();
      const wasAcknowledged = acknowledgedAt !== undefined;
      const stale = await isStale(node);
      const now = performance.now();
      slowestMs = Math.max(slowestMs, now - sentAt);
      if (!wasAcknowledged || acknowledgedAt === undefined) continue;
      fresh = stale ? 0 : fresh + 1;
      if (!stale) continue;
      waitMs = Math.max(waitMs, now - acknowledgedAt);
      latestMs = Math.max(latestMs, sentAt - acknowledgedAt);
      must(latestMs < MAX_WAIT_MS, `${what}: it was not known ${MAX_WAIT_MS} ms later`);
    }
  };
  const watching = Promise.all(nodes.map(watch));
  watching.catch(() => undefined);
  try {
    const startedAt = performance.now();
    await change();
    acknowledgedAt = performance.now();
    slowestMs = Math.max(slowestMs, acknowledgedAt - startedAt);
    await watching;
  } finally {
    over.abort();
  }
  must(
    latestMs <= (boundMs ?? BOUND_MS + slowestMs),
    `${what}: it was not known ${Math.round(latestMs)} ms later (the slowest request took ${Math.round(slowestMs)} ms)`,
  );
  return waitMs;
}

/** The value below which so much of all is: of ten values the fifth for 0.5. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

/** For people: where most of the values are. */
export function distribution(values: readonly number[]): string {
  const [half, most, all] = [0.5, 0.99, 1].map((part) => quantile(values, part).toFixed(1));
  return `${values.length} × p50 ${half}, p99 ${most}, at most ${all} ms`;
}
