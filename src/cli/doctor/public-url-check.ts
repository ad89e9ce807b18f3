import { isLoopback } from "../../access/networks.ts";
import { failure, type Finding, fine, Skipped, warning } from "../../ops/doctor.ts";
import { probeService, probeStream } from "../../upstream/probes.ts";
import type { Setup } from "./setup.ts";

/** Whether the service is reached where `PUBLIC_URL` says, and whether what is in front of it passes on what it must. */
export async function checkPublicUrl(setup: Setup): Promise<Finding[]> {
  const { publicSide, trustedProxies } = setup.config;
  if (publicSide.url === undefined) throw new Skipped("未设置PUBLIC_URL (PUBLIC_URL is not set)");
  setup.online();
  const url = new URL(publicSide.url);
  const origin = url.origin;
  const { fault, status, isService, message } = await probeService(origin, "/readyz");
  if (fault !== undefined)
    return [
      failure(
        `无法访问 ${origin}（${fault}） (${origin} can't be reached (${fault}))`,
        "检查DNS、证书、代理和防火墙 (look at DNS, certificate, proxy and firewall)",
      ),
    ];
  if (!isService)
    return [
      failure(
        `${origin} 由其他程序应答（HTTP ${status}） (something else answers at ${origin} (HTTP ${status}))`,
        "让代理把该域名的请求转发到本服务，或修正PUBLIC_URL (let the proxy pass requests on to the service, or correct PUBLIC_URL)",
      ),
    ];
  const found = [fine(`${origin} 可以访问 (${origin} answers)`)];
  // The service speaks no TLS, so a proxy is in front; had it said for whom it asks, we would not be taken for a neighbour.
  const isHidden = url.protocol === "https:" && trustedProxies.isEmpty && (status === 200 || status === 503);
  if (/TRUSTED_PROXIES中的代理/.test(message) || isHidden)
    found.push(
      failure(
        isHidden
          ? "代理没有发送X-Forwarded-For：所有调用方看起来都来自代理，并因此受信任 (the proxy sends no X-Forwarded-For: every caller seems to be the proxy, and is trusted for that)"
          : message,
        "代理中设置 X-Forwarded-For（nginx：proxy_set_header X-Forwarded-For $remote_addr），并设置TRUSTED_PROXIES (send X-Forwarded-For (nginx: proxy_set_header X-Forwarded-For $remote_addr), and list the proxy in TRUSTED_PROXIES)",
      ),
    );
  else if (/TRUSTED_PROXIES/.test(message))
    found.push(warning(message, "在TRUSTED_PROXIES中列出该代理 (list the proxy in TRUSTED_PROXIES)"));
  const { apiKey } = setup;
  if (apiKey && publicSide.servesAll && (url.protocol === "https:" || isLoopback(url.hostname))) {
    const stream = await probeStream(origin, apiKey);
    if (stream === "refused")
      found.push(
        warning(
          "--key-file 的密钥不能打开事件流 (the key of --key-file can't open the stream of events)",
          "使用有view权限的有效密钥 (use a valid key that may view)",
        ),
      );
    if (stream === "kept_back")
      found.push(
        failure(
          "代理缓冲了事件流（/v1/events） (the proxy keeps streams of events back (/v1/events))",
          "代理中关闭缓冲（nginx：proxy_buffering off） (turn its buffering off (nginx: proxy_buffering off))",
        ),
      );
  }
  return found;
}
