import type { Access } from "../access/access.ts";
import { onBehalf, type Usage } from "../access/permits.ts";
import { isPlatformPath, pathFamily } from "../access/api-policy.ts";
import type { Action } from "../access/client.ts";
import type { Caller } from "../access/principal.ts";
import { roleOf, type Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import { tokenNamesIn } from "../credentials/kinds.ts";
import { contextApp, type TokenContext, type TokenResolver } from "../credentials/token-resolver.ts";
import { type Platform, refusalOf, ServiceError } from "../errors.ts";
import { platformByForm } from "../credentials/virtual-tokens.ts";
import { Secret } from "../secret.ts";
import { textResponse } from "./answer.ts";
import { type Call, type Face, failed, Reply, secretIn } from "./face.ts";
import { toWechatFailure, wechatAnswer, wechatFailureAnswer } from "./wechat-answer.ts";
import { type Dropin, type DropinEndpoints, dropinRoutes, type HeldSlot } from "./dropin.ts";
import {
  collapseSlashes,
  readWechatRequest,
  type WechatRequest,
  withOneToken,
  withoutLastSlash,
} from "./wechat-request.ts";

/** The state of a request while it is served. */
export interface Serving {
  readonly request: WechatRequest;
  /** Whose words a failure uses: by the path, until the token's platform is known. */
  platform: Platform;
  /** What a call through the gateway counts as, once it is allowed. */
  usage: Usage | undefined;
}

/** What answers the paths without a drop-in endpoint. */
export interface OtherPaths {
  /** Refuses a path that could be read in two ways, in the words of `platform`. */
  assertPath(platform: Platform, path: string): void;
  /** Whether the path takes a user's own token, which `forwardUntouched` forwards as it is. */
  takesUserToken(path: string): boolean;
  forwardUntouched(serving: Serving): Promise<Response>;
  /** Forwards a call for the app of `context`, and notes on `serving` what it counts as. */
  forward(serving: Serving, context: TokenContext, path: string): Promise<Response>;
  /** Refuses what `forward` would refuse before it sends anything. */
  check(context: TokenContext, call: AskedCall): void;
}

/** A call that somebody asks about. */
export interface AskedCall {
  readonly method: string;
  readonly path: string;
}

/** As what a call counts that is allowed. */
export interface CheckedCall {
  readonly action: Action;
  /** Whether we answer it ourselves. */
  readonly isDropin: boolean;
}

/** What the face works with. */
export interface WechatFaceOptions {
  readonly access: Pick<Access, "countRefusal" | "slotOfToken" | "userTokenHolder">;
  readonly resolver: TokenResolver;
  readonly endpoints: DropinEndpoints;
  readonly others: OtherPaths;
  readonly clock: Clock;
}

const APP_PATH = /^\/gateway\/([A-Za-z0-9_-]{1,130})(\/.*)$/;
const GATEWAY = /^\/gateway(\/|$)/;
const TOKEN_IN_QUERY = /(^|&)((component|suite|provider)_)?access_token=/;

/**
 * WeChat's and WeCom's own paths: drop-in endpoints, and every other path through the gateway.
 *
 * Path, query and body must reach WeChat as they came, and every answer has WeChat's own shape.
 */
export class WechatFace implements Face {
  readonly isPublic = false;
  readonly #options: WechatFaceOptions;

  constructor(options: WechatFaceOptions) {
    this.#options = options;
  }

  /** Its routes; `*` means any method, and any rest of a path. */
  get routes(): readonly { method: string; path: string }[] {
    const others = ["/gateway/:app/*", "/*"].map((path) => ({ method: "*", path }));
    return [...dropinRoutes(this.#options.endpoints), ...others];
  }

  /** By its path, or by a token in the query of a path that no other face matches. */
  matches({ path, search }: Call): boolean {
    const plain = collapseSlashes(path);
    return isPlatformPath(plain) || GATEWAY.test(plain) || TOKEN_IN_QUERY.test(search);
  }

  /** On WeChat's own paths a secret or a token may still identify the caller. */
  mayIdentify(): boolean {
    return true;
  }

  handle(call: Call): Response | Promise<Response> {
    const request = withOneToken(readWechatRequest(call));
    const serving: Serving = { request, platform: this.#platformOf(request.path), usage: undefined };
    try {
      const answer = this.#serve(serving);
      return answer instanceof Promise
        ? answer.catch((error: unknown) => this.#fail(error, serving))
        : answer;
    } catch (error) {
      return this.#fail(error, serving);
    }
  }

  encodeError(error: unknown, call: Call): Response {
    const path = collapseSlashes(call.path);
    return this.#encode(error, call, { path, platform: this.#platformOf(path), usage: undefined });
  }

  /**
   * The action as which a call of `caller` for the app of `slot` counts, made with a token or a key: what decides about the
   * call itself decides here. Nothing is sent or counted.
   *
   * @throws {ServiceError} What the call would be refused with, whatever is in its query and body.
   */
  check(caller: Caller, slot: Slot, { method, path: sent }: AskedCall): CheckedCall {
    const { access, endpoints, others } = this.#options;
    const { principal } = caller;
    const { platform } = slot;
    const path = collapseSlashes(sent);
    const plain = withoutLastSlash(path);
    const bySecret = endpoints.secret.get(plain);
    const endpoint =
      bySecret?.platform === platform ? bySecret : endpoints.token[platform].get(plain.toLowerCase());
    if (endpoint) {
      if (endpoint !== bySecret) checkRole(endpoint, slot);
      checkMethod(endpoint, { method });
      access.slotOfToken(principal, endpoint.action, slot);
      return { action: endpoint.action, isDropin: true };
    }
    if (platform === "weixin" && others.takesUserToken(plain)) {
      access.userTokenHolder(caller, path);
      checkMethod({ platform, methods: ["GET"] }, { method });
    } else others.check({ name: slot, slot, token: undefined, principal }, { method, path });
    return { action: "api:call", isDropin: false };
  }

  #fail(error: unknown, { request, platform, usage }: Serving): Response {
    return this.#encode(error, request.call, { path: request.path, platform, usage });
  }

  #encode(
    thrown: unknown,
    call: Call,
    { path, platform, usage }: Pick<Serving, "platform" | "usage"> & { readonly path: string },
  ): Response {
    const { traceId, origin } = call;
    const error = this.#options.access.countRefusal(call, thrown, secretIn(call.search));
    const failure = toWechatFailure(error, platform);
    const mayHaveRun = error instanceof ServiceError && error.mayHaveRun;
    const address = () => origin.address;
    const now = this.#options.clock.now();
    const answer = wechatFailureAnswer({ platform, path, traceId, address, now }, failure);
    const { text, rid, ...options } = answer;
    call.outcome = { ...failed(failure.errcode, error, mayHaveRun ? usage : undefined), rid };
    return textResponse(text, { ...options, traceId });
  }

  #serve(serving: Serving): Response | Promise<Response> {
    const { endpoints, others } = this.#options;
    const { request } = serving;
    const { call } = request;
    const path = withoutLastSlash(request.path);
    const endpoint = endpoints.secret.get(path);
    if (endpoint) {
      call.route = path;
      checkMethod(endpoint, call.request);
      const reply = endpoint.answer(request, endpoint.action);
      if (!(reply instanceof Promise)) return succeed(call, endpoint.platform, path, reply);
      return reply.then((made) => succeed(call, endpoint.platform, path, made));
    }
    if (GATEWAY.test(request.path)) return this.#serveApp(serving);
    call.route = `${pathFamily(request.path)}/**`;
    others.assertPath(serving.platform, request.path);
    return others.takesUserToken(path) ? others.forwardUntouched(serving) : this.#serveHolder(serving);
  }

  async #serveApp(serving: Serving): Promise<Response> {
    const { call, path: sent } = serving.request;
    call.route = "/gateway/:app/**";
    const [, app = "", path = ""] = APP_PATH.exec(sent) ?? [];
    if (app === "") throw refusalOf("weixin", 40066, "invalid url");
    const context = this.#options.resolver.byKey(call, app, serving.platform);
    serving.platform = context.name.platform;
    return this.#serveContext(serving, context, path);
  }

  async #serveHolder(serving: Serving): Promise<Response> {
    const { call, query, path } = serving.request;
    const names = tokenNamesIn(query);
    // Beside an app's another one is refused.
    const name = names.includes("access_token") ? "access_token" : (names[0] ?? "access_token");
    if (query.count(name) > 1)
      throw new ServiceError("invalid_parameter", "access_token重复 (access_token is given twice)");
    const token = query.get(name) ?? "";
    // A path that both platforms have does not say in whose words a token that has ended is refused.
    const { weixin, wecom } = this.#options.endpoints.token;
    const plain = withoutLastSlash(path);
    if (isPlatformPath(path, "wecom") && !weixin.has(plain) && !wecom.has(plain))
      serving.platform = PLATFORM_OF_TOKEN[name] ?? platformByForm(token) ?? serving.platform;
    const { platform } = serving;
    if (token === "") throw refusalOf(platform, 41001, "access_token missing");
    const onKnown = (known: Platform) => void (serving.platform = known);
    const context = await this.#options.resolver
      .byToken(call, new Secret(token), platform, onKnown)
      .catch((error: unknown) => {
        throw inWordsFor(name, error);
      });
    return this.#serveContext(serving, context, path);
  }

  async #serveContext(serving: Serving, context: TokenContext, sent: string): Promise<Response> {
    const { endpoints, others } = this.#options;
    const { request } = serving;
    const { call } = request;
    const { platform } = context.name;
    // WeChat ignores the case, so our own endpoints must not be reached there in other letters.
    const path = withoutLastSlash(sent.toLowerCase());
    const endpoint = endpoints.token[platform].get(path);
    if (context.slot && endpoint) {
      call.route = path;
      checkRole(endpoint, context.slot);
      checkMethod(endpoint, call.request);
      const { identity } = context.principal;
      const usage = { identity, action: path, app: contextApp(context) };
      const answer = onBehalf(
        { usage },
        Promise.try(() => endpoint.answer(request, context as HeldSlot, endpoint.action)),
      );
      return succeed(call, platform, path, await answer);
    }
    call.route = `${pathFamily(sent)}/**`;
    return others.forward(serving, context, sent);
  }

  /**
   * The platform of a path, as far as it shows. For `/gateway` only the form of the app's name decides: whether we hold
   * the app must not be revealed before a key was checked.
   */
  #platformOf(path: string): Platform {
    const { secret, token } = this.#options.endpoints;
    const plain = withoutLastSlash(path);
    const app = APP_PATH.exec(path)?.[1];
    if (app !== undefined) return app.includes("_") ? "wecom" : "weixin";
    const isWecomsAlone = token.wecom.has(plain) && !token.weixin.has(plain);
    return secret.get(plain)?.platform ?? (isWecomsAlone ? "wecom" : "weixin");
  }
}

