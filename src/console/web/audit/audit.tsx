import type { DenialData, EntryData, UsageData } from "../../../api/v1-audit-schema.ts";
import { absolute, number } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { Dialog, FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { TextField, useInput } from "../parts/field.tsx";
import { Icon } from "../parts/icons.tsx";
import { Facts, Page } from "../parts/page.tsx";
import { pageSize } from "../parts/pager.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { currentTab, Tabs } from "../parts/tabs.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { href, route, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { clearFilters, Filters, isFiltered, useFilter, type View } from "./filters.tsx";
import { tokenDigest } from "./token-digest.ts";
import { VerifyDialog } from "./verify.tsx";
import { actionWords, w } from "./words.ts";

/** What happened: changes one by one, uses and denials counted; for others than administrators, of the apps they may view. */
export function Audit() {
  const tabs = [
    { key: "changes", title: w.changes },
    { key: "usage", title: w.usage },
    ...(may("admin") ? [{ key: "denials", title: w.denials }] : []),
  ];
  const view = currentTab(tabs) as View;
  const filter = useFilter(view);
  const search = filter.toString();
  return (
    <Page
      title={w.title}
      actions={
        <>
          <Button icon="search" onClick={() => openDialog((close) => <FindToken onClose={close} />)}>
            {w.findToken}
          </Button>
          {may("admin") && (
            <Button icon="check" onClick={() => openDialog((close) => <VerifyDialog onClose={close} />)}>
              {w.verify}
            </Button>
          )}
          {may("admin") && view === "changes" && (
            <a
              class="button plain"
              href={`/v1/audit/export${search && `?${search}`}`}
              download
              title={w.exportHint}
            >
              <Icon name="download" />
              <span>{w.exportAll}</span>
            </a>
          )}
        </>
      }
    >
      <Tabs tabs={tabs} />
      <Filters view={view} />
      {view === "changes" && <Changes filter={filter} />}
      {view === "usage" && <Usage filter={filter} />}
      {view === "denials" && <Denials filter={filter} />}
    </Page>
  );
}

/** The path of one page of a list. */
function pathOf(list: string, filter: URLSearchParams, cursor: "before" | "after"): string {
  const query = new URLSearchParams(filter);
  query.set("limit", String(pageSize()));
  const after = route.value.query.get("after");
  if (after) query.set(cursor, after);
  return `/v1/audit${list}?${query.toString()}`;
}

function Nothing({ title }: { readonly title: string }) {
  const action = isFiltered() ? <Button onClick={clearFilters}>{w.clearFilters}</Button> : undefined;
  return <Empty icon="search" title={title} hint={w.emptyHint} action={action} />;
}

function Changes({ filter }: { readonly filter: URLSearchParams }) {
  const page = useResource<{ entries: EntryData[]; next?: string }>(pathOf("", filter, "before"), {
    topics: ["app", "client", "environment", "callback"],
  });
  const { path, query } = route.value;
  const shown = Number(query.get("entry"));
  return (
    <Loaded resource={page}>
      {({ entries, next }) => {
        const entry = entries.find(({ id }) => id === shown);
        return (
          <>
            <Table
              caption={w.changes}
              columns={entryColumns()}
              rows={entries}
              keyOf={({ id }) => String(id)}
              hrefOf={({ id }) => href(path, { ...Object.fromEntries(query), entry: id })}
              isLoading={page.isLoading}
              empty={<Nothing title={w.empty} />}
              page={{ next }}
            />
            {entry && <EntryDialog entry={entry} onClose={() => setQuery({ entry: undefined })} />}
          </>
        );
      }}
    </Loaded>
  );
}

function entryColumns(): Column<EntryData>[] {
  return [
    { key: "action", title: w.action, cell: ({ action }) => wordOf(action) },
    { key: "of", title: w.detail, isFlexible: true, from: "wide", cell: (entry) => summaryOf(entry) },
    { key: "client", title: w.client, cell: ({ client }) => client },
    { key: "address", title: w.address, from: "widest", cell: ({ address }) => address },
    { key: "outcome", title: w.outcome, from: "wide", cell: ({ outcome }) => <Outcome of={outcome} /> },
    { key: "at", title: w.time, isEnd: true, cell: ({ at }) => <Time at={at} /> },
  ];
}

function wordOf(action: string): string {
  return action in actionWords ? actionWords[action as keyof typeof actionWords] : action;
}

/** What an entry is about, in one line: the app, and the first short facts of its detail. */
function summaryOf({ app, detail = {} }: EntryData) {
  const facts = Object.entries(detail).flatMap(([name, value]) => {
    const isShort = typeof value === "string" || typeof value === "boolean" || typeof value === "number";
    if (!isShort || /(_at|^expires)$/.test(name)) return [];
    return name === "of" || name === "via" ? [String(value)] : [`${name}: ${value}`];
  });
  const text = [...(app === undefined ? [] : [app]), ...facts].slice(0, 4).join(" · ");
  return <span class="clipped">{text}</span>;
}

function Outcome({ of }: { readonly of: string }) {
  if (of === "ok")
    return (
      <Badge tone="ok" icon="check">
        {w.ok}
      </Badge>
    );
  if (of === "begun")
    return (
      <Badge tone="info" icon="clock">
        {w.begun}
      </Badge>
    );
  return (
    <Badge tone="bad" icon="alert">
      {of}
    </Badge>
  );
}

function EntryDialog({ entry, onClose }: { readonly entry: EntryData; readonly onClose: () => void }) {
  const { id, at, client, environment, address, action, app, outcome, detail } = entry;
  return (
    <Dialog title={w.entry(id)} onClose={onClose} isWide>
      <div class="fields">
        <Facts
          items={[
            [w.action, `${wordOf(action)} · ${action}`],
            [w.time, absolute(at)],
            [w.client, environment === undefined ? client : `${client} · ${environment}`],
            [w.address, address],
            [w.app, app && <Id text={app} />],
            [w.outcome, <Outcome of={outcome} />],
            [w.digest, entry.token_digest && <Id text={entry.token_digest} />],
            [w.traceId, entry.trace_id && <Id text={entry.trace_id} />],
            [w.hash, <Id text={entry.hash} />],
          ]}
        />
        {detail && <Code label={w.detail} text={JSON.stringify(detail, null, 2)} />}
      </div>
      <footer />
    </Dialog>
  );
}

function Usage({ filter }: { readonly filter: URLSearchParams }) {
  const page = useResource<{ usage: UsageData[]; next?: string }>(pathOf("/usage", filter, "after"));
  return (
    <Loaded resource={page}>
      {({ usage, next }) => (
        <Table
          caption={w.usage}
          columns={usageColumns()}
          rows={usage}
          keyOf={({ minute, client, environment, action, app }) =>
            [minute, client, environment, action, app].join(" ")
          }
          isLoading={page.isLoading}
          empty={<Nothing title={w.emptyUsage} />}
          page={{ next }}
        />
      )}
    </Loaded>
  );
}

function usageColumns(): Column<UsageData>[] {
  return [
    { key: "client", title: w.client, cell: ({ client }) => client },
    { key: "environment", title: w.environment, from: "wide", cell: ({ environment }) => environment },
    { key: "action", title: w.action, isFlexible: true, cell: ({ action }) => <code>{action}</code> },
    { key: "app", title: w.app, from: "wide", cell: ({ app }) => <code>{app}</code> },
    { key: "count", title: w.count, isEnd: true, cell: ({ count }) => number(count) },
    { key: "minute", title: w.minute, isEnd: true, cell: ({ minute }) => <Time at={minute} /> },
  ];
}

function Denials({ filter }: { readonly filter: URLSearchParams }) {
  const page = useResource<{ denials: DenialData[]; next?: string }>(pathOf("/denials", filter, "after"));
  return (
    <Loaded resource={page}>
      {({ denials, next }) => (
        <Table
          caption={w.denials}
          columns={denialColumns()}
          rows={denials}
          keyOf={({ minute, address, client, route: of, code }) =>
            [minute, address, client, of, code].join(" ")
          }
          isLoading={page.isLoading}
          empty={<Nothing title={w.emptyDenials} />}
          page={{ next }}
        />
      )}
    </Loaded>
  );
}

function denialColumns(): Column<DenialData>[] {
  return [
    { key: "address", title: w.address, cell: ({ address }) => address },
    {
      key: "client",
      title: w.client,
      from: "wide",
      cell: ({ client }) => client ?? <span class="muted">{w.unidentified}</span>,
    },
    { key: "route", title: w.route, isFlexible: true, cell: ({ route: of }) => <code>{of}</code> },
    { key: "code", title: w.code, isEnd: true, cell: ({ code }) => code },
    { key: "count", title: w.count, isEnd: true, cell: ({ count }) => number(count) },
    { key: "minute", title: w.minute, isEnd: true, cell: ({ minute }) => <Time at={minute} /> },
  ];
}

function FindToken({ onClose }: { readonly onClose: () => void }) {
  const token = useInput("");
  const find = async () => {
    const none = { tab: undefined, after: undefined, entry: undefined };
    setQuery({ ...none, token_digest: await tokenDigest(token.value.trim()) }, { isStep: true });
  };
  return (
    <FormDialog
      title={w.findToken}
      action={w.find}
      isDisabled={token.value.trim() === ""}
      onClose={onClose}
      onSubmit={find}
    >
      <TextField label={w.token} hint={w.findTokenHint} {...token} isSecret isMono hasFocus />
    </FormDialog>
  );
}
