import type { Access } from "../access/access.ts";
import { ServiceError } from "../errors.ts";
import { LOGIN_WAYS, type LoginWay, loginPath } from "../oauth/login-link.ts";
import { isVerifyFileName, type VerifyFiles } from "../oauth/verify-files.ts";
import { RETURN_PATH, type WebLogins } from "../oauth/web-logins.ts";
import { SECURITY_HEADERS, textResponse, withDefaultHeaders } from "./answer.ts";
import type { Call, Face } from "./face.ts";
import { faultResponse } from "./person-page.ts";

/** A page that many programs use for logins on several domains, with the parameters of its links. */
const RELAY_PAGE = "/get-weixin-code.html";
const VERIFY_FILE = "/MP_verify_:name.txt";

const PAGES: ReadonlyMap<string, LoginWay> = new Map(LOGIN_WAYS.map((way) => [loginPath(way), way]));

/** What the face works with. */
export interface WebLoginFaceParts {
  readonly webLogins: Pick<WebLogins, "begin" | "finish">;
  readonly verifyFiles: Pick<VerifyFiles, "find">;
  readonly access: Pick<Access, "countRefusal">;
}

/**
 * Web logins: WeChat's own links under our host, the return from WeChat, and the files that prove a domain to be ours.
 *
 * Users' browsers come here, and WeChat; what goes wrong is told to a person, on a page.
 */
export class WebLoginFace implements Face {
  readonly isPublic = true;
  readonly #parts: WebLoginFaceParts;

  constructor(parts: WebLoginFaceParts) {
    this.#parts = parts;
  }

  /** Its routes, with `:name` for what varies. */
  get routes(): readonly { method: string; path: string }[] {
    const paths = [...PAGES.keys(), RETURN_PATH, RELAY_PAGE, VERIFY_FILE];
    return paths.map((path) => ({ method: "GET", path }));
  }

  matches({ path }: Call): boolean {
    return PAGES.has(path) || path === RETURN_PATH || path === RELAY_PAGE || isVerifyFileName(path.slice(1));
  }

  /** Nobody has to. */
  mayIdentify(): boolean {
    return true;
  }

  handle(call: Call): Response | Promise<Response> {
    const { path } = call;
    call.route = isVerifyFileName(path.slice(1)) ? VERIFY_FILE : path;
    // A HEAD of a link preview must not use a login up.
    if (call.request.method !== "GET")
      throw new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
    return call.route === VERIFY_FILE ? this.#file(call) : this.#redirect(call);
  }

  encodeError(thrown: unknown, call: Call): Response {
    const error = this.#parts.access.countRefusal(call, thrown);
    return faultResponse(error, call, {
      title: "登录 · Log in",
      heading: "无法继续登录 · The login can't go on",
    });
  }

  #file(call: Call): Response {
    const content = this.#parts.verifyFiles.find(call.path.slice(1));
    if (content === undefined) throw new ServiceError("not_found", "没有该文件 (no such file)");
    call.outcome = { code: 0, result: "done" };
    const { traceId } = call;
    return textResponse(content, { contentType: "text/plain; charset=utf-8", traceId });
  }

  async #redirect(call: Call): Promise<Response> {
    const { path, search, traceId, origin } = call;
    const { webLogins } = this.#parts;
    const way = PAGES.get(path);
    const location =
      path === RETURN_PATH
        ? await webLogins.finish(search, origin.address)
        : way
          ? await webLogins.begin(way, search, origin.address)
          : await webLogins.begin(...relayed(search), origin.address);
    call.outcome = { code: 0, result: "done" };
    const headers = { ...SECURITY_HEADERS, location };
    return withDefaultHeaders(new Response(null, { status: 302, headers }), traceId);
  }
}

/** What a link to the relay page asks of WeChat: `device=pc` is for a browser on a computer, which shows a QR code. */
function relayed(search: string): [way: LoginWay, search: string] {
  const pairs = search.split("&");
  const isPc = pairs.includes("device=pc");
  const kept = pairs.filter((pair) => !/^(device|scope)(=|$)/.test(pair));
  const scope =
    pairs.find((pair) => /^scope=./.test(pair)) ?? (isPc ? "scope=snsapi_login" : "scope=snsapi_base");
  return [isPc ? "qrconnect" : "authorize", [...kept, scope].join("&")];
}
