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
  const isEncoded = url.includes("%", start);
  // One plain parameter, as most requests have, can be neither broken nor there twice.
  if (!isEncoded && !url.includes("&", start)) return;
  const seen: string[] = [];
  for (const pair of url.slice(start + 1).split("&")) {
    if (pair === "") continue;
    const end = pair.indexOf("=");
    const name = end === -1 ? pair : pair.slice(0, end);
    const decoded = isEncoded ? decodeOrNone(name) : name;
    if (decoded === undefined || (isEncoded && decodeOrNone(pair) === undefined)) {
      throw new ServiceError(
        "invalid_parameter",
        "查询参数的百分号编码不正确 (bad percent-encoding in the query)",
      );
    }
    if (seen.includes(decoded)) {
      throw new ServiceError("invalid_parameter", "查询参数重复 (a query parameter is given twice)");
    }
    seen.push(decoded);
    if (seen.length > PARAMETERS_MOST) {
      throw new ServiceError("invalid_parameter", "查询参数过多 (too many query parameters)");
    }
  }
}

/** No route has as many. */
const PARAMETERS_MOST = 32;

function decodeOrNone(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
