import { type AppDirectory, severalPlatforms } from "../apps/app-directory.ts";
import { appName, nameOfApp, ownSlotOf, roleOf, type Slot, type SlotName } from "../apps/app.ts";
import type { AuditActor, Identity } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { type ErrorCode, type Platform, ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { looksLikeApiKey } from "./api-key.ts";
import { isPathAllowed, recipientFields } from "./api-policy.ts";
import { Authenticator, checkNetwork, mayUse, type TokenHolder } from "./authenticator.ts";
import { type Action, ANY_APP, CLIENT_NAME, type Grant, includesApp, platformOf } from "./client.ts";
import type { ClientDirectory } from "./client-directory.ts";
import type { ConsoleSessions } from "./console-sessions.ts";
import { CallerLimits } from "./limits.ts";
import type { Origin } from "./origin.ts";
import {
  actorOf,
  browserRefused,
  type Caller,
  type ClientPrincipal,
  denied,
  forbidden,
  keyMissing,
  notAllowedByPolicy,
  type Principal,
  UNIDENTIFIED,
  untrusted,
  wrongSecret,
} from "./principal.ts";
import { type MessageCall, testMessage } from "./test-messages.ts";

/** What a request was allowed and used, for the audit's counts. */
export interface Usage {
  readonly identity: Identity;
  /** A grant's action; for a call through the gateway with the family of its path behind it. */
  readonly action: string;
  /** The app's public name; `*` for none in particular. */
  readonly app: string;
}

/** That a caller may do what it asked for: as whom, and with which slot. */
export interface Permit<S = Slot> {
  readonly slot: S;
  readonly principal: Principal;
  readonly usage: Usage;
}

/** What `work` resolves with. What it throws says for whom and for which app that was. */
export async function onBehalf<T>({ usage }: Pick<Permit<unknown>, "usage">, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    throw error.with({ about: { client: usage.identity.client, app: usage.app } });
  }
}

/** What costs as much to refuse as to answer. */
const ABOUT_WHAT_WAS_SENT: ReadonlySet<ErrorCode> = new Set([
  "invalid_parameter",
  "payload_too_large",
  "unsupported_media_type",
]);

/** Whoever may have a user's token here, or call WeChat. */
const USER_TOKEN_ACTIONS: readonly Action[] = ["login", "api:call", "admin"];

/** What decides. */
export interface AccessOptions {
  readonly directory: Pick<
    AppDirectory,
    | "weixinSlot"
    | "wecomSlot"
    | "platformSlot"
    | "foreignSlot"
    | "slotOfApp"
    | "namesOfCorp"
    | "namesOf"
    | "find"
    | "list"
  >;
  readonly clients: Pick<
    ClientDirectory,
    "keyOf" | "keyNamed" | "withoutKey" | "noteUse" | "settings" | "find" | "keysOf"
  >;
  /** Undefined where there is no console. */
  readonly sessions?: Pick<ConsoleSessions, "find" | "noteUse"> | undefined;
  readonly clock: Clock;
  /** Whether callers without key and secret are answered; undefined: as the settings say. */
  readonly anonymous: boolean | undefined;
  /** Requests a second of one address without a key; 0 for no limit. */
  readonly anonymousPerSecond: number;
  /** Among how many processes each limit is divided. */
  readonly processes: () => number;
}

/**
 * Decides who is calling and whether they may, once for all routes.
 *
 * A key makes the caller a client, with the client's grants. An app's own true secret makes it that secret's holder,
 * who may do everything with that app alone. A caller with neither is anonymous, must come from a trusted network, and
 * gets nothing of a third-party platform itself.
 * A refusal for who the caller is says so (`ServiceError.deniedTo`), for the audit.
 */
export class Access {
  readonly #directory: AccessOptions["directory"];
  readonly #clients: AccessOptions["clients"];
  readonly #authenticator: Authenticator;

  constructor(options: AccessOptions) {
    this.#directory = options.directory;
    this.#clients = options.clients;
    this.#authenticator = new Authenticator({ ...options, limits: new CallerLimits(options) });
  }

  /** Whether callers without key and secret are answered. */
  get isAnonymousOn(): boolean {
    return this.#authenticator.isAnonymousOn;
  }

  /** See `Authenticator.byKey`. */
  byKey(origin: Origin, text: string): ClientPrincipal {
    return this.#authenticator.byKey(origin, text);
  }

