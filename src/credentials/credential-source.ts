import type { CredentialRef, IssuedCredential } from "./credential.ts";

/** Obtains a new credential from wherever it is issued. It never caches and never retries. */
export interface CredentialSource {
  /**
   * Asks for the credential of `ref`.
   *
   * @throws {ServiceError} `upstream_rejected`, `upstream_invalid`, `upstream_unreachable` or `upstream_timeout`;
   *   also when `signal` is aborted.
   */
  obtain(ref: CredentialRef, signal: AbortSignal): Promise<IssuedCredential>;
}
