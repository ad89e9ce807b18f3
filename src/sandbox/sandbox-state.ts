import { secondsLeft, type IssuedTokens } from "./issued-tokens.ts";
import type { SandboxTime } from "./sandbox-time.ts";
import type { SandboxSwitches } from "./switches.ts";
import { masked } from "./token-text.ts";
import type { WecomPlatform } from "./wecom-platform.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

/** What the state shows besides the platforms. */
export interface StateSurroundings {
  time: SandboxTime;
  switches: SandboxSwitches;
  calls: Record<string, Record<string, number>>;
  debugCalls: number;
  faults: object[];
}

/** The whole sandbox as JSON for people. Secrets are left out; of a token, its beginning and its length are shown. */
export function sandboxState(
  weixin: WeixinPlatform,
  wecom: WecomPlatform,
  around: StateSurroundings,
): object {
  return {
    now: new Date(around.time.now()).toISOString(),
    beijing_day: around.time.day(),
    weixin: [...weixin.apps.values()].map((app) => ({
      app_id: app.settings.appId,
      live_tokens: liveTokens(weixin.tokens, app, around.time),
      used_today: app.usedToday(),
    })),
    wecom: wecom.apps.map((app) => ({
      corp_id: app.settings.corpId,
      agent: app.settings.agent,
      live_tokens: liveTokens(wecom.tokens, app, around.time),
    })),
    calls_per_day: around.calls,
    wecom_debug_calls: around.debugCalls,
    faults: around.faults,
    switches: around.switches,
  };
}

function liveTokens<Owner>(tokens: IssuedTokens<Owner>, owner: Owner, time: SandboxTime): object[] {
  return tokens.live(owner).map((token) => ({
    token: masked(token.value),
    expires_in: secondsLeft(token, time.now()),
    superseded: Number.isFinite(token.diesAt),
  }));
}
