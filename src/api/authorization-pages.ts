import type { Access } from "../access/access.ts";
import { ServiceError } from "../errors.ts";
import { type AuthorizationLinks, LINK_PATH, LINK_RETURN_PATH } from "../platforms/authorization-links.ts";
import { SECURITY_HEADERS, withDefaultHeaders } from "./answer.ts";
import type { Call, Face } from "./face.ts";
import { faultResponse, personResponse } from "./person-page.ts";

const PAGE = `${LINK_PATH}/:state`;
const GO = `${LINK_PATH}/:state/go`;
const PATH = /^\/connect\/authorize\/([A-Za-z0-9]+)(\/go)?$/;
/** WeChat refuses who does not come from a page of the domain that it returns to; the path, which has the state, is not sent. */
const REFERRER = { "referrer-policy": "origin" };

/** What the face works with. */
export interface AuthorizationPageParts {
  readonly links: Pick<AuthorizationLinks, "open" | "consentUrl" | "finish">;
  readonly access: Pick<Access, "countRefusal">;
}

/**
 * The pages of links by which accounts and corps authorize third-party platforms: one with a link, the way to WeChat,
 * and the return. Who has a link may use it; what goes wrong is told to a person.
 */
export class AuthorizationPages implements Face {
  readonly isPublic = true;
  readonly #parts: AuthorizationPageParts;

  constructor(parts: AuthorizationPageParts) {
    this.#parts = parts;
  }

  /** Its routes, with `:name` for what varies. */
  get routes(): readonly { method: string; path: string }[] {
    return [PAGE, GO, LINK_RETURN_PATH].map((path) => ({ method: "GET", path }));
  }

  matches({ path }: Call): boolean {
    return PATH.test(path);
  }

  /** Nobody has to. */
  mayIdentify(): boolean {
    return true;
  }

  handle(call: Call): Promise<Response> {
    const [, state = "", go] = PATH.exec(call.path) ?? [];
    const isReturn = call.path === LINK_RETURN_PATH;
    call.route = isReturn ? LINK_RETURN_PATH : go ? GO : PAGE;
    // A HEAD of a link preview must cost no code.
    if (call.request.method !== "GET")
      throw new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
    if (isReturn) return this.#finish(call);
    return go ? this.#go(call, state) : this.#page(call, state);
  }

  encodeError(thrown: unknown, call: Call): Response {
    const error = this.#parts.access.countRefusal(call, thrown);
    const page = `${LINK_PATH}/${new URLSearchParams(call.search).get("state")}`;
    const isUnknown = error instanceof ServiceError && error.code === "not_found";
    const hasPage = call.path === LINK_RETURN_PATH && !isUnknown && PATH.test(page);
    return faultResponse(error, call, {
      title: "授权 · Authorize",
      heading: "无法完成授权 · The authorization can't go on",
      // A code that came to nothing is good for nothing more, and whoever agreed is still here.
      link: hasPage ? { href: page, text: "重新授权 · Authorize again" } : undefined,
    });
  }

  async #page(call: Call, state: string): Promise<Response> {
    const title = await this.#parts.links.open(state, call.origin.address);
    call.outcome = { code: 0, result: "done" };
    const page = {
      title: `授权给 ${title} · Authorize ${title}`,
      heading: title,
      lines: [
        "请由公众号、小程序或企业的管理员操作：点击下方链接，在微信或企业微信的页面上确认授权。",
        "For the administrator of the account or corp: go on to WeChat's or WeCom's page and confirm there.",
      ],
      link: { href: `${LINK_PATH}/${state}/go`, text: "前往授权 · Go on" },
    };
    return personResponse(page, { traceId: call.traceId, headers: REFERRER });
  }

  async #go(call: Call, state: string): Promise<Response> {
    return redirect(call, await this.#parts.links.consentUrl(state, call.origin.address), REFERRER);
  }

  async #finish(call: Call): Promise<Response> {
    const done = await this.#parts.links.finish(call.search, call.origin.address);
    if (done.returnUrl !== undefined) return redirect(call, done.returnUrl);
    call.outcome = { code: 0, result: "done" };
    const { title, account, platformTitle } = done;
    const name = title === undefined ? `${account} ` : `${title}（${account}）`;
    const english = title === undefined ? account : `${title} (${account})`;
    const page = {
      title: "授权成功 · Authorized",
      heading: "授权成功 · Authorized",
      lines: [
        `${name}已授权给 ${platformTitle}，可以关闭本页面。`,
        `${english} has authorized ${platformTitle}. This page can be closed.`,
      ],
    };
    return personResponse(page, { traceId: call.traceId });
  }
}

function redirect(call: Call, location: string, more: Readonly<Record<string, string>> = {}): Response {
  call.outcome = { code: 0, result: "done" };
  const headers = { ...SECURITY_HEADERS, ...more, location };
  return withDefaultHeaders(new Response(null, { status: 302, headers }), call.traceId);
}
