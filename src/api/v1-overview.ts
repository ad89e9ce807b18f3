import type { Static } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, route } from "./face.ts";
import type { Access } from "../access/access.ts";
import { ANY_APP } from "../access/client.ts";
import type { AppAdministration } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName } from "../apps/app.ts";
import type { AuditStore } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import type { AppIndex } from "../credentials/app-index.ts";
import { SharedRead } from "../credentials/single-flight.ts";
import type { AppStatus, CredentialStates } from "../credentials/status.ts";
import type { BackupState } from "../ops/backups.ts";
import { type Need, needsOf, type NeedsParts, type Reader } from "../ops/needs-you.ts";
import { isLive } from "../ops/nodes.ts";
import { VERSION } from "../version.ts";
import { reasonOf } from "./v1-apps.ts";
import {
  type backup,
  MAX_LIVES,
  MAX_QUOTAS,
  overviewAnswers,
  type OverviewData,
} from "./v1-overview-schema.ts";

const MINUTE_MS = 60_000;
const MINUTES = 60;

/** What the route of `/v1/overview` works with. */
export interface OverviewRouteParts extends Omit<NeedsParts, "index" | "notReady" | "backups"> {
  readonly access: Access;
  readonly administration: Pick<AppAdministration, "refresh">;
  readonly directory: AppDirectory;
  readonly states: CredentialStates;
  readonly index: Pick<AppIndex, keyof NeedsParts["index"] | "counts" | "shortestLives">;
  readonly auditStore: Pick<AuditStore, "sumMinutes">;
  readonly ops: Pick<NeedsParts, "notReady" | "backups">;
  /** `SQLite` or `PostgreSQL`. */
  readonly database: string;
  readonly clock: Clock;
}

/** `/v1/overview`: how the apps that the caller may see are, and what needs somebody. */
export function overviewRoutes(parts: OverviewRouteParts) {
  const { access, administration } = parts;
  const shared = new SharedRead<OverviewData>();
  return new Elysia({ prefix: "/v1/overview" }).get(
    "",
    async ({ request }): Promise<OverviewData> => {
      const call = callOf(request);
      const isVisible = access.visibleApps(call);
      const seesAll = access.appsFor(call, "view")(ANY_APP);
      const isAdmin = access.appsFor(call, "admin")(ANY_APP);
      await administration.refresh().catch(() => undefined);
      const read = () => overviewOf(parts, { isVisible, seesAll, isAdmin });
      // Who may see everything sees the same, and after a change all of them ask at once.
      return seesAll ? shared.run(`${isAdmin}`, read) : read();
    },
    route(
      { guard: (call) => access.checkKnown(call) },
      {
        detail: {
          summary: "How all apps are, and what needs somebody · 概览",
          description:
            "Of the apps that the caller has any grant for; what is of the service alone is for administrators, and clients that may `view` every app. 只包含调用方有权限的应用；服务本身的信息仅限管理员及可查看全部应用的客户端。",
          tags: ["v1"],
          responses: overviewAnswers,
        },
      },
    ),
  );
}

async function overviewOf(
  parts: OverviewRouteParts,
  { isVisible, seesAll, isAdmin }: Reader,
): Promise<OverviewData> {
  const { index, clock } = parts;
  const counts = await index.counts(isVisible);
  const needs = await needsOf({ ...parts, ...parts.ops }, { isVisible, seesAll, isAdmin });
  const shortest = await index.shortestLives(isVisible, MAX_LIVES);
  const quotas = (await index.fullestQuotas(isVisible, MAX_QUOTAS)).filter(({ calls }) => calls > 0);
  const blocked = needs.flatMap(({ type, app }) => (type === "blocked" && app !== undefined ? [app] : []));
  const statuses = await statusesOf(parts, [...blocked, ...shortest.map(({ name }) => name)]);
  return {
    counts: { ...counts, total: Object.values(counts).reduce((sum, n) => sum + n, 0) },
    needs_you: needs.map((need) => ({
      ...need,
      ...titleOf(parts, need.app),
      ...toldOf(parts, need, statuses),
    })),
    lives: shortest.flatMap(({ name, kind }) => {
      const credential = statuses.get(name)?.credentials.find((each) => each.kind === kind);
      if (!credential?.life) return [];
      const { issuedAt, expiresAt } = credential.life;
      const times = { issued_at: issuedAt, expires_at: expiresAt };
      const renewAt = credential.nextAttemptAt;
      const { state } = credential;
      return [
        {
          app: name,
          ...titleOf(parts, name),
          kind,
          state,
          ...times,
          ...(renewAt === undefined ? {} : { renew_at: renewAt }),
        },
      ];
    }),
    quota: quotas.map(({ name, endpoint, calls, limit }) => ({
      ...{ app: name, ...titleOf(parts, name), endpoint, calls, limit },
    })),
    ...(seesAll ? { service: await serviceOf(parts, clock.now()) } : {}),
  };
}

type Statuses = ReadonlyMap<string, AppStatus>;

async function statusesOf(
  { directory, states }: OverviewRouteParts,
  names: readonly string[],
): Promise<Statuses> {
  const slots = [...new Set(names)].flatMap((name) => directory.findSlot(name) ?? []);
  return new Map((await states.ofApps(slots)).map((status) => [appName(status.slot), status]));
}

function titleOf({ directory }: OverviewRouteParts, name = ""): { readonly title?: string } {
  const title = directory.find(name)?.managed?.title;
  return title === undefined ? {} : { title };
}

/** Why an app is blocked, and since when. */
function toldOf({ directory }: OverviewRouteParts, { type, app = "" }: Need, statuses: Statuses) {
  if (type !== "blocked") return {};
  const worst = statuses.get(app)?.worst;
  const reason = reasonOf(directory.find(app), worst);
  const at = worst?.lastFailure?.at;
  return { ...(reason === undefined ? {} : { message: reason }), ...(at === undefined ? {} : { at }) };
}

async function serviceOf({ auditStore, listNodes, database, ops }: OverviewRouteParts, now: number) {
  const nodes = (await listNodes()).filter(isLive).length;
  const since = now - (now % MINUTE_MS) - (MINUTES - 1) * MINUTE_MS;
  const traffic = (await auditStore.sumMinutes(since)).map(
    ({ minute, usage, denials }): [number, number, number] => [minute, usage, denials],
  );
  const state = await ops.backups();
  const hasBackups = state.folder !== undefined || state.last !== undefined;
  return {
    traffic,
    version: VERSION,
    nodes: Math.max(1, nodes),
    database,
    ...(hasBackups ? { backup: backupOf(state) } : {}),
  };
}

function backupOf({ last, failed, folder, everyMs, isStale }: BackupState): Static<typeof backup> {
  return {
    ...(last && { last_at: last.at, bytes: last.bytes, file: last.file }),
    ...(folder !== undefined && { folder }),
    ...(everyMs !== undefined && { every: everyMs / 1000 }),
    ...(failed && { failed_at: failed.at, reason: failed.message }),
    stale: isStale,
  };
}
