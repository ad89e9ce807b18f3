import type { ChannelData, TestData } from "../../../api/v1-notifications-schema.ts";
import { post, remove } from "../api.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { ask, Dialog } from "../parts/dialog.tsx";
import { openDialog, openDialogAfter } from "../parts/dialogs.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { actionsColumn, type Column, Table } from "../parts/table.tsx";
import { attempt, toast } from "../parts/toast.tsx";
import { useResource } from "../resource.ts";
import { ChannelDialog, type ChannelKind, CHANNELS, pathOf, type Severity } from "./channel-dialog.tsx";
import { kindWords, w } from "./words.ts";

const TONES = { critical: "bad", warning: "warn", info: "info" } as const;

/** How bad an alarm is. */
export function SeverityBadge({ severity }: { readonly severity: Severity }) {
  return <Badge tone={TONES[severity]}>{w[severity]}</Badge>;
}

interface Actions {
  readonly test: (of: ChannelData) => Promise<unknown>;
  readonly edit: (of?: ChannelData) => void;
  readonly remove: (of: ChannelData) => void;
}

/** Where alarms are sent: added, changed, tried and removed here. */
export function Channels() {
  const channels = useResource<{ readonly channels: readonly ChannelData[] }>(CHANNELS);
  const edit = (of?: ChannelData) =>
    openDialog((close) => <ChannelDialog of={of} onClose={close} onSaved={channels.reload} />);
  const add = (
    <Button icon="plus" onClick={() => edit()}>
      {w.addChannel}
    </Button>
  );
  const test = ({ channel }: ChannelData) =>
    attempt(() =>
      openDialogAfter(post<TestData>(`${pathOf(channel)}/test`), (outcome, close) => (
        <TestDialog name={channel} outcome={outcome} onClose={close} />
      )),
    );
  const leave = async ({ channel, version }: ChannelData) => {
    await remove(pathOf(channel), { version });
    toast(w.removed);
    channels.reload();
  };
  const askRemoval = (of: ChannelData) =>
    ask(() => ({
      title: w.removeChannel,
      action: w.remove,
      text: of.channel,
      hint: w.removeChannelHint,
      onConfirm: () => leave(of),
    }));
  return (
    <Section title={w.channels} actions={channels.data?.channels.length ? add : undefined}>
      <Loaded resource={channels}>
        {({ channels: rows }) => (
          <Table
            caption={w.channels}
            rows={rows}
            keyOf={({ channel }) => channel}
            columns={columns({ test, edit, remove: askRemoval })}
            empty={<Empty icon="alert" title={w.noChannels} hint={w.noChannelsHint} action={add} />}
          />
        )}
      </Loaded>
    </Section>
  );
}

function columns(on: Actions): Column<ChannelData>[] {
  return [
    {
      key: "name",
      title: w.channel,
      isFlexible: true,
      cell: ({ channel, kind }) => (
        <span class="row">
          {channel}
          <span class="muted">{kindWords[kind as ChannelKind]}</span>
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
            {enabled ? w.on : w.off}
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
    actionsColumn((of) => ({
      more: (
        <Button isSmall onClick={async () => void (await on.test(of))}>
          {w.test}
        </Button>
      ),
      edit: () => on.edit(of),
      removal: `${w.remove}: ${of.channel}`,
      remove: () => on.remove(of),
    })),
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
        <Button onClick={props.onClose}>{w.close}</Button>
      </footer>
    </Dialog>
  );
}
