import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { type Asked, type Asking, isClassicToken, isStableToken, type Turn } from "./fetcher.ts";
import { type RejectionThrottle, FORCED_PAUSE_MS } from "./throttles.ts";
import { type Credential, credentialKey } from "./credential.ts";
import type { CachedCredential } from "./credential-cache.ts";
import { BUDGET_MESSAGE, deadEnd, unavailable } from "./backoff.ts";
import { KINDS } from "./kinds.ts";
import type { RefreshParts } from "./refresh.ts";

/** A token that ends so long before its time was ended by somebody. */
const EARLY_MS = 60_000;
/** How often WeChat is asked whether it has found out by itself that its token is dead. */
const DEAD_END_MS = 60_000;
const UNKNOWN_MS = 10_000;

/**
 * What is done about a token that somebody says is dead, under the lease.
 *
 * Nothing that kills a token is spent before WeChat has confirmed that it is dead.
 */
export class Replacement {
  readonly #parts: RefreshParts;
  readonly #asking: Asking;
  readonly #complaints: RejectionThrottle;

  constructor(parts: RefreshParts, asking: Asking, complaints: RejectionThrottle) {
    this.#parts = parts;
    this.#asking = asking;
    this.#complaints = complaints;
  }

  /** Looks for a token that is not `rejected`; the same one when WeChat says that it is alive. */
  async run(turn: Turn, rejected: Secret): Promise<CachedCredential | undefined> {
    const { ref, record, signal } = turn;
    // A classic fetch kills, so there the question comes first.
    const asked = isClassicToken(ref) ? undefined : await this.#asking.ask(turn);
    if (asked && !asked.credential.value.equals(rejected)) {
      const naturalMs = (KINDS.get(ref).repeatedUntilLeftMs ?? 0) + EARLY_MS;
      const early = record.credential?.value.equals(rejected) && this.#leftMs(record.credential) > naturalMs;
      return this.#asking.save(early ? await this.#bury(turn, rejected, record.credential) : turn, asked);
    }
    const isDead = record.dead?.equals(rejected);
    const verdict = isDead ? "dead" : await this.#parts.probe.check(ref.slot, rejected, signal);
    if (verdict === "dead") return this.escalate(turn, rejected, asked?.credential ?? record.credential);
    if (verdict === "alive") return this.#keep(turn, rejected, asked);
    throw deadEnd(
      "无法向微信核实该凭证是否失效，请稍后重试 (WeChat can't be asked whether it is dead; try again later)",
      UNKNOWN_MS,
    );
  }

  /** WeChat has confirmed that `dead` is dead. Only what makes a new token helps, and where nothing does, waiting. */
  async escalate(turn: Turn, dead: Secret, credential?: Credential): Promise<CachedCredential | undefined> {
    const { ref, record } = turn;
    const buried = record.dead?.equals(dead) ? turn : await this.#bury(turn, dead, credential);
    if (isStableToken(ref)) return this.#forceOnce(buried, dead);
    if (isClassicToken(ref)) return this.#asking.save(buried, await this.#asking.ask(buried));
    throw deadEnd(
      "企业微信的凭证已失效且仍在重复下发，请稍后重试 (WeCom repeats a token that is dead; try again later)",
      FORCED_PAUSE_MS,
    );
  }

  /** Has WeChat make a new stable token, within the budget: an operator's order. */
  async force(turn: Turn): Promise<CachedCredential | undefined> {
    const { forced, clock } = this.#parts;
    const waitMs = await forced.take(turn.ref.slot.appId, clock.now());
    // What stands goes on, so this refusal is for the operator alone.
    if (waitMs > 0) throw unavailable(BUDGET_MESSAGE, waitMs);
    return this.#asking.save(turn, await this.#asking.once(turn, true));
  }

  async #forceOnce(turn: Turn, dead: Secret): Promise<CachedCredential | undefined> {
    const { forced, clock } = this.#parts;
    const waitMs = await forced.take(turn.ref.slot.appId, clock.now());
    if (waitMs > 0) throw deadEnd(BUDGET_MESSAGE, Math.min(waitMs, DEAD_END_MS));
    const asked = await this.#forced(turn);
    if (dead.equals(asked.credential.value))
      throw deadEnd("微信仍返回已失效的凭证 (WeChat still hands out the dead token)", FORCED_PAUSE_MS);
    return this.#asking.save(turn, asked);
  }

  async #forced(turn: Turn): Promise<Asked> {
    try {
      return await this.#asking.once(turn, true);
    } catch (error) {
      // It is the budget of forced calls that WeChat says is used up; the ordinary ones go on.
      if (error instanceof ServiceError && error.upstream?.class === "quota_day")
        throw deadEnd(BUDGET_MESSAGE, DEAD_END_MS);
      throw error;
    }
  }

  /** A false complaint: the value that was rejected goes on. */
  async #keep(turn: Turn, value: Secret, asked: Asked | undefined): Promise<CachedCredential | undefined> {
    const { ref, record } = turn;
    this.#complaints.cacheAlive(credentialKey(ref), value);
    if (asked) return this.#asking.save(turn, asked);
    if (!record.credential) return undefined;
    return this.#asking.save(turn, { credential: { ...record.credential }, endsAtMonotonic: undefined });
  }

  /** Remembers the dead value, and goes on as if there were none. */
  async #bury(turn: Turn, dead: Secret, credential: Credential | undefined): Promise<Turn> {
    const { store, memory, clock, events } = this.#parts;
    const { ref, record } = turn;
    const leftMs = credential ? this.#leftMs(credential) : 0;
    const earlyMs = leftMs > EARLY_MS ? leftMs : 0;
    if (earlyMs > 0) events.emit({ type: "credential.revoked_early", key: credentialKey(ref), earlyMs });
    using pending = memory.begin(ref);
    pending.put(await store.bury(ref, dead, record.generation, { now: clock.now(), earlyMs }));
    return { ...turn, record: { ...record, credential: undefined, isRejected: false, dead } };
  }

  #leftMs(credential: Credential): number {
    return credential.expiresAt - this.#parts.clock.now();
  }
}
