import { type Tab, Tabs } from "../parts/tabs.tsx";
import { may } from "../session.ts";
import { w } from "./words.ts";

/** The tabs of the menu's entry: apps, the third-party platforms, and what WeChat pushes to any of them. */
export function AppTabs({ current }: { readonly current: "apps" | "platforms" | "pushes" }) {
  const tabs: Tab[] = [
    { key: "apps", title: w.title, path: "/apps" },
    ...(may("admin") ? [{ key: "platforms", title: w.platforms, path: "/platforms" }] : []),
    ...(may("callback:manage") ? [{ key: "pushes", title: w.allPushes, path: "/pushes" }] : []),
  ];
  return tabs.length > 1 ? <Tabs tabs={tabs} current={current} /> : null;
}
