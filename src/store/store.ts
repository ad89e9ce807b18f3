import type { AppStore } from "../apps/app-store.ts";
import type { SecretDigest } from "../apps/app-directory.ts";
import type { ClientStore } from "../clients/client-store.ts";
import type { CredentialFactsStore } from "../credentials/credential-facts.ts";
import type { ForcedRefreshCount, ForcedRefreshes } from "../credentials/forced-refreshes.ts";
import type { PauseStore } from "../credentials/pause.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { UsageStore } from "../audit/usage.ts";
import type { IssuedTokenIndex } from "../credentials/issued-token-index.ts";
import type { LoginAnswerStore } from "../login/login-answer-store.ts";
import type { CredentialName } from "../credentials/credential.ts";
import type { CredentialStore } from "../credentials/credential-store.ts";

/** What keeps an open store from being used as it should be. */
export interface StoreFault {
  readonly part: "database" | "key" | "migrations";
  /** For a person: what is wrong and what to do. */
  readonly message: string;
}

/** A credential that stands and when it ends, in epoch milliseconds. */
export interface StandingLife {
  readonly name: CredentialName;
  readonly expiresAt: number;
}

/** Every port that keeps something, together, and what belongs to having them open. */
export interface Store {
  readonly apps: AppStore;
  readonly clients: ClientStore;
  readonly credentials: CredentialStore;
  readonly credentialFacts: CredentialFactsStore;
  readonly issuedTokens: IssuedTokenIndex;
  readonly pauses: PauseStore;
  readonly forcedRefreshes: ForcedRefreshes & ForcedRefreshCount;
  readonly usage: UsageStore;
  readonly audit: AuditStore;
  readonly loginAnswers: LoginAnswerStore;
  /** Under the master key, so that the database tells nobody whether a guessed secret is right. */
  readonly digest: SecretDigest;
  /** For `VirtualTokens`: a change of the master key leaves it as it is. */
  readonly virtualTokenKey: Uint8Array;
  /** Looks whether the store can be written, opens under its key and is migrated, by doing it. Never throws. */
  probe(): Promise<readonly StoreFault[]>;
  /** Every credential that stands and may be handed out, of foreign secrets too. */
  listLives(): Promise<StandingLife[]>;
  /** Gives the files back. Nothing may be called afterwards. */
  close(): void;
}
