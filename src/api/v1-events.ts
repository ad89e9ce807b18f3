import { type DocumentDecoration, Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import { callOf, route } from "./face.ts";
import type { EventStreams } from "./event-streams.ts";

/** What the route of `/v1/events` works with. */
export interface EventRouteParts {
  readonly access: Access;
  readonly streams: Pick<EventStreams, "open">;
}

/** `/v1/events`: what changes, as it changes. */
export function eventRoutes({ access, streams }: EventRouteParts) {
  return new Elysia({ prefix: "/v1/events" }).get(
    "",
    async ({ request }) => {
      const call = callOf(request);
      const { origin, socket, traceId } = call;
      access.visibleApps(call);
      const principal = access.present(call);
      const lastId = request.headers.get("last-event-id") ?? undefined;
      // The framework reads the whole answer to a HEAD, to count it.
      const isHead = request.method === "HEAD";
      const body = isHead ? null : await streams.open({ principal, origin, lastId, ...socket });
      return new Response(body, {
        headers: {
          "content-type": "text/event-stream; charset=utf-8",
          "cache-control": "no-store, no-transform",
          // nginx would hold events back until it has a buffer full.
          "x-accel-buffering": "no",
          // The connection has no time-out any more, so it must not serve another request.
          connection: "close",
          "trace-id": traceId,
        },
      });
    },
    // It lasts for as long as its reader likes.
    route(
      { guard: (call) => access.checkKnown(call), seconds: 0 },
      {
        detail: {
          summary: "What changes, as it changes (server-sent events) · 状态变更事件流（SSE）",
          description:
            "`credential` with app, kind, generation, state, expires_at and cause; `app`, `client`, `environment`, `callback`, `backoffs`: something of that kind has changed, ask again; `reset`: ask for everything again. Only what the caller may see at that moment, and never a value. Resumes after Last-Event-ID. 20 streams for each key. 事件 `credential` 含app、kind、generation、state、expires_at和cause；`app`、`client`、`environment`、`callback`、`backoffs` 表示该类有变更，请重新查询；`reset` 表示请全部重新查询。只推送调用方当时有权查看的内容，不含凭证的值；可用Last-Event-ID续传；每个密钥最多20个流。",
          tags: ["v1"],
          responses: streamAnswer(),
        },
      },
    ),
  );
}

const EXAMPLE = `id: 41.3.7.2.1.9
event: credential
data: {"app":"wx0000000000000001","kind":"access_token","generation":1795320000000,"state":"fresh","expires_at":1795327200000}

`;

function streamAnswer() {
  const answer: unknown = {
    200: {
      description: "The events, until either side ends it. 事件流。",
      content: { "text/event-stream": { schema: { type: "string" }, example: EXAMPLE } },
    },
  };
  return answer as NonNullable<DocumentDecoration["responses"]>;
}
