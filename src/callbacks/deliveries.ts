import type { AppDirectory } from "../apps/app-directory.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { CallbackDirectory } from "./callback-directory.ts";
import { findTarget, type Target } from "./callback-settings.ts";
import type { Delivery, DeliveryLease, DeliveryStore, OpenDelivery, PushName } from "./delivery-store.ts";
import { keepAnswer, type KeptPush, readKeptPush } from "./kept-push.ts";
import type { PushKey } from "./push-crypto.ts";
import { answerOf } from "./push-reply.ts";
import { contentsFor, requestTo, TargetFailure, type TargetSender } from "./target-request.ts";
import type { Secret } from "../secret.ts";

/** How long a delivery is tried. */
export const LIFE_MS = 24 * 3_600_000;
/** How long a target may take, unless it says otherwise, and at most. */
const TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 20_000;
/** How much longer than an attempt may take a process keeps a delivery, so that only a crashed one loses it. */
const LEASE_MARGIN_MS = 5000;
const TAKEN_MS = MAX_TIMEOUT_MS + LEASE_MARGIN_MS;
const MIN_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 600_000;
const PRUNE_EVERY_MS = 60_000;
/** By so much the wall clock is not slewed between two rounds: it was set. */
const CLOCK_SET_MS = 10_000;
/** So many pieces are pruned in one round. */
const MAX_PIECES = 20;
/** How long to sleep while nothing is due, and at the least. */
const MAX_SLEEP_MS = 5000;
const MIN_SLEEP_MS = 100;
/** How many attempts in the background run at once. */
const MAX_ATTEMPTS = 24;
/** So many attempts in a row fail of a target that is failing: of a healthy one too a push may fail now and then. */
const FAILING_AFTER = 2;
/** How long a stop waits for attempts under way: another process repeats what is left. */
const STOP_MS = 3000;

/** How long a target may take, in milliseconds. */
function timeoutOf({ timeoutMs }: Pick<Target, "timeoutMs">): number {
  return Math.min(timeoutMs ?? TIMEOUT_MS, MAX_TIMEOUT_MS);
}

/** How long a process keeps a delivery to that target, in milliseconds. */
export function leaseMsOf(target: Pick<Target, "timeoutMs">): number {
  return timeoutOf(target) + LEASE_MARGIN_MS;
}

/** What deliveries are made with. */
export interface DeliveryDeps {
  readonly store: DeliveryStore;
  readonly callbacks: Pick<CallbackDirectory, "of">;
  readonly directory: Pick<AppDirectory, "find">;
  readonly sender: TargetSender;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Counts a delivery that a target took. */
  readonly onDelivered: (
    delivery: Pick<Delivery, "app" | "target" | "environment" | "type" | "event">,
  ) => void;
}

/** How a target has taken a push. */
export type Attempt =
  | { readonly body: Uint8Array; readonly replyKey: PushKey; readonly failure?: undefined }
  /** In a word. */
  | { readonly failure: string };

/** A delivery that this process has a lease of. */
export type Held = Pick<
  Delivery,
  "id" | "app" | "dedupeKey" | "target" | "environment" | "role" | "type" | "event" | "attempts" | "expiresAt"
>;

/**
 * Delivers pushes to targets with a URL, at least once: until one has answered with a status of success, or a day is over.
 *
 * The store knows when each attempt is due, and any process takes what is due under a lease. If that process is killed, the
 * lease ends and another takes over.
 */
