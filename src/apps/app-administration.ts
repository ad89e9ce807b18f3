import type { AuditAction, AuditActor, AuditEntry } from "../audit/audit-entry.ts";
import { type Changes, Mirror } from "../changes.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import type { AppDirectory } from "./app-directory.ts";
import {
  type App,
  type AppStore,
  checkEntry,
  checkSecret,
  type Management,
  nameOfApp,
  type Slot,
  type TokenMode,
} from "./app.ts";

/** What an administrator may change of an app. */
export interface AppChange {
  /** Null for none. */
  readonly title?: string | null;
  /** WeChat only. */
  readonly mode?: TokenMode;
  readonly secret?: Secret;
  readonly isDisabled?: boolean;
  /** Null for `PUBLIC_URL`. */
  readonly publicUrl?: string | null;
  readonly jsDomains?: readonly string[];
}

/** What the administration of apps works with. */
export interface AppAdministrationParts {
  readonly store: Pick<AppStore, "listManaged" | "create" | "update" | "remove">;
  readonly changes: Changes;
  readonly directory: AppDirectory;
  /** Checks the secret of a slot upstream. Throws the upstream's refusal, or `rate_limited`. */
  readonly check: (slot: Slot) => Promise<unknown>;
  /** Writes an entry of something that was not a change. Throws `AuditFailure`. */
  readonly record: (entry: AuditEntry) => Promise<void>;
  /** Called when the store has cleared an app's credentials: this process's cache must evict them too. */
  readonly onCleared: (app: App) => void;
}

/**
 * Registers, changes and removes apps, each change with its audit entry, and keeps this process's directory up to date
 * with the changes of all processes. Apps from the environment can't be changed here.
 */
export class AppAdministration {
  readonly #parts: AppAdministrationParts;
  readonly #mirror: Mirror;

  constructor(parts: AppAdministrationParts) {
    this.#parts = parts;
    this.#mirror = new Mirror(parts.changes, "apps", (epoch) => this.#read(epoch));
  }

  /**
   * Registers an app. False when the same app exists already, so that the request is idempotent.
   *
   * @throws {ServiceError} `invalid_parameter` for an id or a secret that can't be one; `conflict` when there is another
   *   app of that name; with `isVerified`, the upstream's refusal of the secret.
   */
  async create(
    app: App,
    { isVerified, actor }: { isVerified: boolean; actor: AuditActor },
  ): Promise<boolean> {
    if (this.#exists(app)) return false;
    // Ids of third-party platforms are checked by their own administration.
    refuse(app.role ? checkSecret(app.platform, app.secret) : checkEntry(app));
    if (app.managed?.isLoginOnly) checkLoginOnly(app, isVerified);
    if (isVerified) await this.#check(app, actor);
    const mode = app.platform === "weixin" && !app.role ? { mode: app.tokenMode } : {};
    const { title, isLoginOnly } = app.managed ?? {};
    const { role, provider } = app;
    const detail = {
      ...mode,
      role,
      provider,
      title,
      is_verified: isVerified,
      ...(isLoginOnly ? { login_only: true } : {}),
    };
    try {
      await this.#parts.store.create(app, entryOf("app.created", app, actor, detail));
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === "conflict")) throw error;
      // Another process was faster, perhaps with the same app.
      await this.refresh();
      if (this.#exists(app)) return false;
      throw error;
    }
    await this.#reload();
    return true;
  }

  /**
   * Changes an app. With `version`, only that version.
   *
   * @throws {ServiceError} `not_found`, `conflict` for one from the environment, `precondition_failed`; with
   *   `isVerified`, the upstream's refusal of the secret.
   */
  async update(
    name: string,
    change: AppChange,
    { version, isVerified, actor }: { version: number | undefined; isVerified: boolean; actor: AuditActor },
  ): Promise<void> {
    const { app, management } = this.#managed(name, version);
    const { title, mode, secret, isDisabled, publicUrl, jsDomains } = change;
    if (management.isDamaged && !secret)
      throw new ServiceError(
        "conflict",
        "该应用的记录或secret已损坏，请同时设置secret (its row or its secret is damaged; set the secret with it)",
      );
    if (secret && app.authorization)
      throw new ServiceError(
        "invalid_parameter",
        "该账号通过授权接入，没有可以设置的secret；如授权已失效，请用 accesstoken platforms link 重新授权 (the account is here by its authorization: there is no secret to set; if that is lost, have it authorized again by accesstoken platforms link)",
      );
    if (mode !== undefined && app.platform === "wecom")
      throw new ServiceError("invalid_parameter", "企业微信应用没有mode (a WeCom application has no mode)");
    if (app.role || app.authorization) checkThirdParty(change, isVerified);
    const managed: Management = {
      title: title === undefined ? management.title : (title ?? undefined),
      isDisabled: isDisabled ?? management.isDisabled,
      isLoginOnly: management.isLoginOnly ?? false,
      jsDomains: jsDomains ?? management.jsDomains ?? [],
      publicUrl: publicUrl === undefined ? management.publicUrl : (publicUrl ?? undefined),
      version: management.version + 1,
    };
    const isNewSecret = secret !== undefined && !secret.equals(app.secret);
    const common = { managed, secret: secret ?? app.secret };
    const changed: App =
      app.platform === "weixin"
        ? { ...app, ...common, tokenMode: mode ?? app.tokenMode }
        : { ...app, ...common };
    if (isNewSecret) refuse(checkSecret(app.platform, secret));
    // One for logins only has no token that would tell.
    if (secret && isVerified && !management.isLoginOnly) await this.#check(changed, actor);
    const detail = {
      ...{ title, mode, disabled: isDisabled, public_url: publicUrl, js_domains: jsDomains },
      secret: isNewSecret ? "changed" : undefined,
    };
    const action = isNewSecret ? "app.secret_changed" : "app.updated";
    await this.#parts.store.update(changed, entryOf(action, app, actor, detail));
    if (isNewSecret) this.#parts.onCleared(app);
    await this.#reload();
  }

