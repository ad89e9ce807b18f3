import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type Slot, type SlotName } from "../apps/slot.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import type { ServiceError } from "../errors.ts";
import { isWellFormedApiKey, looksLikeApiKey } from "./api-key.ts";
import type { Caller, Identity } from "./caller.ts";
import type { ClientDirectory } from "./client-directory.ts";
import { type Action, allows, ANY_APP } from "./grant.ts";
import { callerNetwork } from "./networks.ts";
import { distrusted, forbidden, tooMany, unauthorized, wrongSecret } from "./refusals.ts";
import { type BucketSize, TokenBuckets } from "./token-buckets.ts";

const ANONYMOUS: Identity = { client: "(anonymous)", environment: "" };
const HOLDER: Identity = { client: "(app secret)", environment: "" };
const LOCAL: Identity = { client: "(command line)", environment: "" };
const NOBODY: Identity = { client: "", environment: "" };

/** What a caller may try wrongly in a minute. */
const WRONG_A_MINUTE = 20;
/** For so many seconds' worth of requests a caller may come all at once. */
const ANONYMOUS_BURST_SECONDS = 10;

/** What decides. */
export interface AccessParts {
  readonly directory: Pick<AppDirectory, "weixinSlot" | "wecomSlot" | "slotOfApp" | "namesOfCorp" | "find">;
  readonly clients: Pick<ClientDirectory, "keyOf" | "noteUse" | "isInUse">;
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
  readonly #requests: TokenBuckets;
  readonly #wrong: TokenBuckets;

  constructor(parts: AccessParts) {
    this.#parts = parts;
    this.#requests = new TokenBuckets(parts.clock);
    this.#wrong = new TokenBuckets(parts.clock);
  }

