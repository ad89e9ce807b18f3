import { setImmediate as nextTurn } from "node:timers/promises";

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly done: PromiseWithResolvers<Result>;
}

/**
 * Commits together what comes in one moment: while one commit is under way, the next gathers. One after the other, in the
 * order in which they came; a commit costs about the same whatever is in it.
 */
export class GroupCommit<Item, Result> {
  readonly #commit: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly #most: number;
  #waiting: Waiting<Item, Result>[] = [];
  #isRunning = false;

  /** `commit` gives a result for each item, in their order; what it throws, all of them throw. `most` go into one commit. */
  constructor(commit: (items: readonly Item[]) => Promise<readonly Result[]>, most: number) {
    this.#commit = commit;
    this.#most = most;
  }

  /** Resolves with the item's result once it is committed. */
  add(item: Item): Promise<Result> {
    const done = Promise.withResolvers<Result>();
    this.#waiting.push({ item, done });
    if (!this.#isRunning) void this.#run();
    return done.promise;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // What has arrived already, and waits for this turn to end, comes along.
    await nextTurn();
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.#most);
      try {
        const results = await this.#commit(group.map(({ item }) => item));
        for (const [index, { done }] of group.entries()) done.resolve(results[index] as Result);
      } catch (error) {
        for (const { done } of group) done.reject(error);
      }
    }
    this.#isRunning = false;
  }
}
