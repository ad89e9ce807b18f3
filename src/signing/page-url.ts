import { ServiceError } from "../errors.ts";

/** A page's address as it is signed, and what is suspicious about it. */
export interface PageUrl {
  readonly url: string;
  /** The likely mistake; undefined for an address as browsers show it. */
  readonly hint: string | undefined;
}

type Finding = readonly [isFound: (url: string) => boolean, text: string];

/** What no page's address looks like, with the likely mistake. The first that is found counts. */
const IMPOSSIBLE: readonly Finding[] = [
  [
    (url) => /^[\s\u200b\p{Cc}]|\p{Cc}/u.test(url),
    "url以空白开头，或含有控制字符，请去掉后重试 (url begins with a blank or has a control character: remove it)",
  ],
  [
    (url) => /^(https?:\/\/)?(undefined|null|nan)([:/?]|$)|^\[object /i.test(url),
    "url是undefined或null：调用方取地址的变量没有值，请传location.href (url is undefined or null: the caller's variable has no value; send location.href)",
  ],
  [
    (url) => /^https?(%(25)*3a|:\/?%2f)/i.test(url),
    "url被整体编码了（如https%3A%2F%2F）：请求体为JSON，无需encodeURIComponent，请传location.href原文 (url is percent-encoded as a whole: JSON needs no encodeURIComponent; send location.href as it is)",
  ],
  [
    (url) => !/^https?:\/\/[^/?\\]/i.test(url) || !URL.canParse(url),
    "url不是以http://或https://开头的完整地址，请传location.href，而非路径或不带协议的域名 (url is no absolute http or https address: send location.href, not a path or a bare host)",
  ],
];

/** What browsers show otherwise, so that WeChat hardly has it. The first that is found counts. */
const SUSPICIOUS: readonly Finding[] = [
  [
    (url) => /&amp;/i.test(url),
    "url含有&amp;：多半被HTML转义，应为& (url has &amp;: it was probably escaped for HTML, and should be &)",
  ],
  [
    (url) => /^[^:]+:\/\/[^/?]+(\?|$)/.test(url),
    "域名后没有/：浏览器显示的地址带/ (there is no slash after the host: browsers show one)",
  ],
  [
    (url) => /^[^/]*[A-Z]|^[^/]+\/\/[^/?]*[A-Z]/.test(url),
    "协议或域名含有大写字母：浏览器显示为小写 (scheme or host has capitals: browsers show small letters)",
  ],
  [
    (url) => /^(http:\/\/[^/?]*:80|https:\/\/[^/?]*:443)[/?]/.test(url),
    "url带有默认端口：浏览器不显示:80和:443 (url has its default port: browsers do not show it)",
  ],
  [
    (url) => new URL(url).href !== url,
    "浏览器会以另一种写法显示该地址，例如对空格和中文编码、去掉.. (browsers show this address otherwise, with blanks and Chinese encoded, for example, and without ..)",
  ],
];

/** What to do about a suspicious address. */
const ADVICE =
  "。已按原样签名；若wx.config报invalid signature，请传location.href.split('#')[0] (signed as sent; if wx.config says invalid signature, send that)";

/**
 * The address that is signed for a page: `sent` up to the first `#`, not touched otherwise. `domains` are the hosts that
 * may use the JS-SDK, their subdomains with them; none where nobody said.
 *
 * @throws {ServiceError} `invalid_parameter`, with the likely mistake, for what can't be a page's address.
 */
export function pageUrl(sent: string, domains: readonly string[] = []): PageUrl {
  const [url = ""] = sent.split("#", 1);
  const mistake = find(IMPOSSIBLE, url);
  if (mistake !== undefined)
    throw new ServiceError("invalid_parameter", "url参数不是页面地址 (url is no page's address)", {
      hint: mistake,
    });
  const suspicion = find(SUSPICIOUS, url);
  const { hostname } = new URL(url);
  const isListed = domains.some((domain) => hostname === domain || hostname.endsWith(`.${domain}`));
  const foreign = domains.length > 0 && !isListed ? FOREIGN : undefined;
  return { url, hint: foreign ?? (suspicion && suspicion + ADVICE) };
}

/** What WeChat refuses as `invalid url domain`, whatever the signature. */
const FOREIGN =
  "该域名不在应用的JS接口安全域名内，已照常签名；wx.config会报invalid url domain，请在微信后台添加，再执行 accesstoken apps set --js-domains (the host is not among the app's JS domains; signed all the same, but wx.config will say invalid url domain: add it in WeChat's console, and by accesstoken apps set --js-domains)";

function find(findings: readonly Finding[], url: string): string | undefined {
  return findings.find(([isFound]) => isFound(url))?.[1];
}
