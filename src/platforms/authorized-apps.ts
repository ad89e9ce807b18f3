import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, appName, type AppStore, nameOfApp, type Slot, type SlotName } from "../apps/app.ts";
import { type AuditAction, type AuditEntry, SERVICE } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import type { CredentialStore } from "../credentials/credential-store.ts";
import { ServiceError } from "../errors.ts";
import { type EventBus, failureFacts } from "../events.ts";
import { Secret } from "../secret.ts";
import { changedApp, factsOf, newApp, NO_SECRET, slotOf } from "./authorized-app.ts";
import {
  type AuthorizedAccount,
  type ExchangedCode,
  isLost,
  type PlatformProtocol,
} from "./platform-protocol.ts";

/** So often a change is made again that another process was in the way of. */
const MAX_ATTEMPTS = 5;

/**
 * Which refresh token WeChat says is valid: the one that is stored, another, which is stored by now, or none, because the
 * authorization has ended.
 */
export type Standing = "same" | "another" | "none";

/** What is known of an account that has authorized a platform. */
type GivenAccount = AuthorizedAccount &
  Partial<Pick<ExchangedCode, "token">> & { readonly isLate?: boolean; readonly isListed?: boolean };

/** What the apps of authorizations are kept with. */
export interface AuthorizedAppsParts {
  readonly store: Pick<AppStore, "create" | "update" | "remove" | "find" | "findSecret" | "exchangeSecret">;
  readonly credentials: Pick<CredentialStore, "clear">;
  readonly directory: Pick<AppDirectory, "forget">;
  /** Rereads the apps that any process has changed. */
  readonly refresh: () => Promise<void>;
  /** Called when the store has cleared an app's credentials: this process's cache must evict them too. */
  readonly onCleared: (app: App) => void;
  /** Undefined for a platform that has no authorizations. */
  readonly protocolOf: (platform: Slot) => PlatformProtocol | undefined;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Keeps an app for each account and corp that has authorized a third-party platform, as WeChat's and WeCom's word for it
 * comes: from codes, from events, from refusals and from their list (see `Reconciliation`).
 *
 * What an authorization was given with is never replaced by an older one: where two differ, WeChat says which one stands.
 */
export class AuthorizedApps {
  readonly #parts: AuthorizedAppsParts;

  constructor(parts: AuthorizedAppsParts) {
    this.#parts = parts;
  }

  /**
   * Creates or changes the app of an account that has authorized `platform`, `at` epoch milliseconds. Durable when it
   * resolves, with the app's public name. Where no token came with it, one may have been lost that ends the stored one.
   * `isLate` says that it was given a while ago: where there is no app, it may have been withdrawn since, which is asked.
   * `isListed` says that WeChat's list alone has it: where the app is as new by now, a code was faster.
   */
  async grant(platform: Slot, given: GivenAccount, at: number, signal: AbortSignal): Promise<string> {
    const name = await this.add(platform, given, at, signal);
    await this.#parts.refresh();
    return name;
  }

