import { createHash } from "node:crypto";

/** How every code begins that the sandbox accepts; the rest is up to whoever makes it up. */
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
 * This is how a code stands for a user: the openid follows from the app and the code.
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
