import { createHash, randomBytes } from "node:crypto";
import type { EnvironmentDirectory, LoginCodes } from "../access/environments.ts";
import { TokenBuckets } from "../access/limits.ts";
import { callerNetwork } from "../access/networks.ts";
import { tooMany } from "../access/principal.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, nameOfApp } from "../apps/app.ts";
import type { PublicSide } from "../apps/public-side.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { Secret } from "../secret.ts";
import { loginLink, LoginQuery, type LoginRequest, type LoginWay, returnLink } from "./login-link.ts";
import { type RedirectOrigins, whyNoLogins } from "./redirect-origins.ts";

/** Where WeChat returns to with us. */
export const RETURN_PATH = "/connect/return";

/** How long a login may take, and how long it is known which environment a code went to. */
const WAITING_MS = 600_000;
const CODE_MS = 600_000;
/** How long the same return gets the same answer. */
const REPEAT_MS = 60_000;
const PRUNE_MS = 60_000;
/** Logins a second of one address, and at once: many users share one. */
const PER_SECOND = 10;
const BURST = 200;
/** How much more a /48 has, which may be 65,536 networks of one owner; alone it must not evict everybody else's logins. */
const SITE_TIMES = 10;
/** Browsers send some returns twice. */
const RETURNS_PER_LOGIN = 2;

const STATE = /^[0-9a-f]{32}$/;
/** Of an environment's own state, as it is in the query; WeChat takes 128. */
const MAX_STATE_LENGTH = 2048;
const CODE = /^[!-~]{1,512}$/;

/** A login that is with WeChat. */
export interface WaitingLogin {
  /** What WeChat was given as its state. */
  readonly state: string;
  /** The app's public name. */
  readonly app: string;
  readonly environment: string;
  /** JSON of a `LoginRequest`. */
  readonly request: Secret;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

/** A code that a login brought. */
export interface IssuedCode {
  readonly code: Secret;
  /** WeChat's code behind one of ours. */
  readonly behind?: Secret | undefined;
}

/** A return of WeChat's. */
export interface LoginReturn {
  readonly state: string;
  /** Empty where the user refused. */
  readonly code: Secret;
  /** The AppID or CorpID. */
  readonly appId: string;
  /** The codes that are to be known as those of the login's environment. */
  readonly issued: readonly IssuedCode[];
}

/** Keeps web logins and their codes, sealed and by keyed digests. Instants are epoch milliseconds. */
export interface WebLoginStore {
  /**
   * Adds a login, in one transaction with others that come at that moment. Resolves with how many had to go too early for
   * it, because there are too many.
   */
  add(login: WaitingLogin): Promise<number>;
  /** The login of that state, used or not; undefined for one that is unknown or has expired at `now`. */
  find(state: string, now: number): Promise<WaitingLogin | undefined>;
  /**
   * Notes a return: `first`, and then its codes are known until `codesUntil`; `again` for the same code by `repeatUntil` of
   * the first; `used` for anything else.
   */
  finish(
    returned: LoginReturn,
    times: { readonly now: number; readonly repeatUntil: number; readonly codesUntil: number },
  ): Promise<"first" | "again" | "used">;
  /** How many logins are with WeChat at `now`. */
  count(now: number): Promise<number>;
  /** Removes what has expired, unless any process did within `everyMs`. */
  prune(now: number, everyMs: number): Promise<void>;
}

/** What web logins work with. */
export interface WebLoginParts {
  readonly store: WebLoginStore;
  readonly origins: Pick<RedirectOrigins, "ownerOf" | "start" | "stop">;
  readonly environments: Pick<EnvironmentDirectory, "find">;
  readonly directory: Pick<AppDirectory, "find" | "namesOf" | "namesOfCorp">;
  readonly publicSide: Pick<PublicSide, "urlOf">;
  /** Where WeChat's and WeCom's pages are: origins. */
  readonly loginUrls: { readonly weixin: string; readonly wecom: string };
  /** Among how many processes the limit of an address is divided. */
  readonly processes: () => number;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Takes users' browsers to WeChat and back to the environment that sent them.
 *
 * WeChat returns to one domain of an app, so it is given our return path and a state of ours. No cookie is set: that a
 * state belongs to a browser is checked by the environment whose state it is, as with WeChat itself.
 */
export class WebLogins {
  readonly #parts: WebLoginParts;
  readonly #buckets: TokenBuckets;
  #timer: Timer | undefined;

