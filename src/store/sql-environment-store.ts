import { count, eq } from "drizzle-orm";
import {
  defaultsOf,
  type Environment,
  ENVIRONMENT_NAME,
  type EnvironmentStore,
  LOGIN_CODES,
} from "../access/environments.ts";
import { outdated } from "../apps/app-administration.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import { ServiceError } from "../errors.ts";
import type { AuditChain } from "./audit-chain.ts";
import { checkRow, type DamageReports } from "./damaged-rows.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import { callbackTargets, clients, environments, redirectOrigins } from "./schema.ts";
import type { Queries, SqlDatabase } from "./sql.ts";

/** Environments in a SQL database. */
export class SqlEnvironmentStore implements EnvironmentStore {
  readonly #database: SqlDatabase;
  readonly #audit: AuditChain;
  readonly #changes: OwnChanges;
  readonly #damage: DamageReports;

  constructor(database: SqlDatabase, audit: AuditChain, changes: OwnChanges, damage: DamageReports) {
    this.#database = database;
    this.#audit = audit;
    this.#changes = changes;
    this.#damage = damage;
  }

  async list(): Promise<Environment[]> {
    const rows = await this.#database.read((queries) => queries.select().from(environments));
    return rows.map(toEnvironment).filter(({ name, damaged = [] }) => {
      const isNamed = ENVIRONMENT_NAME.test(name);
      this.#damage.note(`environments:${isNamed ? name : "?"}`, isNamed ? damaged : ["name"]);
      return isNamed;
    });
  }

  async create(environment: Omit<Environment, "version">, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries, version) => {
      if (!(await insert(queries, { ...toColumns(environment), version })))
        throw new ServiceError("conflict", "该环境已存在 (the environment exists)");
    });
  }

  async update(environment: Environment, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries, epoch) => {
      const before = await find(queries, environment.name);
      if (before?.version !== environment.version - 1) throw outdated();
      // Where the version was damaged, no former ETag may fit the next.
      const version = before.damaged ? epoch : environment.version;
      const { name, ...columns } = toColumns(environment);
      await queries
        .update(environments)
        .set({ ...columns, version })
        .where(eq(environments.name, name));
    });
  }

  async remove(name: string, version: number, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      if ((await find(queries, name))?.version !== version) throw outdated();
      const used = await usesOf(queries, name);
      if (used.length > 0) throw inUse(used);
      await queries.delete(environments).where(eq(environments.name, name));
    });
  }

  async #change(entry: AuditEntry, work: (queries: Queries, epoch: number) => Promise<void>): Promise<void> {
    await this.#database.transact(async (queries) => {
      await work(queries, await raiseEpoch(queries, "environments"));
      await this.#audit.append(queries, entry);
    });
    await this.#changes.expire();
  }
}

/**
 * Makes the environment that a client or a target names with the rest of the transaction, unless there is one. Resolves with
 * the entry of the change, which tells of the one that was made.
 */
export async function haveEnvironment(
  queries: Queries,
  name: string,
  at: number,
  entry: AuditEntry,
): Promise<AuditEntry> {
  const isThere = eq(environments.name, name);
  if (await queries.select({ name: environments.name }).from(environments).where(isThere).get()) return entry;
  const version = await raiseEpoch(queries, "environments");
  const made = { name, ...defaultsOf(name), createdAt: at, updatedAt: at };
  await insert(queries, { ...made, version });
  const facts = { production: made.isProduction, codes: made.codes };
  return { ...entry, detail: { ...entry.detail, new_environment: facts } };
}

async function insert(queries: Queries, row: typeof environments.$inferInsert): Promise<boolean> {
  const written = await queries
    .insert(environments)
    .values(row)
    .onConflictDoNothing()
    .returning({ name: environments.name })
    .get();
  return written !== undefined;
}

async function find(queries: Queries, name: string): Promise<Environment | undefined> {
  const [row] = await queries.select().from(environments).where(eq(environments.name, name));
  return row && toEnvironment(row);
}

/** What belongs to an environment, in both languages. */
async function usesOf(queries: Queries, name: string): Promise<readonly (readonly [string, string])[]> {
  const tables = [
    [clients, "个客户端", "clients"],
    [redirectOrigins, "个回调来源", "redirect origins"],
    [callbackTargets, "个推送目标", "targets of pushes"],
  ] as const;
  const uses: [string, string][] = [];
  for (const [table, chinese, english] of tables) {
    const [row] = await queries.select({ n: count() }).from(table).where(eq(table.environment, name));
    const n = row?.n ?? 0;
    if (n > 0) uses.push([`${n}${chinese}`, `${english}: ${n}`]);
  }
  return uses;
}

function inUse(uses: readonly (readonly [string, string])[]): ServiceError {
  const chinese = uses.map(([each]) => each).join("、");
  const english = uses.map(([, each]) => each).join(", ");
  return new ServiceError(
    "conflict",
    `该环境仍在使用（${chinese}），请先删除或改到其他环境 (the environment is in use (${english}); remove them or give them another environment first)`,
  );
}

function toColumns({ name, isProduction, codes, createdAt, updatedAt }: Omit<Environment, "version">) {
  return { name, isProduction, codes, createdAt, updatedAt };
}

/** An environment as far as its row can be read; what can't be opens nothing. */
function toEnvironment(stored: typeof environments.$inferSelect): Environment {
  const { row, damaged } = checkRow(environments, stored);
  const codes = LOGIN_CODES.find((each) => each === row.codes);
  const all = [...new Set([...damaged, ...(codes ? [] : ["codes"])])];
  return {
    ...toColumns({ ...row, codes: codes ?? "relay" }),
    version: row.version,
    ...(all.length > 0 ? { damaged: all } : {}),
  };
}
