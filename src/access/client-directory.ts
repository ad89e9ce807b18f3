import { timingSafeEqual } from "node:crypto";
import type { Identity } from "../audit/audit-entry.ts";
import { type Changes, Mirror } from "../changes.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { isWellFormedApiKey } from "./api-key.ts";
import {
  type AccessSettings,
  type Action,
  type ApiKeyRecord,
  type Client,
  type ClientStore,
  grantTable,
  isAdmin,
} from "./client.ts";
import type { ConsoleSession } from "./console-sessions.ts";
import { Networks } from "./networks.ts";

const MINUTE_MS = 60_000;
const FLUSH_MS = 1000;

/** A client in memory, with what would otherwise be computed at each request. */
export interface KnownClient {
  readonly client: Client;
  readonly isAdmin: boolean;
  /** Whether its grants allow `action` on the app of that public name. */
  readonly allows: (action: Action, app: string) => boolean;
  /** Undefined for anywhere. */
  readonly networks: Networks | undefined;
}

/** A key and whose it is: the caller that brings the key, as a principal. */
export interface KnownKey {
  readonly kind: "client";
  readonly identity: Identity;
  readonly key: ApiKeyRecord;
  readonly owner: KnownClient;
  /** Where it comes by a session of the console in the place of the key. */
  readonly session?: ConsoleSession;
}

/** In the place of a key: it has no name. */
const NO_KEY: Omit<ApiKeyRecord, "client"> = {
  ...{ prefix: "", digest: "", label: "", createdAt: 0 },
  ...{ expiresAt: undefined, revokedAt: undefined, lastUsedAt: undefined },
};

interface KeyEntry extends KnownKey {
  readonly digest: Uint8Array;
}

const DIGEST_BYTES = 32;

/**
 * Every client, key and setting in this process's memory, so that authentication touches no disk.
 *
 * It is reread when clients have changed: at once after a change by this process, within 250 ms after one by another.
 * While the store can't be read, the last copy stays in use.
 */
export class ClientDirectory {
  readonly #store: Pick<ClientStore, "load" | "lastUsesOf" | "touchKeys">;
  readonly #mirror: Mirror;
  readonly #clock: Clock;
  /** By the monotonic clock. */
  #failingSince = 0;
  #settings: AccessSettings = { isAnonymousOn: false, corsOrigins: [] };
  #clients = new Map<string, KnownClient>();
  #names: readonly string[] = [];
  /** By the first 48 bits of the key's digest. */
  #keys = new Map<number, KeyEntry[]>();
  /** The valid keys that were sent since the clients were read, so that each is hashed once. */
  readonly #byText = new Map<string, KnownKey>();
  readonly #scratch = new Uint8Array(DIGEST_BYTES);
  #keysOf = new Map<string, ApiKeyRecord[]>();
  #timer: Timer | undefined;
  /** Per key prefix, the minute of its last use; and the prefixes whose last use is not stored yet. */
  readonly #usedAt = new Map<string, number>();
  readonly #unwritten = new Set<string>();
  /** Called with each use of a client's key, and where it comes from. It must be fast: to look at the address is not. */
  onUsed: ((client: string, origin: { readonly address: string }) => void) | undefined;

