import { randomBytes } from "node:crypto";
import { notReadBack, outdated } from "../apps/app-administration.ts";
import type { AuditAction, AuditActor, AuditEntry, ChangeOptions } from "../audit/audit-entry.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { CallbackDirectory } from "./callback-directory.ts";
import type {
  AppCallbacks,
  CallbackApp,
  CallbackSettings,
  CallbackSettingsStore,
  Route,
  Target,
} from "./callback-settings.ts";
import {
  checkRoutes,
  checkSettings,
  checkTarget,
  isSameSettings,
  isSameTarget,
} from "./check-callback-settings.ts";
import { generatePushKey } from "./push-crypto.ts";

/** What is said of an app's settings; what is left out stays, and begins with its default. */
export type SettingsChange = Partial<
  Pick<CallbackSettings, "token" | "aesKey" | "mode" | "format" | "receiveIds">
>;

/** What is said of a target. `url` null: it is pulled from now on. */
export interface TargetChange {
  readonly environment?: string | undefined;
  readonly url?: string | null | undefined;
  readonly content?: Target["content"] | undefined;
  readonly token?: Secret | undefined;
  readonly aesKey?: Secret | undefined;
  readonly hmacKey?: Secret | undefined;
  /** Null for the default. */
  readonly timeoutMs?: number | null | undefined;
  /** Whether new keys take the place of those that it has. */
  readonly hasNewKeys?: boolean | undefined;
}

/** Secrets that were made, and are shown this once. */
export type MadeSecrets = Partial<Pick<Target, "token" | "aesKey" | "hmacKey">>;

/** Which of the two a rotation changes. */
export const ROTATED = ["token", "aes_key"] as const;
export type Rotated = (typeof ROTATED)[number];

/** Sets how pushes of apps are verified and where they go, each change with its audit entry. */
export class CallbackAdministration {
  readonly #store: CallbackSettingsStore;
  readonly #directory: CallbackDirectory;

  constructor(store: CallbackSettingsStore, directory: CallbackDirectory) {
    this.#store = store;
    this.#directory = directory;
  }

  /**
   * Sets an app's pushes up, or changes what is given. A Token or key that is given takes the place of the current one at
   * once; one that there never was is made. The same again changes nothing.
   *
   * @throws {ServiceError} `invalid_parameter`, `precondition_failed`.
   */
  async save(
    app: CallbackApp,
    change: SettingsChange,
    options: ChangeOptions,
  ): Promise<{ readonly isNew: boolean; readonly made: MadeSecrets }> {
    const current = this.#directory.of(app.name)?.settings;
    const made = current ? {} : missingKeys(change);
    const given = { ...made, ...change };
    const settings: CallbackSettings = {
      ...(current ?? defaultsOf(app)),
      ...given,
      token: given.token ?? current?.token ?? NONE,
      // WeChat has checked the former one.
      checkedAt: change.token && !current?.token.equals(change.token) ? undefined : current?.checkedAt,
    };
    checkSettings(app, settings);
    const version = this.#versionOf(app.name, options);
    if (current && isSameSettings(current, settings)) return { isNew: false, made: {} };
    const { mode, format, receiveIds } = change;
    const detail = {
      ...{ mode, format, receive_ids: receiveIds },
      token: given.token ? changed(current?.token, given.token) : undefined,
      aes_key: given.aesKey ? changed(current?.aesKey, given.aesKey) : undefined,
    };
    const entry = entryOf("callback.updated", options.actor, app.name, detail);
    await this.#store.save(settings, version, entry);
    await this.#reload();
    return { isNew: current === undefined, made };
  }

  /**
   * Makes what is given, or new ones, the current Token and key; what was is accepted beside them until `finish`. `only`
   * changes one of the two.
   *
   * @throws {ServiceError} `not_found`; `conflict` while another rotation is not finished; `invalid_parameter`.
   */
  async rotate(
    app: CallbackApp,
    {
      token,
      aesKey,
      only,
    }: Pick<SettingsChange, "token" | "aesKey"> & { readonly only?: Rotated | undefined },
    options: ChangeOptions,
  ): Promise<MadeSecrets> {
    const current = this.#get(app.name).settings;
    if (isRotating(current)) throw notFinished(app.name);
    const next = { ...missingKeys({}), ...(token && { token }), ...(aesKey && { aesKey }) };
    const settings: CallbackSettings = {
      ...current,
      ...(only === "aes_key"
        ? {}
        : { token: next.token, previousToken: current.token, checkedAt: undefined }),
      ...(only === "token" ? {} : { aesKey: next.aesKey, previousAesKey: current.aesKey }),
    };
    checkSettings(app, settings);
    const detail = { changed: only ? [only] : ROTATED, previous: "accepted" };
    const entry = entryOf("callback.key_rotated", options.actor, app.name, detail);
    await this.#store.save(settings, this.#versionOf(app.name, options), entry);
    await this.#reload();
    return {
      ...(only === "aes_key" || token ? {} : { token: settings.token }),
      ...(only === "token" || aesKey ? {} : { aesKey: settings.aesKey }),
    };
  }

