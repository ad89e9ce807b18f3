import { useState } from "preact/hooks";
import type { ClientsPage } from "../../../api/v1-clients-schema.ts";
import { now, number } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { CheckField, Field, TextField, useInput } from "../parts/field.tsx";
import { Page } from "../parts/page.tsx";
import { pageSize } from "../parts/pager.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Tabs } from "../parts/tabs.tsx";
import { Time } from "../parts/time.tsx";
import { post } from "../api.ts";
import { useResource } from "../resource.ts";
import { href, navigate, route, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { AppField, EnvironmentField, useEnvironments } from "./choices.tsx";
import { ACTION_GROUPS, ANY_APP } from "./grants.ts";
import { actionWords, presetWords, w } from "./words.ts";

type Row = ClientsPage["clients"][number];

/** The tabs of the menu's entry: clients, and the environments that they are of. */
export function ClientTabs({ current }: { readonly current: "clients" | "environments" }) {
  const tabs = [
    { key: "clients", title: w.clients, path: "/clients" },
    { key: "environments", title: w.environments, path: "/environments" },
  ];
  return <Tabs tabs={tabs} current={current} />;
}

/** Every client, found by name and environment. */
export function Clients() {
  const { query } = route.value;
  const [q, environment] = [query.get("q") ?? "", query.get("environment") ?? ""];
  const wanted = { q, environment, limit: pageSize(), after: query.get("after") };
  const page = useResource<ClientsPage>(`/v1/clients${searchOf(wanted)}`, { topics: ["client"] });
  const environments = useEnvironments();
  const isFiltered = q !== "" || environment !== "";
  const newClient = (
    <Button
      kind="primary"
      icon="plus"
      onClick={() => openDialog((close) => <NewClientDialog onClose={close} />)}
    >
      {w.newClient}
    </Button>
  );
  return (
    <Page title={w.title} actions={may("admin") && newClient}>
      <ClientTabs current="clients" />
      <div class="toolbar">
        <input
          type="search"
          aria-label={w.search}
          placeholder={w.search}
          value={q}
          onInput={(event) => setQuery({ q: event.currentTarget.value, after: undefined })}
        />
        <select
          aria-label={w.environment}
          value={environment}
          onInput={(event) => setQuery({ environment: event.currentTarget.value, after: undefined })}
        >
          <option value="">{w.allEnvironments}</option>
          {environments.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <Loaded resource={page}>
        {({ clients, next }) => (
          <Table
            caption={w.title}
            columns={columns()}
            rows={clients}
            keyOf={({ client }) => client}
            hrefOf={({ client }) => href(`/clients/${encodeURIComponent(client)}`)}
            isLoading={page.isLoading}
            page={{ next }}
            empty={
              isFiltered ? (
                <Empty
                  icon="search"
                  title={w.noneFound}
                  hint={w.noneFoundHint}
                  action={
                    <Button onClick={() => setQuery({ q: undefined, environment: undefined })}>
                      {w.clearFilters}
                    </Button>
                  }
                />
              ) : (
                <Empty icon="key" title={w.noClients} hint={w.noClientsHint} action={newClient} />
              )
            }
          />
        )}
      </Loaded>
    </Page>
  );
}

/** A query of the API, with its question mark; what is empty is left out. */
function searchOf(query: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

function columns(): Column<Row>[] {
  return [
    { key: "client", title: w.client, cell: ({ client }) => client },
    { key: "environment", title: w.environment, cell: ({ environment }) => environment },
    { key: "apps", title: w.apps, from: "wide", isFlexible: true, cell: appsText },
    { key: "policy", title: w.policy, from: "widest", cell: (row) => presetOf(row) },
    { key: "keys", title: w.keys, isEnd: true, from: "wide", cell: ({ keys }) => number(keys.active) },
    { key: "used", title: w.lastUsed, isEnd: true, cell: ({ keys }) => <Time at={keys.last_used_at} /> },
    { key: "ends", title: w.ends, isEnd: true, from: "widest", cell: (row) => <End at={row.expires_at} /> },
  ];
}

/** The apps of a client's grants, the first three by name. */
function appsText({ grants, damaged }: Row) {
  if (damaged)
    return (
      <Badge tone="bad" icon="alert">
        {w.damaged}
      </Badge>
    );
  const apps = [...new Set(grants.flatMap((grant) => grant.apps))];
  if (grants.some(({ actions }) => actions.includes("admin"))) return actionWords.admin;
  if (apps.includes(ANY_APP)) return w.anyApp;
  const shown = apps.slice(0, 3).join(", ") + (apps.length > 3 ? ` +${apps.length - 3}` : "");
  return <span class={apps.length === 0 ? "muted" : "mono"}>{shown || w.noGrants}</span>;
}

function presetOf({ policy: { preset } }: Row): string {
  return preset in presetWords ? preset : "";
}

/** When something expires: never, at an instant, or that it has. */
export function End({ at }: { readonly at: number | undefined }) {
  if (at === undefined) return <span class="muted">{w.never}</span>;
  if (at > now.value) return <Time at={at} />;
  return (
    <Badge tone="idle" icon="clock">
      {w.expired}
    </Badge>
  );
}

/** What a new client is given most often, and may be given here. */
const FIRST_ACTIONS = [
  ...ACTION_GROUPS.token.slice(0, 1),
  "api:call",
  ...ACTION_GROUPS.ticket,
  "login",
] as const;

function NewClientDialog({ onClose }: { readonly onClose: () => void }) {
  const name = useInput("");
  const environment = useInput("");
  const app = useInput("");
  const [actions, setActions] = useState<readonly string[]>(["token:read", "api:call"]);
  const create = async () => {
    const apps = app.value.split(/[\s,]+/).filter(Boolean);
    const grants = apps.length > 0 && actions.length > 0 ? [{ apps, actions }] : [];
    await post("/v1/clients", { client: name.value.trim(), environment: environment.value.trim(), grants });
    navigate(`/clients/${encodeURIComponent(name.value.trim())}`);
  };
  const isReady = name.value.trim() !== "" && environment.value.trim() !== "";
  return (
    <FormDialog
      title={w.newClient}
      action={w.create}
      onClose={onClose}
      onSubmit={create}
      isDisabled={!isReady}
    >
      <TextField label={w.name} hint={w.nameHint} {...name} isMono hasFocus />
      <EnvironmentField {...environment} />
      <AppField label={w.apps} hint={w.appsHint} {...app} />
      <Field label={w.actions}>
        {({ id }) => (
          <div id={id} class="checks" role="group" aria-label={w.actions}>
            {FIRST_ACTIONS.map((action) => (
              <CheckField
                key={action}
                label={actionWords[action]}
                value={actions.includes(action)}
                onInput={(isOn) =>
                  setActions(isOn ? [...actions, action] : actions.filter((each) => each !== action))
                }
              />
            ))}
          </div>
        )}
      </Field>
    </FormDialog>
  );
}
