import type { EnvironmentData } from "../../../api/v1-environments-schema.ts";
import { put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { ask, FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { CheckField, SelectField, TextField, useInput } from "../parts/field.tsx";
import { Page } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { actionsColumn, type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { toast } from "../parts/toast.tsx";
import { useResource } from "../resource.ts";
import { href } from "../router.ts";
import { may } from "../session.ts";
import { ClientTabs } from "./clients.tsx";
import { w } from "./words.ts";

interface Actions {
  readonly edit: (of?: EnvironmentData) => void;
  readonly remove: (of: EnvironmentData) => void;
}

/** Where programs run, and what that decides. */
export function Environments() {
  const found = useResource<{ environments: EnvironmentData[] }>("/v1/environments", {
    topics: ["environment"],
  });
  const edit = (of?: EnvironmentData) =>
    openDialog((close) => <EnvironmentDialog of={of} onClose={close} onSaved={found.reload} />);
  const add = (
    <Button kind="primary" icon="plus" onClick={() => edit()}>
      {w.newEnvironment}
    </Button>
  );
  const leave = async ({ environment, version }: EnvironmentData) => {
    await remove(`/v1/environments/${encodeURIComponent(environment)}`, { version });
    toast(w.removed);
    found.reload();
  };
  const askRemoval = (of: EnvironmentData) =>
    ask(() => ({
      title: w.removeEnvironment,
      action: w.removeEnvironment,
      text: of.environment,
      hint: w.removeEnvironmentHint,
      onConfirm: () => leave(of),
    }));
  return (
    <Page title={w.title} actions={may("admin") && add}>
      <ClientTabs current="environments" />
      <Loaded resource={found}>
        {({ environments }) => (
          <Table
            caption={w.environments}
            columns={columns({ edit, remove: askRemoval })}
            rows={environments}
            keyOf={({ environment }) => environment}
            hrefOf={({ environment }) => href("/clients", { environment })}
            empty={<Empty title={w.noEnvironments} hint={w.noEnvironmentsHint} action={add} />}
          />
        )}
      </Loaded>
    </Page>
  );
}

function columns(on: Actions): Column<EnvironmentData>[] {
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
    actionsColumn((of) => ({
      edit: () => on.edit(of),
      removal: `${w.removeEnvironment}: ${of.environment}`,
      remove: () => on.remove(of),
    })),
  ];
}

function EnvironmentDialog(props: {
  readonly of: EnvironmentData | undefined;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}) {
  const { of, onClose, onSaved } = props;
  const name = useInput(of?.environment ?? "");
  const production = useInput(of?.production ?? false);
  const codes = useInput(of?.codes ?? "relay");
  const save = async () => {
    const path = `/v1/environments/${encodeURIComponent(name.value.trim())}`;
    await put(path, { production: production.value, codes: codes.value }, of ? { version: of.version } : {});
    toast(w.saved);
    onSaved();
  };
  return (
    <FormDialog
      title={of ? of.environment : w.newEnvironment}
      action={w.save}
      onClose={onClose}
      onSubmit={save}
      isDisabled={name.value.trim() === ""}
    >
      {!of && <TextField label={w.name} {...name} isMono hasFocus />}
      <CheckField label={w.production} hint={w.productionHint} {...production} />
      <SelectField
        label={w.codes}
        {...codes}
        options={[
          ["relay", w.codesRelay],
          ["raw", w.codesRaw],
        ]}
      />
    </FormDialog>
  );
}
