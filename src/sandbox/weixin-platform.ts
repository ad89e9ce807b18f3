import { type IssuedToken, IssuedTokens } from "./issued-tokens.ts";
import { isListed } from "./http-server.ts";
import { MediaStore } from "./media-store.ts";
import {
  type Answer,
  JSON_TYPE,
  jsonAnswer,
  newRid,
  Refusal,
  type SandboxRequest,
  weixinErrmsg,
} from "./sandbox-request.ts";
import { RequestLog } from "./request-log.ts";
import type { SandboxTime, SandboxWeixinApp } from "./sandbox-state.ts";
import { UserTokens } from "./user-tokens.ts";
import { WeixinApp, type WeixinSurroundings } from "./weixin-app.ts";
import * as api from "./weixin-api-endpoints.ts";
import * as content from "./weixin-content-endpoints.ts";
import * as material from "./weixin-content-endpoints.ts";
import * as sending from "./weixin-content-endpoints.ts";
import * as user from "./weixin-content-endpoints.ts";
import * as login from "./weixin-login-endpoints.ts";
import * as quota from "./weixin-token-endpoints.ts";
import * as token from "./weixin-token-endpoints.ts";

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
   * The live token with this value, classic or stable.
   *
   * @throws {Refusal} 41001, 40014, 42001 or 40001.
   */
  requireToken(value: string): IssuedToken<WeixinApp> {
    const verdict = this.tokens.verdict(value);
    const token = this.tokens.find(value);
    if (verdict === "live" && token) return token;
    if (verdict === "missing") throw new Refusal(41001, "access_token missing");
    if (verdict === "malformed") throw new Refusal(40014, "invalid access_token");
    if (verdict === "expired") throw new Refusal(42001, "access_token expired");
    throw new Refusal(
      40001,
      "invalid credential, access_token is invalid or not latest, could get access_token by " +
        "getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r",
    );
  }
}

type Endpoint = (platform: WeixinPlatform, request: SandboxRequest) => Answer | Promise<Answer>;

const ENDPOINTS = new Map<string, Endpoint>([
  ["/cgi-bin/token", token.classicToken],
  ["/cgi-bin/stable_token", token.stableToken],
  ["/cgi-bin/ticket/getticket", api.getTicket],
  ["/cgi-bin/getcallbackip", api.getCallbackIp],
  ["/cgi-bin/get_api_domain_ip", api.getApiDomainIp],
  ["/cgi-bin/message/custom/send", api.sendCustomMessage],
  ["/cgi-bin/media/upload", api.uploadMedia],
  ["/cgi-bin/media/get", api.getMedia],
  ["/cgi-bin/media/uploadimg", material.uploadArticleImage],
  ["/cgi-bin/material/add_material", material.addMaterial],
  ["/cgi-bin/material/get_material", material.getMaterial],
  ["/cgi-bin/message/template/send", sending.sendTemplate],
  ["/cgi-bin/message/subscribe/send", sending.sendSubscribeMessage],
  ["/cgi-bin/menu/create", sending.createMenu],
  ["/cgi-bin/menu/get", sending.getMenu],
  ["/cgi-bin/user/info", user.getFollower],
  ["/cgi-bin/user/get", user.listFollowers],
  ["/wxa/business/getuserphonenumber", user.getPhoneNumber],
  ["/wxa/getwxacode", content.getCode],
  ["/wxa/msg_sec_check", content.checkText],
  ["/cgi-bin/openapi/rid/get", quota.getRid],
  ["/cgi-bin/clear_quota", quota.clearQuota],
  ["/cgi-bin/clear_quota/v2", quota.clearQuotaBySecret],
  ["/cgi-bin/openapi/quota/get", quota.getQuota],
  ["/sns/oauth2/access_token", login.webLogin],
  ["/sns/oauth2/refresh_token", login.refreshWebLogin],
  ["/sns/userinfo", login.userInfo],
  ["/sns/auth", login.checkUserToken],
  ["/sns/jscode2session", login.miniProgramLogin],
]);

/**
 * What api.weixin.qq.com answers: errors are HTTP 200 with an errcode, also for a path that does not exist
 * (40066), and a chunked request is HTTP 412.
 */
export async function answerAsWeixin(platform: WeixinPlatform, request: SandboxRequest): Promise<Answer> {
  if (request.headers["transfer-encoding"] !== undefined) return { status: 412, headers: {}, body: "" };
  try {
    const endpoint = ENDPOINTS.get(request.path);
    if (endpoint === undefined) throw new Refusal(40066, "invalid url");
    return await endpoint(platform, request);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return weixinError(platform, request, error.errcode, error.message);
  }
}

/**
 * An error as api.weixin.qq.com words it: with a request id, by which the request can be looked up from then on, and
 * for `/sns` as plain text.
 */
export function weixinError(
  platform: WeixinPlatform,
  request: SandboxRequest,
  errcode: number | string,
  stem: string,
): Answer {
  const sns = request.path.startsWith("/sns/");
  const rid = newRid(platform.time.seconds());
  const errmsg = weixinErrmsg(stem, rid, sns);
  const answer = jsonAnswer(sns ? JSON_TYPE.sns : JSON_TYPE.cgiBin, { errcode, errmsg });
  const owner = platform.tokens.find(request.query.get("access_token") ?? "")?.owner;
  platform.requests.add(rid, { request, answer, owner, at: platform.time.seconds() });
  return answer;
}

const HOUR_MS = 3_600_000;

/** Addresses that sent wrong secrets to WeCom, and those that it therefore refuses for an hour. */
export class WrongSecretBan {
  readonly #time: SandboxTime;
  readonly #limit: () => number;
  readonly #wrongAt = new Map<string, number[]>();
  readonly #bannedUntil = new Map<string, number>();

  /** `limit` wrong secrets within an hour ban an address; it is read at each one. */
  constructor(time: SandboxTime, limit: () => number) {
    this.#time = time;
    this.#limit = limit;
  }

  /** Whether `ip` is refused at this moment. */
  isBanned(ip: string): boolean {
    return this.#time.now() < (this.#bannedUntil.get(ip) ?? 0);
  }

  /** Counts a wrong secret from `ip`. */
  count(ip: string): void {
    const now = this.#time.now();
    const recent = (this.#wrongAt.get(ip) ?? []).filter((at) => at > now - HOUR_MS);
    recent.push(now);
    this.#wrongAt.set(ip, recent);
    if (recent.length < this.#limit()) return;
    this.#bannedUntil.set(ip, now + HOUR_MS);
    this.#wrongAt.delete(ip);
  }
}
