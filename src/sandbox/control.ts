import { jsonAnswer, type Answer } from "./answer.ts";
import type { Fault } from "./fault.ts";
import { parseFault } from "./parse-fault.ts";
import { jsonBody, text, type SandboxRequest } from "./sandbox-request.ts";

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
