import type { App, Management } from "../../src/apps/app.ts";
import { Secret } from "../../src/secret.ts";

/** A third-party platform: WeChat's component, or a WeCom suite. */
export function newPlatform(
  platform: "weixin" | "wecom",
  id: string,
  managed: Partial<Management> = {},
): App {
  const common = {
    ...{ id, secret: new Secret("0123456789abcdef0123456789abcdef") },
    managed: { title: undefined, isDisabled: false, version: 1, ...managed },
  };
  return platform === "weixin"
    ? { platform, ...common, tokenMode: "stable", role: "component" }
    : { platform, ...common, agent: "", role: "suite", provider: "ww00000000000000ff" };
}
