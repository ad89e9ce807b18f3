import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import { Caller, type CallerPolicy, untrusted } from "../access/principal.ts";
import type { ServiceError } from "../errors.ts";

/** The parts of authentication, which share what they know of a request. */
export type Authentication = ReturnType<typeof createAuthentication>;

/**
 * Who asks, found out once a request as far as address and headers tell; what a secret tells, `Access` finds out later.
 *
 * `allowsOrigin` tells whether a page of another origin may make this request.
 *
 * `gate` is used once, by the whole app: it refuses what no key could save, and a wrong key, before a body is read.
 * `meet` and `admitToken` do the same in two steps for what is served beside the app.
 * `identity` is used by the routes: it gives them the caller that the gate let in, as `caller`. `callerOf` finds the
 * same object again; undefined for a request that has not come through the gate.
 */
export function createAuthentication(
  policy: CallerPolicy,
  access: Access,
  allowsOrigin: (request: Request) => boolean = () => false,
) {
  const callers = new WeakMap<Request, Caller>();
  const localRequests = new WeakSet<Request>();
  const meet = (request: Request, traceId: string, peer: () => string): Caller => {
    const caller = new Caller(traceId, () => policy.originOf(peer(), request.headers, allowsOrigin(request)));
    callers.set(request, caller);
    return caller;
  };
  const gate = new Elysia({ name: "gate" })
    // The app sets it at each request; here it is only named.
    .decorate("traceId", "")
    .onRequest(({ request, server, traceId }) => {
      const caller = meet(request, traceId, () => server?.requestIP(request)?.address ?? "");
      if (localRequests.has(request)) caller.isLocal = true;
      else admit(access, caller, request, mayBringSecret(request));
    });
  const identity = new Elysia({ name: "identity" }).derive({ as: "scoped" }, ({ request }) => {
    const caller = callers.get(request);
    if (!caller) throw untrusted("未经识别的请求 (an unidentified request)");
    return { caller };
  });
  const callerOf = (request: Request): Caller | undefined => callers.get(request);
  /** Marks a request that does not come over the network: the command line on this machine makes it. */
  const markLocal = (request: Request): void => void localRequests.add(request);
  /** What a stranger is told who asks for what is not there: no more than for what is. */
  const untrustedIn = (request: Request): ServiceError | undefined => {
    const caller = callers.get(request);
    return caller && access.isUntrusted(caller) ? access.untrustedError(caller) : undefined;
  };
  /** Throws as the gate does, for requests that don't come through it: on WeChat's own paths a token may still tell who asks. */
  const admitToken = (request: Request, caller: Caller): void => admit(access, caller, request, true);
  return { gate, identity, callerOf, untrustedIn, markLocal, meet, admitToken };
}

/**
 * Lets in whoever has a key, and whoever comes from where anybody is believed. Others must be able to prove themselves
 * by a secret or a token later.
 */
function admit(access: Access, caller: Caller, request: Request, mayProve: boolean): void {
  const key = keyIn(request.headers);
  // A key tells more than the network can: no foreign page and no proxy has it by chance.
  if (key !== undefined) return access.admitKey(caller, key);
  if (!access.isUntrusted(caller)) return;
  if (caller.isSuspicious || !mayProve) throw access.untrustedError(caller);
}

/** The API key in a request's headers; one that is no key at all for two that differ, because nobody knows which is meant. */
function keyIn(headers: Headers): string | undefined {
  const authorization = headers.get("authorization");
  const key = headers.get("x-api-key") ?? undefined;
  // Another scheme may be a proxy's own affair; but a key in it is a key that was sent wrongly.
  if (authorization === null || !/^bearer(\s|$)|ats_/i.test(authorization)) return key;
  const bearer = /^bearer\s/i.test(authorization) ? authorization.slice("bearer ".length).trim() : "";
  return key === undefined || key === bearer ? bearer : "";
}

/** Where a secret is looked at: elsewhere it proves nothing. */
const SECRET_PATH = /^\/(AccessToken|JsSDK|xcx)\//;

/** Whether a request could still prove itself by an app's secret: in its query, or in a body. */
function mayBringSecret({ method, url }: Request): boolean {
  if (!SECRET_PATH.test(new URL(url).pathname)) return false;
  return method === "POST" || /[?&]secret=/.test(url);
}
