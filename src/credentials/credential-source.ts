import type { UnknownSecrets } from "../apps/unknown-secrets.ts";
import type { CredentialRef, IssuedCredential } from "./credential.ts";

/** How to ask. */
export interface ObtainOptions {
  readonly signal: AbortSignal;
  /** WeChat's stable tokens only: make a new one, whatever the current one has left. */
  readonly force?: boolean;
}

/** Obtains a new credential from wherever it is issued. It never caches and never retries. */
export interface CredentialSource {
  /**
   * Asks for the credential of `ref`.
   *
   * @throws {ServiceError} `upstream_rejected`, `upstream_invalid`, `upstream_unreachable` or `upstream_timeout`;
   *   also when the signal is aborted.
   */
  obtain(ref: CredentialRef, options: ObtainOptions): Promise<IssuedCredential>;
}

/** A source that sends the app's secret, kept from sending unknown ones without end. */
export class GuardedSource implements CredentialSource {
  readonly #source: CredentialSource;
  readonly #unknownSecrets: UnknownSecrets;

  constructor(source: CredentialSource, unknownSecrets: UnknownSecrets) {
    this.#source = source;
    this.#unknownSecrets = unknownSecrets;
  }

  obtain(ref: CredentialRef, options: ObtainOptions): Promise<IssuedCredential> {
    return this.#unknownSecrets.run(ref.slot, () => this.#source.obtain(ref, options), options.signal);
  }
}
