import { type Slot, slotKey, type SlotName } from "../apps/app.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import { type Clock, untilMidnightInBeijing } from "../clock.ts";
import { type ErrorCode, ServiceError, type ServiceErrorDetail, type UpstreamRefusal } from "../errors.ts";
import { credentialKey, type CredentialName } from "./credential.ts";
import { KINDS, KINDS_OF } from "./kinds.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** How long to leave the upstream alone after the first, second, … failure that may pass by itself. */
const LADDER_MS = [1000, 2000, 4000, 8000, 16_000, 30_000];
const WECOM_FREQUENCY_MS = [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS];
const CIRCUIT_MS = 10 * MINUTE_MS;

/** A failure as it can be stored and told again. */
export interface StoredFailure {
  readonly code: ServiceError["code"];
  readonly message: string;
  readonly hint?: string | undefined;
  readonly upstream?: UpstreamRefusal | undefined;
}

/**
 * A time in which the upstream is left alone for one reason, and what callers are told meanwhile.
 *
 * `key` says for what: a credential, a slot (its secret or account is to blame), the logins that a slot's token is
 * sent for, or a WeCom corp (its quota is to blame).
 */
export interface Pause {
  readonly key: string;
  /** `ladder` passes by itself and is probed in the background; the others are kept to the end. */
  readonly reason: "ladder" | "circuit" | "quota";
  readonly failure: StoredFailure;
  /** How many failures in a row. */
  readonly count: number;
  /** Epoch milliseconds, both. */
  readonly since: number;
  readonly until: number;
}

/** Where pauses outlive the process and reach the others. */
export interface PauseStore {
  find(keys: readonly string[]): Promise<Pause[]>;
  put(pause: Pause): Promise<void>;
  /**
   * Writes the pause down unless one under its key is active when it begins; answers with that one. One conditional
   * write: of several processes that claim at once, one gets it.
   */
  claim(pause: Pause): Promise<Pause | undefined>;
  /** Forgets pauses by their whole keys; the audit entry is written with it or not at all. */
  remove(keys: readonly string[], entry?: AuditEntry): Promise<void>;
}

/**
 * The keys of every pause that could keep `name` from being asked for. A ticket is asked for with a token, so what is
 * wrong with the slot's secret matters to it only through the token.
 */
export function pauseKeys(name: CredentialName): string[] {
  const { platform, appId } = name.slot;
  const own = KINDS.find(name)?.blames === "slot" ? [slotKey(name.slot)] : [];
  return [credentialKey(name), ...own, `${platform}:${appId}`];
}

/** The key of the pause that keeps logins from being asked for with a slot's access token. */
function loginPauseKey(slot: SlotName): string {
  return `${slotKey(slot)}:login`;
}

/**
 * The keys of every pause that could keep anything of a slot's app from being asked for. For a WeChat app both token
 * modes: what was found wrong in one is put right for both.
 */
export function pauseKeysOfApp(slot: SlotName): string[] {
  const names = slot.platform === "weixin" ? ["stable", "classic"] : [slot.name];
  const keys = names.flatMap((name) => [
    ...KINDS_OF[slot.platform].flatMap((kind) => pauseKeys({ slot: { ...slot, name }, kind })),
    loginPauseKey({ ...slot, name }),
  ]);
  return [...new Set(keys)];
}

/** By so much the beginning of a pause may lie ahead of another process's `now`, without a clock being wrong. */
export const PAUSE_SKEW_MS = MINUTE_MS;

/** Whether the pause holds at `now`. */
export function isActive(pause: Pause, now: number): boolean {
  return isCredible(pause, now) && now < pause.until;
}

/** Whether the pause can have begun by `now`: one from the future was written under a clock that is set back since. */
export function isCredible(pause: Pause, now: number): boolean {
  return pause.since <= now + PAUSE_SKEW_MS;
}

/** The pause that `error` calls for; `before` is the last one under any of the keys of `name`. */
export function pauseAfter(
  name: CredentialName,
  error: ServiceError,
  before: readonly Pause[],
  now: number,
): Pause {
  const { platform, appId } = name.slot;
  const [credential, slot, corp] = [credentialKey(name), slotKey(name.slot), `${platform}:${appId}`];
  const pause = (key: string, reason: Pause["reason"], durationOf: (count: number) => number): Pause => {
    const count = (before.find((each) => each.key === key && each.reason === reason)?.count ?? 0) + 1;
    return { key, reason, failure: storedFailure(error), count, since: now, until: now + durationOf(count) };
  };
  // A ticket's endpoint takes a token: what it refuses says nothing of the slot's secret.
  const blamed = KINDS.find(name)?.blames === "slot" ? slot : credential;
  switch (error.upstream?.class) {
    case "config":
    case "account":
    case "risk":
    case "permission":
      return pause(blamed, "circuit", (count) => circuitMs(error.upstream, count));
    case "quota_day":
      return pause(credential, "quota", () => untilMidnightInBeijing(now));
    case "quota_minute":
      if (platform === "wecom") return pause(corp, "quota", (count) => step(WECOM_FREQUENCY_MS, count));
      return pause(credential, "quota", () => MINUTE_MS - (now % MINUTE_MS));
    case "transient":
    case "token_invalid":
    case "input":
      return pause(credential, "ladder", (count) => step(LADDER_MS, count));
    case undefined:
      break;
  }
  // A dead end says itself how long it lasts; what has no upstream's word may pass at any moment.
  if (error.retryAfterMs !== undefined) return pause(credential, "quota", () => error.retryAfterMs ?? 0);
  return pause(credential, "ladder", (count) => step(LADDER_MS, count));
}

