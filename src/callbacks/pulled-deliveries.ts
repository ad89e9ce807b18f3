import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { setTimeout as passed } from "node:timers/promises";
import type { Delivery, DeliveryStore, OpenDelivery, PulledTarget, PushName } from "./delivery-store.ts";
import { keepAnswer } from "./kept-push.ts";
import type { PushAnswer } from "./push-reply.ts";

/** How long a program has for what it pulled, before that is anybody's again. */
const LEASE_MS = 30_000;
/** How often it is looked what other processes have stored, and noted that a program waits. */
const LOOK_MS = 250;
const NOTE_MS = 2000;
/** How many programs wait in this process at once. */
const MAX_WAITING = 256;

/**
 * Deliveries that programs pull: a laptop has no URL of its own.
 *
 * What comes to this process is handed out at once, what comes to others within a quarter of a second.
 */
export class PulledDeliveries {
  readonly #store: DeliveryStore;
  readonly #clock: Clock;
  /** Called when there may be something for programs that wait, with the app. */
  readonly #pullers = new Set<(app: string) => void>();
  /** Called when a push has its answer. */
  readonly #answers = new Map<string, (answer: PushAnswer) => void>();

  constructor(store: DeliveryStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Wakes the programs that wait for deliveries of that app. */
  announce(app: string): void {
    for (const wake of this.#pullers) wake(app);
  }

  /** The answer of a push, if a program gives it through this process; dispose of it. */
  answerOf(push: PushName): { readonly answer: Promise<PushAnswer>; [Symbol.dispose](): void } {
    const key = keyOf(push);
    const { promise, resolve } = Promise.withResolvers<PushAnswer>();
    this.#answers.set(key, resolve);
    return { answer: promise, [Symbol.dispose]: () => void this.#answers.delete(key) };
  }

  /**
   * Deliveries of these targets, which the caller has for 30 s: as soon as there are any, none when `waitMs` is over.
   *
   * @throws {ServiceError} `rate_limited` when too many wait.
   */
  async pull(
    app: string,
    targets: readonly PulledTarget[],
    {
      waitMs,
      limit,
      signal,
    }: { readonly waitMs: number; readonly limit: number; readonly signal: AbortSignal },
  ): Promise<readonly OpenDelivery[]> {
    if (this.#pullers.size >= MAX_WAITING) throw tooMany();
    const clock = this.#clock;
    const names = targets.map(({ name }) => name);
    const holder = crypto.randomUUID();
    const until = clock.monotonic() + waitMs;
    let notedAt = Number.NEGATIVE_INFINITY;
    for (;;) {
      const woken = this.#woken(app);
      try {
        if (clock.monotonic() - notedAt >= NOTE_MS && !signal.aborted) {
          notedAt = clock.monotonic();
          await this.#store.notePull(app, names, clock.now());
        }
        // What were taken now, nobody would get until its lease has ended.
        if (signal.aborted) return [];
        const now = clock.now();
        const lease = { holder, now, until: now + LEASE_MS };
        const found = await this.#store.pull(app, targets, lease, limit);
        const leftMs = until - clock.monotonic();
        if (found.length > 0 || leftMs <= 0 || signal.aborted) return found;
        await Promise.race([
          woken.promise,
          passed(Math.min(leftMs, LOOK_MS), undefined, { signal }).catch(() => undefined),
        ]);
      } finally {
        this.#pullers.delete(woken.wake);
      }
    }
  }

  /**
   * A program has taken a delivery, and with `answer` answers the push for it. Gives whether WeChat gets that.
   *
   * @throws {ServiceError} `conflict` when the delivery waits no more.
   */
  async acknowledge(
    delivery: Delivery,
    answer: PushAnswer | undefined,
  ): Promise<{ readonly isAnswer: boolean }> {
    const { id, app, dedupeKey } = delivery;
    const answered = answer && { app, dedupeKey, answer: keepAnswer(answer) };
    const taken = await this.#store.acknowledge(id, this.#clock.now(), answered);
    if (!taken) throw endedAlready();
    if (answer && taken.isAnswer) this.#answers.get(keyOf(delivery))?.(answer);
    return taken;
  }

  #woken(app: string) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (of: string) => {
      if (of === app) resolve();
    };
    this.#pullers.add(wake);
    return { promise, wake };
  }
}

function keyOf({ app, dedupeKey }: PushName): string {
  return `${app} ${dedupeKey}`;
}

function tooMany(): ServiceError {
  return new ServiceError(
    "rate_limited",
    "等待推送的程序过多，请稍后再试 (too many programs wait for pushes; try again later)",
    { retryAfterMs: 5000 },
  );
}

function endedAlready(): ServiceError {
  return new ServiceError(
    "conflict",
    "该投递已结束，无需再确认 (the delivery has ended: there is nothing to acknowledge)",
  );
}
