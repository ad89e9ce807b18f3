import type { Authorization, Slot } from "../apps/app.ts";
import type { IssuedCredential } from "../credentials/credential.ts";
import type { Secret } from "../secret.ts";

/** What a platform learns of an account or a corp that has authorised it. */
export interface AuthorizedAccount {
  /** The AppID or CorpID. */
  readonly account: string;
  /** The refresh token or the permanent code; undefined where WeChat gives none, because the account has no API. */
  readonly secret: Secret | undefined;
  /** What people call it. */
  readonly title?: string | undefined;
  readonly facts: Partial<Omit<Authorization, "platformApp" | "authorizedAt" | "lostAt">>;
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
  /** Exchanges an authorisation code. It can be done once. */
  exchange(platform: Slot, code: Secret, signal: AbortSignal): Promise<ExchangedCode>;
  /** What WeChat says of one account now; its secret is undefined where no code of it was ever exchanged. */
  describe(platform: Slot, account: string, secret: Secret, signal: AbortSignal): Promise<AuthorizedAccount>;
  /**
   * Every account that has authorised the platform, read to the end. Undefined where the platform has no such list
   * (WeCom).
   */
  list(platform: Slot, signal: AbortSignal): Promise<readonly ListedAccount[] | undefined>;
}
