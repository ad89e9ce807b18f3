import { patch, post } from "../api.ts";
import { number } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { CopyButton, Id } from "../parts/copy.tsx";
import { ask } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { Menu } from "../parts/menu.tsx";
import { Facts, Page, Section } from "../parts/page.tsx";
import { StateBadge } from "../parts/state-badge.tsx";
import { Banner, Loaded } from "../parts/states.tsx";
import { currentTab, Tabs } from "../parts/tabs.tsx";
import { Time } from "../parts/time.tsx";
import { attempt } from "../parts/toast.tsx";
import { type Resource, useResource } from "../resource.ts";
import { href } from "../router.ts";

import { may } from "../session.ts";
import { Credentials } from "./app-credentials.tsx";
import { EditApp } from "./app-forms.tsx";
import { AppHistory } from "./app-history.tsx";
import { AppSetUp } from "./app-set-up.tsx";
import { type AppStatus, typeOf } from "./app-status.tsx";
import { w } from "./words.ts";

/** One app: its credentials, what happened to it, and how programs use it. */
export function AppDetail({ params }: { readonly params: Readonly<Record<string, string>> }) {
  const { app: name = "" } = params;
  const app = useResource<AppStatus>(`/v1/apps/${encodeURIComponent(name)}`, {
    ...{ topics: ["app", "credential", "backoffs"], app: name },
  });
  const title = app.data?.title ?? name;
  return (
    <Page
      title={title}
      back={{ href: href("/apps"), title: w.title }}
      subtitle={app.data && <Subtitle app={app.data} />}
      actions={app.data && <Actions app={app.data} onDone={app.reload} />}
    >
      <Loaded resource={app}>{(data) => <Views app={data} resource={app} />}</Loaded>
    </Page>
  );
}

function Subtitle({ app }: { readonly app: AppStatus }) {
  return (
    <>
      {app.title !== undefined && <Id text={app.app} />}
      <span>{typeOf(app)}</span>
      <PlatformLink of={app} />
      <StateBadge state={app.state} />
      {app.title === undefined && <CopyButton text={app.app} />}
    </>
  );
}

/** To the page of the platform that it is, or that has it. */
function PlatformLink({ of: { app, role, authorized_to } }: { readonly of: AppStatus }) {
  const platform = role ? app : authorized_to;
  if (platform === undefined || !may("admin")) return null;
  return <a href={href(`/platforms/${platform}`)}>{role ? w.platformPage : platform}</a>;
}

function Views({ app, resource }: { readonly app: AppStatus; readonly resource: Resource<AppStatus> }) {
  const tabs = [
    { key: "credentials", title: w.credentials },
    { key: "history", title: w.history },
    ...(app.role ? [] : [{ key: "set-up", title: w.setUp }]),
    { key: "pushes", title: w.pushes, path: `/pushes/${encodeURIComponent(app.app)}` },
  ];
  const tab = currentTab(tabs);
  return (
    <>
      <Tabs tabs={tabs} />
      {tab === "history" && <AppHistory app={app.app} />}
      {tab === "set-up" && <AppSetUp app={app} />}
      {tab === "credentials" && (
        <div class="stack">
          {app.reason !== undefined && !hasFailure(app) && <Banner tone="bad">{halfOf(app.reason)}</Banner>}
          {app.foreign_refresh && (
            <ForeignRefresh at={app.foreign_refresh.at} early={app.foreign_refresh.early} />
          )}
          <Credentials app={app} onDone={resource.reload} />
          <Today app={app} />
        </div>
      )}
    </>
  );
}

/** Whether one of its credentials says itself what is wrong. */
function hasFailure({ credentials }: AppStatus): boolean {
  return Object.values(credentials).some(({ last_failure }) => last_failure !== undefined);
}

function Actions({ app, onDone }: { readonly app: AppStatus; readonly onDone: () => void }) {
  const path = `/v1/apps/${encodeURIComponent(app.app)}`;
  // Of the version that is seen now: what changes meanwhile is not overwritten.
  const change = async (isDisabled: boolean) => {
    await patch(path, { disabled: isDisabled }, { version: app.version });
    onDone();
  };
  const edit = () => openDialog((close) => <EditApp app={app} onClose={close} onSaved={onDone} />);
  const disable = () =>
    ask(() => ({
      title: w.disableTitle(app.title ?? app.app),
      action: w.disable,
      hint: w.disableHint,
      onConfirm: () => change(true),
    }));
  const isStuck = app.state === "blocked" || app.state === "failing";
  const isManaged = app.source === "managed" && may("admin");
  return (
    <>
      {isStuck && may("token:refresh", app.app) && (
        <Button
          kind="primary"
          icon="refresh"
          onClick={async () => {
            if (
              await attempt(
                () => post(`${path}/unblock`),
                () => w.unblocked(app.app),
              )
            )
              onDone();
          }}
        >
          {w.unblock}
        </Button>
      )}
      {isManaged && (
        <Menu
          label={w.actions}
          icon="more"
          groups={[
            [{ title: w.editApp, onClick: edit }],
            [
              app.disabled
                ? { title: w.enable, onClick: () => void attempt(() => change(false)) }
                : { title: w.disable, isDanger: true, onClick: disable },
            ],
          ]}
        />
      )}
    </>
  );
}

function ForeignRefresh({ at, early }: { readonly at: number; readonly early: number }) {
  return (
    <Section title={w.foreign}>
      <p>
        {w.foreignWhen(Math.round(early / 60))} <Time at={at} />
      </p>
      <h3>{w.whoElse}</h3>
      <ul class="hints">
        {[w.whoOld, w.whoTool, w.whoPlatform, w.whoReset].map((hint) => (
          <li key={hint}>{hint}</li>
        ))}
      </ul>
    </Section>
  );
}

function Today({ app }: { readonly app: AppStatus }) {
  const forced = app.forced_refreshes_today;
  const calls = Object.entries(app.calls_today);
  if (calls.length === 0 && !forced) return null;
  return (
    <Section title={w.today}>
      <Facts
        items={[
          ...calls.map(([endpoint, { calls: n, limit }]) => {
            const said = limit === undefined ? number(n) : w.ofLimit(number(n), number(limit));
            return [endpoint, said] as const;
          }),
          [w.forcedToday, forced && w.ofLimit(number(forced.calls), number(forced.limit ?? 0))],
          [w.healed, app.rejected_tokens === undefined ? undefined : number(app.rejected_tokens)],
        ]}
      />
    </Section>
  );
}
