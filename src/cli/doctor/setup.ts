import { existsSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { type Clock, systemClock } from "../../clock.ts";
import { type Config, loadLocalConfig } from "../../config.ts";
import { ServiceError } from "../../errors.ts";
import { Skipped } from "../../ops/doctor.ts";
import { isLive, type Node } from "../../ops/nodes.ts";
import type { Secret } from "../../secret.ts";
import { readKeyQuietly } from "../../store/given-key.ts";
import { Examination } from "../../store/examine.ts";
import type { Keyring } from "../../store/keyring.ts";
import { PostgresExamination } from "../../store/postgres/examine-postgres.ts";
import { realPathOf } from "../../store/sqlite/database-files.ts";
import { MIGRATIONS } from "../../store/sqlite/open-database.ts";
import { type FoundDatabase, readDatabase, readWithoutLog } from "../../store/sqlite/read-database.ts";
import { REMEMBERED_ENTRY } from "../../store/sqlite/statement.ts";
import { type HostProbe, probeHost } from "../../upstream/probes.ts";
import { plainText } from "../terminal.ts";
import { type DatabaseUsers, processOf, type ServiceProcess, usersOf } from "./processes.ts";

/** How the doctor was called. */
export interface SetupOptions {
  /** Whether nothing but this machine and its database is asked. */
  readonly isOffline: boolean;
  /** With which streams are tried through `PUBLIC_URL`. */
  readonly apiKey: Secret | undefined;
  readonly clock?: Clock;
}

/** A database that could be read. */
export interface ReadableDatabase {
  readonly examination: Examination;
  /** The migrations that it has had, and those that this program knows. */
  readonly applied: readonly string[];
  readonly known: readonly string[];
}

/** The service of this machine as its checks find it; what several of them need is looked at once. */
export class Setup {
  readonly isOffline: boolean;
  readonly apiKey: Secret | undefined;
  readonly clock: Clock;
  /** Why there is no configuration. */
  readonly fault: ServiceError | undefined;
  readonly #config: Config | undefined;
  readonly #known = new Map<string, unknown>();

  constructor({ isOffline, apiKey, clock = systemClock }: SetupOptions) {
    this.isOffline = isOffline;
    this.apiKey = apiKey;
    this.clock = clock;
    try {
      this.#config = loadLocalConfig();
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      this.fault = error;
    }
  }

  /** The configuration. Throws a `Skipped` without one. */
  get config(): Config {
    if (this.#config) return this.#config;
    throw new Skipped("配置无法读取，见第1项 (there is no configuration: see check 1)");
  }

  /** The path of the SQLite database. Throws a `Skipped` where there is none to be. */
  get path(): string {
    const { databasePath } = this.config;
    if (databasePath !== undefined) return databasePath;
    throw new Skipped("仅适用于SQLite (of SQLite alone)");
  }

  /** Throws a `Skipped` when nobody else may be asked. */
  online(): void {
    if (this.isOffline) throw new Skipped("已指定 --offline (--offline was given)");
  }

  /** What is at the path of the SQLite database. */
  get found(): FoundDatabase {
    return this.#once("found", () => readDatabase(this.path));
  }

  /** Whether there is neither a SQLite database nor its master key: the first start makes both. */
  get isFresh(): boolean {
    const { masterKey, masterKeyFile, postgres } = this.config;
    const isMissing = !postgres && ["missing", "empty"].includes(this.found.kind);
    return isMissing && !masterKey && !readKeyQuietly(masterKeyFile);
  }

  /** Who has the SQLite database open; without one, nobody that is known. */
  get users(): DatabaseUsers {
    return this.#once("users", () => {
      const { databasePath } = this.config;
      return databasePath === undefined
        ? { processes: [], isComplete: false }
        : usersOf(realPathOf(databasePath));
    });
  }

  /** As whom the service runs: as its processes do; otherwise, where root asks, as the owner of its files; else as who asks. */
  get uid(): number {
    const own = process.geteuid?.() ?? 0;
    return this.users.processes[0]?.uid ?? (own === 0 ? this.owner : own);
  }

  /** Whom most of the service's files and folders belong to. */
  get owner(): number {
    const { databasePath, masterKey, masterKeyFile } = this.config;
    const files = [databasePath, masterKey ? undefined : masterKeyFile].flatMap((file) => file ?? []);
    const owners = files
      .flatMap((file) => [file, dirname(file)])
      .flatMap((place) => (existsSync(place) ? [statSync(place).uid] : []));
    const countOf = (uid: number) => owners.filter((each) => each === uid).length;
    return owners.toSorted((a, b) => countOf(b) - countOf(a))[0] ?? process.geteuid?.() ?? 0;
  }

  /** Whether the log beside the SQLite database is another's: what it makes of it is damaged, or sealed under another key. */
  get isLogForeign(): Promise<boolean> {
    return this.#once("log", async () => {
      if (this.found.kind === "unreadable") return false;
      const log = statSync(`${realPathOf(this.path)}-wal`, { throwIfNoEntry: false });
      if (!log?.size || this.users.processes.length > 0) return false;
      const { found } = this;
      const alone = readWithoutLog(this.path);
      if (alone.kind !== "open") return false;
      try {
        return await isSpoilt(found, alone);
      } finally {
        alone.database.close();
      }
    });
  }

  /** The PostgreSQL that takes the place of a file. Throws a `Skipped` where there is none. */
  get postgres(): PostgresExamination {
    const { postgres } = this.config;
    if (!postgres) throw new Skipped("仅适用于PostgreSQL (of PostgreSQL alone)");
    return this.#once("postgres", () => new PostgresExamination(postgres.address));
  }

  /** WeChat's and WeCom's hosts, each asked once. */
  get hosts(): Promise<readonly HostProbe[]> {
    return this.#once("hosts", () => {
      const { baseUrls, weixinFallbackUrls, upstreamProxy } = this.config;
      const origins = [
        baseUrls.weixin,
        baseUrls.wecom,
        ...weixinFallbackUrls,
        ...(baseUrls.corps?.values() ?? []),
      ];
      return Promise.all([...new Set(origins)].map((origin) => probeHost(origin, upstreamProxy, this.clock)));
    });
  }

  /** Why PostgreSQL can't be asked; see `PostgresExamination.refusal`. */
  get refusal(): Promise<string | undefined> {
    return this.#once("refusal", () => this.postgres.refusal());
  }

  /** The database of either engine. Throws a `Skipped` when it can't be read, as checks 13 and 19 explain. */
  get database(): Promise<ReadableDatabase> {
    return this.#once("database", () => (this.config.postgres ? this.#openPostgres() : this.#openSqlite()));
  }

  /** The same, and only where it has the tables that this version knows. */
  get current(): Promise<Examination> {
    return this.#once("current", async () => {
      const { applied, known, examination } = await this.database;
      if (known.every((name) => applied.includes(name))) return examination;
      throw new Skipped(
        "数据库尚未迁移到本版本，见第14项 (the database is not migrated to this version: see check 14)",
      );
    });
  }

  /** The keys of the database. Throws a `Skipped` when the master key does not open it, as check 15 explains. */
  get keyring(): Promise<Keyring> {
    return this.#once("keyring", async () => {
      const examination = await this.current;
      return examination.unlock({ ...this.config, onKeyCreated: () => undefined }).catch((error: unknown) => {
        if (!(error instanceof ServiceError) || error.code !== "store_unusable") throw error;
        throw new Skipped(
          "主密钥打不开数据库，见第15项 (the master key does not open the database: see check 15)",
        );
      });
    });
  }

  /** The processes that share a PostgreSQL, as far as they are alive. Throws a `Skipped` elsewhere. */
  get nodes(): Promise<readonly Node[]> {
    return this.#once("nodes", async () => {
      const { postgres } = this;
      await this.database;
      return (await postgres.nodes()).filter(isLive);
    });
  }

  /** The service's processes on this machine, as far as they are known. */
  async processes(): Promise<readonly ServiceProcess[]> {
    if (!this.config.postgres) return this.users.processes;
    const nodes = await this.nodes.catch(() => []);
    return nodes.filter(({ host }) => host === hostname()).flatMap(({ pid }) => processOf(pid));
  }

  /** Closes what was opened, and removes copies. */
  close(): void {
    const found = this.#known.get("found") as FoundDatabase | undefined;
    if (found?.kind === "open") found.database.close();
    (this.#known.get("postgres") as PostgresExamination | undefined)?.close();
  }

  async #openSqlite(): Promise<ReadableDatabase> {
    const { found } = this;
    if (found.kind === "missing" || found.kind === "empty")
      throw new Skipped("还没有数据库 (there is no database yet)");
    if (found.kind !== "open")
      throw new Skipped(
        "数据库无法读取，见第7、9、12、13项 (the database can't be read: see checks 7, 9, 12 and 13)",
      );
    if (await this.isLogForeign)
      throw new Skipped("因遗留的-wal而无法读取，见第12项 (a left-over -wal is in the way: see check 12)");
    const { engine, applied } = found.database;
    const examination = new Examination(engine, this.clock, { remembered: REMEMBERED_ENTRY, keepsNul: true });
    return { examination, applied, known: MIGRATIONS.map(({ name }) => name) };
  }

  async #openPostgres(): Promise<ReadableDatabase> {
    const { postgres } = this;
    if ((await this.refusal) !== undefined)
      throw new Skipped("PostgreSQL无法访问，见第19项 (PostgreSQL can't be reached: see check 19)");
    const applied = await postgres.applied();
    if (applied === undefined)
      throw new Skipped("不是本服务的数据库，见第13项 (a database of another program: see check 13)");
    if (applied.length === 0) throw new Skipped("还没有数据库 (there is no database yet)");
    return {
      examination: new Examination(postgres.engine, this.clock, { keepsNul: false }),
      applied,
      known: postgres.known,
    };
  }

  #once<T>(name: string, look: () => T): T {
    if (!this.#known.has(name)) this.#known.set(name, look());
    return this.#known.get(name) as T;
  }
}

/** Whether a database is damaged with its log, or another one, and whole without it. */
async function isSpoilt(found: FoundDatabase, alone: FoundDatabase & { kind: "open" }): Promise<boolean> {
  if (found.kind !== "open") return true;
  const ask = async ({ database }: typeof alone, text: string) =>
    String(await database.engine.reads.query(text, []).catch(() => "unreadable"));
  const [isWhole, keys] = ["PRAGMA quick_check(1)", "SELECT key_id FROM keyring ORDER BY 1"] as const;
  if ((await ask(found, keys)) !== (await ask(alone, keys))) return true;
  return (await ask(found, isWhole)) !== "ok" && (await ask(alone, isWhole)) === "ok";
}

/** The first few of a list for a message, and how many more there are. */
export function someOf(names: readonly string[], most = 5): string {
  const shown = names.slice(0, most).map(plainText).join(", ");
  return names.length > most ? `${shown} … +${names.length - most}` : shown;
}
