import type { ApiKeyRecord } from "../access/client.ts";
import type { ClientDirectory } from "../access/client-directory.ts";
import { nameOfApp } from "../apps/app.ts";
import type { DeliveryStore } from "../callbacks/delivery-store.ts";
import type { Clock } from "../clock.ts";
import type { AppIndex } from "../credentials/app-index.ts";
import type { AppQuery } from "../credentials/app-order.ts";
import { shareOf } from "../credentials/app-table.ts";
import type { BackupState } from "./backups.ts";
import { conditionOf } from "./conditions.ts";
import { failedRemedy, findingOfTicket, type PlatformState, ticketRemedy } from "./platform-states.ts";
import { isLive, type Node } from "./nodes.ts";

const DAY_MS = 86_400_000;
/** A key that ends within so many days is worth a word. */
const KEY_ENDS_DAYS = 7;
/** The share of a day's quota from which on it is. */
const FULL_SHARE = 0.8;
/** No more of anything is told. */
const MAX_ITEMS = 20;

/** What somebody has to look after, worst first; each has one action. */
export const NEEDS = [
  "not_ready",
  "audit_broken",
  "blocked",
  "ticket_missing",
  "foreign_refresh",
  "quota",
  "authorization_lost",
  "authorization_failed",
  "node_gone",
  "backup_stale",
  "dead_deliveries",
  "key_ends",
] as const;

/** What is done about it: the backoffs are removed, or the page is opened on which it is. */
type NeedAction = "unblock" | "app" | "client" | "pushes" | "audit" | "settings";

/** One thing that somebody has to look after. A message has both languages. */
export interface Need {
  readonly type: (typeof NEEDS)[number];
  readonly app?: string;
  readonly client?: string;
  /** The machine whose process is gone. */
  readonly host?: string;
  /** Which part of its quota an app has used. */
  readonly share?: number;
  /** Since when, in epoch milliseconds, where that is known. */
  readonly at?: number;
  /** What is wrong; of an app that is blocked, its own reason is said in its place. */
  readonly message: string;
  readonly action: NeedAction;
}

/** Where it is looked for. */
export interface NeedsParts {
  readonly index: Pick<AppIndex, "page" | "foreignRefreshes" | "fullestQuotas">;
  readonly clients: Pick<ClientDirectory, "list" | "keysOf">;
  readonly queue: Pick<DeliveryStore, "figures">;
  readonly listNodes: () => Promise<readonly Node[]>;
  /** Why the service is not ready, and which part of it. */
  readonly notReady: () => Promise<readonly { readonly part: string; readonly message: string }[]>;
  readonly backups: () => Promise<BackupState>;
  readonly platforms: () => Promise<readonly PlatformState[]>;
  readonly clock: Clock;
}

/** For whom it is looked. */
export interface Reader {
  readonly isVisible: AppQuery["isVisible"];
  /** Whether the reader may see all of the service, and not some apps alone. */
  readonly seesAll: boolean;
  /** Whether it may see keys and processes. */
  readonly isAdmin: boolean;
}

/** What somebody has to look after, as far as the reader may know of it. */
export async function needsOf(parts: NeedsParts, { isVisible, seesAll, isAdmin }: Reader): Promise<Need[]> {
  const ofService = seesAll ? await serviceNeeds(parts) : [];
  const ofPlatforms = seesAll
    ? (await parts.platforms()).flatMap((of) => platformNeeds(of, parts.clock))
    : [];
  const ofAdmin = isAdmin ? await adminNeeds(parts) : [];
  return [...ofService, ...ofPlatforms, ...ofAdmin, ...(await appNeeds(parts, isVisible))]
    .toSorted((a, b) => NEEDS.indexOf(a.type) - NEEDS.indexOf(b.type))
    .slice(0, MAX_ITEMS)
    .map(({ host: _host, share: _share, ...need }) => need);
}

/** What is wrong with apps, at most so many of each kind. */
export async function appNeeds(
  { index }: Pick<NeedsParts, "index">,
  isVisible: Reader["isVisible"],
  limit = MAX_ITEMS,
): Promise<Need[]> {
  const query = { isVisible, order: "name", isDescending: false, limit } as const;
  const { names: blocked } = await index.page({ ...query, state: "blocked" });
  const foreign = await index.foreignRefreshes(isVisible, limit);
  const quotas = await index.fullestQuotas(isVisible, limit);
  return [
    ...blocked.map((app): Need => ({
      ...{ type: "blocked", app, action: "unblock" },
      message: "被微信拒绝 (WeChat refuses us)",
    })),
    ...foreign.map(({ name, at }): Need => ({
      ...{ type: "foreign_refresh", app: name, at, action: "app" },
      message:
        "有其他程序也在获取该应用的token，请找出谁还持有其secret (another program fetches tokens for this app: find out who else holds its secret)",
    })),
    ...quotas
      .filter((quota) => shareOf(quota) >= FULL_SHARE)
      .map(({ name, endpoint, calls, limit: most }): Need => ({
        ...{ type: "quota", app: name, action: "app", share: calls / most },
        message: `${endpoint} 今日已用 ${calls} / ${most} 次 (${endpoint}: ${calls} of today's ${most} calls are used)`,
      })),
  ];
}

