import type { App, Slot, SlotName } from "../apps/app.ts";
import type { CallCounter } from "../audit/call-counts.ts";
import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import type { CredentialFacts, CredentialFactsStore } from "./credential-store.ts";
import { credentialKey } from "./credential.ts";
import { type CredentialKind, DAILY_LIMITS, KINDS, kindsOf, renewBeforeMs, tokenKindOf } from "./kinds.ts";
import { type CredentialCache, MIN_TTL_MS } from "./credential-cache.ts";
import { type Backoff, backoffError, backoffKeys, isActive, isRefusal, REMEMBERED_MS } from "./backoff.ts";
import { MAX_FORCED_PER_DAY, type Pacing } from "./pacing.ts";
import { LEASE_MS } from "./refresh.ts";

/** The states of a credential; the first that fits applies, in this order. */
export const CREDENTIAL_STATES = [
  /** The upstream refused us, or a quota is used up: no request until `nextAttemptAt` or an unblock. */
  "blocked",
  /** Some process is obtaining it now. */
  "refreshing",
  /** The last attempt failed and is retried. A valid credential is still returned. */
  "failing",
  /** Valid, but due for renewal. */
  "expiring",
  "fresh",
  /** There is none, and nothing is known to prevent one. */
  "none",
] as const;
type CredentialState = (typeof CREDENTIAL_STATES)[number];

/**
 * The states of an app, the worst first: that of the credential which is worst off. One that is being obtained counts as
 * what it is meanwhile; an app has `none` only where it has none at all.
 */
export const APP_STATES = ["blocked", "failing", "expiring", "fresh", "none", "disabled"] as const;
export type AppState = (typeof APP_STATES)[number];

/**
 * The state of an app that nothing is obtained for; undefined for any other. Only a new secret helps a damaged one, and
 * only a new authorization one that WeChat has ended.
 */
export function closedState({
  managed,
  authorization,
}: Pick<App, "managed" | "authorization">): AppState | undefined {
  if (managed?.isDisabled || authorization?.lostAt !== undefined) return "disabled";
  return managed?.isDamaged ? "blocked" : undefined;
}

/** How long a credential that was revoked early counts as a sign that another program fetches tokens. */
export const FOREIGN_MS = 86_400_000;

/** The status of one credential, never its value. Instants are epoch milliseconds. */
export interface CredentialStatus {
  readonly kind: CredentialKind;
  readonly state: CredentialState;
  /** The same whether or not it is being obtained now. */
  readonly lastingState: Exclude<CredentialState, "refreshing">;
  /** 0 when there never was one. */
  readonly generation: number;
  /** Undefined when none is valid. */
  readonly life:
    | {
        readonly issuedAt: number;
        readonly expiresAt: number;
        readonly ageMs: number;
        readonly remainingMs: number;
      }
    | undefined;
  /** The last use that is known here: of this process, or stored by another within a minute. */
  readonly usedAt: number | undefined;
  /** The earliest instant of the next upstream request; undefined when that waits for a caller. */
  readonly nextAttemptAt: number | undefined;
  /** What went wrong at the last attempt; undefined once one has succeeded. */
  readonly lastFailure:
    { readonly error: ServiceError; readonly at: number; readonly count: number } | undefined;
  readonly revokedEarly: { readonly at: number; readonly earlyMs: number } | undefined;
}

/** The status of an app: its credentials, and today's upstream calls against the quota. */
export interface AppStatus {
  readonly slot: Slot;
  readonly credentials: readonly CredentialStatus[];
  /** The one that is worst off; of several the first. */
  readonly worst: CredentialStatus | undefined;
  /** The last that was revoked early, in the last 24 hours: another program fetches tokens for this app. */
  readonly foreignRefresh: CredentialStatus["revokedEarly"];
  /** Since midnight in Beijing, for the AppID or CorpID; `limit` where the platform names one. */
  readonly calls: readonly { readonly endpoint: string; readonly calls: number; readonly limit?: number }[];
  /** How many tokens that WeChat rejected before they expired are still healed for their holders. */
  readonly rejectedTokens: number;
  /** WeChat only. */
  readonly forcedRefreshes: { readonly calls: number; readonly limit: number } | undefined;
}

/** What the states are read from. */
export interface CredentialStatesParts {
  readonly facts: CredentialFactsStore;
  readonly pacing: Pick<Pacing, "backoffsOf" | "forcedToday">;
  readonly memory: Pick<CredentialCache, "current" | "usedAt">;
  readonly calls: Pick<CallCounter, "ofToday">;
  readonly clock: Clock;
  /** A credential that is not used for this long is not renewed; milliseconds. */
  readonly idleAfterMs: number;
}

