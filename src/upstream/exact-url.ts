import { ServiceError } from "../errors.ts";

/**
 * The URL for `path` and `query` on `origin`, made by putting them one behind the other and resolving nothing.
 *
 * Whatever `fetch` would send otherwise than it is written has no such URL: dot segments, backslashes, characters that
 * must be encoded, two slashes at the beginning.
 *
 * @throws {ServiceError} `internal`; who lets such a path come so far has matched another one than would be sent.
 */
export function exactUrl(origin: string, path: string, query: string): string {
  const search = query === "" ? "" : `?${query}`;
  const text = `${origin}${path}${search}`;
  const url = URL.parse(text);
  const isExact = path.startsWith("/") && !path.startsWith("//") && url?.href === text && url.hash === "";
  if (!isExact || url.pathname !== path || url.origin !== origin || text.endsWith("#")) {
    throw new ServiceError("internal", "a path or query that would not be sent as it is");
  }
  return text;
}
