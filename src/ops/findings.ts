import type { ApiKeyRecord } from "../access/client.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import type { AppIndex } from "../credentials/app-index.ts";
import type { Pacing } from "../credentials/pacing.ts";
import type { AppQuery } from "../credentials/app-order.ts";
import type { AppStatus } from "../credentials/status.ts";
import { alarmKey, type AlarmRecord, type Finding } from "./alarm-state.ts";
import { cut, firstOf, MAX_NEW } from "./alarm-limits.ts";
import type { ChannelDirectory } from "./channels.ts";
import type { ConditionId } from "./conditions.ts";
import type { MilestoneStore } from "./milestones.ts";
import { STALE_SHARE } from "./backups.ts";
import { adminNeeds, appNeeds, type Need, type NeedsParts } from "./needs-you.ts";
import { isLive } from "./nodes.ts";
import { findingOfFailed, findingOfLost, findingOfTicket, type PlatformState } from "./platform-states.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
/** A token that can't be renewed is worth an alarm when so little of its life is left. */
const LEFT_MS = 600_000;
const WRONG_KEYS_MS = 5 * MINUTE_MS;
/** How long something counts as new that happens and does not last. */
const EVENT_MS = HOUR_MS;
const MAX_DENIALS = 5000;
/** So much is quoted of what WeChat says. */
const MAX_WORDS = 200;

/** Where it is looked for what is wrong, for all processes together. */
export interface FindingParts extends Pick<NeedsParts, "clients" | "listNodes"> {
  readonly index: Pick<
    AppIndex,
    keyof NeedsParts["index"] | "endingTokens" | "statesOf" | "countUnreachable"
  >;
  readonly directory: Pick<AppDirectory, "find">;
  readonly platforms: () => Promise<readonly PlatformState[]>;
  readonly statusesOf: (names: readonly string[]) => Promise<ReadonlyMap<string, AppStatus>>;
  readonly pacing: Pick<Pacing, "forcedOften">;
  readonly audit: Pick<AuditStore, "list" | "listDenials">;
  readonly milestones: Pick<MilestoneStore, "list">;
  readonly settings: Pick<ChannelDirectory, "settingOf">;
  /** How often backups are due; undefined for never. */
  readonly backupsEveryMs: number | undefined;
  /** When this process was started; epoch milliseconds. */
  readonly startedAt: number;
  readonly clock: Clock;
}

/** What is wrong, and of which conditions that can't be said just now, so that none of theirs counts as ended. */
export interface Findings {
  readonly found: readonly Finding[];
  readonly unknown: ReadonlySet<ConditionId>;
  /** The alarms, by `alarmKey`, that end without all being well: nobody is told that it is. */
  readonly lapsed: ReadonlySet<string>;
}

/** What is wrong just now as far as the store and the index know it. `standing` are the alarms that have not ended. Never throws. */
export async function findingsOf(parts: FindingParts, standing: readonly AlarmRecord[]): Promise<Findings> {
  const found: Finding[] = [];
  const unknown = new Set<ConditionId>();
  const lapsed = new Set<string>();
  for (const { of, look } of LOOKS) {
    const wanted = of.filter((id) => parts.settings.settingOf(id).isOn);
    if (wanted.length === 0) continue;
    try {
      const all = await look(parts, standing);
      found.push(...all.filter((each) => wanted.includes(each.condition) && each.isLapsed !== true));
      for (const each of all) if (each.isLapsed === true) lapsed.add(alarmKey(each));
    } catch {
      for (const id of of) unknown.add(id);
    }
  }
  return { found, unknown, lapsed };
}

/** What a look finds; `isLapsed` says of an alarm that stands that its end, if it has come, is none to be told of. */
type Looked = Finding & { readonly isLapsed?: boolean };

interface Look {
  readonly of: readonly ConditionId[];
  readonly look: (parts: FindingParts, standing: readonly AlarmRecord[]) => Promise<readonly Looked[]>;
}

const LOOKS: readonly Look[] = [
  {
    of: ["app_blocked", "wecom_banned", "revoked_early", "quota_80", "quota_95", "quota_100"],
    look: lookAtApps,
  },
  { of: ["renewal_failing", "credential_expired"], look: lookAtTokens },
  {
    of: ["forced_refreshes"],
    look: async ({ pacing, settings }, standing) => {
      const often = await pacing.forcedOften(settings.settingOf("forced_refreshes").threshold);
      const found = often.map(({ appId, count }): Finding => ({
        ...{ condition: "forced_refreshes", subject: appId },
        detail: { message: `今日已强制刷新 ${count} 次 (${count} forced refreshes today)` },
      }));
      return cut(found, standing, "forced_refreshes");
    },
  },
  {
    of: ["upstream_unreachable"],
    look: async ({ index, settings }) => {
      const count = await index.countUnreachable();
      if (count < settings.settingOf("upstream_unreachable").threshold) return [];
      const message = `${count} 个应用无法连接 (${count} apps can't reach their upstream)`;
      return [{ condition: "upstream_unreachable", subject: "", detail: { message } }];
    },
  },
  { of: ["ticket_missing", "authorization_lost", "authorization_failed"], look: lookAtPlatforms },
  { of: ["key_ends", "node_gone"], look: lookAtKeysAndNodes },
  { of: ["wrong_keys"], look: lookAtDenials },
  { of: ["backup_stale", "audit_broken"], look: lookAtMilestones },
  {
    of: ["master_key_rotated"],
    look: async ({ audit, clock }) => {
      const since = clock.now() - EVENT_MS;
      const [entry] = await audit.list({ action: "master_key.rotated", since }, { limit: 1 });
      if (!entry) return [];
      const message = "主密钥已更换 (there is a new master key)";
      return [{ condition: "master_key_rotated", subject: "", at: entry.at, detail: { message } }];
    },
  },
];

