import type { ComponentType } from "preact";
import { AppDetail } from "./apps/app-detail.tsx";
import { Apps } from "./apps/apps.tsx";
import { Overview } from "./overview/overview.tsx";
import { Audit } from "./audit/audit.tsx";
import { Client } from "./clients/client.tsx";
import { Clients } from "./clients/clients.tsx";
import { Environments } from "./clients/environments.tsx";
import { GatewayCall } from "./call/call.tsx";
import { match } from "./router.ts";
import { Platform } from "./platforms/platform.tsx";
import { Platforms } from "./platforms/platforms.tsx";
import { ErrorLookup } from "./tools/error-lookup.tsx";
import { Signature } from "./tools/signature.tsx";
import { AppPushes } from "./pushes/app-pushes.tsx";
import { Pushes } from "./pushes/pushes.tsx";
import { Settings } from "./settings/settings.tsx";

/** What a screen is given: the pieces of the path that its pattern names. */
interface ScreenProps {
  readonly params: Readonly<Record<string, string>>;
}

/** The entries of the menu: not more than six. */
export const MENU = ["overview", "apps", "clients", "audit", "tools", "settings"] as const;
export type MenuEntry = (typeof MENU)[number];

/** A screen, where it is found, and which entry of the menu it belongs to. */
export interface Screen {
  /** As `/apps/:app`. */
  readonly path: string;
  readonly menu: MenuEntry;
  readonly component: ComponentType<ScreenProps>;
}

/** Every screen for those who are signed in. An entry of the menu leads to the first of its screens, and shows once it has one. */
export const SCREENS: readonly Screen[] = [
  { path: "/", menu: "overview", component: Overview },
  { path: "/apps", menu: "apps", component: Apps },
  { path: "/apps/:app", menu: "apps", component: AppDetail },
  { path: "/platforms", menu: "apps", component: Platforms },
  { path: "/platforms/:platform", menu: "apps", component: Platform },
  { path: "/tools/signature", menu: "tools", component: Signature },
  { path: "/tools/rid", menu: "tools", component: ErrorLookup },
  { path: "/clients", menu: "clients", component: Clients },
  { path: "/clients/:name", menu: "clients", component: Client },
  { path: "/environments", menu: "clients", component: Environments },
  { path: "/audit", menu: "audit", component: Audit },
  { path: "/tools/call", menu: "tools", component: GatewayCall },
  { path: "/pushes", menu: "apps", component: Pushes },
  { path: "/pushes/:app", menu: "apps", component: AppPushes },
  { path: "/settings", menu: "settings", component: Settings },
];

/** The screen of a path, with what its pattern names; undefined where there is none. */
export function screenAt(
  path: string,
): { readonly screen: Screen; readonly params: Record<string, string> } | undefined {
  for (const screen of SCREENS) {
    const params = match(screen.path, path);
    if (params) return { screen, params };
  }
  return undefined;
}
