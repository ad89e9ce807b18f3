import type { Answer } from "./answer.ts";
import type { SandboxRequest } from "./sandbox-request.ts";
import type { WeixinApp } from "./weixin-app.ts";

/** A request that was answered, as WeChat remembers it. */
export interface LoggedRequest {
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
export class RequestLog {
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