const QUOTAS = [
  ["quota_80", 0.8],
  ["quota_95", 0.95],
  ["quota_100", 1],
] as const satisfies readonly (readonly [ConditionId, number])[];

async function lookAtApps(
  parts: FindingParts,
  standing: readonly AlarmRecord[],
): Promise<readonly Finding[]> {
  const { index } = parts;
  const excess: Finding[] = [];
  const first = {
    page: async (query: AppQuery) => ({
      names: await firstOf(
        async (isVisible, limit) => (await index.page({ ...query, isVisible, limit })).names,
        ...[standing, excess, "app_blocked" as const, "wecom_banned" as const],
      ),
      next: undefined,
    }),
    foreignRefreshes: async () => [
      ...(await firstOf(index.foreignRefreshes.bind(index), standing, excess, "revoked_early")),
    ],
    fullestQuotas: async () => [
      ...(await firstOf(
        (isVisible, limit) => index.fullestQuotas(isVisible, limit, QUOTAS[0][1]),
        ...[standing, excess, "quota_80" as const, "quota_95" as const, "quota_100" as const],
      )),
    ],
  };
  const needs = await appNeeds({ index: first }, () => true);
  const firing = standing.filter(
    ({ condition }) => condition === "app_blocked" || condition === "wecom_banned",
  );
  const states = await index.statesOf(firing.map(({ subject }) => subject));
  // The backoff of one that is still refused ends before it is tried again: only a success ends the alarm.
  const remnants = firing.filter((_, n) => states[n] === "blocked" || states[n] === "failing");
  const blocked = needs.flatMap(({ type, app = "" }) => (type === "blocked" ? app : []));
  // New ones come last. What WeChat says of the others now is looked up of some: they last all the same.
  const asked = blocked.slice(-2 * MAX_NEW);
  const statuses = await parts.statusesOf(asked);
  return [
    ...remnants.map(({ condition, subject, detail }) => ({ condition, subject, detail, isRemnant: true })),
    ...asked.flatMap((app) => findingOfBlocked(app, statuses.get(app)) ?? []),
    ...needs.flatMap(findingsOfNeed),
    ...excess,
  ];
}

function findingOfBlocked(app: string, status: AppStatus | undefined): Finding | undefined {
  const failure = status?.worst?.lastFailure;
  if (!failure) {
    const message =
      "数据库中的secret已损坏，请重新设置 (its secret in the database is damaged: set it again)";
    return { condition: "app_blocked", subject: app, detail: { message } };
  }
  const { upstream, hint, message } = failure.error;
  const isMinute = upstream?.class === "quota_minute";
  // A minute's quota of WeChat is back before anybody could look.
  if (isMinute && upstream.platform === "weixin") return undefined;
  const life = status.worst?.life;
  return {
    condition: isMinute ? "wecom_banned" : "app_blocked",
    subject: app,
    detail: {
      message: upstream ? upstream.errmsg.slice(0, MAX_WORDS) : message,
      ...(upstream ? { errcode: upstream.errcode } : {}),
      ...(hint === undefined ? {} : { hint }),
      ...(life ? { expiresAt: life.expiresAt } : {}),
    },
  };
}

function findingsOfNeed({ type, app = "", at, share = 0, message }: Need): Finding[] {
  const of = { subject: app, detail: { message } };
  if (type === "foreign_refresh")
    return [{ condition: "revoked_early", ...of, ...(at === undefined ? {} : { at }) }];
  if (type !== "quota") return [];
  return QUOTAS.filter(([, least]) => share >= least).map(([condition]) => ({ condition, ...of }));
}

async function lookAtTokens(
  { index, clock }: FindingParts,
  standing: readonly AlarmRecord[],
): Promise<readonly Finding[]> {
  const excess: Finding[] = [];
  const tokens = await firstOf(
    index.endingTokens.bind(index, LEFT_MS),
    ...[standing, excess, "credential_expired" as const, "renewal_failing" as const],
  );
  const now = clock.now();
  const found = tokens.map(({ name, endsAt }): Finding => {
    const minutes = Math.max(0, Math.ceil((endsAt - now) / MINUTE_MS));
    return endsAt <= now
      ? {
          ...{ condition: "credential_expired", subject: name },
          detail: { message: "token已过期，调用正在失败 (the token has expired: calls fail)" },
        }
      : {
          ...{ condition: "renewal_failing", subject: name },
          detail: { message: `还剩约${minutes}分钟 (about ${minutes} minutes are left)`, expiresAt: endsAt },
        };
  });
  return [...found, ...excess];
}

