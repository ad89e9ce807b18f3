import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, route } from "./face.ts";
import type { Access } from "../access/access.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { AppHistory, History } from "../credentials/app-history.ts";
import { answersOf, app } from "./v1-apps-schema.ts";
import { HISTORY_EXAMPLE, historyData, historyQuery } from "./v1-history-schema.ts";

/** What the route of an app's history works with. */
export interface HistoryRouteParts {
  readonly access: Access;
  readonly directory: Pick<AppDirectory, "slotOfApp">;
  readonly history: AppHistory;
}

/** `/v1/apps/:app/history`: what happened to an app, for whoever may see it. */
export function historyRoutes({ access, directory, history }: HistoryRouteParts) {
  return new Elysia({ prefix: "/v1/apps" }).get(
    "/:app/history",
    async ({ params, query, request }) => {
      const call = callOf(request);
      const name = access.visibleApp(call, params.app);
      const isTold = access.appsFor(call, "view")(name);
      const period = { from: instantIn(query.from), to: instantIn(query.to), step: query.step };
      const asked = { ...period, hasCallers: isTold };
      return historyFields(await history.of(directory.slotOfApp(name), asked), isTold);
    },
    route(
      { guard: (call) => access.checkKnown(call) },
      {
        params: Type.Object({ app }),
        query: historyQuery,
        detail: {
          summary: "What happened to an app · 应用的历史",
          description:
            "For callers with any grant on the app: refreshes, failures, hand-outs and calls by the hour or day, who used it, and the newest attempts to obtain a credential. Who used it, and from which machine a credential was obtained, is only for callers that may `view` the app. Hours are whole ones, also at both ends. 供有该应用任一权限的调用方查看：按小时或日统计的刷新、失败、发放和调用次数，使用方，以及最近的获取记录；使用方和发起获取的主机仅限可查看该应用的调用方；首尾的小时也按整小时统计。",
          tags: ["v1"],
          responses: answersOf("The history. 历史。", historyData, HISTORY_EXAMPLE),
        },
      },
    ),
  );
}

function instantIn(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** JSON leaves out what is undefined. Other callers and machines are told to whom `view` is granted. */
function historyFields({ from, to, step, series, callers, attempts }: History, isTold: boolean) {
  return {
    ...{ from, to, step, series },
    callers: callers.map(({ environment, ...caller }) => ({
      ...caller,
      environment: environment || undefined,
    })),
    attempts: attempts.map(({ app: _app, durationMs, host, ...attempt }) => ({
      ...attempt,
      host: isTold ? host : undefined,
      duration_ms: durationMs,
    })),
  };
}
