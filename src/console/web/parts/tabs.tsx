import { href, route } from "../router.ts";
import { common as w } from "./words.ts";

/** One of several views of a screen; `path` where it is a screen of its own. */
export interface Tab {
  readonly key: string;
  readonly title: string;
  readonly count?: number | undefined;
  readonly path?: string;
}

/** The views of a screen as links: the tab stands in the query as `tab`, and the first one is the default. */
export function Tabs({ tabs, current }: { readonly tabs: readonly Tab[]; readonly current?: string }) {
  const chosen = current ?? currentTab(tabs);
  return (
    <nav class="tabs" aria-label={w.views}>
      {tabs.map(({ key, title, count, path }, n) => (
        <a
          key={key}
          href={path === undefined ? href(route.value.path, { tab: n === 0 ? undefined : key }) : href(path)}
          aria-current={key === chosen ? "page" : undefined}
        >
          {title}
          {count !== undefined && <span class="count">{count}</span>}
        </a>
      ))}
    </nav>
  );
}

/** The key of the tab that the route names, else of the first. */
export function currentTab(tabs: readonly Tab[]): string {
  const named = route.value.query.get("tab");
  return (tabs.find(({ key }) => key === named) ?? tabs[0])?.key ?? "";
}
