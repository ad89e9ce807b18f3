import type { Static } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import { effectOf, familyPattern, knownPaths, pathFamily } from "../access/api-policy.ts";
import type { Principal } from "../access/principal.ts";
import type { AuditTrail } from "../audit/audit-trail.ts";
import type { Clock } from "../clock.ts";
import { appName, type Slot } from "../apps/app.ts";
import { ServiceError } from "../errors.ts";
import { Call, callOf, Reply, route, type RouteRules } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import {
  ANSWER_EXAMPLE,
  answerData,
  type CallAnswer,
  callBody,
  callParams,
  type CallPreview,
  PREVIEW_EXAMPLE,
  previewData,
  previewQuery,
} from "./v1-call-schema.ts";
import type { WechatFace } from "./wechat.ts";

/** As long as a call through the gateway may take. */
const CALL_SECONDS = 255;
/** A body of 128 KiB, each character of which may be written as six. */
const MAX_BYTES = 1 << 20;
/** So much of an answer is shown. */
const MAX_SHOWN_BYTES = 256 * 1024;
/** So many paths are suggested. */
const MAX_KNOWN = 50;

/** What the routes of calls work with. */
export interface CallRouteParts {
  readonly access: Access;
  readonly audit: Pick<AuditTrail, "record">;
  readonly clock: Clock;
  /** WeChat's own paths, with the gateway behind them. */
  readonly wechat: Pick<WechatFace, "handle" | "check">;
}

/** Who calls what app, in the end. */
interface Tried {
  readonly principal: Principal;
  readonly slot: Slot;
  /** The preset of its policy. */
  readonly policy: string;
}

/**
 * `/v1/apps/:app/call`: a call of WeChat or WeCom as `/gateway/:app` makes it, for a person who looks at its answer; for an
 * administrator also as another client.
 */
export function callRoutes({ access, audit, clock, wechat }: CallRouteParts) {
  const rules: RouteRules = {
    guard: (call, { app: name = "" }) => {
      access.checkGrant(call, "api:call", name);
      // As for /gateway: a foreign page could make a call without one.
      const { kind } = call.principal;
      if (kind !== "client" && kind !== "local") throw access.notGranted(call.principal, "api:call");
    },
    maxBytes: MAX_BYTES,
    seconds: CALL_SECONDS,
    isClosed: true,
  };
  const triedBy = (call: Call, name: string, as: string | undefined): Tried => {
    const principal = as === undefined ? call.principal : access.client(call, as);
    const { slot } = access.slotOfApp(call, "api:call", access.nameFor(principal, "api:call", name));
    const policy = principal.kind === "client" ? principal.owner.client.policy.preset : "all";
    return { principal, slot, policy };
  };
  const preview = (call: Call, { principal, slot }: Tried, asked: { method: string; path: string }) => {
    const shown = { path: asked.path, effect: effectOf(slot.platform, asked.path) };
    try {
      wechat.check({ principal, origin: call.origin, traceId: call.traceId }, slot, asked);
      return { ...shown, allowed: true };
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code === "internal") throw error;
      return { ...shown, allowed: false, reason: error.message };
    }
  };

  return new Elysia({ prefix: "/v1/apps/:app/call" })
    .get(
      "",
      ({ params, query, request }): CallPreview => {
        const call = callOf(request);
        const { path, method = "GET", as } = query;
        const tried = triedBy(call, params.app, as);
        const typed = path.toLowerCase();
        const known = knownPaths(tried.slot.platform).filter((each) => each.includes(typed));
        const shown = known.slice(0, MAX_KNOWN).map((each) => {
          const { effect, allowed } = preview(call, tried, { method, path: each });
          return { path: each, effect, allowed };
        });
        const { policy } = tried;
        return { ...preview(call, tried, { method, path }), family: pathFamily(path), policy, known: shown };
      },
      route(rules, {
        params: callParams,
        query: previewQuery,
        detail: {
          summary: "What a call would do · 查看一次调用的影响",
          description:
            "Whether the policy allows a path, what a call of it may do, and the known paths that contain what was typed. 策略是否允许该路径、调用可能产生的影响，以及包含所输入内容的已知路径。",
          tags: ["v1"],
          responses: answersOf("The path. 路径。", previewData, PREVIEW_EXAMPLE),
        },
      }),
    )
    .post(
      "",
      async ({ params, body, request }) => {
        const call = callOf(request);
        const { app: name } = params;
        const { method, path, as } = body;
        const { principal, slot, policy } = triedBy(call, name, as);
        const app = appName(slot);
        const effect = effectOf(slot.platform, path);
        if (effect !== "reads" && body.confirm !== name) throw notConfirmed(effect);
        if (as !== undefined)
          await audit.record({
            ...access.admin(call),
            ...{ action: "gateway.called_as", app, outcome: "ok", tokenDigest: "" },
            detail: { client: as, method, path: familyPattern(path) },
          });
        const made = callAs(principal, call, app, body);
        const startedAt = clock.monotonic();
        const response = await wechat.handle(made);
        const { error, usage, healing = "none" } = made.outcome;
        // Of another client it is what there is to see; and a fault is one whoever calls.
        const isShown = as !== undefined && error instanceof ServiceError && error.code !== "internal";
        if (error !== undefined && !isShown) throw error as Error;
        const data: CallAnswer = {
          status: response.status,
          headers: Object.fromEntries(response.headers),
          ...(await shownBody(response)),
          duration_ms: Math.round(clock.monotonic() - startedAt),
          ...{ healing, family: pathFamily(path), effect, policy },
        };
        const counted = usage && { usage: { ...usage, identity: call.principal.identity } };
        return new Reply(data, { permit: counted, result: made.outcome.result });
      },
      route(rules, {
        params: callParams,
        body: callBody,
        detail: {
          summary: "Call WeChat and see the whole answer · 调用微信接口并查看完整应答",
          description:
            "As `/gateway/:app`, with the answer as data: for consoles. A path that does not only read needs `confirm`. `as`, for administrators: as a client with a valid key of its own, by its grants, policy and delivery, from any address; it is audited, and what refuses that client is the answer. 与 `/gateway/:app` 相同，但应答作为数据返回，供控制台使用。非只读的路径须带 `confirm`。`as`（仅限管理员）：以另一客户端的身份调用，该客户端须有有效密钥，按其授权、策略和token类型，不限来源地址；会记入审计，拒绝该客户端的内容即为应答。",
          tags: ["v1"],
          responses: answersOf("The answer. 应答。", answerData, ANSWER_EXAMPLE),
        },
      }),
    );
}

