import { type Platform, ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import {
  type App,
  nameOfApp,
  type Slot,
  slotKey,
  type SlotName,
  slotNameOf,
  type WecomApp,
  type WeixinApp,
} from "./app.ts";

/** A keyed digest of a secret: the same for the same app and secret, and meaningless without the master key. */
export type SecretDigest = (platform: Platform, appId: string, secret: Secret) => string;

/**
 * The apps that we hold, and the answer to "whose secret does this caller use?".
 *
 * It decides by what the caller sent alone; authorization is decided elsewhere.
 */
export class AppDirectory {
  readonly #fromEnvironment: readonly App[];
  readonly #weixin = new Map<string, WeixinApp>();
  readonly #wecom = new Map<string, WecomApp[]>();
  /** Third-party platforms by their ids. */
  readonly #platforms = new Map<string, App>();
  /** The accounts that WeChat's components have, by AppID. */
  readonly #authorizers = new Map<string, WeixinApp[]>();
  readonly #digest: SecretDigest;
  readonly #publicUrls = new Set<string>();
  #size = 0;
  /** By their public names; sorted when first listed. */
  #sorted: readonly App[] | undefined;
  #epoch = 0;
  /** One slot as long as its app does not change, nor whether it is closed, so that callers can cache by identity. */
  readonly #slots = new WeakMap<App, Slot>();

  /** `apps` are those that the environment names. */
  constructor(apps: readonly App[], digest: SecretDigest) {
    this.#digest = digest;
    this.#fromEnvironment = apps;
    this.#take(apps);
  }

  /** Replaces the apps that administrators have registered. One that the environment names, too, is the environment's. */
  replaceManaged(apps: readonly App[]): void {
    const current = apps.map((app) => {
      const known = this.find(nameOfApp(app));
      if (!known?.managed || nameOfApp(known) !== nameOfApp(app)) return app;
      return known.managed.version === app.managed?.version ? known : app;
    });
    this.#weixin.clear();
    this.#wecom.clear();
    this.#platforms.clear();
    this.#authorizers.clear();
    this.#publicUrls.clear();
    this.#size = 0;
    this.#sorted = undefined;
    this.#take(this.#fromEnvironment);
    const names = new Set(this.#fromEnvironment.map(nameOfApp));
    this.#take(current.filter((app) => !names.has(nameOfApp(app))));
    this.#epoch += 1;
  }

  /**
   * Drops an authorized app that is gone, before the apps are read again. One that has been authorized anew meanwhile stays:
   * it has a higher version.
   */
  forget(app: App): void {
    const isGone = app.platform === "wecom" ? drop(this.#wecom, app) : drop(this.#authorizers, app);
    if (!isGone) return;
    this.#size -= 1;
    this.#sorted = undefined;
    this.#epoch += 1;
  }

  /** Changes whenever the apps do: what is derived from them is valid until then. */
  get epoch(): number {
    return this.#epoch;
  }

  /** How many apps we hold. */
  get size(): number {
    return this.#size;
  }

  /** The origins that apps have of their own for what WeChat is given. */
  get publicUrls(): ReadonlySet<string> {
    return this.#publicUrls;
  }

  /** The app of that public name. An account that one platform alone has is also found by its AppID. */
  find(name: string): App | undefined {
    const known = this.#weixin.get(name) ?? this.#platforms.get(name);
    if (known) return known;
    // An agent has no underscore, a CorpID may have one.
    const cut = name.lastIndexOf("_");
    if (cut < 0) return this.#onlyAuthorizer(name);
    const [id, rest] = [name.slice(0, cut), name.slice(cut + 1)];
    return (
      this.#wecom.get(id)?.find(({ agent }) => agent === rest) ??
      this.#authorizers.get(id)?.find((app) => app.authorization?.platformApp === rest)
    );
  }

  /** The slot of a third-party platform by its id; undefined when we hold none. */
  platformSlot(id: string): Slot | undefined {
    const app = this.#platforms.get(id);
    return app && this.#slotOf(app);
  }

  /** What a platform has: every account or corp that has authorized it, in the order of their names. */
  authorizedTo(platformApp: string): readonly App[] {
    return this.sorted().filter(({ authorization }) => authorization?.platformApp === platformApp);
  }

  /** The account of that AppID where one platform alone has it. */
  #onlyAuthorizer(appId: string): WeixinApp | undefined {
    const all = this.#authorizers.get(appId);
    return all?.length === 1 ? all[0] : undefined;
  }

  /** Whether we hold the app of that AppID, or an application of the corp of that CorpID. */
  has(platform: Platform, appId: string): boolean {
    if (this.#platforms.get(appId)?.platform === platform) return true;
    return platform === "wecom"
      ? this.#wecom.has(appId)
      : this.#weixin.has(appId) || this.#authorizers.has(appId);
  }

  /** The public names of the applications of a corp. */
  namesOfCorp(corpId: string): string[] {
    return (this.#wecom.get(corpId) ?? []).map(nameOfApp);
  }

  /** The public names of every app of an AppID or a CorpID, in each way in which we have it. */
  namesOf(platform: Platform, appId: string): string[] {
    const weixin = [this.#weixin.get(appId) ?? [], this.#authorizers.get(appId) ?? []].flat();
    const all = [
      platform === "weixin" ? weixin : (this.#wecom.get(appId) ?? []),
      this.#platforms.get(appId) ?? [],
    ];
    return all.flat().map(nameOfApp);
  }

  /**
   * The slot of a WeChat app: the configured one without a secret or with the configured one, else one of its own.
   *
   * A foreign secret always gets stable tokens, which leave every classic token valid.
   *
   * @throws {ServiceError} `invalid_parameter` when there is neither a secret nor a configured app.
   */
  weixinSlot(appId: string, secret?: string): Slot {
    const app = this.#weixin.get(appId);
    if (secret === undefined) {
      const found = app ?? this.#findWeixin(appId);
      if (!found) throw new ServiceError("invalid_parameter", "缺少secret参数");
      return this.#slotOf(found);
    }
    const given = new Secret(secret);
    if (app?.secret.equals(given)) return this.#slotOf(app);
    return this.foreignSlot("weixin", appId, given);
  }

  /**
   * The slot of a WeCom application. The secret decides; without one the agent does, and without either the corp's
   * only application.
   *
   * @throws {ServiceError} `invalid_parameter` when nothing decides, or when the agent is another than the secret's.
   */
  wecomSlot(corpId: string, secret?: string, agent?: string): Slot {
    const apps = this.#wecom.get(corpId) ?? [];
    if (secret === undefined) return this.#slotOf(chooseByAgent(apps, agent));
    const given = new Secret(secret);
    // A permanent code is nothing that a caller brings.
    const owners = apps.filter((app) => !app.authorization && app.secret.equals(given));
    const [first] = owners;
    if (!first) return this.foreignSlot("wecom", corpId, given);
    if (agent === undefined) return this.#slotOf(first);
    const named = owners.find((app) => app.agent === agent);
    if (!named) {
      throw new ServiceError(
        "invalid_parameter",
        "agentid参数与secret不属于同一个应用 (agentid and secret belong to different applications)",
      );
    }
    return this.#slotOf(named);
  }

  /**
   * The slot of a configured app by its public name: an AppID, or a CorpID and an agent joined by `_`.
   *
   * @throws {ServiceError} `not_found` when we hold no such app, `invalid_parameter` for an AppID that several platforms have.
   */
  slotOfApp(name: string): Slot {
    return this.#slotOf(this.get(name));
  }

  /** The app of that public name. Throws as `slotOfApp`. */
  get(name: string): App {
    const app = this.find(name);
    if (app) return app;
    this.#checkOne(name);
    throw new ServiceError(
      "not_found",
      "没有配置该应用，请检查appid、<corpid>_<agent>或<appid>_<platform> (no such app is configured; check the appid, <corpid>_<agent> or <appid>_<platform>)",
    );
  }

  /** As `slotOfApp`; undefined when we hold no such app. */
  findSlot(name: string): Slot | undefined {
    const app = this.find(name);
    return app && this.#slotOf(app);
  }

  /** At most `limit` public names of configured apps in the order of their characters; with `isWanted`, only those. */
  list({
    limit,
    isWanted,
  }: {
    readonly limit: number;
    readonly isWanted?: (name: string, app: App) => boolean;
  }): readonly string[] {
    const found: string[] = [];
    for (const app of this.sorted()) {
      if (found.length === limit) break;
      const name = nameOfApp(app);
      if (!isWanted || isWanted(name, app)) found.push(name);
    }
    return found;
  }

  /** Every configured app, in the order of the characters of their public names. */
  sorted(): readonly App[] {
    this.#sorted ??= [
      ...this.#weixin.values(),
      ...this.#platforms.values(),
      ...[...this.#wecom.values(), ...this.#authorizers.values()].flat(),
    ].toSorted((a, b) => byCharacters(nameOfApp(a), nameOfApp(b)));
    return this.#sorted;
  }

  /** The configured slot of that name; undefined for a name that no held secret belongs to, or one of a disabled app. */
  slotNamed({ platform, appId, name }: SlotName): Slot | undefined {
    const app = this.#appOf(platform, appId, name);
    return app?.platform === platform && slotNameOf(app) === name && !this.#isClosed(app)
      ? this.#slotOf(app)
      : undefined;
  }

  #appOf(platform: Platform, appId: string, name: string): App | undefined {
    if (name.startsWith("@")) return this.#platforms.get(appId);
    if (platform === "wecom") return this.#wecom.get(appId)?.find(({ agent }) => agent === name);
    return (
      this.#authorizers.get(appId)?.find((app) => app.authorization?.platformApp === name) ??
      this.#weixin.get(appId)
    );
  }

  /** The account of that AppID or name, of those that components have. Throws `invalid_parameter` where several have it. */
  #findWeixin(name: string): App | undefined {
    this.#checkOne(name);
    const found = this.find(name);
    return found?.platform === "weixin" && !found.role ? found : undefined;
  }

  /** Throws `invalid_parameter` for the AppID of an account that several components have. */
  #checkOne(name: string): void {
    const all = this.#authorizers.get(name) ?? [];
    if (all.length > 1) throw severalPlatforms(all.map(nameOfApp));
  }

  /** The slot of a secret that we don't hold, or don't hold yet. */
  foreignSlot(platform: Platform, appId: string, secret: Secret): Slot {
    const name = `~${this.#digest(platform, appId, secret)}`;
    return { platform, appId, name, secret, tokenMode: "stable", configured: false };
  }

  #take(apps: readonly App[]): void {
    this.#size += apps.length;
    for (const app of apps) {
      if (app.managed?.publicUrl !== undefined) this.#publicUrls.add(app.managed.publicUrl);
      if (app.role) this.#platforms.set(app.id, app);
      else if (app.platform === "wecom") push(this.#wecom, app.id, app);
      else if (app.authorization) push(this.#authorizers, app.id, app);
      else this.#weixin.set(app.id, app);
    }
  }

  #slotOf(app: App): Slot {
    const isDisabled = this.#isClosed(app);
    const known = this.#slots.get(app);
    if (known && (known.isDisabled ?? false) === isDisabled) return known;
    const slot = createSlot(app, isDisabled);
    this.#slots.set(app, slot);
    return slot;
  }

  /** Whether the app is disabled, or the platform that it has authorized; its secret damaged; or its authorization lost. */
  #isClosed({ managed, authorization }: App): boolean {
    if (managed?.isDisabled || managed?.isDamaged || authorization?.lostAt !== undefined) return true;
    if (!authorization) return false;
    return this.#platforms.get(authorization.platformApp)?.managed?.isDisabled === true;
  }
}

/** The error for an AppID alone of an account that several platforms have: it must be one of `names`. */
export function severalPlatforms(names: readonly string[]): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    `该appid授权给了多个第三方平台，请写为 ${names.join(" 或 ")} (several platforms have this account: name it ${names.join(" or ")})`,
  );
}

