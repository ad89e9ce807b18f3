import type { CallbackData } from "../../../api/v1-callbacks-schema.ts";
import { LinkButton } from "../parts/button.tsx";
import { Page } from "../parts/page.tsx";
import { ErrorState, Loaded, Skeleton } from "../parts/states.tsx";
import { currentTab, type Tab, Tabs } from "../parts/tabs.tsx";
import { useResource } from "../resource.ts";
import { href } from "../router.ts";
import { may } from "../session.ts";
import { Deliveries } from "./deliveries.tsx";
import { Logins } from "./logins.tsx";
import { CallbackState } from "./pushes.tsx";
import { Routes } from "./routes.tsx";
import { NotSetUp, Reception } from "./reception.tsx";
import { w } from "./words.ts";

/** One app: how its pushes are verified, where they go, what became of them, and where its web logins return to. */
export function AppPushes({ params }: { readonly params: Readonly<Record<string, string>> }) {
  const { app = "" } = params;
  const mayManage = may("callback:manage", app);
  const callbacks = useResource<CallbackData>(
    mayManage ? `/v1/apps/${encodeURIComponent(app)}/callbacks` : undefined,
    { topics: ["callback"] },
  );
  const isNone = callbacks.error?.status === 404;
  const tabs: Tab[] = [
    ...(mayManage ? [{ key: "reception", title: w.reception }] : []),
    ...(mayManage && !isNone ? [{ key: "routes", title: w.targetsAndRoutes }] : []),
    ...(mayManage || may("callback:receive", app) ? [{ key: "deliveries", title: w.deliveries }] : []),
    ...(may("oauth:manage", app) ? [{ key: "logins", title: w.logins }] : []),
  ];
  const tab = currentTab(tabs);
  return (
    <Page
      title={w.pushesOf}
      subtitle={
        <span class="row">
          <code>{app}</code>
          {callbacks.data && <CallbackState data={callbacks.data} />}
        </span>
      }
      back={{ href: href(`/apps/${encodeURIComponent(app)}`), title: app }}
      actions={<LinkButton href={href("/pushes")}>{w.allPushes}</LinkButton>}
    >
      <Tabs tabs={tabs} current={tab} />
      {tab === "deliveries" && <Deliveries app={app} targets={callbacks.data?.targets ?? []} />}
      {tab === "logins" && <Logins app={app} />}
      {(tab === "reception" || tab === "routes") &&
        (isNone ? (
          <NotSetUp app={app} reload={callbacks.reload} />
        ) : (
          <Loaded resource={callbacks}>
            {(data) => {
              const View = tab === "routes" ? Routes : Reception;
              return <View data={data} reload={callbacks.reload} />;
            }}
          </Loaded>
        ))}
      {tab === "" && (callbacks.error ? <ErrorState error={callbacks.error} /> : <Skeleton />)}
    </Page>
  );
}
