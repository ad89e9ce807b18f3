import {
  countedTokenText,
  type IssuedToken,
  IssuedTokens,
  OneTimeCodes,
  Tickets,
  TokenSequence,
  UserTokens,
} from "./issued-tokens.ts";
import { type Answer, Refusal, type SandboxRequest } from "./sandbox-request.ts";
import { isListed, type SandboxSwitches, type SandboxWeixinApp } from "./sandbox-settings.ts";
import { QuotaCounter, type SandboxTime } from "./sandbox-time.ts";
import { MediaStore } from "./media-store.ts";

const MINUTE_MS = 60_000;
const TOKEN_LENGTH = 136;

/** What every app of api.weixin.qq.com shares. */
export interface WeixinSurroundings {
  time: SandboxTime;
  switches: SandboxSwitches;
  tokens: IssuedTokens<WeixinApp>;
  lifeMs: number;
  /** The five minutes in which old and new are both valid; shorter when tokens expire in less than two hours. */
  handoverMs: number;
}

/** One app of api.weixin.qq.com: its settings, its two sequences of tokens, its tickets and what it used up. */
export class WeixinApp {
  settings: SandboxWeixinApp;
  readonly tickets: Tickets;
  readonly codes = new OneTimeCodes();
  /** Codes for a phone number; WeChat doesn't mix them up with a login's. */
  readonly phoneCodes = new OneTimeCodes();
  /** The buttons below the chat; none before the first are made. */
  menu: readonly unknown[] = [];
  readonly #around: WeixinSurroundings;
  readonly #daily = new QuotaCounter();
  readonly #others = new QuotaCounter();
  readonly #classic: TokenSequence<WeixinApp>;
  readonly #stable: TokenSequence<WeixinApp>;
  #issued = 60;
  #messages = 0;
  #lastForcedAt = Number.NEGATIVE_INFINITY;

