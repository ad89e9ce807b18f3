import type { ChangeListener, Changes, Topic } from "../../src/changes.ts";
import type { Clock } from "../../src/clock.ts";
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

/** What all nodes of a test share: rows, pauses, and the epochs in which credentials changed last, also by node. */
export class MemoryDatabase {
  readonly rows = new Map<string, Row>();
  readonly pauses = new Map<string, Pause>();
  readonly forced = new Map<string, { count: number; lastAt: number }>();
  epoch = 0;
  readonly changedBy = new Map<string, number>();
  /** Called with every value that is saved, in the order of the commits. */
  onSave: (credential: Credential, before: Credential | undefined) => void = () => undefined;
}

/** What one node learns of changes: of its own at once, of those of others 25 ms later. */
export class MemoryChanges implements Changes {
  readonly isLive = true;
  readonly #database: MemoryDatabase;
  readonly #node: string;
  readonly #clock: Clock;
  readonly #listeners: ChangeListener[] = [];
  #epoch = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(database: MemoryDatabase, node: string, clock: Clock) {
    this.#database = database;
    this.#node = node;
    this.#clock = clock;
  }

  epoch(topic: Topic): number {
    if (topic !== "credentials") return 0;
    const now = this.#clock.monotonic();
    const { epoch, changedBy, rows } = this.#database;
    const isOwn = (changedBy.get(this.#node) ?? 0) > this.#epoch;
    if (now - this.#lookedAt < 25 && !isOwn) return this.#epoch;
    this.#lookedAt = now;
    const changed = [...rows].filter(([, row]) => row.epoch > this.#epoch);
    const isMoved = epoch !== this.#epoch;
    this.#epoch = epoch;
    const named = new Map(changed.map(([key, row]) => [key, row.epoch]));
    if (isMoved) for (const listener of this.#listeners) listener(named);
    return this.#epoch;
  }

  async catchUp(): Promise<void> {}

  subscribe(topic: Topic, listener: ChangeListener): () => void {
    if (topic === "credentials") this.#listeners.push(listener);
    return () => undefined;
  }
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

  /** When something is renewed ahead of time is no matter of schedules. */
  async nextDueAt(): Promise<undefined> {}

  async takeDue(): Promise<never[]> {
    return [];
  }

  async reschedule(): Promise<void> {}

  lease(name: CredentialName, { holder, now, lifeMs }: LeaseRequest): Promise<LeaseAnswer> {
    return this.#atomically("lease", () => {
      const row = this.#row(name);
      const until = row?.leaseExpiresAt ?? 0;
      const isTaken =
        row?.leaseHolder && row.leaseHolder !== holder && now < until && until <= now + 2 * lifeMs;
      if (isTaken) return { isGranted: false, record: this.#record(name) };
      const generation = row ? row.generation + 1 : now;
      const lease = { leaseHolder: holder, leaseExpiresAt: now + lifeMs };
      this.#put(name, { ...this.#record(name), generation, ...lease });
      return { isGranted: true, record: this.#record(name) };
    });
  }

  release(name: CredentialName, holder: string): Promise<void> {
    return this.#atomically("release", () => {
      const row = this.#row(name);
      if (row?.leaseHolder !== holder) return;
      if (!row.wasSaved) this.#database.rows.delete(credentialKey(name));
      else this.#put(name, { ...row, leaseHolder: undefined, leaseExpiresAt: undefined });
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

  accept(name: CredentialName, credential: Credential): Promise<CredentialRecord> {
    return this.#atomically("accept", () => {
      const row = this.#row(name);
      const issuedAt = row?.credential?.issuedAt ?? 0;
      if (row?.credential && issuedAt > credential.issuedAt && issuedAt <= this.#now())
        return this.#record(name);
      const generation = row ? row.generation + 1 : this.#now();
      this.#database.onSave(credential, row?.credential);
      return this.#write(name, {
        ...this.#record(name),
        generation,
        credential,
        isRejected: false,
        wasSaved: true,
      });
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

  #row(name: CredentialName): Row | undefined {
    return this.#database.rows.get(credentialKey(name));
  }

  #record(name: CredentialName): CredentialRecord & Partial<Row> {
    return { ...(this.#row(name) ?? NO_RECORD) };
  }

  #put(name: CredentialName, row: Omit<Row, "name">): void {
    this.#database.rows.set(credentialKey(name), { ...row, name });
  }

  /** A change of what may be handed out, which the others must notice. */
  #write(name: CredentialName, row: Omit<Row, "name">): CredentialRecord {
    this.#database.epoch += 1;
    this.#database.changedBy.set(this.#node, this.#database.epoch);
    this.#put(name, { ...row, epoch: this.#database.epoch });
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
