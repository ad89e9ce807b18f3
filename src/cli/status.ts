import type { Static } from "@sinclair/typebox";
import type { appStatus } from "../api/v1-apps-schema.ts";
import type { NodesData } from "../api/v1-nodes-schema.ts";
import type { AlarmsData } from "../api/v1-notifications-schema.ts";
import type { OverviewData } from "../api/v1-overview-schema.ts";
import type { Language } from "../config.ts";
import { type Api, ApiRefusal } from "./api.ts";
import { bilingual, type CommandSpec, option, type Text, usageError } from "./arguments.ts";
import { managingCommand } from "./managing.ts";
import { halfOf, plainText, textTable } from "./terminal.ts";

type AppData = Static<typeof appStatus>;

/** All that is shown. What the caller may not see is missing. */
interface StatusData extends OverviewData {
  /** Those that are worst off, the worst first. */
  readonly apps: readonly AppData[];
  readonly nodes?: NodesData["nodes"];
  readonly alarms?: AlarmsData["alarms"];
}

/** More of anything is on other pages. */
const MAX_ROWS = 8;
const TROUBLED = ["blocked", "failing", "refreshing", "expiring"];

/** `accesstoken status`: one screen of what an operator wants to know. */
export const STATUS_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["status"],
    meaning: bilingual("How the service and its apps are, on one screen", "在一屏内查看服务与各应用的状态"),
    notes: [
      bilingual(
        "Alarms, apps by their worst credential, quotas, failures, nodes and the last backup; of apps that the caller may not see, nothing.",
        "包括告警、按最差凭证排列的应用、额度、最近的失败、节点和最近一次备份；不含调用方无权查看的应用。",
      ),
    ],
    options: [
      option(
        "--watch",
        "Stay, and show each change as it comes, until Ctrl+C",
        "保持显示，有变化时立即更新，按Ctrl+C结束",
      ),
    ],
    run: async (at) => {
      const { args, api, show, terminal } = at;
      if (!args.isSet("watch")) {
        const data = await readStatus(api);
        await show(data, () => statusText(data, terminal.clock.now(), terminal.language));
        return;
      }
      if (args.isSet("json"))
        throw usageError("--watch 不能与 --json 同时使用 (--watch goes without --json)");
      await (
        await import("./watch-screen.ts")
      ).watchScreen(at, async () => {
        const data = await readStatus(api);
        return () => statusText(data, terminal.clock.now(), terminal.language);
      });
    },
  }),
];

/** Asks for all of it. Throws what `Api` throws. */
async function readStatus(api: Api): Promise<StatusData> {
  const [overview, { apps }, nodes, alarms] = await Promise.all([
    api.get<OverviewData>("/v1/overview"),
    api.get<{ readonly apps: readonly AppData[] }>(`/v1/apps?sort=state&limit=${MAX_ROWS}`),
    unlessForbidden(api.get<NodesData>("/v1/nodes")),
    unlessForbidden(api.get<AlarmsData>("/v1/alarms")),
  ]);
  return {
    ...overview,
    apps: apps.filter(({ state }) => TROUBLED.includes(state)),
    ...(nodes && { nodes: nodes.nodes }),
    ...(alarms && { alarms: alarms.alarms }),
  };
}

/** What a client that may not manage does not see; nor does a service of an earlier version have it. */
async function unlessForbidden<Data>(asked: Promise<Data>): Promise<Data | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiRefusal && [403, 404].includes(error.status)) return undefined;
    throw error;
  }
}

const WORDS = {
  alarms: bilingual("ALARMS", "告警"),
  needs: bilingual("NEEDS YOU", "需要处理"),
  apps: bilingual("APPS", "应用"),
  failures: bilingual("LAST FAILURES", "最近的失败"),
  quota: bilingual("QUOTA OF TODAY", "今日额度"),
  nodes: bilingual("NODES", "节点"),
  none: bilingual("Nothing needs you.", "没有需要处理的事项。"),
} satisfies Record<string, Text>;

function totalLine(total: number, states: readonly (readonly [string, number])[]): Text {
  const list = states.map(([state, n]) => `${n} ${state}`);
  return list.length === 0
    ? bilingual(`${total} apps`, `${total} 个应用`)
    : bilingual(`${total} apps: ${list.join(", ")}`, `${total} 个应用：${list.join("，")}`);
}