async function lookAtPlatforms(
  { platforms, directory, clock }: FindingParts,
  standing: readonly AlarmRecord[],
): Promise<readonly Looked[]> {
  const now = clock.now();
  const states = await platforms();
  const missing = states.filter(({ hasTicket, app }) => hasTicket && !app.managed?.isDisabled);
  const lapsed = standing.filter(({ condition, subject }) => {
    const app = directory.find(subject);
    const isOver = (!app && subject !== "") || app?.managed?.isDisabled === true;
    return isOver && (condition === "ticket_missing" || condition === "authorization_lost");
  });
  const lost = states.flatMap((state) => state.lost).filter(({ managed }) => !managed?.isDisabled);
  return [
    ...missing.flatMap((state) => findingOfTicket(state, now) ?? []),
    ...cut(lost.map(findingOfLost), standing, "authorization_lost"),
    ...states.flatMap((state) => findingOfFailed(state) ?? []),
    ...lapsed.map(({ condition, subject, detail }) => ({ condition, subject, detail, isLapsed: true })),
  ];
}

async function lookAtKeysAndNodes(
  parts: FindingParts,
  standing: readonly AlarmRecord[],
): Promise<readonly Looked[]> {
  const needs = await adminNeeds(parts, parts.settings.settingOf("key_ends").threshold);
  const live = (await parts.listNodes()).filter(isLive);
  const keys = needs.flatMap(({ type, client = "", message }): Finding[] =>
    type === "key_ends" ? [{ condition: "key_ends", subject: client, detail: { message } }] : [],
  );
  const nodes = needs.flatMap(({ type, host = "", at = 0, message }): Finding[] => {
    // One that was started in its place is as good.
    if (type !== "node_gone" || live.some((node) => node.host === host && node.startedAt >= at)) return [];
    return [{ condition: "node_gone", subject: host, detail: { message } }];
  });
  const now = parts.clock.now();
  const lapsed = standing.filter(({ condition, subject, since }) =>
    condition === "key_ends"
      ? parts.clients.keysOf(subject).some((key) => hasExpired(key, since, now))
      : condition === "node_gone" && !live.some(({ host }) => host === subject),
  );
  return [
    ...cut(keys, standing, "key_ends"),
    ...nodes,
    ...lapsed.map(({ condition, subject, detail }) => ({ condition, subject, detail, isLapsed: true })),
  ];
}

/** Whether a key has come to its end since then, with none in its place. */
function hasExpired(
  { expiresAt = 0, revokedAt, replacedBy }: ApiKeyRecord,
  since: number,
  now: number,
): boolean {
  return revokedAt === undefined && replacedBy === undefined && expiresAt > since && expiresAt <= now;
}

async function lookAtDenials({ audit, clock, settings }: FindingParts): Promise<readonly Finding[]> {
  const since = clock.now() - WRONG_KEYS_MS;
  const denials = await audit.listDenials({ since }, { limit: MAX_DENIALS });
  const count = denials.reduce((sum, each) => sum + (each.code === 401 ? each.count : 0), 0);
  if (count <= settings.settingOf("wrong_keys").threshold) return [];
  const message = `五分钟内有 ${count} 次错误密钥 (${count} wrong keys within five minutes)`;
  return [{ condition: "wrong_keys", subject: "", detail: { message } }];
}

async function lookAtMilestones(parts: FindingParts): Promise<readonly Finding[]> {
  const { milestones, settings, clock, backupsEveryMs, startedAt } = parts;
  const reached = await milestones.list();
  const found: Finding[] = [];
  if (reached.get("audit_verified")?.detail["intact"] === false)
    found.push({
      ...{ condition: "audit_broken", subject: "" },
      detail: { message: "核对审计链时发现不一致 (the audit's chain was found broken)" },
    });
  const backup = reached.get("backup")?.at;
  const ageMs = clock.now() - (backup ?? startedAt);
  // Whoever makes one a week misses none after a day and a half.
  const lateMs = Math.max(
    settings.settingOf("backup_stale").threshold * HOUR_MS,
    // Without a plan of its own somebody else makes them, as a timer, once there has been one.
    STALE_SHARE * (backupsEveryMs ?? (backup === undefined ? Infinity : 0)),
  );
  if (ageMs >= lateMs) {
    const hours = Math.floor(ageMs / HOUR_MS);
    const message =
      backup === undefined
        ? "还没有成功的备份 (no backup has been made yet)"
        : `上次备份在${hours}小时前 (the last backup was made ${hours} hours ago)`;
    found.push({ condition: "backup_stale", subject: "", detail: { message } });
  }
  return found;
}