  /** As `grant`, and this process's copy of the apps follows. */
  async add(platform: Slot, given: GivenAccount, at: number, signal: AbortSignal): Promise<string> {
    const slot = slotOf(platform, given.account);
    const authorizedAt = at - (at % 1000);
    await this.#change(slot, async (app) => {
      if (!app?.authorization || !app.managed) {
        const told = given.isLate ? await this.#describeNew(platform, given, signal) : given;
        const created = newApp(platform, told, authorizedAt);
        await this.#parts.store.create(created, entryOf("authorization.granted", created, factsOf(created)));
        return created;
      }
      const isHere = app.authorization.lostAt === undefined && authorizedAt <= app.authorization.authorizedAt;
      if (given.isListed && isHere && !app.managed.isDamaged) return undefined;
      if (app.managed.isDamaged) {
        // What can't be read can't be compared; what it was given with is here anew.
        await this.#parts.store.remove(app, entryOf("authorization.revoked", app, { damaged: true }));
        return "again";
      }
      const held = await this.#parts.store.findSecret(slot);
      if (!held) return "again";
      const isOther = given.secret !== undefined && !held.secret.equals(given.secret);
      // What differs may be older than what is stored, or newer: only WeChat knows. What WeCom gave later is newer, and is
      // stored before it is asked anything: it is nowhere else.
      const isNewer = authorizedAt > app.authorization.authorizedAt;
      const isSure = isNewer && this.#parts.protocolOf(platform)?.tellsSecret === false;
      const isDoubtful = (isOther && !isSure) || app.authorization.authorizedAt > authorizedAt;
      const told = isDoubtful ? await this.#tell(platform, given, held.secret, signal) : given;
      const secret = told.secret ?? given.secret ?? held.secret;
      const changed = changedApp(app, told, {
        authorizedAt: Math.max(authorizedAt, app.authorization.authorizedAt),
        ...(app.authorization.lostAt === undefined ? {} : { since: authorizedAt }),
        lostAt: undefined,
      });
      const entry = entryOf("authorization.granted", app, factsOf(changed));
      await this.#parts.store.update({ ...changed, secret }, entry, held.version);
      const token = { slot, kind: "access_token" } as const;
      if (!given.token) await this.#parts.credentials.clear([{ name: token, isCurrent: true }]);
      return changed;
    });
    const name = appName(slot);
    this.#parts.events.emit({ type: "authorization.granted", app: name });
    return name;
  }

  /**
   * An account has withdrawn its authorization, `at` epoch milliseconds: its app is removed, and everything that came of it.
   * Who is told of it and asks finds nothing here.
   */
  async end(platform: Slot, account: string, at: number): Promise<void> {
    const slot = slotOf(platform, account);
    let ended: App | undefined;
    await this.#change(slot, async (app) => {
      // A late repetition says nothing of an authorization that was given since.
      if (!app?.authorization || app.authorization.authorizedAt > at) return undefined;
      await this.#parts.store.remove(app, entryOf("authorization.revoked", app, {}));
      return (ended = app);
    });
    if (!ended) return;
    const { directory, events } = this.#parts;
    directory.forget(ended);
    events.emit({ type: "authorization.revoked", app: appName(slot) });
  }

  /** WeChat has refused an authorization for good, when it was asked `at`: its app is closed until it is given again. */
  async lose(slot: SlotName, why: ServiceError, at: number, version?: number): Promise<void> {
    let isLostNow = false;
    await this.#change(slot, async (app) => {
      if (!app?.authorization || app.authorization.lostAt !== undefined) return undefined;
      if (app.authorization.authorizedAt > at) return undefined;
      // What was refused has been replaced since.
      if (version !== undefined && (await this.#parts.store.findSecret(slot))?.version !== version)
        return undefined;
      const changed = changedApp(app, undefined, { lostAt: this.#parts.clock.now() });
      const entry = entryOf("authorization.lost", app, { errcode: why.upstream?.errcode });
      await this.#parts.store.update(changed, entry);
      isLostNow = true;
      return changed;
    });
    if (!isLostNow) return;
    this.#parts.events.emit({ type: "authorization.lost", app: appName(slot), ...failureFacts(why) });
    await this.#parts.refresh();
  }

  /**
   * WeChat refuses an authorization, or its refresh token: asks it once more, and for the one that stands.
   *
   * https://developers.weixin.qq.com/doc/oplatform/openApi/authorization-management/api_getauthorizerinfo.html
   */
  async recover(platform: Slot, slot: Slot, signal: AbortSignal): Promise<Standing> {
    const { store } = this.#parts;
    const held = await store.findSecret(slot);
    const protocol = this.#parts.protocolOf(platform);
    if (!held || !protocol) return "none";
    try {
      const { secret } = await protocol.describe(platform, slot.appId, held.secret, signal);
      if (!secret) return "none";
      if (secret.equals(held.secret)) return "same";
      // Where another process was faster, its one is there.
      await store.exchangeSecret(slot, held.version, secret);
      return "another";
    } catch (error) {
      if (isLost(error)) return "none";
      throw error;
    }
  }

  /** Reads again what people call an account and what it allows. One that was thought lost and is not is good again. */
  async describe(platform: Slot, account: string, signal: AbortSignal): Promise<void> {
    const { store, protocolOf, clock } = this.#parts;
    const slot = slotOf(platform, account);
    const askedAt = clock.now();
    const held = await store.findSecret(slot);
    const protocol = protocolOf(platform);
    if (!held || !protocol) return;
    let told: AuthorizedAccount;
    try {
      told = await protocol.describe(platform, account, held.secret, signal);
    } catch (error) {
      if (!isLost(error)) throw error;
      return this.lose(slot, error, askedAt, held.version);
    }
    let isGoodAgain = false;
    await this.#change(slot, async (app) => {
      if (!app?.authorization) return undefined;
      const { lostAt } = app.authorization;
      isGoodAgain = lostAt !== undefined && lostAt <= askedAt && told.secret?.equals(held.secret) === true;
      const changed = changedApp(app, told, isGoodAgain ? { lostAt: undefined } : {});
      if (!isGoodAgain && JSON.stringify(factsOf(changed)) === JSON.stringify(factsOf(app))) return undefined;
      const action = isGoodAgain ? "authorization.granted" : "app.updated";
      await store.update(changed, entryOf(action, app, factsOf(changed)));
      return changed;
    });
    if (isGoodAgain) this.#parts.events.emit({ type: "authorization.granted", app: appName(slot) });
  }

  /** What WeChat says of an account now. */
  async tell(platform: Slot, account: string, signal: AbortSignal): Promise<AuthorizedAccount | undefined> {
    const held = await this.#parts.store.findSecret(slotOf(platform, account));
    const protocol = this.#parts.protocolOf(platform);
    return protocol?.describe(platform, account, held?.secret ?? NO_SECRET, signal);
  }

  /** Throws where the account has withdrawn its authorization by now. */
  async #describeNew(
    platform: Slot,
    given: AuthorizedAccount,
    signal: AbortSignal,
  ): Promise<AuthorizedAccount> {
    const { account, secret } = given;
    const told = await this.#parts
      .protocolOf(platform)
      ?.describe(platform, account, secret ?? NO_SECRET, signal);
    return { ...given, ...told, secret: told?.secret ?? secret };
  }

  /** What WeChat says is valid now. Throws while it can't be asked: what was given may be older than what is stored. */
  async #tell(
    platform: Slot,
    given: AuthorizedAccount,
    held: Secret,
    signal: AbortSignal,
  ): Promise<AuthorizedAccount> {
    const protocol = this.#parts.protocolOf(platform);
    try {
      return (await protocol?.describe(platform, given.account, given.secret ?? held, signal)) ?? given;
    } catch (error) {
      if (!(error instanceof ServiceError) || !isLost(error)) throw error;
      // WeCom is asked by what was given, and that is good no more.
      return { ...given, secret: held };
    }
  }

  /**
   * Makes a change of the app of that slot as it is stored, again where another process was in the way. `change` resolves
   * with what was changed, `undefined` for nothing. Other apps are not reread: they may be many.
   */
  async #change(
    slot: SlotName,
    change: (app: App | undefined) => Promise<App | "again" | undefined>,
  ): Promise<void> {
    const { store, onCleared } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      try {
        const changed = await change(await store.find(slot));
        if (changed === undefined) return;
        if (changed !== "again") return onCleared(changed);
      } catch (error) {
        if (attempt === MAX_ATTEMPTS || !isOvertaken(error)) throw error;
        continue;
      }
      if (attempt === MAX_ATTEMPTS) throw overtaken();
    }
  }
}

function entryOf(action: AuditAction, app: App, detail: Readonly<Record<string, unknown>>): AuditEntry {
  return { ...SERVICE, action, app: nameOfApp(app), outcome: "ok", tokenDigest: "", detail };
}

/** Whether another process has changed the app in between. */
function isOvertaken(error: unknown): boolean {
  return error instanceof ServiceError && (error.code === "conflict" || error.code === "precondition_failed");
}

function overtaken(): ServiceError {
  return new ServiceError(
    "unavailable",
    "其他进程正在更改该授权，请稍后重试 (other processes are changing this authorization: try again later)",
    { retryAfterMs: 1000 },
  );
}
