import { type ErrorCode, type Platform, ServiceError, type UpstreamErrorClass } from "./errors.ts";

/** What is known of a failure; nothing secret. */
export interface FailureFacts {
  readonly code: ErrorCode;
  readonly errcode?: number;
  readonly class?: UpstreamErrorClass;
  /** WeChat's words, with its request id, or ours. */
  readonly errmsg?: string;
  /** What to do next. */
  readonly hint?: string;
}

/** What the log may tell of `error`. */
export function failureFacts(error: unknown): FailureFacts {
  if (!(error instanceof ServiceError)) return { code: "internal" };
  const { code, upstream, logged, hint } = error;
  return {
    code,
    ...(upstream ? { errcode: upstream.errcode, class: upstream.class } : {}),
    errmsg: upstream?.errmsg ?? logged,
    ...(hint === undefined ? {} : { hint }),
  };
}

/** A request that was answered with an error. Nothing in it is the caller's own text. */
interface RequestFailure {
  readonly traceId: string;
  /** The trace of its own that a client says the request is a part of. */
  readonly parentTraceId?: string;
  /** The request id in the answer, where that is in WeChat's or WeCom's form. */
  readonly rid?: string;
  /** The route's pattern. */
  readonly route: string;
  /** A client's name, in parentheses for a caller that is no client, or empty. */
  readonly client: string;
  /** The public name of an app that we hold; `*` for any other. */
  readonly app?: string;
  readonly address: string;
  /** As in the answer. */
  readonly code: number;
  /** WeChat's, where it refused. */
  readonly errcode?: number;
  readonly errmsg: string;
  readonly hint?: string;
}

/** One request to WeChat or WeCom, which counts against a quota. */
export interface UpstreamCall {
  readonly platform: Platform;
  readonly appId: string;
  readonly endpoint: string;
  readonly durationMs: number;
  /** `ok`, `errcode`, or our error code for an answer that did not come or could not be used. */
  readonly outcome: "ok" | "errcode" | ErrorCode;
  readonly errcode?: number;
}

/**
 * How a request was served.
 *
 * `hit`: from the cache; `wait`: after a refresh that another caller had begun; `refresh`: after one of its own;
 * `done`: what it asked for takes no credential; or why not, as in `FAILED_RESULTS`.
 */
export type RequestResult = "hit" | "wait" | "refresh" | "done" | FailedResult;

/** Why a request was answered with an error, by whose turn it is. */
export const FAILED_RESULTS = [
  /** What the caller sent can't be used, or WeChat refused it for that. */
  "caller",
  /** The caller may not, or not so often. */
  "denied",
  /** WeChat or WeCom refused the app, or gave no usable answer. */
  "upstream",
  /** This service could not: a fault, the database, or nothing to hand out yet. */
  "internal",
] as const;
export type FailedResult = (typeof FAILED_RESULTS)[number];

/** The steps of a web login. */
export const WEB_LOGIN_STEPS = ["begun", "returned", "refused", "repeated", "unknown"] as const;
type WebLoginStep = (typeof WEB_LOGIN_STEPS)[number];

/** What is asked of the store. */
export type StoreOperation = "read" | "write" | "poll";

/** Why the store did not do it. */
export const STORE_FAILURES = [
  /** The database can't be reached. */
  "away",
  /** It did not answer in time. */
  "deadline",
  /** It was busy with others' writes. */
  "busy",
  /** It refused for good, as for a full disk. */
  "refused",
] as const;
export type StoreFailure = (typeof STORE_FAILURES)[number];

/** What became of what came to a callback URL. */
export const PUSH_OUTCOMES = [
  /** WeChat's check of the URL. */
  "check",
  /** The reply of the primary, or that it has none. */
  "reply",
  "success",
  /** The primary did not answer in time; or not well, or there is none to ask. WeChat was told `success`. */
  "late",
  "failed",
  "unrouted",
  /** Signed more than a day ago, or ahead: `success`, and nobody got it. */
  "expired",
  /** Answered before. */
  "repeated",
  "refused",
] as const;
export type PushOutcome = (typeof PUSH_OUTCOMES)[number];

