import { type ChangeListener, type Changes, type Topic, TOPICS } from "../../src/changes.ts";

/** A change feed whose changes a test makes, and which everybody sees at once. */
export class ManualChanges implements Changes {
  isLive = true;
  readonly #epochs = new Map<Topic, number>();
  readonly #listeners = new Map<Topic, Set<ChangeListener>>(TOPICS.map((topic) => [topic, new Set()]));

  /** How many listen. */
  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  epoch(topic: Topic): number {
    return this.#epochs.get(topic) ?? 0;
  }

  async catchUp(): Promise<void> {}

  subscribe(topic: Topic, listener: ChangeListener): () => void {
    this.#listeners.get(topic)?.add(listener);
    return () => void this.#listeners.get(topic)?.delete(listener);
  }

  /** Puts the epoch of a topic where it is told to, as damage would, and tells nobody. */
  set(topic: Topic, epoch: number): void {
    this.#epochs.set(topic, epoch);
  }

  /** Says that the store has become another one. */
  becomeAnother(): void {
    for (const topic of TOPICS) {
      this.#epochs.set(topic, this.epoch(topic) + 1);
      for (const listener of this.#listeners.get(topic) ?? []) listener(undefined, true);
    }
  }

  /** Raises the epoch of a topic, because of the item with that key where one is given, and returns the new one. */
  raise(topic: Topic, key?: string): number {
    const epoch = this.epoch(topic) + 1;
    this.#epochs.set(topic, epoch);
    const changed = key === undefined ? undefined : new Map([[key, epoch]]);
    for (const listener of this.#listeners.get(topic) ?? []) listener(changed);
    return epoch;
  }
}