const FULL_LIFE_MS = 7_200_000;
/** What is renewed only when it expires counts as expiring from here on. */
const LAST_LEFT_MS = 60_000;

/**
 * Reads the status of apps' credentials from the store and this process's memory. It makes no upstream request,
 * counts as no use and sees no value.
 */
export class CredentialStates {
  readonly #parts: CredentialStatesParts;

  constructor(parts: CredentialStatesParts) {
    this.#parts = parts;
  }

  /** The status of each app, by its slot. The number of statements does not depend on how many there are. */
  async ofApps(slots: readonly Slot[]): Promise<AppStatus[]> {
    if (slots.length === 0) return [];
    const { facts, pacing, calls, clock } = this.#parts;
    const [credentials, today, rejected, forced] = [
      await this.ofCredentials(slots),
      await calls.ofToday(slots),
      await facts.countRejected(slots, clock.now()),
      await pacing.forcedToday(slots.map(({ appId }) => appId)),
    ];
    return slots.map((slot, n) =>
      this.#appStatus(slot, {
        credentials: credentials[n] ?? [],
        today: today[n] ?? new Map<string, number>(),
        rejectedTokens: rejected[n] ?? 0,
        forced: forced[n] ?? 0,
      }),
    );
  }

  /** The status of each slot's credentials alone, by two statements. */
  async ofCredentials(slots: readonly Slot[]): Promise<CredentialStatus[][]> {
    const { facts, pacing } = this.#parts;
    if (slots.length === 0) return [];
    const [known, backoffs] = [await facts.ofSlots(slots), await pacing.backoffsOf(slots)];
    return slots.map((slot, n) =>
      kindsOf(slot).map((kind) =>
        this.#status(
          slot,
          kind,
          known[n]?.find((each) => each.kind === kind),
          backoffs,
        ),
      ),
    );
  }

  #appStatus(
    slot: Slot,
    read: {
      readonly credentials: readonly CredentialStatus[];
      readonly today: Map<string, number>;
      readonly rejectedTokens: number;
      readonly forced: number;
    },
  ): AppStatus {
    const { credentials, today, rejectedTokens, forced } = read;
    const rows = kindsOf(slot).map((kind) => KINDS.get({ slot, kind }));
    for (const { daily } of rows) if (daily) today.set(daily.endpoint, today.get(daily.endpoint) ?? 0);
    const since = this.#parts.clock.now() - FOREIGN_MS;
    return {
      slot,
      credentials,
      worst: credentials.toSorted((a, b) => rankOf(a.lastingState) - rankOf(b.lastingState))[0],
      foreignRefresh: credentials
        .flatMap(({ revokedEarly }) => (revokedEarly && revokedEarly.at > since ? [revokedEarly] : []))
        .toSorted((a, b) => b.at - a.at)[0],
      calls: [...today].flatMap(([endpoint, calls]) => {
        const limit = DAILY_LIMITS.get(endpoint);
        if (limit === undefined) return [{ endpoint, calls }];
        // What needs an AppSecret was called for the app that is held with it, under the same AppID.
        return slot.isAuthorized ? [] : [{ endpoint, calls, limit }];
      }),
      rejectedTokens,
      // Manual classic fetches use the same budget.
      forcedRefreshes: rows.some(({ canForce, invalidatesPredecessor }) => canForce || invalidatesPredecessor)
        ? { calls: forced, limit: MAX_FORCED_PER_DAY }
        : undefined,
    };
  }

  #status(
    slot: Slot,
    kind: CredentialKind,
    facts: CredentialFacts | undefined,
    backoffs: readonly Backoff[],
  ): CredentialStatus {
    const { clock, memory } = this.#parts;
    const now = clock.now();
    const key = credentialKey({ slot, kind });
    const life = this.#life(key, facts);
    const backoff = backoffThatConcerns(slot, kind, backoffs, now);
    const lease = facts?.leaseExpiresAt ?? 0;
    // A lease that ends later than any could was written under a clock that has been set back since.
    const isRefreshing = lease > now && lease <= now + LEASE_MS;
    const leftMs = life && leftWhenExpiringMs(slot, kind, { ...life, ...facts?.life });
    const usedAt = Math.max(memory.usedAt(key), facts?.usedAt ?? 0) || undefined;
    const isRenewed = life && usedAt !== undefined && now - usedAt <= this.#parts.idleAfterMs;
    const renewalAt = isRenewed && facts?.renewAt !== undefined ? Math.max(now, facts.renewAt) : undefined;
    const lastingState = stateOf({ backoff, life, leftMs, now });
    return {
      kind,
      state: isRefreshing && lastingState !== "blocked" ? "refreshing" : lastingState,
      lastingState,
      generation: facts?.generation ?? 0,
      life,
      usedAt,
      nextAttemptAt: backoff && isActive(backoff, now) ? backoff.until : renewalAt,
      lastFailure: backoff && {
        error: backoffError(backoff, now),
        at: backoff.since,
        count: backoff.count,
      },
      revokedEarly: facts?.revokedEarly,
    };
  }

  /** The life of the valid credential, by both clocks where this process has it. */
  #life(key: string, facts: CredentialFacts | undefined): CredentialStatus["life"] {
    if (!facts?.life) return undefined;
    const now = this.#parts.clock.now();
    const { issuedAt, expiresAt } = facts.life;
    const held = this.#parts.memory.current(key);
    const byWall = issuedAt > now ? 0 : expiresAt - now;
    const remainingMs = Math.floor(held?.issuedAt === issuedAt ? held.remainingMs() : byWall);
    return remainingMs < MIN_TTL_MS
      ? undefined
      : { issuedAt, expiresAt, ageMs: Math.max(0, now - issuedAt), remainingMs };
  }
}

