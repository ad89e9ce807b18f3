import { ANY_APP } from "../access/client.ts";
import type { Access } from "../access/access.ts";
import type { WechatRequest } from "../api/wechat-request.ts";
import { refusalOf } from "../api/wechat-answer.ts";
import { type Forwarder, forwardTracked, headersUp } from "./forwarder.ts";
import { pathFamily } from "../access/api-policy.ts";

/**
 * Where a user's token is sent, and nothing secret of ours.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 */
const PATHS: ReadonlySet<string> = new Set(["/sns/userinfo", "/sns/auth", "/sns/oauth2/refresh_token"]);

/** What these calls work with. */
export interface UserTokenCallParts {
  readonly access: Pick<Access, "admitTrusted">;
  readonly forwarder: Forwarder;
}

/** Hands on calls with a user's own token, with which the app's has nothing to do: each goes up as it came. */
export class UserTokenCalls {
  readonly #parts: UserTokenCallParts;

  constructor(parts: UserTokenCallParts) {
    this.#parts = parts;
  }

  /** Whether the path takes a user's own token. */
  takes(path: string): boolean {
    return PATHS.has(path);
  }

  /**
   * WeChat's answer, as it came.
   *
   * @throws {ServiceError} `forbidden` for who is neither a client nor comes from a trusted address; what
   *   `Forwarder.forward` throws. Whether it may have been carried out is noted on the caller.
   */
  async pass({ request, path, query, caller }: WechatRequest): Promise<Response> {
    this.#parts.access.admitTrusted(caller);
    const { method, headers, signal } = request;
    if (method !== "GET") throw refusalOf("weixin", 43001, "require GET method");
    caller.use = { action: "api:call", app: ANY_APP, family: pathFamily(path) };
    const { status, ...answer } = await forwardTracked(caller, this.#parts.forwarder, {
      platform: "weixin",
      method,
      path,
      query: query.toString(),
      headers: headersUp(headers),
      body: undefined,
      signal,
    });
    return new Response(answer.body, { status, headers: answer.headers });
  }
}
