import { ServiceError } from "../errors.ts";

/**
 * Refuses a query that two readers could read differently: a name that comes twice, or a broken percent-encoding.
 *
 * A proxy in front of us and the router may each pick another of two values, and WeChat gets neither's meaning.
 *
 * @throws {ServiceError} `invalid_parameter`; the message names nothing that was sent.
 */
export function checkQuery(url: string): void {
  const start = url.indexOf("?");
  if (start === -1) return;
  const seen = new Set<string>();
  for (const pair of url.slice(start + 1).split("&")) {
    if (pair === "") continue;
    const [name = ""] = pair.split("=", 1);
    const decoded = decodeOrNone(name);
    if (decoded === undefined || decodeOrNone(pair) === undefined) {
      throw new ServiceError(
        "invalid_parameter",
        "查询参数的百分号编码不正确 (bad percent-encoding in the query)",
      );
    }
    if (seen.has(decoded)) {
      throw new ServiceError("invalid_parameter", "查询参数重复 (a query parameter is given twice)");
    }
    seen.add(decoded);
  }
}

function decodeOrNone(text: string): string | undefined {
  try {
    return text.includes("%") ? decodeURIComponent(text) : text;
  } catch {
    return undefined;
  }
}
