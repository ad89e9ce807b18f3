import type { Platform } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { App, TokenMode } from "./app.ts";

/** Names a slot without its secret. */
export interface SlotName {
  readonly platform: Platform;
  /** The AppID or CorpID. */
  readonly appId: string;
  /** `stable` or `classic`, a WeCom agent's label, or `~` and a keyed digest of a secret that we don't hold. */
  readonly name: string;
}

/**
 * Whose credentials: one app together with the secret that they are obtained with.
 *
 * A configured app has a slot for its own secret. A caller that brings another secret gets a slot of its own, so
 * that a right one is served and a wrong one disturbs nobody.
 */
export interface Slot extends SlotName {
  readonly secret: Secret;
  /** Means something on WeChat only. */
  readonly tokenMode: TokenMode;
  /** Whether the secret is one that we hold. */
  readonly configured: boolean;
  /** Whether the app is disabled, or its secret damaged: nothing is handed out or obtained for it. */
  readonly isDisabled?: boolean;
}

/** Whether it is a slot of the app's own secret, in whichever token mode. */
export function isSlotOf(app: App, { platform, appId, name }: SlotName): boolean {
  if (platform !== app.platform || appId !== app.id) return false;
  return app.platform === "wecom" ? name === app.agent : !name.startsWith("~");
}

/** The public name of the app of a slot: an AppID, or a CorpID and an agent joined by `_`. */
export function appName({ platform, appId, name }: SlotName): string {
  // The slot of a secret that we don't hold belongs to no agent that we know.
  return platform === "wecom" && !name.startsWith("~") ? `${appId}_${name}` : appId;
}

/** A slot's name in maps and log lines. It says nothing secret: the digest is keyed. */
export function slotKey(slot: SlotName): string {
  return `${slot.platform}:${slot.appId}:${slot.name}`;
}
