import type { CredentialStore, LeaseAnswer, LeaseRequest } from "../../src/credentials/credential-store.ts";
import {
  type Credential,
  credentialKey,
  type CredentialName,
  type CredentialRecord,
  NO_RECORD,
} from "../../src/credentials/credential.ts";
import type { ForcedRefreshes } from "../../src/credentials/throttles.ts";
import { isActive, type Pause, type PauseStore } from "../../src/credentials/backoff.ts";
import type { Secret } from "../../src/secret.ts";

interface Row extends CredentialRecord {
  readonly name: CredentialName;
  readonly leaseHolder?: string | undefined;
  readonly leaseExpiresAt?: number | undefined;
}

/** Passes the turn to somebody else; tests decide to whom, and so the order of everything. */
export type Turn = (label: string) => Promise<void>;

/** What all nodes of a test share: rows, pauses, and who has committed how often. */
export class MemoryDatabase {
  readonly rows = new Map<string, Row>();
  readonly pauses = new Map<string, Pause>();
  readonly forced = new Map<string, { count: number; lastAt: number }>();
  readonly commits = new Map<string, number>();
  /** Called with every value that is saved, in the order of the commits. */
  onSave: (credential: Credential, before: Credential | undefined) => void = () => undefined;
}

/** One node's view of a `MemoryDatabase`. Each method is one transaction between two turns. */
export class MemoryCredentialStore implements CredentialStore {
  readonly #database: MemoryDatabase;
  readonly #node: string;
  readonly #turn: Turn;
  readonly #now: () => number;

  constructor(database: MemoryDatabase, node: string, turn: Turn, now: () => number) {
    this.#database = database;
    this.#node = node;
    this.#turn = turn;
    this.#now = now;
  }

  find(name: CredentialName): Promise<CredentialRecord> {
    return this.#atomically("find", () => this.#record(name));
  }

  listOfApp(platform: string, appId: string): Promise<CredentialName[]> {
    return this.#atomically("listOfApp", () =>
      [...this.#database.rows.values()]
        .map(({ name }) => name)
        .filter(({ slot }) => slot.platform === platform && slot.appId === appId),
    );
  }

  async forgetRejected(): Promise<void> {}

  async listUsed(): Promise<never[]> {
    return [];
  }

  lease(name: CredentialName, { holder, now, lifeMs }: LeaseRequest): Promise<LeaseAnswer> {
    return this.#atomically("lease", () => {
      const row = this.#row(name);
      const until = row?.leaseExpiresAt ?? 0;
      const isTaken =
        row?.leaseHolder && row.leaseHolder !== holder && now < until && until <= now + 2 * lifeMs;
      if (isTaken) return { isGranted: false, record: this.#record(name) };
      const generation = row ? row.generation + 1 : now;
      const lease = { leaseHolder: holder, leaseExpiresAt: now + lifeMs };
      this.#write(name, { ...this.#record(name), generation, ...lease });
      return { isGranted: true, record: this.#record(name) };
    });
  }

