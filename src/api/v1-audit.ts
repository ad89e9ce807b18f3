import { Type } from "@sinclair/typebox";
import { type DocumentDecoration, Elysia } from "elysia";
import { answersOf } from "./v1-apps-schema.ts";
import { callOf, route, type RouteRules } from "./face.ts";
import type { Access } from "../access/access.ts";
import type { AuditRecord } from "../audit/audit-entry.ts";
import type { AuditFilter, AuditStore, DenialCount, UsageCount } from "../audit/audit-store.ts";
import type { AuditTrail } from "../audit/audit-trail.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { MilestoneStore } from "../ops/milestones.ts";
import { visibleJson } from "../log.ts";
import {
  DENIAL_EXAMPLE,
  denialCount,
  denialQuery,
  entry,
  ENTRY_EXAMPLE,
  entryQuery,
  exportQuery,
  PAGE,
  USAGE_EXAMPLE,
  usageCount,
  usageQuery,
  verdict,
  VERDICT_EXAMPLE,
} from "./v1-audit-schema.ts";

/** What the routes of `/v1/audit` work with. */
export interface AuditRouteParts {
  readonly access: Pick<Access, "admin" | "auditViewer">;
  readonly auditStore: Pick<AuditStore, "list" | "walk" | "listUsage" | "listDenials" | "verify">;
  readonly audit: Pick<AuditTrail, "record">;
  readonly milestones: Pick<MilestoneStore, "reach">;
  readonly events: Pick<EventBus, "emit">;
  readonly clock: Pick<Clock, "now" | "monotonic">;
}

/** A search with few matches, or a long chain, takes longer than the idle time-out. */
const LONG: RouteRules = { seconds: 0 };

const next = Type.Optional(Type.String({ description: "There are more. 尚有更多。" }));

