import type { Slot } from "../apps/app.ts";
import type { CallCounter } from "../audit/call-counts.ts";
import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import type { CredentialFacts, CredentialFactsStore } from "./credential-store.ts";
import { credentialKey } from "./credential.ts";
import { type CredentialKind, DAILY_LIMITS, KINDS, KINDS_OF, renewBeforeMs } from "./kinds.ts";
import { MAX_FORCED_PER_DAY, type ForcedRefreshCount } from "./throttles.ts";
import { type CredentialCache, MIN_TTL_MS } from "./credential-cache.ts";
import { isActive, type Pause, pausedError, pauseKeys, type PauseStore } from "./backoff.ts";
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
  readonly diedEarly: { readonly at: number; readonly earlyMs: number } | undefined;
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
  readonly pauses: Pick<PauseStore, "find">;
  readonly memory: Pick<CredentialCache, "current" | "usedAt">;
  readonly calls: Pick<CallCounter, "today">;
  readonly forced: ForcedRefreshCount;
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
    const { facts, pauses, calls, forced, clock } = this.#parts;
    const { platform, appId } = slot;
    const kinds = KINDS_OF[platform];
    const keys = new Set(kinds.flatMap((kind) => pauseKeys({ slot, kind })));
    const [known, standing, today] = [
      await facts.ofSlot(slot),
      await pauses.find([...keys]),
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
          standing,
        ),
      ),
      calls: [...today].map(([endpoint, calls]) => {
        const limit = DAILY_LIMITS.get(endpoint);
        return { endpoint, calls, ...(limit === undefined ? {} : { limit }) };
      }),
      rejectedTokens: await facts.countRejected(slot, clock.now()),
      // Classic fetches that an operator orders are taken from the same budget.
      forcedRefreshes: rows.some(({ canForce, invalidatesPredecessor }) => canForce || invalidatesPredecessor)
        ? { calls: await forced.takenToday(appId, clock.now()), limit: MAX_FORCED_PER_DAY }
        : undefined,
    };
  }

  #status(
    slot: Slot,
    kind: CredentialKind,
    facts: CredentialFacts | undefined,
    pauses: readonly Pause[],
  ): CredentialStatus {
    const { clock, memory } = this.#parts;
    const now = clock.now();
    const key = credentialKey({ slot, kind });
    const life = this.#life(key, facts);
    const pause = pauseThatConcerns(slot, kind, pauses, now);
    const lease = facts?.leaseExpiresAt ?? 0;
    // A lease that ends later than any could was written under a clock that has been set back since.
    const isRefreshing = lease > now && lease <= now + LEASE_MS;
    const leftMs = life && leftAtRenewalMs(slot, kind, facts, life);
    const usedAt = Math.max(memory.usedAt(key), facts?.usedAt ?? 0) || undefined;
    const isRenewed = life && usedAt !== undefined && now - usedAt <= this.#parts.idleAfterMs;
    const renewalAt = isRenewed && facts?.renewAt !== undefined ? Math.max(now, facts.renewAt) : undefined;
    return {
      kind,
      state: stateOf({ pause, isRefreshing, life, leftMs, now }),
      generation: facts?.generation ?? 0,
      life,
      usedAt,
      nextAttemptAt: pause && isActive(pause, now) ? pause.until : renewalAt,
      lastFailure: pause && { error: pausedError(pause, now), at: pause.since, count: pause.count },
      diedEarly: facts?.diedEarly,
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
 * The pause that keeps a credential from being obtained, or that its last attempt left behind.
 *
 * One that is over says something of the very credential that failed alone; of a slot or corp that is its token.
 */
function pauseThatConcerns(
  slot: Slot,
  kind: CredentialKind,
  pauses: readonly Pause[],
  now: number,
): Pause | undefined {
  const keys: readonly string[] = pauseKeys({ slot, kind });
  const own = new Set(kind === "access_token" ? keys : [credentialKey({ slot, kind })]);
  const concerning = pauses.filter(
    (pause) => keys.includes(pause.key) && (own.has(pause.key) || isActive(pause, now)),
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
  readonly pause: Pause | undefined;
  readonly isRefreshing: boolean;
  readonly life: CredentialStatus["life"];
  /** How much life is left when it is renewed. */
  readonly leftMs: number | undefined;
  readonly now: number;
}): CredentialState {
  const { pause, life } = of;
  const isRefused = pause?.failure.upstream !== undefined && pause.reason !== "ladder";
  if (pause && isRefused && isActive(pause, of.now)) return "blocked";
  if (of.isRefreshing) return "refreshing";
  if (pause) return "failing";
  if (!life) return "none";
  const scale = Math.min(1, (life.expiresAt - life.issuedAt) / FULL_LIFE_MS);
  return life.remainingMs <= Math.max(of.leftMs ?? 0, LAST_LEFT_MS * scale) ? "expiring" : "fresh";
}
