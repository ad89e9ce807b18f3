import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Secret } from "../secret.ts";
import type { RouteRole, Target } from "./callback-settings.ts";

/** `dead`: its time was up before the target took it. `dropped`: somebody has given it up. */
export const DELIVERY_STATES = ["waiting", "delivered", "dead", "dropped"] as const;
type DeliveryState = (typeof DELIVERY_STATES)[number];

/** What names a push: the app's public name, and what WeChat's attempts at it have in common. */
export interface PushName {
  readonly app: string;
  readonly dedupeKey: string;
}

/** A push, before it is stored. */
export interface NewPush extends PushName {
  /** Message type and event, for lists; empty where there is none. */
  readonly type: string;
  readonly event: string;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
  /** The request, as `keepPush` writes it; undefined where nobody gets it. */
  readonly request: Secret | undefined;
  /** What WeChat is answered, where that is known from the start. */
  readonly answer: Secret | undefined;
}

/** One delivery of a push, before it is stored. */
export interface NewDelivery {
  readonly target: string;
  readonly environment: string;
  readonly role: RouteRole;
  /** Those of one sender to one target are delivered in order; empty for none. */
  readonly sender: string;
  /** Until when this process tries it, before anybody else may; undefined for one that is pulled. Epoch milliseconds. */
  readonly leasedUntil: number | undefined;
}

/** What became of a push that was to be stored. */
export interface Accepted {
  /** The ids of its deliveries, in their order; undefined where the push was known. */
  readonly ids: readonly number[] | undefined;
  /** What WeChat was answered before. */
  readonly answer: Secret | undefined;
}

/** A delivery as it stands. Instants are epoch milliseconds. */
export interface Delivery extends PushName {
  /** Ascending; the order in which pushes came. */
  readonly id: number;
  readonly type: string;
  readonly event: string;
  readonly target: string;
  /** The target's, when the push came. */
  readonly environment: string;
  readonly role: RouteRole;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly receivedAt: number;
  /** When it is tried next, at the earliest. */
  readonly dueAt: number;
  /** It is dead from then on. */
  readonly expiresAt: number;
  readonly endedAt: number | undefined;
  /** Why the last attempt failed; never what was answered. */
  readonly error: string | undefined;
}

/** A delivery with the push's request, as `keepPush` wrote it; undefined once no delivery needs it, and where it can't be opened. */
export interface OpenDelivery extends Delivery {
  readonly request: Secret | undefined;
}

/** A target that is pulled. */
export type PulledTarget = Pick<Target, "name" | "environment">;

/** Who takes deliveries, and until when nobody else does. Epoch milliseconds. */
export interface DeliveryLease {
  readonly holder: string;
  readonly now: number;
  readonly until: number;
}

/** What a target has to do now. */
export interface TargetLoad {
  /** So many of its deliveries are under way. */
  readonly running: number;
  /** Whether its attempts fail: what there is no room for is then put off by half a minute. */
  readonly isFailing: boolean;
}

/** How an attempt has ended. */
export interface AttemptEnd {
  readonly id: number;
  /** Who has the lease; of another's delivery nothing is changed. */
  readonly holder: string;
  readonly at: number;
  /** Undefined: it was delivered. */
  readonly failure: { readonly error: string; readonly dueAt: number } | undefined;
}

/** Which deliveries of an app; undefined fields do not filter. */
export interface DeliveryFilter {
  readonly app: string;
  readonly environment?: string | undefined;
  readonly state?: DeliveryState | undefined;
  readonly target?: string | undefined;
}

/** How full the queue is. */
export interface DeliveryFigures {
  readonly waiting: number;
  readonly dead: number;
  /** When the oldest that waits was received; undefined where none does. Epoch milliseconds. */
  readonly oldestAt: number | undefined;
}

/**
 * Where pushes and their deliveries are kept, requests and answers sealed.
 *
 * A delivery whose lease has ended is anybody's: any process may take it, and what the former holder says of it then counts
 * no more. `accept` and `end` of one moment share a commit.
 */
