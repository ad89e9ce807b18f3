import { masked, secondsLeft, type IssuedTokens } from "./issued-tokens.ts";
import type { Fault, FaultEffect } from "./fault.ts";
import { type Answer, jsonAnswer, jsonBody, type SandboxRequest, text } from "./sandbox-request.ts";
import type { SandboxSwitches } from "./sandbox-settings.ts";
import type { SandboxTime } from "./sandbox-time.ts";
import type { WecomPlatform } from "./wecom-platform.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

/** What people may do to a running sandbox from the command line. */
export interface Controllable {
  state(): object;
  inject(fault: Fault): void;
  clearFaults(): void;
  killTokens(appOrCorpId: string): void;
  rogueFetch(appId: string): string;
}

type Action = (sandbox: Controllable, request: SandboxRequest) => object;

const ACTIONS = new Map<string, Action>([
  ["GET /sandbox/state", (sandbox) => sandbox.state()],
  ["POST /sandbox/faults", (sandbox, request) => done(sandbox.inject(parseFault(jsonBody(request))))],
  ["DELETE /sandbox/faults", (sandbox) => done(sandbox.clearFaults())],
  [
    "POST /sandbox/kill-tokens",
    (sandbox, request) => done(sandbox.killTokens(text(jsonBody(request)["app"]))),
  ],
  [
    "POST /sandbox/rogue-fetch",
    (sandbox, request) => ({ access_token: sandbox.rogueFetch(text(jsonBody(request)["appid"])) }),
  ],
]);

/**
 * The control interface below `/sandbox/` of the WeChat server, for people; no platform has it, and it is not
 * counted as a call.
 *
 * POST takes JSON and nothing else, so that no foreign web page can send it.
 */
export function answerControl(sandbox: Controllable, request: SandboxRequest): Answer {
  const action = ACTIONS.get(`${request.method} ${request.path}`);
  if (action === undefined) return failure(404, "there is no such control");
  if (request.method === "POST" && !isJson(request.headers["content-type"])) {
    return failure(415, "send the content type application/json");
  }
  try {
    return controlAnswer(200, action(sandbox, request));
  } catch (error) {
    return failure(400, error instanceof Error ? error.message : "that can't be done");
  }
}

function isJson(contentType: string | string[] | undefined): boolean {
  if (typeof contentType !== "string") return false;
  return contentType.split(";")[0]?.trim().toLowerCase() === "application/json";
}

function done(_nothing: void): object {
  return { ok: true };
}

function failure(status: number, error: string): Answer {
  return controlAnswer(status, { error });
}

function controlAnswer(status: number, body: object): Answer {
  return { ...jsonAnswer("application/json; charset=utf-8", body), status };
}

/**
 * A fault parsed from JSON sent to the control interface; `times` is 1 when it is not given.
 *
 * A gate can't be sent, because it could not be opened. Use `delay`.
 *
 * @throws {Error} with a sentence for the sender when it is no fault.
 */
function parseFault(json: Record<string, unknown>): Fault {
  const { endpoint, host, times = 1 } = json;
  if (endpoint !== undefined && typeof endpoint !== "string") throw wrong("endpoint", "a path");
  if (host !== undefined && host !== "weixin" && host !== "wecom") throw wrong("host", "weixin or wecom");
  if (typeof times !== "number" || times < 1) throw wrong("times", "a number from 1");
  return { ...parseEffect(json), endpoint, host, times };
}

function parseEffect(json: Record<string, unknown>): FaultEffect {
  const { kind } = json;
  switch (kind) {
    case "reset_before":
    case "reset_after":
    case "truncated_json":
    case "truncated_body":
    case "empty_body":
    case "text_plain":
      return { kind };
    case "error": {
      const { errcode = -1 } = json;
      if (typeof errcode !== "number" && typeof errcode !== "string")
        throw wrong("errcode", "a number or text");
      return { kind, errcode, errmsg: optionalText(json, "errmsg") };
    }
    case "http":
      return { kind, status: optionalNumber(json, "status"), body: optionalText(json, "body") };
    case "delay":
      return { kind, ms: requiredNumber(json, "ms") };
    case "raw":
      return {
        kind,
        body: requiredText(json, "body"),
        contentType: requiredText(json, "contentType"),
        status: optionalNumber(json, "status"),
      };
    case "gzip_bomb":
    case "oversized":
      return { kind, bytes: optionalNumber(json, "bytes") };
    case "redirect":
      return { kind, location: requiredText(json, "location"), status: optionalNumber(json, "status") };
    case "field":
      return { kind, field: requiredText(json, "field"), value: json["value"] };
    default:
      throw wrong("kind", "one of the faults in src/sandbox/fault.ts, except a gate");
  }
}

function requiredText(json: Record<string, unknown>, name: string): string {
  const value = json[name];
  if (typeof value !== "string") throw wrong(name, "text");
  return value;
}

function requiredNumber(json: Record<string, unknown>, name: string): number {
  const value = json[name];
  if (typeof value !== "number" || value < 0) throw wrong(name, "a number from 0");
  return value;
}

function optionalText(json: Record<string, unknown>, name: string): string | undefined {
  return json[name] === undefined ? undefined : requiredText(json, name);
}

function optionalNumber(json: Record<string, unknown>, name: string): number | undefined {
  return json[name] === undefined ? undefined : requiredNumber(json, name);
}

function wrong(name: string, expected: string): Error {
  return new Error(`${name} must be ${expected}`);
}

/** What the state shows besides the platforms. */
export interface StateSurroundings {
  time: SandboxTime;
  switches: SandboxSwitches;
  calls: Record<string, Record<string, number>>;
  debugCalls: number;
  faults: object[];
}

/** The whole sandbox as JSON for people. Secrets are left out; of a token, its beginning and its length are shown. */
export function sandboxState(
  weixin: WeixinPlatform,
  wecom: WecomPlatform,
  around: StateSurroundings,
): object {
  return {
    now: new Date(around.time.now()).toISOString(),
    beijing_day: around.time.day(),
    weixin: [...weixin.apps.values()].map((app) => ({
      app_id: app.settings.appId,
      live_tokens: validTokens(weixin.tokens, app, around.time),
      used_today: app.usedToday(),
    })),
    wecom: wecom.apps.map((app) => ({
      corp_id: app.settings.corpId,
      agent: app.settings.agent,
      live_tokens: validTokens(wecom.tokens, app, around.time),
    })),
    calls_per_day: around.calls,
    wecom_debug_calls: around.debugCalls,
    faults: around.faults,
    switches: around.switches,
  };
}

function validTokens<Owner>(tokens: IssuedTokens<Owner>, owner: Owner, time: SandboxTime): object[] {
  return tokens.valid(owner).map((token) => ({
    token: masked(token.value),
    expires_in: secondsLeft(token, time.now()),
    superseded: Number.isFinite(token.revokedAt),
  }));
}