  /** `onUnreadable` is called when clients and keys can't be read, once until they can be. */
  constructor(
    store: Pick<ClientStore, "load" | "lastUsesOf" | "touchKeys">,
    changes: Changes,
    clock: Clock,
    onUnreadable: (error: unknown) => void = () => undefined,
  ) {
    this.#store = store;
    this.#mirror = new Mirror(
      changes,
      "clients",
      () => this.#read(),
      (error) => {
        this.#failingSince = clock.monotonic();
        onUnreadable(error);
      },
    );
    this.#clock = clock;
  }

  /** As last read; before that nobody comes without a key. */
  get settings(): AccessSettings {
    return this.#settings;
  }

  /**
   * For how long the clients and keys of the store could not be read, in milliseconds; 0 when they just were, Infinity when
   * they never were. Never throws.
   */
  async unreadableMs(): Promise<number> {
    await this.refresh().catch(() => undefined);
    if (!this.#mirror.isFailing) return 0;
    return this.#mirror.epoch < 0 ? Infinity : this.#clock.monotonic() - this.#failingSince;
  }

  /**
   * Changes whenever clients and keys are reread: whatever is derived from them is valid until then. The feed's own
   * epoch moves before that.
   */
  get epoch(): number {
    return this.#mirror.epoch;
  }

  /**
   * The key of that text and whose it is; undefined for an unknown one, well-formed or not.
   *
   * @throws {ServiceError} `unavailable` while the keys were never read.
   */
  keyOf(text: string): KnownKey | undefined {
    const before = this.#byText.get(text);
    if (before || !isWellFormedApiKey(text)) return before;
    if (this.#mirror.epoch < 0) throw neverRead();
    Bun.SHA256.hash(text, this.#scratch);
    const digest = this.#scratch;
    const candidates = this.#keys.get(startOf(digest)) ?? [];
    // By digest and in constant time, so that timing reveals nothing about a guess.
    const known = candidates.find((candidate) => timingSafeEqual(candidate.digest, digest));
    // One under another name could not be revoked by its own.
    if (!known || !text.startsWith(known.key.prefix)) return undefined;
    this.#byText.set(text, known);
    return known;
  }

  /** The key of that public prefix, whoever's it is. */
  findKey(prefix: string): ApiKeyRecord | undefined {
    for (const client of this.#keysOf.keys()) {
      const found = this.keysOf(client).find((key) => key.prefix === prefix);
      if (found) return found;
    }
    return undefined;
  }

  /** The key of that public prefix, if it is that client's. */
  keyNamed(client: string, prefix: string): KnownKey | undefined {
    const owner = this.#clients.get(client);
    const key = this.#keysOf.get(client)?.find((each) => each.prefix === prefix);
    return owner && key ? toKnownKey(owner, key) : undefined;
  }

  /** The client of that name, for who needs none of its keys. */
  withoutKey(client: string): KnownKey | undefined {
    const owner = this.#clients.get(client);
    return owner && toKnownKey(owner, { ...NO_KEY, client });
  }

  /** The client of that name. */
  find(name: string): Client | undefined {
    return this.#clients.get(name)?.client;
  }

  /** Whether there is a client that manages this service. */
  get hasAdmin(): boolean {
    return [...this.#clients.values()].some((each) => each.isAdmin);
  }

  /** At most `limit` clients in the order of their names, after `after`: those that `isWanted`, if it is given. */
  list({
    after = "",
    limit,
    isWanted = () => true,
  }: {
    readonly after?: string | undefined;
    readonly limit: number;
    readonly isWanted?: (client: Client) => boolean;
  }): Client[] {
    const found: Client[] = [];
    for (const name of this.#names) {
      const client = name > after && this.find(name);
      if (client && isWanted(client) && found.push(client) >= limit) break;
    }
    return found;
  }

  /** The keys of a client, revoked ones too, the oldest first, with their last use as far as this process knows. */
  keysOf(client: string): ApiKeyRecord[] {
    return (this.#keysOf.get(client) ?? []).map((key) => {
      const usedAt = Math.max(key.lastUsedAt ?? 0, this.#usedAt.get(key.prefix) ?? 0);
      return usedAt > 0 ? { ...key, lastUsedAt: usedAt } : key;
    });
  }

  /** Reads when other processes last used a client's keys. Throws what the store throws. */
  async readUses(client: string): Promise<void> {
    for (const { prefix, usedAt } of await this.#store.lastUsesOf(client)) {
      if (usedAt > (this.#usedAt.get(prefix) ?? 0)) this.#usedAt.set(prefix, usedAt);
    }
  }

  /** Notes that a key was used just now, and from where. */
  noteUse({ prefix, client }: ApiKeyRecord, origin: { readonly address: string }): void {
    this.onUsed?.(client, origin);
    const now = this.#clock.now();
    const minute = now - (now % MINUTE_MS);
    if (this.#usedAt.get(prefix) === minute) return;
    this.#usedAt.set(prefix, minute);
    this.#unwritten.add(prefix);
  }

  /** Rereads everything if something has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** As `refresh`, but the last copy will do where the store can't be read. Throws what the store throws while there is none. */
  async catchUp(): Promise<void> {
    await this.refresh().catch((error: unknown) => {
      if (this.#mirror.epoch < 0) throw error;
    });
  }

  /** Begins to follow changes of other processes, and to store last uses. */
  start(): void {
    this.#mirror.start();
    this.#timer = setInterval(() => void this.flushUses().catch(() => undefined), FLUSH_MS);
  }

  /** Stops, and stores the remaining last uses. */
  async stop(): Promise<void> {
    this.#mirror.stop();
    clearInterval(this.#timer);
    await this.flushUses().catch(() => undefined);
  }

  /** Stores which keys were used. What can't be written is kept for the next time. */
  async flushUses(): Promise<void> {
    if (this.#unwritten.size === 0) return;
    const prefixes = [...this.#unwritten];
    this.#unwritten.clear();
    try {
      await this.#store.touchKeys(
        prefixes.map((prefix) => ({ prefix, usedAt: this.#usedAt.get(prefix) ?? 0 })),
      );
    } catch (error) {
      for (const prefix of prefixes) this.#unwritten.add(prefix);
      throw error;
    }
  }

  async #read(): Promise<void> {
    const { clients, keys, settings } = await this.#store.load();
    this.#settings = settings;
    const before = this.#clients;
    const known = clients.map((client) => {
      const same = before.get(client.name);
      return [client.name, same?.client === client ? same : toKnown(client)] as const;
    });
    this.#clients = new Map(known);
    this.#names = [...this.#clients.keys()].toSorted();
    this.#keys = new Map();
    this.#byText.clear();
    this.#keysOf = new Map();
    for (const key of keys.toSorted((a, b) => a.createdAt - b.createdAt)) {
      const owner = this.#clients.get(key.client);
      if (!owner) continue;
      this.#keysOf.set(key.client, [...(this.#keysOf.get(key.client) ?? []), key]);
      const digest = new Uint8Array(Buffer.from(key.digest, "hex"));
      // A digest of another length is none of ours, and can't be compared.
      if (digest.length !== DIGEST_BYTES) continue;
      const start = startOf(digest);
      this.#keys.set(start, [...(this.#keys.get(start) ?? []), { ...toKnownKey(owner, key), digest }]);
    }
  }
}

function startOf(digest: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = digest;
  return (((a * 256 + b) * 256 + c) * 256 + d) * 65_536 + e * 256 + f;
}

function toKnownKey(owner: KnownClient, key: ApiKeyRecord): KnownKey {
  const { name, environment } = owner.client;
  return { kind: "client", identity: { client: name, environment }, key, owner };
}

function neverRead(): ServiceError {
  return new ServiceError(
    "unavailable",
    "暂时无法读取客户端和密钥，请稍后重试 (clients and keys can't be read just now; try again later)",
    { retryAfterMs: 1000, hint: "原因见 /readyz (/readyz says why)" },
  );
}

/** `client` as a caller, with a key that nobody has: for what it would be allowed. */
export function supposedCaller(client: Client): KnownKey {
  const none = { prefix: "", digest: "", label: "", expiresAt: undefined, revokedAt: undefined };
  const key = { ...none, client: client.name, createdAt: client.createdAt, lastUsedAt: undefined };
  return toKnownKey(toKnown(client), key);
}

function toKnown(client: Client): KnownClient {
  const { networks } = client;
  if (client.damaged) return { client, isAdmin: false, allows: () => false, networks: undefined };
  return {
    client,
    isAdmin: isAdmin(client),
    allows: grantTable(client.grants),
    networks: networks.length === 0 ? undefined : new Networks(networks.join(",")),
  };
}
