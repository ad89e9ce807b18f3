import { stat } from "node:fs/promises";
import { ServiceError } from "../../errors.ts";
import { type Checks, failure, type Finding, fine, Skipped, warning } from "../../ops/doctor.ts";
import { realPathOf } from "../../store/sqlite/database-files.ts";
import { faultsOf } from "../../store/sqlite/read-database.ts";
import { checkPostgres } from "./postgres-check.ts";
import { type Setup, someOf } from "./setup.ts";

const MAX_LOG_BYTES = 64 * 1024 ** 2;
const MAX_OFFSET_MS = 2000;
/** A large database takes minutes: what is not looked at in this time is told. */
const INTEGRITY_MS = 40_000;
/** The tables that grow. */
const LOGS = ["audit_entries", "counts", "refresh_log", "pushes", "deliveries"] as const;

const RESTORE =
  "停止服务并恢复备份：accesstoken restore (stop the service and restore a backup: accesstoken restore)";

/** The checks of the database and of what is in it. */
export const DATABASE_CHECKS = {
  integrity: checkIntegrity,
  schema: checkSchema,
  sealed_rows: checkSealedRows,
  audit: checkAudit,
  size: checkSize,
  clock: checkClock,
  postgres: checkPostgres,
} satisfies Partial<Checks<Setup>>;

async function checkIntegrity(setup: Setup): Promise<Finding[]> {
  const { databasePath, postgres } = setup.config;
  if (postgres) {
    if ((await setup.refusal) === undefined && (await setup.postgres.applied()) === undefined)
      return [foreign("DATABASE_URL")];
    throw new Skipped("由PostgreSQL负责 (PostgreSQL's own concern)");
  }
  const path = databasePath ?? "";
  const { found } = setup;
  if (await setup.isLogForeign)
    throw new Skipped("因遗留的-wal而无法判断，见第12项 (a left-over -wal is in the way: see check 12)");
  switch (found.kind) {
    case "missing":
    case "empty": {
      if (setup.isFresh)
        return [fine("还没有数据库，首次启动时创建 (there is none yet: the first start makes it)")];
      return [
        failure(
          `${path} 不存在或为空，而主密钥已存在：数据库可能丢失，或未挂载 (${path} is not there or empty, while its master key is: the database is lost, or its disk is not mounted)`,
          "检查DATABASE_URL和挂载，或恢复备份；确要新建时用 serve --new-database (check DATABASE_URL and mounts, or restore a backup; to begin anew: serve --new-database)",
        ),
      ];
    }
    case "foreign":
      return [foreign(path)];
    case "unreadable":
      throw new Skipped(
        `无法打开（${found.code}），见第7、9项 (it can't be opened (${found.code}): see checks 7 and 9)`,
      );
    case "damaged":
      return [damage(path, found.code)];
    case "open":
  }
  const startedAt = setup.clock.monotonic();
  const faults: string[] = [];
  let isCut = false;
  for await (const some of faultsOf(found.database)) {
    faults.push(...some);
    isCut = setup.clock.monotonic() - startedAt > INTEGRITY_MS;
    if (isCut) break;
  }
  if (faults.length > 0) return [damage(path, someOf(faults, 3))];
  return [
    fine(
      isCut ? "所检查的部分完好，数据库较大 (whole as far as it was looked at: it is large)" : "完好 (whole)",
    ),
  ];
}

function foreign(place: string): Finding {
  return failure(
    `${place} 是其他程序的数据库 (${place} is a database of another program)`,
    "修正DATABASE_URL (correct DATABASE_URL)",
  );
}

function damage(path: string, what: string): Finding {
  return failure(`${path} 已损坏：${what} (${path} is damaged: ${what})`, RESTORE);
}

async function checkSchema(setup: Setup): Promise<Finding[]> {
  const { applied, known } = await setup.database;
  const newer = applied.filter((name) => !known.includes(name));
  const missing = known.filter((name) => !applied.includes(name));
  if (newer.length > 0)
    return [
      failure(
        `数据库由更新版本创建或升级（${someOf(newer)}） (a newer version has made or migrated it (${someOf(newer)}))`,
        "升级本程序 (upgrade this program)",
      ),
    ];
  if (missing.length === 0) return [fine(known.at(-1) ?? "")];
  return [
    warning(
      `数据库较旧，缺少迁移 ${someOf(missing)} (it is older than this program: ${someOf(missing)} is missing)`,
      "备份后以本版本启动服务，启动时自动迁移 (back it up and start the service of this version, which migrates it)",
    ),
  ];
}

