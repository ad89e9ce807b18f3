import { Type } from "@sinclair/typebox";
import { type DocumentDecoration, Elysia } from "elysia";
import { answersOf } from "./v1-apps-schema.ts";
import { type Call, callOf } from "./face.ts";
import type { AuditActor, AuditRecord } from "../audit/audit-entry.ts";
import type { AuditFilter, AuditStore, ReadKey, RefusalKey } from "../audit/audit-store.ts";
import type { AuditTrail } from "../audit/audit-trail.ts";
import {
  entry,
  ENTRY_EXAMPLE,
  entryQuery,
  exportQuery,
  PAGE,
  READ_EXAMPLE,
  readCount,
  readQuery,
  REFUSAL_EXAMPLE,
  refusalCount,
  refusalQuery,
  verdict,
  VERDICT_EXAMPLE,
} from "./v1-audit-schema.ts";
import { ServiceError } from "../errors.ts";

/** What the routes of `/v1/audit` work with. */
export interface AuditRouteParts {
  /** Who the caller is, if it may see the audit; throws when it may not. */
  readonly admin: (call: Call) => AuditActor;
  readonly auditStore: AuditStore;
  readonly audit: Pick<AuditTrail, "record">;
}

const next = Type.Optional(Type.String({ description: "There are more. 尚有更多。" }));

/** `/v1/audit`: who did what, for administrators. */
export function auditRoutes({ admin, auditStore, audit }: AuditRouteParts) {
  return (
    new Elysia({ prefix: "/v1/audit" })
      // Before anything that was sent is looked at: what is wrong with it is nobody's business but an administrator's.
      .derive(({ request }) => ({ actor: admin(callOf(request)) }))
      .get(
        "",
        async ({ query }) => {
          const limit = limitOf(query);
          const before = query.before === undefined ? undefined : Number(query.before);
          const found = await auditStore.list(filterOf(query), { limit: limit + 1, before });
          const { page, last } = pageOf(found, limit);
          return { entries: page.map(entryData), ...(last ? { next: String(last.id) } : {}) };
        },
        {
          query: entryQuery,
          detail: {
            summary: "What was done, the newest first · 审计记录（新的在前）",
            description:
              "For administrators: every change, clear, refresh and key event. With `next` in the answer there are more: send it as `before`. 仅限管理员：全部变更、清除、刷新与密钥事件。应答中有 `next` 时将其作为 `before` 获取下一页。",
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
        },
      )
      .get(
        "/reads",
        async ({ query }) => {
          const limit = limitOf(query);
          const after = parseReadCursor(query.after);
          const found = await auditStore.listReads(filterOf(query), { limit: limit + 1, after });
          const { page, last } = pageOf(found, limit);
          return { reads: page.map(countData), ...(last ? { next: readCursor(last) } : {}) };
        },
        {
          query: readQuery,
          detail: {
            summary: "How often who used what, by minute · 每分钟的使用次数",
            description:
              "For administrators: counted per client, action, app and minute, the newest minute first. With `next` in the answer there are more: send it as `after`. 仅限管理员：按客户端、操作、应用和分钟计数，新的在前。应答中有 `next` 时将其作为 `after` 获取下一页。",
            tags: ["v1"],
            responses: answersOf(
              "The counts. 使用次数。",
              Type.Object({ reads: Type.Array(readCount), next }),
              { reads: [READ_EXAMPLE] },
            ),
          },
        },
      )
      .get(
        "/refusals",
        async ({ query }) => {
          const limit = limitOf(query);
          const after = parseRefusalCursor(query.after);
          const found = await auditStore.listRefusals(filterOf(query), { limit: limit + 1, after });
          const { page, last } = pageOf(found, limit);
          return { refusals: page.map(countData), ...(last ? { next: refusalCursor(last) } : {}) };
        },
        {
          query: refusalQuery,
          detail: {
            summary: "How often who was refused, by minute · 每分钟的拒绝次数",
            description:
              "For administrators: counted per address, client, route, code and minute, the newest minute first; beyond 1,000 rows a minute summed under `*`. With `next` in the answer there are more: send it as `after`. 仅限管理员：按地址、客户端、路由、code和分钟计数，新的在前；每分钟超过1000行的部分合计在 `*` 下。应答中有 `next` 时将其作为 `after` 获取下一页。",
            tags: ["v1"],
            responses: answersOf(
              "The counts. 拒绝次数。",
              Type.Object({ refusals: Type.Array(refusalCount), next }),
              { refusals: [REFUSAL_EXAMPLE] },
            ),
          },
        },
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
            // Not by which values: what is asked for need not be a name, and the audit keeps it.
            detail: { since: filter.since, until: filter.until, narrowed_by: namesIn(query) },
          });
          const pieceAfter = (id: number, limit: number) =>
            auditStore.listForward(filter, { limit, after: id });
          return new Response(exportLines(pieceAfter, entryData), {
            headers: {
              "content-type": "application/x-ndjson",
              "content-disposition": 'attachment; filename="audit.ndjson"',
              "cache-control": "no-store",
              "trace-id": actor.traceId,
            },
          });
        },
        {
          query: exportQuery,
          detail: {
            summary:
              "Every entry as lines of JSON, the oldest first · 导出审计记录（每行一个JSON，旧的在前）",
            description:
              "For administrators. The export itself is an entry; when that can't be written there is none. 仅限管理员。导出本身也记入审计；无法记录时不予导出。",
            tags: ["v1"],
            responses: exportAnswers(),
          },
        },
      )
      .get(
        "/verify",
        async ({ request, server }) => {
          // A long chain takes longer than a handler may be silent.
          server?.timeout(request, 0);
          const { isIntact, entries, fault, last } = await auditStore.verify();
          return { intact: isIntact, entries, fault, last };
        },
        {
          detail: {
            summary: "Whether anybody has tampered with the audit · 校验审计链",
            description:
              "For administrators: looks at every entry. A database that was set back to an older state as a whole is intact; compare `last` with one that you kept. 仅限管理员：逐条检查。数据库被整体回退时链仍完整，请与另行保存的 `last` 比对。",
            tags: ["v1"],
            responses: answersOf("What was found. 校验结果。", verdict, VERDICT_EXAMPLE),
          },
        },
      )
  );
}

