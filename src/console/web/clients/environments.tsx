import { useState } from "preact/hooks";
import type { EnvironmentData } from "../../../api/v1-environments-schema.ts";
import { put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { ConfirmDialog, FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField } from "../parts/field.tsx";
import { Page } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { toast } from "../parts/toast.tsx";
import { useResource } from "../resource.ts";
import { href } from "../router.ts";
import { may } from "../session.ts";
import { ClientTabs } from "./clients.tsx";
import { w } from "./words.ts";

type Asked = { readonly kind: "new" } | { readonly kind: "edit" | "remove"; readonly of: EnvironmentData };

/** Where programs run, and what that decides. */
export function Environments() {
  const [asked, setAsked] = useState<Asked | undefined>(undefined);
  const found = useResource<{ environments: EnvironmentData[] }>("/v1/environments", {
    topics: ["environment"],
  });
  const close = () => setAsked(undefined);
  const add = (
    <Button kind="primary" icon="plus" onClick={() => setAsked({ kind: "new" })}>
      {w.newEnvironment}
    </Button>
  );
  const leave = async ({ environment, version }: EnvironmentData) => {
    await remove(`/v1/environments/${encodeURIComponent(environment)}`, { version });
    toast(w.removed);
    found.reload();
  };
  return (
    <Page title={w.title} actions={may("admin") && add}>
      <ClientTabs current="environments" />
      <Loaded resource={found}>
        {({ environments }) =>
          environments.length === 0 ? (
            <Empty title={w.noEnvironments} hint={w.noEnvironmentsHint} action={add} />
          ) : (
            <Table
              caption={w.environments}
              columns={columns(setAsked)}
              rows={environments}
              keyOf={({ environment }) => environment}
              hrefOf={({ environment }) => href("/clients", { environment })}
            />
          )
        }
      </Loaded>
      {asked && asked.kind !== "remove" && (
        <EnvironmentDialog
          of={asked.kind === "edit" ? asked.of : undefined}
          onClose={close}
          onSaved={found.reload}
        />
      )}
      {asked?.kind === "remove" && (
        <ConfirmDialog
          title={w.removeEnvironment}
          action={w.removeEnvironment}
          text={asked.of.environment}
          onClose={close}
          onConfirm={() => leave(asked.of)}
        >
          <p>{w.removeEnvironmentHint}</p>
        </ConfirmDialog>
      )}
    </Page>
  );
}

function columns(onAsk: (asked: Asked) => void): Column<EnvironmentData>[] {
  return [
    { key: "environment", title: w.environment, isFlexible: true, cell: ({ environment }) => environment },
    {
      key: "production",
      title: w.production,
      cell: ({ production, damaged }) =>
        damaged ? (
          <Badge tone="bad" icon="alert" title={damaged.join(", ")}>
            {w.damaged}
          </Badge>
        ) : production ? (
          w.yes
        ) : (
          <span class="muted">{w.no}</span>
        ),
    },
    { key: "codes", title: w.codes, from: "wide", cell: ({ codes }) => codes },
    { key: "updated", title: w.updated, from: "wide", cell: ({ updated_at: at }) => <Time at={at} /> },
    {
      key: "actions",
      title: w.actions,
      isEnd: true,
      cell: (of) => (
        <span class="row">
          <Button isSmall onClick={() => onAsk({ kind: "edit", of })}>
            {w.edit}
          </Button>
          <Button
            isSmall
            kind="quiet"
            icon="trash"
            label={`${w.removeEnvironment}: ${of.environment}`}
            onClick={() => onAsk({ kind: "remove", of })}
          />
        </span>
      ),
    },
  ];
}

function EnvironmentDialog(props: {
  readonly of: EnvironmentData | undefined;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}) {
  const { of, onClose, onSaved } = props;
  const [name, setName] = useState(of?.environment ?? "");
  const [production, setProduction] = useState(of?.production ?? false);
  const [codes, setCodes] = useState(of?.codes ?? "relay");
  const save = async () => {
    const path = `/v1/environments/${encodeURIComponent(name.trim())}`;
    await put(path, { production, codes }, of ? { version: of.version } : {});
    toast(w.saved);
    onSaved();
  };
  return (
    <FormDialog
      title={of ? of.environment : w.newEnvironment}
      action={w.save}
      onClose={onClose}
      onSubmit={save}
      isDisabled={name.trim() === ""}
    >
      {!of && <TextField label={w.name} value={name} onInput={setName} isMono hasFocus />}
      <CheckField
        label={w.production}
        hint={w.productionHint}
        isChecked={production}
        onInput={setProduction}
      />
      <SelectField
        label={w.codes}
        value={codes}
        onInput={setCodes}
        options={[
          ["relay", w.codesRelay],
          ["raw", w.codesRaw],
        ]}
      />
    </FormDialog>
  );
}
