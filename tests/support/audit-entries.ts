import { drizzle } from "drizzle-orm/bun-sqlite";
import type { AuditEntry } from "../../src/audit/audit-entry.ts";
import type { Clock } from "../../src/clock.ts";
import { AuditChain } from "../../src/store/sqlite/audit-chain.ts";
import { runStatement } from "../../src/store/sqlite/statement.ts";
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
  const { database, keyring } = await unlockDatabase({
    path,
    masterKey: undefined,
    masterKeyFile: keyPath,
    clock,
    onKeyCreated: () => {},
  });
  const chain = new AuditChain({ key: keyring.auditKey(), clock });
  try {
    await runStatement(clock, () =>
      drizzle({ client: database }).transaction(
        (transaction) => {
          for (let number = 1; number <= count; number++) chain.append(transaction, entry(number));
        },
        { behavior: "immediate" },
      ),
    );
  } finally {
    database.close();
  }
}