export interface DeliveryStore {
  /**
   * Stores a push with its deliveries, unless it is known already. On the disk when it resolves.
   *
   * `holder` is who has those that are leased.
   */
  accept(push: NewPush, deliveries: readonly NewDelivery[], holder: string): Promise<Accepted>;
  /** Stores what WeChat is answered, unless it has an answer. Gives the one that stands. */
  answer(push: PushName, answer: Secret): Promise<Secret>;
  /**
   * The answer of a push, and without one its primary delivery while that waits and nobody has a lease of it. `isOver`:
   * there is no answer, and that delivery waits no more.
   */
  look(
    push: PushName,
    now: number,
  ): Promise<{
    readonly answer?: Secret;
    readonly free?: Pick<Delivery, "id" | "target" | "environment">;
    readonly isOver?: boolean;
  }>;
  /** Stores how an attempt has ended, and with it the answer that WeChat is given, if that is new. */
  end(ended: AttemptEnd, answered?: PushName & { readonly answer: Secret }): Promise<void>;
  /** Goes on with an attempt for longer. */
  extend(id: number, lease: DeliveryLease): Promise<void>;
  /** When the next delivery is due; undefined while none waits. */
  nextDueAt(): Promise<number | undefined>;
  /**
   * Takes at most `limit` deliveries that are due, none behind an earlier one of the same lane that is younger than a
   * minute. A target that holds as many as are left for the others is sent no more, so that slow ones hold up nobody else.
   * What has expired is dead from now on.
   */
  takeDue(
    lease: DeliveryLease,
    limit: number,
    loadOf: (app: string, target: string) => TargetLoad,
  ): Promise<{ readonly taken: readonly OpenDelivery[]; readonly died: readonly Delivery[] }>;
  /** Makes due what is due later than any attempt could say: that was written under a clock that has been set back since. */
  hasten(now: number): Promise<void>;
  /** Takes one that waits and that nobody tries. */
  take(id: number, lease: DeliveryLease): Promise<OpenDelivery | undefined>;
  /** Takes waiting deliveries for a program that pulls, the oldest first: those that came when a target was that environment's. */
  pull(
    app: string,
    targets: readonly PulledTarget[],
    lease: DeliveryLease,
    limit: number,
  ): Promise<readonly OpenDelivery[]>;
  /** Notes that a program waits for deliveries of these targets. */
  notePull(app: string, targets: readonly string[], now: number): Promise<void>;
  /** The push of a delivery was taken by a program that pulls. Gives whether `answer` is what WeChat is answered; undefined unless the delivery waited. */
  acknowledge(
    id: number,
    now: number,
    answered: (PushName & { readonly answer: Secret }) | undefined,
  ): Promise<{ readonly isAnswer: boolean } | undefined>;
  find(filter: DeliveryFilter, id: number): Promise<OpenDelivery | undefined>;
  /** The newest first, with ids below `before`. */
  list(
    filter: DeliveryFilter,
    page: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<Delivery[]>;
  /**
   * Makes deliveries wait again, of which the message is still there, for a day more; those of `pulled` targets until they
   * are pulled. By `limit` the oldest, with ids above `after`. Gives their ids. With the entry in one transaction, unless there are none.
   */
  replay(
    filter: DeliveryFilter,
    which:
      { readonly ids: readonly number[] } | { readonly limit: number; readonly after?: number | undefined },
    pulled: ReadonlySet<string>,
    now: number,
    entry: AuditEntry,
  ): Promise<readonly number[]>;
  /** Gives up one that waits or is dead; false where there is none. With the entry in one transaction. */
  drop(filter: DeliveryFilter, id: number, now: number, entry: AuditEntry): Promise<boolean>;
  figures(): Promise<DeliveryFigures>;
  /** Claims the next round of pruning, one in a minute among all processes: 0, or how long to wait, in milliseconds. */
  claimPruning(now: number): Promise<number>;
  /** Deletes a piece of what is kept no longer; gives whether there is more. */
  prune(now: number): Promise<boolean>;
}
