import { setTimeout as passed } from "node:timers/promises";
import { nameOfApp } from "../apps/app.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { Clock } from "../clock.ts";
import type { EventBus, PushOutcome } from "../events.ts";
import type { CallbackDirectory } from "./callback-directory.ts";
import {
  type AppCallbacks,
  type CallbackSettingsStore,
  findTarget,
  pushSettingsOf,
  type Target,
} from "./callback-settings.ts";
import { type Deliveries, type Held, leaseMsOf, LIFE_MS } from "./deliveries.ts";
import type { Accepted, DeliveryStore, NewDelivery, NewPush, PushName } from "./delivery-store.ts";
import { keepAnswer, keepPush, type KeptPush, readKeptAnswer } from "./kept-push.ts";
import type { PlatformPushes } from "./platform-pushes.ts";
import { PushRefused } from "./push-crypto.ts";
import { dedupeKeyOf, type PushMessage, readPushMessage } from "./push-message.ts";
import type { PulledDeliveries } from "./pulled-deliveries.ts";
import { answerOf, type PushAnswer, SUCCESS } from "./push-reply.ts";
import { routesFor } from "./routing.ts";
import { type PushRequest, verifyPush } from "./verify-push.ts";

/**
 * How long the primary has, from the arrival of the push. WeChat and WeCom wait for 5 s, and for 1 s with commands to a
 * service provider.
 * https://developer.work.weixin.qq.com/document/path/90930
 */
export const ANSWER_MS = 4500;
const COMMAND_MS = 800;
/** A primary's first attempt is another process's business so much later than its answer was due. */
const GRACE_MS = 1000;
/** How long ago a program must have asked, so that a pulled target counts as there. */
const PULLED_MS = 5000;
/** How often it is looked whether another process has an answer. */
const LOOK_MS = 100;
const STOP_MS = 3000;
/** Of the time of the last check that is noted. */
const CHECK_PRECISION_MS = 5000;
/** WeChat has given up waiting so much later than the primary's answer was due. */
const GIVEN_UP_MS = 1000;
/** How often a push is tried to be stored, and how many wait for that at once: further ones are answered 503. */
const RETRY_MS = 100;
const MAX_FAILING = 256;
/** What lists and counts have of a type or an event, in characters; routes look at the whole. */
const MAX_LISTED = 128;
const TEXT = "text/plain; charset=utf-8";

/** What the receiver works with. */
export interface PushReceiverDeps {
  readonly store: DeliveryStore;
  readonly settings: Pick<CallbackSettingsStore, "noteCheck" | "lastPullsOf">;
  readonly callbacks: Pick<CallbackDirectory, "of">;
  readonly directory: Pick<AppDirectory, "find">;
  readonly platforms: Pick<PlatformPushes, "widen" | "place">;
  readonly deliveries: Deliveries;
  readonly pulled: Pick<PulledDeliveries, "announce" | "answerOf">;
  readonly clock: Clock;
  readonly events: EventBus;
  /** In the place of the 4.5 s that a primary has. */
  readonly answerMs?: number | undefined;
}

/** What came to a callback URL. */
export type CallbackRequest = PushRequest & {
  /** What stands behind the name of a third-party platform in the path: `auth`, or an account's AppID or CorpID. */
  readonly account?: string | undefined;
  readonly contentType: string;
  /** When it arrived, by the monotonic clock. */
  readonly arrivedAt: number;
};

/** What WeChat is answered, and how that came about. */
export interface Received {
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly outcome: PushOutcome;
  /** The public name of the app whose push it is. */
  readonly app: string;
}

/** A verified push, and what is known of it. */
interface Arrived {
  /** Of the app whose callbacks they are: of an account without routes of its own, its platform's. */
  readonly name: PushName;
  readonly message: PushMessage;
  readonly kept: KeptPush;
  readonly callbacks: AppCallbacks;
  /** Until when the primary may answer, by the monotonic clock. */
  readonly until: number;
  /** Whether WeChat is answered `success` whatever any target says. */
  readonly isAnswered: boolean;
}

