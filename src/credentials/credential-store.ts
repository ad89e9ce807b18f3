import type { Platform } from "../errors.ts";
import type { Credential, CredentialKind, CredentialName, CredentialRecord } from "./credential.ts";

/** Where credentials outlive the process, their values sealed. What a promise has resolved for is on the disk. */
export interface CredentialStore {
  /** What stands, or undefined when nothing was ever saved. Throws `store_unusable` when it can't be opened. */
  find(name: CredentialName): Promise<CredentialRecord | undefined>;
  /** The names of every credential of one app and kind that was ever saved, whatever its slot. */
  listOfApp(platform: Platform, appId: string, kind: CredentialKind): Promise<CredentialName[]>;
  /**
   * Stores `credential` if `generation` still stands (0: nothing was ever saved), and answers with what stands then:
   * the very object that was given, or what somebody else saved or cleared meanwhile.
   */
  save(name: CredentialName, credential: Credential, generation: number): Promise<CredentialRecord>;
  /** Forgets the value, with `generation` only if that still stands, and answers with what stands then. */
  clear(name: CredentialName, generation?: number): Promise<CredentialRecord>;
}
