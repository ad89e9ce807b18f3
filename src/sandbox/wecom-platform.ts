import { isListed } from "./http-server.ts";
import { IssuedTokens } from "./issued-tokens.ts";
import { MediaStore } from "./media-store.ts";
import { QuotaCounter } from "./request-log.ts";
import {
  type Answer,
  JSON_TYPE,
  jsonAnswer,
  Refusal,
  type SandboxRequest,
  wecomErrmsg,
} from "./sandbox-request.ts";
import type { SandboxTime, SandboxWecomApp } from "./sandbox-state.ts";
import type { SandboxSwitches } from "./control.ts";
import { WecomApp } from "./wecom-app.ts";
import { WrongSecretBan } from "./weixin-platform.ts";
import * as contacts from "./wecom-endpoints.ts";
import * as endpoints from "./wecom-endpoints.ts";
import * as login from "./wecom-endpoints.ts";

const HOUR_MS = 3_600_000;

/** Everything that qyapi.weixin.qq.com of the sandbox knows. */
export class WecomPlatform {
  readonly apps: readonly WecomApp[];
  readonly tokens: IssuedTokens<WecomApp>;
  readonly media = new MediaStore();
  readonly time: SandboxTime;
  readonly #switches: SandboxSwitches;
  readonly #ban: WrongSecretBan;
  readonly #corpHourly = new QuotaCounter();

  constructor(
    apps: readonly SandboxWecomApp[],
    around: { time: SandboxTime; switches: SandboxSwitches; lifeMs: number },
  ) {
    this.time = around.time;
    this.#switches = around.switches;
    this.tokens = new IssuedTokens(around.time);
    this.#ban = new WrongSecretBan(around.time, () => around.switches.wecomWrongSecrets);
    this.apps = apps.map((app) => new WecomApp({ ...app }, { ...around, tokens: this.tokens }));
  }

  /**
   * The app that this corp knows by this secret, asked in this order: secret missing, corp
   * unknown, address banned, secret wrong. There is one answer for a wrong secret and for one of another corp.
   *
   * @throws {Refusal} 41004, 41002, 40013, 45009 or 40001.
   */
  authenticate(corpId: string, secret: string, peerIp: string): WecomApp {
    if (secret === "") throw new Refusal(41004, "corpsecret missing");
    if (corpId === "") throw new Refusal(41002, "corpid missing");
    const ofCorp = this.apps.filter((app) => app.settings.corpId === corpId);
    if (ofCorp.length === 0) throw new Refusal(40013, "invalid corpid");
    if (this.#ban.isBanned(peerIp)) throw new Refusal(45009, "api freq out of limit");
    const app = ofCorp.find((candidate) => candidate.settings.secret === secret);
    if (app) return app;
    this.#ban.count(peerIp);
    throw new Refusal(40001, "invalid credential");
  }

  /**
   * The app whose live token came with a business call.
   *
   * @throws {Refusal} 41001, 42001, 40014, or 60020 for an address that is not trusted.
   */
  requireToken(value: string, peerIp: string): WecomApp {
    const verdict = this.tokens.verdict(value);
    if (verdict === "missing") throw new Refusal(41001, "access_token missing");
    if (verdict === "expired") throw new Refusal(42001, "access_token expired");
    const app = this.tokens.find(value)?.owner;
    if (verdict !== "live" || !app) throw new Refusal(40014, "invalid access_token");
    const { trustedIps } = app.settings;
    if (trustedIps && !isListed(peerIp, trustedIps)) {
      throw new Refusal(60020, "not allow to access from your ip");
    }
    return app;
  }

  /**
   * Counts a call of a ticket endpoint: per app, and with `perCorp` per corp too.
   *
   * @throws {Refusal} 45009 when an hour's calls are used up.
   */
  spendTicketCall(app: WecomApp, endpoint: string, perCorp: boolean): void {
    const hour = this.time.window(HOUR_MS);
    const ofCorp = `${app.settings.corpId} ${endpoint}`;
    const corpFull = perCorp && this.#corpHourly.used(ofCorp, hour) >= this.#switches.wecomTicketsPerCorpHour;
    if (corpFull || app.hourly.used(endpoint, hour) >= this.#switches.wecomTicketsPerAppHour) {
      throw new Refusal(45009, "api freq out of limit");
    }
    app.hourly.add(endpoint, hour);
    if (perCorp) this.#corpHourly.add(ofCorp, hour);
  }
}

interface Endpoint {
  answer: (platform: WecomPlatform, request: SandboxRequest) => Answer | Promise<Answer>;
  /** The fields of this API that an error carries too, empty. */
  emptyFields?: object;
}

const emptyTicket = { ticket: "", expires_in: 0 };

const ENDPOINTS = new Map<string, Endpoint>([
  ["/cgi-bin/gettoken", { answer: endpoints.getToken }],
  ["/cgi-bin/get_jsapi_ticket", { answer: endpoints.getCorpTicket, emptyFields: emptyTicket }],
  ["/cgi-bin/ticket/get", { answer: endpoints.getAppTicket, emptyFields: emptyTicket }],
  ["/cgi-bin/auth/getuserinfo", { answer: login.getUserInfo }],
  ["/cgi-bin/user/getuserinfo", { answer: login.getUserInfoOldForm }],
  ["/cgi-bin/miniprogram/jscode2session", { answer: login.miniProgramLogin }],
  ["/cgi-bin/getcallbackip", { answer: endpoints.getCallbackIp, emptyFields: { ip_list: [] } }],
  ["/cgi-bin/get_api_domain_ip", { answer: endpoints.getApiDomainIp, emptyFields: { ip_list: [] } }],
  ["/cgi-bin/message/send", { answer: endpoints.sendMessage }],
  ["/cgi-bin/user/get", { answer: contacts.getMember }],
  ["/cgi-bin/department/list", { answer: contacts.listDepartments, emptyFields: { department: [] } }],
  ["/cgi-bin/media/upload", { answer: endpoints.uploadMedia }],
  ["/cgi-bin/media/get", { answer: endpoints.getMedia }],
]);

/** What qyapi.weixin.qq.com answers; a path that does not exist is HTTP 404 without a body. */
export async function answerAsWecom(platform: WecomPlatform, request: SandboxRequest): Promise<Answer> {
  const endpoint = ENDPOINTS.get(request.path);
  if (endpoint === undefined) return { status: 404, headers: {}, body: "" };
  try {
    return await endpoint.answer(platform, request);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return wecomError(platform, request, error.errcode, error.message);
  }
}

/**
 * An error as qyapi.weixin.qq.com words it: HTTP 200, the text with a hint and the caller's address, and both
 * number and text once more in the headers.
 */
export function wecomError(
  platform: WecomPlatform,
  request: SandboxRequest,
  errcode: number | string,
  stem: string,
): Answer {
  const errmsg = wecomErrmsg(stem, platform.time.seconds(), errcode, request.peerIp);
  const empty = ENDPOINTS.get(request.path)?.emptyFields;
  const answer = jsonAnswer(JSON_TYPE.wecom, { errcode, errmsg, ...empty });
  answer.headers["Error-Code"] = String(errcode).replaceAll(/[^ -~]/g, "?");
  // An injected text can hold anything, a header can't.
  answer.headers["Error-Msg"] = errmsg.replaceAll(/[^ -~]/g, "?");
  return answer;
}
