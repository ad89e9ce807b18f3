import { useEffect, useRef, useState } from "preact/hooks";
import type { OverviewData } from "../../../api/v1-overview-schema.ts";
import { number } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { FilterChips } from "../parts/filter-chips.tsx";
import { Icon } from "../parts/icons.tsx";
import { LifeBar } from "../parts/life-bar.tsx";
import { Page } from "../parts/page.tsx";
import { pageSize } from "../parts/pager.tsx";
import { APP_STATES, StateBadge, STATES } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { href, route, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { AddApp } from "./app-forms.tsx";
import { AppTabs } from "./app-tabs.tsx";
import { type AppStatus, Dots, typeOf } from "./app-status.tsx";
import { w } from "./words.ts";

/** What of the address is asked for. */
const ASKED = ["state", "q", "sort", "after"] as const;
/** So long nothing more must be typed before it is searched for. */
const TYPED_MS = 200;

/** Every app that the user may see: found by state and beginning, sorted, page by page. */
export function Apps() {
  const { query } = route.value;
  const isAdding = query.has("add") && may("admin");
  const asked = Object.fromEntries(ASKED.map((name) => [name, query.get(name)]));
  const apps = useResource<{ apps: AppStatus[]; next?: string }>(
    href("/v1/apps", { limit: pageSize(), ...asked }).slice(1),
    { topics: ["app", "credential", "backoffs"] },
  );
  const overview = useResource<OverviewData>("/v1/overview", { topics: ["app", "credential", "backoffs"] });
  const counts = overview.data?.counts;
  const isFiltered = query.has("state") || query.has("q");
  return (
    <Page
      title={w.title}
      actions={
        may("admin") && (
          <Button kind="primary" icon="plus" onClick={() => setQuery({ add: 1 })}>
            {w.add}
          </Button>
        )
      }
    >
      <AppTabs current="apps" />
      <div class="toolbar">
        <Search />
        <FilterChips
          value={query.get("state") ?? ""}
          onChange={(state) => setQuery({ state, after: undefined })}
          chips={APP_STATES.map((state) => ({
            ...{ value: state, count: counts?.[state] },
            title: (
              <>
                <Icon name={STATES[state].icon} />
                {w[state]}
              </>
            ),
          }))}
        />
      </div>
      <Loaded resource={apps}>
        {({ apps: rows, next }) => (
          <Table
            caption={w.title}
            columns={COLUMNS()}
            rows={rows}
            keyOf={({ app }) => app}
            hrefOf={({ app }) => href(`/apps/${encodeURIComponent(app)}`)}
            sort={query.get("sort") ?? "name"}
            onSort={(sort) => setQuery({ sort, after: undefined })}
            isLoading={apps.isLoading}
            empty={<NoApps isFiltered={isFiltered} />}
            page={{ next }}
          />
        )}
      </Loaded>
      {isAdding && <AddApp onClose={() => setQuery({ add: undefined })} />}
    </Page>
  );
}

function NoApps({ isFiltered }: { readonly isFiltered: boolean }) {
  if (!isFiltered) {
    const add = may("admin") && (
      <Button kind="primary" icon="plus" onClick={() => setQuery({ add: 1 })}>
        {w.add}
      </Button>
    );
    return <Empty title={w.empty} hint={w.emptyHint} action={add} />;
  }
  const all = () => setQuery({ state: undefined, q: undefined, after: undefined });
  return (
    <Empty
      icon="search"
      title={w.noneFound}
      hint={w.noneFoundHint}
      action={<Button onClick={all}>{w.showAll}</Button>}
    />
  );
}

/** Searches once the typing has stopped. */
function Search() {
  const wanted = route.value.query.get("q") ?? "";
  const [typed, setTyped] = useState(wanted);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => {
    setTyped(wanted);
    return () => clearTimeout(timer.current);
  }, [wanted]);
  return (
    <input
      type="search"
      aria-label={w.search}
      placeholder={w.search}
      value={typed}
      onInput={({ currentTarget: { value } }) => {
        setTyped(value);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => setQuery({ q: value.trim(), after: undefined }), TYPED_MS);
      }}
    />
  );
}

const COLUMNS = (): Column<AppStatus>[] => [
  {
    ...{ key: "name", title: w.app, isSortable: true, isFlexible: true },
    cell: ({ app, title, foreign_refresh }) => (
      <span class="two-lines">
        <span>
          {title ?? app}
          {foreign_refresh && (
            <span class="warn-text" title={w.foreign}>
              <Icon name="user" />
              <span class="hidden">{w.foreign}</span>
            </span>
          )}
        </span>
        {title !== undefined && <code class="muted">{app}</code>}
      </span>
    ),
  },
  { key: "type", title: w.type, from: "wide", cell: (row) => <span class="nowrap">{typeOf(row)}</span> },
  {
    ...{ key: "state", title: w.state, isSortable: true },
    cell: ({ state, reason }) => (
      <StateBadge state={state} reason={reason === undefined ? undefined : halfOf(reason)} />
    ),
  },
  { key: "credentials", title: w.credentials, from: "widest", cell: (row) => <Dots app={row} /> },
  {
    ...{ key: "expires_at", title: w.life, isSortable: true },
    cell: ({ credentials }) => {
      // Of every kind of app its token comes first.
      const [token] = Object.values(credentials);
      return (
        <LifeBar
          state={token?.state ?? "none"}
          issuedAt={token?.issued_at}
          expiresAt={token?.expires_at}
          renewAt={token?.next_attempt_at}
        />
      );
    },
  },
  {
    ...{ key: "calls", title: w.calls, isSortable: true, isEnd: true, from: "wide" },
    cell: ({ calls_today: calls }) => number(Object.values(calls).reduce((sum, { calls: n }) => sum + n, 0)),
  },
  {
    ...{ key: "last_used", title: w.lastUsed, isSortable: true, isEnd: true, from: "wide" },
    cell: ({ credentials }) => (
      <Time
        at={Math.max(...Object.values(credentials).map(({ last_used_at = 0 }) => last_used_at)) || undefined}
      />
    ),
  },
];
