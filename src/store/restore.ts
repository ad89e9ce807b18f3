import { Database, SQLiteError } from "bun:sqlite";
import { eq, isNotNull } from "drizzle-orm";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { AuditActor } from "../audit/audit-entry.ts";
import { ServiceError } from "../errors.ts";
import { DATABASE } from "./backup-archive.ts";
import { type DrillOptions, type DrillReport, type TriedBackup, withTriedBackup } from "./backup-drill.ts";
import type { CopySide } from "./copy-side.ts";
import { copySide, type DatabasePlace } from "./copy-store.ts";
import { forgotten, NEXT_EPOCH, nextGeneration } from "./credential-rows.ts";
import { makeFolderOf } from "./durable-files.ts";
import { raiseEpoch } from "./epochs.ts";
import { withPostgresSide } from "./postgres/postgres-side.ts";
import {
  consoleLinks,
  consoleSessions,
  credentials,
  deliveries,
  loginAnswers,
  loginCodes,
  milestones,
  nodes,
  notifications,
  waitingLogins,
} from "./schema.ts";
import type { Queries, Sql } from "./sql.ts";
import { realPathOf } from "./sqlite/database-files.ts";
import { sideOver, withSqliteSide } from "./sqlite/sqlite-side.ts";
import { type HeldDatabase, removeSecondNames, swapDatabase, whileHeld } from "./sqlite/swap-database.ts";
import { inTempFolder } from "./temp-folder.ts";

/** Which backup is put where. */
export interface RestoreOptions extends DrillOptions {
  readonly to: DatabasePlace;
  /** Whether a database with something in it is replaced. */
  readonly replaces: boolean;
  /** Who does it, for the audit. */
  readonly actor: AuditActor;
}

/** What was restored, and what was lost by it. */
export interface RestoreReport extends DrillReport {
  /** Where the old database is, if there was one: the path of its file, or the schema of its tables in PostgreSQL. */
  readonly kept: { readonly file?: string; readonly schema?: string };
  /** How many tokens and tickets were dropped. */
  readonly droppedTokens: number;
  /** Anonymous access: as in the backup, or ended because it had been ended since, as far as is known. */
  readonly anonymous: "on" | "off" | "ended";
  /** The last entry of the old audit; undefined where there was no old database, or it can't be read. */
  readonly lastEntryId: number | undefined;
  /** Keys, as `client prefix`, that had been revoked or removed and are valid again. */
  readonly revived: readonly string[];
  /** Keys that had been made since the backup and are gone. */
  readonly lost: readonly string[];
}

/**
 * Puts the database of a backup in the place of the one of a stopped service, on either engine.
 *
 * The backup is unpacked, tried and brought to this version first; then it takes the old one's place in one moment: killed at
 * any time, the one or the other is there, whole. The old one is kept: its file under another name, its tables in another schema.
 *
 * What may have changed at WeChat since, and what others may still hold, is put right in it: no credential's generation
 * can come again, tokens and tickets are dropped, nobody is signed in, and nobody has a lease. Anonymous access that had been
 * ended stays so.
 *
 * @throws {ServiceError} `store_unusable` as `verifyBackup`, and while a process has the database open; `conflict` when there
 * is one and `replaces` is not set. Nothing was changed then.
 */
export function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const { to } = options;
  return "path" in to ? restoreFile(to.path, options) : restoreServer(to, options);
}

async function restoreFile(path: string, options: RestoreOptions): Promise<RestoreReport> {
  const { clock, replaces } = options;
  makeFolderOf(path);
  const refuse = async ({ database, isDamaged }: HeldDatabase) => {
    if (replaces) return;
    if (isDamaged || (database && (await hasContents(sideOver(path, database)))))
      throw occupied(`file:${path}`);
  };
  // Before the work, which may take minutes.
  await whileHeld(path, refuse);
  removeSecondNames(path);
  // Beside the file itself, whatever leads to it: a name is only given within one file system.
  return inTempFolder(dirname(realPathOf(path)), clock, async (folder) => {
    const prepared = await prepare(folder, options);
    return whileHeld(path, async (held) => {
      await refuse(held);
      const { database } = held;
      const old = database && sideOver(path, database);
      const found = await compare(old, prepared.keys);
      const anonymous = await settleAnonymousAccess(prepared.path, old, held.isDamaged);
      const file = await swapDatabase(path, prepared.path, held, clock);
      return { ...prepared.report, ...found, anonymous, kept: file === undefined ? {} : { file } };
    });
  });
}

/** Whether somebody has used it, or it is another program's. */
async function hasContents(side: CopySide): Promise<boolean> {
  const tables = await side.tables();
  if (!tables.includes("keyring")) return tables.length > 0;
  return (await side.sql.query("SELECT 1 FROM keyring LIMIT 1", [])).length > 0;
}

async function restoreServer(
  to: Extract<DatabasePlace, { address: unknown }>,
  options: RestoreOptions,
): Promise<RestoreReport> {
  const { clock, replaces } = options;
  return inTempFolder(tmpdir(), clock, async (folder) => {
    const prepared = await prepare(folder, options);
    return withPostgresSide(to.address, "replaced", async (target) => {
      if (!replaces && (await hasContents(target))) throw occupied(target.place);
      const found = await compare(target, prepared.keys);
      const anonymous = await settleAnonymousAccess(prepared.path, target, false);
      const schema = await target.setAside(clock.now());
      await withSqliteSide(prepared.path, "source", (source) => copySide(source, target, { clock }));
      return { ...prepared.report, ...found, anonymous, kept: schema === undefined ? {} : { schema } };
    });
  });
}

