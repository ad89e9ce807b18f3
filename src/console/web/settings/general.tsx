import type { NodesData } from "../../../api/v1-nodes-schema.ts";
import type { OverviewData } from "../../../api/v1-overview-schema.ts";
import type { AnonymousCallers, Settings } from "../../../api/v1-settings-schema.ts";
import { ApiError, get, patch } from "../api.ts";
import { absolute, bytes, duration, number, relative } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { Id } from "../parts/copy.tsx";
import { ask, FormDialog } from "../parts/dialog.tsx";
import { openDialog } from "../parts/dialogs.tsx";
import { TextAreaField, useInput } from "../parts/field.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Loaded } from "../parts/states.tsx";
import { Table } from "../parts/table.tsx";
import { type Resource, useResource } from "../resource.ts";
import { me } from "../session.ts";
import { w } from "./words.ts";

const PATH = "/v1/settings";

/** Who is answered without a key, which pages may call, and what this service is. */
export function General() {
  const settings = useResource<Settings>(PATH, { topics: ["client"] });
  return (
    <>
      <Loaded resource={settings}>
        {(data) => (
          <>
            <Anonymous settings={data} reload={settings.reload} />
            <Cors settings={data} reload={settings.reload} />
          </>
        )}
      </Loaded>
      <Backups />
      <About />
    </>
  );
}

interface Shown {
  readonly settings: Settings;
  readonly reload: () => void;
}

function Anonymous({ settings, reload }: Shown) {
  const callers = useResource<AnonymousCallers>(`${PATH}/anonymous-callers`);
  const isOn = settings.anonymous === "on";
  const isFixed = settings.anonymous_by === "environment";
  const askTurn = () =>
    ask(() => ({
      title: isOn ? w.anonymousEnd : w.anonymousBegin,
      action: isOn ? w.turnOff : w.turnOn,
      hint: isOn ? w.anonymousEndHint(number(callers.data?.callers.length ?? 0)) : w.anonymousBeginHint,
      onConfirm: async () => {
        await patch(PATH, { anonymous: isOn ? "off" : "on" });
        reload();
      },
    }));
  return (
    <Section
      title={w.anonymous}
      actions={
        <Button isDisabled={isFixed || (isOn && callers.data === undefined)} onClick={askTurn}>
          {isOn ? w.turnOff : w.turnOn}
        </Button>
      }
    >
      <p class="row">
        <Badge tone={isOn ? "warn" : "ok"} icon={isOn ? "alert" : "check"}>
          {isOn ? w.on : w.off}
        </Badge>
        <span>{isOn ? w.anonymousOn : w.anonymousOff}</span>
      </p>
      {isFixed && <p class="muted">{w.fixed("ANONYMOUS")}</p>}
      <Callers callers={callers} />
    </Section>
  );
}

function Callers({ callers }: { readonly callers: Resource<AnonymousCallers> }) {
  return (
    <Loaded resource={callers} skeleton={<p class="muted">…</p>}>
      {({ callers: rows }) =>
        rows.length === 0 ? (
          <p class="muted">{w.noCallers}</p>
        ) : (
          <>
            <h3>{w.callers}</h3>
            <Table
              caption={w.callers}
              rows={rows}
              keyOf={({ caller, app }) => `${caller} ${app}`}
              columns={[
                {
                  key: "caller",
                  title: w.caller,
                  isFlexible: true,
                  cell: ({ caller }) => <code>{caller}</code>,
                },
                { key: "app", title: w.app, cell: ({ app }) => <code>{app}</code> },
                { key: "count", title: w.requests, isEnd: true, cell: ({ count }) => number(count) },
              ]}
            />
          </>
        )
      }
    </Loaded>
  );
}

