import { eq } from "drizzle-orm";
import { type App, appName } from "../apps/app.ts";
import { type AuditAction, type AuditEntry, SERVICE } from "../audit/audit-entry.ts";
import { Secret } from "../secret.ts";
import { type Columns, type OpenableRow, rowKey, type RowName, slotOf, toColumns } from "./app-rows.ts";
import { fingerprints, revisions } from "./schema.ts";
import type { Queries } from "./sql.ts";

/** Where an app comes from. */
export type AppSource = "environment" | "managed";

/** The source of those that the environment names, and the name of what was written last of them. */
export const ENVIRONMENT: AppSource = "environment";

/** What a start does about one app of the environment. */
export interface EnvironmentChange {
  readonly name: RowName;
  /** What is written of it; undefined for nothing. */
  readonly columns?: Columns;
  /** Whether what was issued to it is cleared. */
  readonly isReset: boolean;
  readonly action?: AuditAction | undefined;
}

/** What makes the rows of the environment equal to `wanted`; with `isFirst`, what comes new is not told to the audit. */
export function changesBetween(
  stored: readonly OpenableRow[],
  wanted: readonly Columns[],
  isFirst: boolean,
): EnvironmentChange[] {
  const byKey = new Map(stored.map((row) => [rowKey(row), row]));
  const wantedKeys = new Set(wanted.map(rowKey));
  const gone = stored.filter((row) => !wantedKeys.has(rowKey(row)));
  // A row that does not open under its name is a damaged one, and then nothing may be written.
  for (const row of gone) row.openSecret();
  const changed = wanted.flatMap((columns): EnvironmentChange[] => {
    const row = byKey.get(rowKey(columns));
    const hasSecret = row?.openSecret().equals(columns.secret) ?? false;
    if (hasSecret && row?.tokenMode === columns.tokenMode) return [];
    // With which secret the credentials of both were obtained is not written down.
    if (hasSecret) return [{ name: columns, columns, isReset: false }];
    const creation = isFirst ? undefined : "app.created";
    return [{ name: columns, columns, isReset: true, action: row ? "app.secret_changed" : creation }];
  });
  return [...gone.map((name) => ({ name, isReset: true, action: "app.deleted" as const })), ...changed];
}

/** What no change of apps leaves as it is: the epoch of the managed ones, and what was written last of the environment's. */
export async function stampOf(queries: Queries) {
  const { digest } = fingerprints;
  const [last] = await queries
    .select({ digest })
    .from(fingerprints)
    .where(eq(fingerprints.name, ENVIRONMENT));
  const { number } = revisions;
  const [epoch] = await queries.select({ number }).from(revisions).where(eq(revisions.name, "apps"));
  // A damaged cell may be of any type.
  return { digest: String(last?.digest), epoch: String(epoch?.number) };
}

/** What a start has found changed in the environment. */
export function environmentEntry(action: AuditAction, name: RowName): AuditEntry {
  const [app, detail] = [appName(slotOf(name)), { source: ENVIRONMENT }];
  return { ...SERVICE, action, app, outcome: "ok", tokenDigest: "", detail };
}

/** What the environment says of its apps: their names and modes a line each, in the order of the key; and the secrets with them. */
export function fingerprintOf(wanted: readonly App[]): { readonly names: string; readonly text: Secret } {
  const lines = wanted
    .map((app) => {
      const { platform, appId, agent, tokenMode, secret } = toColumns(app);
      // A blank comes before every character of a name, so that lines are in the order of their first words.
      return { name: `${platform} ${appId} ${agent} ${tokenMode}`, secret };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    names: lines.map(({ name }) => name).join("\n"),
    text: new Secret(lines.map(({ name, secret }) => `${name} ${secret.reveal()}`).join("\n")),
  };
}
