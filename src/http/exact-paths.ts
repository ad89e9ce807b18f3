import type { AnyElysia } from "elysia";
import { splitUrl, withoutLastSlash } from "../dropin/wechat-request.ts";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { envelopeResponse, newTraceId } from "./envelope-response.ts";

type Answer = Response | Promise<Response>;
type Handle = (request: Request) => Answer;

/** Who answers what is no route of the app. */
export interface RootHandlers {
  /** Paths that are answered here for sure, so that they need no look. */
  readonly paths: readonly string[];
  /** Whether a request of that URL is answered here. */
  readonly claims: (url: string) => boolean;
  readonly answer: Handle;
  /** Answers what is claimed here but was resolved on its way. */
  readonly refuse: Handle;
}

/** How many segments a path of WeChat's has at most, with room to spare. */
const SEGMENTS_MOST = 10;

/**
 * Gives a request to `serve` only when its path means a route of `app` as it was sent, to `root` when it claims the
 * request, and to `serve` again when nobody knows the path.
 *
 * Bun resolves `/x/../y`, `/x/%2e%2e/y` and `/x\..\y` to `/y` before anybody sees the URL, while a proxy that filters
 * paths has seen what was sent. Bun's own routes match what was sent, so the two readings can be compared: where they
 * differ and the resolved one means something here, the request is refused, with HTTP 400 or in WeChat's own way.
 */
export function exactPaths(app: AnyElysia, serve: Handle, root: RootHandlers) {
  const known = [...new Set(app.routes.map(({ path }) => withoutLastSlash(path)))].map((path) => ({
    path,
    hasParameters: path.includes(":"),
    pattern: new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}/?$`),
  }));
  const isKnown = (path: string) => known.some(({ pattern }) => pattern.test(path));
  const routes: Record<string, Handle> = {};
  for (const { path, hasParameters, pattern } of known) {
    const handle = hasParameters
      ? (request: Request) => (pattern.test(resolvedPath(request)) ? serve(request) : refusal())
      : serve;
    routes[path] = handle;
    // The app's router takes no notice of a last slash.
    if (path !== "/") routes[`${path}/`] = handle;
  }
  const others = (request: Request, isAsSent: boolean): Answer => {
    // What is known and was sent so has a route of its own.
    if (!isAsSent && isKnown(resolvedPath(request))) return refusal();
    if (!root.claims(request.url)) return serve(request);
    return isAsSent ? root.answer(request) : root.refuse(request);
  };
  // Bun prefers what is written out, and matches it as it was sent.
  for (const path of root.paths) routes[path] ??= (request) => root.answer(request);
  for (const path of anyPaths()) {
    const slashes = path.split(SEGMENT);
    routes[path] ??= (request) => others(request, sentPath(request, slashes) === resolvedPath(request));
  }
  // What no route has matched is too long or has more empty segments; it can't be told whether something was resolved.
  const fetch = (request: Request) => others(request, false);
  return { routes, fetch };
}

/**
 * Routes for any path that WeChat may have, as callers write it: also with a slash at the end, and with an empty segment
 * at the beginning or further inside, where a base URL that ends in a slash is joined to a path.
 */
function anyPaths(): string[] {
  const counts = Array.from({ length: SEGMENTS_MOST }, (_, index) => index + 1);
  return counts.flatMap((count) => {
    const segments = counts.slice(0, count).map((number) => `/:s${number}`);
    const inside = segments.slice(1).map((_, at) => segments.with(at + 1, `/${segments[at + 1]}`).join(""));
    const path = segments.join("");
    return [path, ...inside].flatMap((each) => [each, `/${each}`]).flatMap((each) => [each, `${each}/`]);
  });
}

const SEGMENT = /:s\d+/;

/** The path that was sent, decoded, when Bun has matched it to the route with these slashes around its segments. */
function sentPath(request: Request, [first = "", ...slashes]: readonly string[]): string {
  const { params = {} } = request as Request & { readonly params?: Readonly<Record<string, string>> };
  const segments = Object.values(params);
  return slashes.reduce((path, slash, index) => path + segments[index] + slash, first);
}

/** The path that the app's router would read. */
function resolvedPath({ url }: Request): string {
  return splitUrl(url).path;
}

function refusal(): Response {
  const failure = new ServiceError(
    "invalid_parameter",
    "请求路径含有需要归并的片段，如`..`或反斜杠 (the path has segments to be resolved, such as `..`, or a backslash)",
  );
  return envelopeResponse(failureEnvelope(failure, newTraceId()), 400);
}
