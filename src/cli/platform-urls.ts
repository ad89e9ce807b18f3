import type { PlatformRole } from "../apps/app.ts";
import type { Language } from "../config.ts";
import { bilingual, type Text } from "./arguments.ts";

/** The URLs of each kind of third-party platform, as its console calls them. */
const NAMES: Readonly<Record<PlatformRole, readonly Text[]>> = {
  component: [
    bilingual("event URL (授权事件接收URL)", "授权事件接收URL"),
    bilingual("message URL (消息与事件接收URL)", "消息与事件接收URL"),
  ],
  suite: [
    bilingual("command URL (指令回调URL)", "指令回调URL"),
    bilingual("data URL (数据回调URL)", "数据回调URL"),
  ],
  provider: [bilingual("system event URL (系统事件接收URL)", "系统事件接收URL")],
};

/** The domain of the page that leads to the consent, as each console calls it. */
export const DOMAIN_NAMES: Readonly<Record<"component" | "suite", Text>> = {
  component: bilingual("domain (登录授权的发起页域名)", "登录授权的发起页域名"),
  suite: bilingual("domain (安装完成回调域名)", "安装完成回调域名"),
};

/** The URLs of a third-party platform, its own events' first, under the names that its console has for them. */
export function urlFields(
  kind: PlatformRole,
  urls: readonly (string | undefined)[],
  language: Language,
): Record<string, string | undefined> {
  return Object.fromEntries(NAMES[kind].map((name, n) => [name[language], urls[n]]));
}

/** Where what a platform is given is entered. */
export const PLATFORM_CONSOLES: Readonly<Record<PlatformRole, Text>> = {
  component: bilingual(
    "Enter these at open.weixin.qq.com: 管理中心 → 第三方平台 → 详情 → 开发配置, and this service's address on the IP allow-list (白名单IP地址列表) there. $APPID$ is entered as it stands: WeChat puts each account's AppID in its place. The first ticket comes within 10 minutes.",
    "请在 open.weixin.qq.com 填入：管理中心 → 第三方平台 → 详情 → 开发配置，并将本服务的出口IP加入该处的白名单IP地址列表。$APPID$ 原样填入，由微信替换为授权方的appid。10分钟内会收到第一个ticket。",
  ),
  suite: bilingual(
    "Enter these in the provider's console (服务商后台, service.work.weixin.qq.com): 应用管理 → the application or template → 回调配置, and this service's address on the provider's IP allow-list (IP白名单). $CORPID$ is entered as it stands: WeCom puts each corp's id in its place. Saving makes WeCom check each URL.",
    "请在服务商后台（service.work.weixin.qq.com）填入：应用管理 → 该应用或模板 → 回调配置，并将本服务的出口IP加入服务商的IP白名单。$CORPID$ 原样填入，由企业微信替换为授权企业的corpid；保存时会逐个验证URL。",
  ),
  provider: bilingual(
    "Enter it in the provider's console (服务商后台, service.work.weixin.qq.com): 服务商信息 → 通用开发参数 → 系统事件接收URL. Saving it makes WeCom check the URL.",
    "请在服务商后台（service.work.weixin.qq.com）填入：服务商信息 → 通用开发参数 → 系统事件接收URL；保存时企业微信会验证URL。",
  ),
};
