import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type Slot, type SlotName } from "../apps/app.ts";
import type { Changes } from "../changes.ts";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import type { IssuedToken, IssuedTokenIndex } from "./credential-store.ts";
import type { VirtualTokenClaims, VirtualTokens } from "./virtual-tokens.ts";
import type { Access } from "../access/access.ts";
import { type Caller, denied, type Principal } from "../access/principal.ts";
import { type Platform, refusalOf, unknownToken } from "../errors.ts";
import type { EventBus } from "../events.ts";

/** What a token that a caller brings is to us. */
export type KnownToken =
  | { readonly kind: "virtual"; readonly claims: VirtualTokenClaims; readonly slot: Slot }
  /** Without a slot where it is of a secret that we don't hold (any more), or of a disabled app. */
  | { readonly kind: "real"; readonly name: SlotName; readonly slot: Slot | undefined }
  /** A real one that WeChat rejected before its end: it serves to heal its holders' calls, and for nothing else. */
  | { readonly kind: "rejected"; readonly slot: Slot };

/** What tells one token from another. */
export interface TokenIntrospectorParts {
  readonly virtualTokens: Pick<VirtualTokens, "read">;
  readonly index: IssuedTokenIndex;
  readonly directory: Pick<AppDirectory, "findSlot" | "slotNamed">;
  readonly changes: Changes;
  readonly clock: Clock;
}

/** So many real tokens are cached; at most two of an app are valid. */
const MAX_TOKENS = 1000;

/**
 * Knows the access tokens again that this service has handed out, its own and WeChat's.
 *
 * A real token that was known a moment ago is known without a look at the disk while no credential and no app has changed.
 */
export class TokenIntrospector {
  readonly #parts: TokenIntrospectorParts;
  /** By the token's digest. */
  readonly #issued = new Map<string, IssuedToken>();
  readonly #scratch = new Uint8Array(32);
  #epoch = -1;

  constructor(parts: TokenIntrospectorParts) {
    this.#parts = parts;
  }

  /**
   * What `token` is; undefined for one that we don't know, or don't know any more.
   *
   * Whether the client of a virtual one is still there is not looked at, nor whether the app is disabled: its slot says so.
   */
  async find(token: Secret): Promise<KnownToken | undefined> {
    const { virtualTokens, directory } = this.#parts;
    const claims = await virtualTokens.read(token.reveal());
    if (claims) {
      const slot = directory.findSlot(claims.app);
      return slot && { kind: "virtual", claims, slot };
    }
    const issued = await this.#find(token);
    if (!issued) return undefined;
    const { slot: name, isRejected } = issued;
    const slot = directory.slotNamed(name);
    if (!isRejected) return { kind: "real", name, slot };
    return slot && { kind: "rejected", slot };
  }

  async #find(token: Secret): Promise<IssuedToken | undefined> {
    const { index, clock, changes } = this.#parts;
    const epoch = this.#currentEpoch();
    if (epoch !== this.#epoch) {
      this.#issued.clear();
      this.#epoch = epoch;
    }
    const digest = this.#digest(token);
    const now = clock.now();
    const before = this.#issued.get(digest);
    if (before && now < before.until && changes.isLive) return before;
    const issued = await index.findIssued(token, now);
    // What has changed while it was read may have made it untrue.
    const isTrue = epoch === this.#epoch && epoch === this.#currentEpoch();
    // What ends a rejected one must do so at once in every process: such a token is looked up each time.
    if (issued && isTrue && !issued.isRejected) {
      if (this.#issued.size >= MAX_TOKENS) this.#issued.clear();
      this.#issued.set(digest, issued);
    }
    return issued;
  }

  /** Both only grow, so their sum stays while neither has changed. */
  #currentEpoch(): number {
    const { changes } = this.#parts;
    return changes.epoch("credentials") + changes.epoch("apps");
  }

  #digest(token: Secret): string {
    Bun.SHA256.hash(token.reveal(), this.#scratch);
    return Buffer.from(this.#scratch.buffer).toString("latin1");
  }
}

