import { createHmac } from "node:crypto";
import type { VirtualTokenKeys } from "../credentials/virtual-tokens.ts";
import { systemClock } from "../clock.ts";
import { ServiceError, type Platform } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { cannotOpen, keyIdOf, type SealedPlace, type SealingKey, tryOpen } from "./sealing-key.ts";
import { type Queries, refuseIndependent } from "./sql.ts";

/** A master key of the database, as far as the database itself knows it. */
export interface KeyRow {
  readonly keyId: string;
  /** `SealingKey.prove`. */
  readonly proof: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** While there are two: `SealingKey.wrap` under the other. */
  readonly wrapped: string | null;
}

/** Where the database's own record of its master keys is read: as a transaction sees it, or as it is committed. */
export interface KeyTable {
  /** The epoch of `keys`. Cheap. */
  version(transaction?: Queries): Promise<number>;
  /** Two while one key takes the place of the other, otherwise one. */
  rows(transaction?: Queries): Promise<readonly KeyRow[]>;
}

/** Keys in the database. Those of digests and of the audit outlive a change of the master key. */
export interface DataKeys {
  readonly digest: Uint8Array;
  readonly audit: Uint8Array;
  readonly virtualTokens: VirtualTokenKeys;
  readonly virtualGrants: Uint8Array;
}

/** For so long a key that was put out of use still opens what had been read before. Milliseconds. */
const FORMER_MS = 5000;

/** Where a keyring finds its keys. */
export interface KeyringParts {
  readonly table: KeyTable;
  /** The one that this process was given. */
  readonly key: SealingKey;
  /** The one that it would be given now; undefined where it can't be had. */
  readonly readKey: () => SealingKey | undefined;
}

/**
 * The master keys of a database, and what is sealed under them.
 *
 * While the master key is changed there are two, and whoever has one has both. A running process notices the change by
 * itself: it seals under the newest, and opens what is sealed under either.
 */
export class Keyring {
  readonly #parts: KeyringParts;
  readonly #keys = new Map<string, SealingKey>();
  #rows: readonly KeyRow[] = [];
  #current: SealingKey | undefined;
  #next: SealingKey | undefined;
  /** The one that was put out of use last, and until when it is remembered; by the monotonic clock. */
  #former: { readonly key: SealingKey; readonly until: number } | undefined;
  #version: number | undefined;
  /** Counts the reads that were begun, and which of them was learnt last. */
  #begun = 0;
  #learnt = 0;
  #dataKeys: DataKeys | undefined;

  constructor(parts: KeyringParts) {
    this.#parts = parts;
    this.#keys.set(parts.key.keyId, parts.key);
    this.#current = parts.key;
  }

