import { useState } from "preact/hooks";
import type { ClientData } from "../../../api/v1-clients-schema.ts";
import type { CreatedKeyData, KeyData } from "../../../api/v1-keys-schema.ts";
import { post, remove } from "../api.ts";
import { duration, now } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { ConfirmDialog, FormDialog, SecretDialog } from "../parts/dialog.tsx";
import { SelectField, TextField } from "../parts/field.tsx";
import { InstantField } from "../parts/instant-field.tsx";
import { FilterChips } from "../parts/filter-chips.tsx";
import { showOnce } from "../parts/shown-once.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { toast } from "../parts/toast.tsx";
import type { Resource } from "../resource.ts";
import { route, setQuery } from "../router.ts";
import { End } from "./clients.tsx";
import { ANY_APP } from "./grants.ts";
import { w } from "./words.ts";

/** The keys of a client. */
export type Keys = Resource<{ keys: readonly KeyData[] }>;

/** What is asked about keys at the moment. */
export type KeyDialog =
  { readonly kind: "create" } | { readonly kind: "roll" | "revoke"; readonly key: KeyData };

const isActive = ({ state }: KeyData) => state === "active";

/** The keys of a client, each with what can be done with it. */
export function KeyTable(props: { readonly keys: Keys; readonly onAsk: (asked: KeyDialog) => void }) {
  const { keys, onAsk } = props;
  const ended = route.value.query.get("keys") === "ended" ? "ended" : "";
  return (
    <Loaded resource={keys}>
      {({ keys: all }) => {
        const active = all.filter(isActive);
        const rows = ended ? all.filter((key) => !isActive(key)) : active;
        const create = (
          <Button kind="primary" icon="plus" onClick={() => onAsk({ kind: "create" })}>
            {w.createKey}
          </Button>
        );
        return (
          <>
            {all.length > active.length && (
              <div class="toolbar">
                <FilterChips
                  value={ended}
                  onChange={(value) => setQuery({ keys: value })}
                  chips={[
                    { value: "", title: w.activeKeys, count: active.length },
                    { value: "ended", title: w.endedKeys, count: all.length - active.length },
                  ]}
                />
              </div>
            )}
            {rows.length > 0 ? (
              <Table
                caption={w.keys}
                columns={columns(onAsk)}
                rows={rows.toReversed()}
                keyOf={({ key }) => key}
              />
            ) : (
              <Empty icon="key" title={w.noKeys} hint={w.noKeysHint} action={create} />
            )}
          </>
        );
      }}
    </Loaded>
  );
}

function columns(onAsk: (asked: KeyDialog) => void): Column<KeyData>[] {
  const ask = (kind: "roll" | "revoke", key: KeyData) => () => onAsk({ kind, key });
  return [
    { key: "key", title: w.prefix, cell: ({ key }) => <Id text={key} /> },
    {
      key: "label",
      title: w.label,
      cell: ({ label }) => (
        <span class="clipped" title={label}>
          {label}
        </span>
      ),
    },
    { key: "state", title: w.state, cell: (key) => <KeyState of={key} /> },
    { key: "created", title: w.created, from: "widest", cell: (key) => <Time at={key.created_at} /> },
    { key: "used", title: w.lastUsed, from: "wide", cell: (key) => <Time at={key.last_used_at} /> },
    { key: "ends", title: w.ends, from: "wide", cell: (key) => <End at={key.expires_at} /> },
    {
      key: "actions",
      title: w.actions,
      isEnd: true,
      cell: (key) =>
        isActive(key) && (
          <span class="row">
            {key.replaced_by === undefined && (
              <Button isSmall icon="refresh" onClick={ask("roll", key)}>
                {w.roll}
              </Button>
            )}
            <Button isSmall kind="danger" icon="ban" onClick={ask("revoke", key)}>
              {w.revoke}
            </Button>
          </span>
        ),
    },
  ];
}

