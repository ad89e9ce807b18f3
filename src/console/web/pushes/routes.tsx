import { useState } from "preact/hooks";
import type { CallbackData, RouteData } from "../../../api/v1-callbacks-schema.ts";
import { put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { ask, FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { SelectField, TextField, useInput } from "../parts/field.tsx";
import { Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty } from "../parts/states.tsx";
import { actionsColumn, type Column, Table } from "../parts/table.tsx";
import { attempt } from "../parts/toast.tsx";
import { Time } from "../parts/time.tsx";
import { ifMatch, pathOf, type Shown } from "./reception.tsx";
import { TargetDialog } from "./target-dialog.tsx";
import { w } from "./words.ts";

type Target = CallbackData["targets"][number];

/** Where pushes go: the targets, and in their order the rules that lead to them. */
export function Routes(shown: Shown) {
  return (
    <>
      <Targets {...shown} />
      <Rules {...shown} />
    </>
  );
}

function Targets({ data, reload }: Shown) {
  const { app } = data;
  const edit = (target?: Target) =>
    openDialog((close) => <TargetDialog app={app} target={target} reload={reload} onClose={close} />);
  const askRemoval = ({ target, version }: Target) =>
    ask(() => ({
      title: w.removeTarget,
      action: w.remove,
      text: target,
      hint: w.removeTargetHint,
      onConfirm: async () => {
        await remove(`${pathOf(app)}/targets/${target}`, ifMatch(version));
        reload();
      },
    }));
  const add = (
    <Button icon="plus" onClick={() => edit()}>
      {w.addTarget}
    </Button>
  );
  return (
    <Section title={w.targets} isBare actions={data.targets.length > 0 && add}>
      <Table
        caption={w.targets}
        rows={data.targets}
        keyOf={({ target }) => target}
        columns={targetColumns({ edit, remove: askRemoval })}
        empty={<Empty title={w.noTargets} hint={w.noTargetsHint} action={add} />}
      />
    </Section>
  );
}

function targetColumns(on: {
  readonly edit: (target: Target) => void;
  readonly remove: (target: Target) => void;
}): Column<Target>[] {
  return [
    { key: "target", title: w.target, cell: ({ target }) => <strong>{target}</strong> },
    { key: "environment", title: w.environment, cell: ({ environment }) => environment },
    {
      key: "url",
      title: w.goesTo,
      isFlexible: true,
      cell: ({ url, pulled_at: pulledAt }) =>
        url === undefined ? (
          <span class="row">
            {w.pulled}
            {pulledAt !== undefined && (
              <span class="muted">
                <Time at={pulledAt} />
              </span>
            )}
          </span>
        ) : (
          <code>{url}</code>
        ),
    },
    { key: "content", title: w.content, from: "wide", cell: ({ content }) => w[content] },
    actionsColumn((row) => ({
      edit: () => on.edit(row),
      removal: w.removeOf(row.target),
      remove: () => on.remove(row),
    })),
  ];
}

const LISTS = ["types", "events", "event_keys", "openids"] as const;

function Rules({ data, reload }: Shown) {
  const { app, version, routes, targets } = data;
  const save = async (next: readonly RouteData[]) => {
    await put(`${pathOf(app)}/routes`, { routes: next }, ifMatch(version));
    reload();
  };
  const saveNow = (next: readonly RouteData[]) => attempt(() => save(next)).then(() => undefined);
  // The rule belongs to the routes that are seen now: what changes meanwhile is not overwritten.
  const edit = (at: number) =>
    openDialog((close) => (
      <RuleDialog
        rule={routes[at]}
        targets={targets.map(({ target }) => target)}
        onClose={close}
        onSave={(rule) => save(routes.toSpliced(at, 1, rule))}
      />
    ));
  const moved = (from: number, to: number) => {
    const next = [...routes];
    next.splice(to, 0, ...next.splice(from, 1));
    return saveNow(next);
  };
  const columns: Column<RouteData & { at: number }>[] = [
    { key: "at", title: w.order, cell: ({ at }) => at + 1 },
    {
      key: "match",
      title: w.matches,
      isFlexible: true,
      cell: (row) => <Conditions rule={row} />,
    },
    {
      key: "role",
      title: w.role,
      cell: ({ role }) => <Badge tone={role === "primary" ? "info" : "idle"}>{w[role]}</Badge>,
    },
    { key: "target", title: w.target, cell: ({ target }) => <strong>{target}</strong> },
    actionsColumn(({ at }) => ({
      more: (
        <>
          <Button
            isSmall
            kind="quiet"
            icon="up"
            label={w.up(at + 1)}
            isDisabled={at === 0}
            onClick={() => moved(at, at - 1)}
          />
          <Button
            isSmall
            kind="quiet"
            icon="down"
            label={w.down(at + 1)}
            isDisabled={at === routes.length - 1}
            onClick={() => moved(at, at + 1)}
          />
        </>
      ),
      edit: () => edit(at),
      removal: w.removeRule(at + 1),
      remove: () => saveNow(routes.filter((_, n) => n !== at)),
    })),
  ];
  const add = (
    <Button icon="plus" isDisabled={targets.length === 0} onClick={() => edit(routes.length)}>
      {w.addRule}
    </Button>
  );
  return (
    <Section title={w.routes} isBare actions={add}>
      <p class="muted hint-above">{w.routesHint}</p>
      <Table
        caption={w.routes}
        rows={routes.map((each, at) => ({ ...each, at }))}
        keyOf={({ at }) => String(at)}
        columns={columns}
      />
    </Section>
  );
}

function Conditions({ rule }: { readonly rule: RouteData }) {
  const given = LISTS.filter((list) => (rule[list]?.length ?? 0) > 0);
  if (given.length === 0) return <span class="muted">{w.everything}</span>;
  return (
    <span class="conditions">
      {given.map((list) => (
        <span key={list}>
          <span class="muted">{w[list]}</span> <code>{rule[list]?.join(", ")}</code>
        </span>
      ))}
    </span>
  );
}

function RuleDialog(props: {
  readonly rule: RouteData | undefined;
  readonly targets: readonly string[];
  readonly onClose: () => void;
  readonly onSave: (rule: RouteData) => Promise<unknown>;
}) {
  const { rule, targets } = props;
  const target = useInput(rule?.target ?? targets[0] ?? "");
  const role = useInput(rule?.role ?? "primary");
  const [lists, setLists] = useState(
    Object.fromEntries(LISTS.map((list) => [list, rule?.[list]?.join(", ") ?? ""])),
  );
  const save = () => {
    const given = LISTS.map((list) => [list, (lists[list] ?? "").split(/[\s,]+/).filter(Boolean)] as const);
    return props.onSave({
      target: target.value,
      role: role.value,
      ...Object.fromEntries(given.filter(([, list]) => list.length > 0)),
    });
  };
  return (
    <FormDialog
      title={rule ? w.editRule : w.addRule}
      action={w.save}
      isDisabled={target.value === ""}
      onClose={props.onClose}
      onSubmit={save}
    >
      <div class="columns">
        <SelectField label={w.target} {...target} options={targets.map((each) => [each, each])} />
        <SelectField
          label={w.role}
          hint={role.value === "primary" ? w.primaryHint : w.copyHint}
          {...role}
          options={(["primary", "copy"] as const).map((value) => [value, w[value]])}
        />
      </div>
      <p class="muted">{w.conditionsHint}</p>
      {LISTS.map((list) => (
        <TextField
          key={list}
          label={w[list]}
          isOptional
          isMono
          placeholder={
            {
              types: "text, event",
              events: "subscribe, CLICK",
              event_keys: "qrscene_dev*",
              openids: "oAbCdEf0123456789",
            }[list]
          }
          value={lists[list] ?? ""}
          onInput={(value) => setLists({ ...lists, [list]: value })}
        />
      ))}
    </FormDialog>
  );
}
