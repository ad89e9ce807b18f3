import type { Slot, TokenMode } from "../../src/apps/app.ts";
import type { CredentialRef } from "../../src/credentials/credential.ts";
import { Secret } from "../../src/secret.ts";

/** The slot of a WeChat app whose secret the service holds. */
export function weixinSlot(appId = "wx1", tokenMode: TokenMode = "stable"): Slot {
  const secret = new Secret(`secret-of-${appId}`);
  return { platform: "weixin", appId, name: tokenMode, secret, tokenMode, configured: true };
}

/** The slot of a secret that the service does not hold. */
export function foreignSlot(digest: string, platform: Slot["platform"] = "weixin", appId = "wx1"): Slot {
  const secret = new Secret(`foreign-secret-${digest}`);
  return { platform, appId, name: `~${digest}`, secret, tokenMode: "stable", configured: false };
}

/** The access token of `slot`. */
export function tokenOf(slot: Slot = weixinSlot()): CredentialRef {
  return { slot, kind: "access_token" };
}

/** The slot of a WeCom application whose secret the service holds. */
export function wecomSlot(appId = "ww1", agent = "1000002"): Slot {
  const secret = new Secret(`secret-of-${appId}-${agent}`);
  return { platform: "wecom", appId, name: agent, secret, tokenMode: "stable", configured: true };
}
