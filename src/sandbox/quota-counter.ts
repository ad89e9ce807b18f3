/** How much of each quota is used in its current window (a day, a minute, a month); an older window counts as 0. */
export class QuotaCounter {
  readonly #counts = new Map<string, { window: string | number; used: number }>();

  /** How often `name` was counted in `window`. */
  used(name: string, window: string | number): number {
    const count = this.#counts.get(name);
    return count?.window === window ? count.used : 0;
  }

  /** Counts one more of `name` and returns how many there are now in `window`. */
  add(name: string, window: string | number): number {
    const used = this.used(name, window) + 1;
    this.#counts.set(name, { window, used });
    return used;
  }

  /** Everything that was used in `window`, by name. */
  usage(window: string | number): Record<string, number> {
    const entries = [...this.#counts].filter(([, count]) => count.window === window);
    return Object.fromEntries(entries.map(([name, count]) => [name, count.used]));
  }

  /** Forgets what was used. */
  clear(): void {
    this.#counts.clear();
  }
}
