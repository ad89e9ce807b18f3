import type { AppDirectory } from "../apps/app-directory.ts";
import type { Slot, SlotName } from "../apps/app.ts";
import type { Changes } from "../changes.ts";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import type { IssuedToken, IssuedTokenIndex } from "./credential-store.ts";
import type { VirtualTokenClaims, VirtualTokens } from "./virtual-tokens.ts";

/** What a token that a caller brings is to us. */
export type KnownToken =
  | { readonly kind: "virtual"; readonly claims: VirtualTokenClaims; readonly slot: Slot }
  /** Without a slot for a secret that we don't hold (any more), or a disabled app. */
  | { readonly kind: "real"; readonly name: SlotName; readonly slot: Slot | undefined }
  /** A real one that WeChat rejected before it expired: it serves to heal its holders' calls, and for nothing else. */
  | { readonly kind: "rejected"; readonly slot: Slot };

/** What `TokenIntrospector` works with. */
export interface TokenIntrospectorParts {
  readonly virtualTokens: Pick<VirtualTokens, "read">;
  readonly index: IssuedTokenIndex;
  readonly directory: Pick<AppDirectory, "findSlot" | "slotNamed">;
  readonly changes: Changes;
  readonly clock: Clock;
}

/** How many real tokens are cached; an app has two valid ones at most. */
const MAX_CACHED = 1000;

/**
 * Recognizes the access tokens that this service has returned, its own and WeChat's.
 *
 * Real tokens are cached until a credential or an app changes.
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
   * What `token` is; undefined for one that we don't know, or don't know any more. Checks neither that the client of a
   * virtual one exists nor that the app is enabled.
   */
  async find(token: Secret): Promise<KnownToken | undefined> {
    const { virtualTokens, directory } = this.#parts;
    const claims = virtualTokens.read(token.reveal());
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
    // A change during the read may have outdated it.
    const isCurrent = epoch === this.#epoch && epoch === this.#currentEpoch();
    // A rejected one must end at once in every process, so it is looked up each time.
    if (issued && isCurrent && !issued.isRejected) {
      if (this.#issued.size >= MAX_CACHED) this.#issued.clear();
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
