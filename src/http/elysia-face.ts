import { type AnyElysia, Elysia, ParseError, ValidationError } from "elysia";
import type { Access } from "../access/access.ts";
import { envelopeResponse, successResponse, withDefaultHeaders } from "../api/answer.ts";
import { badParameter, checkQuery } from "../api/body.ts";
import type { Cors } from "../api/cors.ts";
import { type Call, callOf, type Face, failed, immediate, Reply, secretIn } from "../api/face.ts";
import {
  type AccessTokenRouteParts,
  accessTokenRoutes,
  type JsSdkRouteParts,
  jsSdkRoutes,
  type XcxRouteParts,
  xcxRoutes,
} from "../api/protocol.ts";
import { indexRoute, type OpsRouteParts, opsRoutes } from "../api/service-routes.ts";
import { type AppRouteParts, appRoutes } from "../api/v1-apps.ts";
import { type AuditRouteParts, auditRoutes } from "../api/v1-audit.ts";
import { type CallRouteParts, callRoutes } from "../api/v1-call.ts";
import { type ClientCheckParts, clientCheckRoute } from "../api/v1-client-check.ts";
import { callbackTargetRoutes } from "../api/v1-callback-targets.ts";
import { type CallbackRouteParts, callbackRoutes } from "../api/v1-callbacks.ts";
import { type ClientRouteParts, clientRoutes } from "../api/v1-clients.ts";
import { type ConsoleRouteParts, consoleRoutes } from "../api/v1-console.ts";
import { type EventRouteParts, eventRoutes } from "../api/v1-events.ts";
import { type EnvironmentRouteParts, environmentRoutes } from "../api/v1-environments.ts";
import { type HistoryRouteParts, historyRoutes } from "../api/v1-history.ts";
import { clientKeyRoutes, keyRoutes } from "../api/v1-keys.ts";
import { type CredentialRouteParts, credentialRoutes } from "../api/v1-credentials.ts";
import { type ErrorRouteParts, errorRoutes } from "../api/v1-errors.ts";
import { type DeliveryRouteParts, deliveryRoutes } from "../api/v1-deliveries.ts";
import { type NodeRouteParts, nodeRoutes } from "../api/v1-nodes.ts";
import { alarmRoutes, type NotificationRouteParts, notificationRoutes } from "../api/v1-notifications.ts";
import { type OauthRouteParts, oauthRoutes } from "../api/v1-oauth.ts";
import { type PlatformRouteParts, platformRoutes } from "../api/v1-platforms.ts";
import { type OverviewRouteParts, overviewRoutes } from "../api/v1-overview.ts";
import { type SettingRouteParts, settingRoutes } from "../api/v1-settings.ts";
import { type SignatureRouteParts, signatureRoutes } from "../api/v1-signatures.ts";
import { failureEnvelope, failureStatus } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { documentRoutes } from "./documents.ts";
import { swaggerRoutes } from "./swagger.ts";

/** Who may see something: `on`, every caller that is answered; `admin`, administrators; `off`, nobody. */
export type Visibility = "on" | "admin" | "off";

/** What the framework's routes work with. */
export type RouteOptions = AccessTokenRouteParts &
  JsSdkRouteParts &
  XcxRouteParts &
  AppRouteParts &
  CredentialRouteParts &
  HistoryRouteParts &
  EnvironmentRouteParts &
  DeliveryRouteParts &
  EventRouteParts &
  CallbackRouteParts &
  SignatureRouteParts &
  CallRouteParts &
  ErrorRouteParts &
  ClientRouteParts &
  ConsoleRouteParts &
  ClientCheckParts &
  SettingRouteParts &
  NodeRouteParts &
  NotificationRouteParts &
  OauthRouteParts &
  PlatformRouteParts &
  Omit<OverviewRouteParts, "ops"> &
  AuditRouteParts & {
    readonly access: Access;
    readonly ops: Pick<OpsRouteParts, "notReady" | "backups" | "metrics">;
    /** Who may see the metrics and the documentation. */
    readonly visibility: { readonly metrics: Visibility; readonly swagger: Visibility };
    readonly cors: Cors;
  };