  /** See `Authenticator.bySession`. */
  bySession(origin: Origin, digest: string, isUse?: boolean): ClientPrincipal {
    return this.#authenticator.bySession(origin, digest, isUse);
  }

  /** See `Authenticator.byToken`. */
  byToken(caller: Caller, holder: TokenHolder): ClientPrincipal | undefined {
    return this.#authenticator.byToken(caller, holder);
  }

  /** See `Authenticator.byGrant`. */
  byGrant(caller: Caller, holder: TokenHolder): ClientPrincipal | undefined {
    return this.#authenticator.byGrant(caller, holder);
  }

  /** See `Authenticator.secretHolder`. */
  secretHolder(caller: Caller): Principal {
    return this.#authenticator.secretHolder(caller);
  }

  /** See `Authenticator.bearer`. */
  bearer(caller: Caller, name?: string): Principal {
    return this.#authenticator.bearer(caller, name);
  }

  /** See `Authenticator.assertValid`. */
  assertValid(principal: ClientPrincipal): void {
    this.#authenticator.assertValid(principal);
  }

  /** See `Authenticator.confirm`. */
  confirm(principal: Principal): Principal {
    return this.#authenticator.confirm(principal);
  }

  /**
   * The caller of a path that takes a user's own token, which tells no app: a client with `login` or `api:call` for any
   * app, whose policy allows the path, or a caller from a trusted network.
   *
   * @throws {ServiceError} `forbidden`; `rate_limited`.
   */
  userTokenHolder(caller: Caller, path: string): Principal {
    const principal = this.#authenticator.trusted(caller);
    if (principal.kind === "client") {
      const { isAdmin, client } = principal.owner;
      const isGranted = ({ actions }: Grant) => USER_TOKEN_ACTIONS.some((each) => actions.includes(each));
      if (!isAdmin && !client.grants.some(isGranted)) throw this.notGranted(principal, "login");
      this.checkPath(principal, "weixin", path);
    }
    return principal;
  }

