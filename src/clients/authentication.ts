import { Elysia } from "elysia";
import { ServiceError } from "../errors.ts";
import type { Caller, CallerPolicy } from "./caller.ts";

/** The parts of authentication, which share what they know of a request. */
export type Authentication = ReturnType<typeof createAuthentication>;

/**
 * Who asks, decided once a request.
 *
 * `gate` is used once, by the whole app: it refuses a caller that may not be answered, before a body is read.
 * `identity` is used by the routes: it gives them the caller that the gate let in, as `caller`. `callerOf` finds the
 * same object again; undefined when the gate let nobody in.
 */
export function createAuthentication(policy: CallerPolicy) {
  const callers = new WeakMap<Request, Caller>();
  const gate = new Elysia({ name: "gate" }).onRequest(({ request, server }) => {
    const caller = policy.identify(server?.requestIP(request)?.address ?? "", request.headers);
    if (caller.distrust) throw new ServiceError("forbidden", `禁止访问：${caller.distrust}`);
    callers.set(request, caller);
  });
  const identity = new Elysia({ name: "identity" }).derive({ as: "scoped" }, ({ request }) => {
    const caller = callers.get(request);
    if (!caller) throw new ServiceError("forbidden", "禁止访问 (forbidden)");
    return { caller };
  });
  const callerOf = (request: Request): Caller | undefined => callers.get(request);
  return { gate, identity, callerOf };
}
