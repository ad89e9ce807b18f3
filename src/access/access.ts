import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type Slot, type SlotName } from "../apps/app.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import type { Platform, ServiceError } from "../errors.ts";
import { Admission, type MayUse, type TokenHolder } from "./admission.ts";
import { looksLikeApiKey } from "./api-key.ts";
import { isPathAllowed } from "./api-policy.ts";
import {
  type Caller,
  untrusted,
  forbidden,
  type Identity,
  markRefused,
  UNIDENTIFIED,
  notAllowedByPolicy,
  wrongSecret,
} from "./principal.ts";
import { CallerLimits } from "./limits.ts";
import type { ClientDirectory } from "./client-directory.ts";
import { type Action, ANY_APP } from "./client.ts";

const HOLDER: Identity = { client: "(app secret)", environment: "" };

/** What decides. */
export interface AccessParts {
  readonly directory: Pick<AppDirectory, "weixinSlot" | "wecomSlot" | "slotOfApp" | "namesOfCorp" | "find">;
  readonly clients: Pick<ClientDirectory, "keyOf" | "keyNamed" | "noteUse" | "isInUse">;
  readonly clock: Clock;
  /** Whether callers without key and secret are answered; undefined: until the first client exists. */
  readonly anonymous: boolean | undefined;
  /** Requests a second of one address without a key; 0 for no limit. */
  readonly anonymousPerSecond: number;
  /** Among how many processes each limit is divided. */
  readonly workers: number;
}

/**
 * Decides who asks and whether they may, once for all routes.
 *
 * A key makes the caller a client, with the client's grants. An app's own true secret makes it that secret's holder,
 * who may do everything with that app alone. Whoever has neither is anonymous, and must come from where anybody is
 * believed. Every refusal is marked on the caller, for the audit.
 */
export class Access {
  readonly #parts: AccessParts;
  readonly #admission: Admission;

  constructor(parts: AccessParts) {
    this.#parts = parts;
    this.#admission = new Admission({ ...parts, limits: new CallerLimits(parts) });
  }

  /**
   * Makes the caller the client whose key `text` is.
   *
   * @throws {ServiceError} `unauthorized`; `forbidden` from an address that is not the client's; `rate_limited`.
   */
  admitKey(caller: Caller, text: string): void {
    this.#admission.admitKey(caller, text);
  }

  /**
   * Makes the caller the client for whom a virtual token was made, if it still is one.
   *
   * False when that client is gone, was made anew or has expired, or its key is revoked, over or gone. A caller who is a
   * client already must be that one.
   *
   * @throws {ServiceError} `forbidden` beside another client's key, or from an address that is not the client's;
   *   `rate_limited`.
   */
  admitToken(caller: Caller, holder: TokenHolder): boolean {
    return this.#admission.admitToken(caller, holder);
  }

  /**
   * Lets in whoever holds a real access token of ours: a token that names nobody, so that the address stands for the
   * caller. Does nothing for a client. `isRejected`: the token was rejected by WeChat, and the caller is called so.
   *
   * @throws {ServiceError} `forbidden` for a dubious request; `rate_limited` by the address's limit.
   */
  admitBearer(caller: Caller, options: { readonly isRejected?: boolean } = {}): void {
    this.#admission.admitBearer(caller, options);
  }

  /**
   * Refuses a client whose policy does not allow `path`, as it is sent, on that platform. Who is no client may call any.
   *
   * @throws {ServiceError} `forbidden`, which names the policy and the path's family.
   */
  checkPath(caller: Caller, platform: Platform, path: string): void {
    const policy = caller.client?.client.policy;
    if (!policy || isPathAllowed(policy, platform, path)) return;
    throw markRefused(caller, notAllowedByPolicy(policy, path));
  }