  /**
   * Removes an app and clears what was issued to it. Throws as `update`; `conflict` for an account that WeChat lists among
   * those of a platform that we hold, unless `withPlatform` says that this is removed too: the next comparison would bring it
   * back.
   */
  async remove(
    name: string,
    {
      version,
      actor,
      withPlatform = false,
    }: { version: number | undefined; actor: AuditActor; withPlatform?: boolean },
  ): Promise<void> {
    const { app, management } = this.#managed(name, version);
    if (app.role && this.#parts.directory.authorizedTo(app.id).length > 0) throw stillAuthorized();
    const { platformApp = "", lostAt } = app.authorization ?? {};
    const isListed = lostAt === undefined && this.#parts.directory.platformSlot(platformApp) !== undefined;
    if (app.platform === "weixin" && isListed && !management.isDamaged && !withPlatform)
      throw stillListed(app);
    await this.#parts.store.remove(app, entryOf("app.deleted", app, actor, {}));
    this.#parts.onCleared(app);
    await this.#reload();
  }

  /** Rereads the managed apps if any has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** Begins to follow changes of other processes. */
  start(): void {
    this.#mirror.start();
  }

  stop(): void {
    this.#mirror.stop();
  }

  /** Rereads the apps after a change, which is made even where that fails. Throws `unavailable`. */
  async #reload(): Promise<void> {
    try {
      await this.refresh();
    } catch (cause) {
      throw notReadBack(cause);
    }
  }

  async #read(epoch: number): Promise<void> {
    // At epoch 0 nothing was ever registered.
    if (epoch > 0) this.#parts.directory.replaceManaged(await this.#parts.store.listManaged());
  }

  /** Whether the same app exists. Throws `conflict` when there is another of that name. */
  #exists(app: App): boolean {
    const current = this.#parts.directory.find(nameOfApp(app));
    // By its AppID alone an account of a platform is found too, which is another app.
    if (!current || nameOfApp(current) !== nameOfApp(app)) return false;
    if (isSame(current, app)) return true;
    throw current.managed ? taken(app) : fromEnvironment();
  }

  /**
   * Whether the app of a configured slot has another secret by now, or is disabled or gone, as far as the store can be read:
   * before a `use`, or after a `failure` that blames the slot's.
   */
  async isOutdated(slot: Slot, about: "use" | "failure"): Promise<boolean> {
    await this.refresh().catch(() => undefined);
    const current = this.#parts.directory.slotNamed(slot);
    // What an account has authorized with is exchanged by WeChat, and read by whoever uses it.
    if (slot.isAuthorized && about === "use") return current === undefined;
    return current?.secret.equals(slot.secret) !== true;
  }

  /** Verifies a secret upstream; a failure has an audit entry: a guess must not go unnoticed. */
  async #check(app: App, actor: AuditActor): Promise<void> {
    const { check, directory, record } = this.#parts;
    try {
      // A secret that is not held yet is checked by stable token, which leaves every classic token valid.
      await check(directory.foreignSlot(app.platform, app.id, app.secret));
    } catch (error) {
      const { code, upstream } =
        error instanceof ServiceError ? error : { code: "internal", upstream: undefined };
      const entry = entryOf("app.secret_verified", app, actor, { errcode: upstream?.errcode });
      await record({ ...entry, outcome: code });
      throw error;
    }
  }

  #managed(name: string, version: number | undefined): { app: App; management: Management } {
    const app = this.#parts.directory.get(name);
    if (!app.managed) throw fromEnvironment();
    if (version !== undefined && version !== app.managed.version) throw outdated();
    return { app, management: app.managed };
  }
}

