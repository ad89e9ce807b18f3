import { randomInt } from "node:crypto";
import { TokenBuckets } from "../access/limits.ts";
import { callerNetwork } from "../access/networks.ts";
import { tooMany } from "../access/principal.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, isAgency, roleOf, type Slot } from "../apps/app.ts";
import type { PublicSide } from "../apps/public-side.ts";
import type { AuditActor, AuditEntry } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { LoginQuery } from "../oauth/login-link.ts";
import { Secret } from "../secret.ts";
import type {
  AuthorizationLink,
  AuthorizationLinkStore,
  CodeAnswer,
  LinkRequest,
} from "./authorization-store.ts";

/** Below it are the pages of links. */
export const LINK_PATH = "/connect/authorize";
/** Where WeChat and WeCom return to with us. */
export const LINK_RETURN_PATH = `${LINK_PATH}/return`;

const STATE = /^[A-Za-z0-9]{32}$/;
const STATE_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const CODE = /^[!-~]{1,512}$/;
const DAY_MS = 86_400_000;
/** Who has opened a link in time may take so long for the consent. */
const CONSENT_MS = 3_600_000;
const PRUNE_MS = 600_000;
/** How long WeChat may take for what a person waits for. */
const ASK_MS = 20_000;
/** Visits of one address, and calls to WeChat for one link, or for one address that comes back by it: a second, and at once. */
const VISITS = { perSecond: 2, burst: 60 };
const CALLS = { perSecond: 0.2, burst: 10 };

/** WeChat's and WeCom's pages on which an account or a corp authorizes a platform. */
export interface ConsentPages {
  /**
   * Where the browser goes for one visit: each has a code of its own, as WeChat takes it once. Throws what WeChat refuses,
   * and `unavailable` while there is no ticket.
   */
  url(platform: Slot, link: AuthorizationLink, redirectUri: string, signal: AbortSignal): Promise<string>;
}

/** What links work with. */
export interface AuthorizationLinkParts {
  readonly store: AuthorizationLinkStore;
  readonly pages: ConsentPages;
  readonly authorizations: {
    /** Exchanges a code once, whoever brings it. */
    exchange(platform: Slot, code: Secret, signal: AbortSignal, caller: string): Promise<CodeAnswer>;
  };
  readonly directory: Pick<AppDirectory, "find" | "slotOfApp">;
  readonly publicSide: Pick<PublicSide, "urlOf">;
  /** Writes an audit entry. Throws `AuditFailure`. */
  readonly record: (entry: AuditEntry) => Promise<void>;
  /** Among how many processes the limits are divided. */
  readonly processes: () => number;
  readonly clock: Clock;
}

/** What a person is told who has authorized a platform. */
export interface Authorized {
  /** The account's public name. */
  readonly app: string;
  readonly account: string;
  readonly title: string | undefined;
  /** What people call the platform. */
  readonly platformTitle: string;
  /** Where the person goes now; undefined for a page of ours. */
  readonly returnUrl: string | undefined;
}

/** Links by which accounts and corps authorize third-party platforms, and the way there and back. */
export class AuthorizationLinks {
  readonly #parts: AuthorizationLinkParts;
  readonly #buckets: TokenBuckets;
  #timer: Timer | undefined;

  constructor(parts: AuthorizationLinkParts) {
    this.#parts = parts;
    this.#buckets = new TokenBuckets(parts.clock);
  }

