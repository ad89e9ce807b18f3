import { type Platform, ServiceError } from "../errors.ts";

/** What people call the two upstreams. */
export const UPSTREAM_NAMES: Readonly<Record<Platform, readonly [chinese: string, english: string]>> = {
  weixin: ["微信", "WeChat"],
  wecom: ["企业微信", "WeCom"],
};

/** How Bun names the failures in which no request has left this machine. */
const NEVER_SENT = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|.*CERT.*|.*SIGNATURE.*)$/;

/** The error for a request of which certainly nothing was sent; undefined when a part of it may have arrived. */
export function unreachable(platform: Platform, error: unknown): ServiceError | undefined {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (!NEVER_SENT.test(code)) return undefined;
  const [chinese, english] = UPSTREAM_NAMES[platform];
  return new ServiceError(
    "upstream_unreachable",
    `无法连接${chinese}服务器，请检查本机的网络、DNS和代理 (can't connect to ${english}: ${code}; check network, DNS and proxy)`,
  );
}