/** A push that is being answered. */
interface Flight {
  readonly answer: PushAnswer;
  readonly outcome: PushOutcome;
  /** Settles when other processes know the answer too, or can't be told. */
  readonly stored?: Promise<unknown>;
}

/**
 * Answers what comes to callback URLs: verifies it, stores it with its deliveries, asks the primary, and gives its answer.
 *
 * Each push has one answer, however often it comes: WeChat's attempts join the first one, in this process and in others, and
 * later ones are answered as before.
 */
export class PushReceiver {
  readonly #deps: PushReceiverDeps;
  readonly #flights = new Map<string, Promise<Flight>>();
  /** What goes on behind an answer. */
  readonly #behind = new Set<Promise<unknown>>();
  /** How many pushes wait until they can be stored. */
  #failing = 0;

  constructor(deps: PushReceiverDeps) {
    this.#deps = deps;
  }

  /**
   * The answer to a request to the callback URL of the app of that name.
   *
   * @throws {PushRefused} for what WeChat has not sent, and for an app that is disabled or without callbacks.
   * @throws {ServiceError} when the push can't be stored: WeChat shall send it again.
   */
  async receive(name: string, request: CallbackRequest): Promise<Received> {
    const {
      directory,
      callbacks: all,
      platforms,
      clock,
      events,
      settings,
      answerMs = ANSWER_MS,
    } = this.#deps;
    const held = directory.find(name);
    const app = held ? nameOfApp(held) : "";
    const callbacks = held && !held.managed?.isDisabled && all.of(app);
    if (!callbacks || (!held.role && request.account !== undefined)) throw new PushRefused("not_configured");
    const own = pushSettingsOf(callbacks.settings, held.platform);
    const accepted = held.role ? platforms.widen(own, held, request.account) : own;
    const verified = verifyPush(accepted, request, clock.now());
    if (verified.isSkewed) events.emit({ type: "push.skewed", app });
    if (verified.kind === "check") {
      // It tells an operator that WeChat has the current key. WeCom waits for 1 s, and not for this.
      const { checkedAt = 0 } = callbacks.settings;
      if (verified.keyIndex === 0 && clock.now() - checkedAt > CHECK_PRECISION_MS)
        this.#leave(settings.noteCheck(app, clock.now()));
      return { body: Buffer.from(verified.echo), contentType: TEXT, outcome: "check", app };
    }
    // Pushes are known for little longer than that: beyond it a repeat would be delivered anew.
    if (Math.abs(verified.timestamp * 1000 - clock.now()) > LIFE_MS)
      return { body: SUCCESS.body, contentType: SUCCESS.contentType, outcome: "expired", app };
    const message = readPushMessage(verified);
    const { query, body, contentType, arrivedAt, account } = request;
    const kept = { platform: held.platform, request: { query, body, contentType }, push: verified };
    const { isAnswered, scope, ...of } = held.role
      ? await platforms.place(held, callbacks, { kept, message, account }, clock.now())
      : { app: held, kept, callbacks, scope: "", isAnswered: false };
    const push = { app: of.callbacks.settings.app, dedupeKey: scope + dedupeKeyOf(verified, message) };
    const isShort = isAnswered || (held.platform === "wecom" && message.infoType !== undefined);
    const until = arrivedAt + (isShort ? Math.min(COMMAND_MS, answerMs) : answerMs);
    const { answer, outcome } = await this.#join({ ...of, name: push, message, isAnswered, until });
    return { body: answer.body, contentType: answer.contentType, outcome, app: nameOfApp(of.app) };
  }