function KeyState({ of: { state, replaced_by: next, expires_at: endsAt } }: { readonly of: KeyData }) {
  if (state === "active" && next !== undefined && endsAt !== undefined) {
    return (
      <Badge tone="warn" icon="clock" title={w.replacedBy(next)}>
        {w.rolling} · {w.endsIn(duration(endsAt - now.value))}
      </Badge>
    );
  }
  const looks = {
    active: ["ok", "check", w.active],
    expired: ["idle", "clock", w.expired],
    revoked: ["idle", "ban", w.revoked],
    damaged: ["bad", "alert", w.damaged],
  } as const;
  const [tone, icon, word] = looks[state];
  return (
    <Badge tone={tone} icon={icon} title={next && w.replacedBy(next)}>
      {word}
    </Badge>
  );
}

const HOUR = 3_600;
const DAY = 24 * HOUR;

/** The dialogs about keys. A new key is shown this once. */
export function KeyDialogs(props: {
  readonly client: ClientData;
  readonly asked: KeyDialog | undefined;
  readonly onDone: () => void;
  readonly onChanged: () => void;
}) {
  const { client, asked, onDone, onChanged } = props;
  const [label, setLabel] = useState("default");
  const [endsAt, setEndsAt] = useState<number | undefined>(undefined);
  const [overlap, setOverlap] = useState(DAY);
  const path = `/v1/clients/${encodeURIComponent(client.client)}/keys`;
  const show = (key: CreatedKeyData) => {
    showOnce((close) => (
      <SecretDialog title={w.yourKey} label={key.label} secret={key.api_key} onClose={close}>
        <Code label={w.tryIt} text={curlOf(key, client)} />
      </SecretDialog>
    ));
    onChanged();
  };
  const create = async () => {
    const end = endsAt === undefined ? {} : { expires_at: endsAt };
    show(await post<CreatedKeyData>(path, { label: label.trim() || "default", ...end }));
  };
  const roll = async ({ key }: KeyData) =>
    show(await post<CreatedKeyData>(`${path}/${key}/roll`, { overlap }));
  const revoke = async ({ key }: KeyData) => {
    await remove(`${path}/${key}`);
    toast(w.keyRevoked);
    onChanged();
  };
  return (
    <>
      {asked?.kind === "create" && (
        <FormDialog title={w.createKey} action={w.create} onClose={onDone} onSubmit={create}>
          <TextField label={w.label} hint={w.labelHint} value={label} onInput={setLabel} hasFocus />
          <InstantField label={w.ends} hint={w.neverHint} isOptional value={endsAt} onInput={setEndsAt} />
        </FormDialog>
      )}
      {asked?.kind === "roll" && (
        <FormDialog
          title={w.rollTitle(asked.key.label)}
          action={w.roll}
          onClose={onDone}
          onSubmit={() => roll(asked.key)}
        >
          <p>{w.rollHint}</p>
          <SelectField
            label={w.overlap}
            value={String(overlap)}
            onInput={(value) => setOverlap(Number(value))}
            options={[
              [String(DAY), w.overlapDay],
              [String(HOUR), w.overlapHour],
              [String(3 * DAY), w.overlapThree],
              [String(7 * DAY), w.overlapWeek],
              ["0", w.overlapNone],
            ]}
          />
        </FormDialog>
      )}
      {asked?.kind === "revoke" && (
        <ConfirmDialog
          title={w.revokeTitle(asked.key.label)}
          action={w.revoke}
          text={asked.key.key}
          onClose={onDone}
          onConfirm={() => revoke(asked.key)}
        >
          <p>{w.revokeHint}</p>
        </ConfirmDialog>
      )}
    </>
  );
}

/** A call that works with the new key at once. */
function curlOf({ api_key: key, base_url: url }: CreatedKeyData, { grants }: ClientData): string {
  const reading = grants.find(({ actions }) => actions.includes("token:read"));
  const app = reading?.apps.find((each) => each !== ANY_APP);
  const path = app === undefined ? "/v1/apps" : `/v1/apps/${app}/credentials/access_token`;
  return `curl '${url}${path}' \\\n  -H 'Authorization: Bearer ${key}'`;
}
