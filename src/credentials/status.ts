import type { Slot } from "../apps/app.ts";
import type { CallCounter } from "../audit/call-counts.ts";
import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import type { CredentialFacts, CredentialFactsStore } from "./credential-store.ts";
import { credentialKey } from "./credential.ts";
import { type CredentialKind, DAILY_LIMITS, KINDS, KINDS_OF, renewBeforeMs } from "./kinds.ts";
import { type CredentialCache, MIN_TTL_MS } from "./credential-cache.ts";
import { type Backoff, backoffError, backoffKeys, isActive } from "./backoff.ts";
import { MAX_FORCED_PER_DAY, type Pacing } from "./pacing.ts";
import { LEASE_MS } from "./refresh.ts";

/** How a credential is, in one word; the first that fits, in this order. */
export const CREDENTIAL_STATES = [
  /** The upstream refused us, or a quota is used up: it is left alone until an instant or an operator's word. */
  "blocked",
  /** Some process is obtaining it now. */
  "refreshing",
  /** The last attempt failed; it is tried again. What lives is still handed out. */
  "failing",
  /** It lives, but not much longer; the next one should be here or come soon. */
  "expiring",
  "fresh",
  /** There is none, and nothing is known to keep it from being obtained. */
  "none",
] as const;
type CredentialState = (typeof CREDENTIAL_STATES)[number];

/** How one credential is. Never its value. Instants are epoch milliseconds. */
export interface CredentialStatus {
  readonly kind: CredentialKind;
  readonly state: CredentialState;
  /** 0 when there never was one. */
  readonly generation: number;
  /** Of the one that is handed out; undefined when there is none. */
  readonly life:
    | {
        readonly issuedAt: number;
        readonly expiresAt: number;
        readonly ageMs: number;
        readonly remainingMs: number;
      }
    | undefined;
  /** The last hand-out that is known here: of this process, or written down by another within a minute. */
  readonly usedAt: number | undefined;
  /** The earliest instant at which the upstream is asked again; undefined when that waits for a caller. */
  readonly nextAttemptAt: number | undefined;
  /** What went wrong at the last attempt; undefined once one has succeeded. */
  readonly lastFailure:
    { readonly error: ServiceError; readonly at: number; readonly count: number } | undefined;
  readonly revokedEarly: { readonly at: number; readonly earlyMs: number } | undefined;
}

/** How an app is: its credentials, and what today's upstream calls cost of the quota. */
export interface AppStatus {
  readonly slot: Slot;
  readonly credentials: readonly CredentialStatus[];
  /** Since midnight in Beijing, for the AppID or CorpID; `limit` where the platform names one. */
  readonly calls: readonly { readonly endpoint: string; readonly calls: number; readonly limit?: number }[];
  /** How many tokens that WeChat rejected before their end still serve their holders. */
  readonly rejectedTokens: number;
  /** WeChat only. */
  readonly forcedRefreshes: { readonly calls: number; readonly limit: number } | undefined;
}

/** What the states are read from. */
export interface CredentialStatesParts {
  readonly facts: CredentialFactsStore;
  readonly pacing: Pick<Pacing, "backoffsOf" | "forcedToday">;
  readonly memory: Pick<CredentialCache, "current" | "usedAt">;
  readonly calls: Pick<CallCounter, "today">;
  readonly clock: Clock;
  /** A credential that nobody asked for in so long is not renewed; milliseconds. */
  readonly idleAfterMs: number;
}

const FULL_LIFE_MS = 7_200_000;
/** What is renewed at its very end counts as expiring from here on. */
const LAST_LEFT_MS = 60_000;

/**
 * Tells how the credentials of an app are, from the store and this process's memory.
 *
 * It asks nobody, obtains nothing, counts as no use and sees no value.
 */
export class CredentialStates {
  readonly #parts: CredentialStatesParts;

  constructor(parts: CredentialStatesParts) {
    this.#parts = parts;
  }

  /** How the app of `slot` is. */
  async ofApp(slot: Slot): Promise<AppStatus> {
    const { facts, pacing, calls } = this.#parts;
    const { platform, appId } = slot;
    const kinds = KINDS_OF[platform];
    const [known, backoffs, today] = [
      await facts.ofSlot(slot),
      await pacing.backoffsOf(slot),
      new Map(await calls.today(platform, appId)),
    ];
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
      rejectedTokens: await facts.countRejected(slot, this.#parts.clock.now()),
      // Manual classic fetches use the same budget.
      forcedRefreshes: rows.some(({ canForce, invalidatesPredecessor }) => canForce || invalidatesPredecessor)
        ? { calls: await pacing.forcedToday(appId), limit: MAX_FORCED_PER_DAY }
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

  /** The life of what is handed out, by both clocks where this process holds it. */
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
 * One that has ended says something of the very credential that failed alone; of a slot or corp that is its token.
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
  const isRefused = backoff?.failure.upstream !== undefined && backoff.reason !== "exponential";
  if (backoff && isRefused && isActive(backoff, of.now)) return "blocked";
  if (of.isRefreshing) return "refreshing";
  if (backoff) return "failing";
  if (!life) return "none";
  const scale = Math.min(1, (life.expiresAt - life.issuedAt) / FULL_LIFE_MS);
  return life.remainingMs <= Math.max(of.leftMs ?? 0, LAST_LEFT_MS * scale) ? "expiring" : "fresh";
}
