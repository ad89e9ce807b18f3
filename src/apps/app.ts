import type { Secret } from "../secret.ts";
import type { Platform } from "../errors.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";

/**
 * How a WeChat app's access token is fetched.
 *
 * `stable` repeats the same token until its last five minutes; `classic` makes a new one each time and revokes the
 * one before the last. Their tokens are separate: one mode never affects the other.
 */
export type TokenMode = "stable" | "classic";

/** The additional fields of an app that an administrator has registered. */
export interface Management {
  /** What people call it. */
  readonly title: string | undefined;
  readonly isDisabled: boolean;
  /** Whether its stored secret can't be decrypted any more: the app is unusable until it has a new one. */
  readonly isDamaged?: boolean;
  /** Whether it is a website application (网站应用), which logs users in and has no access token. */
  readonly isLoginOnly?: boolean;
  /** Hosts whose pages may use the JS-SDK, as WeChat's console has them; empty where nobody said. */
  readonly jsDomains?: readonly string[];
  /** The origin in the URLs that WeChat is given for it; undefined for `PUBLIC_URL`. */
  readonly publicUrl?: string | undefined;
  /** Grows with each change. */
  readonly version: number;
}

/**
 * What an app is of a third-party platform: WeChat's component, a WeCom suite (a third-party app, or the template of agency
 * apps), or a WeCom service provider (服务商).
 */
export const PLATFORM_ROLES = ["component", "suite", "provider"] as const;
export type PlatformRole = (typeof PLATFORM_ROLES)[number];
/** The roles by each name that somebody may enter one by: WeChat's platform and WeCom's are known by where they are, too. */
export const ROLE_NAMES = {
  component: "component",
  suite: "suite",
  provider: "provider",
  weixin: "component",
  wecom: "suite",
} as const satisfies Record<string, PlatformRole>;

/** That an account or a corp has authorized a third-party platform. Instants are epoch milliseconds. */
export interface Authorization {
  /** The component's AppID, or the suite's id. */
  readonly platformApp: string;
  /** When it was given, by WeChat's clock where an event said it. */
  readonly authorizedAt: number;
  /**
   * Since when it stands without a break: what was given away of one that was withdrawn or lost is good no more. Undefined
   * for `authorizedAt`.
   */
  readonly since?: number | undefined;
  /** The ids of the permission sets (权限集) that it has; empty where that is not known. */
  readonly scopes: readonly number[];
  /** The original id, `gh_…`, by which pushes name the account. */
  readonly userName?: string | undefined;
  readonly isMiniProgram?: boolean | undefined;
  /** The agentid of the app in the corp. */
  readonly agentId?: string | undefined;
  /** Since when WeChat refuses it for good; undefined while it is good. */
  readonly lostAt?: number | undefined;
}

/** What both platforms' apps have for third-party platforms. */
interface ThirdParty {
  /** Undefined for an account or an application. */
  readonly role?: PlatformRole | undefined;
  /** Of a suite: the CorpID of its provider. */
  readonly provider?: string | undefined;
  /** Of a platform: when it was registered, in epoch milliseconds. */
  readonly addedAt?: number | undefined;
  /** Of an account or a corp that we have through a platform: its `secret` is the refresh token, or the permanent code. */
  readonly authorization?: Authorization | undefined;
}

/** An Official Account (公众号) or a Mini Program (小程序). WeChat does not tell the two apart by their AppID. */
export interface WeixinApp extends ThirdParty {
  readonly platform: "weixin";
  readonly id: string;
  readonly secret: Secret;
  readonly tokenMode: TokenMode;
  /** Undefined for one that the environment names. */
  readonly managed?: Management | undefined;
}

/** One application of a WeCom corp (企业微信). Each has a secret, and so a token, of its own. */
export interface WecomApp extends ThirdParty {
  readonly platform: "wecom";
  /** The CorpID. */
  readonly id: string;
  /** The agentid, or any label that the operator gave it (`contacts`); the suite's id for one that a suite has. */
  readonly agent: string;
  readonly secret: Secret;
  /** As for a `WeixinApp`. */
  readonly managed?: Management | undefined;
}

/** One app whose secret we hold. */
export type App = WeixinApp | WecomApp;

/**
 * The public name of an app: an AppID, or a CorpID and an agent joined by `_`; the id of a third-party platform; the AppID
 * of an account that it has and its own, joined by `_`.
 */
export function nameOfApp(app: App): string {
  if (app.role) return app.id;
  if (app.platform === "wecom") return `${app.id}_${app.agent}`;
  return app.authorization ? `${app.id}_${app.authorization.platformApp}` : app.id;
}

/** The name of an app's own slot. */
export function slotNameOf(app: App): string {
  if (app.role) return `@${app.role}`;
  if (app.platform === "wecom") return app.agent;
  return app.authorization?.platformApp ?? app.tokenMode;
}

/** The name of an app's own slot, and whose it is. */
export function ownSlotOf(app: App): SlotName {
  return { platform: app.platform, appId: app.id, name: slotNameOf(app) };
}

