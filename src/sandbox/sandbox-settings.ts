import { BlockList, isIPv4 } from "node:net";

/** An Official Account or Mini Program that api.weixin.qq.com of the sandbox knows. */
export interface SandboxWeixinApp {
  appId: string;
  secret: string;
  /** The allow-list: addresses, `1.2.3.*` or `1.2.3.0/24`. Absent: the allow-list is off. */
  ipList?: string[] | undefined;
  /** The secret is frozen: 40243. */
  frozenSecret?: boolean;
  /** The token API is forbidden for this account (50004) or the account is frozen (50007). */
  account?: "punished" | "frozen";
  /**
   * What risk control says to secret-bearing calls: ask the administrator (89503), still asking (89501),
   * refused for an hour (89507) or for a day (89506).
   */
  risk?: "ask" | "asking" | "refused_hour" | "refused_day";
  /** The domain that web logins may return to (网页授权域名). Absent: any. */
  webDomain?: string | undefined;
  /** It is a third-party platform, whose tokens come from elsewhere: 61024. */
  component?: boolean;
}

/** An account that may authorize a third-party platform. */
export interface SandboxAuthorizer {
  appId: string;
  name: string;
  /** The `gh_…` that pushes name. */
  userName: string;
  kind: "official" | "miniprogram";
  /** The permission sets that it gives; default 1, 2, 3. */
  funcIds?: number[];
  /** Whether it has an API permission at all, without which no token is issued; default true. */
  hasApi?: boolean;
}

/** A third-party platform of WeChat ("component"). */
export interface SandboxComponent {
  appId: string;
  secret: string;
  token: string;
  /** 43 characters. */
  aesKey: string;
  /** Where tickets and authorizations are pushed to. Absent: nothing is pushed. */
  eventUrl?: string;
  /** Where messages are pushed to; `$APPID$` in it becomes the authorizer's appid. */
  messageUrl?: string;
  /** The allow-list of all its calls, as that of an app. */
  ipList?: string[];
  authorizers?: SandboxAuthorizer[];
}

/** A WeCom app, identified by its corp and its agent, that qyapi.weixin.qq.com of the sandbox knows. */
export interface SandboxWecomApp {
  corpId: string;
  agent: string;
  secret: string;
  /** Addresses from which business calls are accepted. Absent: from everywhere. */
  trustedIps?: string[] | undefined;
  /** The domain that web logins may return to. Absent: any. */
  webDomain?: string | undefined;
}

/** A company that develops for others (服务商), with its third-party apps and templates of agency apps. */
export interface SandboxProvider {
  corpId: string;
  secret: string;
  suites: SandboxSuite[];
  /** Addresses from which the provider and its apps may call. Absent: from everywhere. */
  trustedIps?: string[] | undefined;
}

/** A third-party app (`ww…`) or a template of agency apps (`dk…`) of a provider. */
export interface SandboxSuite {
  suiteId: string;
  secret: string;
  token: string;
  /** The EncodingAESKey, 43 characters. */
  aesKey: string;
  /** Where tickets and authorizations are pushed to. Absent: nowhere, until it is set. */
  commandUrl?: string | undefined;
  /** Where the messages and events of a corp are pushed to; `$CORPID$` in it is replaced by the corp's CorpID. */
  dataUrl?: string | undefined;
  /** The corps that can install it. */
  corps?: SandboxCorp[];
}

/** A customer of a provider. */
export interface SandboxCorp {
  corpId: string;
  name: string;
  /** The number that the app gets there. */
  agentId: number;
}

/**
 * Whether `ip` is on an allow-list.
 *
 * An entry is an address, `1.2.3.*` or a network such as `1.2.3.0/24`. An entry that is none
 * of these matches nothing.
 */
export function isListed(ip: string, list: readonly string[]): boolean {
  return list.some((entry) => matches(ip, entry));
}

function matches(ip: string, entry: string): boolean {
  if (entry.endsWith(".*")) return ip.startsWith(entry.slice(0, -1));
  const [network, bits] = entry.split("/");
  if (network === undefined || bits === undefined) return ip === entry;
  if (!isIPv4(network) || !isIPv4(ip)) return false;

  const networks = new BlockList();
  networks.addSubnet(network, Number(bits), "ipv4");
  return networks.check(ip, "ipv4");
}