export class Deliveries {
  /** Who has the leases of this process. */
  readonly holder = crypto.randomUUID();
  readonly #deps: DeliveryDeps;
  /** Those in the background, by app and target. */
  readonly #running = new Map<Promise<void>, string>();
  /** How many attempts have failed in a row, by app and target. */
  readonly #failures = new Map<string, number>();
  #timer: Timer | undefined;
  #isStarted = false;
  #isStopping = false;
  /** Whether a round is under way, which plans the next one. */
  #isAwake = false;
  /** When the next round begins, by the monotonic clock. */
  #wakesAt = Number.POSITIVE_INFINITY;
  #prunesAt = 0;
  /** What the wall clock is ahead of the monotonic one. */
  #aheadMs = Number.POSITIVE_INFINITY;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
  }

  /** Begins to deliver what is due. */
  start(): void {
    this.#isStarted = true;
    this.#wakeIn(MIN_SLEEP_MS);
  }

  /** Takes what is due now and begins to deliver it. Never throws. */
  async tick(): Promise<void> {
    if (this.#isStopping) return;
    const { store, events } = this.#deps;
    const limit = MAX_ATTEMPTS - this.#running.size;
    if (limit <= 0) return;
    const loadOf = (app: string, target: string) => {
      const name = `${app} ${target}`;
      const running = [...this.#running.values()].filter((each) => each === name).length;
      return { running, isFailing: (this.#failures.get(name) ?? 0) >= FAILING_AFTER };
    };
    await this.#noteClock();
    const none = { taken: [], died: [] };
    const { taken, died } = await store.takeDue(this.lease(), limit, loadOf).catch(() => none);
    for (const { app, target, id } of died) events.emit({ type: "delivery.died", app, target, id });
    for (const delivery of taken) this.#run(delivery);
    await this.#prune();
  }

  /** Stops taking; waits for attempts under way, three seconds at most. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await Promise.race([Promise.allSettled(this.#running.keys()), this.#deps.clock.sleep(STOP_MS)]);
  }

  /** A lease of this process from now on, of that many milliseconds. */
  lease(ms = TAKEN_MS): DeliveryLease {
    const now = this.#deps.clock.now();
    return { holder: this.holder, now, until: now + ms };
  }

  /** Asks a target once. Never throws. */
  async attempt(held: Held, target: Target, kept: KeptPush): Promise<Attempt> {
    const { directory, sender, clock } = this.#deps;
    const app = directory.find(held.app);
    const contents = contentsFor(target, kept, clock.now());
    if (!app || !contents) return { failure: "no_secret" };
    const timeoutMs = timeoutOf(target);
    try {
      const about = { appId: kept.account ?? app.id, dedupeKey: held.dedupeKey, timeoutMs };
      const { status, body } = await sender.send(requestTo(target, contents, about));
      if (status < 200 || status > 299) return { failure: `status_${status}` };
      return { body, replyKey: contents.replyKey };
    } catch (error) {
      if (error instanceof TargetFailure) return { failure: error.reason };
      throw error;
    }
  }

  /** Stores how an attempt has ended, and with it what WeChat is answered. A failure is tried again later. Never throws. */
  async end(
    held: Held,
    failure: string | undefined,
    answered?: PushName & { readonly answer: Secret },
  ): Promise<void> {
    const { store, clock, events, onDelivered } = this.#deps;
    const { id, app, target } = held;
    const at = clock.now();
    const outcome = failure === undefined ? "delivered" : "failed";
    events.emit({
      type: "delivery.tried",
      app,
      target,
      outcome,
      ...(failure === undefined ? {} : { reason: failure }),
    });
    const name = `${app} ${target}`;
    if (failure === undefined) this.#failures.delete(name);
    else this.#failures.set(name, (this.#failures.get(name) ?? 0) + 1);
    if (failure === undefined) onDelivered(held);
    const dueAt = Math.min(at + backoffMs(held.attempts), held.expiresAt);
    const ended = {
      id,
      holder: this.holder,
      at,
      failure: failure === undefined ? undefined : { error: failure, dueAt },
    };
    // What can't be stored is repeated once the lease has ended.
    await store.end(ended, answered).catch(() => undefined);
    if (failure !== undefined) this.#wakeIn(dueAt - at);
  }

  /** Tries a delivery, and ends it: any answer with a status of success will do. Never throws. */
  async deliver(held: Held, kept: KeptPush, known?: Target): Promise<void> {
    const target = known ?? findTarget(this.#deps.callbacks.of(held.app), held);
    if (!target) return this.end(held, "no_such_target");
    if (target.url === undefined) return this.#leaveToPullers(held);
    const result = await this.attempt(held, target, kept);
    await this.end(held, result.failure, this.#answerIn(held, result, kept));
  }

  /** What WeChat is answered if it still waits: the process that asked first was killed, and the push came again. */
  #answerIn({ role, app, dedupeKey }: Held, result: Attempt, { push }: KeptPush) {
    if (role !== "primary" || result.failure !== undefined) return undefined;
    const answer = answerOf(push, result.body, result.replyKey, this.#deps.clock.now());
    return answer && { app, dedupeKey, answer: keepAnswer(answer) };
  }

  #run(delivery: OpenDelivery): void {
    const running = this.#deliverKept(delivery).finally(() => {
      this.#running.delete(running);
      // There may be more that had no room.
      this.#wakeIn(0);
    });
    this.#running.set(running, `${delivery.app} ${delivery.target}`);
  }

  async #deliverKept(delivery: OpenDelivery): Promise<void> {
    let kept: KeptPush;
    try {
      if (!delivery.request) throw new Error("no message");
      kept = readKeptPush(delivery.request);
    } catch {
      return this.end(delivery, "no_message");
    }
    await this.deliver(delivery, kept);
  }

  async #leaveToPullers(held: Held): Promise<void> {
    const { store, clock } = this.#deps;
    const failure = { error: "pulled", dueAt: held.expiresAt };
    await store.end({ id: held.id, holder: this.holder, at: clock.now(), failure }).catch(() => undefined);
  }

  /** At the start, and when the wall clock was set back, makes due what would wait for a time that has been already. */
  async #noteClock(): Promise<void> {
    const { store, clock } = this.#deps;
    const aheadMs = clock.now() - clock.monotonic();
    try {
      if (aheadMs < this.#aheadMs - CLOCK_SET_MS) await store.hasten(clock.now());
      this.#aheadMs = aheadMs;
    } catch {
      // The next round does it.
    }
  }

  async #prune(): Promise<void> {
    const { store, clock } = this.#deps;
    if (clock.monotonic() < this.#prunesAt) return;
    try {
      const waitMs = await store.claimPruning(clock.now());
      this.#prunesAt = clock.monotonic() + (waitMs || PRUNE_EVERY_MS);
      if (waitMs > 0) return;
      for (let piece = 0; piece < MAX_PIECES && !this.#isStopping; piece++)
        if (!(await store.prune(clock.now()))) break;
    } catch {
      this.#prunesAt = clock.monotonic() + PRUNE_EVERY_MS;
    }
  }
  /** Begins a round in so many milliseconds, unless one begins earlier. */
  #wakeIn(ms: number): void {
    const at = this.#deps.clock.monotonic() + ms;
    if (!this.#isStarted || this.#isStopping || at >= this.#wakesAt) return;
    this.#wakesAt = at;
    clearTimeout(this.#timer);
    if (!this.#isAwake) this.#timer = setTimeout(() => void this.#round(), Math.max(0, ms));
  }

  async #round(): Promise<void> {
    const { store, clock } = this.#deps;
    this.#isAwake = true;
    this.#wakesAt = Number.POSITIVE_INFINITY;
    await this.tick();
    const dueAt = await store.nextDueAt().catch(() => undefined);
    const dueInMs = (dueAt ?? Number.POSITIVE_INFINITY) - clock.now();
    const kickedInMs = this.#wakesAt - clock.monotonic();
    this.#isAwake = false;
    this.#wakesAt = Number.POSITIVE_INFINITY;
    this.#wakeIn(Math.min(MAX_SLEEP_MS, Math.max(MIN_SLEEP_MS, dueInMs), Math.max(0, kickedInMs)));
  }
}

/** How long to wait after that many attempts: a second, then twice as long each time, ten minutes at most. */
function backoffMs(attempts: number): number {
  const ms = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(20, Math.max(0, attempts - 1)));
  // What failed in one moment must not come back in one.
  return Math.round(ms * (0.8 + 0.4 * Math.random()));
}
