import type { Authentication } from "../api/authentication.ts";
import { type DropinEndpoints, dropinRoutes } from "../api/wechat-endpoints.ts";
import type { TokenContext, TokenResolver } from "../api/token-resolver.ts";
import {
  refusalOf,
  toWechatFailure,
  type WechatAnswer,
  wechatAnswer,
  wechatFailureAnswer,
} from "../api/wechat-answer.ts";
import {
  collapseSlashes,
  readWechatRequest,
  splitUrl,
  type WechatRequest,
  withoutLastSlash,
} from "../api/wechat-request.ts";
import { type Platform, ServiceError } from "../errors.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { isPlatformPath, pathFamily } from "../access/api-policy.ts";
import type { UserTokenCalls } from "../gateway/user-token-calls.ts";
import { newTraceId, withSecurityHeaders, textResponse } from "./answer.ts";
import { faultFacts, recordRequest, type RequestRecordParts } from "./request-record.ts";
import type { RequestSocket, RootFace } from "./server.ts";

/** What the face works with. */
export interface WechatFaceParts extends RequestRecordParts {
  readonly authentication: Pick<Authentication, "meet" | "admitToken">;
  readonly holders: Pick<TokenResolver, "admit" | "admitToApp">;
  readonly endpoints: DropinEndpoints;
  readonly gateway: Pick<Gateway, "call">;
  readonly userTokenCalls: Pick<UserTokenCalls, "takes" | "pass">;
}

/** What is known of a request while it is served, for whoever tells of its failure. */
interface Serving {
  platform: Platform;
  /** A pattern of ours. */
  route: string;
  /** Gives the request more time than others have. */
  readonly giveTime: (seconds: number) => void;
}

/** The first segments of the service's own paths. */
const OWN = /^\/((AccessToken|JsSDK|xcx|v1|swagger|livez|readyz|metrics)(\/|$)|$)/;
const APP_PATH = /^\/gateway\/([A-Za-z0-9_-]{1,130})(\/.*)$/;
const GATEWAY = /^\/gateway(\/|$)/;

/** The most that Bun gives a request: for files on slow lines, and for answers that WeChat takes its time for. */
const CALL_SECONDS = 255;

/**
 * Everything at the host's root that is WeChat's and not ours: drop-in endpoints, and every other path through the gateway.
 *
 * It is served beside the framework, because path, query and body must reach WeChat as they came, and because it answers
 * in WeChat's own shape whatever happens.
 */
export class WechatFace implements RootFace {
  readonly #parts: WechatFaceParts;

  constructor(parts: WechatFaceParts) {
    this.#parts = parts;
  }

