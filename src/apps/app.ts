import type { Secret } from "../secret.ts";
import type { Platform } from "../errors.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";

/**
 * How a WeChat app's access token is fetched.
 *
 * `stable` repeats the same token until its last five minutes; `classic` makes a new one each time and revokes the
 * one before the last. Their tokens are separate: one mode never affects the other.
 */
export type TokenMode = "stable" | "classic";

/** The additional fields of an app that an administrator has registered. */
export interface Management {
  /** What people call it. */
  readonly title: string | undefined;
  readonly isDisabled: boolean;
  /** Whether its stored secret can't be decrypted any more: the app is unusable until it has a new one. */
  readonly isDamaged?: boolean;
  /** Grows with each change. */
  readonly version: number;
}

/** An Official Account (公众号) or a Mini Program (小程序). WeChat does not tell the two apart by their AppID. */
export interface WeixinApp {
  readonly platform: "weixin";
  readonly id: string;
  readonly secret: Secret;
  readonly tokenMode: TokenMode;
  /** Undefined for one that the environment names. */
  readonly managed?: Management | undefined;
}

/** One application of a WeCom corp (企业微信). Each has a secret, and so a token, of its own. */
export interface WecomApp {
  readonly platform: "wecom";
  /** The CorpID. */
  readonly id: string;
  /** The agentid, or any label that the operator gave it (`contacts`). */
  readonly agent: string;
  readonly secret: Secret;
  /** As for a `WeixinApp`. */
  readonly managed?: Management | undefined;
}

/** One app whose secret we hold. */
export type App = WeixinApp | WecomApp;

/** The public name of an app: an AppID, or a CorpID and an agent joined by `_`. */
export function nameOfApp(app: App): string {
  return app.platform === "wecom" ? `${app.id}_${app.agent}` : app.id;
}

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
 * A configured app has a slot for its own secret. A caller that sends another secret gets a slot of its own, so
 * that a right one is served and a wrong one affects no other caller.
 */
export interface Slot extends SlotName {
  readonly secret: Secret;
  /** Relevant on WeChat only. */
  readonly tokenMode: TokenMode;
  /** Whether the secret is one that we hold. */
  readonly configured: boolean;
  /** Whether the app is disabled, or its secret damaged: nothing is returned or fetched for it. */
  readonly isDisabled?: boolean;
  /** Its `slotKey`, where it is precomputed. */
  readonly key?: string;
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
export function slotKey(slot: SlotName & Pick<Slot, "key">): string {
  return slot.key ?? `${slot.platform}:${slot.appId}:${slot.name}`;
}

/** Where the apps whose secrets we hold are kept, their secrets sealed. A change of managed apps raises the epoch of `apps`. */
export interface AppStore {
  /** Every app, in no particular order. Each secret is opened when it is first used, and throws `store_unusable` then when
   * it is damaged; a managed app says so by `isDamaged` instead. */
  list(): Promise<App[]>;
  /** Every app that an administrator has registered, in the same way. */
  listManaged(): Promise<App[]>;
  /**
   * Makes the stored apps of the environment equal to `apps`, in one transaction; managed ones stay as they are.
   *
   * An app that the environment no longer names is removed; one that did not change is not written. Where a secret
   * changed or an app was removed, what was issued to the old one is cleared, because the new one may belong to another
   * application, and its backoff ends: the refusals of the old one mean nothing.
   *
   * Throws `invalid_config` when one of them is a managed app, `store_unusable` when they changed and a stored one is damaged.
   */
  replaceAll(apps: readonly App[]): Promise<void>;
  /**
   * Adds a managed app, with its audit entry, at a version that no earlier app of that name can have had: an ETag of that
   * one must not fit this one. Throws `conflict` when there is an app of that name.
   */
  create(app: App, entry: AuditEntry): Promise<void>;
  /**
   * Puts a managed app in the place of its `version - 1`, with its audit entry. With a new secret, what was issued to
   * the old one is cleared, as in `replaceAll`. Throws `precondition_failed` when the current version is another.
   */
  update(app: App, entry: AuditEntry): Promise<void>;
  /** Removes a managed app of that version and clears what was issued to it. Throws `precondition_failed` likewise. */
  remove(app: App, entry: AuditEntry): Promise<void>;
}
