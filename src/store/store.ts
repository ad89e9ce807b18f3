import type { Changes } from "../changes.ts";
import type { AlarmStore, ChannelStore, NotificationQueue } from "../ops/alarm-store.ts";
import type { MilestoneStore } from "../ops/milestones.ts";
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
import type { ConsoleSessionStore } from "../access/console-sessions.ts";
import type { EnvironmentStore } from "../access/environments.ts";
import type { VirtualTokenKeyStore } from "../credentials/virtual-tokens.ts";
import type { PacingStore } from "../credentials/pacing-store.ts";
import type { RefreshLogStore } from "../credentials/refresh-log.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { CallCountStore } from "../audit/call-counts.ts";
import type { IdempotencyStore } from "../login/login.ts";
import type { CallbackSettingsStore } from "../callbacks/callback-settings.ts";
import type { DeliveryStore } from "../callbacks/delivery-store.ts";
import type { LoginCodeStore } from "../oauth/login-codes.ts";
import type { RedirectOriginStore } from "../oauth/redirect-origins.ts";
import type { VerifyFileStore } from "../oauth/verify-files.ts";
import type { WebLoginStore } from "../oauth/web-logins.ts";
import type { UserTokenStore } from "../login/user-tokens.ts";
import type { AuthorizationCodeStore, AuthorizationLinkStore } from "../platforms/authorization-store.ts";

/** Every port that keeps something, together, and what belongs to having them open. */
export interface Store {
  readonly changes: Changes;
  readonly apps: AppStore;
  readonly clients: ClientStore;
  readonly consoleSessions: ConsoleSessionStore;
  readonly environments: EnvironmentStore;
  readonly credentials: CredentialStore;
  readonly credentialFacts: CredentialFactsStore;
  readonly issuedTokens: IssuedTokenIndex;
  readonly pacing: PacingStore;
  readonly callCounts: CallCountStore;
  readonly refreshLog: RefreshLogStore;
  readonly audit: AuditStore;
  readonly loginAnswers: IdempotencyStore;
  readonly userTokens: UserTokenStore;
  readonly redirectOrigins: RedirectOriginStore & VerifyFileStore;
  readonly webLogins: WebLoginStore & LoginCodeStore;
  readonly callbackSettings: CallbackSettingsStore;
  readonly deliveries: DeliveryStore;
  readonly authorizationCodes: AuthorizationCodeStore;
  readonly authorizationLinks: AuthorizationLinkStore;
  readonly milestones: MilestoneStore;
  readonly alarms: AlarmStore;
  readonly notifications: NotificationQueue;
  readonly channels: ChannelStore;
  readonly nodes: NodeStore;
  /** Under the master key, so that the database tells nobody whether a guessed secret is right. */
  readonly digest: SecretDigest;
  readonly virtualTokenKeys: VirtualTokenKeyStore;
  /** What signs virtual refresh tokens and permanent codes, the same in every process. Throws as `VirtualTokenKeyStore.keys`. */
  readonly virtualGrantKey: () => Uint8Array;
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
