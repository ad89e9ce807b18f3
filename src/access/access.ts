import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type Slot } from "../apps/app.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { type ErrorCode, ServiceError } from "../errors.ts";
import { Authenticator, checkNetwork, mayUse, type TokenHolder } from "./authenticator.ts";
import { type Action, ANY_APP, CLIENT_NAME, type Grant, includesApp, platformOf } from "./client.ts";
import type { ClientDirectory } from "./client-directory.ts";
import { checkPath } from "./call-policy.ts";
import type { ConsoleSessions } from "./console-sessions.ts";
import { CallerLimits } from "./limits.ts";
import type { Origin } from "./origin.ts";
import { type Permit, Permits, visibleTo } from "./permits.ts";
import {
  actorOf,
  type Caller,
  type ClientPrincipal,
  denied,
  forbidden,
  type Principal,
  UNIDENTIFIED,
  untrusted,
} from "./principal.ts";
import { SlotAccess, type SlotAccessParts } from "./slot-access.ts";

/** What costs as much to refuse as to answer. */
const ABOUT_WHAT_WAS_SENT: ReadonlySet<ErrorCode> = new Set([
  "invalid_parameter",
  "payload_too_large",
  "unsupported_media_type",
]);

/** Whoever may have a user's token here, or call WeChat. */
const USER_TOKEN_ACTIONS: readonly Action[] = ["login", "api:call", "admin"];

/** Whoever may see pushes: everybody's, or its own environment's. */
const RECEIVER_ACTIONS = ["callback:manage", "callback:receive"] as const satisfies readonly Action[];

/** What decides. */
export interface AccessOptions {
  readonly directory: SlotAccessParts["directory"] & Pick<AppDirectory, "namesOf">;
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
  readonly #permits: Permits;
  /** For routes that tell an app by its id, and may be told its secret. */
  readonly slots: SlotAccess;

  constructor(options: AccessOptions) {
    const { directory, clients } = options;
    const authenticator = new Authenticator({ ...options, limits: new CallerLimits(options) });
    this.#directory = directory;
    this.#clients = clients;
    this.#authenticator = authenticator;
    this.#permits = new Permits(directory);
    this.slots = new SlotAccess({ directory, authenticator, permits: this.#permits });
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
      checkPath(principal, "weixin", path);
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
    this.#permits.allow(principal, "login", this.#directory.slotOfApp(app));
    checkPath(principal, "weixin", path);
    return principal;
  }

  /**
   * The slot of a configured app by its public name, or by the AppID of an account: of several, the one that the caller may use.
   *
   * @throws {ServiceError} `not_found`, `unauthorized`, `forbidden` or `rate_limited`.
   */
  slotOfApp(caller: Caller, action: Action, name: string): Permit {
    const principal = this.#authenticator.identify(caller);
    const app = this.#permits.granted(principal, action, name);
    return this.#permits.allow(principal, action, this.#directory.slotOfApp(app));
  }

  /** The public name of the app that `name` means to `principal`, as in `slotOfApp`; `name` where it may use none of them. */
  nameFor(principal: Principal, action: Action, name: string): string {
    return this.#permits.meant(name, (each) => mayUse(principal, action, each)) ?? name;
  }

  /**
   * As `slotOfApp` with the public name alone, which need be none of an app, and not counted: for a route's guard, before
   * anything that was sent is looked at.
   */
  checkGrant(caller: Caller, action: Action, name: string): string {
    return this.#permits.granted(this.#authenticator.recognize(caller), action, name);
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
    const { action, app } = this.#receiving(principal, name);
    const permit = this.#permits.allow(principal, action, this.#directory.slotOfApp(app));
    const isOwn = action === "callback:receive";
    return { permit, environment: isOwn ? principal.identity.environment : undefined };
  }

  #receiving(principal: Principal, name: string): { readonly action: Action; readonly app: string } {
    const actionFor = (app: string) => RECEIVER_ACTIONS.find((action) => mayUse(principal, action, app));
    const app = this.#permits.meant(name, (each) => actionFor(each) !== undefined);
    const action = app && actionFor(app);
    if (!app || !action) throw this.notGranted(principal, "callback:receive", name);
    return { action, app };
  }

  /** As `checkGrant`, for no action in particular. */
  checkKnown(caller: Caller): void {
    this.#authenticator.recognize(caller);
  }

  /** The slot for a caller that holds an access token of it: a client by its grants, any other for every action. */
  slotOfToken(principal: Principal, action: Action, slot: Slot): Permit {
    if (principal.kind === "client" && !mayUse(principal, action, appName(slot)))
      throw this.notGranted(principal, action, appName(slot));
    return this.#permits.allow(principal, action, slot);
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
    return (name) => sees(this.#permits.publicName(name));
  }

  /** The public name of the one of `visibleApps` that is meant by `name`. Throws as `slotOfApp`. */
  visibleApp(caller: Caller, name: string): string {
    const principal = this.#authenticator.identify(caller);
    const app = this.#permits.meant(name, visibleTo(principal));
    if (app === undefined) throw this.notGranted(principal);
    return app;
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
    return (name) => mayUse(principal, action, this.#permits.publicName(name));
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

  /** See `Permits.notGranted`. */
  notGranted(principal: Principal, action?: Action, named?: string): ServiceError {
    return this.#permits.notGranted(principal, action, named);
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

  /** What the names in grants are now: every app, or public names. */
  #namesIn(names: ReadonlySet<string>): readonly string[] | "any" {
    if (names.has(ANY_APP)) return "any";
    if (![...names].some((name) => platformOf(name) !== undefined)) return [...names];
    const isWanted = (name: string) => includesApp(names, name);
    return [...new Set([...names, ...this.#directory.list({ limit: Infinity, isWanted })])];
  }
}