/** What a slot is of a third-party platform, by its name. */
export function roleOf({ name }: Pick<SlotName, "name">): PlatformRole | undefined {
  return name.startsWith("@") ? PLATFORM_ROLES.find((role) => role === name.slice(1)) : undefined;
}

/** Whether the suite of that id is a template of agency apps (代开发), which corps have as applications of their own. */
export function isAgency(suiteId: string): boolean {
  return suiteId.startsWith("dk");
}

/** Whether the slot is of an account that a component has, by its name. */
export function isAuthorizer({ platform, name }: Pick<SlotName, "platform" | "name">): boolean {
  return platform === "weixin" && name.startsWith("wx");
}

/** An app as somebody enters it. */
export interface AppEntry {
  readonly platform: Platform;
  readonly id: string;
  /** WeCom's alone; empty for none. */
  readonly agent?: string;
  /** Undefined where it is not known yet. */
  readonly secret?: Secret;
}

/**
 * What is wrong with an app that is being entered: a `fault` refuses it, a `doubt` is worth a warning. WeChat's ids and
 * secrets have one form each; WeCom's have grown several. What is stored already is not judged.
 */
export function checkEntry({ platform, id, agent = "", secret }: AppEntry): {
  readonly fault?: string;
  readonly doubt?: string;
} {
  const named = platform === "weixin" ? checkAppId(id) : checkCorpId(id, agent);
  if (named.fault !== undefined || secret === undefined) return named;
  return { ...named, ...checkSecret(platform, secret) };
}

function checkAppId(id: string) {
  if (/^wx[0-9a-f]{16}$/.test(id)) return {};
  if (/^gh(_|$)/i.test(id)) return { fault: ORIGINAL_ID };
  if (/^ww/i.test(id)) return { fault: AGENT_MISSING };
  return {
    fault:
      "AppID应为wx加16位小写的十六进制字符，请在微信后台复制 (an AppID is wx and 16 lower-case hex digits: copy it from WeChat's console)",
  };
}

function checkCorpId(id: string, agent: string) {
  if (/^gh(_|$)/i.test(id)) return { fault: ORIGINAL_ID };
  if (agent === "" || !/^[A-Za-z0-9]+$/.test(agent)) return { fault: AGENT_MISSING };
  if (/^w[wx][0-9a-f]{16}$/.test(id)) return {};
  if (/^w[wx][0-9a-f]{16}_/i.test(id))
    return {
      fault:
        "corpid之后只能有一个下划线，agent由字母和数字组成，如 externalcontact (only one underscore after the corpid: the agent is of letters and digits, as externalcontact)",
    };
  if (!/^w[a-z]/.test(id) || /^w[wx][0-9a-f]{16}$/i.test(id))
    return {
      fault:
        "corpid应以小写的ww或wx开头，请在企业微信后台复制 (a corpid begins with ww or wx, in lower case: copy it from WeCom's console)",
    };
  return {
    doubt: "corpid通常为ww加16位十六进制字符，请检查 (a corpid is usually ww and 16 hex digits; check it)",
  };
}

