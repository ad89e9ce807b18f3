import { ServiceError } from "../errors.ts";

/**
 * The value of UTF-8 JSON in which no object has a name twice.
 *
 * @throws {ServiceError} `invalid_parameter`; the message quotes nothing that was sent.
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    // The parser's message quotes the body, which may hold a secret.
    throw new ServiceError("invalid_parameter", "请求体不是有效的JSON (the body is not JSON)");
  }
  rejectDuplicateNames(text);
  return value;
}

/** A string, a name with its colon, or an end of an object; nothing else in valid JSON has quotes or braces. */
const JSON_TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}]/g;

/**
 * Rejects an object, at any depth of valid JSON, that has a name twice: programs disagree on which one wins, and
 * `JSON.parse` takes the last without a word.
 *
 * @throws {ServiceError} `invalid_parameter`.
 */
export function rejectDuplicateNames(json: string): void {
  const open: Set<unknown>[] = [];
  for (const [token, text = "", colon] of json.matchAll(JSON_TOKEN)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    if (colon === undefined) continue;
    const name: unknown = JSON.parse(text);
    const names = open.at(-1);
    if (names?.has(name))
      throw new ServiceError(
        "invalid_parameter",
        "请求体中有重复的字段名 (a name is given twice in an object of the body)",
      );
    names?.add(name);
  }
}
