import type { ChannelKind } from "./notifications.ts";

/** Where the bots of the three platforms are. The sandbox has them on loopback, under the same paths. */
const BOTS: Readonly<Record<Exclude<ChannelKind, "webhook">, { hosts: readonly string[]; path: RegExp }>> = {
  wecom: { hosts: ["qyapi.weixin.qq.com"], path: /^\/cgi-bin\/webhook\/send$/ },
  dingtalk: { hosts: ["oapi.dingtalk.com"], path: /^\/robot\/send$/ },
  feishu: {
    hosts: ["open.feishu.cn", "open.larksuite.com"],
    path: /^\/open-apis\/bot\/v2\/hook\/[\w-]+$/,
  },
};
const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])$/;

/**
 * Whether a channel of this kind may have this URL: of the three bots their own hosts over https, and of the sandbox the
 * same paths; a webhook over https. On loopback, where nobody listens in, plain http does. Whether a webhook's address may
 * be asked is looked up at each message.
 */
export function isChannelUrl(kind: ChannelKind, url: URL): boolean {
  const isSecure = url.protocol === "https:";
  if (url.username !== "" || url.password !== "" || !(isSecure || isOnLoopback(url))) return false;
  if (kind === "webhook") return true;
  const { hosts, path } = BOTS[kind];
  const isTheirs = isSecure && url.port === "" && hosts.includes(url.hostname);
  return path.test(url.pathname) && (isTheirs || isOnLoopback(url));
}

/** Whether it is plain http to this machine. */
export function isOnLoopback({ protocol, hostname }: URL): boolean {
  return protocol === "http:" && LOOPBACK.test(hostname);
}
