import { Elysia, ParseError, ValidationError } from "elysia";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { Authentication } from "../clients/authentication.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { failureEnvelope, successEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { JsApiSigner } from "../jssdk/js-api-signer.ts";
import type { Login } from "../login/login.ts";
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
  readonly events: EventBus;
}

/**
 * Every route behind one error hook and one envelope.
 *
 * Handlers return `data` and throw `ServiceError`s; what comes out of here is the documented envelope, whatever
 * happened. The error hook forwards nothing of what it was given, because a framework's own message quotes the
 * request, secrets included.
 */
export function createApp(parts: AppParts) {
  const { events, authentication } = parts;
  const identity = authentication.identity;
  const routes = new Elysia()
    .use(indexRoute())
    .use(accessTokenRoutes({ ...parts, identity }))
    .use(jsSdkRoutes({ ...parts, identity }))
    .use(xcxRoutes({ ...parts, identity }));
  const paths = new Set(routes.routes.map(({ path }) => path));
  return new Elysia({ name: "app" })
    .onError(({ error, code, set, request, route, path }) => {
      const traceId = String(set.headers["trace-id"] ?? newTraceId());
      const isKnownPath = code === "NOT_FOUND" && paths.has(path.replace(/(?<=.)\/$/, ""));
      const failure = isKnownPath ? methodNotAllowed() : toServiceError(error);
      const envelope = failureEnvelope(failure, traceId);
      // The framework would put the status of its own error over that of the response.
      set.status = 200;
      const pattern = code === "NOT_FOUND" ? "(none)" : route;
      if (!(failure instanceof ServiceError)) {
        events.emit({ type: "request.failed", traceId, route: pattern, ...faultFacts(failure) });
      }
      events.emit({
        type: "request.handled",
        traceId,
        method: request.method,
        route: pattern,
        code: envelope.code,
      });
      return envelopeResponse(envelope);
    })
    .onRequest(({ set, request }) => {
      set.headers["trace-id"] = newTraceId();
      checkQuery(request.url);
    })
    .use(authentication.gate)
    .onParse(({ request }) => readJsonBody(request))
    .mapResponse(({ responseValue, set, request, route }) => {
      const isFinished = responseValue instanceof Response;
      if (isFinished || typeof responseValue !== "object" || responseValue === null) return undefined;
      const traceId = String(set.headers["trace-id"]);
      events.emit({ type: "request.handled", traceId, method: request.method, route, code: 0 });
      return envelopeResponse(successEnvelope(responseValue, traceId));
    })
    .use(routes)
    .use(swaggerRoutes(routes));
}

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