/** The failure of a pause, as it is told to a caller at `now`. */
export function pausedError(pause: Pause, now: number): ServiceError {
  const { code, message, hint, upstream } = pause.failure;
  const detail: ServiceErrorDetail = {
    retryAfterMs: Math.max(1000, pause.until - now),
    ...(hint === undefined ? {} : { hint }),
    ...(upstream === undefined ? {} : { upstream }),
  };
  return new ServiceError(code, message, detail);
}

function circuitMs(refusal: UpstreamRefusal | undefined, count: number): number {
  if (refusal?.errcode === 89507) return HOUR_MS;
  if (refusal?.errcode === 89506) return DAY_MS;
  // A wrong secret that is sent again and again gets the whole address banned there, with every other app of ours.
  if (refusal?.platform === "wecom" && refusal.errcode === 40001)
    return Math.min(DAY_MS, CIRCUIT_MS * 2 ** (count - 1));
  return CIRCUIT_MS;
}

function step(ladder: readonly number[], count: number): number {
  return ladder[Math.min(count, ladder.length) - 1] ?? CIRCUIT_MS;
}

function storedFailure({ code, message, hint, upstream }: ServiceError): StoredFailure {
  return { code, message, hint, upstream };
}

/** The failures that say something of the upstream; others are our own affair and pause nothing. */
const UPSTREAM_CODES: ReadonlySet<ErrorCode> = new Set([
  "upstream_rejected",
  "upstream_invalid",
  "upstream_unreachable",
  "upstream_timeout",
]);

/** Errors that a pause has been made of already; a ticket fails with its token's error and must not count it again. */
const accounted = new WeakSet<ServiceError>();

/** Errors after which there is nothing left to try for a while. */
const deadEnds = new WeakSet<ServiceError>();

/** Why nothing is done that makes WeChat issue a new token at once. */
export const BUDGET_MESSAGE =
  "今日强制刷新次数已用完或间隔不足30秒，请稍后重试 (forced refreshes: 20 a day, 30 s apart; try again later)";

/** An error after which the credential is left alone for `retryAfterMs`, because nothing else can be tried. */
export function deadEnd(message: string, retryAfterMs: number): ServiceError {
  const error = unavailable(message, retryAfterMs);
  deadEnds.add(error);
  return error;
}

/** An error that is nobody's fault and pauses nothing. */
export function unavailable(message: string, retryAfterMs: number): ServiceError {
  return new ServiceError("unavailable", message, { retryAfterMs });
}

/** Marks an error as one that needs no pause, or has had one. */
export function markAccounted(error: ServiceError): ServiceError {
  accounted.add(error);
  return error;
}

/** Whether a pause was made of this error already, or none is to be made. */
export function isAccounted(error: ServiceError): boolean {
  return accounted.has(error);
}

/** Whether the upstream should be left alone for a while after this error. */
export function callsForPause(error: ServiceError): boolean {
  return !isAccounted(error) && (UPSTREAM_CODES.has(error.code) || deadEnds.has(error));
}

/**
 * Keeps a slot whose secret or account was refused from being asked for again, for calls that obtain no credential.
 *
 * One that sends the secret shares the circuit of the access token: what closes or opens one does so for both. What is
 * refused to a call that sends a token says nothing of the secret, so such calls have a circuit of their own, as
 * tickets have.
 */
export class SlotCircuit {
  readonly #pauses: PauseStore;
  readonly #clock: Clock;
  readonly #isOutdated: (slot: Slot) => Promise<boolean>;

  /** `isOutdated`: see `RefreshParts`. */
  constructor(
    pauses: PauseStore,
    clock: Clock,
    isOutdated: (slot: Slot) => Promise<boolean> = async () => false,
  ) {
    this.#pauses = pauses;
    this.#clock = clock;
    this.#isOutdated = isOutdated;
  }

  /**
   * Runs `ask` unless the circuit of what it sends is open, and opens it when the upstream blames the secret or the
   * account.
   */
  async run<T>(slot: Slot, sends: "secret" | "token", ask: () => Promise<T>): Promise<T> {
    if (!slot.configured) return ask();
    const key = sends === "secret" ? slotKey(slot) : loginPauseKey(slot);
    const before = await this.#pauses.find([key]);
    const open = before.find((pause) => isActive(pause, this.#clock.now()));
    if (open) throw pausedError(open, this.#clock.now());
    try {
      return await ask();
    } catch (error) {
      // What kept us from having the token has its own pause.
      if (error instanceof ServiceError && error.upstream && !isAccounted(error)) {
        const pause = pauseAfter({ slot, kind: "access_token" }, error, before, this.#clock.now());
        // An account that may not log users in may have a token all the same.
        const concernsSlot = error.upstream.class !== "permission";
        const isMeant = pause.reason === "circuit" && concernsSlot && !(await this.#isOutdated(slot));
        if (isMeant) await this.#pauses.put({ ...pause, key });
      }
      throw error;
    }
  }
}
