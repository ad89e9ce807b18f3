import { errorPage, html } from "./login-pages.ts";
import { type Answer, Refusal, type SandboxRequest } from "./sandbox-request.ts";
import type { SuiteControl } from "./suite-control.ts";
import type { Suite, SuitePlatform } from "./suite-platform.ts";

/** `[a-zA-Z0-9]`, at most 128 bytes. */
const STATE = /^[A-Za-z0-9]{0,128}$/;

/**
 * The pages on which a corp's administrator installs a suite: `/3rdapp/install`, from a provider's own site, and
 * `/3rdapp/customized`, the link of `get_customized_auth_url`. Each has a link per corp, below `…/approve`. Undefined
 * for any other path.
 */
export async function installPage(
  platform: SuitePlatform,
  control: (suiteId: string) => SuiteControl,
  request: SandboxRequest,
): Promise<Answer | undefined> {
  const { path, query } = request;
  const isApproved = path.endsWith("/approve");
  const page = isApproved ? path.slice(0, -"/approve".length) : path;
  if (page !== "/3rdapp/install" && page !== "/3rdapp/customized") return undefined;
  const offer = page === "/3rdapp/install" ? suiteOffer(platform, query) : linkOffer(platform, query);
  if (typeof offer === "string") return errorPage(offer, 10_003);
  if (!isApproved) return choices(page, query, offer.suites);
  const suite = offer.suites.find(({ settings }) => settings.suiteId === query.get("suite_id"));
  const corpId = query.get("corp_id") ?? "";
  if (!suite?.corps.has(corpId)) return errorPage("corp_id 参数错误", 10_003);
  const { redirect } = await control(suite.settings.suiteId).install(corpId, offer.options);
  if (redirect !== undefined) return { status: 302, headers: { Location: redirect }, body: "" };
  return html("沙箱授权 · Sandbox authorization", `<p id="done">已授权 · Authorized</p>`);
}

interface Offer {
  suites: readonly Suite[];
  options: { state: string; redirectUri?: string };
}

/** The suite of a provider's own page, or what is wrong with its link. */
function suiteOffer(platform: SuitePlatform, query: URLSearchParams): Offer | string {
  const suite = platform.suites.get(query.get("suite_id") ?? "");
  if (!suite || suite.isAgency) return "suite_id 参数错误";
  try {
    suite.requirePreAuthCode(query.get("pre_auth_code") ?? "");
  } catch (error) {
    if (error instanceof Refusal) return "pre_auth_code 参数错误";
    throw error;
  }
  const redirectUri = query.get("redirect_uri") ?? "";
  const { protocol } = new URL(URL.canParse(redirectUri) ? redirectUri : "about:blank");
  if (!/^https?:$/.test(protocol)) return "redirect_uri 参数错误";
  const state = query.get("state") ?? "";
  return STATE.test(state) ? { suites: [suite], options: { state, redirectUri } } : "state 参数错误";
}

function linkOffer(platform: SuitePlatform, query: URLSearchParams): Offer | string {
  const ids = query.get("templates")?.split(",") ?? [];
  const suites = ids
    .map((id) => platform.suites.get(id))
    .filter((suite) => suite !== undefined)
    .filter(({ isAgency }) => isAgency);
  const isValid = suites.length > 0 && platform.time.seconds() < Number(query.get("until"));
  return isValid ? { suites, options: { state: query.get("state") ?? "" } } : "链接已失效";
}

function choices(page: string, query: URLSearchParams, suites: readonly Suite[]): Answer {
  const links = suites.flatMap(({ settings: { suiteId }, corps }) =>
    [...corps.values()].map(({ settings: { corpId, name } }) => {
      const approval = new URLSearchParams(query);
      approval.set("suite_id", suiteId);
      approval.set("corp_id", corpId);
      const [id, href, label] = [
        `${suiteId}-${corpId}`,
        `${page}/approve?${approval.toString()}`,
        `${suiteId}：${name} (${corpId})`,
      ].map((part) => Bun.escapeHTML(part));
      return `<p><a id="${id}" href="${href}">${label}</a></p>`;
    }),
  );
  return html("沙箱授权 · Sandbox authorization", links.join("\n"));
}