  /**
   * Makes the caller the client whose key `text` is.
   *
   * @throws {ServiceError} `unauthorized`; `forbidden` from an address that is not the client's; `rate_limited`.
   */
  admitKey(caller: Caller, text: string): void {
    const { clients, clock } = this.#parts;
    const known = isWellFormedApiKey(text) ? clients.keyOf(text) : undefined;
    if (!known) return this.#refuseWrong(caller, unauthorized("无效的API密钥", "no such API key"));
    const { key, owner } = known;
    const now = clock.now();
    caller.identity = owner.identity;
    if (key.revokedAt !== undefined)
      return this.#refuseWrong(caller, unauthorized("API密钥已吊销", "the API key is revoked"));
    if (isOver(key.expiresAt, now))
      return this.#refuseWrong(caller, unauthorized("API密钥已过期", "the API key has expired"));
    if (isOver(owner.client.expiresAt, now))
      return this.#refuseWrong(caller, unauthorized("客户端已过期", "the client has expired"));
    if (owner.networks && caller.isDubious) throw this.#refused(caller, distrusted(caller.distrust ?? ""));
    if (owner.networks && !owner.networks.includes(caller.address))
      throw this.#refused(
        caller,
        forbidden("来源地址不在该客户端的允许范围内", "the address is not one of the client's"),
      );
    const { rateLimit } = owner.client;
    if (rateLimit !== undefined) this.#limit(caller, `client ${owner.client.name}`, rateLimit, rateLimit);
    clients.noteUse(key);
    caller.client = owner;
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
    const mayUse = this.#identify(caller, action);
    if (!mayUse(name)) throw this.notGranted(caller, action);
    return this.#allow(caller, action, this.#parts.directory.slotOfApp(name));
  }

  /** Which apps, by their public names, the caller may see: those that it may do anything with. */
  visibleApps(caller: Caller): (name: string) => boolean {
    const { client } = caller;
    this.#identify(caller, "token:read");
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
    const mayUse = this.#identify(caller, "admin");
    if (!mayUse(ANY_APP)) throw this.#refused(caller, forbidden("需要管理员权限", "needs an administrator"));
    return actorOf(caller);
  }

  /** The refusal of what is granted to others alone. */
  notGranted(caller: Caller, action?: Action): ServiceError {
    return this.#refused(
      caller,
      forbidden(
        `该客户端没有此权限${action === undefined ? "" : `：${action}`}`,
        `not granted to this client${action === undefined ? "" : ` for this app: ${action}`}`,
      ),
    );
  }

  /** Whether the caller has shown no key and comes from where nobody is believed. An app's secret may still tell more. */
  isStranger({ client, isLocal, distrust }: Caller): boolean {
    return !client && !isLocal && distrust !== undefined;
  }

  /** The refusal of a stranger. */
  strangeness(caller: Caller): ServiceError {
    return this.#refused(caller, distrusted(caller.distrust ?? ""));
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
    if (secret !== undefined && !(caller.client && looksLikeApiKey(secret))) {
      const slot = ways.bySecret(secret);
      if (slot.configured) return this.#allowHolder(caller, action, slot);
      if (!looksLikeApiKey(secret)) return this.#allowTrial(caller, action, slot);
      this.admitKey(caller, secret);
    }
    const chosen = ways.byGrant(this.#identify(caller, action));
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
      if (!this.#identify(caller, action)(appName(slot))) throw this.notGranted(caller, action);
    } else {
      caller.identity = HOLDER;
      this.#limitAddress(caller);
    }
    return this.#allow(caller, action, slot);
  }

  /** A secret that we don't know may cost an upstream call only where the caller could do worse anyway. */
  #allowTrial(caller: Caller, action: Action, slot: Slot): Slot {
    const isBelieved = caller.client
      ? caller.client.isAdmin
      : caller.isLocal || (caller.distrust === undefined && this.#isAnonymousOn());
    if (!isBelieved) return this.#refuseWrong(caller, wrongSecret(slot.platform));
    this.#identify(caller, action);
    return this.#allow(caller, action, slot);
  }

  /** Who asks, when no secret tells, and what it may use for `action`. Throws when it is nobody who is answered. */
  #identify(caller: Caller, action: Action): MayUse {
    if (caller.client) {
      const { grants } = caller.client.client;
      return (app) => allows(grants, action, app);
    }
    if (caller.isLocal) {
      caller.identity = LOCAL;
      return () => true;
    }
    if (caller.distrust !== undefined) throw this.#refused(caller, distrusted(caller.distrust));
    if (!this.#isAnonymousOn())
      throw this.#refused(
        caller,
        unauthorized("缺少API密钥", "no API key: send it as Authorization: Bearer, X-API-Key or secret"),
      );
    caller.identity ??= ANONYMOUS;
    this.#limitAddress(caller);
    return () => action !== "admin";
  }

  #allow(caller: Caller, action: Action, slot: Slot): Slot {
    if (slot.isDisabled)
      throw this.#refused(
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

  #isAnonymousOn(): boolean {
    const { anonymous, clients } = this.#parts;
    return anonymous ?? !clients.isInUse;
  }

  #limitAddress(caller: Caller): void {
    const { anonymousPerSecond } = this.#parts;
    if (anonymousPerSecond === 0) return;
    const burst = anonymousPerSecond * ANONYMOUS_BURST_SECONDS;
    this.#limit(caller, callerNetwork(caller.address), anonymousPerSecond, burst);
  }

  #limit(caller: Caller, bucket: string, perSecond: number, burst: number): void {
    const waitMs = this.#requests.take(bucket, this.#share(perSecond, burst));
    if (waitMs > 0) throw this.#refused(caller, tooMany("请求过于频繁", "too many requests", waitMs));
  }

  /** Refuses who came with something wrong; and says no more than that it was too often, when it was. */
  #refuseWrong(caller: Caller, error: ServiceError): never {
    const waitMs = this.#wrong.take(
      callerNetwork(caller.address),
      this.#share(WRONG_A_MINUTE / 60, WRONG_A_MINUTE),
    );
    const tooOften = () => tooMany("密钥或secret错误次数过多", "too many wrong keys or secrets", waitMs);
    throw this.#refused(caller, waitMs > 0 ? tooOften() : error);
  }

  #share(perSecond: number, burst: number): BucketSize {
    const { workers } = this.#parts;
    return { perSecond: perSecond / workers, burst: Math.max(1, burst / workers) };
  }

  #refused(caller: Caller, error: ServiceError): ServiceError {
    caller.identity ??= NOBODY;
    caller.isRefused = true;
    return error;
  }
}

type MayUse = (app: string) => boolean;

/** Who the caller turned out to be, for the audit. */
export function actorOf({ identity = NOBODY, address, traceId }: Caller): AuditActor {
  return { ...identity, address, traceId };
}

/** Who may repeat a user's code and be told the same: a client wherever it asks from, anybody else from one address. */
export function repeaterOf({ client, address }: Caller): string {
  return client ? `client ${client.client.name}` : address;
}

function isOver(endsAt: number | undefined, now: number): boolean {
  return endsAt !== undefined && endsAt <= now;
}
