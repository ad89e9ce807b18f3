import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import {
  type Credential,
  credentialKey,
  type CredentialName,
  type CredentialRecord,
} from "../../src/credentials/credential.ts";
import { openSqliteStore, type SqliteStoreOptions } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import { ManualClock } from "./manual-clock.ts";

/** Saves as a refresh does: under a lease of its own, which must be free at `now`. Answers with what stands. */
export async function saveUnderLease(
  store: CredentialStore,
  name: CredentialName,
  credential: Credential,
  now = credential.issuedAt,
): Promise<CredentialRecord> {
  const holder = crypto.randomUUID();
  const { isGranted, record } = await store.lease(name, { holder, now, lifeMs: 10_000 });
  if (!isGranted) throw new Error("somebody else has the lease");
  const standing = await store.save(name, credential, record.generation);
  await store.release(name, holder);
  return standing;
}

/** Clears one credential; answers with what stands. */
export async function clearOne(
  store: Pick<CredentialStore, "clear">,
  name: CredentialName,
): Promise<CredentialRecord> {
  const [record] = await store.clear([{ name, isCurrent: true }]);
  if (!record) throw new Error("no answer");
  return record;
}

/** Marks one credential as rejected; answers with what stands. */
export async function rejectOne(
  store: Pick<CredentialStore, "reject">,
  name: CredentialName,
  generation: number,
): Promise<CredentialRecord> {
  const [answer] = await store.reject([{ name, generation }]);
  if (!answer) throw new Error("no answer");
  return answer.record;
}

/** A temporary folder with a SQLite store in it, removed by `using`. */
export class StoreFolder {
  readonly clock: Clock;
  readonly folder = mkdtempSync(join(tmpdir(), "accesstoken-store-"));
  readonly path = join(this.folder, "data", "accesstoken.db");
  readonly keyPath = join(this.folder, "data", "master.key");
  /** The paths of the keys that an `open` made. */
  readonly keysCreated: string[] = [];
  /** The keys of the credentials whose sealed values an open store could not open. */
  readonly damaged: string[] = [];
  readonly #stores: Store[] = [];

  constructor(clock: Clock = new ManualClock()) {
    this.clock = clock;
  }

  /** Opens the store, as often as wanted. */
  async open(options: Partial<SqliteStoreOptions> = {}): Promise<Store> {
    const store = await openSqliteStore({
      path: this.path,
      masterKey: undefined,
      masterKeyFile: this.keyPath,
      // A key that comes from elsewhere is there before the first database is.
      newDatabase: options.masterKey !== undefined,
      clock: this.clock,
      onKeyCreated: (path) => this.keysCreated.push(path),
      onDamaged: (name) => this.damaged.push(credentialKey(name)),
      ...options,
    });
    this.#stores.push(store);
    return store;
  }

  /** Closes every store that is open. */
  close(): void {
    for (const store of this.#stores.splice(0)) store.close();
  }

  [Symbol.dispose](): void {
    this.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