/**
 * The backoff that keeps a credential from being obtained, or that its last attempt left behind.
 *
 * One that has ended concerns only the credential that failed; of a slot or corp that is its token.
 */
function backoffThatConcerns(
  slot: SlotName,
  kind: CredentialKind,
  backoffs: readonly Backoff[],
  now: number,
): Backoff | undefined {
  const own = ownKeys(slot, kind);
  return backoffsOf(slot, kind, backoffs)
    .filter((backoff) => isActive(backoff, now) || (own.has(backoff.key) && isRemembered(backoff, now)))
    .toSorted((a, b) => b.until - a.until)[0];
}

function isRemembered({ until }: Backoff, now: number): boolean {
  return now < until + REMEMBERED_MS;
}

function backoffsOf(slot: SlotName, kind: CredentialKind, backoffs: readonly Backoff[]): Backoff[] {
  const keys: readonly string[] = backoffKeys({ slot, kind });
  return backoffs.filter(({ key }) => keys.includes(key));
}

/** The keys of the backoffs that still say something when they have ended. */
function ownKeys(slot: SlotName, kind: CredentialKind): ReadonlySet<string> {
  return new Set(kind === tokenKindOf(slot) ? backoffKeys({ slot, kind }) : [credentialKey({ slot, kind })]);
}

/** Until when a credential is blocked, and until when it is failing after that, as far as `backoffs` say; 0 for never. */
export function troubleOf(
  slot: SlotName,
  kind: CredentialKind,
  backoffs: readonly Backoff[],
  now: number,
): { readonly blockedUntil: number; readonly failingUntil: number } {
  const backoff = backoffThatConcerns(slot, kind, backoffs, now);
  if (!backoff) return { blockedUntil: 0, failingUntil: 0 };
  const own = ownKeys(slot, kind);
  const lasting = backoffsOf(slot, kind, backoffs).filter(({ key }) => own.has(key));
  return {
    blockedUntil: isRefusal(backoff) ? backoff.until : 0,
    failingUntil: Math.max(backoff.until, ...lasting.map(({ until }) => until + REMEMBERED_MS)),
  };
}

/** How much life is left from when on a credential counts as expiring: when it is renewed, and in any case at the end. */
export function leftWhenExpiringMs(
  slot: SlotName,
  kind: CredentialKind,
  life: NonNullable<CredentialFacts["life"]>,
): number {
  const lifeMs = life.expiresAt - life.issuedAt;
  const leftMs = renewBeforeMs(KINDS.get({ slot, kind }), { lifeMs, renewBeforeMs: life.renewBeforeMs }, 0);
  return Math.max(leftMs, LAST_LEFT_MS * Math.min(1, lifeMs / FULL_LIFE_MS));
}

function rankOf(state: AppState): number {
  return APP_STATES.indexOf(state);
}

function stateOf(of: {
  readonly backoff: Backoff | undefined;
  readonly life: CredentialStatus["life"];
  /** How much life is left when it counts as expiring. */
  readonly leftMs: number | undefined;
  readonly now: number;
}): CredentialStatus["lastingState"] {
  const { backoff, life } = of;
  if (backoff && isRefusal(backoff) && isActive(backoff, of.now)) return "blocked";
  if (backoff) return "failing";
  if (!life) return "none";
  return life.remainingMs <= (of.leftMs ?? 0) ? "expiring" : "fresh";
}