/** How failures are reported, by the first segment of the path: by the envelope alone, or by the HTTP status too. */
const SEGMENTS: ReadonlyMap<string, "envelope" | "status"> = new Map([
  ["", "envelope"],
  ["AccessToken", "envelope"],
  ["JsSDK", "envelope"],
  ["xcx", "envelope"],
  ["swagger", "envelope"],
  ["docs", "status"],
  ["v1", "status"],
  ["livez", "status"],
  ["readyz", "status"],
  ["metrics", "status"],
]);

/** Where a secret identifies the caller. */
const SECRET_SEGMENTS: ReadonlySet<string> = new Set(["AccessToken", "JsSDK", "xcx"]);

/**
 * The documented protocol and `/v1`: routing, validation and documentation by Elysia, one envelope around every answer.
 *
 * Nothing of the framework's own errors is forwarded: its messages quote the request, secrets included.
 */
export class ElysiaFace implements Face {
  readonly isPublic = false;
  readonly #app: AnyElysia;
  readonly #access: Access;
  readonly #cors: Cors;

  constructor(options: RouteOptions) {
    this.#access = options.access;
    this.#cors = options.cors;
    this.#app = createApp(options, {
      succeed: (call, value) => this.#succeed(call, value),
      fail: (call, error) => this.encodeError(error, call),
      notFound: (call) => this.#notFound(call),
    });
    // The first request must not pay for it.
    this.#app.compile();
  }

  /** Every route of it, with `:name` for what varies. */
  get routes(): readonly { method: string; path: string }[] {
    return this.#app.routes.map(({ method, path }) => ({ method, path }));
  }

  /** By the first segment of the path. */
  matches({ path }: Call): boolean {
    return path === "/" || (path[1] !== "/" && SEGMENTS.has(firstSegment(path)));
  }

  /** By an app's secret: in the query, or in a body. */
  mayIdentify({ path, search, request }: Call): boolean {
    if (!SECRET_SEGMENTS.has(firstSegment(path))) return false;
    return request.method === "POST" || /(^|&)secret=/.test(search);
  }

  handle(call: Call): Response | Promise<Response> {
    checkQuery(call.search);
    return this.#app.fetch(call.request);
  }

  encodeError(thrown: unknown, call: Call): Response {
    const error = this.#access.countRefusal(call, thrown, secretIn(call.search));
    const envelope = failureEnvelope(error, call.traceId);
    call.outcome = failed(envelope.code, error);
    const usesStatus = SEGMENTS.get(firstSegment(call.path)) === "status";
    return envelopeResponse(
      envelope,
      usesStatus ? failureStatus(error) : 200,
      this.#cors.headersFor(call.request),
    );
  }

  #succeed(call: Call, value: unknown): Response | undefined {
    if (value instanceof Response) {
      // The framework shows its error hook's answers to its response hook too.
      if (call.outcome.error !== undefined) return value;
      const { status } = value;
      call.outcome =
        status < 400
          ? { code: 0, result: "done" }
          : { code: status, result: status < 500 ? "caller" : "internal" };
      return withDefaultHeaders(value, call.traceId);
    }
    const { data, usage, result, status, headers, hint } =
      value instanceof Reply ? value : new Reply(value as object, {});
    call.outcome = { code: 0, result, usage };
    const allowed = this.#cors.headersFor(call.request);
    const more = headers && allowed ? { ...headers, ...allowed } : (headers ?? allowed);
    return successResponse(data, call.traceId, { status, headers: more, hint });
  }

  /** An untrusted caller learns no more of what is not there than of what is. */
  #notFound(call: Call): ServiceError {
    if (this.#access.isUntrusted(call)) return this.#access.untrustedError(call);
    const { router } = this.#app;
    const isKnown =
      METHODS.some((method) => router.http.find(method, call.path)) || call.path in router.static;
    return isKnown
      ? new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)")
      : new ServiceError("not_found", "页面不存在");
  }
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

