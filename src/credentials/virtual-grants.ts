import type { Access } from "../access/access.ts";
import type { Caller, Principal } from "../access/principal.ts";
import { type App, type AppStore, nameOfApp, ownSlotOf } from "../apps/app.ts";
import { Secret } from "../secret.ts";
import { readClaims, signClaims, type VirtualTokenClaims } from "./virtual-tokens.ts";

/** The beginning of every virtual grant; on WeChat behind that of a refresh token. */
const START = "atvg1_";
const REFRESH_START = "refreshtoken@@@";
/** The same claims are the same text, as a refresh token stays the same while the authorization does. */
const NO_NONCE = new Uint8Array(4);

/** For whom a virtual refresh token or permanent code was issued, and of which account or corp it is. */
export interface VirtualGrantClaims extends Omit<VirtualTokenClaims, "issuedAt"> {
  /** Since when the authorization stands: one that was given again is another. Epoch milliseconds. */
  readonly since: number;
}

/** Whether `text` is written as a virtual refresh token or permanent code, valid or not. */
export function isVirtualGrant(text: string): boolean {
  return text.startsWith(START) || text.startsWith(REFRESH_START + START);
}

/** What `VirtualGrants` works with. */
export interface VirtualGrantParts {
  /** Asked each time, as another process may replace it. */
  readonly key: () => Uint8Array;
  readonly access: Pick<Access, "byGrant">;
  readonly apps: Pick<AppStore, "findSecret">;
}

/**
 * Issues and verifies what callers are given in the place of refresh tokens and permanent codes, which never leave.
 *
 * As virtual tokens they are signed and not stored. They have no expiry, and outlive a change of the master key that revokes
 * nothing. One whose client is empty was given to a caller that is none.
 */
export class VirtualGrants {
  readonly #parts: VirtualGrantParts;

  constructor(parts: VirtualGrantParts) {
    this.#parts = parts;
  }

  /** That of an account or a corp for this caller. Throws a `RangeError` for names that don't fit into one. */
  issue(principal: Principal, app: App): Secret {
    const isClient = principal.kind === "client";
    const claims = {
      client: isClient ? principal.owner.client.name : "",
      clientCreatedAt: isClient ? principal.owner.client.createdAt : 0,
      keyPrefix: isClient ? principal.key.prefix : "",
      app: nameOfApp(app),
      issuedAt: sinceOf(app),
    };
    const text = signClaims(START, claims, NO_NONCE, this.#parts.key());
    return new Secret(app.platform === "weixin" ? REFRESH_START + text : text);
  }

  /** What `text` claims; undefined for one that is none of ours or was changed. */
  read(text: string): VirtualGrantClaims | undefined {
    const signed = text.startsWith(REFRESH_START) ? text.slice(REFRESH_START.length) : text;
    const claims = readClaims(START, signed, [this.#parts.key()]);
    if (!claims) return undefined;
    const { issuedAt: since, ...holder } = claims;
    return { ...holder, since };
  }

  /**
   * Who brings `given`, the refresh token or permanent code of `app`: the client that it was issued for, or whoever calls.
   * Whoever has the real one may go on with it, as one who moves here does. Undefined where it is none of the app's.
   *
   * @throws {ServiceError} As `Access.byGrant`.
   */
  async holder(caller: Caller, app: App, given: string): Promise<Principal | undefined> {
    const { access, apps } = this.#parts;
    if (!isVirtualGrant(given)) {
      const real = await apps.findSecret(ownSlotOf(app));
      return real?.secret.equals(new Secret(given)) ? caller.principal : undefined;
    }
    const claims = this.read(given);
    if (claims?.app !== nameOfApp(app) || claims.since !== sinceOf(app)) return undefined;
    const { client, clientCreatedAt: createdAt, keyPrefix } = claims;
    return client === "" ? caller.principal : access.byGrant(caller, { client, createdAt, keyPrefix });
  }
}

function sinceOf({ authorization }: App): number {
  return authorization?.since ?? authorization?.authorizedAt ?? 0;
}