  constructor(settings: SandboxWeixinApp, around: WeixinSurroundings) {
    this.settings = settings;
    this.#around = around;
    this.tickets = new Tickets(around.time, around.lifeMs);
    const line = {
      owner: this,
      nextText: () => countedTokenText(this.#issued++, TOKEN_LENGTH),
      lifeMs: around.lifeMs,
      handoverMs: around.handoverMs,
    };
    this.#classic = new TokenSequence(around.tokens, line);
    this.#stable = new TokenSequence(around.tokens, line);
  }

  /**
   * A new classic token; its predecessor stays valid for the hand-over.
   *
   * @throws {Refusal} 45009 when the day's quota is used up.
   */
  fetchClassic(): IssuedToken<WeixinApp> {
    this.spend("/cgi-bin/token", this.#around.switches.classicPerDay);
    const sparesOldest = !this.#around.switches.thirdFetchKillsOldest;
    return this.#classic.rotate(this.#around.time.now(), { sparesOldest });
  }

  /**
   * The stable token: the same one until its last five minutes, then the next.
   *
   * A `forced` call replaces it at once, twenty times a day. Sooner than 30 s after the last forced call it does
   * not refresh, and gets what an ordinary call gets.
   *
   * @throws {Refusal} 45011 or 45009 when a quota is used up.
   */
  fetchStable(forced: boolean): IssuedToken<WeixinApp> {
    const { switches, time } = this.#around;
    const minute = time.window(MINUTE_MS);
    if (this.#others.add("stable", minute) > switches.stablePerMinute) throw minuteQuotaReached();
    this.spend("/cgi-bin/stable_token", switches.stablePerDay);

    if (forced && time.now() - this.#lastForcedAt >= switches.forcedSpacingSeconds * 1000) {
      if (this.#others.used("forced", time.day()) >= switches.forcedPerDay) throw dayQuotaReached();
      this.#others.add("forced", time.day());
      this.#lastForcedAt = time.now();
      return this.#stable.rotate(time.now(), { revokesNewest: switches.forcedKillsAtOnce });
    }
    const current = this.#stable.current();
    const inLastMinutes = current && current.expiresAt - time.now() <= this.#around.handoverMs;
    return current && !inLastMinutes ? current : this.#stable.rotate(time.now());
  }

  /** The number of the next message. */
  nextMessageId(): number {
    this.#messages += 1;
    return this.#messages;
  }

  /**
   * Counts one call of `endpoint` against its daily quota.
   *
   * @throws {Refusal} 45009 when `limit` is reached; the call is then not counted.
   */
  spend(endpoint: string, limit = this.#around.switches.apiPerDay): void {
    const day = this.#around.time.day();
    if (this.#daily.used(endpoint, day) >= limit) throw dayQuotaReached();
    this.#daily.add(endpoint, day);
  }

  /** What today's calls of `endpoint` cost so far, and how many there may be. */
  quota(endpoint: string): { daily_limit: number; used: number; remain: number } {
    const { classicPerDay, stablePerDay, apiPerDay } = this.#around.switches;
    const limits = new Map([
      ["/cgi-bin/token", classicPerDay],
      ["/cgi-bin/stable_token", stablePerDay],
    ]);
    const daily_limit = limits.get(endpoint) ?? apiPerDay;
    const used = this.#daily.used(endpoint, this.#around.time.day());
    return { daily_limit, used, remain: Math.max(0, daily_limit - used) };
  }

  /**
   * Gives the day's quotas back; the budget of forced refreshes is not among them.
   *
   * @throws {Refusal} 48006 when the month's ten clearings are used up.
   */
  clearQuota(): void {
    const { time, switches } = this.#around;
    if (this.#others.used("clear_quota", time.month()) >= switches.clearQuotaPerMonth) {
      throw new Refusal(48006, "forbid to clear quota because of reaching the limit");
    }
    this.#others.add("clear_quota", time.month());
    this.#daily.clear();
  }

  /** Today's calls by endpoint, and how many forced refreshes were among them. */
  usedToday(): Record<string, number> {
    const day = this.#around.time.day();
    return { ...this.#daily.usage(day), forced_refreshes: this.#others.used("forced", day) };
  }
}

function dayQuotaReached(): Refusal {
  return new Refusal(45009, "reach max api daily quota limit");
}

function minuteQuotaReached(): Refusal {
  return new Refusal(45011, "api minute-quota reach limit, must slower, retry next minute");
}

/** What a caller of a secret-bearing endpoint said about itself. */
export interface WeixinCredentials {
  appId: string;
  secret: string;
  peerIp: string;
  /** `true` when the endpoint takes no `grant_type`. */
  grantTypeOk: boolean;
  /** A further parameter that must be there; its refusal comes with the other missing parameters. */
  missing?: Refusal | undefined;
}

const RISKS = {
  ask: new Refusal(89503, "this ip needs the administrator's confirmation"),
  asking: new Refusal(89501, "this ip waits for the administrator's confirmation"),
  refused_hour: new Refusal(89507, "the administrator refused this ip, retry after one hour"),
  refused_day: new Refusal(89506, "the administrator refused this ip twice, retry after 24 hours"),
};

/** The ordinary calls that take the token of a third-party platform. */
const FOR_COMPONENTS = new Set([
  "/cgi-bin/getcallbackip",
  "/cgi-bin/get_api_domain_ip",
  "/cgi-bin/callback/check",
]);

/** Everything that api.weixin.qq.com of the sandbox knows. */
export class WeixinPlatform {
  readonly apps: ReadonlyMap<string, WeixinApp>;
  readonly tokens: IssuedTokens<WeixinApp>;
  readonly userTokens: UserTokens;
  readonly media = new MediaStore();
  /** Permanent media. */
  readonly materials = new MediaStore();
  /** What was refused, by request id. */
  readonly requests = new RequestLog();
  readonly time: SandboxTime;

  constructor(apps: readonly SandboxWeixinApp[], around: Omit<WeixinSurroundings, "tokens">) {
    this.time = around.time;
    this.tokens = new IssuedTokens(around.time);
    this.userTokens = new UserTokens(around.time, around.lifeMs);
    const surroundings = { ...around, tokens: this.tokens };
    this.apps = new Map(apps.map((app) => [app.appId, new WeixinApp({ ...app }, surroundings)]));
  }

  /**
   * The app with that id.
   *
   * @throws {Refusal} 41002 when there is no id, 40013 when it is unknown; upper and lower case matter.
   */
  app(appId: string): WeixinApp {
    if (appId === "") throw new Refusal(41002, "appid missing");
    const app = this.apps.get(appId);
    if (app === undefined) throw new Refusal(40013, "invalid appid");
    return app;
  }

  /**
   * The app that knows its secret, asked in this order: appid, IP list, risk control,
   * `grant_type`, secret missing, secret frozen, secret wrong.
   *
   * @throws {Refusal} the first of them that does not hold.
   */
  authenticate(given: WeixinCredentials): WeixinApp {
    const app = this.app(given.appId);
    const { ipList, risk, frozenSecret, secret } = app.settings;
    const ip = given.peerIp;
    if (ipList && !isListed(ip, ipList)) {
      throw new Refusal(40164, `invalid ip ${ip} ipv6 ::ffff:${ip}, not in whitelist`);
    }
    if (risk) throw RISKS[risk];
    if (!given.grantTypeOk) throw new Refusal(40002, "invalid grant_type");
    if (given.secret === "") throw new Refusal(41004, "appsecret missing");
    if (given.missing) throw given.missing;
    if (frozenSecret) throw new Refusal(40243, "appsecret is frozen");
    if (given.secret !== secret) throw new Refusal(40125, "invalid appsecret");
    return app;
  }

  /**
   * Refuses the token endpoints to accounts that may not use them.
   *
   * @throws {Refusal} 50004, 50007 or 61024.
   */
  requireTokenPermission(app: WeixinApp): void {
    const { account, component } = app.settings;
    if (account === "punished") {
      throw new Refusal(50004, "user not allow to use accesstoken, maybe for punishment");
    }
    if (account === "frozen") throw new Refusal(50007, "account is frozen");
    if (component) {
      throw new Refusal(61024, "must use api(api_component_token) to get token for component acct");
    }
  }

  /**
   * The valid token with this value: classic, stable, a third-party platform's or one that it got for an account.
   *
   * @throws {Refusal} 41001, 40014, 42001 or 40001.
   */
  requireToken(value: string): IssuedToken<WeixinApp> {
    const verdict = this.tokens.verdict(value);
    const token = this.tokens.find(value);
    if (verdict === "valid" && token) return token;
    if (verdict === "missing") throw new Refusal(41001, "access_token missing");
    if (verdict === "malformed") throw new Refusal(40014, "invalid access_token");
    if (verdict === "expired") throw new Refusal(42001, "access_token expired");
    throw new Refusal(
      40001,
      "invalid credential, access_token is invalid or not latest, could get access_token by " +
        "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r",
    );
  }

  /** The app whose token came with the request; the token is checked before anything else, and the call counted. */
  callingApp({ query, path }: SandboxRequest): WeixinApp {
    const { owner } = this.requireToken(query.get("access_token") ?? "");
    if (owner.settings.component && !FOR_COMPONENTS.has(path)) throw new Refusal(48001, "api unauthorized");
    owner.spend(path);
    return owner;
  }
}

/** A request that was answered, as WeChat keeps it. */
interface LoggedRequest {
  readonly request: SandboxRequest;
  readonly answer: Answer;
  /** Whose token it carried. */
  readonly owner: WeixinApp | undefined;
  /** Unix time in seconds. */
  readonly at: number;
}

/** WeChat keeps them for a week; the sandbox keeps the latest. */
const KEPT = 500;

/** Requests by their id, for `/cgi-bin/openapi/rid/get`. */
class RequestLog {
  readonly #requests = new Map<string, LoggedRequest>();

  /** Keeps a request under its id. */
  add(rid: string, request: LoggedRequest): void {
    this.#requests.set(rid, request);
    if (this.#requests.size <= KEPT) return;
    const [oldest] = this.#requests.keys();
    if (oldest !== undefined) this.#requests.delete(oldest);
  }

  /** The request with that id. */
  find(rid: string): LoggedRequest | undefined {
    return this.#requests.get(rid);
  }
}