/** It as text. `now` is in epoch milliseconds, by this machine's clock. */
function statusText(data: StatusData, now: number, language: Language): string {
  const say = (text: string) => plainText(halfOf(text, language));
  const section = (title: Text, table: string) =>
    table === "" ? [] : ["", title[language], table.trimEnd()];
  const table: typeof textTable = (rows, columns) =>
    rows.length === 0 ? "" : textTable(rows.slice(0, MAX_ROWS), columns);
  const { counts, service, needs_you: needs, alarms = [], nodes = [], apps, quota } = data;
  const states = Object.entries(counts).filter(([state, n]) => state !== "total" && n > 0);
  const isWell = needs.length === 0 && alarms.length === 0;
  const lines = [
    ...(service
      ? [`accesstoken ${service.version} · ${service.database} · ${nodesLine(service.nodes)[language]}`]
      : []),
    totalLine(counts.total, states)[language],
    ...(service ? [backupLine(service.backup, now)[language]] : []),
    ...(isWell ? ["", WORDS.none[language]] : []),
    ...section(
      WORDS.alarms,
      table(alarms, {
        // One that has not lasted long enough to be told may be over before it is.
        SEVERITY: ({ severity, state }) => (state === "pending" ? state : severity),
        SINCE: ({ since }) => ago(now - since),
        ALARM: ({ title, subject }) => `${say(title)}${subject === "" ? "" : ` ${subject}`}`,
        WHY: ({ message }) => say(message),
      }),
    ),
    ...section(
      WORDS.needs,
      table(needs, {
        WHAT: ({ type }) => type,
        OF: ({ app, title, client }) => [app ?? client, title].filter(Boolean).join(" "),
        WHY: ({ message }) => say(message),
      }),
    ),
    ...section(
      WORDS.apps,
      table(apps, {
        APP: ({ app }) => app,
        TITLE: ({ title }) => title,
        STATE: ({ state }) => state,
        WHY: ({ reason }) => (reason === undefined ? undefined : say(reason)),
      }),
    ),
    ...section(
      WORDS.failures,
      table(failuresOf(apps), {
        AGO: ({ at }) => ago(now - at),
        APP: ({ app }) => app,
        KIND: ({ kind }) => kind,
        FAILURES: ({ count }) => String(count),
        WHY: ({ msg }) => say(msg),
      }),
    ),
    ...section(
      WORDS.quota,
      table(quota, {
        APP: ({ app }) => app,
        ENDPOINT: ({ endpoint }) => endpoint,
        USED: ({ calls, limit }) => `${calls} / ${limit} (${((100 * calls) / limit).toFixed(0)}%)`,
      }),
    ),
    ...section(
      WORDS.nodes,
      table(nodes, {
        HOST: ({ host }) => host,
        PID: ({ pid }) => String(pid),
        VERSION: ({ version }) => version,
        STATE: ({ state }) => state,
        UP: ({ started_at }) => ago(now - started_at),
      }),
    ),
  ];
  return `${lines.join("\n")}\n`;
}

function failuresOf(apps: readonly AppData[]) {
  return apps
    .flatMap(({ app, credentials }) =>
      Object.entries(credentials).flatMap(([kind, { last_failure: failure }]) =>
        failure ? [{ app, kind, ...failure }] : [],
      ),
    )
    .toSorted((a, b) => b.at - a.at);
}

function nodesLine(count: number): Text {
  return bilingual(count === 1 ? "1 node" : `${count} nodes`, `${count}个节点`);
}

function backupLine(backup: NonNullable<OverviewData["service"]>["backup"], now: number): Text {
  if (!backup) return bilingual("no backup yet, and BACKUP_DIR is not set", "还没有备份，也未设置BACKUP_DIR");
  const { last_at: at, stale, failed_at: failedAt } = backup;
  const age =
    at === undefined
      ? bilingual("never", "从未备份")
      : bilingual(`${ago(now - at)} ago`, `${ago(now - at)}前`);
  const late = stale ? bilingual(", STALE", "，过旧") : bilingual("", "");
  const failed =
    failedAt === undefined
      ? bilingual("", "")
      : bilingual(`, failed ${ago(now - failedAt)} ago`, `，${ago(now - failedAt)}前失败`);
  return bilingual(
    `last backup: ${age.en}${late.en}${failed.en}`,
    `最近一次备份：${age.zh}${late.zh}${failed.zh}`,
  );
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
] as const;

/** A duration in its largest unit, as `37m`; of milliseconds. */
function ago(ms: number): string {
  const [unit, length] = UNITS.find(([, each]) => ms >= each) ?? ["s", 1000];
  return `${Math.max(0, Math.floor(ms / length))}${unit}`;
}