/** Its secret is good for the exchange of codes alone, so no token tells whether it is right. */
function checkLoginOnly({ platform }: App, isVerified: boolean): void {
  if (platform === "wecom")
    throw new ServiceError(
      "invalid_parameter",
      "企业微信应用不能设为仅登录 (a WeCom application can't be for logins only)",
    );
  if (isVerified)
    throw new ServiceError(
      "invalid_parameter",
      "仅登录的应用没有access_token，无法核实secret (an app for logins only has no access token: its secret can't be verified)",
    );
}

/** What can't be changed of a platform, or of an account that it has: WeChat gave the one its secret, and knows no modes of either. */
function checkThirdParty({ mode, secret }: AppChange, isVerified: boolean): void {
  if (mode !== undefined)
    throw new ServiceError(
      "invalid_parameter",
      "第三方平台及其授权账号没有mode (a third-party platform and its accounts have no mode)",
    );
  if (secret && isVerified)
    throw new ServiceError(
      "invalid_parameter",
      "第三方平台的secret须有推送的ticket才能核实，请去掉verify，命令行用 --no-verify (a platform's secret can be verified only with a pushed ticket: leave verify out, on the command line by --no-verify)",
    );
}

/** What a platform has would be of no use without it. */
export function stillAuthorized(): ServiceError {
  return new ServiceError(
    "conflict",
    "该平台仍有授权账号，确认要一并删除请加 --with-authorizations 或 with_authorizations=true (accounts have authorized this platform: to remove them with it, say --with-authorizations, or with_authorizations=true)",
  );
}

/** What the next comparison with WeChat's list would bring back. */
function stillListed(app: App): ServiceError {
  const name = nameOfApp(app);
  return new ServiceError(
    "conflict",
    `该账号仍授权给平台，删除后会从微信的列表中重新加入：停用请执行 accesstoken apps disable ${name}；要删除，请其管理员在微信取消授权 (the account authorizes the platform still, and WeChat's list would bring it back: run accesstoken apps disable ${name} to stop it, or have its owner end the authorization at WeChat, which removes it)`,
  );
}

function refuse({ fault }: { readonly fault?: string }): void {
  if (fault !== undefined) throw new ServiceError("invalid_parameter", fault);
}

/** It has changed since the caller read it. */
export function outdated(): ServiceError {
  return new ServiceError(
    "precondition_failed",
    "已被他人修改，请重新读取后再试 (it has changed meanwhile; read it again and retry)",
  );
}

/** It is changed in the store, and this process could not read it back: it may still go by what was before. */
export function notReadBack(cause: unknown): ServiceError {
  return new ServiceError(
    "unavailable",
    "更改已保存，但未能重新读取，可能尚未生效；请查看 /readyz，稍后确认结果 (the change is stored but could not be read back, so it may not be in effect yet; look at /readyz and check the result later)",
    { cause, retryAfterMs: 1000 },
  );
}

function taken(app: App): ServiceError {
  const name = nameOfApp(app);
  const title = `accesstoken apps set ${name} --title`;
  return new ServiceError(
    "conflict",
    app.role
      ? `该平台已存在且设置不同：更换secret用 accesstoken platforms set-secret ${name}，修改名称用 ${title} (the platform is held already with other settings: accesstoken platforms set-secret ${name} changes its secret, ${title} its title)`
      : `该应用已存在且设置不同：更换secret用 accesstoken apps set-secret ${name}，修改名称用 ${title} (the app is held already with other settings: accesstoken apps set-secret ${name} changes its secret, ${title} its title)`,
  );
}

function fromEnvironment(): ServiceError {
  return new ServiceError(
    "conflict",
    "该应用由环境变量配置，请修改环境变量并重启 (the app comes from the environment; change it there and restart)",
  );
}

function isSame(current: App, app: App): boolean {
  // `ww1_2` may be a WeChat app, and agent 2 of `ww1`.
  if (current.platform !== app.platform || current.role !== app.role) return false;
  if (current.provider !== app.provider || current.authorization) return false;
  if (!current.managed || current.managed.isDisabled || !current.secret.equals(app.secret)) return false;
  if (current.managed.title !== app.managed?.title) return false;
  if ((current.managed.isLoginOnly ?? false) !== (app.managed?.isLoginOnly ?? false)) return false;
  return current.platform === "wecom" || app.platform === "wecom" || current.tokenMode === app.tokenMode;
}

function entryOf(
  action: AuditAction,
  app: App,
  actor: AuditActor,
  detail: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actor, action, app: nameOfApp(app), outcome: "ok", tokenDigest: "", detail };
}
