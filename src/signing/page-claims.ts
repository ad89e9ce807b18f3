/** What a page signed and passed on, as far as its developer says; nothing of it is verified. */
export interface PageClaims {
  /** `appId` of wx.config, `corpid` of wx.agentConfig. */
  readonly appId?: string | undefined;
  /** `agentid` of wx.agentConfig. */
  readonly agentId?: string | undefined;
  /** As it was passed, so that milliseconds are still seen. */
  readonly timestamp?: string | undefined;
  /** Whether it stands in quotes in what was pasted. */
  readonly isTimestampQuoted?: boolean | undefined;
  readonly nonce?: string | undefined;
  /** The spellings of `nonceStr` in what was pasted. */
  readonly nonceNames?: readonly string[] | undefined;
  readonly signature?: string | undefined;
  /** The ticket in a pasted string that was hashed. It is compared, and never shown again. */
  readonly ticket?: string | undefined;
  /** The address that was signed. */
  readonly url?: string | undefined;
  /** `location.href` on the device. */
  readonly href?: string | undefined;
  /** The address by which the user entered a single-page app. */
  readonly landingUrl?: string | undefined;
  /** What WeChat said. */
  readonly error?: string | undefined;
  readonly platform?: "ios" | "android" | undefined;
  /** What opened the page, where a pasted user agent tells. */
  readonly browser?: "wechat" | "wecom" | "devtools" | "other" | undefined;
  readonly call?: "config" | "agentConfig" | undefined;
}

/** A value behind its name, as in code, JSON, a query or a log line. */
const field = (names: string) =>
  new RegExp(`(?<![\\w.$])["'\`]?(${names})["'\`]?\\s*(=>|[:=：])\\s*(["'\`]?)([^"'\`\\s,;&}{)]+)\\3`, "i");

const APP_ID = field("app_?id|corp_?id");
const AGENT_ID = field("agent_?id");
const TIMESTAMP = field("time_?stamp");
const NONCE = field("nonce_?str|nonce");
const SIGNATURE = field("signature|sign");
const ADDRESS = /\bhttps?(?::\/\/|%3a%2f%2f|%253a%252f%252f)[^\s"'`<>，。；）]+/gi;
/** What names the addresses behind it: that of the device, the one that was entered, or (by default) the signed one. */
const LABELS: readonly (readonly [claim: "href" | "landingUrl", label: RegExp])[] = [
  ["landingUrl", /(landing|entry|首次|落地|进入)[^\n]{0,16}$/i],
  ["href", /(href|location|referer|device|当前|手机|实际|real_?auth_?url)[^\n]{0,16}$/i],
];
/** A string that was hashed, whichever way its names are spelt. */
const HASHED =
  /jsapi_ticket=([^&\s"']{0,512})&nonce_?str=([^&\s"']{0,512})&time_?stamp=([^&\s"']{0,64})&url=([^\s"'`]+)/i;
const ERROR =
  /(?:system error|系统错误|invalid signature|invalid url domain|permission denied|no permission|offline verifying|function[ _]not[ _]exist|invalid (?:appid|corpid|agentid)|(?:config|agentConfig):fail)[^"'\n}]*/i;

/**
 * What can be told from anything that a developer has at hand: a call of wx.config or wx.agentConfig, the JSON of a back
 * end, the string that was hashed, addresses, an error message, a user agent; in any order.
 */
export function readPasted(text: string): PageClaims {
  const hashed = HASHED.exec(text);
  // An address may have names like those of the fields in its query.
  const rest = text.replace(HASHED, " ").replace(ADDRESS, " ");
  const valueOf = (pattern: RegExp) => valueIn(pattern, rest)?.value;
  const timestamp = valueIn(TIMESTAMP, rest);
  const names = [...rest.matchAll(/(?<![\w.$])(nonce_?str)(?=["'`]?\s*:)/gi)].map(([, name = ""]) => name);
  const given = {
    appId: valueOf(APP_ID),
    agentId: valueOf(AGENT_ID),
    timestamp: timestamp?.value ?? hashed?.[3],
    isTimestampQuoted: timestamp?.isQuoted,
    nonce: valueOf(NONCE) ?? hashed?.[2],
    nonceNames: names.length > 0 ? names : undefined,
    signature: valueOf(SIGNATURE) ?? /\b[0-9a-f]{40}\b/i.exec(rest)?.[0],
    ticket: hashed?.[1],
    ...addressesIn(text.replace(HASHED, " "), hashed?.[4]),
    error: ERROR.exec(rest)?.[0].trim().slice(0, 200),
    platform: platformIn(rest),
    browser: browserIn(rest),
    call: callIn(rest),
  };
  return withoutAbsent(given);
}

/** `claims` over what `pasted` says. */
export function mergeClaims(claims: PageClaims, pasted: PageClaims): PageClaims {
  return { ...pasted, ...withoutAbsent(claims) };
}

/** The value of a field; none where code has a variable in its place. */
function valueIn(pattern: RegExp, text: string) {
  const [, , sign, quote = "", value = ""] = pattern.exec(text) ?? [];
  const isVariable = quote === "" && (/[.$(]/.test(value) || (sign !== "=" && !/\d/.test(value)));
  return value === "" || isVariable ? undefined : { value, isQuoted: quote !== "" };
}

function addressesIn(
  text: string,
  signed: string | undefined,
): Pick<PageClaims, "url" | "href" | "landingUrl"> {
  const found: { url?: string; href?: string; landingUrl?: string } = signed ? { url: signed } : {};
  for (const match of text.matchAll(ADDRESS)) {
    const before = text.slice(Math.max(0, match.index - 40), match.index);
    // Within the same line: the label of another address is that one's.
    const label = before.slice(before.lastIndexOf("\n") + 1);
    const claim = LABELS.find(([, pattern]) => pattern.test(label))?.[0];
    const address = withoutEnd(match[0]);
    const free = claim ?? (found.url === undefined ? "url" : "href");
    found[free] ??= address;
  }
  return found;
}

/** An address without the punctuation behind it; by a loop, as an expression would try each place of a long run. */
function withoutEnd(address: string): string {
  let end = address.length;
  while (",;)]}".includes(address.charAt(end - 1)) && end > 0) end -= 1;
  return address.slice(0, end);
}

function callIn(text: string): PageClaims["call"] {
  if (/agentConfig/i.test(text)) return "agentConfig";
  return /\bconfig\s*\(/.test(text) ? "config" : undefined;
}

function platformIn(text: string): PageClaims["platform"] {
  if (/\b(iphone|ipad|ios)\b/i.test(text)) return "ios";
  return /\bandroid\b|安卓/i.test(text) ? "android" : undefined;
}

function browserIn(text: string): PageClaims["browser"] {
  if (/wechatdevtools|开发者工具/i.test(text)) return "devtools";
  if (/wxwork\//i.test(text)) return "wecom";
  if (/micromessenger\//i.test(text)) return "wechat";
  return /\bMozilla\/5\.0\b/.test(text) ? "other" : undefined;
}

/** An absent value must not stand over one that is there. */
function withoutAbsent<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
