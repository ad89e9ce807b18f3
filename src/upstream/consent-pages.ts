import type { AppDirectory } from "../apps/app-directory.ts";
import { isAgency, roleOf, type Slot } from "../apps/app.ts";
import type { TokenKeeper } from "../credentials/source.ts";
import { ServiceError } from "../errors.ts";
import type { ConsentPages } from "../platforms/authorization-links.ts";
import type { LinkRequest } from "../platforms/authorization-store.ts";
import type { PreAuthCode } from "./component-api.ts";
import type { HttpClient } from "./http-client.ts";
import { suiteLinks } from "./suite-api.ts";

/** Official Accounts and Mini Programs. */
const DEFAULT_AUTH_TYPE = 3;

/** WeChat and WeCom have them on other hosts than those for web logins; a stand-in has all of its pages in one place. */
const CONSENT_ORIGINS: ReadonlyMap<string, string> = new Map([
  ["https://open.weixin.qq.com", "https://mp.weixin.qq.com"],
  ["https://login.work.weixin.qq.com", "https://open.work.weixin.qq.com"],
]);

/** What consent pages are made with. */
export interface ConsentPageParts {
  readonly http: HttpClient;
  readonly tokens: TokenKeeper;
  /** A code for one visit of WeChat's page. */
  readonly preAuthCode: (platform: Slot, signal: AbortSignal) => Promise<PreAuthCode>;
  readonly directory: Pick<AppDirectory, "find" | "slotOfApp">;
  /** Where the pages for web logins are: origins. */
  readonly loginUrls: { readonly weixin: string; readonly wecom: string };
}

/** WeChat's and WeCom's pages on which an account or a corp authorizes a platform; each visit has a code of its own. */
export function consentPages(parts: ConsentPageParts): ConsentPages {
  const { http, tokens, preAuthCode, directory, loginUrls } = parts;
  const { installUrl, agencyUrl } = suiteLinks(http, tokens);
  return {
    url: async (platform, link, redirectUri, signal) => {
      const { state, request } = link;
      if (roleOf(platform) === "component") {
        const { value } = await preAuthCode(platform, signal);
        return componentPage(platform, value.reveal(), { request, redirectUri, open: loginUrls.weixin });
      }
      if (!isAgency(platform.appId)) {
        const origin = consentOrigin(loginUrls.wecom);
        return installUrl(platform, { origin, redirectUri, state, isTest: request.isTest ?? false }, signal);
      }
      const provider = directory.find(directory.find(platform.appId)?.provider ?? "");
      if (provider?.role !== "provider") throw noProvider();
      const asked = { state, templates: [platform.appId] };
      return (await agencyUrl(directory.slotOfApp(provider.id), asked, signal)).url;
    },
  };
}

/** https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/Authorization_Process_Technical_Description.html */
function componentPage(
  { appId }: Slot,
  preAuthCode: string,
  {
    request,
    redirectUri,
    open,
  }: { readonly request: LinkRequest; readonly redirectUri: string; readonly open: string },
): string {
  const { authType = DEFAULT_AUTH_TYPE, bizAppId = "", categoryIds = [], isMobile = false } = request;
  const pairs = Object.entries({
    ...(isMobile ? { action: "bindcomponent", no_scan: "1" } : {}),
    component_appid: appId,
    pre_auth_code: preAuthCode,
    redirect_uri: redirectUri,
    auth_type: String(authType),
    biz_appid: bizAppId,
    category_id_list: categoryIds.join("|"),
  });
  const query = pairs
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return isMobile
    ? `${open}/wxaopen/safe/bindcomponent?${query.join("&")}#wechat_redirect`
    : `${consentOrigin(open)}/cgi-bin/componentloginpage?${query.join("&")}`;
}

function consentOrigin(loginOrigin: string): string {
  return CONSENT_ORIGINS.get(loginOrigin) ?? loginOrigin;
}

function noProvider(): ServiceError {
  return new ServiceError(
    "unavailable",
    "代开发模板的服务商未登记，请联系管理员 (the provider of this template is not registered: ask the administrator)",
  );
}
