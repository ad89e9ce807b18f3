import type { ClientChange, ClientData } from "../../../api/v1-clients-schema.ts";
import type { KeyData } from "../../../api/v1-keys-schema.ts";
import { ApiError, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { ask, FormError, useSubmit } from "../parts/dialog.tsx";
import { TextField } from "../parts/field.tsx";
import { InstantField } from "../parts/instant-field.tsx";
import { Menu } from "../parts/menu.tsx";
import { Page, Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Banner, Loaded } from "../parts/states.tsx";
import { currentTab, Tabs } from "../parts/tabs.tsx";
import { Time } from "../parts/time.tsx";
import { toast } from "../parts/toast.tsx";
import { useResource } from "../resource.ts";
import { href, navigate } from "../router.ts";
import { EnvironmentField, LinesField } from "./choices.tsx";
import { End } from "./clients.tsx";
import { type Edited, edited } from "./draft.ts";
import { createKey, type Keys, KeyTable } from "./keys.tsx";
import { GrantsMatrix } from "./matrix.tsx";
import { Policy } from "./policy.tsx";
import { w } from "./words.ts";

/** One client: its keys, what it may do, and how it may be used. */
export function Client({ params: { name = "" } }: { readonly params: { readonly name?: string } }) {
  const path = `/v1/clients/${encodeURIComponent(name)}`;
  const client = useResource<ClientData>(path, { topics: ["client"] });
  const keys: Keys = useResource<{ keys: readonly KeyData[] }>(`${path}/keys`, { topics: ["client"] });
  const { data } = client;
  const tabs = [
    { key: "keys", title: w.keys, count: keys.data?.keys.filter(({ state }) => state === "active").length },
    { key: "grants", title: w.grants },
    { key: "policy", title: w.policy },
    { key: "settings", title: w.settings },
  ];
  const tab = currentTab(tabs);
  const leave = async ({ version }: ClientData) => {
    await remove(path, { version });
    toast(w.removed);
    navigate("/clients");
  };
  const askRemoval = (of: ClientData) =>
    ask(() => ({
      title: w.removeClient,
      action: w.removeClient,
      text: name,
      hint: w.removeClientHint,
      onConfirm: () => leave(of),
    }));
  return (
    <Page
      title={name}
      back={{ href: href("/clients"), title: w.clients }}
      subtitle={data && <Summary of={data} />}
      actions={
        data && (
          <>
            <Button kind="primary" icon="plus" onClick={() => createKey(data, keys.reload)}>
              {w.createKey}
            </Button>
            <Menu
              label={w.more}
              icon="more"
              groups={[
                [
                  {
                    title: w.itsUse,
                    icon: "search",
                    onClick: () => navigate("/audit", { tab: "usage", client: name }),
                  },
                ],
                [{ title: w.removeClient, icon: "trash", isDanger: true, onClick: () => askRemoval(data) }],
              ]}
            />
          </>
        )
      }
    >
      <Tabs tabs={tabs} />
      <Loaded resource={client}>
        {(saved) => {
          const draft = edited(saved);
          return (
            <>
              {saved.damaged && <Banner tone="bad">{w.damagedHint(saved.damaged.join(", "))}</Banner>}
              {tab === "keys" && <KeyTable client={saved} keys={keys} />}
              {tab === "grants" && <GrantsMatrix edited={draft} />}
              {tab === "policy" && <Policy edited={draft} />}
              {tab === "settings" && <Settings edited={draft} />}
              {draft.isChanged && <SaveBar draft={draft} version={saved.version} onSaved={client.reload} />}
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

function Summary({ of }: { readonly of: ClientData }) {
  return (
    <>
      <Badge tone="idle">{of.environment}</Badge>
      <span>
        {w.ends}: <End at={of.expires_at} />
      </span>
      <span>
        {w.updated}: <Time at={of.updated_at} />
      </span>
    </>
  );
}

function Settings({ edited: { client, set } }: { readonly edited: Edited }) {
  const numberOf = (text: string) => (text === "" ? null : Number(text));
  return (
    <Section title={w.settings}>
      <div class="columns">
        <div class="fields">
          <EnvironmentField
            value={client.environment}
            onInput={(environment) => set({ environment: environment.trim() })}
          />
          <InstantField
            label={w.ends}
            hint={w.neverHint}
            isOptional
            value={client.expires_at}
            onInput={(at) => set({ expires_at: at ?? null })}
          />
          <TextField
            label={w.rate}
            type="number"
            isOptional
            placeholder={w.noLimit}
            value={String(client.rate_limit ?? "")}
            onInput={(text) => set({ rate_limit: numberOf(text) })}
          />
          <TextField
            label={w.concurrency}
            type="number"
            isOptional
            placeholder={w.concurrencyDefault}
            value={String(client.concurrency ?? "")}
            onInput={(text) => set({ concurrency: numberOf(text) })}
          />
        </div>
        <div class="fields">
          <LinesField
            label={w.networks}
            hint={w.networksHint}
            placeholder="10.0.0.0/8"
            value={client.networks}
            onInput={(networks) => set({ networks: [...networks] })}
          />
          <LinesField
            label={w.origins}
            hint={w.originsHint}
            placeholder="https://www.example.com"
            value={client.origins ?? []}
            onInput={(origins) => set({ origins: [...origins] })}
          />
        </div>
      </div>
    </Section>
  );
}

/** At the foot of the window while something is not saved. */
function SaveBar(props: { readonly draft: Edited; readonly version: number; readonly onSaved: () => void }) {
  const { draft, version, onSaved } = props;
  const { submit, error, isBusy } = useSubmit(async () => {
    // Also what somebody else has saved meanwhile: then the version that stands is asked for.
    await draft.save().finally(onSaved);
    toast(w.saved);
  });
  const isOutdated = error instanceof ApiError && error.status === 412;
  const names: Readonly<Record<keyof ClientChange, string>> = {
    environment: w.environment,
    grants: w.grants,
    networks: w.networks,
    origins: w.origins,
    expires_at: w.ends,
    rate_limit: w.rate,
    concurrency: w.concurrency,
    delivery: w.delivery,
    policy: w.policy,
  };
  const fields = (Object.keys(draft.change) as (keyof ClientChange)[]).map((field) => names[field]);
  return (
    <form class="save-bar" onSubmit={submit} aria-label={w.unsaved(fields.join(", "))}>
      {draft.isOvertaken && <p role="alert">{w.overtaken(version)}</p>}
      {!draft.isOvertaken && !isOutdated && <FormError error={error} />}
      <div class="row">
        <span class="grow">{w.unsaved(fields.join(", "))}</span>
        <Button onClick={draft.discard}>{w.discard}</Button>
        {draft.isOvertaken ? (
          // Its click must not become that of the other.
          <Button key="load" kind="primary" icon="refresh" onClick={draft.adopt}>
            {w.loadNew}
          </Button>
        ) : (
          <Button key="save" kind="primary" type="submit" isDisabled={isBusy}>
            {w.save}
          </Button>
        )}
      </div>
    </form>
  );
}