/** The call as that principal makes it of the gateway, with the address and the trace id of `call`. */
export function callAs(
  principal: Principal,
  call: Call,
  name: string,
  sent: Omit<Static<typeof callBody>, "as" | "confirm">,
): Call {
  const { method, path, query, body } = sent;
  if (method === "GET" && body !== undefined) throw bodyOfGet();
  const request = new Request(`http://localhost/gateway/${name}${path}${query ? `?${query}` : ""}`, {
    method,
    signal: call.request.signal,
    ...(method === "POST" ? postOf(body ?? "") : {}),
  });
  const { traceId, startedAt } = call;
  const made = new Call(request, call.socket, call.origin, { traceId, startedAt });
  made.identify(principal);
  return made;
}

function postOf(body: string): RequestInit {
  const length = String(Buffer.byteLength(body));
  return { body, headers: { "content-type": "application/json", "content-length": length } };
}

/** What is shown of a body: text, and of no more than a part of it. */
async function shownBody(response: Response): Promise<Pick<CallAnswer, "body" | "bytes" | "truncated">> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let isTruncated = false;
  for await (const chunk of response.body ?? []) {
    isTruncated = bytes + chunk.byteLength > MAX_SHOWN_BYTES;
    chunks.push(isTruncated ? chunk.subarray(0, MAX_SHOWN_BYTES - bytes) : chunk);
    bytes = Math.min(bytes + chunk.byteLength, MAX_SHOWN_BYTES);
    if (isTruncated) break;
  }
  try {
    // The last character may be cut off.
    const body = decoder.decode(Buffer.concat(chunks), { stream: isTruncated });
    return { body, bytes, truncated: isTruncated };
  } catch {
    return { body: null, bytes, truncated: isTruncated };
  }
}

function notConfirmed(effect: string): ServiceError {
  const [chinese, english] =
    effect === "messages" ? ["会触达用户", "reaches users"] : ["可能作出更改", "may change something"];
  return new ServiceError(
    "invalid_parameter",
    `调用该路径${chinese}：请在confirm中填写应用的名称 (a call of this path ${english}: send the app's name as confirm)`,
  );
}

function bodyOfGet(): ServiceError {
  return new ServiceError("invalid_parameter", "GET请求没有请求体 (a GET has no body)");
}
