import type { TokenHolder } from "../access/authenticator.ts";
import type { Permit } from "../access/permits.ts";
import { appName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { Secret } from "../secret.ts";
import type { OauthUser } from "./login.ts";

/** As long as WeChat's last. */
const ACCESS_LIFE_MS = 2 * 3_600_000;
const REFRESH_LIFE_MS = 30 * 86_400_000;
/** How many tokens wait to be written at most; the oldest are dropped while nothing can be. */
const MAX_UNWRITTEN = 10_000;
/** How many are written in one transaction: others must not wait for it. */
const MAX_BATCH = 500;

/** For whom a user's token was issued through us: a client, or the holder of the app's secret (no client). */
export interface UserTokenOwner {
  readonly client: TokenHolder | undefined;
  /** The app's public name. */
  readonly app: string;
}

/** A user's token, for whom it was issued, and when it ends (epoch milliseconds). */
export interface UserToken {
  readonly token: Secret;
  readonly owner: UserTokenOwner;
  readonly until: number;
}

/** The tokens that one answer of WeChat's has. */
export type UserTokenPair = Pick<OauthUser, "accessToken" | "refreshToken">;

/** Keeps users' tokens by keyed digests: the tokens themselves are nowhere. */
export interface UserTokenStore {
  /** Adds `added`, removes `ended`, and drops what has expired, in one transaction. Returns how many had to go too early. */
  write(added: readonly UserToken[], ended: readonly Secret[], now: number): Promise<number>;
  /** For whom the token was issued; undefined for one that is unknown or has expired at `now` (epoch milliseconds). */
  find(token: Secret, now: number): Promise<UserTokenOwner | undefined>;
}

/** A token that is not written yet; without `added` one that has ended. */
interface Unwritten {
  readonly token: Secret;
  readonly added: UserToken | undefined;
}

/**
 * Remembers the users' tokens that were issued through us: the second step of a web login brings such a token alone, from
 * any machine. Written in batches behind the answers; whoever has to wait for nothing else waits for nothing.
 */
export class UserTokens {
  readonly #store: UserTokenStore;
  readonly #clock: Clock;
  readonly #events: EventBus;
  /** By the token's text, in the order in which they came. */
  readonly #unwritten = new Map<string, Unwritten>();
  #writing: Promise<void> | undefined;

  constructor(store: UserTokenStore, clock: Clock, events: EventBus) {
    this.#store = store;
    this.#clock = clock;
    this.#events = events;
  }

  /** Remembers what a code was exchanged for; nothing for anonymous callers, and for secrets that we don't hold. */
  remember({ principal, slot }: Permit, pair: UserTokenPair): void {
    const isOwner = principal.kind === "client" || principal.kind === "secret_holder";
    if (!isOwner || !slot.configured) return;
    const client = principal.kind === "client" ? holderOf(principal) : undefined;
    this.#add({ client, app: appName(slot) }, pair);
  }

  /** A refresh has brought another pair in the place of `refreshToken`, for the same owner. */
  async replace(refreshToken: Secret, pair: UserTokenPair): Promise<void> {
    const owner = await this.find(refreshToken);
    if (!owner) return;
    if (!pair.refreshToken.equals(refreshToken))
      this.#unwritten.set(refreshToken.reveal(), { token: refreshToken, added: undefined });
    this.#add(owner, pair);
  }

  /** See `UserTokenStore.find`; knows at once what this process was given. */
  async find(token: Secret): Promise<UserTokenOwner | undefined> {
    const unwritten = this.#unwritten.get(token.reveal());
    return unwritten ? unwritten.added?.owner : this.#store.find(token, this.#clock.now());
  }

  /** Resolves when all has been written that can be. */
  async stop(): Promise<void> {
    this.#arm();
    await this.#writing;
  }

  #add(owner: UserTokenOwner, { accessToken, refreshToken }: UserTokenPair): void {
    const now = this.#clock.now();
    for (const [token, lifeMs] of [
      [accessToken, ACCESS_LIFE_MS],
      [refreshToken, REFRESH_LIFE_MS],
    ] as const)
      this.#unwritten.set(token.reveal(), { token, added: { token, owner, until: now + lifeMs } });
    for (const oldest of this.#unwritten.keys()) {
      if (this.#unwritten.size <= MAX_UNWRITTEN) break;
      this.#unwritten.delete(oldest);
    }
    this.#arm();
  }

  #arm(): void {
    if (this.#unwritten.size > 0) this.#writing ??= this.#writeAll();
  }

  /** Writes what waits, and what comes meanwhile. What can't be written waits for the next login. */
  async #writeAll(): Promise<void> {
    try {
      while (this.#unwritten.size > 0) await this.#write([...this.#unwritten].slice(0, MAX_BATCH));
    } catch {
      // A token that is not known elsewhere costs its user a new login, at the worst.
    } finally {
      this.#writing = undefined;
    }
  }

  async #write(batch: readonly (readonly [string, Unwritten])[]): Promise<void> {
    const added = batch.flatMap(([, entry]) => entry.added ?? []);
    const ended = batch.flatMap(([, entry]) => (entry.added ? [] : entry.token));
    const evicted = await this.#store.write(added, ended, this.#clock.now());
    for (const [text, entry] of batch) if (this.#unwritten.get(text) === entry) this.#unwritten.delete(text);
    if (evicted > 0) this.#events.emit({ type: "user_tokens.evicted", count: evicted });
  }
}

function holderOf({ owner, key }: Extract<Permit["principal"], { kind: "client" }>): TokenHolder {
  const { name, createdAt } = owner.client;
  return { client: name, createdAt, keyPrefix: key.prefix };
}
