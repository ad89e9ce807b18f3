import type { TargetData } from "../../../api/v1-callbacks-schema.ts";
import type { DeliveryData, ShownDelivery } from "../../../api/v1-deliveries-schema.ts";
import { post, remove } from "../api.ts";
import { number } from "../format.ts";
import { halfOf } from "../language.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Id } from "../parts/copy.tsx";
import { ask, Dialog } from "../parts/dialog.tsx";
import { FilterChips } from "../parts/filter-chips.tsx";
import type { IconName } from "../parts/icons.tsx";
import { Facts } from "../parts/page.tsx";
import { pageSize } from "../parts/pager.tsx";
import { Badge, type Tone } from "../parts/state-badge.tsx";
import { Empty, Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { attempt, toast } from "../parts/toast.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { href, route, setQuery } from "../router.ts";
import { w } from "./words.ts";

const STATES: Record<DeliveryData["state"], { readonly tone: Tone; readonly icon: IconName }> = {
  waiting: { tone: "info", icon: "clock" },
  delivered: { tone: "ok", icon: "check" },
  dead: { tone: "bad", icon: "alert" },
  dropped: { tone: "idle", icon: "ban" },
};
const NAMES = ["waiting", "delivered", "dead", "dropped"] as const;

/** What became of an app's pushes: every copy that goes to a target, with its attempts. */
export function Deliveries(props: { readonly app: string; readonly targets: readonly TargetData[] }) {
  const { query } = route.value;
  const [state, target] = [query.get("state") ?? "", query.get("target") ?? ""];
  const [opened, after] = [query.get("delivery"), query.get("after") ?? ""];
  const path = `/v1/apps/${encodeURIComponent(props.app)}/deliveries`;
  const given = Object.entries({ state, target, after, limit: String(pageSize()) }).filter(
    ([, value]) => value,
  );
  const list = useResource<{ readonly deliveries: DeliveryData[]; readonly next?: string }>(
    `${path}?${new URLSearchParams(given).toString()}`,
  );
  const filter = (changes: Record<string, string>) => setQuery({ ...changes, after: undefined });
  return (
    <>
      <div class="toolbar">
        <FilterChips
          value={state}
          onChange={(value) => filter({ state: value })}
          chips={NAMES.map((value) => ({ value, title: w[value] }))}
        />
        {props.targets.length > 1 && (
          <select
            value={target}
            aria-label={w.target}
            onInput={(event) => filter({ target: event.currentTarget.value })}
          >
            <option value="">{w.everyTarget}</option>
            {props.targets.map((each) => (
              <option key={each.target} value={each.target}>
                {each.target}
              </option>
            ))}
          </select>
        )}
        <span class="grow" />
        <Button icon="refresh" kind="quiet" onClick={list.reload}>
          {w.reload}
        </Button>
        {state === "dead" && (
          <ReplayAll
            path={path}
            target={target}
            count={list.data?.deliveries.length ?? 0}
            reload={list.reload}
          />
        )}
      </div>
      <Loaded resource={list}>
        {({ deliveries, next }) => (
          <Table
            caption={w.deliveries}
            rows={deliveries}
            keyOf={({ id }) => String(id)}
            hrefOf={({ id }) =>
              href(route.value.path, { ...Object.fromEntries(query), delivery: String(id) })
            }
            isLoading={list.isLoading}
            columns={columns()}
            page={{ next }}
            empty={
              after === "" && (
                <Empty
                  title={state || target ? w.noMatch : w.noDeliveries}
                  hint={state || target ? undefined : w.noDeliveriesHint}
                />
              )
            }
          />
        )}
      </Loaded>
      {opened !== undefined && (
        <Delivery path={`${path}/${encodeURIComponent(opened)}`} reload={list.reload} />
      )}
    </>
  );
}

function columns(): Column<DeliveryData>[] {
  return [
    {
      key: "push",
      title: w.push,
      isFlexible: true,
      cell: ({ type, event }) => (event === "" ? type : `${type} · ${event}`),
    },
    { key: "state", title: w.state, cell: ({ state }) => <DeliveryState state={state} /> },
    { key: "target", title: w.target, cell: ({ target }) => target },
    { key: "role", title: w.role, from: "wide", cell: ({ role }) => w[role] },
    {
      key: "attempts",
      title: w.attempts,
      from: "wide",
      isEnd: true,
      cell: ({ attempts }) => number(attempts),
    },
    {
      key: "next",
      title: w.nextAttempt,
      from: "widest",
      isEnd: true,
      cell: (row) => <Time at={row.due_at} />,
    },
    { key: "received", title: w.received, isEnd: true, cell: (row) => <Time at={row.received_at} /> },
  ];
}

function DeliveryState({ state }: Pick<DeliveryData, "state">) {
  const { tone, icon } = STATES[state];
  return (
    <Badge tone={tone} icon={icon}>
      {w[state]}
    </Badge>
  );
}

function ReplayAll(props: {
  readonly path: string;
  readonly target: string;
  readonly count: number;
  readonly reload: () => void;
}) {
  const { path, target, count, reload } = props;
  const replay = async () => {
    const body = { state: "dead", ...(target && { target }) };
    let after: string | undefined;
    let replayed = 0;
    do {
      const done = await post<{ replayed: number; next?: string }>(`${path}/replay`, {
        ...body,
        ...(after === undefined ? {} : { after }),
      });
      replayed += done.replayed;
      after = done.next;
    } while (after !== undefined);
    toast(w.replayed(replayed));
    reload();
  };
  const askReplay = () =>
    ask(() => ({
      title: w.replayAll,
      action: w.replay,
      kind: "primary",
      hint: w.replayAllHint(target),
      onConfirm: replay,
    }));
  return (
    <Button isDisabled={count === 0} onClick={askReplay}>
      {w.replayAll}
    </Button>
  );
}

/** One delivery; its message is read, which the audit records, only when it is asked for. */
function Delivery({ path, reload }: { readonly path: string; readonly reload: () => void }) {
  const delivery = useResource<ShownDelivery>(path);
  const close = () => setQuery({ delivery: undefined });
  const act = (work: () => Promise<unknown>, done: string) => async () => {
    if (!(await attempt(work, () => done))) return;
    reload();
    close();
  };
  return (
    <Dialog title={w.delivery} onClose={close} isWide>
      <Loaded resource={delivery}>
        {(data) => (
          <>
            <div class="fields">
              <Facts
                items={[
                  [w.push, data.event === "" ? data.type : `${data.type} · ${data.event}`],
                  [w.state, <DeliveryState state={data.state} />],
                  [w.target, `${data.target} · ${data.environment} · ${w[data.role]}`],
                  [w.attempts, number(data.attempts)],
                  [w.error, data.error && <span class="bad-text">{halfOf(data.error)}</span>],
                  [w.received, <Time at={data.received_at} />],
                  [w.nextAttempt, data.due_at && <Time at={data.due_at} />],
                  [w.ended, data.ended_at && <Time at={data.ended_at} />],
                  [w.deadFrom, data.state === "waiting" && <Time at={data.expires_at} />],
                  [w.pushId, <Id text={data.dedupe_key} />],
                ]}
              />
              {data.message === undefined ? (
                <p class="muted">{w.noMessage}</p>
              ) : (
                <Code
                  label={data.message_encoding === "base64" ? `${w.message} · base64` : w.message}
                  text={data.message}
                />
              )}
            </div>
            <footer>
              {(data.state === "waiting" || data.state === "dead") && (
                <Button kind="danger" onClick={act(() => remove(path), w.droppedIt)}>
                  {w.drop}
                </Button>
              )}
              <Button
                kind="primary"
                isDisabled={data.message === undefined}
                title={data.message === undefined ? w.noMessage : ""}
                onClick={act(() => post(`${path}/replay`, undefined), w.replayed(1))}
              >
                {w.replay}
              </Button>
            </footer>
          </>
        )}
      </Loaded>
    </Dialog>
  );
}