  constructor(parts: WebLoginParts) {
    this.#parts = parts;
    this.#buckets = new TokenBuckets(parts.clock);
  }

  /**
   * WeChat's page for the login that an environment's link asks for; resolves once the login is written.
   *
   * @throws {ServiceError} `invalid_parameter` for an app or a redirect that is not allowed; `rate_limited`; `unavailable`.
   */
  async begin(way: LoginWay, search: string, address: string): Promise<string> {
    const query = new LoginQuery(search);
    const { store, clock, loginUrls, publicSide, events } = this.#parts;
    const { app, owner, redirectUri } = this.#ownerOf(way, query);
    if (query.raw("state").length > MAX_STATE_LENGTH) throw longState();
    const returnUrl = publicSide.urlOf(owner.app, RETURN_PATH);
    if (returnUrl === undefined) throw noPublicUrl();
    this.#limit("begin", address);
    const state = randomBytes(16).toString("hex");
    const request: LoginRequest = { redirectUri, state: query.raw("state") };
    const evicted = await store.add({
      state,
      app: owner.app,
      environment: owner.environment,
      request: new Secret(JSON.stringify(request)),
      expiresAt: clock.now() + WAITING_MS,
    });
    if (evicted > 0) events.emit({ type: "web_logins.evicted", count: evicted });
    events.emit({ type: "web_login.moved", step: "begun" });
    const base = way === "sso" ? loginUrls.wecom : loginUrls.weixin;
    return loginLink(way, base, query, { app, redirectUri: returnUrl, state });
  }

  /**
   * Where a browser that comes back from WeChat goes: to its environment, with a code, or without one where the user
   * refused.
   *
   * @throws {ServiceError} `invalid_parameter` for a login that is unknown, has expired, or was used before; `rate_limited`.
   */
  async finish(search: string, address: string): Promise<string> {
    const { store, clock, environments, directory, events } = this.#parts;
    this.#limit("return", address, RETURNS_PER_LOGIN);
    const query = new LoginQuery(search);
    const [state, code] = [query.value("state"), query.value("code")];
    const now = clock.now();
    const isReadable = STATE.test(state) && (code === "" || CODE.test(code));
    const login = isReadable ? await store.find(state, now) : undefined;
    const app = login && directory.find(login.app);
    if (!app) throw this.#unknown();
    const issued = code === "" ? [] : codesFor(login, code, environments.find(login.environment)?.codes);
    const times = { now, repeatUntil: now + REPEAT_MS, codesUntil: now + CODE_MS };
    const outcome = await store.finish({ state, code: new Secret(code), appId: app.id, issued }, times);
    if (outcome === "used") throw this.#unknown();
    const step = outcome === "again" ? "repeated" : code === "" ? "refused" : "returned";
    events.emit({ type: "web_login.moved", step });
    const request = JSON.parse(login.request.reveal()) as LoginRequest;
    return returnLink(request, issued[0]?.code.reveal());
  }

  /** Begins to follow changes of redirect origins, and to prune. */
  start(): void {
    this.#parts.origins.start();
    this.#timer = setInterval(() => void this.prune(), PRUNE_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#parts.origins.stop();
    clearInterval(this.#timer);
  }

  /** Removes what has expired, unless another process just did. Never throws. */
  async prune(): Promise<void> {
    const { store, clock } = this.#parts;
    await store.prune(clock.now(), PRUNE_MS).catch(() => undefined);
  }

  #ownerOf(way: LoginWay, query: LoginQuery) {
    const apps = this.#appsOf(way, query).filter(isOpen);
    const redirectUri = query.value("redirect_uri");
    const owner = this.#parts.origins.ownerOf(apps.map(nameOfApp), redirectUri);
    const app = apps.find((each) => nameOfApp(each) === owner?.app);
    if (apps.length === 0) throw unknownApp();
    if (!owner || !app) throw notAllowed();
    return { app, owner, redirectUri };
  }

