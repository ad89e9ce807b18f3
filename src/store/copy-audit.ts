import type { AuditActor } from "../audit/audit-entry.ts";
import type { VerifyResult } from "../audit/audit-store.ts";
import type { Clock } from "../clock.ts";
import { AuditChain } from "./audit-chain.ts";
import { verifyChain } from "./audit-verification.ts";
import { type CopySide, databaseOf } from "./copy-side.ts";
import { readDataKeys } from "./data-keys.ts";
import { givenKey, type KeyOptions, readKeyQuietly } from "./given-key.ts";
import { keyringUnder } from "./sql-key-table.ts";

/** Who copies, and where the master key may be. */
export interface CopyAuditOptions extends Pick<KeyOptions, "masterKey" | "masterKeyFile"> {
  readonly clock: Clock;
  /** Who does it, for the audit. */
  readonly actor: AuditActor;
}

/**
 * Ends the audit of `target`, a copy of `source`, with who made it, and says what its chain says then; undefined where the
 * master key that opens it is not here.
 *
 * @throws {ServiceError} when the entry can't be written.
 */
export async function noteCopy(
  source: CopySide,
  target: CopySide,
  { masterKey, masterKeyFile, clock, actor }: CopyAuditOptions,
): Promise<VerifyResult | undefined> {
  const onKeyCreated = () => undefined;
  const key = masterKey
    ? givenKey({ masterKey, masterKeyFile, onKeyCreated })
    : readKeyQuietly(masterKeyFile);
  if (!key) return undefined;
  const database = databaseOf(target);
  const keyring = await keyringUnder(database, key);
  if (!keyring.current) return undefined;
  keyring.use(await database.snapshot((queries) => readDataKeys(queries, keyring)));
  const { remembered, keepsNul } = target;
  const chain = new AuditChain({ key: keyring.auditKey(), clock, remembered, keepsNul });
  await database.transact((queries) =>
    chain.append(queries, {
      ...actor,
      ...{ action: "store.copied", app: "", outcome: "ok", tokenDigest: "" },
      detail: { from: source.place, to: target.place },
    }),
  );
  return verifyChain(database, chain);
}