  /** Waits for what goes on behind answers, three seconds at most: other processes repeat what is left. */
  async stop(): Promise<void> {
    await Promise.race([Promise.allSettled(this.#behind), this.#deps.clock.sleep(STOP_MS)]);
  }

  async #join(arrived: Arrived): Promise<Flight> {
    const key = `${arrived.name.app} ${arrived.name.dedupeKey}`;
    const known = this.#flights.get(key);
    if (known) return { ...(await known), outcome: "repeated" };
    const flight = this.#fly(arrived);
    this.#flights.set(key, flight);
    const forget = () => this.#flights.delete(key);
    this.#leave(flight.then(({ stored }) => stored).then(forget, forget));
    return flight;
  }

  async #fly(arrived: Arrived): Promise<Flight> {
    const { deliveries, clock, pulled } = this.#deps;
    const { name, message, kept, until, isAnswered } = arrived;
    const { primary, isThere, copies } = await this.#targetsOf(arrived);
    const targets = primary ? [primary, ...copies] : copies;
    const now = clock.now();
    const push: NewPush = {
      ...name,
      type: (message.msgType ?? message.infoType ?? "").slice(0, MAX_LISTED),
      event: (message.event ?? "").slice(0, MAX_LISTED),
      receivedAt: now,
      request: targets.length > 0 ? keepPush(kept) : undefined,
      answer: isThere && !isAnswered ? undefined : keepAnswer(SUCCESS),
    };
    const answersInMs = Math.max(0, until - clock.monotonic());
    const accepted = await this.#accept(
      until,
      push,
      targets.map((target): NewDelivery => {
        const isAsked = target === primary && !isAnswered;
        const leaseMs = isAsked ? answersInMs + GRACE_MS : leaseMsOf(target);
        return {
          ...{ target: target.name, environment: target.environment, sender: message.fromUserName ?? "" },
          role: target === primary ? "primary" : "copy",
          leasedUntil: target.url === undefined ? undefined : Math.round(now + leaseMs),
        };
      }),
    );
    const { ids, answer } = accepted;
    if (!ids) return answer ? { answer: readKeptAnswer(answer), outcome: "repeated" } : this.#follow(arrived);
    const held = targets.map((target, index): [Target, Held] => {
      const { name: targetName, environment } = target;
      const { type, event } = push;
      const id = ids[index] ?? 0;
      const role = target === primary ? "primary" : "copy";
      const lasts = { attempts: 1, expiresAt: now + LIFE_MS };
      return [target, { id, ...name, target: targetName, environment, role, type, event, ...lasts }];
    });
    if (targets.some(({ url }) => url === undefined)) pulled.announce(name.app);
    for (const [target, each] of held)
      if ((target !== primary || isAnswered) && target.url !== undefined)
        this.#leave(deliveries.deliver(each, kept, target));
    if (isAnswered) return { answer: SUCCESS, outcome: "success" };
    const [first] = held;
    if (!first || !isThere) return { answer: SUCCESS, outcome: "unrouted" };
    return primary?.url === undefined ? this.#follow(arrived) : this.#ask(arrived, ...first);
  }

  /**
   * Stores a push, and tries it again where that fails: until WeChat has given up waiting, and sends the push again. WeCom
   * may not after an answer that says so.
   */
  async #accept(until: number, ...[push, wanted]: [NewPush, readonly NewDelivery[]]): Promise<Accepted> {
    const { store, deliveries, clock } = this.#deps;
    for (;;) {
      try {
        return await store.accept(push, wanted, deliveries.holder);
      } catch (error) {
        if (clock.monotonic() >= until + GIVEN_UP_MS || this.#failing >= MAX_FAILING) throw error;
      }
      this.#failing += 1;
      await passed(RETRY_MS);
      this.#failing -= 1;
    }
  }