  /** Accepts the former Token and key no more. False when there was none. Throws `not_found`, `precondition_failed`. */
  async finish(app: string, options: ChangeOptions): Promise<boolean> {
    const current = this.#get(app).settings;
    if (!isRotating(current)) return false;
    const settings = { ...current, previousToken: undefined, previousAesKey: undefined };
    const entry = entryOf("callback.key_rotated", options.actor, app, { previous: "dropped" });
    await this.#store.save(settings, this.#versionOf(app, options), entry);
    await this.#reload();
    return true;
  }

  /** Removes an app's settings, targets and routes. Throws `not_found`, `precondition_failed`. */
  async remove(app: string, options: ChangeOptions): Promise<void> {
    if (!this.#directory.isDamaged(app)) this.#get(app);
    const entry = entryOf("callback.deleted", options.actor, app, {});
    await this.#store.remove(app, this.#versionOf(app, options), entry);
    await this.#reload();
  }

  /** Adds a target or changes what is given, as `save`. Keys that its content needs are made. */
  async saveTarget(
    app: CallbackApp,
    name: string,
    change: TargetChange,
    { actor, version }: ChangeOptions,
  ): Promise<{ readonly isNew: boolean; readonly made: MadeSecrets }> {
    const { targets } = this.#get(app.name);
    const current = targets.find((target) => target.name === name);
    const content = change.content ?? current?.content ?? "reencrypted";
    const has = change.hasNewKeys ? {} : { ...current };
    const made = missingTargetKeys(content, { ...has, ...defined(change) });
    const keys = { ...defined(pickKeys(has)), ...defined(pickKeys(change)), ...made };
    const target: Omit<Target, "version" | "pulledAt"> = {
      ...{ app: app.name, name, content },
      environment: change.environment ?? current?.environment ?? "",
      url: change.url === undefined ? current?.url : (change.url ?? undefined),
      timeoutMs: change.timeoutMs === undefined ? current?.timeoutMs : (change.timeoutMs ?? undefined),
      ...keysOfContent(content, keys),
    };
    checkTarget(app, target, targets.length + (current ? 0 : 1));
    const before = expected(current?.version ?? 0, version);
    if (current && isSameTarget(current, target)) return { isNew: false, made: {} };
    const detail = {
      target: name,
      environment: change.environment,
      // It may have something in it that is not for everybody who reads the audit.
      url: change.url === undefined ? undefined : target.url === undefined ? "pull" : originOf(target.url),
      content: current && change.content === undefined ? undefined : content,
      timeout_ms: change.timeoutMs,
      keys: Object.keys(defined({ ...pickKeys(change), ...made })).length > 0 ? "changed" : undefined,
    };
    const entry = entryOf("callback_target.updated", actor, app.name, detail);
    await this.#store.saveTarget(target, before, entry);
    await this.#reload();
    return { isNew: current === undefined, made };
  }

  /** Removes a target and the routes to it. Throws `not_found`, `precondition_failed`. */
  async removeTarget(app: string, name: string, { actor, version }: ChangeOptions): Promise<void> {
    const target = this.#get(app).targets.find((each) => each.name === name);
    if (!target) throw noSuchTarget(name);
    const entry = entryOf("callback_target.deleted", actor, app, { target: name });
    await this.#store.removeTarget(app, name, expected(target.version, version), entry);
    await this.#reload();
  }

  /** Replaces the routes of an app. Throws `not_found`, `invalid_parameter`, `precondition_failed`. */
  async saveRoutes(app: string, routes: readonly Route[], options: ChangeOptions): Promise<void> {
    const { targets, routes: current } = this.#get(app);
    checkRoutes(routes);
    const missing = routes.find(({ target }) => !targets.some(({ name }) => name === target));
    if (missing) throw noSuchTarget(missing.target);
    const version = this.#versionOf(app, options);
    if (Bun.deepEquals(routes, current)) return;
    const detail = { routes: routes.map(summaryOf) };
    const entry = entryOf("callback_routes.updated", options.actor, app, detail);
    await this.#store.saveRoutes(app, routes, version, entry);
    await this.#reload();
  }

  #get(app: string): AppCallbacks {
    const found = this.#directory.of(app);
    if (found) return found;
    if (this.#directory.isDamaged(app)) throw damaged();
    throw notSetUp(app);
  }

  /** The version that a change of the settings replaces; undefined for damaged ones, whose version nobody has seen. */
  #versionOf(app: string, { version }: ChangeOptions): number | undefined {
    if (this.#directory.isDamaged(app)) return version;
    return expected(this.#directory.of(app)?.settings.version ?? 0, version);
  }

  /** Rereads the settings after a change, which is made even where that fails. Throws `unavailable`. */
  async #reload(): Promise<void> {
    try {
      await this.#directory.refresh();
    } catch (cause) {
      throw notReadBack(cause);
    }
  }
}

/** Whether a former Token or key is still accepted. */
export function isRotating({ previousToken, previousAesKey }: CallbackSettings): boolean {
  return previousToken !== undefined || previousAesKey !== undefined;
}

/** Whom pushes of the app are meant for: itself, or on WeCom its corp; of a suite, itself or its provider. */
function defaultsOf({ name, appId, provider }: CallbackApp): Omit<CallbackSettings, "token"> {
  const receiveIds = [appId, ...(provider === undefined ? [] : [provider])];
  return { app: name, mode: "secure", format: "xml", receiveIds, version: 0 };
}

const NONE = new Secret("");
const HMAC_KEY_BYTES = 32;

/** What is not given of a Token and key, made. */
function missingKeys({ token, aesKey }: Pick<SettingsChange, "token" | "aesKey">): {
  token?: Secret;
  aesKey?: Secret;
} {
  const key = generatePushKey();
  return { ...(token ? {} : { token: key.token }), ...(aesKey ? {} : { aesKey: key.encodingAesKey }) };
}

function missingTargetKeys(content: Target["content"], has: MadeSecrets): MadeSecrets {
  if (content === "reencrypted") return missingKeys(has);
  if (content === "original" || has.hmacKey) return {};
  return { hmacKey: new Secret(randomBytes(HMAC_KEY_BYTES).toString("hex")) };
}

function pickKeys({ token, aesKey, hmacKey }: MadeSecrets): MadeSecrets {
  return { token, aesKey, hmacKey };
}

/** A target keeps no key that it has no use for. */
function keysOfContent(content: Target["content"], { token, aesKey, hmacKey }: MadeSecrets): MadeSecrets {
  if (content === "reencrypted") return { token, aesKey };
  return content === "decrypted" ? { hmacKey } : {};
}

function defined<T extends object>(facts: T): T {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)) as T;
}

