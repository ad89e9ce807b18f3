import type { AuditEntry } from "../../src/audit/audit-entry.ts";

/** An audit entry of a client that has cleared a token, with what a test wants otherwise. */
export function entryOf(facts: Partial<AuditEntry> = {}): AuditEntry {
  return {
    client: "order-service",
    environment: "dev",
    address: "10.0.0.8",
    traceId: "6f1c4a3be0d94f6f9f8e9a5d2f5c7b10",
    action: "credential.cleared",
    app: "wx00000000000000aa",
    outcome: "ok",
    tokenDigest: "0123456789abcdef",
    detail: { kind: "access_token" },
    ...facts,
  };
}
