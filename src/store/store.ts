import type { AppStore } from "../apps/app-store.ts";
import type { SecretDigest } from "../apps/app-directory.ts";
import type { CredentialStore } from "../credentials/credential-store.ts";

/** Every port that keeps something, together, and what belongs to having them open. */
export interface Store {
  readonly apps: AppStore;
  readonly credentials: CredentialStore;
  /** Under the master key, so that the database tells nobody whether a guessed secret is right. */
  readonly digest: SecretDigest;
  /** Gives the files back. Nothing may be called afterwards. */
  close(): void;
}