function firstSegment(path: string): string {
  const end = path.indexOf("/", 1);
  return end === -1 ? path.slice(1) : path.slice(1, end);
}

/** What becomes of a handler's value, and of what it or the framework threw. */
interface Encoding {
  readonly succeed: (call: Call, value: unknown) => Response | undefined;
  readonly fail: (call: Call, error: unknown) => Response;
  readonly notFound: (call: Call) => ServiceError;
}

/** What the framework maps to a response. It notes `route` only where the text of some hook names it, as that of errors does. */
interface Mapped {
  readonly responseValue: unknown;
  readonly request: Request;
  readonly route: string;
}

function createApp(options: RouteOptions, { succeed, fail, notFound }: Encoding) {
  const { access, visibility } = options;
  const admission = (to: Visibility) => (call: Call) => {
    if (to === "admin") access.admin(call);
  };
  const routes = new Elysia()
    .use(indexRoute(visibility.swagger !== "off"))
    .use(accessTokenRoutes(options))
    .use(jsSdkRoutes(options))
    .use(xcxRoutes(options))
    .use(appRoutes(options))
    .use(credentialRoutes(options))
    .use(historyRoutes(options))
    .use(deliveryRoutes(options))
    .use(signatureRoutes(options))
    .use(callRoutes(options))
    .use(errorRoutes(options))
    .use(callbackRoutes(options))
    .use(callbackTargetRoutes(options))
    .use(clientRoutes(options))
    .use(clientKeyRoutes(options))
    .use(clientCheckRoute(options))
    .use(consoleRoutes(options))
    .use(environmentRoutes(options))
    .use(keyRoutes(options))
    .use(settingRoutes(options))
    .use(nodeRoutes(options))
    .use(alarmRoutes(options))
    .use(notificationRoutes(options))
    .use(eventRoutes(options))
    .use(oauthRoutes(options))
    .use(platformRoutes(options))
    .use(overviewRoutes(options))
    .use(auditRoutes(options))
    .use(
      opsRoutes({
        ...options.ops,
        clock: options.clock,
        isAnonymousOn: () => access.isAnonymousOn,
        admitToMetrics:
          visibility.metrics === "off"
            ? undefined
            : (call) => access.checkMetrics(call, visibility.metrics === "admin"),
      }),
    );
  return new Elysia({ name: "app" })
    .onError(({ error, code, set, request, route }) => {
      const call = callOf(request);
      if (code !== "NOT_FOUND" && route) call.route = route;
      const response = fail(call, code === "NOT_FOUND" ? notFound(call) : toServiceError(error));
      // The framework would put the status of its own error over that of the response.
      set.status = response.status;
      return response;
    })
    .mapResponse(
      immediate(({ responseValue, request, route }: Mapped) => {
        const call = callOf(request);
        call.route = route;
        if (!(responseValue instanceof Promise)) return succeed(call, responseValue);
        return responseValue.then(
          (value: unknown) => succeed(call, value),
          (error: unknown) => fail(call, toServiceError(error)),
        );
      }),
    )
    .use(routes)
    .use(documentation(routes, visibility.swagger, admission(visibility.swagger)));
}

function documentation(routes: AnyElysia, to: Visibility, admit: (call: Call) => void) {
  if (to === "off") return new Elysia();
  return new Elysia().use(swaggerRoutes(routes, { admit })).use(documentRoutes({ admit }));
}

/** What the framework or a handler threw, as an error of ours; anything unexpected stays what it is. */
function toServiceError(error: unknown): unknown {
  if (error instanceof ServiceError) return error;
  if (error instanceof ValidationError) return badParameter(error.valueError, error.value);
  if (error instanceof ParseError) {
    if (error.cause instanceof ServiceError) return error.cause;
    return new ServiceError("invalid_parameter", "请求体无法解析 (the body can't be parsed)");
  }
  if (typeof error === "object" && error !== null && "code" in error && error.code === "NOT_FOUND") {
    return new ServiceError("not_found", "页面不存在");
  }
  return error;
}
