import { ServiceError } from "../errors.ts";
import type { ReadKey, RefusalKey } from "./audit-store.ts";

type Part = string | number;

/** Where a page of reads ended, as text that a caller sends back. */
export function readCursor({ minute, client, environment, action, app }: ReadKey): string {
  return cursorOf([minute, client, environment, action, app]);
}

/** Where a page of refusals ended, as text that a caller sends back. */
export function refusalCursor({ minute, address, client, route, code }: RefusalKey): string {
  return cursorOf([minute, address, client, route, code]);
}

/** What `readCursor` was made of. Throws `invalid_parameter` for a text that it did not make. */
export function parseReadCursor(text: string | undefined): ReadKey | undefined {
  if (text === undefined) return undefined;
  const [minute, client, environment, action, app, ...rest] = partsOf(text);
  if (!isInteger(minute) || !isText(client) || !isText(environment)) throw badCursor();
  if (!isText(action) || !isText(app) || rest.length > 0) throw badCursor();
  return { minute, client, environment, action, app };
}

/** What `refusalCursor` was made of. Throws `invalid_parameter` for a text that it did not make. */
export function parseRefusalCursor(text: string | undefined): RefusalKey | undefined {
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