async function serviceNeeds(parts: NeedsParts): Promise<Need[]> {
  const reasons = await parts.notReady();
  const { dead, oldestAt } = await parts.queue.figures();
  const backups = await parts.backups();
  return [
    ...reasons.map(({ part, message }): Need => ({
      type: part === "audit" ? "audit_broken" : "not_ready",
      message,
      action: part === "audit" ? "audit" : "settings",
    })),
    ...(backups.isStale ? [staleBackup(backups)] : []),
    ...(dead === 0
      ? []
      : [
          {
            ...({ type: "dead_deliveries", action: "pushes" } as const),
            ...(oldestAt === undefined ? {} : { at: oldestAt }),
            message: `${dead}条推送一天内未能送达，可重新投递 (${dead} pushes could not be delivered for a day; they can be replayed)`,
          },
        ]),
  ];
}

function platformNeeds(state: PlatformState, clock: Clock): Need[] {
  const { app, hasTicket, ticketAt, lost, failed } = state;
  const isSilent = hasTicket && !app.managed?.isDisabled && findingOfTicket(state, clock.now()) !== undefined;
  return [
    ...(isSilent
      ? [
          {
            ...({ type: "ticket_missing", app: app.id, action: "app" } as const),
            ...(ticketAt === undefined ? {} : { at: ticketAt }),
            message: ticketRemedy(app),
          },
        ]
      : []),
    ...lost
      .filter(({ managed }) => !managed?.isDisabled)
      .slice(0, MAX_ITEMS)
      .map((each): Need => ({
        ...{ type: "authorization_lost", app: nameOfApp(each), action: "app" },
        ...(each.authorization?.lostAt === undefined ? {} : { at: each.authorization.lostAt }),
        message: conditionOf("authorization_lost").remedy,
      })),
    ...failed.slice(0, 1).map(({ dueAt }): Need => ({
      ...{ type: "authorization_failed", app: app.id, at: dueAt, action: "app" },
      message: failedRemedy(app),
    })),
  ];
}

function staleBackup({ last, failed, folder }: BackupState): Need {
  const why = failed
    ? failed.message
    : folder === undefined
      ? "太久没有新的备份：请执行 accesstoken backup，并检查其定时任务 (there has been no new backup for too long: run accesstoken backup, and look after its timer)"
      : "太久没有新的备份，见日志中的 backup.failed (there has been no new backup for too long: look for backup.failed in the log)";
  return {
    ...{ type: "backup_stale", action: "settings", message: why },
    ...(last ? { at: last.at } : {}),
  };
}

/** What names keys and processes, which administrators alone may list; keys that end within so many days. */
export async function adminNeeds(
  { clients, clock, listNodes }: Pick<NeedsParts, "clients" | "clock" | "listNodes">,
  endsWithinDays = KEY_ENDS_DAYS,
): Promise<Need[]> {
  const gone = (await listNodes()).filter((node) => !isLive(node));
  const now = clock.now();
  return [
    ...gone.map(({ host, pid, seenAt }): Need => ({
      ...{ type: "node_gone", host, at: seenAt, action: "settings" },
      message: `${host} 上的进程 ${pid} 没有正常停止就消失了 (process ${pid} of ${host} is gone without a stop)`,
    })),
    ...clients
      .list({ limit: Infinity })
      .flatMap(({ name }) => clients.keysOf(name).filter((key) => endsSoon(key, now, endsWithinDays)))
      .toSorted((a, b) => (a.expiresAt ?? 0) - (b.expiresAt ?? 0))
      .map(({ client, prefix, expiresAt = now }): Need => {
        const days = Math.ceil((expiresAt - now) / DAY_MS);
        return {
          ...{ type: "key_ends", client, at: expiresAt, action: "client" },
          message: `密钥 ${prefix} ${days}天内到期 (the key ${prefix} ends within ${days} days)`,
        };
      }),
  ];
}

function endsSoon({ expiresAt, revokedAt, replacedBy }: ApiKeyRecord, now: number, days: number): boolean {
  // One that is being rolled is meant to end.
  if (revokedAt !== undefined || replacedBy !== undefined || expiresAt === undefined) return false;
  return expiresAt > now && expiresAt <= now + days * DAY_MS;
}