  /**
   * The key under which a transaction seals what it writes: so no text comes into the database under a key that another
   * process has put out of use. The transaction keeps all others out that change the key, and is not independent.
   *
   * @throws {ServiceError} `unavailable` when this process does not have the newest key.
   */
  async sealingKey(transaction: Queries): Promise<SealingKey> {
    refuseIndependent(transaction);
    await this.refresh(transaction);
    if (!this.#current) throw lockedOut();
    return this.#current;
  }

  /**
   * The secret that was sealed for `place`.
   *
   * @throws {ServiceError} `store_unusable` when it was sealed under another key, for another place, or was changed;
   * `unavailable` when it is sealed under a key of this database that this process does not have.
   */
  async open(text: string, place: SealedPlace): Promise<Secret> {
    return (await this.#openerOf(text, place))();
  }

  /** As `open`; undefined where that throws `store_unusable`. */
  async tryOpen(text: string, place: SealedPlace): Promise<Secret | undefined> {
    return tryOpen(await this.#openerOf(text, place));
  }

  /** As `opener`, and looks for a key that is not known yet. */
  async #openerOf(text: string, place: SealedPlace): Promise<() => Secret> {
    const keyId = keyIdOf(text);
    if (!this.#keys.has(keyId) && !this.#formerOf(keyId)) await this.#reload();
    return this.opener(text, place);
  }

  /**
   * What opens that text later, under the key that is known for it now, also after that key has been put out of use; a
   * text whose key is not known yet, under what is known then. Throws as `open`.
   */
  opener(text: string, place: SealedPlace): () => Secret {
    const keyId = keyIdOf(text);
    const known = this.#keys.get(keyId) ?? this.#formerOf(keyId);
    return () => {
      const key = known ?? this.#keys.get(keyId);
      if (key) return key.open(text, place);
      throw this.#rows.some((row) => row.keyId === keyId) ? lockedOut() : cannotOpen(place);
    };
  }

  /** A digest of an app's secret that only the holder of the master key can compute: 128 bits, base64url. */
  digest(platform: Platform, appId: string, secret: Secret): string {
    return this.#digest(platform, appId, secret.reveal());
  }

  /** A digest of an access token that only the holder of the master key can compute: 128 bits, base64url. */
  tokenDigest(token: Secret): string {
    return this.#digest("access_token", token.reveal());
  }

  /** A digest of all that the environment says of its apps that only the holder of the master key can compute: 128 bits. */
  environmentDigest(apps: Secret): string {
    return this.#digest("environment", apps.reveal());
  }

  /**
   * What signs virtual tokens, the same in every process of this database.
   *
   * @throws {ServiceError} `unavailable` when this process does not have the newest master key: whatever it knows may
   * have been put out of use.
   */
  virtualTokenKeys(): VirtualTokenKeys {
    if (!this.#current) throw lockedOut();
    return this.#data.virtualTokens;
  }

  /** What signs virtual refresh tokens and permanent codes. Throws as `virtualTokenKeys`. */
  virtualGrantKey(): Uint8Array {
    if (!this.#current) throw lockedOut();
    return this.#data.virtualGrants;
  }

  /** What chains the entries of the audit, 32 bytes: whoever has the database alone can't forge one. */
  auditKey(): Uint8Array {
    return this.#data.audit;
  }

  /** Sets what `digest`, `tokenDigest`, `virtualTokenKeys`, `virtualGrantKey` and `auditKey` work with. */
  use(dataKeys: DataKeys): void {
    this.#dataKeys = dataKeys;
  }

  /** Keeps `next` at hand, the key that may take the place of the current one; undefined for none. */
  hold(next: SealingKey | undefined): void {
    this.#next = next;
  }

  /** Looks whether the database has other keys now. Cheap while they stay. Throws what reading throws. */
  async refresh(transaction?: Queries): Promise<void> {
    if ((await this.#parts.table.version(transaction)) !== this.#version) await this.reread(transaction);
  }

  /** As `refresh`, and does not ask whether anything can have changed; what the database says now. */
  async reread(transaction?: Queries): Promise<readonly KeyRow[]> {
    const turn = ++this.#begun;
    const version = await this.#parts.table.version(transaction);
    const rows = await this.#parts.table.rows(transaction);
    // One that began later may have read something newer.
    if (turn < this.#learnt) return rows;
    this.#learnt = turn;
    this.#learn(rows);
    // Who is locked out tries again each time: a key file may be put right.
    this.#version = this.#current ? version : undefined;
    return rows;
  }

  /** Whether the database still has its proof of each key, and the keys in memory open them. */
  async isProven(): Promise<boolean> {
    const rows = await this.reread();
    return (
      rows.length > 0 && rows.every(({ keyId, proof }) => this.#keys.get(keyId)?.matches(proof) ?? false)
    );
  }

  /** The key that this process was given. */
  get given(): SealingKey {
    return this.#parts.key;
  }

  /** The ids of the keys that this process has, that of the next one last. */
  get keyIds(): readonly string[] {
    return [...new Set([...this.#keys.keys(), ...(this.#next ? [this.#next.keyId] : [])])];
  }

  /** The key under which is sealed; undefined when this process does not have it. */
  get current(): SealingKey | undefined {
    return this.#current;
  }

  /** The one whose place the current takes, while it does. */
  get old(): SealingKey | undefined {
    return [...this.#keys.values()].find((key) => this.#current && key !== this.#current);
  }

  get #data(): DataKeys {
    if (!this.#dataKeys) throw new Error("the data keys are not known yet");
    return this.#dataKeys;
  }

  #digest(...parts: readonly string[]): string {
    return createHmac("sha256", this.#data.digest).update(parts.join("\n")).digest("base64url").slice(0, 22);
  }

  /** A failure to read says nothing of the text that is to be opened. */
  async #reload(): Promise<void> {
    try {
      await this.reread();
    } catch (cause) {
      throw new ServiceError("unavailable", "暂时无法读取数据库 (the database can't be read just now)", {
        cause,
      });
    }
  }

  #learn(rows: readonly KeyRow[]): void {
    this.#rows = rows;
    // Without any record of a key there is nothing to learn; the readiness probe tells of it.
    if (rows.length === 0) return;
    const known = this.#knownOf(rows);
    if (!known) {
      this.#current = undefined;
      return;
    }
    const pair = rows.length === 2 ? pairOf(rows, known) : undefined;
    const before = this.#current;
    this.#keys.clear();
    for (const key of pair ? [pair.old, pair.new] : [known]) this.#keys.set(key.keyId, key);
    if (before && !this.#keys.has(before.keyId))
      this.#former = { key: before, until: systemClock.monotonic() + FORMER_MS };
    // Where the other key was tampered with, the one that is known is as good as before.
    this.#current = pair?.new ?? known;
  }

  #formerOf(keyId: string): SealingKey | undefined {
    if (this.#former && systemClock.monotonic() > this.#former.until) this.#former = undefined;
    return this.#former?.key.keyId === keyId ? this.#former.key : undefined;
  }

  /** One of the keys of `rows`: of those in memory, the next one, or the one that this process would be given now. */
  #knownOf(rows: readonly KeyRow[]): SealingKey | undefined {
    const inMemory = rows.flatMap(({ keyId }) => this.#keys.get(keyId) ?? []);
    const current = inMemory.find((key) => key === this.#current) ?? inMemory[0];
    if (current) return current;
    return [this.#next, this.#parts.readKey()].find((key) => key && opens(key, rows));
  }
}

/** Whether `key` is one of `rows`. */
export function opens(key: SealingKey, rows: readonly Pick<KeyRow, "keyId" | "proof">[]): boolean {
  return rows.some(({ keyId, proof }) => keyId === key.keyId && key.matches(proof));
}

/** Both keys of two rows, out of the one that is known; undefined when the rows don't fit together. */
function pairOf(
  rows: readonly KeyRow[],
  known: SealingKey,
): { readonly old: SealingKey; readonly new: SealingKey } | undefined {
  const row = rows.find(({ keyId }) => keyId !== known.keyId);
  if (!row?.wrapped) return undefined;
  const newer = known.unwrap(row.keyId, "new", row.wrapped);
  if (newer) return { old: known, new: newer };
  const older = known.unwrap(row.keyId, "old", row.wrapped);
  return older && { old: older, new: known };
}

function lockedOut(): ServiceError {
  return new ServiceError(
    "unavailable",
    "主密钥已更换，请以新的主密钥重启本进程 (the master key was changed; restart this process with the new one)",
  );
}
