/** Something that is due at a moment. */
export interface Due<T> {
  readonly at: number;
  readonly item: T;
}

/** A binary heap: the earliest is at hand, adding and taking cost the logarithm of the size. */
export class DueHeap<T> {
  readonly #heap: Due<T>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest, which stays. */
  peek(): Due<T> | undefined {
    return this.#heap[0];
  }

  push(due: Due<T>): void {
    let index = this.#heap.push(due) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = this.#heap[parent];
      if (!above || above.at <= due.at) break;
      this.#heap[index] = above;
      index = parent;
    }
    this.#heap[index] = due;
  }

  /** Takes the earliest out. */
  pop(): Due<T> | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (!first || !last || this.#heap.length === 0) return first;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const right = left + 1;
      const [leftAt, rightAt] = [this.#heap[left]?.at ?? Infinity, this.#heap[right]?.at ?? Infinity];
      const child = rightAt < leftAt ? right : left;
      const below = this.#heap[child];
      if (!below || last.at <= below.at) break;
      this.#heap[index] = below;
      index = child;
    }
    this.#heap[index] = last;
    return first;
  }
}
