import { appName, type Slot, type SlotName } from "../apps/app.ts";
import type { Access } from "../access/access.ts";
import { type Caller, markRefused } from "../access/principal.ts";
import type { TokenIntrospector } from "../credentials/token-introspector.ts";
import { type Platform, ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { Secret } from "../secret.ts";
import { refusalOf, unknownToken } from "./wechat-answer.ts";
import type { WechatRequest } from "./wechat-request.ts";

/** Whose app a request is about, and what the caller showed for it. */
export interface TokenContext {
  readonly name: SlotName;
  /**
   * Undefined where the token is one of a secret that we don't hold: it is as good as it is, and can't be replaced. Also
   * for a real token of a disabled app, which the gateway refuses by its name.
   */
  readonly slot: Slot | undefined;
  /** What the caller calls the app's access token; undefined for whoever came with a key alone. */
  readonly token: Secret | undefined;
  /** Whether that token is one that WeChat rejected before its end. Its holder must not see the current one. */
  readonly isRejected?: boolean;
}

const KEY_MISSING =
  "access_token missing, 缺少API密钥 (no API key: send it as Authorization: Bearer or X-API-Key)";

/** What finds out whose token came. */
export interface TokenResolverParts {
  readonly access: Access;
  readonly introspector: Pick<TokenIntrospector, "find">;
  readonly events: EventBus;
}

/**
 * Knows who holds an access token that we issued.
 *
 * A virtual one names its client, who is then the caller. A real one names nobody: whoever has it could ask WeChat
 * directly. One that WeChat rejected before its end is as good as before, and counted by itself: an SDK that fetches no
 * other goes on, and calls that were under way when it was killed are healed.
 */
export class TokenResolver {
  readonly #parts: TokenResolverParts;

  constructor(parts: TokenResolverParts) {
    this.#parts = parts;
  }

  /**
   * Whose app the request's `access_token` is for. It is in the query, as both platforms want it.
   *
   * `platform` is the one that the path belongs to, as far as it tells: so a token that tells nothing is refused.
   * `onKnown` is told the token's own before anything is refused that has to do with it.
   *
   * @throws {ServiceError} WeChat's 41001 for none, 42001 for one that is not ours or over; `forbidden`, `rate_limited`.
   */
  async admit(
    { query, caller }: WechatRequest,
    platform: Platform,
    onKnown: (platform: Platform) => void = () => undefined,
  ): Promise<TokenContext> {
    if (query.count("access_token") > 1) {
      throw new ServiceError("invalid_parameter", "access_token重复 (access_token is given twice)");
    }
    const token = query.get("access_token");
    if (token === undefined || token === "") throw refusalOf(platform, 41001, "access_token missing");
    return this.#admit(caller, new Secret(token), platform, onKnown);
  }

  /**
   * Whose key came with a request for the app of that public name. Throws as `Access.slotOfApp`, and 41001 of `platform`
   * without a key.
   *
   * A key is needed even where anonymous callers are answered: a foreign web page could make a call without one.
   */
  admitToApp(caller: Caller, app: string, platform: Platform): TokenContext {
    if (!caller.client) throw markRefused(caller, refusalOf(platform, 41001, KEY_MISSING));
    const slot = this.#parts.access.slotOfApp(caller, "api:call", app);
    return { name: slot, slot, token: undefined };
  }

  async #admit(
    caller: Caller,
    token: Secret,
    platform: Platform,
    onKnown: (platform: Platform) => void,
  ): Promise<TokenContext> {
    const { access, introspector, events } = this.#parts;
    const known = await introspector.find(token);
    if (!known) {
      access.countAttempt(caller);
      throw unknownToken(platform);
    }
    onKnown((known.kind === "real" ? known.name : known.slot).platform);
    if (known.kind === "real") {
      access.admitBearer(caller);
      return { name: known.name, slot: known.slot, token };
    }
    if (known.kind === "rejected") {
      access.admitBearer(caller, { isRejected: true });
      events.emit({ type: "rejected_token.used", app: appName(known.slot) });
      return { name: known.slot, slot: known.slot, token, isRejected: true };
    }
    const { client, clientCreatedAt: createdAt, keyPrefix } = known.claims;
    if (!access.admitToken(caller, { client, createdAt, keyPrefix })) throw unknownToken(known.slot.platform);
    return { name: known.slot, slot: known.slot, token };
  }
}

/** The public name of the app that is held, as far as we hold it. */
export function heldApp({ name, slot }: TokenContext): string {
  return slot ? appName(slot) : name.appId;
}
