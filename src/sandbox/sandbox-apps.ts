/** An Official Account or Mini Program that api.weixin.qq.com of the sandbox knows. */
export interface SandboxWeixinApp {
  appId: string;
  secret: string;
  /** The white list: addresses, `1.2.3.*` or `1.2.3.0/24`. Absent: the white list is off. */
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
  /** It is a third-party platform, whose tokens come from elsewhere: 61024. */
  component?: boolean;
}

/** A WeCom app, identified by its corp and its agent, that qyapi.weixin.qq.com of the sandbox knows. */
export interface SandboxWecomApp {
  corpId: string;
  agent: string;
  secret: string;
  /** Addresses from which business calls are accepted. Absent: from everywhere. */
  trustedIps?: string[] | undefined;
}