/** The app of a request, the token that came with it, and the principal. */
export interface TokenContext {
  readonly name: SlotName;
  /**
   * Undefined where the token was obtained with a secret that we don't hold: it is forwarded unchanged, and can't be
   * replaced. Also for a real token of a disabled app, which the gateway refuses by its name.
   */
  readonly slot: Slot | undefined;
  /** The token that the caller sent; undefined for a caller with a key alone. */
  readonly token: Secret | undefined;
  /** Whether WeChat rejected that token before it expired. Its holder must not see the current one. */
  readonly isRejected?: boolean;
  readonly principal: Principal;
}

const KEY_MISSING =
  "access_token missing, 缺少API密钥 (no API key: send it as Authorization: Bearer or X-API-Key)";

/**
 * Resolves an access token that we issued to its app and its holder.
 *
 * A virtual token names its client, which is then the caller. A real one names no client: its bearer could ask WeChat
 * directly. One that WeChat rejected before it expired is still accepted, and counted separately: an SDK that fetches
 * no other keeps working, and calls that were under way when it was revoked are healed.
 */
export class TokenResolver {
  readonly #access: Access;
  readonly #introspector: Pick<TokenIntrospector, "find">;
  readonly #events: EventBus;

  constructor(access: Access, introspector: Pick<TokenIntrospector, "find">, events: EventBus) {
    this.#access = access;
    this.#introspector = introspector;
    this.#events = events;
  }

  /**
   * The context as it is now, for a call that has taken long since it was admitted.
   *
   * @throws {ServiceError} As `byToken` for a token that has ended meanwhile; `unauthorized` for a key.
   */
  async confirm(context: TokenContext): Promise<TokenContext> {
    const { name, token } = context;
    const principal = this.#access.confirm(context.principal);
    if (token && !(await this.#introspector.find(token))) throw unknownToken(name.platform);
    return { ...context, principal };
  }

  /**
   * Whose app `token` is for.
   *
   * `platform` is the one that the path seems to belong to: an unknown token is refused in its words. `onKnown` is
   * called with the token's own platform before any refusal that concerns the token.
   *
   * @throws {ServiceError} 42001 in WeChat's words for a token that is not ours or has expired; `forbidden`,
   *   `rate_limited`.
   */
  async byToken(
    caller: Caller,
    token: Secret,
    platform: Platform,
    onKnown: (platform: Platform) => void,
  ): Promise<TokenContext> {
    const access = this.#access;
    const known = await this.#introspector.find(token);
    if (!known) {
      access.countAttempt(caller);
      throw unknownToken(platform);
    }
    onKnown((known.kind === "real" ? known.name : known.slot).platform);
    if (known.kind === "real")
      return { name: known.name, slot: known.slot, token, principal: access.bearer(caller) };
    if (known.kind === "rejected") {
      const principal = access.bearer(caller, "rejected access token");
      this.#events.emit({ type: "rejected_token.used", app: appName(known.slot) });
      return { name: known.slot, slot: known.slot, token, principal, isRejected: true };
    }
    const { client, clientCreatedAt: createdAt, keyPrefix } = known.claims;
    const principal = access.byToken(caller, { client, createdAt, keyPrefix });
    if (!principal) throw unknownToken(known.slot.platform);
    return { name: known.slot, slot: known.slot, token, principal };
  }

  /**
   * The app of that public name, for a client that came with its key, or an administrator at this machine. Throws as `Access.slotOfApp`, and 41001 in the
   * words of `platform` without a key.
   *
   * A key is needed even where anonymous callers are answered: a foreign web page could make a call without one.
   */
  byKey(caller: Caller, app: string, platform: Platform): TokenContext {
    const { kind } = caller.principal;
    if (kind !== "client" && kind !== "local")
      throw denied(caller.principal, refusalOf(platform, 41001, KEY_MISSING));
    const { slot, principal } = this.#access.slotOfApp(caller, "api:call", app);
    return { name: slot, slot, token: undefined, principal };
  }
}

/** The public name of the app of a context, as far as we hold it. */
export function contextApp({ name, slot }: TokenContext): string {
  return slot ? appName(slot) : name.appId;
}
