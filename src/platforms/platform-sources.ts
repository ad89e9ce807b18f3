import type { AppDirectory } from "../apps/app-directory.ts";
import type { AppStore, Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialRef, IssuedCredential } from "../credentials/credential.ts";
import { unavailable } from "../credentials/backoff.ts";
import type { CredentialSource, TokenKeeper } from "../credentials/source.ts";
import { type Platform, ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { Standing } from "./authorized-apps.ts";
import { isLost } from "./platform-protocol.ts";

const RETRY_MS = 1000;
/** Of the platforms that have accounts or corps. */
const SLOT_NAMES: Readonly<Record<Platform, string>> = { weixin: "@component", wecom: "@suite" };
/** How often WeChat is asked where what was sent has changed meanwhile, or was not the right one. */
const MAX_ASKED = 3;

/** Asks WeChat for a component token with a ticket. Throws as a source. */
export type ComponentTokenRequest = (
  platform: Slot,
  ticket: Secret,
  signal: AbortSignal,
) => Promise<IssuedCredential>;

/** Tokens of WeChat's third-party platforms, by the secret and the ticket that was pushed last. */
export function componentTokenSource(
  ask: ComponentTokenRequest,
  tokens: Pick<TokenKeeper, "get">,
): CredentialSource {
  return {
    obtain: async ({ slot }, { signal }) => {
      const ticket = await tokens.get({ slot, kind: "component_verify_ticket" });
      return ask(slot, ticket.value, signal);
    },
  };
}

/** What tokens of accounts are obtained with. */
export interface AuthorizerTokenParts {
  readonly directory: Pick<AppDirectory, "slotNamed">;
  readonly store: Pick<AppStore, "findSecret" | "exchangeSecret">;
  /** Asks WeChat for a token of an account; what comes back is to be stored before the token is used. */
  readonly ask: (
    platform: Slot,
    account: string,
    refreshToken: Secret,
    signal: AbortSignal,
  ) => Promise<{ readonly token: IssuedCredential; readonly refreshToken: Secret | undefined }>;
  /** See `AuthorizedApps.recover`. */
  readonly recover: (slot: Slot, signal: AbortSignal) => Promise<Standing>;
  /** WeChat has refused the authorization for good, when it was asked `at`. */
  readonly lose: (slot: Slot, why: ServiceError, at: number, version: number) => Promise<void>;
  readonly clock: Clock;
}

/**
 * Tokens of the accounts that have authorized a component, by their refresh tokens.
 *
 * A refresh token that came back is stored before the token is handed on, in the place of the one that was sent and of no
 * other. It is never taken for used up: where an answer was lost, the same one is sent again.
 */
export function authorizerTokenSource(parts: AuthorizerTokenParts): CredentialSource {
  return { obtain: (ref, { signal }) => obtain(parts, ref, signal) };
}

async function obtain(
  parts: AuthorizerTokenParts,
  { slot }: CredentialRef,
  signal: AbortSignal,
): Promise<IssuedCredential> {
  const { store, ask, recover, lose, clock } = parts;
  const platform = platformOf(parts.directory, slot);
  for (let asked = 1; ; asked++) {
    const held = await store.findSecret(slot);
    if (!held) throw unavailable("该授权刚被取消 (the authorization was withdrawn just now)", RETRY_MS);
    if (held.secret.reveal() === "") throw withoutApi();
    const askedAt = clock.now();
    try {
      const { token, refreshToken = held.secret } = await ask(platform, slot.appId, held.secret, signal);
      if (refreshToken.equals(held.secret)) return token;
      if (await store.exchangeSecret(slot, held.version, refreshToken)) return token;
      // Somebody else has stored another one: which of the two stands, only WeChat knows.
      await recover(slot, signal);
      return token;
    } catch (error) {
      if (!isLost(error)) throw error;
      const now = await store.findSecret(slot);
      // Refused was one that is no longer the stored one.
      const isOld = now !== undefined && now.version !== held.version;
      // One answer may be wrong, and nobody but the account's administrator opens what is closed.
      const standing = isOld ? "another" : await recover(slot, signal);
      if (standing === "another" && asked < MAX_ASKED) continue;
      if (standing !== "none") throw passing(error);
      await lose(slot, error, askedAt, held.version);
      throw error;
    }
  }
}

/** A refusal that WeChat's own word contradicts: it may pass at any moment. */
function passing(error: ServiceError): ServiceError {
  return error.upstream ? error.with({ upstream: { ...error.upstream, class: "transient" } }) : error;
}

/**
 * The platform that the account of a slot has authorized.
 *
 * @throws {ServiceError} `unavailable` when it is disabled or gone.
 */
export function platformOf(directory: Pick<AppDirectory, "slotNamed">, slot: Slot): Slot {
  const { platform, name: appId } = slot;
  const found = directory.slotNamed({ platform, appId, name: SLOT_NAMES[platform] });
  if (found) return found;
  throw new ServiceError(
    "unavailable",
    "该账号所授权的第三方平台已停用或已删除 (the third-party platform that the account has authorized is disabled or gone)",
    { retryAfterMs: 60_000 },
  );
}

function withoutApi(): ServiceError {
  return new ServiceError(
    "unavailable",
    "该账号没有接口权限，微信未给出refresh_token；请核对其认证状态与权限集后重新授权 (WeChat gave no refresh token, because the account has no API: check its verification and permission sets, and authorize again)",
    { retryAfterMs: 600_000 },
  );
}
