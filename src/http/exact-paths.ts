import type { AnyElysia } from "elysia";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { envelopeResponse, newTraceId } from "./envelope-response.ts";

type Answer = Response | Promise<Response>;

/**
 * Gives a request to `serve` only when its path means a route of `app` as it was sent, or none at all.
 *
 * Bun resolves `/x/../y`, `/x/%2e%2e/y` and `/x\..\y` to `/y` before anybody sees the URL, while a proxy that filters
 * paths has seen what was sent. Bun's own routes match what was sent, so the two readings can be compared: where they
 * differ and the resolved one is a route, the answer is HTTP 400.
 */
export function exactPaths(app: AnyElysia, serve: (request: Request) => Answer) {
  const known = [...new Set(app.routes.map(({ path }) => path.replace(/(.)\/$/, "$1")))].map((path) => ({
    path,
    hasParameters: path.includes(":"),
    pattern: new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}/?$`),
  }));
  const routes: Record<string, (request: Request) => Answer> = {};
  for (const { path, hasParameters, pattern } of known) {
    const handle = hasParameters
      ? (request: Request) => (pattern.test(resolvedPath(request)) ? serve(request) : refusal())
      : serve;
    routes[path] = handle;
    // The app's router takes no notice of a last slash.
    if (path !== "/") routes[`${path}/`] = handle;
  }
  const fetch = (request: Request) => {
    const path = resolvedPath(request);
    return known.some(({ pattern }) => pattern.test(path)) ? refusal() : serve(request);
  };
  return { routes, fetch };
}

/** The path that the app's router would read. */
function resolvedPath({ url }: Request): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const end = url.indexOf("?", start);
  return end === -1 ? url.slice(start) : url.slice(start, end);
}

function refusal(): Response {
  const failure = new ServiceError(
    "invalid_parameter",
    "请求路径含有需要归并的片段，如`..`或反斜杠 (the path has segments to be resolved, such as `..`, or a backslash)",
  );
  return envelopeResponse(failureEnvelope(failure, newTraceId()), 400);
}