type Query = { readonly [Name in keyof AuditFilter]?: string | undefined };

function filterOf({ app, client, environment, action, since, until }: Query): AuditFilter {
  return {
    app,
    client,
    environment,
    action,
    since: since === undefined ? undefined : Number(since),
    until: until === undefined ? undefined : Number(until),
  };
}

function limitOf({ limit }: { readonly limit?: string | undefined }): number {
  return Number(limit ?? PAGE);
}

/** `found` was asked for one more than the page has; `last` is the page's last when there are more behind it. */
function pageOf<Row>(found: readonly Row[], limit: number): { page: readonly Row[]; last: Row | undefined } {
  const page = found.slice(0, limit);
  return { page, last: found.length > limit ? page.at(-1) : undefined };
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

function countData<Count extends { readonly client: string; readonly environment?: string }>(count: Count) {
  const { client, environment } = count;
  return { ...count, client: client || undefined, environment: environment || undefined };
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

type Part = string | number;

/** Where a page of reads ended, as text that a caller sends back. */
function readCursor({ minute, client, environment, action, app }: ReadKey): string {
  return cursorOf([minute, client, environment, action, app]);
}

/** Where a page of refusals ended, as text that a caller sends back. */
function refusalCursor({ minute, address, client, route, code }: RefusalKey): string {
  return cursorOf([minute, address, client, route, code]);
}

/** What `readCursor` was made of. Throws `invalid_parameter` for a text that it did not make. */
function parseReadCursor(text: string | undefined): ReadKey | undefined {
  if (text === undefined) return undefined;
  const [minute, client, environment, action, app, ...rest] = partsOf(text);
  if (!isInteger(minute) || !isText(client) || !isText(environment)) throw badCursor();
  if (!isText(action) || !isText(app) || rest.length > 0) throw badCursor();
  return { minute, client, environment, action, app };
}

/** What `refusalCursor` was made of. Throws `invalid_parameter` for a text that it did not make. */
function parseRefusalCursor(text: string | undefined): RefusalKey | undefined {
  if (text === undefined) return undefined;
  const [minute, address, client, route, code, ...rest] = partsOf(text);
  if (!isInteger(minute) || !isText(address) || !isText(client)) throw badCursor();
  if (!isText(route) || !isInteger(code) || rest.length > 0) throw badCursor();
  return { minute, address, client, route, code };
}

function cursorOf(parts: readonly Part[]): string {
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

function partsOf(text: string): unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
    if (Array.isArray(parts)) return parts;
  } catch {
    // As for anything else that is no list.
  }
  throw badCursor();
}

function isInteger(part: unknown): part is number {
  return Number.isSafeInteger(part);
}

function isText(part: unknown): part is string {
  return typeof part === "string";
}

function badCursor(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "after应为上一页应答中的next (after must be next of the answer before)",
  );
}

/** How many entries are in memory at once. */
const PIECE = 500;

/**
 * Entries as NDJSON, the oldest first, a piece at a time as the reader takes them.
 *
 * `piece` gives the entries behind an id, at most so many. A failure breaks the stream off, so that the reader knows that
 * something is missing.
 */
function exportLines(
  piece: (after: number, limit: number) => Promise<readonly AuditRecord[]>,
  toData: (record: AuditRecord) => object,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let after = -1;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const records = await piece(after, PIECE);
      const lines = records.map((record) => `${JSON.stringify(toData(record))}\n`);
      if (lines.length > 0) controller.enqueue(encoder.encode(lines.join("")));
      after = records.at(-1)?.id ?? after;
      if (records.length < PIECE) controller.close();
    },
  });
}
