import { isAuthorizer, roleOf, type Slot, slotKey, type SlotName } from "../apps/app.ts";
import { untilMidnightInBeijing } from "../clock.ts";
import {
  type ErrorCode,
  type Platform,
  ServiceError,
  type ServiceErrorDetail,
  type UpstreamRefusal,
} from "../errors.ts";
import { credentialKey, type CredentialName } from "./credential.ts";
import { KINDS, kindsOf } from "./kinds.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** How long to back off after the first, second, … temporary failure. */
const EXPONENTIAL_MS = [1000, 2000, 4000, 8000, 16_000, 30_000];
const WECOM_FREQUENCY_MS = [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS];
const CIRCUIT_MS = 10 * MINUTE_MS;
/** For an address that is not on the app's list: where the way out changes, the next attempt may well come from another. */
const ADDRESS_MS = [30_000, 2 * MINUTE_MS, CIRCUIT_MS];
const ADDRESS_ERRCODES: Readonly<Record<Platform, ReadonlySet<number>>> = {
  weixin: new Set([40090, 40164, 61004]),
  wecom: new Set([60020]),
};

/** A failure as it is stored, and thrown again while its backoff is active. */
export interface StoredFailure {
  readonly code: ServiceError["code"];
  readonly message: string;
  readonly hint?: string | undefined;
  readonly upstream?: UpstreamRefusal | undefined;
}

