import type { AuditTrail } from "../audit/audit-trail.ts";
import type { Caller } from "../access/principal.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";

/** Where it is told that a request was handled. */
export interface RequestRecordParts {
  readonly audit: Pick<AuditTrail, "countUsage" | "countDenial">;
  readonly events: EventBus;
  readonly clock: Clock;
}

/** How a request was handled. */
interface RequestFacts {
  /** By the monotonic clock. */
  readonly startedAt: number;
  readonly traceId: string;
  /** A pattern of ours, never the path itself. */
  readonly route: string;
  /** 0, or as in the answer. */
  readonly code: number;
}

/** Tells log and metrics of a request, and counts for the audit what was used, or may have been, or was denied. */
export function recordRequest(
  { audit, events, clock }: RequestRecordParts,
  { method }: Request,
  caller: Caller | undefined,
  { startedAt, traceId, route, code }: RequestFacts,
): void {
  const result = code === 0 ? (caller?.result ?? "done") : "error";
  const durationMs = Math.round((clock.monotonic() - startedAt) * 1000) / 1000;
  events.emit({ type: "request.handled", traceId, method, route, code, result, durationMs });
  if (!caller) return;
  const { identity, use } = caller;
  if (caller.isRefused) {
    audit.countDenial({ address: caller.address, client: identity?.client ?? "", route, code });
    events.emit({ type: "access.denied", code, route });
  } else if ((code === 0 || caller.mayHaveCalled) && identity && use) {
    const action = use.family === undefined ? use.action : `${use.action} ${use.family}`;
    audit.countUsage(identity, action, use.app);
  }
}

/** An error's name and where it came from. Its message stays here: it may quote what was sent. */
export function faultFacts(error: unknown): { error: string; stack: string } {
  if (!(error instanceof Error)) return { error: typeof error, stack: "" };
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return { error: error.name, stack: frames.join("\n") };
}