  /**
   * The primary that is asked, and who is told. A pulled one that nobody pulls is passed over for the next; where there is
   * no other it gets the push nevertheless, and WeChat is not kept waiting.
   */
  async #targetsOf({ name, callbacks, message }: Arrived) {
    const { settings, clock } = this.#deps;
    const { primaries, copies } = routesFor(callbacks, message);
    let primary = primaries.find(({ url }) => url !== undefined);
    if (primaries.some(({ url }) => url === undefined)) {
      const pulls = await settings.lastPullsOf(name.app).catch(() => new Map<string, number>());
      const since = clock.now() - PULLED_MS;
      primary = primaries.find((each) => each.url !== undefined || (pulls.get(each.name) ?? 0) >= since);
    }
    const asked = primary ?? primaries[0];
    return {
      primary: asked,
      isThere: primary !== undefined,
      copies: copies.filter((each) => each.name !== asked?.name),
    };
  }

  /** Asks the primary. What it answers too late is its answer no more, and counts as delivered nevertheless. */
  async #ask({ name, kept, until }: Arrived, primary: Target, held: Held): Promise<Flight> {
    const { store, deliveries, clock } = this.#deps;
    const attempt = deliveries.attempt(held, primary, kept);
    const leftMs = Math.max(0, until - clock.monotonic());
    const result = await before(attempt, leftMs);
    if (!result) {
      const answer = keepAnswer(SUCCESS);
      const stored = Promise.allSettled([
        store.extend(held.id, deliveries.lease(leaseMsOf(primary))),
        store.answer(name, answer),
      ]);
      this.#leave(Promise.all([attempt, stored]).then(([{ failure }]) => deliveries.end(held, failure)));
      return { answer: SUCCESS, outcome: "late", stored };
    }
    const given =
      "body" in result ? answerOf(kept.push, result.body, result.replyKey, clock.now()) : undefined;
    const answer = given ?? SUCCESS;
    const failure = result.failure ?? (given ? undefined : "wrong_answer");
    const stored = deliveries.end(held, failure, { ...name, answer: keepAnswer(answer) });
    this.#leave(stored);
    return { answer, outcome: given ? outcomeOf(given) : "failed", stored };
  }

  /**
   * Waits for the answer that a program that pulls gives through any process, or that another process gets from the
   * primary; and asks the primary itself where that process is gone.
   */
  async #follow(arrived: Arrived): Promise<Flight> {
    const { store, pulled, deliveries, clock } = this.#deps;
    const { name, until, callbacks } = arrived;
    using told = pulled.answerOf(name);
    for (let leftMs = until - clock.monotonic(); leftMs > 0; leftMs = until - clock.monotonic()) {
      const here = await before(told.answer, Math.min(leftMs, LOOK_MS));
      if (here) return { answer: here, outcome: outcomeOf(here) };
      const { answer: kept, free, isOver } = await store.look(name, clock.now()).catch(() => NOTHING);
      const answer = kept && readKeptAnswer(kept);
      if (answer) return { answer, outcome: outcomeOf(answer) };
      // Whoever asked the primary was killed before the answer was stored; or it was given up.
      if (isOver) break;
      const primary = free && findTarget(callbacks, free);
      if (primary?.url === undefined) continue;
      const lease = deliveries.lease(leftMs + GRACE_MS);
      const taken = free && (await store.take(free.id, lease).catch(() => undefined));
      if (taken) return await this.#ask(arrived, primary, taken);
    }
    const answer = readKeptAnswer(await store.answer(name, keepAnswer(SUCCESS)));
    return { answer, outcome: answer.isReply ? "reply" : "late" };
  }

  #leave(work: Promise<unknown>): void {
    const behind = work.catch(() => undefined).finally(() => this.#behind.delete(behind));
    this.#behind.add(behind);
  }
}

const NOTHING: Awaited<ReturnType<DeliveryStore["look"]>> = {};

function outcomeOf({ isReply }: PushAnswer): PushOutcome {
  return isReply ? "reply" : "success";
}

/** What `work` resolves with, if it does within so many milliseconds. */
async function before<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  const limit = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => limit.resolve(undefined), Math.max(0, ms));
  try {
    return await Promise.race([work, limit.promise]);
  } finally {
    clearTimeout(timer);
  }
}
