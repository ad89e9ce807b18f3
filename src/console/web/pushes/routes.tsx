import { useState } from "preact/hooks";
import type { CallbackData, RouteData } from "../../../api/v1-callbacks-schema.ts";
import { put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { ConfirmDialog, FormDialog } from "../parts/dialog.tsx";
import { SelectField, TextField } from "../parts/field.tsx";
import { Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
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
  const [edited, setEdited] = useState<Target | "new" | undefined>(undefined);
  const [removed, setRemoved] = useState<Target | undefined>(undefined);
  const add = (
    <Button icon="plus" onClick={() => setEdited("new")}>
      {w.addTarget}
    </Button>
  );
  return (
    <Section title={w.targets} isBare actions={data.targets.length > 0 && add}>
      {data.targets.length === 0 ? (
        <Empty title={w.noTargets} hint={w.noTargetsHint} action={add} />
      ) : (
        <Table
          caption={w.targets}
          rows={data.targets}
          keyOf={({ target }) => target}
          columns={targetColumns({ edit: setEdited, remove: setRemoved })}
        />
      )}
      {edited && (
        <TargetDialog
          app={data.app}
          target={edited === "new" ? undefined : edited}
          reload={reload}
          onClose={() => setEdited(undefined)}
        />
      )}
      {removed && (
        <ConfirmDialog
          title={w.removeTarget}
          action={w.remove}
          text={removed.target}
          onClose={() => setRemoved(undefined)}
          onConfirm={async () => {
            await remove(`${pathOf(data.app)}/targets/${removed.target}`, ifMatch(removed.version));
            reload();
          }}
        >
          <p>{w.removeTargetHint}</p>
        </ConfirmDialog>
      )}
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
    {
      key: "actions",
      title: "",
      isEnd: true,
      cell: (row) => (
        <span class="row">
          <Button isSmall onClick={() => on.edit(row)}>
            {w.edit}
          </Button>
          <Button
            isSmall
            kind="quiet"
            icon="trash"
            label={w.removeOf(row.target)}
            onClick={() => on.remove(row)}
          />
        </span>
      ),
    },
  ];
}

const LISTS = ["types", "events", "event_keys", "openids"] as const;

function Rules({ data, reload }: Shown) {
  const [edited, setEdited] = useState<{ readonly at: number; readonly of: CallbackData } | undefined>(
    undefined,
  );
  const { routes, targets } = data;
  const save = async (next: readonly RouteData[], { app, version }: CallbackData) => {
    await put(`${pathOf(app)}/routes`, { routes: next }, ifMatch(version));
    reload();
  };
  const saveNow = (next: readonly RouteData[]) => attempt(() => save(next, data)).then(() => undefined);
  // The rule belongs to the routes that were seen then: what has changed since must not be overwritten.
  const edit = (at: number) => setEdited({ at, of: data });
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
    {
      key: "actions",
      title: "",
      isEnd: true,
      cell: ({ at }) => (
        <span class="row">
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
          <Button isSmall onClick={() => edit(at)}>
            {w.edit}
          </Button>
          <Button
            isSmall
            kind="quiet"
            icon="trash"
            label={w.removeRule(at + 1)}
            onClick={() => saveNow(routes.filter((_, n) => n !== at))}
          />
        </span>
      ),
    },
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
      {edited && (
        <RuleDialog
          rule={edited.of.routes[edited.at]}
          targets={targets.map(({ target }) => target)}
          onClose={() => setEdited(undefined)}
          onSave={(rule) => save(edited.of.routes.toSpliced(edited.at, 1, rule), edited.of)}
        />
      )}
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
  const [target, setTarget] = useState(rule?.target ?? targets[0] ?? "");
  const [role, setRole] = useState(rule?.role ?? "primary");
  const [lists, setLists] = useState(
    Object.fromEntries(LISTS.map((list) => [list, rule?.[list]?.join(", ") ?? ""])),
  );
  const save = () => {
    const given = LISTS.map((list) => [list, (lists[list] ?? "").split(/[\s,]+/).filter(Boolean)] as const);
    return props.onSave({ target, role, ...Object.fromEntries(given.filter(([, list]) => list.length > 0)) });
  };
  return (
    <FormDialog
      title={rule ? w.editRule : w.addRule}
      action={w.save}
      isDisabled={target === ""}
      onClose={props.onClose}
      onSubmit={save}
    >
      <div class="columns">
        <SelectField
          label={w.target}
          value={target}
          onInput={setTarget}
          options={targets.map((each) => [each, each])}
        />
        <SelectField
          label={w.role}
          hint={role === "primary" ? w.primaryHint : w.copyHint}
          value={role}
          onInput={(value) => setRole(value as typeof role)}
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
