import type { Caller } from "../clients/caller.ts";
import { RawQuery } from "./raw-query.ts";

/** A request in WeChat's own form. Its body is not read yet. */
export interface WechatRequest {
  readonly request: Request;
  readonly caller: Caller;
  /** As it came, but for duplicate slashes: SDKs whose base URL ends in a slash send `//cgi-bin/token`. */
  readonly path: string;
  readonly query: RawQuery;
}

/** Reads the head of a request. Throws `invalid_parameter` for a query that can't be decoded. */
export function readWechatRequest(request: Request, caller: Caller): WechatRequest {
  const { path, search } = splitUrl(request.url);
  return { request, caller, path: collapseSlashes(path), query: RawQuery.parse(search) };
}

/** The path and the query of an absolute URL, as they stand in it. */
export function splitUrl(url: string): { readonly path: string; readonly search: string } {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const mark = url.indexOf("?", start);
  return mark === -1
    ? { path: url.slice(start), search: "" }
    : { path: url.slice(start, mark), search: url.slice(mark + 1) };
}

/** One slash where several follow each other. */
export function collapseSlashes(path: string): string {
  return path.includes("//") ? path.replaceAll(/\/{2,}/g, "/") : path;
}

/** A path that ends in a slash without it; the root is one. */
export function withoutLastSlash(path: string): string {
  return path.replace(/(.)\/$/, "$1");
}
