import { type Static, Type } from "@sinclair/typebox";
import { type DocumentDecoration, Elysia } from "elysia";
import { envelopeResponse } from "./answer.ts";
import { type Call, callOf } from "./face.ts";
import type { Clock } from "../clock.ts";
import type { Envelope } from "../envelope.ts";
import type { BackupState } from "../ops/backups.ts";
import { stateOf } from "../access/client-administration.ts";
import { envelopeOf } from "./schema.ts";
import { NAME, VERSION } from "../version.ts";

/** What the routes for operators work with. */
export interface OpsRouteParts {
  /** Throws when the caller may not see the metrics; undefined when there are none to be seen. */
  readonly admitToMetrics: ((call: Call) => void) | undefined;
  /** Why this process is not ready; empty when it is. */
  readonly notReady: () => Promise<readonly Static<typeof REASON>[]>;
  /** How it stands with backups. */
  readonly backups: () => Promise<BackupState>;
  /** Whether callers without a key are answered. */
  readonly isAnonymousOn: () => boolean;
  readonly clock: Clock;
  /** The metrics of the service as text, and their content type. */
  readonly metrics: () => Promise<{ readonly text: string; readonly type: string }>;
}

const REASON = Type.Object({
  part: Type.String({
    description:
      "`database`, `key`, `migrations`, `audit`, `access` (clients and keys) or `service`. 数据库、主密钥、迁移、审计、客户端与密钥，或服务本身。",
  }),
  message: Type.String({ description: "What is wrong and what to do. 原因和处理办法。" }),
});
const ANONYMOUS = Type.Union([Type.Literal("on"), Type.Literal("off")], {
  description: "Whether callers without a key are answered. 是否应答没有密钥的调用方。",
});
const BACKUP = Type.Object(
  {
    at: Type.Integer({ description: "Epoch milliseconds. 毫秒时间戳。" }),
    age: Type.Integer({ description: "Seconds since then. 距今秒数。" }),
  },
  { description: "The last backup; never a reason. 最近一次备份，不影响就绪。" },
);
const READY = Type.Object({
  reasons: Type.Array(REASON),
  anonymous: ANONYMOUS,
  backup: Type.Optional(BACKUP),
});
const UNWRITABLE = {
  part: "database",
  message: "数据库无法使用，请检查磁盘空间和文件权限 (the database can't be used: SQLITE_FULL)",
};

/** Whether a request is for what a process says of itself, which it does while it answers nothing else. */
export function isForOperators({ url }: Request): boolean {
  return ["/livez", "/readyz", "/metrics"].includes(new URL(url, "http://localhost").pathname);
}

/** `/livez`, `/readyz` and `/metrics`: for load balancers, supervisors and Prometheus. */
export function opsRoutes(parts: OpsRouteParts) {
  const routes = new Elysia().use(healthRoutes(parts));
  return parts.admitToMetrics ? routes.use(metricsRoute(parts)) : routes;
}

function healthRoutes({ notReady, backups, isAnonymousOn, clock }: OpsRouteParts) {
  return new Elysia()
    .get("/livez", () => ({}), {
      detail: {
        summary: "Liveness · 存活检查",
        description:
          "200 while requests are answered at all, 401 or 403 to callers that are not; restart the process when there is no answer. 只要进程还能应答，有权访问者即得到200（否则401或403）；无应答时请重启进程。",
        tags: ["Service"],
        responses: envelopeOf("Alive. 存活。", Type.Object({}), {}),
      },
    })
    .get(
      "/readyz",
      async ({ request }) => {
        const [reasons, { last }] = await Promise.all([notReady(), backups()]);
        const data = {
          ...{ reasons: [...reasons], anonymous: stateOf(isAnonymousOn()) },
          ...(last && {
            backup: { at: last.at, age: Math.max(0, Math.round((clock.now() - last.at) / 1000)) },
          }),
        };
        return reasons.length === 0 ? data : refusal(data, callOf(request).traceId);
      },
      {
        detail: {
          summary: "Readiness · 就绪检查",
          description:
            "200 when the database and the audit can be written, the master key fits, the migrations are complete and the service is not stopping; else HTTP 503 with the reasons. Valid credentials are still returned. Checked at most once a second. 数据库和审计可写、主密钥匹配、迁移完成且服务未在停止时返回200，否则返回HTTP 503和原因；其间仍会发放有效凭证。每秒最多检查一次。",
          tags: ["Service"],
          responses: readyResponses(),
        },
      },
    );
}

function metricsRoute({ metrics, admitToMetrics }: OpsRouteParts) {
  return new Elysia().get(
    "/metrics",
    async ({ request }) => {
      admitToMetrics?.(callOf(request));
      const { text, type } = await metrics();
      return new Response(text, { headers: { "content-type": type, "cache-control": "no-store" } });
    },
    {
      detail: {
        summary: "Metrics for Prometheus · Prometheus指标",
        description:
          "The sum over all worker processes, as text. A key needs `metrics:read` or `admin`. 所有工作进程的合计，文本格式。使用密钥时须有 `metrics:read` 或 `admin`。",
        tags: ["Service"],
        responses: {
          200: {
            description: "The metrics. 指标。",
            content: {
              "text/plain": {
                schema: { type: "string" },
                example: 'accesstoken_requests_total{route="/AccessToken/getXcx",result="hit"} 42\n',
              },
            },
          },
        },
      },
    },
  );
}

function refusal(data: Static<typeof READY>, traceId: string): Response {
  const msg = `服务未就绪：${data.reasons.map(({ message }) => message).join("；")}`;
  const envelope: Envelope = { code: 503, msg, data, trace_id: traceId };
  return envelopeResponse(envelope, 503);
}

function readyResponses(): NonNullable<DocumentDecoration["responses"]> {
  const data = { reasons: [UNWRITABLE], anonymous: "off" };
  const answer: unknown = {
    ...envelopeOf("Ready. 就绪。", READY, {
      ...{ reasons: [], anonymous: "off" },
      backup: { at: 1_795_320_000_000, age: 3600 },
    }),
    503: {
      description: "Not ready, and why. 未就绪及原因。",
      content: {
        "application/json": {
          schema: Type.Object({
            code: Type.Literal(503),
            msg: Type.String(),
            data: READY,
            trace_id: Type.String(),
          }),
          example: {
            code: 503,
            msg: `服务未就绪：${UNWRITABLE.message}`,
            data,
            trace_id: "6f1c4a3b-e0d9-4f6f-9f8e-9a5d2f5c7b10",
          },
        },
      },
    },
  };
  return answer as NonNullable<DocumentDecoration["responses"]>;
}

/** `GET /`: what answers here, and where its documentation is, if there is any. */
export function indexRoute(hasDocs: boolean) {
  const data = { name: NAME, version: VERSION, ...(hasDocs ? { docs: "/docs/", swagger: "/swagger" } : {}) };
  return new Elysia().get("/", () => data, {
    detail: {
      summary: "Name and version · 服务名称与版本",
      tags: ["Service"],
      responses: envelopeOf(
        "Name, version and the paths of the documents and of this page. 名称、版本、文档路径与本页路径。",
        Type.Object({
          name: Type.String(),
          version: Type.String(),
          docs: Type.Optional(Type.String()),
          swagger: Type.Optional(Type.String()),
        }),
        data,
      ),
    },
  });
}