/** `/v1/audit`: who did what, for administrators; of an app for whoever may view it. */
export function auditRoutes({ access, auditStore, audit, milestones, events, clock }: AuditRouteParts) {
  const adminRules: RouteRules = { ...LONG, guard: (call) => access.admin(call) };
  const countsPage = async (query: Query & PageQuery, name: string, list: ListCounts) => {
    const { rows, next } = await pageOf(limitOf(query), (page) => list(filterOf(query), page), query.after);
    return { [name]: rows.map(countData), next };
  };
  const pageOfUsage = (query: Query & PageQuery, apps: AuditFilter["apps"], name: string) =>
    countsPage(query, name, (filter, page) => auditStore.listUsage({ ...filter, apps }, page));
  const pageOfDenials = (query: Query & PageQuery, name: string) =>
    countsPage(query, name, (filter, page) => auditStore.listDenials(filter, page));
  return (
    new Elysia({ prefix: "/v1/audit" })
      // Before validation: only who may see it learns what is wrong with a request.
      .derive(({ request }) => access.auditViewer(callOf(request)))
      .get(
        "",
        async ({ query, apps }) => {
          const list = (page: Page) => auditStore.list({ ...filterOf(query), apps }, page);
          const { rows, next } = await pageOf(limitOf(query), list, query.before);
          return { entries: rows.map(entryData), next };
        },
        route(LONG, {
          query: entryQuery,
          detail: {
            summary: "Audit entries, newest first · 审计记录（新的在前）",
            description:
              "For administrators: every change, clear, refresh and key event; for who may `view` apps, those about them. `next` in the answer means that there are more: send it as `before`. 管理员可见全部变更、清除、刷新与密钥事件；有 `view` 者可见与其应用有关的。应答中有 `next` 时将其作为 `before` 获取下一页。",
            tags: ["v1"],
            responses: answersOf(
              "The entries. 审计记录。",
              Type.Object({ entries: Type.Array(entry), next }),
              {
                entries: [ENTRY_EXAMPLE],
                next: "1041",
              },
            ),
          },
        }),
      )
      .get(
        "/usage",
        ({ query, apps }) => pageOfUsage(query, apps, "usage"),
        route(LONG, { query: usageQuery, detail: usageDetail("usage") }),
      )
      .get(
        "/denials",
        ({ query }) => pageOfDenials(query, "denials"),
        route(adminRules, { query: denialQuery, detail: denialsDetail("denials") }),
      )
      // The former names of both, for one more minor version.
      .get(
        "/reads",
        ({ query, apps }) => pageOfUsage(query, apps, "reads"),
        route(LONG, { query: usageQuery, detail: usageDetail("reads") }),
      )
      .get(
        "/refusals",
        ({ query }) => pageOfDenials(query, "refusals"),
        route(adminRules, { query: denialQuery, detail: denialsDetail("refusals") }),
      )
      .get(
        "/export",
        async ({ query, actor }) => {
          const filter = filterOf(query);
          await audit.record({
            ...actor,
            action: "audit.exported",
            app: "",
            outcome: "ok",
            tokenDigest: "",
            // Not the values: they may be anything, even a secret, and the audit keeps them.
            detail: { since: filter.since, until: filter.until, narrowed_by: namesIn(query) },
          });
          return new Response(exportLines(auditStore.walk(filter), clock), {
            headers: {
              "content-type": "application/x-ndjson; charset=utf-8",
              "content-disposition": 'attachment; filename="audit.ndjson"',
              "cache-control": "no-store",
              "trace-id": actor.traceId,
            },
          });
        },
        route(adminRules, {
          query: exportQuery,
          detail: {
            summary:
              "Export the audit, one JSON object per line, oldest first · 导出审计记录（每行一个JSON，旧的在前）",
            description:
              "For administrators. The export itself is audited, and refused when that fails. A line may begin with spaces, which keep the connection open during a long search. 仅限管理员。导出本身也记入审计；无法记录时不予导出。行首可能有空格，用于在长时间查找时保持连接。",
            tags: ["v1"],
            responses: exportAnswers(),
          },
        }),
      )
      .get(
        "/verify",
        async () => {
          const { isIntact, entries, fault, last } = await auditStore.verify();
          if (fault) events.emit({ type: "audit.broken", id: fault.id });
          // What can't be noted is verified all the same.
          if (isIntact)
            await milestones
              .reach("audit_verified", { at: clock.now(), detail: { entries, last: last?.id ?? 0 } })
              .catch(() => undefined);
          return { intact: isIntact, entries, fault, last };
        },
        route(adminRules, {
          detail: {
            summary: "Verify the audit chain · 校验审计链",
            description:
              "For administrators: checks every entry. A database that was rolled back as a whole still has an intact chain; compare `last` with one that you kept. 仅限管理员：逐条检查。数据库被整体回退时链仍完整，请与另行保存的 `last` 比对。",
            tags: ["v1"],
            responses: answersOf("The result. 校验结果。", verdict, VERDICT_EXAMPLE),
          },
        }),
      )
  );
}

type ListCounts = (filter: AuditFilter, page: Page) => Promise<readonly (UsageCount | DenialCount)[]>;

type Query = {
  readonly [Name in Exclude<keyof AuditFilter, "tokenDigest" | "apps"> | "token_digest"]?: string | undefined;
};

function filterOf({ app, client, environment, action, since, until, ...query }: Query): AuditFilter {
  return {
    app,
    client,
    environment,
    action,
    tokenDigest: query.token_digest,
    since: since === undefined ? undefined : Number(since),
    until: until === undefined ? undefined : Number(until),
  };
}

interface PageQuery {
  readonly limit?: string | undefined;
  readonly after?: string | undefined;
}

function limitOf({ limit }: PageQuery): number {
  return Number(limit ?? PAGE);
}

/** Which page of a list. */
interface Page {
  readonly limit: number;
  readonly before: number | undefined;
}

/** Asks `list` for one more than the page has; `next` is where the next page begins when there are more. */
async function pageOf<Row extends { readonly id: number }>(
  limit: number,
  list: (page: Page) => Promise<readonly Row[]>,
  cursor: string | undefined,
): Promise<{ rows: readonly Row[]; next: string | undefined }> {
  const before = cursor === undefined ? undefined : Number(cursor);
  const found = await list({ limit: limit + 1, before });
  const rows = found.slice(0, limit);
  return { rows, next: found.length > limit ? String(rows.at(-1)?.id) : undefined };
}

