import { Refusal } from "./sandbox-request.ts";
import type { SandboxTime } from "./sandbox-time.ts";
import { countedTokenText } from "./issued-tokens.ts";
import { createHash } from "node:crypto";

const DAY_MS = 86_400_000;
const REFRESH_LIFE_MS = 30 * DAY_MS;
const USER_TOKEN_LENGTH = 110;

/** A user who authorised an app, as the login code said. */
export interface WeixinUser {
  appId: string;
  openid: string;
  unionid: string | undefined;
  scope: string;
}

interface UserToken {
  user: WeixinUser;
  expiresAt: number;
}

/** The per-user tokens of `/sns`, which have nothing to do with the global ones. */
export class UserTokens {
  readonly #time: SandboxTime;
  readonly #lifeMs: number;
  readonly #access = new Map<string, UserToken>();
  readonly #refresh = new Map<string, UserToken>();

  constructor(time: SandboxTime, lifeMs: number) {
    this.#time = time;
    this.#lifeMs = lifeMs;
  }

  /** New tokens for `user`; a given `refreshToken` is kept. */
  issue(user: WeixinUser, refreshToken = this.#newRefreshToken(user)): Record<string, unknown> {
    const accessToken = countedTokenText(60, USER_TOKEN_LENGTH);
    this.#access.set(accessToken, { user, expiresAt: this.#time.now() + this.#lifeMs });
    return {
      access_token: accessToken,
      expires_in: Math.floor(this.#lifeMs / 1000),
      refresh_token: refreshToken,
      openid: user.openid,
      scope: user.scope,
    };
  }

  /**
   * The user whose access token this is.
   *
   * @throws {Refusal} 41001, 40001 or 42001.
   */
  requireAccess(accessToken: string): WeixinUser {
    if (accessToken === "") throw new Refusal(41001, "access_token missing");
    const token = this.#access.get(accessToken);
    if (!token) {
      throw new Refusal(40001, "invalid credential, access_token is invalid or not latest");
    }
    if (this.#time.now() >= token.expiresAt) throw new Refusal(42001, "access_token expired");
    return token.user;
  }

  /**
   * The user of `appId` whose refresh token this is.
   *
   * @throws {Refusal} 41003, 40030 or 42002.
   */
  requireRefresh(appId: string, refreshToken: string): WeixinUser {
    if (refreshToken === "") throw new Refusal(41003, "refresh_token missing");
    const token = this.#refresh.get(refreshToken);
    if (token?.user.appId !== appId) throw new Refusal(40030, "invalid refresh_token");
    if (this.#time.now() >= token.expiresAt) throw new Refusal(42002, "refresh_token expired");
    return token.user;
  }

  #newRefreshToken(user: WeixinUser): string {
    const refreshToken = countedTokenText(60, USER_TOKEN_LENGTH);
    this.#refresh.set(refreshToken, { user, expiresAt: this.#time.now() + REFRESH_LIFE_MS });
    return refreshToken;
  }
}

/** How every code begins that the sandbox accepts; the rest is arbitrary. */
const CODE_PREFIX = "sandbox-code-";

/** The codes that one app has redeemed: each is valid once. */
export class OneTimeCodes {
  readonly #used = new Set<string>();

  /** Redeems `code`. */
  redeem(code: string): "ok" | "invalid" | "used" {
    if (!code.startsWith(CODE_PREFIX)) return "invalid";
    if (this.#used.has(code)) return "used";
    this.#used.add(code);
    return "ok";
  }
}

/**
 * An identifier of `length` characters that is always the same for the same `parts`.
 *
 * How a code identifies a user: the openid follows from the app and the code.
 */
export function derivedId(prefix: string, length: number, ...parts: string[]): string {
  const digest = createHash("sha256").update(JSON.stringify(parts)).digest("base64url");
  return (prefix + digest).slice(0, length);
}

/** A session key for a user: base64 of 16 bytes. */
export function derivedSessionKey(...parts: string[]): string {
  const digest = createHash("sha256")
    .update(JSON.stringify(["session_key", ...parts]))
    .digest();
  return digest.subarray(0, 16).toString("base64");
}