function succeed(call: Call, platform: Platform, path: string, reply: Reply): Response {
  call.outcome = { code: 0, result: reply.result, usage: reply.usage };
  const { text, contentType } = wechatAnswer({ platform, path }, reply.data);
  return textResponse(text, { contentType, traceId: call.traceId });
}

/** Of which platform a token is by the name that it came under, where that tells. */
const PLATFORM_OF_TOKEN: Readonly<Record<string, Platform>> = {
  component_access_token: "weixin",
  suite_access_token: "wecom",
  provider_access_token: "wecom",
};

/** The refusal of a token that we don't know; SDKs fetch another of WeCom's suite tokens on its own errcode alone. */
function inWordsFor(name: string, error: unknown): unknown {
  const isUnknown = error instanceof ServiceError && error.wording?.errcode === 42001;
  if (!isUnknown || PLATFORM_OF_TOKEN[name] !== "wecom") return error;
  return error.with({ wording: { platform: "wecom", errcode: 42009, errmsg: `${name} expired` } });
}

/** Refuses the token of another kind than the endpoint takes. */
function checkRole({ platform, role }: Dropin<unknown>, slot: Slot): void {
  if (roleOf(slot) === role) return;
  const code = "forbidden";
  if (role === "component")
    throw refusalOf(platform, 61014, "must use component token for component api", { code });
  if (role !== undefined) throw refusalOf(platform, 40082, "invalid suite_access_token", { code });
  throw platform === "weixin"
    ? refusalOf(platform, 48001, "api unauthorized", { code })
    : refusalOf(platform, 48002, "api forbidden", { code });
}

function checkMethod(
  { platform, methods }: { readonly platform: Platform; readonly methods: readonly string[] },
  { method }: Pick<Request, "method">,
): void {
  if (methods.includes(method)) return;
  const code = "method_not_allowed";
  if (platform === "wecom") throw refusalOf("wecom", 40058, "invalid parameter", { code });
  throw methods.includes("GET")
    ? refusalOf("weixin", 43001, "require GET method", { code })
    : refusalOf("weixin", 43002, "require POST method", { code });
}