/** JSON leaves out what is undefined. */
function entryData({ environment, app, traceId, tokenDigest, detail, ...record }: AuditRecord) {
  const { id, at, client, address, action, outcome, hash } = record;
  return {
    id,
    at,
    client,
    environment: environment || undefined,
    address,
    action,
    app: app || undefined,
    outcome,
    trace_id: traceId || undefined,
    token_digest: tokenDigest || undefined,
    detail: Object.keys(detail).length > 0 ? detail : undefined,
    hash,
  };
}

function countData<Count extends UsageCount | DenialCount>({ id: _id, ...count }: Count) {
  const environment = "environment" in count ? count.environment || undefined : undefined;
  return { ...count, client: count.client || undefined, environment };
}

function usageDetail(name: "usage" | "reads"): DocumentDecoration {
  return {
    summary: "Usage counts by minute · 每分钟的使用次数",
    description:
      "Counted per client, action, app and minute, newest first: of everything for administrators, of the apps that they may `view` for others. `next` in the answer means that there are more: send it as `after`. 按客户端、操作、应用和分钟计数，新的在前；管理员可见全部，其他客户端可见有 `view` 的应用。应答中有 `next` 时将其作为 `after` 获取下一页。",
    tags: ["v1"],
    deprecated: name === "reads",
    responses: answersOf("The counts. 使用次数。", Type.Object({ [name]: Type.Array(usageCount), next }), {
      [name]: [USAGE_EXAMPLE],
    }),
  };
}

function denialsDetail(name: "denials" | "refusals"): DocumentDecoration {
  return {
    summary: "Denial counts by minute · 每分钟的拒绝次数",
    description:
      "For administrators: counted per address, client, route, code and minute, newest first; beyond 10,000 in a minute and a process they are summed under `(other)`. `next` in the answer means that there are more: send it as `after`. 仅限管理员：按地址、客户端、路由、code和分钟计数，新的在前；每个进程每分钟超过10000项的部分合计在 `(other)` 下。应答中有 `next` 时将其作为 `after` 获取下一页。",
    tags: ["v1"],
    deprecated: name === "refusals",
    responses: answersOf("The counts. 拒绝次数。", Type.Object({ [name]: Type.Array(denialCount), next }), {
      [name]: [DENIAL_EXAMPLE],
    }),
  };
}

function exportAnswers(): NonNullable<DocumentDecoration["responses"]> {
  const answer: unknown = {
    ...answersOf("", entry, {}),
    200: {
      description: "A line for each entry. 每条审计记录一行。",
      content: {
        "application/x-ndjson": { schema: entry, example: `${JSON.stringify(ENTRY_EXAMPLE)}\n` },
      },
    },
  };
  return answer as NonNullable<DocumentDecoration["responses"]>;
}

function namesIn(query: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(query).filter((name) => query[name] !== undefined);
}

/** How long an export may be silent: less than what proxies allow. */
const KEEP_ALIVE_MS = 10_000;

/**
 * Entries as NDJSON, streamed at the reader's pace.
 *
 * While a long search finds nothing, a space is sent now and then; it begins the next line, where JSON ignores it. A
 * failure aborts the stream, so that the reader notices.
 */
function exportLines(
  pieces: AsyncIterableIterator<readonly AuditRecord[]>,
  clock: Pick<Clock, "monotonic">,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let sentAt = clock.monotonic();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      for (;;) {
        const { done, value } = await pieces.next();
        if (done) return controller.close();
        const lines = value.map((record) => `${visibleJson(entryData(record))}\n`).join("");
        const isSilent = clock.monotonic() - sentAt >= KEEP_ALIVE_MS;
        if (lines === "" && !isSilent) continue;
        sentAt = clock.monotonic();
        return controller.enqueue(encoder.encode(lines || " "));
      }
    },
    async cancel() {
      await pieces.return?.();
    },
  });
}
