import type { Slot } from "../apps/app.ts";
import type { CallCounter } from "../audit/call-counts.ts";
import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import type { CredentialFacts, CredentialFactsStore } from "./credential-store.ts";
import { credentialKey } from "./credential.ts";
import { type CredentialKind, DAILY_LIMITS, KINDS, KINDS_OF, renewBeforeMs } from "./kinds.ts";
import { type CredentialCache, MIN_TTL_MS } from "./credential-cache.ts";
import { type Backoff, backoffError, backoffKeys, isActive, isRefusal } from "./backoff.ts";
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

/** The status of one credential, never its value. Instants are epoch milliseconds. */
export interface CredentialStatus {
  readonly kind: CredentialKind;
  readonly state: CredentialState;
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
    const { facts, pacing, calls, clock } = this.#parts;
    if (slots.length === 0) return [];
    const [known, backoffs, today, rejected, forced] = [
      await facts.ofSlots(slots),
      await pacing.backoffsOf(slots),
      await calls.ofToday(slots),
      await facts.countRejected(slots, clock.now()),
      await pacing.forcedToday(slots.map(({ appId }) => appId)),
    ];
    return slots.map((slot, n) =>
      this.#appStatus(slot, backoffs, {
        known: known[n] ?? [],
        today: today[n] ?? new Map<string, number>(),
        rejectedTokens: rejected[n] ?? 0,
        forced: forced[n] ?? 0,
      }),
    );
  }

  #appStatus(
    slot: Slot,
    backoffs: readonly Backoff[],
    read: {
      readonly known: readonly CredentialFacts[];
      readonly today: Map<string, number>;
      readonly rejectedTokens: number;
      readonly forced: number;
    },
  ): AppStatus {
    const { known, today, rejectedTokens, forced } = read;
    const kinds = KINDS_OF[slot.platform];
    const rows = kinds.map((kind) => KINDS.get({ slot, kind }));
    for (const { daily } of rows) if (daily) today.set(daily.endpoint, today.get(daily.endpoint) ?? 0);
    return {
      slot,
      credentials: kinds.map((kind) =>
        this.#status(
          slot,
          kind,
          known.find((each) => each.kind === kind),
          backoffs,
        ),
      ),
      calls: [...today].map(([endpoint, calls]) => {
        const limit = DAILY_LIMITS.get(endpoint);
        return { endpoint, calls, ...(limit === undefined ? {} : { limit }) };
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
    const leftMs = life && leftAtRenewalMs(slot, kind, facts, life);
    const usedAt = Math.max(memory.usedAt(key), facts?.usedAt ?? 0) || undefined;
    const isRenewed = life && usedAt !== undefined && now - usedAt <= this.#parts.idleAfterMs;
    const renewalAt = isRenewed && facts?.renewAt !== undefined ? Math.max(now, facts.renewAt) : undefined;
    return {
      kind,
      state: stateOf({ backoff, isRefreshing, life, leftMs, now }),
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
  slot: Slot,
  kind: CredentialKind,
  backoffs: readonly Backoff[],
  now: number,
): Backoff | undefined {
  const keys: readonly string[] = backoffKeys({ slot, kind });
  const own = new Set(kind === "access_token" ? keys : [credentialKey({ slot, kind })]);
  const concerning = backoffs.filter(
    (backoff) => keys.includes(backoff.key) && (own.has(backoff.key) || isActive(backoff, now)),
  );
  return concerning.toSorted((a, b) => b.until - a.until)[0];
}

/** How much life is left when the credential is renewed at the earliest. */
function leftAtRenewalMs(
  slot: Slot,
  kind: CredentialKind,
  facts: CredentialFacts | undefined,
  { issuedAt, expiresAt }: NonNullable<CredentialStatus["life"]>,
): number {
  const life = { lifeMs: expiresAt - issuedAt, renewBeforeMs: facts?.life?.renewBeforeMs };
  return renewBeforeMs(KINDS.get({ slot, kind }), life, 0);
}

function stateOf(of: {
  readonly backoff: Backoff | undefined;
  readonly isRefreshing: boolean;
  readonly life: CredentialStatus["life"];
  /** How much life is left when it is renewed. */
  readonly leftMs: number | undefined;
  readonly now: number;
}): CredentialState {
  const { backoff, life } = of;
  if (backoff && isRefusal(backoff) && isActive(backoff, of.now)) return "blocked";
  if (of.isRefreshing) return "refreshing";
  if (backoff) return "failing";
  if (!life) return "none";
  const scale = Math.min(1, (life.expiresAt - life.issuedAt) / FULL_LIFE_MS);
  return life.remainingMs <= Math.max(of.leftMs ?? 0, LAST_LEFT_MS * scale) ? "expiring" : "fresh";
}
