import { ServiceError } from "../errors.ts";

/** The ETag of a version of something that administrators change. */
export function etagOf(version: number): string {
  return `"${version}"`;
}

/**
 * The one version that a change is meant for, by `If-Match`; undefined when any will do.
 *
 * @throws {ServiceError} `precondition_failed` for what is none of our ETags: nothing of ours matches it.
 */
export function versionIn(headers: Headers): number | undefined {
  const given = headers.get("if-match")?.trim();
  if (given === undefined || given === "*") return undefined;
  const version = /^"(\d{1,15})"$/.exec(given)?.[1];
  if (version !== undefined) return Number(version);
  throw new ServiceError(
    "precondition_failed",
    "If-Match不是本服务给出的ETag (If-Match is no ETag of this service)",
  );
}
