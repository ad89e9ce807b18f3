/** Who shares permits: a holder of a group of them. */
export interface Share {
  readonly group: string;
  readonly holder: string;
}

/**
 * A counting semaphore that several share, so that no one who holds permits for long keeps the others waiting.
 *
 * A group holds no more permits than it leaves free, and a holder no more than its group leaves to the others. A third is kept
 * for holders that have none. So one that is alone holds two ninths, and whoever comes finds one. Those that wait have their
 * turn one after the other, each in its order.
 */
export class FairSemaphore {
  #free: number;
  readonly #kept: number;
  readonly #ofGroups = new Map<string, number>();
  readonly #ofHolders = new Map<string, number>();
  /** By holder; who had a turn is behind the others. */
  readonly #waiting = new Map<string, { readonly share: Share; readonly wakes: Set<() => void> }>();

  constructor(limit: number) {
    this.#free = limit;
    this.#kept = Math.floor(limit / 3);
  }

  /** Waits for a permit. Rejects with the signal's reason when that is aborted first. */
  async acquire(share: Share, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const name = nameOf(share);
    if (!this.#waiting.has(name) && this.#take(share)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { wakes } = this.#waiting.get(name) ?? this.#queue(name, share);
    const abort = () => {
      if (!wakes.delete(resolve)) return;
      if (wakes.size === 0) this.#waiting.delete(name);
      reject(signal.reason as Error);
    };
    wakes.add(resolve);
    signal.addEventListener("abort", abort, { once: true });
    await promise.finally(() => signal.removeEventListener("abort", abort));
  }

  /** Releases the permit of one `acquire`: to those that wait and may have one now. */
  release(share: Share): void {
    this.#count(share, -1);
    for (const [name, queue] of [...this.#waiting]) {
      const [wake] = queue.wakes;
      if (!wake || !this.#take(queue.share)) continue;
      queue.wakes.delete(wake);
      this.#waiting.delete(name);
      if (queue.wakes.size > 0) this.#waiting.set(name, queue);
      wake();
    }
  }

  #queue(name: string, share: Share) {
    const queue = { share, wakes: new Set<() => void>() };
    this.#waiting.set(name, queue);
    return queue;
  }

  #take(share: Share): boolean {
    const ofGroup = this.#ofGroups.get(share.group) ?? 0;
    const ofHolder = this.#ofHolders.get(nameOf(share)) ?? 0;
    const left = this.#free - ofGroup - (ofHolder > 0 ? this.#kept : 0);
    if (ofHolder >= left) return false;
    this.#count(share, 1);
    return true;
  }

  #count(share: Share, more: number): void {
    this.#free -= more;
    for (const [held, name] of [
      [this.#ofGroups, share.group],
      [this.#ofHolders, nameOf(share)],
    ] as const) {
      const count = (held.get(name) ?? 0) + more;
      if (count === 0) held.delete(name);
      else held.set(name, count);
    }
  }
}

/** A group has no blank in its name. */
function nameOf({ group, holder }: Share): string {
  return `${group} ${holder}`;
}
