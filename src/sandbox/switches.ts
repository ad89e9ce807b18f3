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
  /** A third classic token within the hand-over kills the first at once. */
  thirdFetchKillsOldest: boolean;
  /** A forced refresh kills the last token at once instead of after the hand-over. */
  forcedKillsAtOnce: boolean;
  /** Wrong secrets from one address within an hour until WeCom refuses that address for an hour. */
  wecomWrongSecrets: number;
  /** Calls per hour of each WeCom ticket endpoint per app. */
  wecomTicketsPerAppHour: number;
  /** Calls per hour of `/cgi-bin/get_jsapi_ticket` per corp. */
  wecomTicketsPerCorpHour: number;
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
  peerIp: undefined,
};