function Cors({ settings, reload }: Shown) {
  const origins = settings.cors_origins;
  const isOwn = settings.cors_origins_by === "database";
  const save = async (list: readonly string[] | null) => {
    await patch(PATH, { cors_origins: list });
    reload();
  };
  const edit = () =>
    openDialog((close) => <OriginsDialog before={origins.join("\n")} onSave={save} onClose={close} />);
  const askReset = () =>
    ask(() => ({
      title: w.corsReset,
      action: w.corsReset,
      kind: "primary",
      hint: w.corsResetHint,
      onConfirm: () => save(null),
    }));
  return (
    <Section
      title={w.cors}
      actions={
        <span class="row">
          {isOwn && (
            <Button kind="quiet" onClick={askReset}>
              {w.corsReset}
            </Button>
          )}
          <Button onClick={edit}>{w.edit}</Button>
        </span>
      }
    >
      <p class="muted">{w.corsHint}</p>
      {origins.length === 0 ? (
        <p>{w.noOrigins}</p>
      ) : (
        <ul class="plain">
          {origins.map((origin) => (
            <li key={origin}>
              <code>{origin}</code>
            </li>
          ))}
        </ul>
      )}
      <p class="muted">{isOwn ? w.corsOwn : w.corsFromVariable}</p>
    </Section>
  );
}

function OriginsDialog(props: {
  readonly before: string;
  readonly onSave: (list: readonly string[]) => Promise<unknown>;
  readonly onClose: () => void;
}) {
  const text = useInput(props.before);
  // Settings have no version: what somebody else has made of them since must not be overwritten.
  const save = async () => {
    const now = await get<Settings>(PATH);
    if (now.cors_origins.join("\n") !== props.before)
      throw new ApiError(w.overtaken, 412, 412, undefined, undefined, undefined);
    await props.onSave(text.value.split(/\s+/).filter(Boolean));
  };
  return (
    <FormDialog title={w.cors} action={w.save} onClose={props.onClose} onSubmit={save}>
      <TextAreaField label={w.origins} hint={w.originsHint} {...text} placeholder="https://www.example.com" />
    </FormDialog>
  );
}

/** When the database was backed up last, and where that is. */
function Backups() {
  const overview = useResource<OverviewData>("/v1/overview");
  return (
    <Loaded resource={overview} skeleton={<p class="muted">…</p>}>
      {({ service }) => {
        const {
          last_at,
          bytes: size,
          file,
          folder,
          every,
          failed_at,
          reason,
          stale,
        } = {
          ...(service?.backup ?? { stale: false }),
        };
        return (
          <Section title={w.backups}>
            {folder === undefined && <p class="muted">{w.noBackupDir}</p>}
            <Facts
              items={[
                [
                  w.lastBackup,
                  last_at === undefined ? (
                    <span class="muted">{w.neverBackedUp}</span>
                  ) : (
                    <span class="row">
                      <Badge tone={stale ? "warn" : "ok"} icon={stale ? "alert" : "check"}>
                        {relative(last_at)}
                      </Badge>
                      <span class="muted">{absolute(last_at)}</span>
                    </span>
                  ),
                ],
                [w.backupFile, file && <Id text={folder === undefined ? file : `${folder}/${file}`} />],
                [w.backupSize, size === undefined ? undefined : bytes(size)],
                [w.backupEvery, every === undefined ? undefined : duration(every * 1000)],
                [
                  w.backupFailed,
                  failed_at === undefined ? undefined : `${relative(failed_at)} · ${halfOf(reason ?? "")}`,
                ],
              ]}
            />
          </Section>
        );
      }}
    </Loaded>
  );
}

function About() {
  const nodes = useResource<NodesData>("/v1/nodes");
  const keys = [...new Set(nodes.data?.nodes.flatMap((node) => node.key_ids))];
  return (
    <Section title={w.about}>
      <Facts
        items={[
          [w.version, me.value?.version],
          [w.masterKey, keys.length > 0 && keys.map((id) => <Id key={id} text={id} />)],
          [
            w.documents,
            <span class="row">
              <a href="/docs/" target="_blank" rel="noopener">
                {w.docs}
              </a>
              <a href="/swagger" target="_blank" rel="noopener">
                Swagger
              </a>
            </span>,
          ],
        ]}
      />
    </Section>
  );
}
