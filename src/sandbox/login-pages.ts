import { randomBytes } from "node:crypto";
import type { Answer, SandboxRequest } from "./sandbox-request.ts";
import type { SandboxWeixinApp } from "./sandbox-settings.ts";

/** The pages, and which scopes each of them knows; undefined where there are none. */
const PAGES: ReadonlyMap<string, readonly string[] | undefined> = new Map([
  ["/connect/oauth2/authorize", ["snsapi_base", "snsapi_userinfo", "snsapi_privateinfo"]],
  ["/connect/qrconnect", ["snsapi_login"]],
  ["/wwlogin/sso/login", undefined],
]);
const MAX_STATE_BYTES = 128;

/** Whether the path is that of a page for web logins. */
export function isLoginPage(path: string): boolean {
  return PAGES.has(path);
}

/**
 * A page for a web login, as WeChat's and WeCom's are: the user approves or refuses, and the browser goes to
 * `redirect_uri`, with a code that the sandbox's exchange takes, or with the state alone.
 *
 * `app` is what the platform has of the app, if it has it. Every scope has the page here; WeChat shows none for `snsapi_base`.
 *
 * @see https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html
 * @see https://developers.weixin.qq.com/doc/oplatform/Website_App/WeChat_Login/Wechat_Login.html
 * @see https://developer.work.weixin.qq.com/document/path/98152
 */
export function loginPage(
  { path, query }: SandboxRequest,
  app: Pick<SandboxWeixinApp, "webDomain"> | undefined,
): Answer {
  const [redirectUri, scope] = [query.get("redirect_uri") ?? "", query.get("scope") ?? ""];
  const scopes = PAGES.get(path);
  if (!app) return errorPage("appid 参数错误", 10_012);
  const { protocol, hostname } = new URL(URL.canParse(redirectUri) ? redirectUri : "about:blank");
  if (!/^https?:$/.test(protocol) || hostname !== (app.webDomain ?? hostname))
    return errorPage("redirect_uri 参数错误", 10_003);
  if (scopes && query.get("response_type") !== "code") return errorPage("response_type 参数错误", 10_005);
  if (scopes && !scopes.includes(scope)) return errorPage("Scope 参数错误或没有 Scope 权限", 10_005);
  const state = query.get("state") ?? "";
  if (Buffer.byteLength(state) > MAX_STATE_BYTES) return errorPage("state 参数过长", 10_006);
  // A third-party platform learns whose user it is.
  const appid = query.get("appid") ?? "";
  const more: Record<string, string> = query.has("component_appid") ? { appid } : {};
  const code = `sandbox-code-${scope === "snsapi_base" ? "base-" : ""}${randomBytes(12).toString("hex")}`;
  const links = [
    `<p><a id="approve" href="${Bun.escapeHTML(redirectTo(redirectUri, { code, state, ...more }))}">同意 · Approve</a></p>`,
    `<p><a id="refuse" href="${Bun.escapeHTML(redirectTo(redirectUri, { state }))}">拒绝 · Refuse</a></p>`,
  ];
  return html("沙箱登录 · Sandbox login", links.join("\n"));
}

/** `redirectUri` with these parameters at the end of its query. */
export function redirectTo(redirectUri: string, parameters: Readonly<Record<string, string>>): string {
  const url = new URL(redirectUri);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.append(name, value);
  return url.href;
}

/** WeChat's pages say what is wrong with HTTP 200. */
export function errorPage(text: string, code: number): Answer {
  return html("错误 · Error", `<p id="error">${text} (${code})</p>`);
}

/** A page of the sandbox; `body` is HTML. */
export function html(title: string, body: string): Answer {
  return {
    status: 200,
    headers: { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" },
    body: `<!doctype html>\n<meta charset="utf-8">\n<title>${title}</title>\n<h1>${title}</h1>\n${body}\n`,
  };
}