  release(name: CredentialName, holder: string): Promise<void> {
    return this.#atomically("release", () => {
      const row = this.#row(name);
      if (row?.leaseHolder !== holder) return;
      if (!row.wasSaved) this.#database.rows.delete(credentialKey(name));
      else this.#write(name, { ...row, leaseHolder: undefined, leaseExpiresAt: undefined });
    });
  }

  save(name: CredentialName, credential: Credential, generation: number): Promise<CredentialRecord> {
    return this.#atomically("save", () => {
      const row = this.#row(name);
      if (row?.generation !== generation) return this.#record(name);
      this.#database.onSave(credential, row.credential);
      return this.#write(name, { ...row, credential, isRejected: false, wasSaved: true });
    });
  }

  clear(name: CredentialName, generation?: number): Promise<CredentialRecord> {
    return this.#atomically("clear", () => {
      const row = this.#row(name);
      if (generation !== undefined && row?.generation !== generation) return this.#record(name);
      const raised = row ? row.generation + 1 : this.#now();
      const record = this.#record(name);
      return this.#write(name, { ...record, generation: raised, credential: undefined, isRejected: false });
    });
  }

  reject(name: CredentialName, generation: number): Promise<CredentialRecord> {
    return this.#atomically("reject", () => {
      const row = this.#row(name);
      if (row?.generation !== generation) return this.#record(name);
      return this.#write(name, { ...row, generation: generation + 1, isRejected: true });
    });
  }

  bury(name: CredentialName, dead: Secret, generation: number): Promise<CredentialRecord> {
    return this.#atomically("bury", () => {
      const row = this.#row(name);
      if (!row) return this.#record(name);
      const cleared = row.generation === generation ? { credential: undefined, isRejected: false } : {};
      return this.#write(name, { ...row, ...cleared, dead });
    });
  }

  shorten(
    name: CredentialName,
    standing: Credential,
    life: { readonly expiresAt: number; readonly renewBeforeMs: number },
  ): Promise<CredentialRecord> {
    return this.#atomically("shorten", () => {
      const row = this.#row(name);
      const { issuedAt, expiresAt } = row?.credential ?? {};
      const isSame = issuedAt === standing.issuedAt && expiresAt === standing.expiresAt;
      if (!row?.credential || !isSame) return this.#record(name);
      return this.#write(name, { ...row, credential: { ...row.credential, ...life } });
    });
  }

  async touch(): Promise<void> {}

  version(): number {
    let version = 0;
    for (const [node, commits] of this.#database.commits) if (node !== this.#node) version += commits;
    return version;
  }

  #row(name: CredentialName): Row | undefined {
    return this.#database.rows.get(credentialKey(name));
  }

  #record(name: CredentialName): CredentialRecord & Partial<Row> {
    return { ...(this.#row(name) ?? NO_RECORD) };
  }

  #write(name: CredentialName, row: Omit<Row, "name">): CredentialRecord {
    this.#database.rows.set(credentialKey(name), { ...row, name });
    this.#database.commits.set(this.#node, (this.#database.commits.get(this.#node) ?? 0) + 1);
    return this.#record(name);
  }

  async #atomically<T>(label: string, work: () => T): Promise<T> {
    await this.#turn(`${this.#node} ${label}`);
    const result = work();
    await this.#turn(`${this.#node} ${label} answered`);
    return result;
  }
}

/** Pauses in a `MemoryDatabase`. */
export class MemoryPauseStore implements PauseStore {
  readonly #database: MemoryDatabase;
  readonly #turn: Turn;

  constructor(database: MemoryDatabase, turn: Turn) {
    this.#database = database;
    this.#turn = turn;
  }

  async find(keys: readonly string[]): Promise<Pause[]> {
    await this.#turn("pauses find");
    return keys.flatMap((key) => this.#database.pauses.get(key) ?? []);
  }

  async put(pause: Pause): Promise<void> {
    await this.#turn("pauses put");
    this.#database.pauses.set(pause.key, pause);
  }

  async claim(pause: Pause): Promise<Pause | undefined> {
    await this.#turn("pauses claim");
    const standing = this.#database.pauses.get(pause.key);
    if (standing && isActive(standing, pause.since)) return standing;
    this.#database.pauses.set(pause.key, pause);
    return undefined;
  }

  async remove(keys: readonly string[]): Promise<void> {
    await this.#turn("pauses remove");
    for (const key of keys) this.#database.pauses.delete(key);
  }
}

/** A budget of 20 in all, 30 s apart, in a `MemoryDatabase`. */
export class MemoryForcedRefreshes implements ForcedRefreshes {
  readonly #database: MemoryDatabase;

  constructor(database: MemoryDatabase) {
    this.#database = database;
  }

  async take(appId: string, now: number): Promise<number> {
    const { count, lastAt } = this.#database.forced.get(appId) ?? { count: 0, lastAt: -Infinity };
    if (count >= 20) return 3_600_000;
    if (now - lastAt < 30_000) return lastAt + 30_000 - now;
    this.#database.forced.set(appId, { count: count + 1, lastAt: now });
    return 0;
  }
}