  /**
   * The slot of a WeChat app that the caller means and may use for `action`.
   *
   * @throws {ServiceError} What `AppDirectory.weixinSlot` throws; `unauthorized`, `forbidden`, `rate_limited`, and
   *   WeChat's own refusal of a secret that is not known and may not be tried.
   */
  weixinSlot(caller: Caller, action: Action, appId: string, secret?: string): Slot {
    const { directory } = this.#parts;
    return this.#choose(caller, action, secret, {
      bySecret: (given) => directory.weixinSlot(appId, given),
      byGrant: (mayUse) => {
        if (!mayUse(appId)) throw this.notGranted(caller, action);
        return directory.weixinSlot(appId);
      },
    });
  }

  /** As `weixinSlot`, for all slots of the app together when no secret of an app is given: then undefined. */
  weixinScope(caller: Caller, action: Action, appId: string, secret?: string): SlotName | undefined {
    return this.#choose(caller, action, secret, {
      bySecret: (given) => this.#parts.directory.weixinSlot(appId, given),
      byGrant: (mayUse) => {
        if (!mayUse(appId)) throw this.notGranted(caller, action);
        caller.use = { action, app: this.#knownName(appId) };
        return undefined;
      },
    });
  }

  /** As `weixinSlot`, for a WeCom application. Who may use one application of the corp alone means that one. */
  wecomSlot(caller: Caller, action: Action, corpId: string, secret?: string, agent?: string): Slot {
    const { directory } = this.#parts;
    return this.#choose(caller, action, secret, {
      bySecret: (given) => directory.wecomSlot(corpId, given, agent),
      byGrant: (mayUse) => this.#grantedAgent(caller, action, corpId, agent, mayUse),
    });
  }

  /**
   * As `wecomSlot`, where the application need not be configured. Undefined for all slots of the corp, for whoever names
   * none and may use all.
   */
  wecomScope(
    caller: Caller,
    action: Action,
    corpId: string,
    secret?: string,
    agent?: string,
  ): SlotName | undefined {
    return this.#choose<SlotName | undefined>(caller, action, secret, {
      bySecret: (given) => this.#parts.directory.wecomSlot(corpId, given, agent),
      byGrant: (mayUse) => {
        if (agent === undefined && !mayUse(ANY_APP))
          return this.#grantedAgent(caller, action, corpId, agent, mayUse);
        const app = agent === undefined ? corpId : `${corpId}_${agent}`;
        if (agent !== undefined && !mayUse(app)) throw this.notGranted(caller, action);
        caller.use = { action, app: this.#knownName(app) };
        return agent === undefined ? undefined : { platform: "wecom", appId: corpId, name: agent };
      },
    });
  }

  /**
   * The slot of a configured app by its public name.
   *
   * @throws {ServiceError} `not_found`, `unauthorized`, `forbidden` or `rate_limited`.
   */
  slotOfApp(caller: Caller, action: Action, name: string): Slot {
    const mayUse = this.#admission.identify(caller, action);
    if (!mayUse(name)) throw this.notGranted(caller, action);
    return this.#allow(caller, action, this.#parts.directory.slotOfApp(name));
  }

  /** The slot of whoever holds an access token of it, for `action`: a client by its grants, anybody else for everything. */
  slotOfToken(caller: Caller, action: Action, slot: Slot): Slot {
    if (caller.client && !this.#admission.identify(caller, action)(appName(slot)))
      throw this.notGranted(caller, action);
    return this.#allow(caller, action, slot);
  }

  /** Lets in a client, and whoever comes from where anybody is believed, whether anonymous callers are answered or not. */
  admitTrusted(caller: Caller): void {
    this.#admission.admitTrusted(caller);
  }

  /** Counts an attempt of whoever is no client against its address's limit. Throws `rate_limited`. */
  countAttempt(caller: Caller): void {
    if (!caller.client) this.#admission.limitAddress(caller);
  }

  /** Which apps, by their public names, the caller may see: those that it may do anything with. */
  visibleApps(caller: Caller): (name: string) => boolean {
    const { client } = caller;
    this.#admission.identify(caller, "token:read");
    if (!client || client.isAdmin) return () => true;
    const { grants } = client.client;
    return (name) => grants.some(({ apps }) => apps.includes(ANY_APP) || apps.includes(name));
  }

  /**
   * Who the caller is, if it may manage this service.
   *
   * @throws {ServiceError} `unauthorized` or `forbidden`.
   */
  admin(caller: Caller): AuditActor {
    const mayUse = this.#admission.identify(caller, "admin");
    if (!mayUse(ANY_APP)) throw markRefused(caller, forbidden("需要管理员权限", "needs an administrator"));
    return actorOf(caller);
  }

  /** The refusal of what is granted to others alone. */
  notGranted(caller: Caller, action?: Action): ServiceError {
    return markRefused(
      caller,
      forbidden(
        `该客户端没有此权限${action === undefined ? "" : `：${action}`}`,
        `not granted to this client${action === undefined ? "" : ` for this app: ${action}`}`,
      ),
    );
  }

  /** Whether the caller has shown no key and comes from where nobody is believed. An app's secret may still tell more. */
  isUntrusted({ client, isLocal, untrustedReason }: Caller): boolean {
    return !client && !isLocal && untrustedReason !== undefined;
  }

  /** The refusal of a stranger. */
  untrustedError(caller: Caller): ServiceError {
    return markRefused(caller, untrusted(caller.untrustedReason ?? ""));
  }

  #choose<T extends SlotName | undefined>(
    caller: Caller,
    action: Action,
    secret: string | undefined,
    ways: {
      readonly bySecret: (secret: string) => Slot;
      readonly byGrant: (mayUse: MayUse) => T;
    },
  ): T | Slot {
    // A key in a header beats one in the place of the secret.
    const isKey = secret !== undefined && looksLikeApiKey(secret);
    const isAdmitted =
      isKey && (caller.client !== undefined || this.#admission.admitKnownKey(caller, secret));
    if (secret !== undefined && !isAdmitted) {
      const slot = ways.bySecret(secret);
      if (slot.configured) return this.#allowHolder(caller, action, slot);
      if (!isKey) return this.#allowTrial(caller, action, slot);
      this.admitKey(caller, secret);
    }
    const chosen = ways.byGrant(this.#admission.identify(caller, action));
    return chosen && "configured" in chosen ? this.#allow(caller, action, chosen as Slot) : chosen;
  }

  #grantedAgent(
    caller: Caller,
    action: Action,
    corpId: string,
    agent: string | undefined,
    mayUse: MayUse,
  ): Slot {
    const { directory } = this.#parts;
    if (agent !== undefined && !mayUse(`${corpId}_${agent}`)) throw this.notGranted(caller, action);
    if (agent !== undefined || mayUse(ANY_APP)) return directory.wecomSlot(corpId, undefined, agent);
    const [only, another] = directory.namesOfCorp(corpId).filter(mayUse);
    // Whether there are other applications is nobody's business who may not use them.
    if (only === undefined) throw this.notGranted(caller, action);
    return another === undefined ? directory.slotOfApp(only) : directory.wecomSlot(corpId);
  }

  /** Whoever brings the app's true secret, from wherever: a client by its grants, anybody else as the secret's holder. */
  #allowHolder(caller: Caller, action: Action, slot: Slot): Slot {
    if (caller.client || caller.isLocal) {
      if (!this.#admission.identify(caller, action)(appName(slot))) throw this.notGranted(caller, action);
    } else {
      caller.identity = HOLDER;
      this.#admission.limitAddress(caller);
    }
    return this.#allow(caller, action, slot);
  }

  /** A secret that we don't know may cost an upstream call only where the caller could do worse anyway. */
  #allowTrial(caller: Caller, action: Action, slot: Slot): Slot {
    const isBelieved = caller.client
      ? caller.client.isAdmin
      : caller.isLocal || (caller.untrustedReason === undefined && this.#admission.isAnonymousOn);
    if (!isBelieved) return this.#admission.refuseWrong(caller, wrongSecret(slot.platform));
    this.#admission.identify(caller, action);
    return this.#allow(caller, action, slot);
  }

  #allow(caller: Caller, action: Action, slot: Slot): Slot {
    if (slot.isDisabled)
      throw markRefused(
        caller,
        forbidden(
          "该应用已停用，或其secret已损坏、须重新设置",
          "this app is disabled, or its secret is damaged and must be set again",
        ),
      );
    caller.use = { action, app: appName(slot) };
    return slot;
  }

  /** What the caller calls an app or a corp, if we know it: what else is sent in a name's place is nothing to be kept. */
  #knownName(name: string): string {
    const { directory } = this.#parts;
    return directory.find(name) || directory.namesOfCorp(name).length > 0 ? name : ANY_APP;
  }
}

/** Who the caller turned out to be, for the audit. */
export function actorOf({ identity = UNIDENTIFIED, address, traceId }: Caller): AuditActor {
  return { ...identity, address, traceId };
}

/**
 * Who counts as one caller, say who may repeat a user's code and be told the same: a client wherever it asks from, anybody
 * else from one address.
 */
export function callerKey(caller: Caller): string {
  const { client } = caller;
  // The address is looked up when somebody asks for it, which costs something.
  return client ? `client ${client.client.name}` : caller.address;
}
