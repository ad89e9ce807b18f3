import { type AppAdministration, stillAuthorized } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, nameOfApp, type PlatformRole } from "../apps/app.ts";
import type { AuditActor } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { Secret } from "../secret.ts";

/** A third-party platform as somebody enters it. */
export interface PlatformEntry {
  readonly role: PlatformRole;
  /** The component's AppID, the suite's id, or the provider's CorpID. */
  readonly id: string;
  readonly secret: Secret;
  readonly title?: string | undefined;
  /** Of a suite: the CorpID of its provider. */
  readonly provider?: string | undefined;
}

/** What an administrator may change of a platform. */
export interface PlatformChange {
  /** Null for none. */
  readonly title?: string | null;
  readonly secret?: Secret;
  readonly isDisabled?: boolean;
}

/** Registers, changes and removes third-party platforms: they are apps, with ids and rules of their own. */
export class PlatformAdministration {
  readonly #apps: Pick<AppAdministration, "create" | "update" | "remove" | "refresh">;
  readonly #directory: Pick<AppDirectory, "find" | "authorizedTo">;
  readonly #clock: Clock;

  constructor(
    apps: Pick<AppAdministration, "create" | "update" | "remove" | "refresh">,
    directory: Pick<AppDirectory, "find" | "authorizedTo">,
    clock: Clock,
  ) {
    this.#apps = apps;
    this.#directory = directory;
    this.#clock = clock;
  }

  /**
   * Registers a platform. Its secret is not verified: no platform's can be before a ticket was pushed. False when the
   * same platform exists already.
   *
   * @throws {ServiceError} `invalid_parameter` for an id that can't be one; `conflict` where the id is another app's.
   */
  async create({ role, id, secret, title, provider }: PlatformEntry, actor: AuditActor): Promise<boolean> {
    const fault = faultOf({ role, id, provider });
    if (fault !== undefined) throw new ServiceError("invalid_parameter", fault);
    const current = this.#directory.find(id);
    if (current && nameOfApp(current) === id && current.role !== role) throw idTaken(current);
    const managed = { title, isDisabled: false, version: 0 };
    const common = { id, role, secret, managed, addedAt: this.#clock.now() };
    const app: App =
      role === "component"
        ? { platform: "weixin", tokenMode: "stable", ...common }
        : { platform: "wecom", agent: `@${role}`, provider, ...common };
    return this.#apps.create(app, { isVerified: false, actor });
  }

  /** Changes a platform. With `version`, only that version. Throws `not_found`, `precondition_failed`. */
  async update(
    id: string,
    change: PlatformChange,
    { version, actor }: { readonly version: number | undefined; readonly actor: AuditActor },
  ): Promise<void> {
    this.get(id);
    await this.#apps.update(id, change, { version, isVerified: false, actor });
  }

  /**
   * Removes a platform, and with `hasAuthorizations` every account that it has; what was issued to them is cleared.
   *
   * @throws {ServiceError} `not_found`, `precondition_failed`; `conflict` while it has accounts.
   */
  async remove(
    id: string,
    options: {
      readonly version: number | undefined;
      readonly hasAuthorizations: boolean;
      readonly actor: AuditActor;
    },
  ): Promise<void> {
    const { managed } = this.get(id);
    const { version = managed?.version, actor } = options;
    const accounts = this.#directory.authorizedTo(id);
    if (accounts.length > 0 && !options.hasAuthorizations) throw stillAuthorized();
    if (version === managed?.version)
      for (const account of accounts)
        await this.#apps.remove(nameOfApp(account), {
          ...{ version: account.managed?.version, actor, withPlatform: true },
        });
    await this.#apps.remove(id, { version, actor });
  }

  /** The platform of that id. Throws `not_found`. */
  get(id: string): App {
    const app = this.#directory.find(id);
    if (app?.role) return app;
    throw new ServiceError(
      "not_found",
      app
        ? "该应用不是第三方平台 (this app is no third-party platform)"
        : "没有该第三方平台，请先执行 accesstoken platforms add (no such platform: run accesstoken platforms add first)",
    );
  }
}

const APP_ID = /^wx[0-9a-f]{16}$/;
const CORP_ID = /^w[wx][0-9A-Za-z]{8,62}$/;
const SUITE_ID = /^(?:ww|wx|tj|dk)[0-9A-Za-z]{8,62}$/;

/** What is wrong with the ids of a platform that is being entered; undefined where nothing is. */
export function faultOf({
  role,
  id,
  provider,
}: Pick<PlatformEntry, "role" | "id" | "provider">): string | undefined {
  if (role !== "suite" && provider !== undefined)
    return "provider仅用于企业微信的suite (provider is for a WeCom suite only)";
  if (role === "component") {
    if (APP_ID.test(id)) return undefined;
    if (/^(?:ww|dk|tj)/i.test(id))
      return "这像是企业微信的suite_id或corpid；微信第三方平台的AppID为wx加16位小写十六进制字符 (this looks like a suite_id or a CorpID of WeCom: the AppID of WeChat's platform is wx and 16 lower-case hex digits)";
    return "第三方平台的AppID应为wx加16位小写十六进制字符，请在微信开放平台的第三方平台详情页复制 (a platform's AppID is wx and 16 lower-case hex digits: copy it from its page on WeChat's open platform)";
  }
  if (role === "provider")
    return CORP_ID.test(id)
      ? undefined
      : "服务商的corpid应以小写的ww或wx开头，请在服务商管理后台复制 (a provider's CorpID begins with ww or wx, in lower case: copy it from the provider's console)";
  if (!SUITE_ID.test(id))
    return "suite_id应以ww、wx或tj开头，代开发模板以dk开头，请在服务商管理后台复制 (a suite_id begins with ww, wx or tj, that of a template of agency apps with dk: copy it from the provider's console)";
  if (provider === undefined)
    return "缺少服务商的corpid：请给出provider（命令行为 --provider） (the provider's CorpID is missing: give provider, on the command line --provider)";
  if (!CORP_ID.test(provider))
    return "provider应为服务商的corpid，以小写的ww或wx开头 (provider must be the provider's CorpID, which begins with ww or wx, in lower case)";
  return provider === id
    ? "provider应为服务商的corpid，而不是suite_id (provider must be the provider's CorpID, not the suite_id)"
    : undefined;
}

function idTaken({ role }: App): ServiceError {
  const [chinese, english] = role
    ? ["另一种第三方平台", "a platform of another kind"]
    : ["一个应用", "an app"];
  return new ServiceError(
    "conflict",
    `该id已登记为${chinese}，请先删除或核对id (the id is registered as ${english}: remove that first, or check the id)`,
  );
}