/** As `checkEntry`, of a secret alone. */
export function checkSecret(
  platform: Platform,
  secret: Secret,
): { readonly fault?: string; readonly doubt?: string } {
  const text = secret.reveal();
  if (!/^[\x21-\x7e]{1,512}$/.test(text))
    return {
      fault: "secret为空或含有非法字符 (the secret is empty or has invalid characters)",
    };
  if (/^(["'`]).*\1$|^<.*>$/.test(text))
    return {
      fault:
        "请填写secret本身，不加引号或尖括号；docker --env-file 会保留引号 (give the secret itself, without quotes or angle brackets; docker --env-file keeps quotes)",
    };
  const { length } = text;
  if (platform === "weixin" && !/^[0-9a-f]{32}$/i.test(text)) {
    const reason = `AppSecret应为32位十六进制字符，此值有${length}个字符 (an AppSecret is 32 hex digits; this has ${length} characters)`;
    return /^[0-9a-f]{24,}$/i.test(text) ? { fault: reason } : { doubt: reason };
  }
  if (platform === "wecom" && !/^[A-Za-z0-9_-]{43}$/.test(text))
    return {
      doubt: `企业微信的secret通常为43个字符，此值有${length}个，请检查 (a WeCom secret usually has 43 characters, this has ${length}; check it)`,
    };
  return {};
}

const ORIGINAL_ID =
  "gh_开头的是原始ID，请改用AppID（wx开头） (gh_… is the account's original ID; give the AppID, which begins with wx)";
const AGENT_MISSING =
  "企业微信须写为 <corpid>_<agent>，agent为agentid或由字母数字组成的名称 (WeCom is written <corpid>_<agent>; the agent is its agentid or a label of letters and digits)";

/** Names a slot without its secret. */
export interface SlotName {
  readonly platform: Platform;
  /** The AppID or CorpID. */
  readonly appId: string;
  /**
   * `stable` or `classic`, a WeCom agent's label, the component's AppID for an account that it has, `@` and a platform's
   * role, or `~` and a keyed digest of a secret that we don't hold.
   */
  readonly name: string;
}

/**
 * Whose credentials: one app together with the secret that they are obtained with.
 *
 * A configured app has a slot for its own secret. A caller that sends another secret gets a slot of its own, so
 * that a right one is served and a wrong one affects no other caller.
 */
export interface Slot extends SlotName {
  readonly secret: Secret;
  /** Relevant on WeChat only. */
  readonly tokenMode: TokenMode;
  /** Whether the secret is one that we hold. */
  readonly configured: boolean;
  /** Whether the app or its platform is disabled, or its secret damaged: nothing is returned or fetched for it. */
  readonly isDisabled?: boolean;
  /** Whether the app logs users in and has no credentials. */
  readonly isLoginOnly?: boolean;
  /** Whether its secret is what an account or a corp has authorized a platform with. */
  readonly isAuthorized?: boolean;
  /** Its `slotKey`, where it is precomputed. */
  readonly key?: string;
}

/** Whether it is a slot of the app's own secret, in whichever token mode. */
export function isSlotOf(app: App, { platform, appId, name }: SlotName): boolean {
  if (platform !== app.platform || appId !== app.id) return false;
  if (app.platform === "wecom" || app.role || app.authorization) return name === slotNameOf(app);
  return name === "stable" || name === "classic";
}

/** The public name of the app of a slot, as of `nameOfApp`. */
export function appName(slot: SlotName): string {
  const { platform, appId, name } = slot;
  // The slot of a secret that we don't hold belongs to no agent that we know.
  const isJoined = platform === "wecom" ? !name.startsWith("~") && !name.startsWith("@") : isAuthorizer(slot);
  return isJoined ? `${appId}_${name}` : appId;
}

/** A slot's name in maps and log lines. It says nothing secret: the digest is keyed. */
export function slotKey(slot: SlotName & Pick<Slot, "key">): string {
  return slot.key ?? `${slot.platform}:${slot.appId}:${slot.name}`;
}

/** Where the apps whose secrets we hold are kept, their secrets sealed. A change of managed apps raises the epoch of `apps`. */
export interface AppStore {
  /** Every app, in no particular order. Each secret is opened when it is first used, and throws `store_unusable` then when
   * it is damaged; a managed app says so by `isDamaged` instead. */
  list(): Promise<App[]>;
  /** Every app that an administrator has registered, in the same way. */
  listManaged(): Promise<App[]>;
  /**
   * Makes the stored apps of the environment equal to `apps`; managed ones stay as they are. Many changes are several
   * transactions, so that others can write between them; the next call goes on where one was cut off.
   *
   * An app that the environment no longer names is removed; one that did not change is not written. Where a secret
   * changed or an app was removed, what was issued to the old one is cleared, because the new one may belong to another
   * application, and its backoff ends: the refusals of the old one mean nothing.
   *
   * Each secret that changed, and each app that was added or removed, has an audit entry of the service's; the first apps
   * have none. Resolves with those that are managed apps as well: these are not written, and when the environment changed, what was
   * issued to them is cleared likewise. Throws `store_unusable` when the apps changed and a stored one is damaged, and
   * `unavailable` when other processes keep changing apps.
   */
  replaceAll(apps: readonly App[]): Promise<readonly App[]>;
  /**
   * Adds a managed app, with its audit entry, at a version that no earlier app of that name can have had: an ETag of that
   * one must not fit this one. Throws `conflict` when there is an app of that name.
   */
  create(app: App, entry: AuditEntry): Promise<void>;
  /**
   * Puts a managed app in the place of its `version - 1`, with its audit entry. With a new secret, or an authorization that
   * was lost, what was issued to the old one is cleared, as in `replaceAll`. Throws `precondition_failed` when the current
   * version is another.
   *
   * WeChat exchanges the secret of an authorization at any time: the stored one stays, unless `secretVersion` is its number;
   * `precondition_failed` when it has another.
   */
  update(app: App, entry: AuditEntry, secretVersion?: number): Promise<void>;
  /** Removes a managed app of that version and clears what was issued to it. Throws `precondition_failed` likewise. */
  remove(app: App, entry: AuditEntry): Promise<void>;
  /** The app as it is stored now, as `list` has it; undefined when it is gone. */
  find(app: SlotName): Promise<App | undefined>;
  /**
   * The secret of a managed app as it is stored now, and its number, which grows with each secret; undefined when the app
   * is gone. Throws `store_unusable` for one that can't be opened.
   */
  findSecret(app: SlotName): Promise<{ readonly secret: Secret; readonly version: number } | undefined>;
  /**
   * Puts another secret in the place of the one of that number, because WeChat itself has exchanged it: what was issued
   * stays, and nobody is told. False when it is no longer that one; then nothing changes.
   */
  exchangeSecret(app: SlotName, version: number, secret: Secret): Promise<boolean>;
}
