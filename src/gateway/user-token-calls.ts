import {
  type CallRequest,
  type ForwardAnswer,
  type Forwarder,
  forwardTracked,
  headersUp,
} from "./forwarder.ts";

/**
 * Where a user's token is sent, and nothing secret of ours.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 */
const PATHS: ReadonlySet<string> = new Set(["/sns/userinfo", "/sns/auth", "/sns/oauth2/refresh_token"]);

/** Forwards calls with a user's own token, unchanged: the app's token has no part in them. */
export class UserTokenCalls {
  readonly #forwarder: Forwarder;

  constructor(forwarder: Forwarder) {
    this.#forwarder = forwarder;
  }

  /** Whether the path takes a user's own token. */
  takes(path: string): boolean {
    return PATHS.has(path);
  }

  /** WeChat's answer, as it came. Throws as `forwardTracked`. */
  forward({ method, path, query, headers, signal }: CallRequest): Promise<ForwardAnswer> {
    const request = { platform: "weixin", method, path, query: query.toString(), signal } as const;
    return forwardTracked(this.#forwarder, { ...request, headers: headersUp(headers), body: undefined });
  }
}
