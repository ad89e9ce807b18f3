import { Elysia, ParseError, ValidationError } from "elysia";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appRoutes } from "../api/v1-apps.ts";
import type { AuditTrail } from "../audit/audit-trail.ts";
import { type AuditRouteParts, auditRoutes } from "../api/v1-audit.ts";
import type { AppAdministration } from "../apps/app-administration.ts";
import type { Access } from "../access/access.ts";
import type { Caller } from "../access/principal.ts";
import type { ClientAdministration } from "../access/client-administration.ts";
import type { ClientDirectory } from "../access/client-directory.ts";
import { clientRoutes } from "../api/v1-clients.ts";
import type { Authentication } from "../api/authentication.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { credentialRoutes } from "../api/v1-credentials.ts";
import type { CredentialStates } from "../credentials/status.ts";
import type { TokenDelivery } from "../credentials/virtual-tokens.ts";
import { failureEnvelope, failureStatus, successEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { CardSigner } from "../signing/card-signer.ts";
import type { JsApiSigner } from "../signing/js-api-signer.ts";
import { signatureRoutes } from "../api/v1-signatures.ts";
import type { Login } from "../login/login.ts";
import { indexRoute, type OpsRouteParts, opsRoutes } from "../api/service-routes.ts";
import { accessTokenRoutes, jsSdkRoutes, xcxRoutes } from "../api/protocol.ts";
import { envelopeResponse, newTraceId, withSecurityHeaders } from "./answer.ts";
import { checkQuery, readJsonBody } from "./body.ts";
import { faultFacts, recordRequest } from "./request-record.ts";
import { swaggerRoutes } from "./swagger.ts";

/** What the whole HTTP face works with. */
export interface AppParts {
  readonly authentication: Authentication;
  readonly access: Access;
  readonly audit: Pick<AuditTrail, "countUsage" | "countDenial" | "record">;
  readonly auditStore: AuditRouteParts["auditStore"];
  readonly directory: AppDirectory;
  readonly administration: AppAdministration;
  readonly clients: ClientDirectory;
  readonly clientAdministration: ClientAdministration;
  readonly credentials: CredentialManager;
  readonly delivery: TokenDelivery;
  readonly login: Login;
  readonly signer: JsApiSigner;
  readonly cards: CardSigner;
  readonly states: CredentialStates;
  readonly ops: Pick<OpsRouteParts, "notReady" | "metrics">;
  /** Who may see the metrics and the documentation. */
  readonly visibility: { readonly metrics: Visibility; readonly swagger: Visibility };
  readonly cors: Cors;
  readonly events: EventBus;
  readonly clock: Clock;
}

/** Who may see something: `on`, whoever is answered; `admin`, administrators; `off`, nobody. */
export type Visibility = "on" | "admin" | "off";

/**
 * Every route behind one error hook and one envelope.
 *
 * Handlers return `data` and throw `ServiceError`s; what comes out of here is the documented envelope, whatever
 * happened. The error hook forwards nothing of what it was given, because a framework's own message quotes the
 * request, secrets included.
 */
export function createApp(parts: AppParts) {
  const { events, authentication, access, clock, cors, visibility } = parts;
  const record = (request: Request, facts: Parameters<typeof recordRequest>[3]) =>
    recordRequest(parts, request, authentication.callerOf(request), facts);
  const identity = authentication.identity;
  const admission = (to: Visibility) => (caller: Caller) => {
    if (to === "admin") access.admin(caller);
  };
  const routes = new Elysia()
    .use(indexRoute(visibility.swagger !== "off"))
    .use(accessTokenRoutes({ ...parts, identity }))
    .use(jsSdkRoutes({ ...parts, identity }))
    .use(xcxRoutes({ ...parts, identity }))
    .use(appRoutes({ ...parts, identity }))
    .use(credentialRoutes({ ...parts, identity }))
    .use(signatureRoutes({ ...parts, identity }))
    .use(clientRoutes({ ...parts, identity }))
    .use(
      auditRoutes({
        ...parts,
        identity,
        admin: (caller) => access.admin(caller),
      }),
    )
    .use(
      opsRoutes({
        ...parts.ops,
        identity,
        admitToMetrics: visibility.metrics === "off" ? undefined : admission(visibility.metrics),
      }),
    );
  const paths = routes.routes.map(({ path }) => new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}/?$`));
  const bodiless = new Set(
    routes.routes.filter(({ hooks }) => !hooks.body).map(({ method, path }) => `${method} ${path}`),
  );
  /** The answers of the error hook, which come through the response hook too. */
  const failures = new WeakSet<Response>();
  return (
    new Elysia({ name: "app" })
      /** When the request came, by the monotonic clock. */
      .decorate("startedAt", 0)
      // Not among the response's headers: the framework would copy every response to merge them in.
      .decorate("traceId", "")
      .onError(({ error, code, set, request, route, path, startedAt, traceId: given }) => {
        const traceId = given || newTraceId();
        const stranger = code === "NOT_FOUND" ? authentication.untrustedIn(request) : undefined;
        const isKnownPath = code === "NOT_FOUND" && paths.some((known) => known.test(path));
        const failure = stranger ?? (isKnownPath ? methodNotAllowed() : toServiceError(error));
        const envelope = failureEnvelope(failure, traceId);
        const status = USES_HTTP_STATUS.test(path) ? failureStatus(failure) : 200;
        // The framework would put the status of its own error over that of the response.
        set.status = status;
        const pattern = code === "NOT_FOUND" || !route ? "(none)" : route;
        if (!(failure instanceof ServiceError)) {
          events.emit({ type: "request.failed", traceId, route: pattern, ...faultFacts(failure) });
        }
        record(request, { startedAt, traceId, route: pattern, code: envelope.code });
        const response = envelopeResponse(envelope, status, cors.headersFor(request));
        failures.add(response);
        return response;
      })
      .onRequest((context) => {
        context.startedAt = clock.monotonic();
        context.traceId = newTraceId();
        const preflight = cors.preflight(context.request);
        if (preflight) return withSecurityHeaders(preflight);
        checkQuery(context.request.url);
        return undefined;
      })
      .use(authentication.gate)
      .onParse(({ request, route }) => {
        const caller = authentication.callerOf(request);
        if (caller && MANAGED.test(route)) access.admin(caller);
        return readJsonBody(request, bodiless.has(`${request.method} ${route}`));
      })
      .mapResponse(({ responseValue, request, route, startedAt, traceId, set }) => {
        const isFinished = responseValue instanceof Response;
        if (isFinished && failures.has(responseValue)) return undefined;
        const code = isFinished && !responseValue.ok ? responseValue.status : 0;
        record(request, { startedAt, traceId, route, code });
        if (isFinished) return withSecurityHeaders(responseValue);
        if (typeof responseValue !== "object" || responseValue === null) return undefined;
        const status = typeof set.status === "number" ? set.status : 200;
        return envelopeResponse(successEnvelope(responseValue, traceId), status, cors.headersFor(request));
      })
      .use(routes)
      .use(
        visibility.swagger === "off"
          ? new Elysia()
          : swaggerRoutes(routes, { identity, admit: admission(visibility.swagger) }),
      )
  );
}

/** Where the HTTP status tells the outcome too: our own interface, and what load balancers and scrapers read. */
const USES_HTTP_STATUS = /^\/(v1|livez|readyz|metrics)(\/|$)/;

/** Where a body is an administrator's: nobody else's is read, so what is wrong with it is told to nobody else. */
const MANAGED = /^\/v1\/(clients(\/|$)|apps(\/:app)?$)/;

/** What the framework or a handler threw, as an error of ours; anything unexpected stays what it is. */
function toServiceError(error: unknown): unknown {
  if (error instanceof ServiceError) return error;
  if (error instanceof ValidationError) return badParameter(error);
  if (error instanceof ParseError) {
    if (error.cause instanceof ServiceError) return error.cause;
    return new ServiceError("invalid_parameter", "请求体无法解析 (the body can't be parsed)");
  }
  if (typeof error === "object" && error !== null && "code" in error && error.code === "NOT_FOUND") {
    return new ServiceError("not_found", "页面不存在");
  }
  return error;
}

function badParameter(error: ValidationError): ServiceError {
  const fault = error.valueError;
  const name = fault?.path.slice(1) ?? "";
  if (name === "") {
    const isObject = typeof error.value === "object" && error.value !== null;
    const message = isObject
      ? "请求体的字段不完整或不匹配，请对照接口文档 (fields of the body are missing or don't go together; see /swagger)"
      : "请求体应为JSON对象 (the body must be a JSON object)";
    return new ServiceError("invalid_parameter", message);
  }
  const isMissing = fault?.value === undefined || fault.value === "";
  const message = isMissing
    ? `缺少${name}参数`
    : `${name}参数的类型、长度或字符不正确 (${name} has a wrong type, length or character)`;
  return new ServiceError("invalid_parameter", message);
}

function methodNotAllowed(): ServiceError {
  return new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
}

/** Where a page of another origin may ask: the routes that sign pages. */
const SIGNATURE_PATH = /^\/(JsSDK\/getJsApiSign|v1\/apps\/[^/]+\/signatures\/[^/]+)$/;
const REMEMBER_SECONDS = "600";

/**
 * Which pages of other origins are answered: those of the listed origins, on the signature routes, and no others.
 *
 * https://fetch.spec.whatwg.org/#http-cors-protocol
 */
export class Cors {
  readonly #origins: ReadonlySet<string>;

  /** `origins` are written as browsers write them: lower case, without a path. */
  constructor(origins: readonly string[]) {
    this.#origins = new Set(origins);
  }

  /** Whether the request comes from such a page and asks for such a route. */
  allowsOrigin(request: Request): boolean {
    if (this.#origins.size === 0) return false;
    const origin = request.headers.get("origin");
    return origin !== null && this.#origins.has(origin) && SIGNATURE_PATH.test(pathOf(request));
  }

  /** What is added to the answer so that the page may read it; undefined to all others. */
  headersFor(request: Request): Record<string, string> | undefined {
    if (!this.allowsOrigin(request)) return undefined;
    return { "access-control-allow-origin": request.headers.get("origin") ?? "", vary: "Origin" };
  }

  /** The answer to a browser that asks first whether the page may; undefined for what is no such question. */
  preflight(request: Request): Response | undefined {
    if (request.method !== "OPTIONS") return undefined;
    const allowed = this.headersFor(request);
    if (!allowed || request.headers.get("access-control-request-method") !== "POST") return undefined;
    return new Response(null, {
      status: 204,
      headers: {
        ...allowed,
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "content-type, authorization, x-api-key",
        "access-control-max-age": REMEMBER_SECONDS,
      },
    });
  }
}

function pathOf({ url }: Request): string {
  return new URL(url).pathname;
}
