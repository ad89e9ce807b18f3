import { CloneType, type Static, type TSchema } from "@sinclair/typebox";
import type { Permit, Usage } from "../access/permits.ts";
import type { Origin } from "../access/origin.ts";
import { type Caller, type Principal, UNIDENTIFIED } from "../access/principal.ts";
import { type ErrorCode, ServiceError } from "../errors.ts";
import type { FailedResult, RequestResult } from "../events.ts";
import { checkBody, checkFields, dropEmpty, readJsonBody } from "./body.ts";

/** The socket that a request came over. */
export interface RequestSocket {
  /** The other end's address. */
  readonly peer: () => string;
  /** Sets the time-out of the request's body and its handler, in seconds; at most 255, 0 for none. */
  readonly giveTime: (seconds: number) => void;
}

/** How a request ended, for log, metrics and audit. */
export interface Outcome {
  /** 0, or as in the answer. */
  readonly code: number;
  readonly result: RequestResult;
  /** What is counted as used: of a success, and of a call that may have been carried out. */
  readonly usage?: Usage | undefined;
  /** What went wrong, for the door to record. */
  readonly error?: unknown;
  /** The request id that the answer names beside the trace id. */
  readonly rid?: string | undefined;
  /** Of a call through the gateway: whether its token was rejected and replaced. */
  readonly healing?: "none" | "healed" | "failed" | undefined;
}

/** Version 00, with the ids of a trace and of a span that are not all zeros. https://www.w3.org/TR/trace-context/ */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

const NOT_ANSWERED: Outcome = { code: 500, result: "internal" };

/** One request that passes the door. */
export class Call implements Caller {
  readonly request: Request;
  readonly socket: RequestSocket;
  readonly traceId: string;
  /** By the monotonic clock. */
  readonly startedAt: number;
  readonly origin: Origin;
  /** The path as in the URL, and the query without its question mark. */
  readonly path: string;
  readonly search: string;
  /** A pattern of ours, never the path itself. */
  route = "(none)";
  outcome: Outcome = NOT_ANSWERED;
  #principal: Principal = UNIDENTIFIED;

  constructor(
    request: Request,
    socket: RequestSocket,
    origin: Origin,
    times: Pick<Call, "traceId" | "startedAt">,
  ) {
    this.request = request;
    this.socket = socket;
    this.origin = origin;
    this.traceId = times.traceId;
    this.startedAt = times.startedAt;
    const { url } = request;
    const start = url.indexOf("/", url.indexOf("://") + 3);
    const mark = url.indexOf("?", start);
    this.path = mark === -1 ? url.slice(start) : url.slice(start, mark);
    this.search = mark === -1 ? "" : url.slice(mark + 1);
  }

  /** Read when it is asked for: most requests are neither logged nor audited. */
  get parentTraceId(): string | undefined {
    return TRACEPARENT.exec(this.request.headers.get("traceparent") ?? "")?.[1];
  }

  /** Who is calling, as far as headers tell; the door finds it out before anything else is done. */
  get principal(): Principal {
    return this.#principal;
  }

  /** Notes who is calling. For the door alone. */
  identify(principal: Principal): void {
    this.#principal = principal;
  }
}

/** A part of the service that answers requests in a shape of its own. */
export interface Face {
  /** Whether it is for WeChat and users' browsers: nothing else is answered under the host of `PUBLIC_URL`. */
  readonly isPublic: boolean;
  /** Whether the request is for this face. */
  matches(call: Call): boolean;
  /** Whether a caller from outside the trusted networks may still identify itself by what it sends. */
  mayIdentify(call: Call): boolean;
  /** The answer; `call.outcome` and `call.route` say how it came about. Throws what `encodeError` encodes. */
  handle(call: Call): Response | Promise<Response>;
  /** The answer to a failure, noted as the call's outcome. Never throws. */
  encodeError(error: unknown, call: Call): Response;
}

/** What a handler returns: the data or the text of the answer, what is recorded, and status and headers. */
export class Reply {
  readonly data: object | string;
  readonly usage: Usage | undefined;
  readonly result: RequestResult;
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;
  /** What the person who reads the answer should look at. */
  readonly hint: string | undefined;

  constructor(
    data: object | string,
    more: {
      readonly permit?: Pick<Permit<unknown>, "usage"> | undefined;
      readonly result?: RequestResult | undefined;
      readonly status?: number | undefined;
      readonly headers?: Readonly<Record<string, string>> | undefined;
      readonly hint?: string | undefined;
    },
  ) {
    this.data = data;
    this.usage = more.permit?.usage;
    this.result = more.result ?? "done";
    this.status = more.status;
    this.headers = more.headers;
    this.hint = more.hint;
  }
}

