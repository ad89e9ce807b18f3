import type { CredentialKind, CredentialName } from "./credential.ts";
import type { HeldCredential } from "./held-credential.ts";

/** The life for which the figures below hold; shorter lives scale them down. */
const FULL_LIFE_MS = 7_200_000;
const TOKEN_FIRST_LEFT_MS = 285_000;
const TOKEN_LAST_LEFT_MS = 200_000;
const TICKET_LEFT_MS = 600_000;
const ASK_AGAIN_MS = 15_000;

/** What the policy needs to know of a credential. */
export interface RenewalSubject {
  readonly platform: "weixin" | "wecom";
  readonly kind: CredentialKind;
  /** The life that it was issued with. */
  readonly lifeMs: number;
  /** Overrides the policy; see `Credential.renewLeftMs`. */
  readonly renewLeftMs?: number | undefined;
}

/** What the policy needs to know of a credential in this process's memory. */
export function renewalSubject({ slot, kind }: CredentialName, held: HeldCredential): RenewalSubject {
  return { platform: slot.platform, kind, lifeMs: held.lifeMs(), renewLeftMs: held.renewLeftMs };
}

/**
 * How much life is left when a credential is first renewed ahead of its end, in milliseconds.
 *
 * WeChat's tokens from 285 s on: before 300 s stable mode repeats the same token, and a classic fetch would leave
 * those who were told a longer life with a dead one, because the predecessor lives 300 s. Jitter only goes later, down
 * to 200 s. WeCom repeats its token to the very end, so it is asked a second after it. `chance` is in [0, 1).
 */
export function renewalLeftMs(subject: RenewalSubject, chance: number): number {
  if (subject.renewLeftMs !== undefined) return subject.renewLeftMs;
  const scale = Math.min(1, subject.lifeMs / FULL_LIFE_MS);
  if (subject.kind !== "access_token") return TICKET_LEFT_MS * scale;
  if (subject.platform === "wecom") return -1000;
  return (TOKEN_FIRST_LEFT_MS - (TOKEN_FIRST_LEFT_MS - TOKEN_LAST_LEFT_MS) * chance) * scale;
}

/**
 * When to ask again after a renewal brought no longer life, in milliseconds.
 *
 * A stable token is asked for every 15 s until WeChat hands out the next; a ticket, whose calls are few, when half of
 * what is left is gone.
 */
export function renewAgainMs(subject: RenewalSubject, remainingMs: number): number {
  const scale = Math.min(1, subject.lifeMs / FULL_LIFE_MS);
  const step = Math.max(1000, ASK_AGAIN_MS * scale);
  return subject.kind === "access_token" ? step : Math.max(step, remainingMs / 2);
}
