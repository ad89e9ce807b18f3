import type { Access } from "../access/access.ts";
import { LazyOrigin, type Origin, type OriginPolicy } from "../access/origin.ts";
import { ANONYMOUS, isClient, LOCAL } from "../access/principal.ts";
import { callerNetwork, memoize } from "../access/networks.ts";
import { envelopeResponse, newTraceId } from "../api/answer.ts";
import { type ConsoleCookies, isByPerson } from "../api/console-cookie.ts";
import type { Cors } from "../api/cors.ts";
import { attachCall, Call, type Face, failed, type RequestSocket } from "../api/face.ts";
import type { PublicSide } from "../apps/public-side.ts";
import type { AuditTrail } from "../audit/audit-trail.ts";
import type { Clock } from "../clock.ts";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";

/** What the door works with. */
export interface DoorOptions {
  /** The first that matches answers; the last one answers what none matches. */
  readonly faces: readonly Face[];
  readonly access: Access;
  readonly origins: OriginPolicy;
  readonly cors: Cors;
  /** Undefined where there is no console. */
  readonly cookies?: ConsoleCookies | undefined;
  readonly publicSide: Pick<PublicSide, "isWalled">;
  readonly audit: Pick<AuditTrail, "countUsage" | "countAnonymous" | "countDenial">;
  readonly events: EventBus;
  readonly clock: Clock;
  /** Whether each request is logged; default false. */
  readonly logsRequests?: boolean;
  /** Who is at the command line of this machine; the address of its requests. */
  readonly localUser?: string;
}

const HOST = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?)(:\d{1,5})?$/;

/** The command line on this machine: it comes over no socket, and holds the database and its key anyway. */
const LOCAL_ORIGIN: Omit<Origin, "address"> = {
  untrustedReason: undefined,
  disguise: undefined,
  isBrowser: false,
};
const NO_SOCKET: RequestSocket = { peer: () => "", giveTime: () => undefined };

/**
 * The one way in: gives each request a trace id, finds out who is calling, has a face answer it, and records how it
 * ended.
 *
 * Everything is synchronous as long as the face is.
 */
export class Door {
  readonly #options: DoorOptions;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** The answer to a request that came over a socket. Never throws. */
  serve(sent: Request, socket: RequestSocket): Response | Promise<Response> {
    const request = withHost(sent);
    const refusal = refuseTunnel(request) ?? refuseHost(request);
    if (refusal) return refusal;
    const { origins, cors, publicSide } = this.#options;
    const { headers } = request;
    const allowsOrigin = () => cors.allowsOrigin(request);
    const origin = new LazyOrigin(origins, { peer: socket.peer, headers, allowsOrigin });
    const call = this.#begin(request, socket, origin);
    const face = this.#faceOf(call);
    const isWalled = publicSide.isWalled(headers.get("host") ?? "");
    if (isWalled && !face.isPublic) return this.#finish(call, notPublic(call));
    try {
      const preflight = cors.preflight(request);
      if (preflight) return preflight;
      // Nobody is identified behind the wall: a key must not tell what it opens elsewhere.
      if (!isWalled) this.#identify(call, face);
    } catch (error) {
      return this.#finish(call, face.encodeError(error, call));
    }
    return this.#answer(call, face);
  }

  /** The answer to a request of the command line on this machine, as an administrator. Never throws. */
  serveLocal(request: Request): Response | Promise<Response> {
    const origin = { ...LOCAL_ORIGIN, address: this.#options.localUser ?? "" };
    const call = this.#begin(request, NO_SOCKET, origin);
    call.identify(LOCAL);
    return this.#answer(call, this.#faceOf(call));
  }

  #begin(request: Request, socket: RequestSocket, origin: Origin): Call {
    const times = { traceId: newTraceId(), startedAt: this.#options.clock.monotonic() };
    const call = new Call(request, socket, origin, times);
    attachCall(call);
    return call;
  }

  #faceOf(call: Call): Face {
    const { faces } = this.#options;
    for (const face of faces) if (face.matches(call)) return face;
    const last = faces.at(-1);
    if (!last) throw new Error("a door without a face");
    return last;
  }

