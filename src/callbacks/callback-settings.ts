import type { PlatformRole } from "../apps/app.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import type { Platform } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { PushKey } from "./push-crypto.ts";
import type { PushFormat } from "./push-fields.ts";
import type { PushMode, PushSettings } from "./verify-push.ts";

/** The app whose pushes are meant. */
export interface CallbackApp {
  /** Its public name. */
  readonly name: string;
  readonly platform: Platform;
  /** The AppID or CorpID. */
  readonly appId: string;
  /** What it is of a third-party platform, and of a suite whose. */
  readonly role?: PlatformRole | undefined;
  readonly provider?: string | undefined;
}

/** How an app's pushes are verified and answered. Instants are epoch milliseconds. */
export interface CallbackSettings {
  /** The app's public name. */
  readonly app: string;
  /** WeChat's Token: what pushes are signed with. */
  readonly token: Secret;
  /** WeChat's EncodingAESKey; undefined in plain mode without one. */
  readonly aesKey?: Secret | undefined;
  /** What the current ones take the place of, and what is accepted beside them until the rotation is finished. */
  readonly previousToken?: Secret | undefined;
  readonly previousAesKey?: Secret | undefined;
  readonly mode: PushMode;
  /** As WeChat's console is set. A push says itself which it is. */
  readonly format: PushFormat;
  /** As of `PushSettings`. */
  readonly receiveIds: readonly string[];
  /** When WeChat's GET check was answered last, to about five seconds; undefined where it never was. */
  readonly checkedAt?: number | undefined;
  /** Grows with each change of the settings or the routes. */
  readonly version: number;
}

/**
 * What a target is sent: the `original` bytes, for a program that holds the app's own Token and key; the message
 * `reencrypted` under the target's own; or `decrypted`, with a header of an HMAC over the body.
 */
export const TARGET_CONTENTS = ["original", "reencrypted", "decrypted"] as const;
type TargetContent = (typeof TARGET_CONTENTS)[number];

/** Where pushes of an app go. */
export interface Target {
  /** The app's public name. */
  readonly app: string;
  /** Unique in the app. */
  readonly name: string;
  /** Whose programs it belongs to. */
  readonly environment: string;
  /** With `$APPID$` or `$CORPID$` in it as it was entered: see `targetUrl`. Undefined for one that is pulled. */
  readonly url?: string | undefined;
  readonly content: TargetContent;
  /** Of `reencrypted`: what it verifies and decrypts by. Undefined there only where the store can't open them. */
  readonly token?: Secret | undefined;
  readonly aesKey?: Secret | undefined;
  /** Of `decrypted`: what it verifies by. */
  readonly hmacKey?: Secret | undefined;
  /** How long it may take; undefined for the default of deliveries. */
  readonly timeoutMs?: number | undefined;
  /** When a program asked for its deliveries last, as of the reading of the settings. */
  readonly pulledAt?: number | undefined;
  /** Grows with each change. */
  readonly version: number;
}

/**
 * Which pushes a route is for: those that fit every list. An absent or empty list fits any. Types and events are compared
 * without regard to case.
 */
export interface Rule {
  /** MsgType; InfoType of what has none. */
  readonly types?: readonly string[] | undefined;
  readonly events?: readonly string[] | undefined;
  /** Exactly, or as a prefix where it ends in `*`. */
  readonly eventKeys?: readonly string[] | undefined;
  /** FromUserName: the openid, or WeCom's userid. */
  readonly openids?: readonly string[] | undefined;
}

/** Whose answer counts, and who is only told. */
export const ROUTE_ROLES = ["primary", "copy"] as const;
export type RouteRole = (typeof ROUTE_ROLES)[number];

/** That pushes of a rule go to a target. */
export interface Route {
  /** Its name. */
  readonly target: string;
  readonly role: RouteRole;
  readonly rule: Rule;
}

/** All that is set of an app's pushes. */
export interface AppCallbacks {
  readonly settings: CallbackSettings;
  readonly targets: readonly Target[];
  /** In order. Each names one of the targets. */
  readonly routes: readonly Route[];
}

/** What the settings accept, the current key first. A Token may have been changed without the key, and the other way round. */
export function pushSettingsOf(settings: CallbackSettings, platform: Platform): PushSettings {
  const { token, aesKey, previousToken, previousAesKey, mode, receiveIds } = settings;
  const tokens = previousToken ? [token, previousToken] : [token];
  const aesKeys = previousAesKey ? [aesKey, previousAesKey] : [aesKey];
  const keys = tokens.flatMap((each) =>
    aesKeys.map((encodingAesKey): PushKey => ({ token: each, encodingAesKey })),
  );
  return { platform, mode, keys, receiveIds };
}

/**
 * The target of a delivery as it is set now; undefined when it was removed, and when one of that name belongs to another
 * environment by now: that must not get what was for the former.
 */
export function findTarget(
  callbacks: Pick<AppCallbacks, "targets"> | undefined,
  { target, environment }: { readonly target: string; readonly environment: string },
): Target | undefined {
  return callbacks?.targets.find((each) => each.name === target && each.environment === environment);
}

/** The URL of a target with the app's id in the place of `$APPID$` and `$CORPID$`; undefined for one that is pulled. */
export function targetUrl({ url }: Pick<Target, "url">, appId: string): string | undefined {
  return url?.replaceAll(/\$(?:APPID|CORPID)\$/g, appId);
}

/**
 * Where callback settings are kept, their secrets sealed.
 *
 * Each change writes its audit entry in the same transaction, raises the epoch of `callbacks`, and gives what it writes a
 * version that none has had before. It is made only where `version` stands; 0 is that of none, undefined any. Else it
 * throws `precondition_failed`.
 */
export interface CallbackSettingsStore {
  /**
   * Everything, for a process's memory. An app whose Token or key can't be opened is in `damaged` instead, for with
   * anything in their place forged pushes might be verified.
   */
  load(): Promise<{ readonly apps: readonly AppCallbacks[]; readonly damaged: readonly string[] }>;
  /** Replaces an app's settings. */
  save(
    settings: Omit<CallbackSettings, "version">,
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void>;
  /** Removes an app's settings with its targets and routes. */
  remove(app: string, version: number | undefined, entry: AuditEntry): Promise<void>;
  /** Replaces a target; its environment is made if there is none. Throws `not_found` when the app has no settings. */
  saveTarget(
    target: Omit<Target, "version" | "pulledAt">,
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void>;
  /** Removes a target and the routes to it. */
  removeTarget(app: string, name: string, version: number | undefined, entry: AuditEntry): Promise<void>;
  /** Replaces an app's routes, by the version of its settings. Throws `not_found` when a route names no target of it. */
  saveRoutes(
    app: string,
    routes: readonly Route[],
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void>;
  /**
   * Notes that WeChat's GET check was answered, at most once in five seconds and without an audit entry. Call it for one
   * that the current key has signed: it tells an operator that WeChat has the new one.
   */
  noteCheck(app: string, at: number): Promise<void>;
  /** When each pulled target of an app was asked for last, as far as any process has written it down. */
  lastPullsOf(app: string): Promise<ReadonlyMap<string, number>>;
}
