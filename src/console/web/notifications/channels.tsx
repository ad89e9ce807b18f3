import { useState } from "preact/hooks";
import type { ChannelData, TestData } from "../../../api/v1-notifications-schema.ts";
import { post, remove } from "../api.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { ConfirmDialog, Dialog } from "../parts/dialog.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { attempt, toast } from "../parts/toast.tsx";
import { w as parts } from "../parts/words.ts";
import { useResource } from "../resource.ts";
import { ChannelDialog, type ChannelKind, CHANNELS, pathOf, type Severity } from "./channel-dialog.tsx";
import { w } from "./words.ts";

const TONES = { critical: "bad", warning: "warn", info: "info" } as const;

/** How bad an alarm is. */
export function SeverityBadge({ severity }: { readonly severity: Severity }) {
  return <Badge tone={TONES[severity]}>{w[severity]}</Badge>;
}

type Asked =
  | { readonly kind: "new" }
  | { readonly kind: "edit" | "remove"; readonly of: ChannelData }
  | { readonly kind: "tested"; readonly of: ChannelData; readonly outcome: TestData };

/** Where alarms are sent: added, changed, tried and removed here. */
export function Channels() {
  const [asked, setAsked] = useState<Asked | undefined>(undefined);
  const channels = useResource<{ readonly channels: readonly ChannelData[] }>(CHANNELS);
  const close = () => setAsked(undefined);
  const add = (
    <Button icon="plus" onClick={() => setAsked({ kind: "new" })}>
      {w.addChannel}
    </Button>
  );
  const test = (of: ChannelData) =>
    attempt(async () => {
      const outcome = await post<TestData>(`${pathOf(of.channel)}/test`);
      setAsked({ kind: "tested", of, outcome });
    });
  const leave = async ({ channel, version }: ChannelData) => {
    await remove(pathOf(channel), { version });
    toast(w.removed);
    channels.reload();
  };
  return (
    <Section title={w.channels} actions={channels.data?.channels.length ? add : undefined}>
      <Loaded resource={channels}>
        {({ channels: rows }) =>
          rows.length === 0 ? (
            <Empty icon="alert" title={w.noChannels} hint={w.noChannelsHint} action={add} />
          ) : (
            <Table
              caption={w.channels}
              rows={rows}
              keyOf={({ channel }) => channel}
              columns={columns(setAsked, test)}
            />
          )
        }
      </Loaded>
      {(asked?.kind === "new" || asked?.kind === "edit") && (
        <ChannelDialog
          of={asked.kind === "edit" ? asked.of : undefined}
          onClose={close}
          onSaved={channels.reload}
        />
      )}
      {asked?.kind === "remove" && (
        <ConfirmDialog
          title={w.removeChannel}
          action={w.remove}
          text={asked.of.channel}
          onClose={close}
          onConfirm={() => leave(asked.of)}
        >
          <p>{w.removeChannelHint}</p>
        </ConfirmDialog>
      )}
      {asked?.kind === "tested" && (
        <TestDialog name={asked.of.channel} outcome={asked.outcome} onClose={close} />
      )}
    </Section>
  );
}

function columns(
  onAsk: (asked: Asked) => void,
  onTest: (of: ChannelData) => Promise<unknown>,
): Column<ChannelData>[] {
  return [
    {
      key: "name",
      title: w.channel,
      isFlexible: true,
      cell: ({ channel, kind }) => (
        <span class="row">
          {channel}
          <span class="muted">{w[kind as ChannelKind]}</span>
        </span>
      ),
    },
    {
      key: "state",
      title: w.state,
      cell: ({ enabled, damaged }) =>
        damaged?.length ? (
          <Badge tone="bad" icon="alert" title={w.damagedHint}>
            {w.damaged}
          </Badge>
        ) : (
          <Badge tone={enabled ? "ok" : "idle"} icon={enabled ? "check" : "pause"}>
            {enabled ? w.enabled : w.disabled}
          </Badge>
        ),
    },
    { key: "url", title: "URL", from: "wide", cell: ({ url }) => <code>{url}</code> },
    {
      key: "severity",
      title: w.minSeverity,
      from: "wide",
      cell: (row) => <SeverityBadge severity={row.min_severity as Severity} />,
    },
    {
      key: "actions",
      title: "",
      isEnd: true,
      cell: (of) => (
        <span class="row">
          <Button isSmall onClick={async () => void (await onTest(of))}>
            {w.test}
          </Button>
          <Button isSmall onClick={() => onAsk({ kind: "edit", of })}>
            {w.edit}
          </Button>
          <Button
            isSmall
            kind="quiet"
            icon="trash"
            label={`${w.remove}: ${of.channel}`}
            onClick={() => onAsk({ kind: "remove", of })}
          />
        </span>
      ),
    },
  ];
}

function TestDialog(props: {
  readonly name: string;
  readonly outcome: TestData;
  readonly onClose: () => void;
}) {
  const { ok, answer, hint } = props.outcome;
  return (
    <Dialog title={w.testOf(props.name)} onClose={props.onClose}>
      <div class="fields">
        <p class="row">
          <Badge tone={ok ? "ok" : "bad"} icon={ok ? "check" : "alert"}>
            {ok ? w.testSent : w.testRefused}
          </Badge>
        </p>
        <Facts
          items={[
            [w.answer, <code>{answer}</code>],
            [w.whatToDo, hint && halfOf(hint)],
          ]}
        />
        <p class="muted">{w.testHint}</p>
      </div>
      <footer>
        <Button onClick={props.onClose}>{parts.close}</Button>
      </footer>
    </Dialog>
  );
}