  /**
   * Makes a link for `lifeMs`, by default a day.
   *
   * @throws {ServiceError} `invalid_parameter` for what the platform's page doesn't know; `conflict` where the service
   *   has no public URL, or an agency app no provider.
   */
  async create(
    platform: App,
    request: LinkRequest,
    { lifeMs = DAY_MS, actor }: { readonly lifeMs?: number | undefined; readonly actor: AuditActor },
  ): Promise<{ readonly url: string; readonly link: AuthorizationLink }> {
    const { store, directory, publicSide, clock } = this.#parts;
    const fault = faultOf(platform, request);
    if (fault !== undefined) throw new ServiceError("invalid_parameter", fault);
    if (platform.managed?.isDisabled) throw notEnabled(platform);
    const provider = isAgency(platform.id) ? directory.find(platform.provider ?? "") : undefined;
    if (isAgency(platform.id) && provider?.role !== "provider") throw noProvider(platform);
    const state = Array.from({ length: 32 }, () => STATE_CHARACTERS[randomInt(STATE_CHARACTERS.length)]).join(
      "",
    );
    const url = publicSide.urlOf(platform.id, `${LINK_PATH}/${state}`);
    if (url === undefined) throw noPublicUrl(platform);
    const createdAt = clock.now();
    const link = { state, platformApp: platform.id, request, createdAt, expiresAt: createdAt + lifeMs };
    const { authType, bizAppId, categoryIds, isMobile, isTest, returnUrl } = request;
    const asked = { auth_type: authType, biz_app_id: bizAppId, category_ids: categoryIds, mobile: isMobile };
    const detail = {
      ...{ ...asked, test: isTest, expires_at: link.expiresAt },
      // Its query is not for everybody who reads the audit.
      return_url: returnUrl === undefined ? undefined : new URL(returnUrl).origin,
    };
    const entry = { ...actor, action: "authorization_link.created", app: platform.id } as const;
    await this.#parts.record({ ...entry, outcome: "ok", tokenDigest: "", detail });
    await store.add(link);
    return { url, link };
  }

  /**
   * What people call the platform of a link that may be opened.
   *
   * @throws {ServiceError} `not_found` for one that is unknown or has expired; `rate_limited`.
   */
  async open(state: string, address: string): Promise<string> {
    this.#limit(`visit ${callerNetwork(address)}`, VISITS);
    const { platform } = await this.#find(state);
    return titleOf(platform);
  }

  /** Where a visitor of a link goes: WeChat's or WeCom's page, with a code for this visit. Throws as `open`, and `ConsentPages`. */
  async consentUrl(state: string, address: string): Promise<string> {
    this.#limit(`visit ${callerNetwork(address)}`, VISITS);
    const { link, platform, slot } = await this.#find(state);
    const { pages, publicSide } = this.#parts;
    const returnUrl = publicSide.urlOf(platform.id, LINK_RETURN_PATH);
    if (returnUrl === undefined) throw noPublicUrl(platform);
    this.#limit(`call ${state}`, CALLS);
    // WeChat's page has no state of its own, and brings back what stands in the redirect.
    const redirectUri = roleOf(slot) === "component" ? `${returnUrl}?state=${state}` : returnUrl;
    return pages.url(slot, link, redirectUri, AbortSignal.timeout(ASK_MS));
  }

  /**
   * Takes what a visitor comes back with: the code is exchanged, unless an event has brought it already.
   *
   * @throws {ServiceError} As `open`; `invalid_parameter` without a code; `conflict` for the code of another account than the
   *   one that the link is for; WeChat's refusal of it.
   */
  async finish(search: string, address: string): Promise<Authorized> {
    this.#limit(`visit ${callerNetwork(address)}`, VISITS);
    const { store, authorizations, directory, clock } = this.#parts;
    const query = new LoginQuery(search);
    const [state, code] = [query.value("state"), query.value("auth_code")];
    const { link, platform, slot } = await this.#find(state, CONSENT_MS);
    if (!CODE.test(code)) throw notFinished();
    const network = callerNetwork(address);
    // Others who have the link must not keep somebody from coming back by it.
    this.#limit(`return ${state} ${network}`, CALLS);
    const signal = AbortSignal.timeout(ASK_MS);
    const { app } = await authorizations.exchange(slot, new Secret(code), signal, network);
    const { bizAppId, returnUrl } = link.request;
    if (bizAppId !== undefined && app !== `${bizAppId}_${platform.id}`) throw anotherAccount(bizAppId);
    await store.noteReturn(state, clock.now());
    const account = directory.find(app);
    return {
      app,
      account: account?.id ?? app,
      title: account?.managed?.title,
      platformTitle: titleOf(platform),
      returnUrl: returnUrl && withApp(returnUrl, app),
    };
  }

