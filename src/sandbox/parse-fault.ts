import type { Fault, FaultEffect } from "./fault.ts";

/**
 * A fault out of the JSON that somebody sent to the control interface; `times` is 1 when it is not given.
 *
 * A gate can't be sent: nobody could open it. Use `delay`.
 *
 * @throws {Error} with a sentence for the sender when it is no fault.
 */
export function parseFault(json: Record<string, unknown>): Fault {
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