  /**
   * As `userTokenHolder`, for a token that was issued through us: to a client, whose grants on the token's app, policy
   * and limits apply, or (without one) to the holder of the app's secret. Undefined when the client, its key or the app
   * is there no more.
   */
  userTokenOwner(
    caller: Caller,
    path: string,
    { client, app }: { readonly client: TokenHolder | undefined; readonly app: string },
  ): Principal | undefined {
    if (!this.#directory.find(app)) return undefined;
    const principal = client
      ? this.#authenticator.byToken(caller, client)
      : this.#authenticator.bearer(caller, "user token");
    if (!principal) return undefined;
    if (principal.kind === "client" && !USER_TOKEN_ACTIONS.some((each) => mayUse(principal, each, app)))
      throw this.notGranted(principal, "login");
    this.#allow(principal, "login", this.#directory.slotOfApp(app));
    this.checkPath(principal, "weixin", path);
    return principal;
  }

  /**
   * Refuses a client whose policy does not allow `path`, as it is sent, on that platform. A caller that is no client
   * may call any.
   *
   * @throws {ServiceError} `forbidden`, which names the policy and the path's family.
   */
  checkPath(principal: Principal, platform: Platform, path: string): void {
    if (principal.kind !== "client") return;
    const { policy } = principal.owner.client;
    if (!isPathAllowed(policy, platform, path)) throw denied(principal, notAllowedByPolicy(policy, path));
  }

  /**
   * What goes up in place of `body` where the client may send this message to its test openids only; undefined for any
   * other call. The path must have passed `checkPath`. Throws as `testMessage`.
   */
  testMessage(
    principal: Principal,
    platform: Platform,
    call: MessageCall & { readonly path: string },
    body: object | undefined,
  ): Uint8Array | undefined {
    if (principal.kind !== "client") return undefined;
    const { policy } = principal.owner.client;
    const fields = recipientFields(policy, platform, call.path);
    if (!fields) return undefined;
    try {
      return testMessage(call, body, { fields, openids: policy.testOpenids ?? [] });
    } catch (error) {
      throw error instanceof ServiceError && error.code === "forbidden" ? denied(principal, error) : error;
    }
  }

  /**
   * The slot of a WeChat app that the caller means and may use for `action`.
   *
   * @throws {ServiceError} What `AppDirectory.weixinSlot` throws; `unauthorized`, also in WeChat's own words for a secret
   *   that is not ours and may not be tried; `forbidden`, `rate_limited`.
   */
  weixinSlot(caller: Caller, action: Action, appId: string, secret?: string): Permit {
    return this.#choose<Slot>(caller, action, secret, {
      bySecret: (given) => this.#directory.weixinSlot(appId, given),
      byGrant: (principal) => {
        const name = this.#grantedAccount(principal, action, appId);
        return this.#allow(principal, action, this.#directory.weixinSlot(name));
      },
    });
  }

  /**
   * As `weixinSlot`, for all slots of the app together when no secret of an app is given: then without a slot. An account
   * that a platform has is an app of its own, with one slot.
   *
   * It is for changes by GET, which a foreign page can have a visitor's browser make: a browser needs a key or a secret.
   */
  weixinScope(caller: Caller, action: Action, appId: string, secret?: string): Permit<SlotName | undefined> {
    return this.#choose<SlotName | undefined>(caller, action, secret, {
      bySecret: (given) => this.#directory.weixinSlot(appId, given),
      byGrant: (principal) => {
        refuseBrowser(principal, caller);
        const name = this.#grantedAccount(principal, action, appId);
        const app = this.#directory.find(name);
        const slot = app?.authorization ? ownSlotOf(app) : undefined;
        return permit(principal, action, this.#knownName(name), slot);
      },
    });
  }

  /** As `weixinSlot`, for a WeCom application. A client that may use one application of the corp alone means that one. */
  wecomSlot(caller: Caller, action: Action, corpId: string, secret?: string, agent?: string): Permit {
    return this.#choose<Slot>(caller, action, secret, {
      bySecret: (given) => this.#directory.wecomSlot(corpId, given, agent),
      byGrant: (principal) => this.#grantedAgent(principal, action, corpId, agent),
    });
  }

  /**
   * As `wecomSlot`, where the application need not be configured. Without a slot for all slots of the corp, for a
   * caller that names none and may use all. For browsers as `weixinScope`.
   */
  wecomScope(
    caller: Caller,
    action: Action,
    corpId: string,
    secret?: string,
    agent?: string,
  ): Permit<SlotName | undefined> {
    return this.#choose<SlotName | undefined>(caller, action, secret, {
      bySecret: (given) => this.#directory.wecomSlot(corpId, given, agent),
      byGrant: (principal) => {
        refuseBrowser(principal, caller);
        if (agent === undefined && !mayUse(principal, action, ANY_APP))
          return this.#grantedAgent(principal, action, corpId, agent);
        const app = agent === undefined ? corpId : `${corpId}_${agent}`;
        if (agent !== undefined && !mayUse(principal, action, app))
          throw this.notGranted(principal, action, app);
        const slot =
          agent === undefined ? undefined : { platform: "wecom" as const, appId: corpId, name: agent };
        return permit(principal, action, this.#knownName(app), slot);
      },
    });
  }

  /**
   * The slot of a third-party platform by its id. A secret must be its own, or a key: no other is ever tried.
   *
   * @throws {ServiceError} `not_found` when we hold no such platform; else as `weixinSlot`.
   */
  platformSlot(caller: Caller, action: Action, platform: Platform, id: string, secret?: string): Permit {
    const slot = this.#directory.platformSlot(id);
    return this.#choose<Slot>(caller, action, secret, {
      isTried: false,
      bySecret: (given) => {
        const sent = new Secret(given);
        return slot?.secret.equals(sent) ? slot : this.#directory.foreignSlot(platform, id, sent);
      },
      byGrant: (principal) => {
        if (!mayUse(principal, action, id)) throw this.notGranted(principal, action, id);
        if (slot) return this.#allow(principal, action, slot);
        throw new ServiceError("not_found", "没有该第三方平台 (no such third-party platform)");
      },
    });
  }

  /**
   * The slot of a configured app by its public name.
   *
   * @throws {ServiceError} `not_found`, `unauthorized`, `forbidden` or `rate_limited`.
   */
  slotOfApp(caller: Caller, action: Action, name: string): Permit {
    const principal = this.#authenticator.identify(caller);
    if (!mayUse(principal, action, this.#publicName(name))) throw this.notGranted(principal, action, name);
    return this.#allow(principal, action, this.#directory.slotOfApp(name));
  }

  /** As `slotOfApp` without the app, and not counted: for a route's guard, before anything that was sent is looked at. */
  checkGrant(caller: Caller, action: Action, name: string): void {
    const principal = this.#authenticator.recognize(caller);
    if (!mayUse(principal, action, this.#publicName(name))) throw this.notGranted(principal, action, name);
  }

  /**
   * Refuses a client without `metrics:read`; any other caller that the door let in has shown its network, which is enough
   * unless `needsKey`.
   */
  checkMetrics(caller: Caller, needsKey: boolean): void {
    if (caller.principal.kind === "client") this.checkGrant(caller, "metrics:read", ANY_APP);
    else if (needsKey) this.admin(caller);
  }

  /** As `checkGrant`, for a caller that may see pushes of the app, whichever environment's. */
  checkReceiver(caller: Caller, name: string): void {
    this.#receiving(this.#authenticator.recognize(caller), name);
  }

  /**
   * Who may see pushes of an app, and of which environment alone: its own, or undefined for every one.
   *
   * @throws {ServiceError} As `slotOfApp`.
   */
  receiver(
    caller: Caller,
    name: string,
  ): { readonly permit: Permit; readonly environment: string | undefined } {
    const principal = this.#authenticator.identify(caller);
    const action = this.#receiving(principal, name);
    const permit = this.#allow(principal, action, this.#directory.slotOfApp(name));
    const isOwn = action === "callback:receive";
    return { permit, environment: isOwn ? principal.identity.environment : undefined };
  }

  #receiving(principal: Principal, name: string): Action {
    const app = this.#publicName(name);
    if (mayUse(principal, "callback:manage", app)) return "callback:manage";
    if (mayUse(principal, "callback:receive", app)) return "callback:receive";
    throw this.notGranted(principal, "callback:receive", name);
  }

  /** As `checkGrant`, for no action in particular. */
  checkKnown(caller: Caller): void {
    this.#authenticator.recognize(caller);
  }

  /**
   * Refuses a caller that neither headers nor network identify, unless `secret` is an API key or `appId`'s own: before
   * anything else of its body is looked at. Counts nothing but a wrong secret.
   *
   * @throws {ServiceError} As `weixinSlot`.
   */
  checkSecret(caller: Caller, appId: unknown, secret: unknown): void {
    const authenticator = this.#authenticator;
    if (typeof secret !== "string") return void authenticator.recognize(caller);
    if (authenticator.isRecognized(caller) || authenticator.isKey(secret)) return;
    const id = typeof appId === "string" ? appId : "";
    if (!this.#directory.weixinSlot(id, secret).configured) this.weixinSlot(caller, "login", id, secret);
  }

  /** The slot for a caller that holds an access token of it: a client by its grants, any other for every action. */
  slotOfToken(principal: Principal, action: Action, slot: Slot): Permit {
    if (principal.kind === "client" && !mayUse(principal, action, appName(slot)))
      throw this.notGranted(principal, action, appName(slot));
    return this.#allow(principal, action, slot);
  }

  /**
   * `error`, counted against the address of a caller without a key where it refuses what was sent, or against the client
   * whose key came as `secret`; the refusal of too many requests in its place when there were.
   */
  countRefusal({ principal, origin }: Caller, error: unknown, secret = ""): unknown {
    if (!(error instanceof ServiceError) || !ABOUT_WHAT_WAS_SENT.has(error.code)) return error;
    if (principal.kind === "client" || principal.kind === "local") return error;
    // Of a client that a token or a key has shown meanwhile: what it sent is counted already.
    if (error.about && CLIENT_NAME.test(error.about.client)) return error;
    try {
      const known = this.#authenticator.byKnownKey(origin, secret);
      if (known) return error.with({ about: { client: known.identity.client, app: ANY_APP } });
      this.#authenticator.limitAddress(principal, origin);
      return error;
    } catch (limited) {
      return limited;
    }
  }

  /** Counts an attempt of a caller that is no client against its address's limit. Throws `rate_limited`. */
  countAttempt({ principal, origin }: Caller): void {
    if (principal.kind !== "client") this.#authenticator.limitAddress(principal, origin);
  }

  /** Which apps, by their public names, the caller may see: those that it may do anything with. */
  visibleApps(caller: Caller): (name: string) => boolean {
    const sees = visibleTo(this.#authenticator.identify(caller));
    return (name) => sees(this.#publicName(name));
  }

  /**
   * Who the caller is now, for an answer that lasts. Counts against no limit.
   *
   * @throws {ServiceError} What `confirm` throws; `forbidden` from an address that is no longer the client's; `unauthorized`
   *   or `forbidden` where callers without a key are answered no more.
   */
  present(caller: Pick<Caller, "principal" | "origin">): Principal {
    const principal = this.#authenticator.confirm(this.#authenticator.recognize(caller));
    if (principal.kind === "client") checkNetwork(principal, caller.origin);
    return principal;
  }

  /** Who the caller is, if it may do `action` on every app, and whether it is an administrator. Throws as `admin`. */
  manager(caller: Caller, action: Action): { readonly actor: AuditActor; readonly isAdmin: boolean } {
    const principal = this.#authenticator.identify(caller);
    const isAdmin = mayUse(principal, "admin", ANY_APP);
    if (isAdmin || (principal.kind === "client" && mayUse(principal, action, ANY_APP)))
      return { actor: actorOf(principal, caller), isAdmin };
    throw this.notGranted(principal, action);
  }

  /** Which apps, by their public names, the caller may do `action` with. */
  appsFor(caller: Caller, action: Action): (name: string) => boolean {
    const principal = this.#authenticator.identify(caller);
    return (name) => mayUse(principal, action, this.#publicName(name));
  }

  /**
   * Who the caller is, if it may manage this service.
   *
   * @throws {ServiceError} `unauthorized` or `forbidden`.
   */
  admin(caller: Caller): AuditActor {
    const principal = this.#authenticator.identify(caller);
    if (!mayUse(principal, "admin", ANY_APP))
      throw denied(principal, forbidden("需要管理员权限", "needs an administrator"));
    return actorOf(principal, caller);
  }

  /** `error`, which refuses a wrong secret of the caller, counted against its address; `rate_limited` after too many. */
  wrong({ origin }: Pick<Caller, "origin">, error: ServiceError): ServiceError {
    return this.#authenticator.wrong(UNIDENTIFIED, origin, error);
  }

  /**
   * The client of that name, as by a valid key of its own, for an administrator who tries what it may do. Its networks and
   * limits are not looked at.
   *
   * @throws {ServiceError} As `admin`; `not_found`; `conflict` for one without a valid key, which may do nothing.
   */
  client(caller: Caller, name: string): ClientPrincipal {
    this.admin(caller);
    if (!this.#clients.find(name)) throw new ServiceError("not_found", "没有该客户端 (no such client)");
    const principal = this.#authenticator.named(name);
    if (principal) return principal;
    throw new ServiceError(
      "conflict",
      "该客户端没有有效的密钥，无法发出任何调用 (the client has no valid key: it can call nothing)",
    );
  }

  /**
   * Who the caller is, and of which client alone it may see and end the console's sessions: its own, or undefined for every
   * one.
   *
   * @throws {ServiceError} As `admin`, for a caller that is no client.
   */
  sessionHolder(caller: Caller): { readonly actor: AuditActor; readonly of: string | undefined } {
    const principal = this.#authenticator.identify(caller);
    if (principal.kind !== "client" || principal.owner.isAdmin)
      return { actor: this.admin(caller), of: undefined };
    return { actor: actorOf(principal, caller), of: principal.owner.client.name };
  }

  /** Refuses everybody but the command line on the service's machine. Throws `forbidden`. */
  commandLine({ principal }: Pick<Caller, "principal">): void {
    if (principal.kind === "local") return;
    throw denied(
      principal,
      forbidden("只能在服务所在的机器上用命令行执行", "only for the command line on the service's machine"),
    );
  }

  /**
   * Who the caller is and of which apps it may see the audit: of those that it may view, or of everything (undefined) as
   * an administrator.
   *
   * @throws {ServiceError} As `admin`, for a caller that may view no app by a key.
   */
  auditViewer(caller: Caller): {
    readonly actor: AuditActor;
    readonly apps: readonly string[] | "any" | undefined;
  } {
    const principal = this.#authenticator.identify(caller);
    const { isAdmin = true, client } = principal.kind === "client" ? principal.owner : {};
    const apps = (isAdmin ? [] : (client?.grants ?? [])).flatMap((grant) =>
      grant.actions.includes("view") ? grant.apps : [],
    );
    if (apps.length === 0) return { actor: this.admin(caller), apps: undefined };
    return { actor: actorOf(principal, caller), apps: this.#namesIn(new Set(apps)) };
  }

  /** The refusal of an action that is not granted, for the app or corp that the caller named. */
  notGranted(principal: Principal, action?: Action, named?: string): ServiceError {
    if (principal.kind !== "client")
      return denied(principal, forbidden("此操作需要API密钥", "this needs an API key"));
    return denied(
      principal,
      forbidden(
        `该客户端没有此权限${action === undefined ? "" : `：${action}`}`,
        `not granted to this client${action === undefined ? "" : ` for this app: ${action}`}`,
      ),
      named === undefined ? undefined : this.#knownName(named),
    );
  }

  /** Whether the caller has shown no key and is outside the trusted networks. An app's secret may still identify it. */
  isUntrusted({ principal, origin }: Caller): boolean {
    if (principal.kind === "client" || principal.kind === "local") return false;
    return origin.untrustedReason !== undefined;
  }

  /** The refusal of an untrusted caller. */
  untrustedError({ principal, origin }: Caller): ServiceError {
    return denied(principal, untrusted(origin.untrustedReason ?? ""));
  }

  #choose<S extends SlotName | undefined>(
    caller: Caller,
    action: Action,
    secret: string | undefined,
    ways: {
      /** Whether a secret that is not ours may be tried; default true. */
      readonly isTried?: boolean;
      readonly bySecret: (secret: string) => Slot;
      readonly byGrant: (principal: Principal) => Permit<S | Slot>;
    },
  ): Permit<S | Slot> {
    const authenticator = this.#authenticator;
    const byGrant = (principal: Principal) => {
      try {
        return ways.byGrant(principal);
      } catch (error) {
        throw this.#withChoice(error, principal);
      }
    };
    if (secret === undefined) return byGrant(authenticator.identify(caller));
    // A key in a header wins over one in place of the secret.
    const isKey = looksLikeApiKey(secret);
    const { principal, origin } = caller;
    if (isKey && principal.kind === "client") return byGrant(principal);
    const client = isKey ? authenticator.byKnownKey(origin, secret) : undefined;
    if (client) return byGrant(client);
    const slot = ways.bySecret(secret);
    if (slot.configured) return this.#allowHolder(caller, action, slot);
    if (isKey) return byGrant(authenticator.byKey(origin, secret));
    if (ways.isTried === false) throw authenticator.wrong(principal, origin, wrongSecret(slot.platform));
    return this.#allowTrial(caller, action, slot);
  }

  /** `error`; one that says that no app was found with the apps that the caller may see. */
  #withChoice(error: unknown, principal: Principal): unknown {
    if (!(error instanceof ServiceError) || error.code !== "invalid_parameter") return error;
    const names = this.#directory.list({ limit: MAX_HINTED + 1, isWanted: visibleTo(principal) });
    const held = names.slice(0, MAX_HINTED).join(", ") + (names.length > MAX_HINTED ? ", …" : "");
    const hint =
      held === ""
        ? "本服务没有你可用的应用，请用 accesstoken apps add 添加，或在请求中提供secret (no app that you may use is configured here: add it by `accesstoken apps add`, or send its secret)"
        : `请核对appid、corpid和agentid，或在请求中提供secret；你可用的应用：${held} (check appid, corpid and agentid, or send the secret; apps that you may use: ${held})`;
    return error.with({ hint });
  }

  #grantedAgent(principal: Principal, action: Action, corpId: string, agent: string | undefined): Permit {
    const directory = this.#directory;
    const isGranted = (name: string) => mayUse(principal, action, name);
    if (agent !== undefined && !isGranted(`${corpId}_${agent}`))
      throw this.notGranted(principal, action, `${corpId}_${agent}`);
    const [only, another] = agent === undefined ? directory.namesOfCorp(corpId).filter(isGranted) : [];
    if (principal.kind === "client" && another !== undefined) throw agentMissing();
    if (agent !== undefined || isGranted(ANY_APP))
      return this.#allow(principal, action, directory.wecomSlot(corpId, undefined, agent));
    // Whether there are other applications is not for a caller that may not use them.
    if (only === undefined) throw this.notGranted(principal, action, corpId);
    return this.#allow(principal, action, directory.slotOfApp(only));
  }

  /** The public name of the account that is meant by an AppID; of several, the only one that the caller may use. */
  #grantedAccount(principal: Principal, action: Action, appId: string): string {
    const directory = this.#directory;
    const isGranted = (name: string) => mayUse(principal, action, name);
    const known = directory.find(appId);
    const name = known ? nameOfApp(known) : appId;
    const all = known && isGranted(name) ? [name] : directory.namesOf("weixin", appId);
    const [only, another] = all.filter(isGranted);
    // Which platforms have it besides is not for a caller that may not use them.
    if (another !== undefined) throw severalPlatforms(all.filter(isGranted));
    if (only !== undefined) return only;
    if (all.length === 0 && isGranted(name)) return name;
    throw this.notGranted(principal, action, appId);
  }

  /** Grants go by public names; callers may name an account of a platform by its AppID alone. */
  #publicName(name: string): string {
    const app = this.#directory.find(name);
    return app ? nameOfApp(app) : name;
  }

  /** What the names in grants are now: every app, or public names. */
  #namesIn(names: ReadonlySet<string>): readonly string[] | "any" {
    if (names.has(ANY_APP)) return "any";
    if (![...names].some((name) => platformOf(name) !== undefined)) return [...names];
    const isWanted = (name: string) => includesApp(names, name);
    return [...new Set([...names, ...this.#directory.list({ limit: Infinity, isWanted })])];
  }

  /** For the app's own secret, from any address: a client by its grants, any other caller as the secret's holder. */
  #allowHolder(caller: Caller, action: Action, slot: Slot): Permit {
    const principal = this.#authenticator.secretHolder(caller);
    if (principal.kind === "client" && !mayUse(principal, action, appName(slot)))
      throw this.notGranted(principal, action, appName(slot));
    return this.#allow(principal, action, slot);
  }

  /** A secret that we don't hold may cost an upstream call only where the caller could do worse anyway. */
  #allowTrial(caller: Caller, action: Action, slot: Slot): Permit {
    const { principal, origin } = caller;
    const isTrusted =
      principal.kind === "client" ? principal.owner.isAdmin : this.#authenticator.isRecognized(caller);
    if (!isTrusted) throw this.#authenticator.wrong(principal, origin, wrongSecret(slot.platform));
    return this.#allow(this.#authenticator.identify(caller), action, slot);
  }

  #allow(principal: Principal, action: Action, slot: Slot): Permit {
    const name = appName(slot);
    // A platform's token is every customer's.
    if (principal.kind === "anonymous" && roleOf(slot)) throw denied(principal, keyMissing(), name);
    if (slot.isDisabled)
      throw denied(
        principal,
        slot.isAuthorized
          ? forbidden(
              "该账号或其第三方平台已停用，或授权已失效、须由账号管理员重新授权",
              "the account or its platform is disabled, or the authorization is lost and its administrator must give it again",
            )
          : forbidden(
              "该应用已停用，或其secret已损坏、须重新设置",
              "this app is disabled, or its secret is damaged and must be set again",
            ),
        this.#knownName(name),
      );
    if (slot.isLoginOnly && action !== "login") throw onlyLogins();
    return permit(principal, action, slot.configured ? name : this.#knownName(name), slot);
  }

  /**
   * The name of an app or a corp if we hold it: anything else must not be stored, as it may be a secret, and callers can
   * make up any number.
   */
  #knownName(name: string): string {
    const app = this.#directory.find(name);
    if (app) return nameOfApp(app);
    return this.#directory.namesOfCorp(name).length > 0 ? name : ANY_APP;
  }
}

/** So many apps a hint names. */
const MAX_HINTED = 10;

/** Which apps, by their public names, `principal` may see: those that it may do anything with. */
export function visibleTo(principal: Principal): (name: string) => boolean {
  if (principal.kind !== "client" || principal.owner.isAdmin) return () => true;
  const names = new Set(principal.owner.client.grants.flatMap(({ apps }) => apps));
  return (name) => includesApp(names, name);
}

function permit<S>(principal: Principal, action: string, app: string, slot: S): Permit<S> {
  return { slot, principal, usage: { identity: principal.identity, action, app } };
}

/** A client whose key leaves open which application of the corp is meant: it needs no secret. */
function agentMissing(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "缺少agentid参数：该密钥可用于该corpid的多个应用，请用agentid指明 (the key may use several applications of the corp: send agentid)",
  );
}

/** An app without credentials: nothing is asked of WeChat for it, and nothing is wrong with it. */
function onlyLogins(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "该应用仅用于网页登录，没有access_token和ticket (this app is for web logins only: it has no access token and no tickets)",
  );
}

function refuseBrowser(principal: Principal, { origin }: Caller): void {
  if (principal.kind === "anonymous" && origin.isBrowser) throw denied(principal, browserRefused());
}
