import type { Authorization, Slot } from "../apps/app.ts";
import type { IssuedCredential } from "../credentials/credential.ts";
import { type Platform, ServiceError, type UpstreamErrorClass } from "../errors.ts";
import type { Secret } from "../secret.ts";

/** What a platform learns of an account or a corp that has authorized it. */
export interface AuthorizedAccount {
  /** The AppID or CorpID. */
  readonly account: string;
  /** The refresh token or the permanent code; undefined where WeChat gives none, because the account has no API. */
  readonly secret: Secret | undefined;
  /** What people call it. */
  readonly title?: string | undefined;
  readonly facts: Partial<Omit<Authorization, "platformApp" | "authorizedAt" | "since" | "lostAt">>;
  /** JSON as the exchange of a code answers it, where there is such a thing without a code. */
  readonly text?: Secret | undefined;
}

/** What a code was exchanged for. */
export interface ExchangedCode extends AuthorizedAccount {
  /** The account's token, where it came with it. */
  readonly token: IssuedCredential | undefined;
  /** JSON of the answer as it came. */
  readonly text: Secret;
}

/** An account as the platform's list has it. */
export interface ListedAccount extends Pick<AuthorizedAccount, "account" | "secret"> {
  /** Epoch milliseconds. */
  readonly authorizedAt: number;
}

/**
 * What a third-party platform asks WeChat or WeCom with its own token. A rejected token is replaced, once.
 *
 * Each call throws `ServiceError`: `upstream_rejected` with the errcode, `upstream_unreachable`, `upstream_timeout`,
 * `upstream_invalid`; `unavailable` while no ticket has arrived.
 */
export interface PlatformProtocol {
  /** Whether `describe` tells the secret that stands; otherwise only the answer to a code has it. */
  readonly tellsSecret: boolean;
  /** Exchanges an authorization code. It can be done once. */
  exchange(platform: Slot, code: Secret, signal: AbortSignal): Promise<ExchangedCode>;
  /** What WeChat says of one account now; its secret is undefined where no code of it was ever exchanged. */
  describe(platform: Slot, account: string, secret: Secret, signal: AbortSignal): Promise<AuthorizedAccount>;
  /**
   * Every account that has authorized the platform, read to the end. Undefined where the platform has no such list
   * (WeCom).
   */
  list(platform: Slot, signal: AbortSignal): Promise<readonly ListedAccount[] | undefined>;
}

/** What WeChat and WeCom say of an authorization, or of what it was given with, that is good no more. */
const LOST: Readonly<Record<Platform, ReadonlySet<number>>> = {
  weixin: new Set([61003, 61023]),
  wecom: new Set([40084, 48004]),
};

/** What concerns every account of a platform: whoever asked for the next one would only make it worse. */
const OF_ALL: ReadonlySet<UpstreamErrorClass> = new Set([
  ...(["config", "risk", "token_invalid", "quota_day", "quota_minute"] as const),
]);

/** Whether what came of asking for one account says nothing of the others. */
export function isOfOneAccount(error: unknown): boolean {
  if (!(error instanceof ServiceError)) return false;
  return error.upstream ? !OF_ALL.has(error.upstream.class) : error.code.startsWith("upstream_");
}

/** Whether WeChat or WeCom has said that an authorization, or what it was given with, is good no more. */
export function isLost(error: unknown): error is ServiceError {
  if (!(error instanceof ServiceError) || !error.upstream) return false;
  return LOST[error.upstream.platform].has(error.upstream.errcode);
}
