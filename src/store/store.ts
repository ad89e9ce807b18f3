import type { Changes } from "../changes.ts";
import type { NodeStore } from "../ops/nodes.ts";
import type { StoreFault } from "../ops/readiness.ts";
import type {
  CredentialFactsStore,
  CredentialStore,
  IssuedTokenIndex,
  StandingLife,
} from "../credentials/credential-store.ts";
import type { AppStore } from "../apps/app.ts";
import type { SecretDigest } from "../apps/app-directory.ts";
import type { ClientStore } from "../access/client.ts";
import type { VirtualTokenKeyStore } from "../credentials/virtual-tokens.ts";
import type { PacingStore } from "../credentials/pacing-store.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { CallCountStore } from "../audit/call-counts.ts";
import type { IdempotencyStore } from "../login/login.ts";
import type { UserTokenStore } from "../login/user-tokens.ts";

/** Every port that keeps something, together, and what belongs to having them open. */
export interface Store {
  readonly changes: Changes;
  readonly apps: AppStore;
  readonly clients: ClientStore;
  readonly credentials: CredentialStore;
  readonly credentialFacts: CredentialFactsStore;
  readonly issuedTokens: IssuedTokenIndex;
  readonly pacing: PacingStore;
  readonly callCounts: CallCountStore;
  readonly audit: AuditStore;
  readonly loginAnswers: IdempotencyStore;
  readonly userTokens: UserTokenStore;
  readonly nodes: NodeStore;
  /** Under the master key, so that the database tells nobody whether a guessed secret is right. */
  readonly digest: SecretDigest;
  readonly virtualTokenKeys: VirtualTokenKeyStore;
  /**
   * Looks whether the store and its audit can be written, it opens under its key and is migrated, by doing it. It leaves
   * no entry behind. Never throws.
   */
  probe(): Promise<readonly StoreFault[]>;
  /** For how long the database could not be read, in milliseconds; 0 while it can, and of a file. */
  awayMs(): number;
  /** Whether notifications of changes arrive; undefined of a file, which needs none. */
  isListening(): boolean | undefined;
  /** Every credential that stands and may be handed out, of foreign secrets too. */
  listLives(): Promise<StandingLife[]>;
  /** Gives the files back. Nothing may be called afterwards. */
  close(): void;
}
