import type { ComponentChildren } from "preact";
import type { CallbackData } from "../../../api/v1-callbacks-schema.ts";
import { AppTabs } from "../apps/app-tabs.tsx";
import { Id } from "../parts/copy.tsx";
import { LinkButton } from "../parts/button.tsx";
import { Page } from "../parts/page.tsx";
import { pageSize } from "../parts/pager.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { href, route } from "../router.ts";
import { w } from "./words.ts";

/** Where an app's pushes are shown. */
function pushesOf(app: string): string {
  return `/pushes/${encodeURIComponent(app)}`;
}

/** The apps whose pushes come here. */
export function Pushes() {
  const after = route.value.query.get("after");
  const search = new URLSearchParams({ limit: String(pageSize()), ...(after && { after }) }).toString();
  const list = useResource<{ readonly callbacks: CallbackData[]; readonly next?: string }>(
    `/v1/callbacks?${search}`,
    { topics: ["callback"] },
  );
  return (
    <Page title={w.title}>
      <AppTabs current="pushes" />
      <Loaded resource={list}>
        {({ callbacks, next }) => (
          <Table
            caption={w.title}
            rows={callbacks}
            keyOf={({ app }) => app}
            hrefOf={({ app }) => href(pushesOf(app))}
            columns={columns()}
            page={{ next }}
            empty={
              !after && (
                <Empty
                  title={w.empty}
                  hint={w.emptyHint}
                  action={<LinkButton href={href("/apps")}>{w.apps}</LinkButton>}
                />
              )
            }
          />
        )}
      </Loaded>
    </Page>
  );
}

function columns(): Column<CallbackData>[] {
  return [
    { key: "app", title: w.app, isFlexible: true, cell: ({ app }) => <code>{app}</code> },
    { key: "state", title: w.state, cell: (data) => <CallbackState data={data} /> },
    { key: "mode", title: w.mode, from: "wide", cell: ({ mode }) => mode && w[mode] },
    { key: "targets", title: w.targets, isEnd: true, cell: ({ targets }) => targets.length },
    { key: "routes", title: w.routes, from: "wide", isEnd: true, cell: ({ routes }) => routes.length },
    {
      key: "checked",
      title: w.checked,
      from: "wide",
      isEnd: true,
      cell: (data) => <Time at={data.checked_at} />,
    },
  ];
}

/** Whether pushes can come. */
export function CallbackState({ data }: { readonly data: CallbackData }) {
  if (data.damaged)
    return (
      <Badge tone="bad" icon="alert">
        {w.damaged}
      </Badge>
    );
  if (data.rotating)
    return (
      <Badge tone="warn" icon="refresh">
        {w.rotating}
      </Badge>
    );
  if (data.checked_at === undefined && data.platform_app === undefined)
    return (
      <Badge tone="idle" icon="circle">
        {w.unchecked}
      </Badge>
    );
  return (
    <Badge tone="ok" icon="check">
      {w.receiving}
    </Badge>
  );
}

/** The URLs of an app's pushes, or of a platform's, under the names that its console has for them. */
export function urlItems(
  kind: CallbackData["kind"],
  url: string | undefined,
  messageUrl: string | undefined,
): (readonly [name: string, value: ComponentChildren])[] {
  const first = <CallbackUrl url={url} />;
  if (kind === undefined) return [[w.url, first]];
  if (kind === "provider") return [[w.systemUrl, first]];
  const second = <CallbackUrl url={messageUrl} />;
  const names = kind === "component" ? [w.eventUrl, w.messageUrl] : [w.commandUrl, w.dataUrl];
  return [first, second].map((value, n) => [names[n] ?? "", value]);
}

/** What is to be entered in WeChat's console. */
function CallbackUrl({ url }: { readonly url: string | undefined }) {
  return url === undefined ? <span class="bad-text">{w.noPublicUrl}</span> : <Id text={url} />;
}
