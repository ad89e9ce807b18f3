import type { Denial } from "../../src/audit/audit-counts.ts";
import type { AuditEntry, AuditRecord } from "../../src/audit/audit-entry.ts";
import type { AuditFilter, AuditStore, MinuteCount, UsageCount } from "../../src/audit/audit-store.ts";
import type { Clock } from "../../src/clock.ts";
import { AuditChain } from "../../src/store/audit-chain.ts";
import { unlockDatabase } from "../../src/store/sqlite/unlock.ts";

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

/** Where an audit is that somebody has opened already. */
export interface AuditPlace {
  readonly path: string;
  readonly keyPath: string;
  readonly clock: Clock;
}

/** Writes many entries in one transaction, which the disk has to confirm but once. `entry` is given 1, 2, 3 and so on. */
export async function appendAtOnce(
  { path, keyPath, clock }: AuditPlace,
  count: number,
  entry: (number: number) => AuditEntry,
): Promise<void> {
  const { sql, keyring, close } = await unlockDatabase({
    path,
    masterKey: undefined,
    masterKeyFile: keyPath,
    clock,
    onKeyCreated: () => {},
  });
  const chain = new AuditChain({ key: keyring.auditKey(), clock });
  try {
    await sql.transact(async (queries) => {
      for (let number = 1; number <= count; number++) await chain.append(queries, entry(number));
    });
  } finally {
    close();
  }
}

/** Every entry that passes `filter`, the oldest first. */
export async function allEntries(
  audit: Pick<AuditStore, "walk">,
  filter: AuditFilter = {},
): Promise<AuditRecord[]> {
  const found: AuditRecord[] = [];
  for await (const records of audit.walk(filter)) found.push(...records);
  return found;
}

/** A count of use to be added: once, by a client in dev that read the token of wx1, with what a test wants otherwise. */
export function usageRow({ minute = 0, n = 1, ...names }: Partial<UsageNames & Numbers> = {}): MinuteCount {
  const { client, environment, action, app } = { ...USAGE, ...names };
  return { minute, kind: "usage", key: [client, environment, action, app].join("\u001f"), n };
}

/** A count of denials to be added, likewise. */
export function denialRow({ minute = 0, n = 1, ...names }: Partial<Denial & Numbers> = {}): MinuteCount {
  const { address, client, route, code } = { ...DENIAL, ...names };
  return { minute, kind: "denial", key: [address, client, route, code].join("\u001f"), n };
}

interface Numbers {
  readonly minute: number;
  readonly n: number;
}
type UsageNames = Pick<UsageCount, "client" | "environment" | "action" | "app">;

/** What `usageRow` is a count of. */
export const USAGE: UsageNames = { client: "one", environment: "dev", action: "token:read", app: "wx1" };
/** What `denialRow` is a count of. */
export const DENIAL: Denial = { address: "203.0.113.7", client: "", route: "/v1/apps", code: 401 };
