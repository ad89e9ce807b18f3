import type { AnyElysia } from "elysia";
import { memoize } from "../access/networks.ts";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { envelopeResponse, newTraceId } from "./answer.ts";
import { splitUrl, withoutLastSlash } from "../api/wechat-request.ts";

/**
 * A socket that says nothing for so long is closed; also how long a handler may work without an answer, and how long a
 * body may take, even one that comes byte by byte. For a head Bun has a limit of its own, some twelve seconds in all.
 */
const IDLE_TIMEOUT_SECONDS = 30;
const HOST = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)(:\d{1,5})?$/;

/** A listening HTTP server. */
export interface HttpServer {
  /** As a browser on this machine would write it. */
  readonly url: string;
  /** Stops listening and resolves when every answer under way is sent. */
  drain(): Promise<void>;
  /** Closes everything at once. */
  close(): Promise<void>;
}

/** The socket that a request came over. */
export interface RequestSocket {
  /** The other end's address. */
  readonly peer: () => string;
  /** Lets the request's body, and whoever works on it, take so many seconds; at most 255. */
  readonly giveTime: (seconds: number) => void;
}

/** Who answers at the host's root beside the app; see `WechatFace`. */
export interface RootFace {
  /** Paths that it answers whatever else the URL says. */
  readonly paths: readonly string[];
  claims(url: string): boolean;
  answer(request: Request, socket: RequestSocket): Promise<Response>;
  refuse(request: Request, socket: RequestSocket): Promise<Response>;
}

/** Where to listen. */
export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** Whether other processes of ours listen on the same port; the system then shares the connections out. */
  readonly isShared?: boolean;
  /** How long a socket may say nothing and a body may take, in seconds; default 30. */
  readonly idleSeconds?: number;
}

/**
 * Puts `app`, and `face` beside it, on a port; 0 lets the system choose one.
 *
 * @throws {ServiceError} `invalid_config` when the port is taken or the address is not ours.
 */
export function listen(app: AnyElysia, options: ListenOptions, face?: RootFace): HttpServer {
  const { host, port, isShared = false, idleSeconds = IDLE_TIMEOUT_SECONDS } = options;
  const refuse = (request: Request) => refuseTunnel(request) ?? refuseHost(request);
  const socketOf = (request: Request): RequestSocket => ({
    peer: () => app.server?.requestIP(request)?.address ?? "",
    giveTime: (seconds) => app.server?.timeout(request, seconds),
  });
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      reusePort: isShared,
      idleTimeout: idleSeconds,
      // Bodies are bounded where they are read; Bun's own refusal would come without an envelope.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      ...exactPaths(app, (request) => refuse(request) ?? app.fetch(request), {
        paths: face?.paths ?? [],
        claims: (url) => face?.claims(url) ?? false,
        answer: (request) =>
          refuse(request) ?? face?.answer(request, socketOf(request)) ?? app.fetch(request),
        refuse: (request) =>
          refuse(request) ?? face?.refuse(request, socketOf(request)) ?? app.fetch(request),
      }),
      error: (error) => envelopeResponse(failureEnvelope(error, newTraceId())),
    });
    app.server = server;
    return { url: server.url.origin, drain: () => server.stop(), close: () => server.stop(true) };
  } catch (error) {
    throw cannotListen(error, host, port);
  }
}

/**
 * The port that several processes can share, chosen by the system for 0.
 *
 * Processes that share a port are not told when a stranger has it, so it is tried alone first.
 *
 * @throws {ServiceError} `invalid_config` as `listen`.
 */
export async function reservePort({ host, port }: ListenOptions): Promise<number> {
  try {
    const server = Bun.serve({ hostname: host, port, fetch: () => new Response(null, { status: 503 }) });
    const chosen = server.port ?? port;
    await server.stop(true);
    return chosen;
  } catch (error) {
    throw cannotListen(error, host, port);
  }
}

function cannotListen(error: unknown, host: string, port: number): ServiceError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
  if (code === "EADDRINUSE") {
    return new ServiceError(
      "invalid_config",
      `PORT: 端口${port}已被占用，请停止占用它的程序，或用PORT换一个（demo、sandbox用--port） (port ${port} is in use; stop the other program, or choose another by PORT, or for demo and sandbox by --port)`,
    );
  }
  return new ServiceError("invalid_config", `HOST: 无法监听 ${host}:${port} (can't listen: ${code})`);
}

/**
 * Turns away CONNECT, on every path. To it even an error with HTTP 200 would say that a tunnel stands, and whatever
 * follows on the connection would never be read as a request.
 */
function refuseTunnel({ method }: Request): Response | undefined {
  if (method !== "CONNECT") return undefined;
  const failure = new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
  return envelopeResponse(failureEnvelope(failure, newTraceId()), 405, { connection: "close" });
}

const isWellFormed = memoize((host) => host.length >= 4 && HOST.test(host));

/**
 * Turns away what the router would misread.
 *
 * The router looks for the path behind the eleventh character of the URL, so a Host of one to three characters makes
 * it take a part of the path for the path: `/admin/x` is routed as `/x`.
 */
function refuseHost(request: Request): Response | undefined {
  const host = request.headers.get("host") ?? "";
  const { url } = request;
  if (isWellFormed(host) && url.indexOf("/", 11) === url.indexOf("/", url.indexOf("://") + 3)) {
    return undefined;
  }
  const failure = new ServiceError("invalid_parameter", "Host请求头不正确 (bad Host header)");
  return envelopeResponse(failureEnvelope(failure, newTraceId()), 400);
}

type Answer = Response | Promise<Response>;
type Handle = (request: Request) => Answer;

/** Who answers what is no route of the app. */
interface RootHandlers {
  /** Paths that are answered here for sure, so that they need no look. */
  readonly paths: readonly string[];
  /** Whether a request of that URL is answered here. */
  readonly claims: (url: string) => boolean;
  readonly answer: Handle;
  /** Answers what is claimed here but was resolved on its way. */
  readonly refuse: Handle;
}

/** How many segments a path of WeChat's has at most, with room to spare. */
const MAX_SEGMENTS = 10;

/**
 * Gives a request to `serve` only when its path means a route of `app` as it was sent, to `root` when it claims the
 * request, and to `serve` again when nobody knows the path.
 *
 * Bun resolves `/x/../y`, `/x/%2e%2e/y` and `/x\..\y` to `/y` before anybody sees the URL, while a proxy that filters
 * paths has seen what was sent. Bun's own routes match what was sent, so the two readings can be compared: where they
 * differ and the resolved one means something here, the request is refused, with HTTP 400 or in WeChat's own way.
 */
function exactPaths(app: AnyElysia, serve: Handle, root: RootHandlers) {
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
  const counts = Array.from({ length: MAX_SEGMENTS }, (_, index) => index + 1);
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
