/** The part of it that one caller may have. */
export type ReplayShare = Pick<ReplayBudget, "each" | "take" | "giveBack">;

/** How many bytes of requests are held in memory, in all and each, so that they can be sent once more. */
export class ReplayBudget {
  /** The largest body that is held: never more than all together may be. */
  readonly each: number;
  readonly #total: number;
  #held = 0;
  readonly #heldBy = new Map<string, number>();

  constructor(limits: { readonly each: number; readonly total: number }) {
    this.each = Math.min(limits.each, limits.total);
    this.#total = limits.total;
  }

  /** How many bytes are taken now. */
  get held(): number {
    return this.#held;
  }

  /** Takes so many bytes, if there is room. Whoever takes gives back. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.#total) return false;
    this.#held += bytes;
    return true;
  }

  /** Gives so many of the taken bytes back. */
  giveBack(bytes: number): void {
    this.#held -= bytes;
  }

  /**
   * As much of it as `who` may have: one body at least; whoever holds more than that and more than is free takes no more,
   * so that there is room for others.
   */
  of(who: string): ReplayShare {
    const held = () => this.#heldBy.get(who) ?? 0;
    const note = (bytes: number) => {
      if (bytes > 0) this.#heldBy.set(who, bytes);
      else this.#heldBy.delete(who);
    };
    return {
      each: this.each,
      take: (bytes) => {
        const isModest = held() + bytes <= this.each || held() <= this.#total - this.#held;
        if (!isModest || !this.take(bytes)) return false;
        note(held() + bytes);
        return true;
      },
      giveBack: (bytes) => {
        this.giveBack(bytes);
        note(held() - bytes);
      },
    };
  }
}
