import type { ComponentControl } from "./component-control.ts";
import { errorPage, html } from "./login-pages.ts";
import type { Answer, SandboxRequest } from "./sandbox-request.ts";
import type { SandboxAuthorizer } from "./sandbox-settings.ts";

const PATHS = new Set(["/cgi-bin/componentloginpage", "/wxaopen/safe/bindcomponent", "/safe/bindcomponent"]);

/** Which accounts each `auth_type` shows. */
const KINDS: ReadonlyMap<string, readonly SandboxAuthorizer["kind"][]> = new Map([
  ["1", ["official"]],
  ["2", ["miniprogram"]],
  ["3", ["official", "miniprogram"]],
  ["6", ["official", "miniprogram"]],
]);

/** How late the push comes where the browser's return comes first, in real milliseconds. */
const PUSH_DELAY_MS = 200;

/**
 * The page on which an account's administrator authorizes a component, with a button for each account; `undefined` for
 * any other path. An approval is pushed and sends the browser back, as `consentOrder` says.
 *
 * The page that links here must be on the domain of `redirect_uri`, and say so by its Referer.
 *
 * @see https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Authorization_Process_Technical_Description.html
 */
export async function consentPage(
  components: ReadonlyMap<string, ComponentControl>,
  request: SandboxRequest,
): Promise<Answer | undefined> {
  if (!PATHS.has(request.path)) return undefined;
  const isApproval = request.method === "POST";
  const fields = isApproval ? new URLSearchParams(Buffer.from(request.body).toString()) : request.query;
  const redirectUri = fields.get("redirect_uri") ?? "";
  const preAuthCode = fields.get("pre_auth_code") ?? "";
  const control = components.get(fields.get("component_appid") ?? "");
  if (!control) return errorPage("component_appid 参数错误", 40_013);
  if (!/^https?:$/.test(urlOf(redirectUri).protocol)) return errorPage("redirect_uri 参数错误", 10_003);
  const referer = urlOf(String(request.headers["referer"] ?? ""));
  if (!isApproval && referer.hostname !== urlOf(redirectUri).hostname)
    return errorPage("请确认授权入口页所在域名，与授权后回调页所在域名相同", 61_007);
  if (!control.component.acceptsPreAuthCode(preAuthCode))
    return errorPage("pre_auth_code 无效、已使用或已过期", 61_009);
  const choices = choicesOf(control, fields);
  if (!choices) return errorPage("auth_type 参数错误", 40_097);
  const chosen = choices.find(({ appId }) => appId === fields.get("authorizer"));
  if (isApproval)
    return chosen ? approve(control, chosen, preAuthCode, fields) : errorPage("没有该帐号", 40_013);
  const buttons = choices.map(
    ({ appId, name }) =>
      `<p><button name="authorizer" value="${Bun.escapeHTML(appId)}">授权 · Authorize ${Bun.escapeHTML(name)} (${Bun.escapeHTML(appId)})</button></p>`,
  );
  const hidden = [...fields].map(
    ([name, value]) =>
      `<input type="hidden" name="${Bun.escapeHTML(name)}" value="${Bun.escapeHTML(value)}">`,
  );
  const form = `<form method="post" action="${request.path}">\n${[...hidden, ...buttons].join("\n")}\n</form>`;
  return html("沙箱授权 · Sandbox authorization", form);
}

/** The accounts that may be chosen: the one that `biz_appid` names, or those of the `auth_type`. */
function choicesOf(
  { component }: ComponentControl,
  fields: URLSearchParams,
): SandboxAuthorizer[] | undefined {
  const all = [...component.authorizers.values()].map(({ authorizer }) => authorizer);
  const only = fields.get("biz_appid") ?? "";
  if (only !== "") return all.filter(({ appId }) => appId === only);
  const kinds = KINDS.get(fields.get("auth_type") ?? "");
  return kinds && all.filter(({ kind }) => kinds.includes(kind));
}

async function approve(
  control: ComponentControl,
  { appId }: SandboxAuthorizer,
  preAuthCode: string,
  fields: URLSearchParams,
): Promise<Answer> {
  const categories = (fields.get("category_id_list") ?? "").split("|").filter((id) => id !== "");
  const { redirect, sendPush } = await control.authorize(appId, {
    funcIds: categories.length > 0 ? categories.map(Number) : undefined,
    send: control.consentOrder,
    redirectUri: fields.get("redirect_uri") ?? undefined,
    preAuthCode,
  });
  if (control.consentOrder === "redirect-first") setTimeout(() => void sendPush(), PUSH_DELAY_MS).unref();
  if (redirect === undefined) return html("已授权 · Authorized", "<p>OK</p>");
  return { status: 302, headers: { Location: redirect }, body: "" };
}

function urlOf(text: string): URL {
  return new URL(URL.canParse(text) ? text : "about:blank");
}