/** The version that a change replaces. Throws `precondition_failed` where the caller has seen another. */
function expected(current: number, version: number | undefined): number {
  if (version !== undefined && version !== current) throw outdated();
  return current;
}

function changed(current: Secret | undefined, given: Secret): "changed" | undefined {
  return current?.equals(given) ? undefined : "changed";
}

/** A route without what its rule lists, which may be thousands of openids: how many there are of each. */
function summaryOf({ target, role, rule: { types, events, eventKeys, openids } }: Route): object {
  const lists = { types, events, eventKeys, openids };
  const counted = Object.entries(lists).map(([name, list]) => [name, list?.length] as const);
  return { target, role, rule: defined(Object.fromEntries(counted)) };
}

function originOf(url: string): string {
  return /^https?:\/\/[^/?]*/i.exec(url)?.[0] ?? "";
}

function entryOf(
  action: AuditAction,
  actor: AuditActor,
  app: string,
  detail: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actor, action, app, outcome: "ok", tokenDigest: "", detail };
}

/** That an app's pushes are not set up. */
export function notSetUp(app: string): ServiceError {
  return new ServiceError(
    "not_found",
    `该应用尚未设置消息推送，请先执行 accesstoken callbacks set ${app} (the app's pushes are not set up: run accesstoken callbacks set ${app} first)`,
  );
}

/** That there is no such target. */
export function noSuchTarget(name: string): ServiceError {
  return new ServiceError("not_found", `没有推送目标 ${name} (there is no target ${name})`);
}

function damaged(): ServiceError {
  return new ServiceError(
    "conflict",
    "该应用的推送设置已损坏，请用 accesstoken callbacks set 重新设置Token和EncodingAESKey (its callback settings can't be read: set the Token and the EncodingAESKey again by accesstoken callbacks set)",
  );
}

function notFinished(app: string): ServiceError {
  return new ServiceError(
    "conflict",
    `上一次轮换尚未结束，请先执行 accesstoken callbacks finish ${app} (the last rotation is not finished: run accesstoken callbacks finish ${app} first)`,
  );
}
