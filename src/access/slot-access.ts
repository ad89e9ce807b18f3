import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, ownSlotOf, type Slot, type SlotName } from "../apps/app.ts";
import { type Platform, ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { looksLikeApiKey } from "./api-key.ts";
import { type Authenticator, mayUse } from "./authenticator.ts";
import { type Action, ANY_APP } from "./client.ts";
import { type Permit, type Permits, visibleTo } from "./permits.ts";
import { browserRefused, type Caller, denied, type Principal, wrongSecret } from "./principal.ts";

/** So many apps a hint names. */
const MAX_HINTED = 10;

/** What chooses among the apps. */
export interface SlotAccessParts {
  readonly directory: Pick<
    AppDirectory,
    | "weixinSlot"
    | "wecomSlot"
    | "platformSlot"
    | "foreignSlot"
    | "slotOfApp"
    | "namesOfCorp"
    | "find"
    | "list"
  >;
  readonly authenticator: Authenticator;
  readonly permits: Permits;
}

/** Decides which app's slot a caller means by what it sent, and whether it may use it: by a secret, or by its grants. */
export class SlotAccess {
  readonly #directory: SlotAccessParts["directory"];
  readonly #authenticator: Authenticator;
  readonly #permits: Permits;

  constructor({ directory, authenticator, permits }: SlotAccessParts) {
    this.#directory = directory;
    this.#authenticator = authenticator;
    this.#permits = permits;
  }

  /**
   * The slot of a WeChat app that the caller means and may use for `action`.
   *
   * @throws {ServiceError} What `AppDirectory.weixinSlot` throws; `unauthorized`, also in WeChat's own words for a secret
   *   that is not ours and may not be tried; `forbidden`, `rate_limited`.
   */
  weixin(caller: Caller, action: Action, appId: string, secret?: string): Permit {
    return this.#choose<Slot>(caller, action, secret, {
      bySecret: (given) => this.#directory.weixinSlot(appId, given),
      byGrant: (principal) => {
        const name = this.#permits.granted(principal, action, appId);
        return this.#permits.allow(principal, action, this.#directory.weixinSlot(name));
      },
    });
  }

  /**
   * As `weixin`, for all slots of the app together when no secret of an app is given: then without a slot. An account
   * that a platform has is an app of its own, with one slot.
   *
   * It is for changes by GET, which a foreign page can have a visitor's browser make: a browser needs a key or a secret.
   */
  weixinScope(caller: Caller, action: Action, appId: string, secret?: string): Permit<SlotName | undefined> {
    return this.#choose<SlotName | undefined>(caller, action, secret, {
      bySecret: (given) => this.#directory.weixinSlot(appId, given),
      byGrant: (principal) => {
        refuseBrowser(principal, caller);
        const name = this.#permits.granted(principal, action, appId);
        const app = this.#directory.find(name);
        const slot = app?.authorization ? ownSlotOf(app) : undefined;
        return this.#permits.scope(principal, action, name, slot);
      },
    });
  }

  /** As `weixin`, for a WeCom application. A client that may use one application of the corp alone means that one. */
  wecom(caller: Caller, action: Action, corpId: string, secret?: string, agent?: string): Permit {
    return this.#choose<Slot>(caller, action, secret, {
      bySecret: (given) => this.#directory.wecomSlot(corpId, given, agent),
      byGrant: (principal) => this.#grantedAgent(principal, action, corpId, agent),
    });
  }

  /**
   * As `wecom`, where the application need not be configured. Without a slot for all slots of the corp, for a
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
          throw this.#permits.notGranted(principal, action, app);
        const slot =
          agent === undefined ? undefined : { platform: "wecom" as const, appId: corpId, name: agent };
        return this.#permits.scope(principal, action, app, slot);
      },
    });
  }

  /**
   * The slot of a third-party platform by its id. A secret must be its own, or a key: no other is ever tried.
   *
   * @throws {ServiceError} `not_found` when we hold no such platform; else as `weixin`.
   */
  platform(caller: Caller, action: Action, platform: Platform, id: string, secret?: string): Permit {
    const slot = this.#directory.platformSlot(id);
    return this.#choose<Slot>(caller, action, secret, {
      isTried: false,
      bySecret: (given) => {
        const sent = new Secret(given);
        return slot?.secret.equals(sent) ? slot : this.#directory.foreignSlot(platform, id, sent);
      },
      byGrant: (principal) => {
        if (!mayUse(principal, action, id)) throw this.#permits.notGranted(principal, action, id);
        if (slot) return this.#permits.allow(principal, action, slot);
        throw new ServiceError("not_found", "没有该第三方平台 (no such third-party platform)");
      },
    });
  }

  /**
   * Refuses a caller that neither headers nor network identify, unless `secret` is an API key or `appId`'s own: before
   * anything else of its body is looked at. Counts nothing but a wrong secret.
   *
   * @throws {ServiceError} As `weixin`.
   */
  checkSecret(caller: Caller, appId: unknown, secret: unknown): void {
    const authenticator = this.#authenticator;
    if (typeof secret !== "string") return void authenticator.recognize(caller);
    if (authenticator.isRecognized(caller) || authenticator.isKey(secret)) return;
    const id = typeof appId === "string" ? appId : "";
    if (!this.#directory.weixinSlot(id, secret).configured) this.weixin(caller, "login", id, secret);
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
      throw this.#permits.notGranted(principal, action, `${corpId}_${agent}`);
    const [only, another] = agent === undefined ? directory.namesOfCorp(corpId).filter(isGranted) : [];
    if (principal.kind === "client" && another !== undefined) throw agentMissing();
    if (agent !== undefined || isGranted(ANY_APP))
      return this.#permits.allow(principal, action, directory.wecomSlot(corpId, undefined, agent));
    // Whether there are other applications is not for a caller that may not use them.
    if (only === undefined) throw this.#permits.notGranted(principal, action, corpId);
    return this.#permits.allow(principal, action, directory.slotOfApp(only));
  }

  /** For the app's own secret, from any address: a client by its grants, any other caller as the secret's holder. */
  #allowHolder(caller: Caller, action: Action, slot: Slot): Permit {
    const principal = this.#authenticator.secretHolder(caller);
    if (principal.kind === "client" && !mayUse(principal, action, appName(slot)))
      throw this.#permits.notGranted(principal, action, appName(slot));
    return this.#permits.allow(principal, action, slot);
  }

  /** A secret that we don't hold may cost an upstream call only where the caller could do worse anyway. */
  #allowTrial(caller: Caller, action: Action, slot: Slot): Permit {
    const { principal, origin } = caller;
    const isTrusted =
      principal.kind === "client" ? principal.owner.isAdmin : this.#authenticator.isRecognized(caller);
    if (!isTrusted) throw this.#authenticator.wrong(principal, origin, wrongSecret(slot.platform));
    return this.#permits.allow(this.#authenticator.identify(caller), action, slot);
  }
}

/** A client whose key leaves open which application of the corp is meant: it needs no secret. */
function agentMissing(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "缺少agentid参数：该密钥可用于该corpid的多个应用，请用agentid指明 (the key may use several applications of the corp: send agentid)",
  );
}

function refuseBrowser(principal: Principal, { origin }: Caller): void {
  if (principal.kind === "anonymous" && origin.isBrowser) throw denied(principal, browserRefused());
}