/** What people and tests may set differently from the platforms' own numbers. */
export interface SandboxSwitches {
  /** Successful calls of `/cgi-bin/token` per app and Beijing day. */
  classicPerDay: number;
  /** Calls of `/cgi-bin/stable_token` per app and minute. */
  stablePerMinute: number;
  /** Successful calls of `/cgi-bin/stable_token` per app and Beijing day. */
  stablePerDay: number;
  /** Forced refreshes per app and Beijing day. */
  forcedPerDay: number;
  /** A forced refresh sooner than this after the last one does not refresh. */
  forcedSpacingSeconds: number;
  /** Calls of any other endpoint per app and Beijing day. The platform's figures differ per endpoint. */
  apiPerDay: number;
  /** Calls of `clear_quota` and its v2 together, per app and month. */
  clearQuotaPerMonth: number;
  /** A third classic token within the overlap revokes the first at once. */
  thirdFetchKillsOldest: boolean;
  /** A forced refresh revokes the last token at once instead of after the overlap. */
  forcedKillsAtOnce: boolean;
  /** Wrong secrets from one address within an hour until WeCom refuses that address for an hour. */
  wecomWrongSecrets: number;
  /** Calls per hour of each WeCom ticket endpoint per app. */
  wecomTicketsPerAppHour: number;
  /** Calls per hour of `/cgi-bin/get_jsapi_ticket` per corp. */
  wecomTicketsPerCorpHour: number;
  /** Whether `api_authorizer_token` returns the same refresh token, or each time another. */
  refreshTokens: "stable" | "rotate";
  /** How long a refresh token is valid after the next was issued, in milliseconds. */
  refreshOverlapMs: number;
  /** How long a component's token is valid after the next was issued, in milliseconds; `undefined`: as an app's. */
  componentOverlapMs: number | undefined;
  /** The same for an authorizer's token. */
  authorizerOverlapMs: number | undefined;
  /** How long a `pre_auth_code` is valid; WeChat's page says 600 as well. */
  preAuthCodeSeconds: number;
  /** Successful calls of `api_component_token` per component and Beijing day; WeChat does not say how many. */
  componentTokensPerDay: number;
  /** After how many failed pushes in a row a component's tickets are no longer pushed. */
  stopAfterFailures: number;
  /** Calls of `gettoken` with a permanent code that was reset or cancelled, within an hour, until WeCom refuses the address for an hour. */
  wecomDeadCodes: number;
  /** Suite, provider and corp tokens come with `errcode: 0`, as the pages say and recordings don't. */
  suiteErrcode: boolean;
  /** The first use of each suite token is refused (40082), as it was recorded now and then. */
  suiteTokenFlake: boolean;
  /**
   * Whom `create_auth` names outside, in ToUserName, and inside, as receiveId: the suite in both, the provider outside
   * alone, or the provider in both.
   */
  createAuthNames: "suite" | "provider_outside" | "provider";
  /** How long WeCom waits for the answer to an event on a command URL, in milliseconds. */
  commandTimeoutMs: number;
  /** The address that the platforms think every caller has; `undefined` is the connection's own. */
  peerIp: string | undefined;
}

/** The platforms' own numbers, as far as they are known. */
export const defaultSwitches: SandboxSwitches = {
  classicPerDay: 2000,
  stablePerMinute: 10_000,
  stablePerDay: 500_000,
  forcedPerDay: 20,
  forcedSpacingSeconds: 30,
  apiPerDay: 5_000_000,
  clearQuotaPerMonth: 10,
  thirdFetchKillsOldest: true,
  forcedKillsAtOnce: false,
  wecomWrongSecrets: 2000,
  wecomTicketsPerAppHour: 100,
  wecomTicketsPerCorpHour: 400,
  refreshTokens: "stable",
  refreshOverlapMs: 300_000,
  componentOverlapMs: undefined,
  authorizerOverlapMs: undefined,
  preAuthCodeSeconds: 1800,
  componentTokensPerDay: 2000,
  stopAfterFailures: Number.POSITIVE_INFINITY,
  wecomDeadCodes: 3,
  suiteErrcode: false,
  suiteTokenFlake: false,
  createAuthNames: "suite",
  commandTimeoutMs: 1000,
  peerIp: undefined,
};