  /** By an API key, else under `/v1` by a session of the console, or else by the network; other callers must be able to identify themselves by what they send. */
  #identify(call: Call, face: Face): void {
    const { access, cookies } = this.#options;
    const key = keyIn(call.request.headers);
    // A key proves more than the network: no foreign page and no proxy has it by chance.
    if (key !== undefined) return call.identify(access.byKey(call.origin, key));
    const session = call.path.startsWith("/v1/") ? cookies?.sessionIn(call) : undefined;
    if (session !== undefined)
      return call.identify(access.bySession(call.origin, session, isByPerson(call.request)));
    if (face.mayIdentify(call)) return;
    if (access.isUntrusted(call)) throw access.untrustedError(call);
  }

  #answer(call: Call, face: Face): Response | Promise<Response> {
    try {
      const answer = face.handle(call);
      if (!(answer instanceof Promise)) return this.#finish(call, answer);
      return answer.then(
        (response) => this.#finish(call, response),
        (error: unknown) => this.#finish(call, face.encodeError(error, call)),
      );
    } catch (error) {
      return this.#finish(call, face.encodeError(error, call));
    }
  }

  #finish(call: Call, response: Response): Response {
    const { events, audit, clock, logsRequests } = this.#options;
    const { traceId, route, startedAt } = call;
    const { code, result, usage, error } = call.outcome;
    const durationMs = Math.round((clock.monotonic() - startedAt) * 1000) / 1000;
    const { method } = call.request;
    const handled = { type: "request.handled", traceId, method, route, code, result, durationMs } as const;
    // The header is not looked at for nobody.
    events.emit(
      logsRequests ? { ...handled, ...parentOf(call, usage?.identity ?? call.principal.identity) } : handled,
    );
    if (usage?.identity === ANONYMOUS.identity)
      audit.countAnonymous(
        usage.identity.client,
        callerNetwork(call.origin.address),
        usage.action,
        usage.app,
      );
    else if (usage) audit.countUsage(usage.identity, usage.action, usage.app);
    if (error !== undefined) this.#recordError(call, error);
    return response;
  }

  #recordError(call: Call, error: unknown): void {
    const { traceId, route, origin, principal, outcome } = call;
    const { events, audit } = this.#options;
    const { code, rid, result } = outcome;
    const { address } = origin;
    const { about, deniedTo } = error instanceof ServiceError ? error : NOT_OURS;
    const client = deniedTo ?? about?.client ?? principal.identity.client;
    const request = {
      ...{ traceId, ...parentOf(call, { client }), route, client, address, code },
      ...(rid === undefined ? {} : { rid }),
      ...(about === undefined ? {} : { app: about.app }),
    };
    if (!(error instanceof ServiceError) || error.code === "internal") {
      const cause = error instanceof ServiceError ? error.cause : undefined;
      events.emit({ type: "request.failed", ...request, ...faultOf(cause ?? error) });
      return;
    }
    if (deniedTo !== undefined) audit.countDenial({ address, client, route, code });
    const type =
      result === "denied" ? "access.denied" : result === "caller" ? "request.invalid" : "request.unserved";
    const { upstream, logged, hint } = error;
    events.emit({
      ...{ type, ...request, errmsg: upstream?.errmsg ?? logged },
      ...(upstream === undefined ? {} : { errcode: upstream.errcode }),
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

/** What is not public is not there, whatever key comes with it. */
function notPublic(call: Call): Response {
  const failure = new ServiceError("not_found", "页面不存在 (not found)");
  call.outcome = failed(404, failure);
  return envelopeResponse(failureEnvelope(failure, call.traceId), 404);
}

/** The trace of its own that a client says the request is a part of. */
function parentOf(call: Call, identity: { readonly client: string }): { parentTraceId?: string } {
  const parentTraceId = isClient(identity) ? call.parentTraceId : undefined;
  return parentTraceId === undefined ? {} : { parentTraceId };
}

/** What a fault says of its request. */
const NOT_OURS: Pick<Partial<ServiceError>, "about" | "deniedTo"> = {};

/** The API key in a request's headers; an invalid one for two that differ: proxies disagree on which one wins. */
function keyIn(headers: Headers): string | undefined {
  const authorization = headers.get("authorization");
  const key = headers.get("x-api-key") ?? undefined;
  // Another scheme may belong to a proxy; but a key in it was sent wrongly.
  if (authorization === null || !/^bearer(\s|$)|ats_/i.test(authorization)) return key;
  const bearer = /^bearer\s/i.test(authorization) ? authorization.slice("bearer ".length).trim() : "";
  return key === undefined || key === bearer ? bearer : "";
}

/** An error's name and where it came from. Its message stays here: it may quote what was sent. */
function faultOf(error: unknown): { error: string; stack: string } {
  if (!(error instanceof Error)) return { error: typeof error, stack: "" };
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return { error: error.name, stack: frames.join("\n") };
}

/**
 * Refuses CONNECT, on every path. Even an error with HTTP 200 would mean that a tunnel is established, and what follows
 * on the connection would never be read as a request.
 */
function refuseTunnel({ method }: Request): Response | undefined {
  if (method !== "CONNECT") return undefined;
  const failure = new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
  return envelopeResponse(failureEnvelope(failure, newTraceId()), 405, { connection: "close" });
}

const isWellFormed = memoize((host) => host.length >= 4 && HOST.test(host));

/** As HTTP/1.0 health checks of load balancers send them. Without a Host the URL is the path alone. */
const HOSTLESS: ReadonlySet<string> = new Set(["/livez", "/readyz"]);

/** A health check without a Host as one of this machine by name; a browser always sends one. */
function withHost(request: Request): Request {
  const { url, method, headers } = request;
  if (!HOSTLESS.has(url) || headers.has("host")) return request;
  return new Request(`http://localhost${url}`, {
    method,
    headers: { ...Object.fromEntries(headers), host: "localhost" },
  });
}

/**
 * Turns away what the router would misread, and a second Host, which proxies read in different ways.
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
