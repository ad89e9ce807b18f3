import { Elysia, ParseError, ValidationError } from "elysia";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appRoutes } from "../apps/routes.ts";
import type { Authentication } from "../clients/authentication.ts";
import type { Clock } from "../clock.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { credentialRoutes } from "../credentials/routes.ts";
import type { CredentialStates } from "../credentials/state.ts";
import { failureEnvelope, failureStatus, successEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { CardSigner } from "../jssdk/card-signer.ts";
import type { JsApiSigner } from "../jssdk/js-api-signer.ts";
import { signatureRoutes } from "../jssdk/routes.ts";
import type { Login } from "../login/login.ts";
import { type OpsRouteParts, opsRoutes } from "../ops/routes.ts";
import { accessTokenRoutes } from "../protocol/access-token.ts";
import { jsSdkRoutes } from "../protocol/js-sdk.ts";
import { xcxRoutes } from "../protocol/xcx.ts";
import { envelopeResponse, newTraceId } from "./envelope-response.ts";
import { indexRoute } from "./index-route.ts";
import { readJsonBody } from "./json-body.ts";
import { checkQuery } from "./strict-query.ts";
import { swaggerRoutes } from "./swagger.ts";

/** What the whole HTTP face works with. */
export interface AppParts {
  readonly authentication: Authentication;
  readonly directory: AppDirectory;
  readonly credentials: CredentialManager;
  readonly login: Login;
  readonly signer: JsApiSigner;
  readonly cards: CardSigner;
  readonly states: CredentialStates;
  readonly ops: OpsRouteParts;
  readonly events: EventBus;
  readonly clock: Clock;
}

/**
 * Every route behind one error hook and one envelope.
 *
 * Handlers return `data` and throw `ServiceError`s; what comes out of here is the documented envelope, whatever
 * happened. The error hook forwards nothing of what it was given, because a framework's own message quotes the
 * request, secrets included.
 */
export function createApp(parts: AppParts) {
  const { events, authentication, clock } = parts;
  const identity = authentication.identity;
  const routes = new Elysia()
    .use(indexRoute())
    .use(accessTokenRoutes({ ...parts, identity }))
    .use(jsSdkRoutes({ ...parts, identity }))
    .use(xcxRoutes({ ...parts, identity }))
    .use(appRoutes({ ...parts, identity }))
    .use(credentialRoutes({ ...parts, identity }))
    .use(signatureRoutes({ ...parts, identity }))
    .use(opsRoutes(parts.ops));
  const paths = routes.routes.map(({ path }) => new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}/?$`));
  const bodiless = new Set(
    routes.routes.filter(({ hooks }) => !hooks.body).map(({ method, path }) => `${method} ${path}`),
  );
  const handled = (request: Request, startedAt: number, traceId: string, route: string, code: number) => {
    const { method } = request;
    const result = code === 0 ? (authentication.callerOf(request)?.result ?? "done") : "error";
    const durationMs = Math.round((clock.monotonic() - startedAt) * 1000) / 1000;
    events.emit({ type: "request.handled", traceId, method, route, code, result, durationMs });
  };
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
        const isKnownPath = code === "NOT_FOUND" && paths.some((known) => known.test(path));
        const failure = isKnownPath ? methodNotAllowed() : toServiceError(error);
        const envelope = failureEnvelope(failure, traceId);
        const status = SPEAKS_HTTP.test(path) ? failureStatus(failure) : 200;
        // The framework would put the status of its own error over that of the response.
        set.status = status;
        const pattern = code === "NOT_FOUND" || !route ? "(none)" : route;
        if (!(failure instanceof ServiceError)) {
          events.emit({ type: "request.failed", traceId, route: pattern, ...faultFacts(failure) });
        }
        handled(request, startedAt, traceId, pattern, envelope.code);
        const response = envelopeResponse(envelope, status);
        failures.add(response);
        return response;
      })
      .onRequest((context) => {
        context.startedAt = clock.monotonic();
        context.traceId = newTraceId();
        checkQuery(context.request.url);
      })
      .use(authentication.gate)
      .onParse(({ request, route }) => readJsonBody(request, bodiless.has(`${request.method} ${route}`)))
      .mapResponse(({ responseValue, request, route, startedAt, traceId }) => {
        const isFinished = responseValue instanceof Response;
        if (isFinished && failures.has(responseValue)) return undefined;
        handled(
          request,
          startedAt,
          traceId,
          route,
          isFinished && !responseValue.ok ? responseValue.status : 0,
        );
        if (isFinished || typeof responseValue !== "object" || responseValue === null) return undefined;
        return envelopeResponse(successEnvelope(responseValue, traceId));
      })
      .use(routes)
      .use(swaggerRoutes(routes))
  );
}

/** Where the HTTP status tells the outcome too: our own interface, and what load balancers and scrapers read. */
const SPEAKS_HTTP = /^\/(v1|livez|readyz|metrics)(\/|$)/;

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
  if (name === "")
    return new ServiceError("invalid_parameter", "请求体应为JSON对象 (the body must be a JSON object)");
  const isMissing = fault?.value === undefined || fault.value === "";
  const message = isMissing
    ? `缺少${name}参数`
    : `${name}参数的类型、长度或字符不正确 (${name} has a wrong type, length or character)`;
  return new ServiceError("invalid_parameter", message);
}

function methodNotAllowed(): ServiceError {
  return new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
}

/** An error's name and where it came from. Its message stays here: it may quote what was sent. */
function faultFacts(error: unknown): { error: string; stack: string } {
  if (!(error instanceof Error)) return { error: typeof error, stack: "" };
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return { error: error.name, stack: frames.join("\n") };
}
