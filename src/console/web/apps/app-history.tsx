import type { HistoryData } from "../../../api/v1-history-schema.ts";
import { duration, now, number } from "../format.ts";
import { FilterChips } from "../parts/filter-chips.tsx";
import { Section } from "../parts/page.tsx";
import { Badge } from "../parts/state-badge.tsx";
import { Loaded } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { href, route, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { Plot } from "./plot.tsx";
import { w } from "./words.ts";

const HOUR_MS = 3_600_000;
const AGAIN_MS = 15_000;
const DAYS = { "24h": 1, "7d": 7, "90d": 90 } as const;
const RANGES = ["24h", "7d", "90d"] as const;

type Attempt = HistoryData["attempts"][number];

/** What happened to an app: plots by hour or day, who used it, and each attempt to obtain a credential. */
export function AppHistory({ app }: { readonly app: string }) {
  const range = RANGES.find((each) => each === route.value.query.get("range")) ?? "24h";
  // By whole hours, so that the path stays the same meanwhile.
  const to = Math.ceil(now.value / HOUR_MS) * HOUR_MS;
  const period = { from: to - DAYS[range] * 24 * HOUR_MS, to, step: range === "90d" ? "day" : "hour" };
  const history = useResource<HistoryData>(
    href(`/v1/apps/${encodeURIComponent(app)}/history`, period).slice(1),
    // What was counted is stored a second after the change that is told of.
    { topics: ["credential", "backoffs"], app, everyMs: AGAIN_MS },
  );
  return (
    <>
      <div class="toolbar">
        <FilterChips
          label={w.period}
          value={range}
          onChange={(chosen) => setQuery({ range: chosen === "24h" ? undefined : chosen })}
          chips={RANGES.map((value) => ({ value, title: w.ranges(DAYS[value]) }))}
        />
      </div>
      <Loaded resource={history}>{(data) => <Shown app={app} data={data} />}</Loaded>
    </>
  );
}

function Shown({ app, data }: { readonly app: string; readonly data: HistoryData }) {
  const { from, to, step, series, callers, attempts } = data;
  const axis = { from, to, stepMs: step === "day" ? 24 * HOUR_MS : HOUR_MS };
  return (
    <div class="stack">
      <Section title={w.inPeriod}>
        <Plot
          {...axis}
          label={w.handedOut}
          series={[
            { name: w.uses, tone: "accent", points: series.uses },
            { name: w.gateway, tone: "info", points: series.gateway },
          ]}
        />
        <Plot
          {...axis}
          label={w.refreshes}
          series={[
            { name: w.succeeded, tone: "ok", points: series.refreshes },
            { name: w.failed, tone: "bad", points: series.failures },
          ]}
        />
      </Section>
      <Section title={w.callers}>
        <Table
          caption={w.callers}
          columns={callerColumns()}
          rows={callers}
          keyOf={({ client }) => client}
          hrefOf={({ client }) =>
            client.startsWith("(") || !may("admin")
              ? undefined
              : href(`/clients/${encodeURIComponent(client)}`)
          }
        />
      </Section>
      <Section title={w.attempts}>
        <Table
          caption={w.attempts}
          columns={attemptColumns()}
          rows={attempts}
          keyOf={({ at, kind, trigger, generation = 0 }) => `${app} ${at} ${kind} ${trigger} ${generation}`}
        />
      </Section>
    </div>
  );
}

const callerColumns = (): Column<HistoryData["callers"][number]>[] => [
  { key: "client", title: w.client, isFlexible: true, cell: ({ client }) => client },
  { key: "environment", title: w.environment, cell: ({ environment }) => environment ?? "–" },
  { key: "uses", title: w.uses, isEnd: true, cell: ({ uses }) => number(uses) },
];

const attemptColumns = (): Column<Attempt>[] => [
  { key: "at", title: w.when, cell: ({ at }) => <Time at={at} /> },
  { key: "kind", title: w.credential, cell: ({ kind }) => <code>{kind}</code> },
  { key: "trigger", title: w.trigger, from: "wide", cell: ({ trigger }) => w[trigger] },
  {
    ...{ key: "outcome", title: w.outcome },
    cell: ({ outcome, errcode }) =>
      outcome === "ok" ? (
        <Badge tone="ok" icon="check">
          {w.succeeded}
        </Badge>
      ) : (
        <Badge tone="bad" icon="alert" title={outcome}>
          {errcode === undefined ? outcome : `${w.failed} ${errcode}`}
        </Badge>
      ),
  },
  { key: "took", title: w.took, isEnd: true, from: "wide", cell: ({ duration_ms }) => duration(duration_ms) },
  { key: "host", title: w.host, from: "widest", cell: ({ host }) => host },
];
