import type { Access } from "../access/access.ts";
import { type Caller, denied, type Principal } from "../access/principal.ts";
import { appName, type Slot, type SlotName } from "../apps/app.ts";
import { type Platform, refusalOf, unknownToken } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Secret } from "../secret.ts";
import type { TokenIntrospector } from "./token-introspector.ts";

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
   * The app of that public name, for a client that came with its key. Throws as `Access.slotOfApp`, and 41001 in the
   * words of `platform` without a key.
   *
   * A key is needed even where anonymous callers are answered: a foreign web page could make a call without one.
   */
  byKey(caller: Caller, app: string, platform: Platform): TokenContext {
    if (caller.principal.kind !== "client")
      throw denied(caller.principal, refusalOf(platform, 41001, KEY_MISSING));
    const { slot, principal } = this.#access.slotOfApp(caller, "api:call", app);
    return { name: slot, slot, token: undefined, principal };
  }
}

/** The public name of the app of a context, as far as we hold it. */
export function contextApp({ name, slot }: TokenContext): string {
  return slot ? appName(slot) : name.appId;
}