/** A key as the report names it, and whether it is valid but for its end. */
type Keys = ReadonlyMap<string, boolean>;

/** A backup that is ready to take the place of a database: a file of its own, whole without any other. */
interface Prepared {
  readonly path: string;
  readonly report: Omit<RestoreReport, "kept" | "anonymous" | "lastEntryId" | "revived" | "lost">;
  readonly keys: Keys;
}

async function prepare(folder: string, options: RestoreOptions): Promise<Prepared> {
  const path = join(folder, DATABASE);
  const prepared = await withTriedBackup(folder, options, false, async (tried) => {
    const { unlocked, chain: _, ...report } = tried;
    const droppedTokens = await unlocked.sql.transact((queries) => putRight(queries, tried, options));
    const keys = await keysOf({ query: (text) => unlocked.sql.rows(text, []) });
    return { path, report: { ...report, droppedTokens }, keys };
  });
  using database = new Database(path, { create: false, readwrite: true });
  database.run("PRAGMA journal_mode = DELETE");
  return prepared;
}

/** What is not true any more of a database of some time ago. Returns how many tokens were dropped. */
async function putRight(
  queries: Queries,
  { manifest, chain }: TriedBackup,
  { clock, archive, actor }: RestoreOptions,
): Promise<number> {
  const now = clock.now();
  await raiseEpoch(queries, "credentials");
  // Any of them may have been cleared, rejected or replaced since; each can be obtained again.
  const dropped = await queries
    .update(credentials)
    .set(forgotten(now))
    .where(isNotNull(credentials.value))
    .returning({ appId: credentials.appId });
  await queries
    .update(credentials)
    .set({ generation: nextGeneration(now), epoch: NEXT_EPOCH, leaseHolder: null, leaseExpiresAt: null });
  await queries.update(deliveries).set({ leaseHolder: null, leaseExpiresAt: null });
  for (const table of [consoleSessions, consoleLinks, loginAnswers, loginCodes, waitingLogins, nodes])
    await queries.delete(table);
  // They tell of what is long over.
  await queries.delete(notifications).where(eq(notifications.state, "waiting"));
  await queries
    .insert(milestones)
    .values({ name: "restored", at: now, detail: "{}" })
    .onConflictDoUpdate({ target: milestones.name, set: { at: now } });
  await chain.append(queries, {
    ...actor,
    ...{ action: "backup.restored", app: "", outcome: "ok", tokenDigest: "" },
    detail: {
      file: basename(archive),
      made_at: manifest.created_at,
      entry: manifest.audit.id,
      engine: manifest.engine,
      version: manifest.version,
    },
  });
  return dropped.length;
}

/** What is different from the old database, as far as that can be read. */
async function compare(
  old: CopySide | undefined,
  keys: Keys,
): Promise<Pick<RestoreReport, "lastEntryId" | "revived" | "lost">> {
  const nothing = { lastEntryId: undefined, revived: [], lost: [] };
  try {
    if (!old || !(await old.tables()).includes("api_keys")) return nothing;
    const before = await keysOf(old.sql);
    const [last] = await old.sql.query("SELECT max(id) FROM audit_entries", []);
    return {
      lastEntryId: Number(last?.[0] ?? 0),
      revived: [...keys]
        .filter(([name, isValid]) => isValid && before.get(name) !== true)
        .map(([name]) => name),
      lost: [...before].filter(([name, isValid]) => isValid && !keys.has(name)).map(([name]) => name),
    };
  } catch (error) {
    // It is damaged, which may be why it is replaced.
    if (!(error instanceof SQLiteError)) throw error;
    return nothing;
  }
}

const ANONYMOUS_ON = "SELECT 1 FROM settings WHERE name = 'anonymous' AND value = 'on'";

/** Ends anonymous access in the prepared file `path` where the old database has it ended, or can't be asked. */
async function settleAnonymousAccess(
  path: string,
  old: CopySide | undefined,
  isDamaged: boolean,
): Promise<RestoreReport["anonymous"]> {
  using database = new Database(path, { create: false, readwrite: true });
  if (!database.query(ANONYMOUS_ON).get()) return "off";
  if (old ? await mayStayOn(old) : !isDamaged) return "on";
  database.run("UPDATE settings SET value = 'off' WHERE name = 'anonymous'");
  return "ended";
}

async function mayStayOn(old: CopySide): Promise<boolean> {
  try {
    const tables = await old.tables();
    if (!tables.includes("settings")) return tables.length === 0;
    return (await old.sql.query(ANONYMOUS_ON, [])).length > 0;
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error;
    return false;
  }
}

async function keysOf(sql: Pick<Sql, "query">): Promise<Keys> {
  const rows = await sql.query("SELECT client, prefix, revoked_at FROM api_keys ORDER BY client, prefix", []);
  return new Map(
    rows.map(([client, prefix, revokedAt]) => [`${String(client)} ${String(prefix)}`, revokedAt === null]),
  );
}

function occupied(place: string): ServiceError {
  return new ServiceError(
    "conflict",
    `${place}: 已有数据库，未作任何改动；确要以备份替换时加 --replace (there is a database already, and nothing was changed; to replace it by the backup, give --replace)`,
  );
}