  /** Which apps a link may mean: one, or those of a corp of which it names none. */
  #appsOf(way: LoginWay, query: LoginQuery): readonly App[] {
    const { directory } = this.#parts;
    const [appId, agent] = [query.value("appid"), query.value("agentid")];
    if (way !== "sso") {
      const account = this.#accountOf(appId, query.value("component_appid"));
      if (account) return [account];
    }
    const corp = [appId, ...directory.namesOfCorp(appId)]
      .flatMap((name) => directory.find(name) ?? [])
      .filter((app) => app.platform === "wecom" && whyNoLogins(app) === undefined);
    const named =
      corp.find((app) => app.platform === "wecom" && app.agent === agent) ??
      corp.find(({ authorization }) => authorization?.agentId === agent);
    return named ? [named] : way === "qrconnect" ? [] : corp;
  }

  /**
   * The account of an AppID: the one that the component has, or without a component the one that is held directly, or that
   * one component alone has.
   */
  #accountOf(appId: string, component: string): App | undefined {
    const { directory } = this.#parts;
    const account = [`${appId}_${component}`, appId]
      .flatMap((name) => directory.find(name) ?? [])
      .find(({ authorization }) => component === "" || authorization?.platformApp === component);
    if (account) return account.platform === "weixin" && !account.role ? account : undefined;
    if (component === "" && directory.namesOf("weixin", appId).length > 1) throw severalComponents();
    return undefined;
  }

  #limit(step: "begin" | "return", address: string, times = 1): void {
    const take = (network: string, share: number) => {
      const size = { perSecond: PER_SECOND * share, burst: Math.max(1, BURST * share) };
      const waitMs = this.#buckets.take(`${step} ${network}`, size);
      if (waitMs > 0) throw tooMany("该地址的登录过多", "too many logins from this address", waitMs);
    };
    const share = times / this.#parts.processes();
    const network = callerNetwork(address);
    const site = network.split(":").slice(0, 3).join(":");
    take(network, share);
    if (site !== network) take(site, share * SITE_TIMES);
  }

  #unknown(): ServiceError {
    this.#parts.events.emit({ type: "web_login.moved", step: "unknown" });
    return new ServiceError(
      "invalid_parameter",
      "本次登录已失效或已使用，请回到原来的页面重新登录 (this login has ended or was used already: go back to the page that you came from and log in again)",
    );
  }
}

/**
 * The codes that a return brings: first the one that the environment is given, then what must be known as that
 * environment's too.
 *
 * Ours is derived from WeChat's, so that a return which a browser repeats gets the same one; who knows both parts has seen
 * the return itself.
 */
function codesFor({ state }: WaitingLogin, code: string, codes: LoginCodes = "relay"): readonly IssuedCode[] {
  const raw = { code: new Secret(code) };
  if (codes === "raw") return [raw];
  const ours = createHash("sha256").update(`${state}\n${code}`).digest("base64url").slice(0, 32);
  return [{ code: new Secret(ours), behind: raw.code }, raw];
}

/** Not of one that is disabled, or whose authorization is lost: nothing could exchange its code. */
function isOpen({ managed, authorization }: App): boolean {
  return managed?.isDisabled !== true && authorization?.lostAt === undefined;
}

function unknownApp(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "appid不正确：本服务没有该应用，或该应用已停用、授权已失效；第三方平台的账号另请核对component_appid，企业微信另请核对agentid (no such app is held here, or it is disabled or its authorization lost: check appid, component_appid for an account of a platform, and agentid for WeCom)",
  );
}

function severalComponents(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "缺少component_appid：该账号授权给了多个第三方平台，请在链接中写明 (component_appid is missing: several platforms have this account, so the link must name one)",
  );
}

function notAllowed(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "redirect_uri不在该应用的允许范围内，请管理员执行 accesstoken origins add 添加，须与浏览器发送的写法完全一致 (redirect_uri is not allowed for this app: an administrator adds its origin by `accesstoken origins add`, exactly as browsers send it)",
  );
}

function longState(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "state过长：编码后不得超过2048字节，请只放标识，其余内容由自己的服务保存 (state is too long: at most 2048 bytes, encoded; put an identifier into it and keep the rest yourself)",
  );
}

function noPublicUrl(): ServiceError {
  return new ServiceError(
    "unavailable",
    "服务未设置PUBLIC_URL，微信无法跳转回来，请管理员设置 (PUBLIC_URL is not set, so WeChat could not return here: an administrator has to set it)",
  );
}
