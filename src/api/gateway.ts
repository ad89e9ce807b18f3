import { pathFamily } from "../access/api-policy.ts";
import { ANY_APP } from "../access/client.ts";
import type { Concurrency } from "../access/limits.ts";
import { type Access, onBehalf } from "../access/access.ts";
import { contextApp, type TokenContext } from "../credentials/token-resolver.ts";
import { type Platform, refusalOf } from "../errors.ts";
import { responseOf } from "../gateway/answer.ts";
import { assertCanonical, assertCanonicalPath } from "../gateway/blocked-paths.ts";
import { type CallRequest, type Forwarder, forwardUntouched, takesUserToken } from "../gateway/forwarder.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { announcedLength } from "./body.ts";
import { withDefaultHeaders } from "./answer.ts";
import type { OtherPaths, Serving } from "./wechat.ts";

/** Bun's maximum, for files on slow connections and slow answers of WeChat. */
const CALL_SECONDS = 255;

/** The gateway's paths: every path of WeChat and WeCom without a drop-in endpoint. */
export class GatewayPaths implements OtherPaths {
  readonly #access: Pick<Access, "userTokenHolder">;
  readonly #gateway: Pick<Gateway, "call">;
  readonly #forwarder: Forwarder;
  readonly #concurrency: Pick<Concurrency, "enter">;

  constructor(
    access: Pick<Access, "userTokenHolder">,
    gateway: Pick<Gateway, "call">,
    forwarder: Forwarder,
    concurrency: Pick<Concurrency, "enter">,
  ) {
    this.#access = access;
    this.#gateway = gateway;
    this.#forwarder = forwarder;
    this.#concurrency = concurrency;
  }

  assertPath(platform: Platform, path: string): void {
    assertCanonicalPath(platform, path);
  }

  takesUserToken(path: string): boolean {
    return takesUserToken(path);
  }

  async forwardUntouched(serving: Serving): Promise<Response> {
    const { call, path } = serving.request;
    const principal = this.#access.userTokenHolder(call, path);
    if (call.request.method !== "GET")
      throw refusalOf("weixin", 43001, "require GET method", { code: "method_not_allowed" });
    assertCanonical("weixin", { method: call.request.method, path, query: serving.request.query });
    const action = `api:call ${pathFamily(path)}`;
    serving.usage = { identity: principal.identity, action, app: ANY_APP };
    const request = this.#requestOf(serving, path, principal);
    const { signal } = request;
    const leave = await this.#concurrency.enter(request.caller, { signal });
    try {
      const answer = await onBehalf({ usage: serving.usage }, forwardUntouched(this.#forwarder, request));
      call.outcome = { code: 0, result: "done", usage: serving.usage };
      return withDefaultHeaders(responseOf(answer, leave), call.traceId);
    } catch (error) {
      leave();
      throw error;
    }
  }

  async forward(serving: Serving, context: TokenContext, path: string): Promise<Response> {
    const { call } = serving.request;
    const { principal } = context;
    call.socket.giveTime(CALL_SECONDS);
    const action = `api:call ${pathFamily(path)}`;
    serving.usage = { identity: principal.identity, action, app: contextApp(context) };
    const request = this.#requestOf(serving, path, principal);
    const { response, result } = await onBehalf(
      { usage: serving.usage },
      this.#gateway.call(request, context),
    );
    call.outcome = { code: 0, result, usage: serving.usage };
    return withDefaultHeaders(response, call.traceId);
  }

  #requestOf({ request }: Serving, path: string, principal: CallRequest["caller"]["principal"]): CallRequest {
    const { call, query } = request;
    const { method, headers, body, signal } = call.request;
    const length = body === null ? 0 : announcedLength(call.request);
    const caller = { principal, origin: call.origin, traceId: call.traceId };
    return { caller, method, path, query, headers, body, length, signal };
  }
}
