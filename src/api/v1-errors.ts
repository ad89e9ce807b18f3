import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import type { Permit } from "../access/permits.ts";
import { ServiceError } from "../errors.ts";
import { meaningsOf } from "./errcodes.ts";
import { type Call, callOf, Reply, route } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { callAs } from "./v1-call.ts";
import { EXPLAIN_EXAMPLE, explainBody, explainData, type Explanation } from "./v1-errors-schema.ts";
import type { WechatFace } from "./wechat.ts";

/** As long as a call through the gateway may take. */
const CALL_SECONDS = 255;
/** So many errcodes of one text are explained. */
const MAX_ERRCODES = 10;
/** Its repeats are bounded: a long run of blanks would be tried from each of its places. */
const ERRCODE =
  /(?:err(?:or)?_?code|code|错误码|error)["'\s]{0,8}[:=：,\s]\s{0,8}["']?(-?\d{1,7})(?![\w-])/gi;
const RID = /\b[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}(?![\w-])/i;

/** What the routes of errors work with. */
export interface ErrorRouteParts {
  readonly access: Access;
  /** WeChat's own paths, with the gateway behind them. */
  readonly wechat: Pick<WechatFace, "handle">;
}

/** `/v1/errors/explain`: what an error of WeChat's means, and what WeChat keeps of the request that met it. */
export function errorRoutes({ access, wechat }: ErrorRouteParts) {
  return new Elysia({ prefix: "/v1/errors" }).post(
    "/explain",
    async ({ body, request }) => {
      const call = callOf(request);
      const { text, app } = body;
      // Counts the request of a caller without a key.
      access.visibleApps(call);
      const errcodes = errcodesIn(text);
      const rid = RID.exec(text)?.[0];
      if (errcodes.length === 0 && rid === undefined) throw nothingFound();
      const explained: Explanation = {
        errors: errcodes.flatMap(meaningsOf),
        unknown: errcodes.filter((errcode) => meaningsOf(errcode).length === 0),
        ...(rid && { rid }),
      };
      if (app === undefined || rid === undefined) return new Reply(explained, {});
      const permit = access.slotOfApp(call, "api:call", app);
      return new Reply(
        { ...explained, request: await requestOf(call, permit, app, rid, wechat) },
        { permit },
      );
    },
    route(
      { guard: (call) => access.checkKnown(call), seconds: CALL_SECONDS },
      {
        body: explainBody,
        detail: {
          summary: "What an error of WeChat's means · 解释微信的错误",
          description:
            "Finds errcodes and a rid in anything pasted. Errcodes are looked up here, without WeChat. With `app`, WeChat is asked for the request with that rid (`/cgi-bin/openapi/rid/get`, through the gateway); tokens and secrets in it are masked. 从粘贴的任何内容中找出errcode和rid。errcode在本地查询，不询问微信；给出 `app` 时经由网关调用 `/cgi-bin/openapi/rid/get` 查询该rid对应的请求，其中的token和secret会隐去。",
          tags: ["v1"],
          responses: answersOf("The explanation. 解释。", explainData, EXPLAIN_EXAMPLE),
        },
      },
    ),
  );
}

/** The errcodes of a text, each once; a text that is a number alone is one. */
function errcodesIn(text: string): readonly number[] {
  const alone = /^\s*(-?\d{1,7})\s*$/.exec(text)?.[1];
  const found = alone === undefined ? [...text.matchAll(ERRCODE)].map(([, code]) => code) : [alone];
  return [...new Set(found.map(Number))].slice(0, MAX_ERRCODES);
}

/** What WeChat keeps of a request. */
interface KeptRequest {
  readonly invoke_time: number;
  readonly cost_in_ms: number;
  readonly request_url: string;
  readonly request_body: string;
  readonly response_body: string;
  readonly client_ip: string;
}

/**
 * What WeChat keeps of the request with that id.
 *
 * https://developers.weixin.qq.com/doc/subscription/api/apimanage/api_getridinfo.html
 */
async function requestOf(
  call: Call,
  { principal, slot }: Permit,
  app: string,
  rid: string,
  wechat: ErrorRouteParts["wechat"],
): Promise<NonNullable<Explanation["request"]>> {
  if (slot.platform !== "weixin" || (principal.kind !== "client" && principal.kind !== "local"))
    throw slot.platform === "weixin" ? noClient() : onlyWeixin();
  const made = callAs(principal, call, app, {
    method: "POST",
    path: "/cgi-bin/openapi/rid/get",
    body: JSON.stringify({ rid }),
  });
  const response = await wechat.handle(made);
  if (made.outcome.error !== undefined) throw made.outcome.error as Error;
  const answer = (await response.json()) as {
    readonly errcode?: number;
    readonly errmsg?: string;
    readonly request?: Partial<KeptRequest>;
  };
  const { errcode = 0, errmsg = "", request } = answer;
  if (errcode !== 0 || !request) {
    const upstream = { platform: slot.platform, errcode, errmsg, class: "input" as const };
    const fix = meaningsOf(errcode).find(({ platform }) => platform === slot.platform)?.message;
    throw new ServiceError("upstream_rejected", errmsg, { upstream, ...(fix && { hint: fix }) });
  }
  return {
    invoked_at: (request.invoke_time ?? 0) * 1000,
    duration_ms: request.cost_in_ms ?? 0,
    url: masked(request.request_url),
    request_body: masked(request.request_body),
    response_body: masked(request.response_body),
    client_ip: request.client_ip ?? "",
  };
}

/** What no answer of ours may have, by its name in a query or in JSON. */
const SECRET =
  /(?<!(?<!%(?:25)?[\da-f])[a-z])((?:access|refresh)_?token|(?:app|corp)?secret|(?:js_?api_?)?ticket|js_?code|(?:auth_?)?code|session_?key)((?:\\*["'])?\s{0,8}(?:[=:]|%(?:25)?3d)\s{0,8}\[?(?:\\*["'])?)(?:\\+[^"'\\]|(?!%(?:25)?26)[^&"'\\\s,}\]])+/gi;

/** What WeChat keeps of a request, as it may be shown: without the values of tokens, secrets, tickets and codes. */
export function masked(text: unknown): string {
  return typeof text === "string" ? text.replaceAll(SECRET, "$1$2***") : "";
}

function nothingFound(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "没有找到errcode或rid (there is no errcode and no rid in it)",
    {
      hint: "请粘贴微信的应答、日志中的errmsg，或错误码本身 (paste WeChat's answer, the errmsg of a log, or the errcode alone)",
    },
  );
}

function onlyWeixin(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "企业微信不能查询rid，请用其应答中的hint到企业微信的错误码查询工具查询 (WeCom has no look-up of a rid: take the hint in its answer to WeCom's own tool)",
  );
}

function noClient(): ServiceError {
  return new ServiceError("forbidden", "禁止访问：此操作需要API密钥 (this needs an API key)");
}