const CALL = Symbol("call");
type CarryingRequest = Request & { [CALL]?: Call };

/** Attaches `call` to its request, which is what a framework hands to its handlers. */
export function attachCall(call: Call): void {
  (call.request as CarryingRequest)[CALL] = call;
}

/** The call that came with this request through the door. */
export function callOf(request: Request): Call {
  const call = (request as CarryingRequest)[CALL];
  if (!call) throw new Error("a request that did not come through the door");
  return call;
}

/** The `secret` of a query, in whose place a key may be; empty without one. As it is: a key has nothing to decode. */
export function secretIn(search: string): string {
  return /(?:^|&)secret=([^&]*)/.exec(search)?.[1] ?? "";
}

/** What a route declares beside its path. */
export interface RouteRules {
  /** Throws for a caller that may not come here; called before a body is read and before anything sent is looked at. */
  readonly guard?: (call: Call, params: Readonly<Record<string, string>>) => unknown;
  /**
   * Throws for a caller that neither its headers nor the secret in its body identify; called with the parsed body before
   * a schema looks at it.
   */
  readonly prove?: (call: Call, body: Readonly<Record<string, unknown>>) => unknown;
  /** The largest body, in bytes; default 64 KiB. */
  readonly maxBytes?: number;
  /** How long it may take, in seconds; 0 for as long as it takes; default the server's idle time-out. */
  readonly seconds?: number;
  /**
   * Whether a body is taken to the letter: a field that its schema does not name is refused, as a misspelt field is a
   * change not made. Elsewhere an empty field is an absent one.
   */
  readonly isClosed?: boolean;
}

/**
 * `handler`, which the framework calls without awaiting it: it awaits every function whose text looks as if that returned
 * a promise, and a bound function shows no text. A promise may be returned all the same.
 */
export function immediate<I, O>(handler: (input: I) => O): (input: I) => O {
  return handler.bind(undefined);
}

/** A request as an immediate handler is given it, validated. */
export interface Validated<Q extends TSchema, P extends TSchema = TSchema> {
  readonly query: Static<Q>;
  readonly params: Static<P>;
  readonly request: Request;
}

interface Sent {
  readonly request: Request;
  readonly params: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** `hooks` with what `rules` ask for. Every route that takes a body, or could be sent one, is made with it. */
export function route<H extends object>(rules: RouteRules, hooks: H) {
  const { body } = hooks as { readonly body?: TSchema };
  // The framework closes the schemas that it is given.
  const schema = body && CloneType(body);
  const { guard, prove, maxBytes, seconds, isClosed = false } = rules;
  const enter = (request: Request, params: Sent["params"]): void => {
    const call = callOf(request);
    if (seconds !== undefined) call.socket.giveTime(seconds);
    guard?.(call, params);
  };
  return {
    ...hooks,
    parse: ({ request, params }: Sent) => {
      enter(request, params);
      return readJsonBody(request, { isOptional: schema === undefined, maxBytes });
    },
    transform: ({ request, params, body }: Sent): void => {
      enter(request, params);
      if (!schema) return;
      if (!isClosed) dropEmpty(body as Record<string, unknown>);
      prove?.(callOf(request), body as Readonly<Record<string, unknown>>);
      if (isClosed) checkFields(schema, body);
      checkBody(schema, body);
    },
  };
}

/** The outcome of a failure with that code in its answer. */
export function failed(code: number, error: unknown, usage?: Usage): Outcome {
  return { code, result: resultOf(error), error, usage };
}

const RESULTS = {
  invalid_parameter: "caller",
  unauthorized: "caller",
  forbidden: "caller",
  not_found: "caller",
  method_not_allowed: "caller",
  conflict: "caller",
  precondition_failed: "caller",
  payload_too_large: "caller",
  unsupported_media_type: "caller",
  rate_limited: "caller",
  upstream_rejected: "upstream",
  upstream_invalid: "upstream",
  upstream_unreachable: "upstream",
  upstream_timeout: "upstream",
  unavailable: "internal",
  invalid_config: "internal",
  store_unusable: "internal",
  internal: "internal",
} satisfies Record<ErrorCode, FailedResult>;

function resultOf(error: unknown): FailedResult {
  if (!(error instanceof ServiceError)) return "internal";
  if (error.deniedTo !== undefined) return "denied";
  return error.upstream?.class === "input" ? "caller" : RESULTS[error.code];
}
