import type { ClientData } from "../../../api/v1-clients-schema.ts";
import type { CreatedKeyData, KeyData } from "../../../api/v1-keys-schema.ts";
import { post, remove } from "../api.ts";
import { duration, now } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { ask, FormDialog, SecretDialog } from "../parts/dialog.tsx";
import { SelectField, TextField, useInput } from "../parts/field.tsx";
import { InstantField } from "../parts/instant-field.tsx";
import { FilterChips } from "../parts/filter-chips.tsx";
import { openDialog, showOnce } from "../parts/dialogs.tsx";
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

const isActive = ({ state }: KeyData) => state === "active";

/** The keys of a client, each with what can be done with it. */
export function KeyTable({ client, keys }: { readonly client: ClientData; readonly keys: Keys }) {
  const ended = route.value.query.get("keys") === "ended" ? "ended" : "";
  return (
    <Loaded resource={keys}>
      {({ keys: all }) => {
        const active = all.filter(isActive);
        const rows = ended ? all.filter((key) => !isActive(key)) : active;
        const create = (
          <Button kind="primary" icon="plus" onClick={() => createKey(client, keys.reload)}>
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
            <Table
              caption={w.keys}
              columns={columns(client, keys.reload)}
              rows={rows.toReversed()}
              keyOf={({ key }) => key}
              empty={<Empty icon="key" title={w.noKeys} hint={w.noKeysHint} action={create} />}
            />
          </>
        );
      }}
    </Loaded>
  );
}

function columns(client: ClientData, reload: () => void): Column<KeyData>[] {
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
              <Button isSmall icon="refresh" onClick={() => rollKey(key, client, reload)}>
                {w.roll}
              </Button>
            )}
            <Button isSmall kind="danger" icon="ban" onClick={() => revokeKey(key, client, reload)}>
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

const pathOf = ({ client }: ClientData) => `/v1/clients/${encodeURIComponent(client)}/keys`;

/** Asks what a new key of the client shall be, and shows it this once. */
export function createKey(client: ClientData, reload: () => void): void {
  openDialog((close) => <CreateDialog client={client} reload={reload} onClose={close} />);
}

function rollKey(key: KeyData, client: ClientData, reload: () => void): void {
  openDialog((close) => <RollDialog of={key} client={client} reload={reload} onClose={close} />);
}

function revokeKey({ key, label }: KeyData, client: ClientData, reload: () => void): void {
  const revoke = async () => {
    await remove(`${pathOf(client)}/${key}`);
    toast(w.keyRevoked);
    reload();
  };
  ask(() => ({
    title: w.revokeTitle(label),
    action: w.revoke,
    text: key,
    hint: w.revokeHint,
    onConfirm: revoke,
  }));
}

interface KeyDialogProps {
  readonly client: ClientData;
  readonly reload: () => void;
  readonly onClose: () => void;
}

function CreateDialog({ client, reload, onClose }: KeyDialogProps) {
  const label = useInput("default");
  const endsAt = useInput<number | undefined>(undefined);
  const create = async () => {
    const end = endsAt.value === undefined ? {} : { expires_at: endsAt.value };
    const body = { label: label.value.trim() || "default", ...end };
    showKey(await post<CreatedKeyData>(pathOf(client), body), client);
    reload();
  };
  return (
    <FormDialog title={w.createKey} action={w.create} onClose={onClose} onSubmit={create}>
      <TextField label={w.label} hint={w.labelHint} {...label} hasFocus />
      <InstantField label={w.ends} hint={w.neverHint} isOptional {...endsAt} />
    </FormDialog>
  );
}

function RollDialog({ of, client, reload, onClose }: KeyDialogProps & { readonly of: KeyData }) {
  const overlap = useInput(String(DAY));
  const roll = async () => {
    const body = { overlap: Number(overlap.value) };
    showKey(await post<CreatedKeyData>(`${pathOf(client)}/${of.key}/roll`, body), client);
    reload();
  };
  return (
    <FormDialog title={w.rollTitle(of.label)} action={w.roll} onClose={onClose} onSubmit={roll}>
      <p>{w.rollHint}</p>
      <SelectField
        label={w.overlap}
        {...overlap}
        options={[
          [String(DAY), w.overlapDay],
          [String(HOUR), w.overlapHour],
          [String(3 * DAY), w.overlapThree],
          [String(7 * DAY), w.overlapWeek],
          ["0", w.overlapNone],
        ]}
      />
    </FormDialog>
  );
}

function showKey(key: CreatedKeyData, client: ClientData): void {
  showOnce((close) => (
    <SecretDialog title={w.yourKey} label={key.label} secret={key.api_key} onClose={close}>
      <Code label={w.tryIt} text={curlOf(key, client)} />
    </SecretDialog>
  ));
}

/** A call that works with the new key at once. */
function curlOf({ api_key: key, base_url: url }: CreatedKeyData, { grants }: ClientData): string {
  const reading = grants.find(({ actions }) => actions.includes("token:read"));
  const app = reading?.apps.find((each) => each !== ANY_APP);
  const path = app === undefined ? "/v1/apps" : `/v1/apps/${app}/credentials/access_token`;
  return `curl '${url}${path}' \\\n  -H 'Authorization: Bearer ${key}'`;
}