function push<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

/** Drops that authorized app, in that version or an older one; false where there is none. */
function drop<T extends App>(lists: Map<string, T[]>, gone: App): boolean {
  const list = lists.get(gone.id) ?? [];
  const name = nameOfApp(gone);
  const isGone = (app: T) =>
    nameOfApp(app) === name &&
    app.authorization !== undefined &&
    (app.managed?.version ?? 0) <= (gone.managed?.version ?? 0);
  const left = list.filter((app) => !isGone(app));
  if (left.length === 0) lists.delete(gone.id);
  else lists.set(gone.id, left);
  return left.length < list.length;
}

function byCharacters(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The index of the first of the sorted `apps` whose name comes after `after`. */
export function firstBehind(apps: readonly App[], after: string): number {
  let [low, high] = [0, apps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const app = apps[middle];
    if (app && nameOfApp(app) > after) high = middle;
    else low = middle + 1;
  }
  return low;
}

function chooseByAgent(apps: readonly WecomApp[], agent: string | undefined): WecomApp {
  // An application that is held directly wins over what platforms have of the corp.
  const own = apps.filter(({ authorization }) => !authorization);
  const candidates =
    agent === undefined ? (own.length > 0 ? own : apps) : apps.filter((app) => app.agent === agent);
  const [only, another] = candidates;
  if (!only) throw new ServiceError("invalid_parameter", "缺少secret参数");
  if (another) {
    throw new ServiceError(
      "invalid_parameter",
      "缺少secret参数：该corpid配置了多个应用，请提供agentid或secret (the corp has several applications: send agentid or secret)",
    );
  }
  return only;
}

function createSlot(app: App, isDisabled: boolean): Slot {
  const { platform, id: appId } = app;
  const tokenMode = app.platform === "wecom" ? "stable" : app.tokenMode;
  const slot: Slot = {
    platform,
    appId,
    name: slotNameOf(app),
    tokenMode,
    // Decrypted on use: a damaged one affects its own app alone.
    get secret() {
      return app.secret;
    },
    configured: true,
    ...(isDisabled ? { isDisabled } : {}),
    ...(app.managed?.isLoginOnly ? { isLoginOnly: true } : {}),
    ...(app.authorization ? { isAuthorized: true } : {}),
  };
  // Not enumerable: a copy under another name must not keep it.
  return Object.defineProperty(slot, "key", { value: slotKey(slot) });
}
