import { Notifications } from "../notifications/notifications.tsx";
import { me } from "../session.ts";
import { Page } from "../parts/page.tsx";
import { currentTab, type Tab, Tabs } from "../parts/tabs.tsx";
import { Configuration } from "./configuration.tsx";
import { General } from "./general.tsx";
import { Nodes } from "./nodes.tsx";
import { Sessions } from "./sessions.tsx";
import { w } from "./words.ts";

const VIEWS = {
  general: General,
  notifications: Notifications,
  configuration: Configuration,
  nodes: Nodes,
  sessions: Sessions,
};
type View = keyof typeof VIEWS;

/** What holds for the whole service; who is no administrator sees the own sessions alone. */
export function Settings() {
  const shown: readonly View[] = me.value?.is_admin
    ? ["general", "notifications", "configuration", "nodes", "sessions"]
    : ["sessions"];
  const tabs: Tab[] = shown.map((key) => ({ key, title: w[key] }));
  const current = currentTab(tabs) as View;
  const View = VIEWS[current];
  return (
    <Page title={w.title}>
      {tabs.length > 1 && <Tabs tabs={tabs} current={current} />}
      <View />
    </Page>
  );
}