  /** Every route of it; `*` stands for any method, and at the end of a path for any other. */
  get routes(): readonly { method: string; path: string }[] {
    const others = ["/gateway/:app/*", "/*"].map((path) => ({ method: "*", path }));
    return [...dropinRoutes(this.#parts.endpoints), ...others];
  }

  /** The paths of the drop-in endpoints. */
  get paths(): readonly string[] {
    return [...new Set(dropinRoutes(this.#parts.endpoints).map(({ path }) => path))];
  }

  /** Whether a request of that URL is for this face: by its path, or by the token that it brings to any path but ours. */
  claims(url: string): boolean {
    const { path, search } = splitUrl(url);
    const plain = collapseSlashes(path);
    if (OWN.test(plain)) return false;
    return isPlatformPath(plain) || GATEWAY.test(plain) || /(^|&)access_token=/.test(search);
  }

  /** The answer to a request that this face claims. Never throws. */
  answer(request: Request, socket: RequestSocket): Promise<Response> {
    return this.#answer(request, socket, (serving, wechat) => this.#serve(serving, wechat));
  }

  /** The refusal of a request whose path was resolved on its way here: what was sent is not what would be called. */
  refuse(request: Request, socket: RequestSocket): Promise<Response> {
    return this.#answer(request, socket, () => {
      throw refusalOf("weixin", 40066, "invalid url");
    });
  }

  async #answer(request: Request, socket: RequestSocket, serve: Serve): Promise<Response> {
    const { authentication, clock, events } = this.#parts;
    const startedAt = clock.monotonic();
    const traceId = newTraceId();
    const caller = authentication.meet(request, traceId, socket.peer);
    const { giveTime } = socket;
    const path = collapseSlashes(splitUrl(request.url).path);
    const serving: Serving = { platform: this.#platformOf(path), route: "(none)", giveTime };
    let answer: Response | WechatAnswer;
    let code = 0;
    try {
      authentication.admitToken(request, caller);
      answer = await serve(serving, readWechatRequest(request, caller));
    } catch (error) {
      const { platform, route } = serving;
      if (!(error instanceof ServiceError))
        events.emit({ type: "request.failed", traceId, route, ...faultFacts(error) });
      const failure = toWechatFailure(error, platform, caller.mayHaveCalled ?? false);
      code = failure.errcode;
      const address = () => caller.address;
      answer = wechatFailureAnswer({ platform, path, traceId, address, now: clock.now() }, failure);
    }
    recordRequest(this.#parts, request, caller, { startedAt, traceId, route: serving.route, code });
    return answer instanceof Response
      ? withDefaultHeaders(answer, traceId)
      : textResponse(answer.text, { ...answer, traceId });
  }

  async #serve(serving: Serving, request: WechatRequest): Promise<Response | WechatAnswer> {
    const { endpoints, userTokenCalls } = this.#parts;
    const path = withoutLastSlash(request.path);
    const endpoint = endpoints.secret.get(path);
    if (endpoint) {
      serving.route = path;
      checkMethod(endpoint, request);
      return wechatAnswer({ platform: endpoint.platform, path }, await endpoint.answer(request));
    }
    if (GATEWAY.test(request.path)) return this.#serveApp(serving, request);
    serving.route = `${pathFamily(request.path)}/**`;
    if (userTokenCalls.takes(path)) return userTokenCalls.pass(request);
    return this.#serveHolder(serving, request);
  }

  async #serveApp(serving: Serving, request: WechatRequest): Promise<Response | WechatAnswer> {
    serving.route = "/gateway/:app/**";
    const [, app = "", path = ""] = APP_PATH.exec(request.path) ?? [];
    if (app === "") throw refusalOf("weixin", 40066, "invalid url");
    const holding = this.#parts.holders.admitToApp(request.caller, app, serving.platform);
    serving.platform = holding.name.platform;
    return this.#serveHolding(serving, { ...request, path }, holding);
  }

  async #serveHolder(serving: Serving, request: WechatRequest): Promise<Response | WechatAnswer> {
    const { holders } = this.#parts;
    const holding = await holders.admit(request, serving.platform, (known) => (serving.platform = known));
    return this.#serveHolding(serving, request, holding);
  }

  async #serveHolding(
    serving: Serving,
    request: WechatRequest,
    holding: TokenContext,
  ): Promise<Response | WechatAnswer> {
    const { endpoints, gateway } = this.#parts;
    const { slot } = holding;
    const { platform } = holding.name;
    // As WeChat reads it, so that none of ours is asked of WeChat in other letters.
    const path = withoutLastSlash(request.path.toLowerCase());
    const endpoint = endpoints.token[platform].get(path);
    if (slot && endpoint) {
      serving.route = path;
      checkMethod(endpoint, request);
      return wechatAnswer({ platform, path }, await endpoint.answer(request, slot));
    }
    serving.route = `${pathFamily(request.path)}/**`;
    serving.giveTime(CALL_SECONDS);
    return gateway.call(request, holding);
  }

  /**
   * Whose a path is, as far as it tells. Of a gateway's path only the form of the app's name is looked at: whether we hold
   * it is nobody's business who has not shown a key yet.
   */
  #platformOf(path: string): Platform {
    const { secret, token } = this.#parts.endpoints;
    const plain = withoutLastSlash(path);
    const app = APP_PATH.exec(path)?.[1];
    if (app !== undefined) return app.includes("_") ? "wecom" : "weixin";
    const isWecomsAlone = token.wecom.has(plain) && !token.weixin.has(plain);
    return secret.get(plain)?.platform ?? (isWecomsAlone ? "wecom" : "weixin");
  }
}

type Serve = (serving: Serving, wechat: WechatRequest) => Promise<Response | WechatAnswer>;

/** An answer that is not ours, with what every answer of this service says of itself. */
function withDefaultHeaders(response: Response, traceId: string): Response {
  response.headers.set("trace-id", traceId);
  if (!response.headers.has("cache-control")) response.headers.set("cache-control", "no-store");
  return withSecurityHeaders(response);
}

function checkMethod(
  { platform, methods }: { readonly platform: Platform; readonly methods: readonly string[] },
  { request: { method } }: WechatRequest,
): void {
  if (methods.includes(method)) return;
  if (platform === "wecom") throw refusalOf("wecom", 40058, "invalid parameter");
  throw methods.includes("GET")
    ? refusalOf("weixin", 43001, "require GET method")
    : refusalOf("weixin", 43002, "require POST method");
}