/** Reads a stored failure; undefined for what is none, which must keep nobody from asking. */
export function readFailure(text: string): StoredFailure | undefined {
  try {
    const failure = JSON.parse(text) as StoredFailure;
    const { code, message, hint, upstream } = failure;
    const isHeld = code === "unavailable" || UPSTREAM_CODES.has(code);
    const isTold = typeof message === "string" && (hint === undefined || typeof hint === "string");
    const isRefusal =
      upstream === undefined ||
      (Number.isSafeInteger(upstream.errcode) &&
        [upstream.platform, upstream.errmsg, upstream.class].every((each) => typeof each === "string"));
    return isHeld && isTold && isRefusal ? failure : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A period without upstream requests, for one reason, and the failure that callers get meanwhile.
 *
 * `key` says for what: a credential, a slot (its secret or account is to blame), the logins that a slot's token is
 * sent for, or a WeCom corp (its quota is to blame).
 */
export interface Backoff {
  readonly key: string;
  /** `exponential` passes by itself and is probed in the background; the others are kept to the end. */
  readonly reason: "exponential" | "circuit_open" | "quota";
  readonly failure: StoredFailure;
  /** How many failures in a row. */
  readonly count: number;
  /** Epoch milliseconds, both. */
  readonly since: number;
  readonly until: number;
}

/**
 * The keys of every backoff that could keep `name` from being fetched. A ticket is fetched with a token, so what is
 * wrong with the slot's secret matters to it only through the token.
 */
export function backoffKeys(name: CredentialName): string[] {
  const { platform, appId } = name.slot;
  const own = KINDS.find(name)?.blames === "slot" ? [slotKey(name.slot)] : [];
  return [credentialKey(name), ...own, `${platform}:${appId}`];
}

/** Whether the upstream has refused us, so that nothing but an operator or the end of the backoff helps. */
export function isRefusal({ reason, failure }: Backoff): boolean {
  return reason !== "exponential" && failure.upstream !== undefined;
}

/** A slot; or, without a name, every slot of a WeCom corp. */
export type SlotOrCorp = Omit<SlotName, "name"> & Partial<Pick<SlotName, "name">>;

/** Whose credentials the backoff of that key concerns; undefined for one of logins. */
export function concernedBy(key: string): SlotOrCorp | undefined {
  const [platform, appId = "", name, what] = key.split(":");
  if ((platform !== "weixin" && platform !== "wecom") || what === "login") return undefined;
  return { platform, appId, ...(name === undefined ? {} : { name }) };
}

/** The key of the backoff of logins that send a slot's access token. */
export function loginBackoffKey(slot: SlotName): string {
  return `${slotKey(slot)}:login`;
}

/**
 * The keys of every backoff that could keep anything of a slot's app from being fetched. For a WeChat app both token
 * modes: what was wrong in one and is fixed now is fixed for both.
 */
export function backoffKeysOfApp(slot: SlotName): string[] {
  const hasModes = slot.platform === "weixin" && !roleOf(slot) && !isAuthorizer(slot);
  const names = hasModes ? ["stable", "classic"] : [slot.name];
  const keys = names.flatMap((name) => [
    ...kindsOf({ ...slot, name }).flatMap((kind) => backoffKeys({ slot: { ...slot, name }, kind })),
    loginBackoffKey({ ...slot, name }),
  ]);
  return [...new Set(keys)];
}

/** How far in the future an entry of another process may begin without a clock being wrong. */
export const MAX_SKEW_MS = MINUTE_MS;

/** How long after its end a backoff still says that its credential failed, and how often in a row. */
export const REMEMBERED_MS = DAY_MS;

/** Whether the backoff is active at `now`. */
export function isActive(backoff: Backoff, now: number): boolean {
  return isCredible(backoff, now) && now < backoff.until;
}

/** Whether the backoff can have begun by `now`: one from the future was written under a clock that was set back since. */
export function isCredible(backoff: Backoff, now: number): boolean {
  return backoff.since <= now + MAX_SKEW_MS;
}

/** The backoff that `error` calls for; `seen` are those that were found under the keys of `name` before the attempt. */
export function backoffAfter(
  name: CredentialName,
  error: ServiceError,
  seen: readonly Backoff[],
  now: number,
): Backoff {
  const { platform, appId } = name.slot;
  const [credential, slot, corp] = [credentialKey(name), slotKey(name.slot), `${platform}:${appId}`];
  const backoff = (
    key: string,
    reason: Backoff["reason"],
    durationOf: (count: number) => number,
  ): Backoff => {
    const count = (seen.find((each) => each.key === key && each.reason === reason)?.count ?? 0) + 1;
    const { code, message, hint, upstream } = error;
    const failure = { code, message, hint, upstream };
    return { key, reason, failure, count, since: now, until: now + durationOf(count) };
  };
  // A ticket's endpoint takes a token: what it refuses says nothing of the slot's secret.
  const blamed = KINDS.find(name)?.blames === "slot" ? slot : credential;
  switch (error.upstream?.class) {
    case "config":
    case "account":
    case "risk":
    case "permission":
      return backoff(blamed, "circuit_open", (count) => circuitMs(error.upstream, count, name.slot));
    case "quota_day":
      return backoff(credential, "quota", () => untilMidnightInBeijing(now));
    case "quota_minute":
      if (platform === "wecom") return backoff(corp, "quota", (count) => step(WECOM_FREQUENCY_MS, count));
      return backoff(credential, "quota", () => MINUTE_MS - (now % MINUTE_MS));
    case "transient":
    case "token_invalid":
    case "input":
      return backoff(credential, "exponential", (count) => step(EXPONENTIAL_MS, count));
    case undefined:
      break;
  }
  // A terminal error says how long it lasts; a failure without an errcode may pass at any moment.
  const { retryAfterMs } = error;
  if (retryAfterMs !== undefined) return backoff(credential, "quota", () => retryAfterMs);
  return backoff(credential, "exponential", (count) => step(EXPONENTIAL_MS, count));
}

/** The failure of a backoff, as callers get it at `now`. It calls for no further backoff. */
export function backoffError(backoff: Backoff, now: number): ServiceError {
  const { code, message, hint, upstream } = backoff.failure;
  const detail: ServiceErrorDetail = {
    pacing: "handled",
    retryAfterMs: Math.max(1000, backoff.until - now),
    ...(hint === undefined ? {} : { hint }),
    ...(upstream === undefined ? {} : { upstream }),
  };
  return new ServiceError(code, message, detail);
}

/** The failures of the upstream; others are our own and call for no backoff. */
const UPSTREAM_CODES: ReadonlySet<ErrorCode> = new Set([
  "upstream_rejected",
  "upstream_invalid",
  "upstream_unreachable",
  "upstream_timeout",
]);

/** Whether this error calls for a backoff. */
export function callsForBackoff(error: ServiceError): boolean {
  if (error.pacing === "handled") return false;
  return error.pacing === "terminal" || UPSTREAM_CODES.has(error.code);
}

/** The same failure, for which no further backoff is made: one was made already, or none should be. */
export function handledError(error: ServiceError): ServiceError {
  return error.with({ pacing: "handled" });
}

/** A failure of ours that is not the upstream's and calls for no backoff. */
export function unavailable(message: string, retryAfterMs: number): ServiceError {
  return new ServiceError("unavailable", message, { retryAfterMs });
}

/** A failure after which nothing else can be tried for `retryAfterMs`. */
export function terminalError(message: string, retryAfterMs: number): ServiceError {
  return new ServiceError("unavailable", message, { retryAfterMs, pacing: "terminal" });
}

function circuitMs(refusal: UpstreamRefusal | undefined, count: number, slot: SlotName | Slot): number {
  if (refusal && ADDRESS_ERRCODES[refusal.platform].has(refusal.errcode)) return step(ADDRESS_MS, count);
  if (refusal?.errcode === 89507) return HOUR_MS;
  if (refusal?.errcode === 89506) return DAY_MS;
  // WeCom bans an address that keeps sending a wrong secret, and with it every app of ours. Of an agency app it is one that
  // was reset: the event that brings the next one ends this.
  if (refusal?.platform === "wecom" && refusal.errcode === 40001) {
    const firstMs = "isAuthorized" in slot && slot.isAuthorized ? HOUR_MS : CIRCUIT_MS;
    return Math.min(DAY_MS, firstMs * 2 ** (count - 1));
  }
  return CIRCUIT_MS;
}

function step(durations: readonly number[], count: number): number {
  return durations[Math.min(count, durations.length) - 1] ?? CIRCUIT_MS;
}
