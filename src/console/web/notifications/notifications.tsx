import type { AlarmsData, ConditionsData, NotificationData } from "../../../api/v1-notifications-schema.ts";
import { patch } from "../api.ts";
import { number } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { CheckField, TextField, useInput } from "../parts/field.tsx";
import { Icon } from "../parts/icons.tsx";
import { Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { toast } from "../parts/toast.tsx";
import { type Resource, useResource } from "../resource.ts";
import { href } from "../router.ts";
import { Channels, SeverityBadge } from "./channels.tsx";
import { w } from "./words.ts";

type AlarmData = AlarmsData["alarms"][number];
type ConditionData = ConditionsData["conditions"][number];

/** What alarms and messages do is no event of the stream. */
const LOOK_MS = 10_000;
const CONDITIONS = "/v1/notifications/conditions";

/** What is wrong, who is told of it, of what, and what became of that. */
export function Notifications() {
  const conditions = useResource<ConditionsData>(CONDITIONS);
  const titles = new Map<string, string>(
    conditions.data?.conditions.map(({ condition, title }) => [condition, title]),
  );
  return (
    <div class="stack">
      <Alarms />
      <Channels />
      <Messages titleOf={(condition) => sentence(titles.get(condition) ?? condition)} />
      <Conditions conditions={conditions} />
    </div>
  );
}

function Alarms() {
  const alarms = useResource<AlarmsData>("/v1/alarms", { everyMs: LOOK_MS });
  return (
    <Section title={w.alarms}>
      <Loaded resource={alarms}>
        {({ alarms: rows }) => (
          <Table
            caption={w.alarms}
            rows={rows}
            keyOf={({ condition, subject }) => `${condition} ${subject}`}
            hrefOf={pageOf}
            columns={alarmColumns()}
            empty={
              <p class="all-well">
                <Icon name="check" />
                {w.noAlarms}
              </p>
            }
          />
        )}
      </Loaded>
    </Section>
  );
}

/** A title as it stands alone. */
function sentence(text: string): string {
  const half = halfOf(text);
  return half.slice(0, 1).toUpperCase() + half.slice(1);
}

/** Where something can be done about it. */
function pageOf({ about, subject }: AlarmData): string | undefined {
  // Of a key the client stands first.
  const [name = ""] = subject.split(" ");
  if (about === "app" || about === "client") return href(`/${about}s/${encodeURIComponent(name)}`);
  return about === "node" ? href("/settings", { tab: "nodes" }) : undefined;
}

function alarmColumns(): Column<AlarmData>[] {
  return [
    {
      key: "alarm",
      title: w.alarm,
      isFlexible: true,
      cell: ({ title, message, hint }) => (
        <span title={halfOf(hint)}>
          {sentence(title)}
          <span class="muted small"> {halfOf(message)}</span>
        </span>
      ),
    },
    { key: "severity", title: w.severity, cell: (row) => <SeverityBadge severity={row.severity} /> },
    { key: "subject", title: w.subject, from: "wide", cell: ({ subject }) => <code>{subject}</code> },
    { key: "since", title: w.since, cell: ({ since }) => <Time at={since} /> },
  ];
}

function Conditions({ conditions }: { readonly conditions: Resource<ConditionsData> }) {
  const edit = (of: ConditionData, version: number) =>
    openDialog((close) => (
      <ConditionDialog of={of} version={version} onClose={close} onSaved={conditions.reload} />
    ));
  return (
    <Section title={w.conditions}>
      <Loaded resource={conditions}>
        {({ conditions: rows, version }) => (
          <Table
            caption={w.conditions}
            rows={rows}
            keyOf={({ condition }) => condition}
            columns={conditionColumns((of) => edit(of, version))}
          />
        )}
      </Loaded>
    </Section>
  );
}

function conditionColumns(onEdit: (of: ConditionData) => void): Column<ConditionData>[] {
  return [
    {
      key: "condition",
      title: w.condition,
      isFlexible: true,
      cell: ({ title, remedy }) => <span title={halfOf(remedy)}>{sentence(title)}</span>,
    },
    {
      key: "severity",
      title: w.severity,
      from: "wide",
      cell: (row) => <SeverityBadge severity={row.severity} />,
    },
    {
      key: "threshold",
      title: w.threshold,
      from: "wide",
      isEnd: true,
      cell: ({ threshold }) => (threshold === undefined ? null : number(threshold)),
    },
    {
      key: "state",
      title: w.state,
      cell: ({ enabled }) => (
        <Badge tone={enabled ? "ok" : "idle"} icon={enabled ? "check" : "pause"}>
          {enabled ? w.on : w.off}
        </Badge>
      ),
    },
    {
      key: "actions",
      title: "",
      isEnd: true,
      cell: (of) => (
        <Button isSmall onClick={() => onEdit(of)}>
          {w.edit}
        </Button>
      ),
    },
  ];
}

function ConditionDialog(props: {
  readonly of: ConditionData;
  readonly version: number;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}) {
  const { condition, title, remedy, enabled, threshold } = props.of;
  const isTold = useInput(enabled);
  const from = useInput(String(threshold ?? ""));
  const save = async () => {
    const choice = {
      enabled: isTold.value,
      ...(threshold === undefined ? {} : { threshold: Number(from.value) }),
    };
    await patch(CONDITIONS, { [condition]: choice }, { version: props.version });
    toast(w.saved);
    props.onSaved();
  };
  return (
    <FormDialog title={sentence(title)} action={w.save} onClose={props.onClose} onSubmit={save}>
      <p class="muted">{halfOf(remedy)}</p>
      <CheckField label={w.isTold} {...isTold} />
      {threshold !== undefined && <TextField label={w.threshold} type="number" {...from} />}
    </FormDialog>
  );
}

function Messages({ titleOf }: { readonly titleOf: TitleOf }) {
  const messages = useResource<{ readonly notifications: readonly NotificationData[] }>(
    "/v1/notifications?limit=20",
    { everyMs: LOOK_MS },
  );
  return (
    <Section title={w.messages}>
      <Loaded resource={messages}>
        {({ notifications: rows }) => (
          <Table
            caption={w.messages}
            rows={rows}
            keyOf={({ id }) => String(id)}
            columns={messageColumns(titleOf)}
            empty={<p class="muted">{w.noMessages}</p>}
          />
        )}
      </Loaded>
    </Section>
  );
}

type TitleOf = (condition: string) => string;

const OUTCOMES = {
  waiting: { tone: "info", icon: "clock" },
  sent: { tone: "ok", icon: "check" },
  failed: { tone: "bad", icon: "alert" },
} as const;
type Outcome = keyof typeof OUTCOMES;

function messageColumns(titleOf: TitleOf): Column<NotificationData>[] {
  return [
    { key: "when", title: w.when, cell: (row) => <Time at={row.created_at} /> },
    { key: "channel", title: w.channel, cell: ({ channel }) => channel },
    {
      key: "alarms",
      title: w.alarm,
      from: "wide",
      isFlexible: true,
      cell: ({ kind, alarms: [first, ...others], omitted }) => {
        if (kind === "test") return w.test;
        const more = others.length + omitted;
        const title = first && `${titleOf(first.condition)} ${first.subject}`;
        return `${title ?? ""} ${more > 0 ? w.andMore(number(more)) : ""}`;
      },
    },
    {
      key: "outcome",
      title: w.outcome,
      cell: ({ state, attempts }) => (
        <Badge {...OUTCOMES[state as Outcome]} title={w.attempts(number(attempts))}>
          {w[state as Outcome]}
        </Badge>
      ),
    },
    { key: "answer", title: w.answer, from: "widest", cell: ({ answer }) => <code>{answer}</code> },
  ];
}