  /** Begins to prune. */
  start(): void {
    this.#timer = setInterval(() => void this.prune(), PRUNE_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Removes links that nobody can come back by. Never throws. */
  async prune(): Promise<void> {
    const { store, clock } = this.#parts;
    await store.prune(clock.now() - CONSENT_MS).catch(() => undefined);
  }

  async #find(state: string, lateMs = 0) {
    const { store, directory, clock } = this.#parts;
    const link = STATE.test(state) ? await store.find(state, clock.now() - lateMs) : undefined;
    const platform = link && directory.find(link.platformApp);
    if (!link || !platform?.role) throw unknownLink();
    const slot = directory.slotOfApp(platform.id);
    if (slot.isDisabled) throw disabled();
    return { link, platform, slot };
  }

  #limit(what: string, { perSecond, burst }: typeof VISITS): void {
    const processes = this.#parts.processes();
    const size = { perSecond: perSecond / processes, burst: Math.max(1, burst / processes) };
    const waitMs = this.#buckets.take(what, size);
    if (waitMs > 0) throw tooMany("访问过于频繁", "too many visits", waitMs);
  }
}

/** What a link asks for that the platform's page doesn't know; undefined for nothing. */
function faultOf({ id, role }: App, request: LinkRequest): string | undefined {
  const { authType, bizAppId, categoryIds, isMobile, isTest, returnUrl } = request;
  if (role === "provider")
    return "服务商本身不能被授权，请为其suite或代开发模板生成链接 (nobody authorizes a provider itself: make a link of its suite or template)";
  const isOfWeixin = [authType, bizAppId, categoryIds, isMobile || undefined].some(
    (each) => each !== undefined,
  );
  if (role === "suite" && isOfWeixin)
    return "auth_type、biz_app_id（命令行为 --account）、category_ids（--scopes）和mobile仅用于微信第三方平台 (auth_type, biz_app_id, on the command line --account, category_ids, there --scopes, and mobile are for WeChat's platforms only)";
  if (isTest && (role === "component" || isAgency(id)))
    return "test仅用于企业微信第三方应用 (test is for third-party apps of WeCom only)";
  if (returnUrl !== undefined && isAgency(id))
    return "代开发授权完成后不会跳转，不能设置return_url (an agency app's page does not come back: it takes no return_url)";
  if (returnUrl !== undefined && !(URL.canParse(returnUrl) && /^https?:$/.test(new URL(returnUrl).protocol)))
    return "return_url应为http或https地址 (return_url must be an http or https URL)";
  return undefined;
}

function titleOf({ id, managed }: App): string {
  return managed?.title ?? id;
}

function withApp(returnUrl: string, app: string): string {
  const url = new URL(returnUrl);
  url.searchParams.set("app", app);
  return url.href;
}

function unknownLink(): ServiceError {
  return new ServiceError(
    "not_found",
    "该授权链接不存在或已失效，请向提供链接的人索取新的链接 (this link is unknown or has expired: ask whoever gave it to you for a new one)",
  );
}

function notFinished(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "授权未完成：没有收到授权码，请重新打开授权链接 (the authorization was not finished: no code came back; open the link again)",
  );
}

function anotherAccount(bizAppId: string): ServiceError {
  return new ServiceError(
    "conflict",
    `该链接仅用于${bizAppId}，授权的是另一个账号，请用${bizAppId}重新打开授权链接 (this link is for ${bizAppId} alone, and another account has authorized: open the link again with ${bizAppId})`,
  );
}

function notEnabled({ id }: App): ServiceError {
  return new ServiceError(
    "conflict",
    `该第三方平台已停用，请先执行 accesstoken apps enable ${id} (this platform is disabled: run accesstoken apps enable ${id} first)`,
  );
}

function disabled(): ServiceError {
  return new ServiceError(
    "unavailable",
    "该第三方平台已停用，请联系管理员 (this platform is disabled: ask its administrator)",
  );
}

function noPublicUrl({ id }: App): ServiceError {
  return new ServiceError(
    "conflict",
    `服务未设置PUBLIC_URL，无法生成授权链接：请设置PUBLIC_URL，或执行 accesstoken apps set ${id} --public-url (PUBLIC_URL is not set, so there can be no link: set it, or run accesstoken apps set ${id} --public-url)`,
  );
}

function noProvider({ provider = "" }: App): ServiceError {
  return new ServiceError(
    "conflict",
    `代开发授权链接需要服务商的token，请先执行 accesstoken platforms add provider ${provider} (a link of an agency app takes its provider's token: run accesstoken platforms add provider ${provider} first)`,
  );
}