/** Which channel was sent which kind of message. */
interface NotificationFacts {
  readonly channel: string;
  readonly kind: string;
  readonly message: string;
}

/** The service listens. */
export interface StartedEvent {
  readonly type: "service.started";
  readonly url: string;
  readonly version: string;
  /** How many apps are held, and the names of the first of them. */
  readonly apps: number;
  readonly names: readonly string[];
  /** From where callers without a key are answered; `off` for nowhere. */
  readonly anonymous: string;
  /** Where the documentation is; `off` for nowhere. */
  readonly docs: string;
  /** The proxy for SDKs with a fixed host, where there is one. */
  readonly connectProxy?: string;
}

/**
 * Everything worth reporting, as one sum type.
 *
 * Features emit; the log and the metrics read. No event has a field that could hold a secret, a
 * token, a ticket or a code.
 */
export type ServiceEvent =
  | StartedEvent
  | { readonly type: "service.stopping"; readonly reason: string }
  | { readonly type: "service.stopped" }
  | { readonly type: "config.warning"; readonly message: string }
  /** Nobody manages the service yet; `message` says how somebody can by the console. */
  | { readonly type: "console.setup_needed"; readonly message: string }
  /** No connections are accepted for want of descriptors; then they are again. */
  | { readonly type: "connections.paused" }
  | { readonly type: "connections.resumed" }
  /** A newer version has changed the database so that this one would answer wrongly: every request is 503 from now on. */
  | { readonly type: "service.outdated" }
  /** The master key was changed on all machines, and the new one is in the key file of this one now. */
  | { readonly type: "master_key.replaced"; readonly path: string; readonly keyId: string }
  /** There was no database, and a new and empty one was made. */
  | { readonly type: "database.created"; readonly path: string }
  /** The service has backed the database up: the file's name. */
  | {
      readonly type: "backup.made";
      readonly file: string;
      readonly bytes: number;
      readonly durationMs: number;
    }
  /** It could not; it tries again in an hour. */
  | ({ readonly type: "backup.failed" } & FailureFacts)
  /** The database was copied beside itself before it was migrated; the copy is what leads back to the former version. */
  | { readonly type: "database.copied"; readonly path: string }
  /** A file of the open database was deleted or replaced: what is changed is answered with an error until it is back. */
  | { readonly type: "database.lost"; readonly path: string }
  /** The address of the database leads to a server that only follows another, and takes no changes. */
  | { readonly type: "store.read_only" }
  /**
   * The database lacks what it once had, as after a failover: so many changes, and the audit entries `from` to `to`, as far
   * as this process knows.
   */
  | {
      readonly type: "store.history_lost";
      readonly changes: number;
      readonly from: number | undefined;
      readonly to: number | undefined;
    }
  /** This process had a credential that the database has lost, and has stored it again. */
  | { readonly type: "credential.restored"; readonly key: string; readonly generation: number }
  /** The first attempt to store again what was lost has failed; others follow until one succeeds. */
  | ({ readonly type: "credential.restore_failed" } & FailureFacts)
  | {
      readonly type: "credential.refreshed";
      readonly key: string;
      readonly lifeMs: number;
      readonly generation: number;
    }
  /** WeChat pushed a credential to us, and it was stored. */
  | {
      readonly type: "credential.accepted";
      readonly key: string;
      readonly lifeMs: number;
      readonly generation: number;
    }
  | ({ readonly type: "credential.refresh_failed"; readonly key: string } & FailureFacts)
  /** A slow answer came after the credential was cleared or replaced, and was not stored. */
  | { readonly type: "credential.fenced"; readonly key: string; readonly generation: number }
  | { readonly type: "credential.cleared"; readonly key: string; readonly address: string }
  /** A caller was denied something for what it is, not for what it sent. */
  | ({ readonly type: "access.denied" } & RequestFailure)
  /** A request that could not be answered for what was sent. */
  | ({ readonly type: "request.invalid" } & RequestFailure)
  /** A request that could not be answered because of WeChat, WeCom or this service. A fault is `request.failed`. */
  | ({ readonly type: "request.unserved" } & RequestFailure)
  /** Clients and keys can't be read: what was read before still applies. Reported once until they can be. */
  | ({ readonly type: "access.unreadable" } & FailureFacts)
  /** A write to the audit failed: the change was not made; counts are written later. */
  | ({ readonly type: "audit.failed" } & FailureFacts)
  /** Entries of the audit that were older than the retention, from before `before` (epoch milliseconds), were deleted. */
  | { readonly type: "audit.pruned"; readonly entries: number; readonly before: number }
  /** The audit was tampered with: the entry of that id does not fit, and nothing from there on is ever pruned. */
  | { readonly type: "audit.broken"; readonly id: number }
  /** An administrator removed the backoffs of an app. */
  | { readonly type: "app.unblocked"; readonly key: string; readonly address: string }
  /** Another process has the lease, and this one waits for its result. */
  | { readonly type: "credential.lease_waited"; readonly key: string }
  /** It waits no longer: it has the lease, or what the other process has obtained. */
  | { readonly type: "credential.lease_wait_ended"; readonly key: string; readonly waitedMs: number }
  /** A refresh has started or finished in this process, whatever its outcome. */
  | { readonly type: "refresh.started"; readonly key: string }
  | { readonly type: "refresh.finished"; readonly key: string; readonly durationMs: number }
  /** A caller has started or stopped waiting for a refresh. */
  | { readonly type: "waiter.added"; readonly key: string }
  | { readonly type: "waiter.removed"; readonly key: string }
  /** A token was revoked `earlyMs` before it would have expired: another program fetches tokens for this app. */
  | { readonly type: "credential.revoked_early"; readonly key: string; readonly earlyMs: number }
  /**
   * A row in the store can't be read whole. A credential counts as missing, so a new one will replace it; a client or a key
   * is accepted no more.
   */
  | { readonly type: "store.damaged"; readonly key: string }
  /** Nine tenths of a day's quota are used: renewals ahead of time stop. */
  | {
      readonly type: "quota.nearly_used";
      readonly key: string;
      readonly calls: number;
      readonly limit: number;
    }
  /** The service sent a request of its own to WeChat or WeCom. */
  | ({ readonly type: "upstream.called" } & UpstreamCall)
  /** A call of either kind took 3 s or longer; it is reported as what it is too. */
  | ({ readonly type: "upstream.slow" } & UpstreamCall)
  /** The gateway sent a call upstream; `endpoint` is the family of its path. */
  | ({ readonly type: "gateway.sent" } & UpstreamCall)
  /** A gateway call ended, after one or two attempts. `healing`: what became of a rejected token. */
  | {
      readonly type: "gateway.called";
      readonly client: string;
      /** Its public name. */
      readonly app: string;
      /** Of the path; one of a hundred. */
      readonly family: string;
      readonly outcome: UpstreamCall["outcome"];
      readonly healing: "none" | "healed" | "failed";
      readonly durationMs: number;
    }
  /** A call came with an app's token that WeChat had rejected before it expired. `app`: the public name. */
  | { readonly type: "rejected_token.used"; readonly app: string }
  /** A query of the store has ended, and why not well. `poll`: a look at what other machines have changed. */
  | {
      readonly type: "store.queried";
      readonly operation: StoreOperation;
      readonly durationMs: number;
      readonly failure?: StoreFailure | undefined;
    }
  /** A change of another machine became known here, so long after it was made. */
  | { readonly type: "change.seen"; readonly delayMs: number }
  /** This machine's clock is off from the database's by more than 30 s. `offsetMs`: how far the database's is ahead. */
  | { readonly type: "clock.skewed"; readonly offsetMs: number }
  /** A web login went a step on: it began, came back with a code, was refused, came back once more, or was not known. */
  | { readonly type: "web_login.moved"; readonly step: WebLoginStep }
  /** Web logins had to be forgotten before their end, because there are too many. */
  | { readonly type: "web_logins.evicted"; readonly count: number }
  /** A stream of events was ended, because its reader had lost touch. */
  | { readonly type: "event_stream.dropped" }
  /** Users' tokens had to be forgotten before their end, because there are too many. */
  | { readonly type: "user_tokens.evicted"; readonly count: number }
  /** What came to a callback URL was answered. `app`: the public name; empty for none that we hold. */
  | {
      readonly type: "push.answered";
      readonly app: string;
      readonly outcome: PushOutcome;
      readonly durationMs: number;
    }
  /** An account or a corp has authorized a third-party platform; WeChat takes that no more; it was withdrawn. */
  | { readonly type: "authorization.granted"; readonly app: string }
  | ({ readonly type: "authorization.lost"; readonly app: string } & FailureFacts)
  | { readonly type: "authorization.revoked"; readonly app: string }
  /** What somebody authorized a platform with could not be exchanged: for good, or it is tried again. */
  | ({
      readonly type: "authorization.failed";
      readonly platformApp: string;
      readonly isFinal: boolean;
    } & FailureFacts)
  /** What a platform has was compared with what WeChat says of it. */
  | {
      readonly type: "authorizations.reconciled";
      readonly platformApp: string;
      readonly added: number;
      readonly lost: number;
    }
  /** WeChat had pushed no ticket for so long, and was asked to push again; with why it would not. */
  | ({
      readonly type: "tickets.requested";
      readonly platformApp: string;
      readonly silentMs: number;
    } & Partial<FailureFacts>)
  /** A push was signed more than five minutes ago, or in the future: a repetition, or a wrong clock. */
  | { readonly type: "push.skewed"; readonly app: string }
  /** An attempt to deliver a push has ended. `reason`: why not well. */
  | {
      readonly type: "delivery.tried";
      readonly app: string;
      readonly target: string;
      readonly outcome: "delivered" | "failed";
      readonly reason?: string;
    }
  /** Somebody is told of something that is wrong; then, that it has ended. `subject`: an app, a client or a machine. */
  | {
      readonly type: "alarm.fired";
      readonly condition: string;
      readonly subject: string;
      readonly severity: string;
    }
  | {
      readonly type: "alarm.resolved";
      readonly condition: string;
      readonly subject: string;
      readonly severity: string;
      readonly lastedMs: number;
    }
  /** A channel has taken a message; or has not, and it is not sent again. `kind`: of the channel, `message`: of the message. */
  | ({ readonly type: "notification.sent" } & NotificationFacts)
  | ({
      readonly type: "notification.failed";
      readonly errcode?: number;
      readonly hint?: string;
    } & NotificationFacts)
  /** A delivery was tried for a day in vain. */
  | { readonly type: "delivery.died"; readonly app: string; readonly target: string; readonly id: number }
  | {
      readonly type: "request.handled";
      readonly traceId: string;
      /** As above, where requests are logged one by one. */
      readonly parentTraceId?: string;
      readonly method: string;
      /** The route's pattern, never the URL: its query holds secrets. */
      readonly route: string;
      readonly code: number;
      readonly result: RequestResult;
      readonly durationMs: number;
    }
  | ({
      readonly type: "request.failed";
      /** An unexpected error's name and stack frames; its message is left out, it could quote input. */
      readonly error: string;
      readonly stack: string;
    } & Omit<RequestFailure, "errcode" | "errmsg" | "hint">);

/** Receives every event, in order. It must not throw and must not block. */
export type EventListener = (event: ServiceEvent) => void;

/** A typed, synchronous event bus. What a listener throws does not reach the emitter. */
export class EventBus {
  readonly #listeners = new Set<EventListener>();

  emit(event: ServiceEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch {
        // There is nowhere left to report it: the listeners are how things are reported.
      }
    }
  }

  /** Adds a listener; returns the function that removes it. */
  subscribe(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Longer than WeChat takes for anything but large files. */
const SLOW_MS = 3000;

/** Reports a call that was sent upstream, and once more when it was slow. */
export function reportCall(
  events: Pick<EventBus, "emit">,
  type: "upstream.called" | "gateway.sent",
  call: UpstreamCall,
): void {
  events.emit({ type, ...call } as ServiceEvent);
  if (call.durationMs >= SLOW_MS) events.emit({ type: "upstream.slow", ...call });
}
