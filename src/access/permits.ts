import { type AppDirectory, severalPlatforms } from "../apps/app-directory.ts";
import { appName, nameOfApp, roleOf, type Slot } from "../apps/app.ts";
import type { Identity } from "../audit/audit-entry.ts";
import { ServiceError } from "../errors.ts";
import { type Action, ANY_APP, includesApp } from "./client.ts";
import { mayUse } from "./authenticator.ts";
import { denied, forbidden, keyMissing, type Principal } from "./principal.ts";

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

/** Says what a principal may do with a slot, and how a refusal names the app. */
export class Permits {
  readonly #directory: Pick<AppDirectory, "find" | "namesOf" | "namesOfCorp">;

  constructor(directory: Pick<AppDirectory, "find" | "namesOf" | "namesOfCorp">) {
    this.#directory = directory;
  }

  /** A permit for a slot, whose app is granted. Throws `forbidden`, `unauthorized`, `invalid_parameter`. */
  allow(principal: Principal, action: Action, slot: Slot): Permit {
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
    return permitted(principal, action, slot.configured ? name : this.#knownName(name), slot);
  }

  /** A permit for what need not be configured: `named` is the app or corp, `slot` undefined for all slots of it. */
  scope<S>(principal: Principal, action: Action, named: string, slot: S): Permit<S> {
    return permitted(principal, action, this.#knownName(named), slot);
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

  /** As `meant`, by the apps that `principal` may do `action` with; throws `notGranted` where there is none. */
  granted(principal: Principal, action: Action, named: string): string {
    const app = this.meant(named, (name) => mayUse(principal, action, name));
    if (app === undefined) throw this.notGranted(principal, action, named);
    return app;
  }

  /**
   * The public name of the app that is meant; by an AppID of several, the only one that is granted.
   *
   * @throws {ServiceError} `invalid_parameter` where several are.
   */
  meant(named: string, isGranted: (name: string) => boolean): string | undefined {
    const known = this.#directory.find(named);
    const name = known ? nameOfApp(known) : named;
    if (known && isGranted(name)) return name;
    const all = this.#directory.namesOf("weixin", named);
    const own = all.filter(isGranted);
    // Which platforms have it besides is not for a caller that may not use them.
    if (own.length > 1) throw severalPlatforms(own);
    return own[0] ?? (all.length === 0 && isGranted(name) ? name : undefined);
  }

  /** Grants go by public names; callers may name an account of a platform by its AppID alone. */
  publicName(name: string): string {
    const app = this.#directory.find(name);
    return app ? nameOfApp(app) : name;
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

/** Which apps, by their public names, `principal` may see: those that it may do anything with. */
export function visibleTo(principal: Principal): (name: string) => boolean {
  if (principal.kind !== "client" || principal.owner.isAdmin) return () => true;
  const names = new Set(principal.owner.client.grants.flatMap(({ apps }) => apps));
  return (name) => includesApp(names, name);
}

function permitted<S>(principal: Principal, action: string, app: string, slot: S): Permit<S> {
  return { slot, principal, usage: { identity: principal.identity, action, app } };
}

/** An app without credentials: nothing is asked of WeChat for it, and nothing is wrong with it. */
function onlyLogins(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "该应用仅用于网页登录，没有access_token和ticket (this app is for web logins only: it has no access token and no tickets)",
  );
}
