import type { ChangeListener, Changes, Topic } from "../../src/changes.ts";
import type { Piece } from "../../src/audit/call-counts.ts";
import type { Clock } from "../../src/clock.ts";
import type {
  Clear,
  CredentialStore,
  LeaseAnswer,
  LeaseRequest,
  RejectAnswer,
  Rejection,
} from "../../src/credentials/credential-store.ts";
import {
  type Credential,
  credentialKey,
  type CredentialName,
  type CredentialRecord,
  NO_RECORD,
} from "../../src/credentials/credential.ts";
import { type Backoff, MAX_SKEW_MS } from "../../src/credentials/backoff.ts";
import type { PacingStore, UseAnswer, UseRequest } from "../../src/credentials/pacing-store.ts";
import type { Secret } from "../../src/secret.ts";

interface Row extends CredentialRecord {
  readonly name: CredentialName;
  readonly leaseHolder?: string | undefined;
  readonly leaseExpiresAt?: number | undefined;
}

/** Passes the turn to somebody else; tests decide to whom, and so the order of everything. */
export type Turn = (label: string) => Promise<void>;

/** One use of a budget. */
interface Use {
  readonly key: string;
  readonly since: number;
  readonly note: string | undefined;
  isPending: boolean;
}

/** What all nodes of a test share: rows, backoffs, uses of budgets, and the epochs of the last changes, also by node. */
export class MemoryDatabase {
  readonly rows = new Map<string, Row>();
  readonly backoffs = new Map<string, Backoff>();
  readonly uses = new Map<string, Use>();
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
      const generation = Math.max((row?.generation ?? 0) + 1, now);
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
      const generation = this.#next(row);
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

  /** A database in memory has lost nothing. */
  async restore(): Promise<never[]> {
    return [];
  }

  clear(clears: readonly Clear[]): Promise<CredentialRecord[]> {
    return this.#atomically("clear", () =>
      clears.map(({ name, isCurrent }) => {
        const record = this.#record(name);
        if (!isCurrent) return record;
        const generation = this.#next(this.#row(name));
        return this.#write(name, { ...record, generation, credential: undefined, isRejected: false });
      }),
    );
  }

  reject(rejections: readonly Rejection[]): Promise<RejectAnswer[]> {
    return this.#atomically("reject", () =>
      rejections.map(({ name, generation }) => {
        const row = this.#row(name);
        if (row?.generation !== generation) return { isMarked: false, record: this.#record(name) };
        const record = this.#write(name, { ...row, generation: this.#next(row), isRejected: true });
        return { isMarked: true, record };
      }),
    );
  }

  markRevoked(name: CredentialName, revoked: Secret, generation: number): Promise<CredentialRecord> {
    return this.#atomically("markRevoked", () => {
      const row = this.#row(name);
      if (!row) return this.#record(name);
      const cleared = row.generation === generation ? { credential: undefined, isRejected: false } : {};
      return this.#write(name, { ...row, ...cleared, revoked });
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

  #next(row: Row | undefined): number {
    return Math.max((row?.generation ?? 0) + 1, this.#now());
  }

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

/** Backoffs and budgets in a `MemoryDatabase`. It prunes nothing. */
export class MemoryPacingStore implements PacingStore {
  readonly #database: MemoryDatabase;
  readonly #turn: Turn;

  constructor(database: MemoryDatabase, turn: Turn) {
    this.#database = database;
    this.#turn = turn;
  }

  async find(keys: readonly string[]): Promise<Backoff[]> {
    await this.#turn("pacing find");
    return keys.flatMap((key) => this.#database.backoffs.get(key) ?? []);
  }

  async page(after = "", limit: number): Promise<Piece<Backoff>> {
    await this.#turn("pacing page");
    const behind = [...this.#database.backoffs.values()]
      .filter(({ key }) => key > after)
      .toSorted((a, b) => (a.key < b.key ? -1 : 1));
    return {
      items: behind.slice(0, limit),
      next: behind.length > limit ? behind[limit - 1]?.key : undefined,
    };
  }

  async listRefusals(now: number): Promise<Backoff[]> {
    await this.#turn("pacing list");
    const all = [...this.#database.backoffs.values()];
    return all.filter(({ reason, until }) => reason !== "exponential" && until > now);
  }

  async put(backoff: Backoff): Promise<void> {
    await this.#turn("pacing put");
    this.#database.backoffs.set(backoff.key, backoff);
  }

  async remove(seen: readonly Backoff[]): Promise<void> {
    await this.#turn("pacing remove");
    for (const { key, since, until } of seen) {
      const current = this.#database.backoffs.get(key);
      if (current?.since === since && current.until === until) this.#database.backoffs.delete(key);
    }
  }

  async unblock(keys: readonly string[]): Promise<void> {
    await this.#turn("pacing unblock");
    for (const key of keys) this.#database.backoffs.delete(key);
  }

  async use({ limits, now, note, isPending = false }: UseRequest): Promise<UseAnswer> {
    await this.#turn("pacing use");
    const blocked = limits.flatMap(({ key, most, from }, limit) => {
      const uses = this.#usesOf(key, from, now);
      const blocking = uses[uses.length - most];
      if (!blocking) return [];
      const final = uses.filter((use) => !use.isPending || use.since <= now - 10_000);
      return [{ limit, since: blocking.since, note: blocking.note, isPending: final.length < most }];
    });
    if (blocked.length > 0) return { blocked };
    const ids = [...new Set(limits.map(({ key }) => key))].map((key) => {
      const id = `${key}#${this.#database.uses.size}#${crypto.randomUUID()}`;
      this.#database.uses.set(id, { key, since: now, note, isPending });
      return id;
    });
    return { uses: ids };
  }

  async settle(uses: readonly string[]): Promise<void> {
    await this.#turn("pacing settle");
    for (const id of uses) {
      const use = this.#database.uses.get(id);
      if (use) use.isPending = false;
    }
  }

  async giveBack(uses: readonly string[]): Promise<void> {
    await this.#turn("pacing give back");
    for (const id of uses) this.#database.uses.delete(id);
  }

  async countUses(keys: readonly string[], from: number, now: number): Promise<number[]> {
    await this.#turn("pacing count");
    return keys.map((key) => this.#usesOf(key, from, now).length);
  }

  async countUsesUnder(prefix: string, from: number, now: number): Promise<ReadonlyMap<string, number>> {
    await this.#turn("pacing count");
    const keys = [...this.#database.uses.values()].map(({ key }) => key);
    const found = keys.filter((key) => key.startsWith(prefix));
    return new Map(found.map((key) => [key, this.#usesOf(key, from, now).length]));
  }

  #usesOf(key: string, from: number, now: number): Use[] {
    return [...this.#database.uses.values()]
      .filter((use) => use.key === key && use.since > from && use.since <= now + MAX_SKEW_MS)
      .toSorted((a, b) => a.since - b.since);
  }
}
