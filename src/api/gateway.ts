import { pathFamily } from "../access/api-policy.ts";
import { ANY_APP } from "../access/client.ts";
import type { Concurrency } from "../access/limits.ts";
import type { Access } from "../access/access.ts";
import { onBehalf } from "../access/permits.ts";
import { contextApp, type TokenContext } from "../credentials/token-resolver.ts";
import { type Platform, refusalOf } from "../errors.ts";
import { readSmallText, responseOf } from "../gateway/answer.ts";
import { assertCanonical, assertCanonicalPath } from "../gateway/blocked-paths.ts";
import { type CallRequest, type Forwarder, forwardUntouched, takesUserToken } from "../gateway/forwarder.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { UserTokenPair, UserTokens } from "../login/user-tokens.ts";
import { Secret } from "../secret.ts";
import type { Principal } from "../access/principal.ts";
import type { Call } from "./face.ts";
import { announcedLength } from "./body.ts";
import { withDefaultHeaders } from "./answer.ts";
import type { AskedCall, OtherPaths, Serving } from "./wechat.ts";
import { RawQuery } from "./wechat-request.ts";

/** Bun's maximum, for files on slow connections and slow answers of WeChat. */
const CALL_SECONDS = 255;

const REFRESH_PATH = /\/refresh_token\/?$/;
const COMPONENT_REFRESH = /^\/sns\/oauth2\/component\/refresh_token\/?$/i;

type GatewayAccess = Pick<Access, "userTokenHolder" | "userTokenOwner" | "isUntrusted" | "countAttempt">;

/** The gateway's paths: every path of WeChat and WeCom without a drop-in endpoint. */
export class GatewayPaths implements OtherPaths {
  readonly #access: GatewayAccess;
  readonly #gateway: Pick<Gateway, "call" | "check">;
  readonly #forwarder: Forwarder;
  readonly #concurrency: Pick<Concurrency, "enter">;
  readonly #userTokens: Pick<UserTokens, "find" | "replace">;

  constructor(
    access: GatewayAccess,
    gateway: Pick<Gateway, "call" | "check">,
    forwarder: Forwarder,
    concurrency: Pick<Concurrency, "enter">,
    userTokens: Pick<UserTokens, "find" | "replace">,
  ) {
    this.#access = access;
    this.#gateway = gateway;
    this.#forwarder = forwarder;
    this.#concurrency = concurrency;
    this.#userTokens = userTokens;
  }

  assertPath(platform: Platform, path: string): void {
    assertCanonicalPath(platform, path);
  }

  takesUserToken(path: string): boolean {
    return takesUserToken(path);
  }

  async forwardUntouched(serving: Serving): Promise<Response> {
    const { call, path, query } = serving.request;
    const isRefresh = REFRESH_PATH.test(path);
    const token = query.get(isRefresh ? "refresh_token" : "access_token") ?? "";
    const { principal, app } = await this.#holderOf(call, path, new Secret(token));
    if (call.request.method !== "GET")
      throw refusalOf("weixin", 43001, "require GET method", { code: "method_not_allowed" });
    assertCanonical("weixin", { method: call.request.method, path, query: serving.request.query });
    const action = `api:call ${pathFamily(path)}`;
    serving.usage = { identity: principal.identity, action, app };
    const request = this.#requestOf(serving, path, principal);
    const { signal } = request;
    const leave = await this.#concurrency.enter(request.caller, { signal });
    try {
      const forwarded = this.#forwardUser(request, isRefresh ? new Secret(token) : undefined);
      const { answer, bytes } = await onBehalf({ usage: serving.usage }, forwarded);
      call.outcome = { code: 0, result: "done", usage: serving.usage };
      return withDefaultHeaders(responseOf({ ...answer, body: bytes ?? answer.body }, leave), call.traceId);
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Who calls with a user's token: from an untrusted network, for whom that token was issued through us. */
  async #holderOf(
    call: Call,
    path: string,
    token: Secret,
  ): Promise<{ readonly principal: Principal; readonly app: string }> {
    const access = this.#access;
    if (access.isUntrusted(call) && token.reveal() !== "") {
      const owner = await this.#userTokens.find(token);
      const principal = owner && access.userTokenOwner(call, path, owner);
      if (principal) return { principal, app: owner.app };
      access.countAttempt(call);
    }
    return { principal: access.userTokenHolder(call, path), app: ANY_APP };
  }

  /** Forwards a call with a user's token; what a refresh has brought takes the place of `refreshToken`. */
  async #forwardUser(request: CallRequest, refreshToken: Secret | undefined) {
    const answer = await forwardUntouched(this.#forwarder, request);
    if (!refreshToken) return { answer, bytes: undefined };
    const read = await readSmallText(answer);
    const pair = pairIn(read.bytes);
    // What can't be looked up now costs its user a new login, at the worst.
    if (pair) await this.#userTokens.replace(refreshToken, pair).catch(() => undefined);
    return read;
  }

  async forward(serving: Serving, context: TokenContext, path: string): Promise<Response> {
    const { call } = serving.request;
    const { principal } = context;
    call.socket.giveTime(CALL_SECONDS);
    const action = `api:call ${pathFamily(path)}`;
    serving.usage = { identity: principal.identity, action, app: contextApp(context) };
    const request = this.#requestOf(serving, path, principal);
    const { response, ...how } = await onBehalf(
      { usage: serving.usage },
      this.#gateway.call(request, context),
    );
    if (COMPONENT_REFRESH.test(path)) await this.#noteRefresh(serving, response.clone());
    call.outcome = { code: 0, ...how, usage: serving.usage };
    return withDefaultHeaders(response, call.traceId);
  }

  /** What a refresh by a component has brought takes the place of the user's tokens before. */
  async #noteRefresh({ request: { query } }: Serving, answer: Pick<Response, "bytes">): Promise<void> {
    const pair = pairIn(await answer.bytes().catch(() => undefined));
    const before = query.get("refresh_token");
    if (pair && before) await this.#userTokens.replace(new Secret(before), pair).catch(() => undefined);
  }

  check(context: TokenContext, call: AskedCall): void {
    this.#gateway.check({ ...call, query: RawQuery.parse("") }, context);
  }

  #requestOf({ request }: Serving, path: string, principal: CallRequest["caller"]["principal"]): CallRequest {
    const { call, query } = request;
    const { method, headers, body, signal } = call.request;
    const length = body === null ? 0 : announcedLength(call.request);
    const caller = { principal, origin: call.origin, traceId: call.traceId };
    return { caller, method, path, query, headers, body, length, signal };
  }
}

/** The tokens in WeChat's answer to a refresh; undefined where there are none. */
function pairIn(bytes: Uint8Array | undefined): UserTokenPair | undefined {
  try {
    const answer: unknown = JSON.parse(Buffer.from(bytes ?? []).toString());
    const { access_token: access, refresh_token: refresh } = answer as Partial<Record<string, unknown>>;
    if (typeof access !== "string" || typeof refresh !== "string") return undefined;
    return { accessToken: new Secret(access), refreshToken: new Secret(refresh) };
  } catch {
    return undefined;
  }
}
