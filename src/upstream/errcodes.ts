import { type Platform, ServiceError, type UpstreamErrorClass } from "../errors.ts";

/**
 * WeChat's errcodes that ask something of us; every other one is for the caller (`input`).
 *
 * https://developers.weixin.qq.com/doc/oplatform/Return_codes/Return_code_descriptions_new.html
 */
const WEIXIN: ReadonlyMap<number, UpstreamErrorClass> = new Map([
  ...all("token_invalid", [40014, 42001, 42006]),
  ...all("config", [40002, 40013, 40090, 40094, 40125, 40164, 41002, 41004, 41018, 45035]),
  ...all("config", [61004, 61011, 61024]),
  ...all("account", [40243, 48004, 50002, 50004, 50007]),
  ...all("risk", [89501, 89503, 89506, 89507]),
  ...all("permission", [48001, 48006, 50001, 61003, 61007, 61016]),
  ...all("quota_day", [45009]),
  ...all("quota_minute", [45011]),
]);

/**
 * WeCom's errcodes. Several numbers mean something else than on WeChat: 40001 is a wrong secret and never an
 * invalid token, 45009 a block of a minute and more, 50001 and 50003 are the app's own settings.
 *
 * https://developer.work.weixin.qq.com/document/path/90313
 */
const WECOM: ReadonlyMap<number, UpstreamErrorClass> = new Map([
  ...all("token_invalid", [40014, 40082, 41022, 42001, 42009]),
  // A suite's ticket: the next one is pushed within ten minutes.
  ...all("transient", [40085, 41023]),
  ...all(
    "config",
    [40001, 40013, 40080, 40083, 40091, 41002, 41004, 41021, 41024, 41025, 48003, 60020, 2000002],
  ),
  ...all("account", [50003, 301007]),
  ...all("permission", [40084, 48002, 48004, 48005, 48006, 50002, 60011]),
  ...all("quota_minute", [45009, 45033]),
]);

/**
 * What an errcode asks of us, by platform, because the numbers mean different things.
 *
 * `endpoint` matters for WeChat's 40001 alone: from an endpoint that takes the AppSecret it is about the secret, from
 * one that takes an access token it is about the token.
 */
export function classifyErrcode(
  platform: Platform,
  errcode: number,
  endpoint: "takes_secret" | "takes_token",
): UpstreamErrorClass {
  if (errcode < 0) return "transient";
  if (platform === "wecom") return WECOM.get(errcode) ?? "input";
  if (errcode === 40001) return endpoint === "takes_secret" ? "config" : "token_invalid";
  return WEIXIN.get(errcode) ?? "input";
}

/** What the operator should do about a refusal, where that is known: the address that WeChat named, above all. */
export function hintFor(errcode: number, errmsg: string): { hint?: string } {
  const address = /(?:invalid ip|from ip:?|requestIP:) ?([0-9a-fA-F:.]+)/.exec(errmsg)?.[1];
  if (IP_LIST.has(errcode)) {
    return {
      hint: `请将 ${address ?? "本服务的出口IP"} 加入IP白名单 (add ${address ?? "this service's address"} to the IP allow-list)`,
    };
  }
  const hint = HINTS.get(errcode);
  return hint === undefined ? {} : { hint };
}

const IP_LIST = new Set([40090, 40164, 45035, 60020, 61004]);
const HINTS = new Map([
  [40013, "请检查appid或corpid (check the appid or corpid)"],
  [40125, "请检查并更新该应用的secret (check the app's secret)"],
  [40001, "请检查并更新该应用的secret (check the app's secret)"],
  [40080, "请检查并更新该第三方应用的secret (check the suite's secret)"],
  [
    40084,
    "永久授权码无效或已取消，请企业重新授权 (the permanent code is invalid or was cancelled: the corp has to authorize again)",
  ],
  [
    40085,
    "suite_ticket无效或已过期，请等待下一次推送，或在服务商后台手动推送 (the suite_ticket is invalid or has expired: wait for the next push, or trigger one in the provider's console)",
  ],
  [
    40243,
    "AppSecret已冻结，请在微信后台解冻，10分钟后生效 (the AppSecret is frozen; unfreeze it, wait 10 minutes)",
  ],
  [50004, "账号的接口权限被限制，请登录微信后台查看 (the account is restricted; see WeChat's console)"],
  [50007, "账号已冻结，请登录微信后台查看 (the account is frozen; see WeChat's console)"],
  [89501, "请管理员在微信中确认本次调用 (the administrator must confirm in WeChat)"],
  [89503, "请管理员在微信中确认本次调用 (the administrator must confirm in WeChat)"],
  [89506, "管理员拒绝了该IP，24小时后可重试 (an administrator refused this address; wait 24 hours)"],
  [
    61003,
    "该账号已取消对此第三方平台的授权，请其管理员重新授权 (the account has withdrawn its authorization of this platform: its administrator must authorize it again)",
  ],
  [
    61005,
    "component_verify_ticket已过期，请检查授权事件接收URL并等待下一次推送 (the ticket has expired: check the event URL and wait for the next push)",
  ],
  [61006, "component_verify_ticket无效，请等待下一次推送 (the ticket is not valid: wait for the next push)"],
  [
    61023,
    "refresh_token已失效，请该账号的管理员重新授权 (the refresh token is not valid any more: the account's administrator must authorize the platform again)",
  ],
  [89507, "管理员拒绝了该IP，1小时后可重试 (an administrator refused this address; wait an hour)"],
]);

function all(kind: UpstreamErrorClass, errcodes: number[]): [number, UpstreamErrorClass][] {
  return errcodes.map((errcode) => [errcode, kind]);
}

/** What people call the two upstreams. */
export const UPSTREAM_NAMES: Readonly<Record<Platform, readonly [chinese: string, english: string]>> = {
  weixin: ["微信", "WeChat"],
  wecom: ["企业微信", "WeCom"],
};

/** How Bun names the failures in which no request has left this machine. */
const NEVER_SENT = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|.*CERT.*|.*SIGNATURE.*)$/;

/** Of these, those of a certificate whose issuer is unknown. */
const UNTRUSTED_CERTIFICATE = /SELF_SIGNED|ISSUER_CERT|VERIFY_LEAF/;

/** The error for a request of which certainly nothing was sent; undefined when a part of it may have arrived. */
export function unreachable(platform: Platform, error: unknown): ServiceError | undefined {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (!NEVER_SENT.test(code)) return undefined;
  const [chinese, english] = UPSTREAM_NAMES[platform];
  if (UNTRUSTED_CERTIFICATE.test(code))
    return new ServiceError(
      "upstream_unreachable",
      `不信任${chinese}服务器的证书：如使用自建CA，请在环境变量NODE_EXTRA_CA_CERTS中给出其证书文件并重启 (${english}'s certificate is not trusted: ${code}; for a CA of your own, name its file in the environment variable NODE_EXTRA_CA_CERTS and restart)`,
    );
  return new ServiceError(
    "upstream_unreachable",
    `无法连接${chinese}服务器，请检查本机的网络、DNS和代理 (can't connect to ${english}: ${code}; check network, DNS and proxy)`,
  );
}
