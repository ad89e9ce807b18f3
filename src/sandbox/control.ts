import { type Answer, jsonAnswer, jsonBody, type SandboxRequest, text } from "./sandbox-request.ts";
import { type Fault, parseFault } from "./fault.ts";

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

/** What people and tests may set differently from the platforms' own numbers. */
export interface SandboxSwitches {
  /** Successful calls of `/cgi-bin/token` per app and Beijing day. */
  classicPerDay: number;
  /** Calls of `/cgi-bin/stable_token` per app and minute. */
  stablePerMinute: number;
  /** Successful calls of `/cgi-bin/stable_token` per app and Beijing day. */
  stablePerDay: number;
  /** Forced refreshes per app and Beijing day. */
  forcedPerDay: number;
  /** A forced refresh sooner than this after the last one does not refresh. */
  forcedSpacingSeconds: number;
  /** Calls of any other endpoint per app and Beijing day. The platform's figures differ per endpoint. */
  apiPerDay: number;
  /** Calls of `clear_quota` and its v2 together, per app and month. */
  clearQuotaPerMonth: number;
  /** A third classic token within the overlap revokes the first at once. */
  thirdFetchKillsOldest: boolean;
  /** A forced refresh revokes the last token at once instead of after the overlap. */
  forcedKillsAtOnce: boolean;
  /** Wrong secrets from one address within an hour until WeCom refuses that address for an hour. */
  wecomWrongSecrets: number;
  /** Calls per hour of each WeCom ticket endpoint per app. */
  wecomTicketsPerAppHour: number;
  /** Calls per hour of `/cgi-bin/get_jsapi_ticket` per corp. */
  wecomTicketsPerCorpHour: number;
  /** The address that the platforms think every caller has; `undefined` is the connection's own. */
  peerIp: string | undefined;
}

/** The platforms' own numbers, as far as they are known. */
export const defaultSwitches: SandboxSwitches = {
  classicPerDay: 2000,
  stablePerMinute: 10_000,
  stablePerDay: 500_000,
  forcedPerDay: 20,
  forcedSpacingSeconds: 30,
  apiPerDay: 5_000_000,
  clearQuotaPerMonth: 10,
  thirdFetchKillsOldest: true,
  forcedKillsAtOnce: false,
  wecomWrongSecrets: 2000,
  wecomTicketsPerAppHour: 100,
  wecomTicketsPerCorpHour: 400,
  peerIp: undefined,
};