async function checkSealedRows(setup: Setup): Promise<Finding[]> {
  const examination = await setup.current;
  try {
    await examination.unlock({ ...setup.config, onKeyCreated: () => undefined });
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== "store_unusable") throw error;
    const remedy =
      "放回创建该数据库时的主密钥，或 accesstoken master-key import (put the key of this database back, or: accesstoken master-key import)";
    return [failure(error.message, remedy)];
  }
  const { sealed, damaged } = await examination.openAll(await setup.keyring);
  const opened = sealed - damaged.length;
  if (damaged.length === 0) return [fine(`${sealed}项密文全部可以解密 (all ${sealed} sealed texts open)`)];
  return [
    failure(
      `${sealed}项密文中有${opened}项可以解密，打不开：${someOf(damaged)} (${opened} of ${sealed} sealed texts open; not: ${someOf(damaged)})`,
      "重新设置该应用的secret或回调，或恢复备份 (set that app's secret or callback again, or restore a backup)",
    ),
  ];
}

async function checkAudit(setup: Setup): Promise<Finding[]> {
  const examination = await setup.current;
  const { isIntact, entries, fault, last } = await examination.verifyAudit(await setup.keyring);
  if (isIntact) {
    const anchor = last ? `${last.id} ${last.hash}` : "-";
    return [
      fine(`完整，共${entries}条，最后一条 ${anchor} (intact, ${entries} entries; the last one: ${anchor})`),
    ];
  }
  return [
    failure(
      `audit_entries ${fault?.id}: ${fault?.message}`,
      "保留现场，与备份比对，查明谁能写该数据库 (keep it as it is, compare it with backups, and find out who can write the database)",
    ),
  ];
}

async function checkSize(setup: Setup): Promise<Finding[]> {
  const examination = await setup.current;
  const rows = await Promise.all(
    LOGS.map(
      async (table) =>
        `${table} ${String((await examination.rows(`SELECT count(*) FROM ${table}`))[0]?.[0])}`,
    ),
  );
  const { databasePath } = setup.config;
  const sizeOf = async (path: string) => (await stat(path).catch(() => undefined))?.size ?? 0;
  const file = databasePath === undefined ? undefined : realPathOf(databasePath);
  const size = file === undefined ? "" : `${Math.ceil((await sizeOf(file)) / 1024 ** 2)} MB, `;
  const log = file === undefined ? 0 : await sizeOf(`${file}-wal`);
  const found = [fine(`${size}${rows.join(", ")}`)];
  if (log > MAX_LOG_BYTES) {
    const megabytes = Math.floor(log / 1024 ** 2);
    found.push(
      warning(
        `-wal 有 ${megabytes} MB，未能并入数据库 (the -wal has ${megabytes} MB, which don't get into the database)`,
        "找出长时间读取数据库的程序（如备份工具）并停止它，再重启服务 (find and end what reads the database for long, as a backup tool, then restart the service)",
      ),
    );
  }
  return found;
}

async function checkClock(setup: Setup): Promise<Finding[]> {
  const offsets: (readonly [string, number])[] = [];
  if (setup.config.postgres && (await setup.refusal) === undefined)
    offsets.push(["PostgreSQL", (await setup.postgres.facts()).now - setup.clock.now()]);
  if (!setup.isOffline) {
    for (const { origin, offsetMs } of await setup.hosts)
      if (offsetMs !== undefined) offsets.push([new URL(origin).host, offsetMs]);
  }
  if (offsets.length === 0) throw new Skipped("没有可以对时的对象 (there is nothing to compare it with)");
  const text = offsets.map(([name, ms]) => `${name} ${(ms / 1000).toFixed(1)} s`).join(", ");
  // With one of several wrong it is not ours.
  const isOff = offsets.every(([, ms]) => Math.abs(ms) > MAX_OFFSET_MS);
  if (!isOff) return [fine(`相差 ${text} (off by ${text})`)];
  return [
    failure(
      `本机时钟不准，相差 ${text} (this machine's clock is off: ${text})`,
      "启用对时：timedatectl set-ntp true (set it by the network: timedatectl set-ntp true)",
    ),
  ];
}
