import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import type { Credential } from "./credential.ts";

/** A credential with less left than this is not handed out: its life could not be stated in whole seconds. */
export const LEAST_LIFE_MS = 1000;

/**
 * A credential in this process's memory, with its life on both clocks.
 *
 * The wall clock survives a restart, the monotonic clock survives somebody who sets the wall clock. Whichever ends
 * first ends the life.
 */
export class HeldCredential {
  readonly value: Secret;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly renewLeftMs: number | undefined;
  readonly generation: number;
  readonly #clock: Clock;
  readonly #endsAtMonotonic: number;

  /** `endsAtMonotonic` is when its life ends by the monotonic clock; by default what the wall clock makes of it. */
  constructor(credential: Credential, generation: number, clock: Clock, endsAtMonotonic?: number) {
    this.value = credential.value;
    this.issuedAt = credential.issuedAt;
    this.expiresAt = credential.expiresAt;
    this.renewLeftMs = credential.renewLeftMs;
    this.generation = generation;
    this.#clock = clock;
    const now = clock.now();
    // A credential from the future proves that the wall clock was set back, and then its age is unknown.
    const leftMs = credential.issuedAt > now ? 0 : credential.expiresAt - now;
    this.#endsAtMonotonic = endsAtMonotonic ?? clock.monotonic() + leftMs;
  }

  /** The whole life that it was issued with, in milliseconds. */
  lifeMs(): number {
    return this.expiresAt - this.issuedAt;
  }

  /** The life that is left, in milliseconds; not above zero when it is over. */
  remainingMs(): number {
    return Math.min(this.expiresAt - this.#clock.now(), this.#endsAtMonotonic - this.#clock.monotonic());
  }

  /** Whether at least `minTtlMs`, and in any case `LEAST_LIFE_MS`, are left. */
  isUsable(minTtlMs = 0): boolean {
    return this.remainingMs() >= Math.max(minTtlMs, LEAST_LIFE_MS);
  }
}
