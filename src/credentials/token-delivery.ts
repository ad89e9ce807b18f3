import { appName } from "../apps/slot.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import { type Caller, markRefused } from "../clients/caller.ts";
import { forbidden } from "../clients/refusals.ts";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import type { CredentialRef } from "./credential.ts";
import type { HeldCredential } from "./held-credential.ts";
import type { CredentialManager, GetOptions } from "./manager.ts";
import { VIRTUAL_LIFE_MS, type VirtualTokens } from "./virtual-token.ts";

/** A credential as a caller is given it. */
export type DeliveredToken = Pick<HeldCredential, "value" | "issuedAt" | "expiresAt" | "remainingMs">;

/** What is delivered, and out of what. */
export interface TokenDeliveryParts {
  readonly credentials: Pick<CredentialManager, "get" | "refresh" | "replace">;
  readonly virtualTokens: Pick<VirtualTokens, "issue">;
  readonly clock: Clock;
}

/**
 * Hands credentials to callers, each in the form that is meant for it.
 *
 * A client whose delivery is `virtual` is given a virtual token in the place of an access token, and only when the real
 * one is to be had: what keeps us from obtaining that is told as ever. Everything else goes through as it is.
 */
export class TokenDelivery {
  readonly #parts: TokenDeliveryParts;

  constructor(parts: TokenDeliveryParts) {
    this.#parts = parts;
  }

  /** As `CredentialManager.get`. Throws `forbidden` when no virtual token can be made for the caller. */
  async get(caller: Caller, ref: CredentialRef, options: GetOptions = {}): Promise<DeliveredToken> {
    const { credentials } = this.#parts;
    const make = this.#virtualFor(caller, ref);
    if (!make) return credentials.get(ref, options);
    // A virtual token has its whole life before it; how much the real one has left is the gateway's affair.
    const { notes } = options;
    await credentials.get(ref, notes ? { notes } : {});
    return make();
  }

  /** As `CredentialManager.refresh`; see `get`. */
  async refresh(
    caller: Caller,
    ref: CredentialRef,
    order: { readonly force: boolean; readonly actor?: AuditActor },
  ): Promise<DeliveredToken> {
    const make = this.#virtualFor(caller, ref);
    const held = await this.#parts.credentials.refresh(ref, order);
    return make?.() ?? held;
  }

  /** As `CredentialManager.replace`; see `get`. A virtual token is never what stands, so for one nothing is replaced. */
  async replace(
    caller: Caller,
    ref: CredentialRef,
    rejected: Secret,
    actor?: AuditActor,
  ): Promise<DeliveredToken> {
    const make = this.#virtualFor(caller, ref);
    const held = await this.#parts.credentials.replace(ref, rejected, actor);
    return make?.() ?? held;
  }

  /** What makes the caller's own token; undefined for whoever is given the real credential. */
  #virtualFor(caller: Caller, { slot, kind }: CredentialRef): (() => DeliveredToken) | undefined {
    const { client: owner, key } = caller;
    if (kind !== "access_token" || owner?.client.delivery !== "virtual") return undefined;
    if (!key)
      throw markRefused(
        caller,
        forbidden(
          "该客户端只能以API密钥获取虚拟token",
          "this client is given virtual tokens, and for an API key only",
        ),
      );
    if (!slot.configured)
      throw markRefused(
        caller,
        forbidden(
          "该客户端使用虚拟token，只能用于本服务已配置的应用和secret",
          "this client is given virtual tokens, which are for apps and secrets that this service holds",
        ),
      );
    const { name: client, createdAt: clientCreatedAt } = owner.client;
    const { virtualTokens, clock } = this.#parts;
    return () => {
      const issuedAt = clock.now();
      const app = appName(slot);
      const claims = { client, clientCreatedAt, keyPrefix: key.prefix, app, issuedAt };
      return {
        value: virtualTokens.issue(claims),
        issuedAt,
        expiresAt: issuedAt + VIRTUAL_LIFE_MS,
        remainingMs: () => VIRTUAL_LIFE_MS,
      };
    };
  }
}
