import { statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { STALE_SHARE } from "../../ops/backups.ts";
import { failure, type Finding, fine, Skipped, warning } from "../../ops/doctor.ts";
import type { MilestoneName } from "../../ops/milestones.ts";
import { realPathOf } from "../../store/sqlite/database-files.ts";
import { aclOf, ENTER, factsOf, mayUse, READ, serviceUserOf, WRITE } from "./file-access.ts";
import { firstDenied, foldersAbove, isReadOnly } from "./file-checks.ts";
import type { Setup } from "./setup.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const BACKUP_HOURS = 36;
const VERIFIED_DAYS = 31;

const MAKE =
  "执行 accesstoken backup，或设置BACKUP_DIR由服务定时备份 (accesstoken backup, or set BACKUP_DIR, by which the service makes them)";

/** The check of backups: whether they are made and tried, and of the folder that the service puts them into. */
export async function checkBackup(setup: Setup): Promise<Finding[]> {
  const { backups } = setup.config;
  const ofFolder = backups ? await checkFolder(backups.folder, setup) : [];
  try {
    const lateMs = Math.max(BACKUP_HOURS * HOUR_MS, STALE_SHARE * (backups?.everyMs ?? 0));
    return [...(await checkAges(setup, lateMs)), ...ofFolder];
  } catch (error) {
    // The folder is there to be looked at without a database.
    if (!(error instanceof Skipped) || ofFolder.length === 0) throw error;
    return ofFolder;
  }
}

async function checkAges(setup: Setup, lateMs: number): Promise<Finding[]> {
  const now = setup.clock.now();
  const age = now - (await reachedAt(setup, "backup"));
  const verified = now - (await reachedAt(setup, "backup_verified"));
  const failed = await reachedAt(setup, "backup_failed");
  const found = [
    fine(
      `最近一次 ${ago(age)} 前，校验 ${ago(verified)} 前 (the last one ${ago(age)} ago, verified ${ago(verified)} ago)`,
    ),
  ];
  if (age > lateMs)
    found.push(
      age === Infinity
        ? warning("从未备份 (no backup was ever made)", MAKE)
        : warning(`最近一次备份在 ${ago(age)} 前 (the last backup is ${ago(age)} old)`, MAKE),
    );
  if (failed > now - age)
    found.push(warning("最近一次备份失败 (the last attempt to make a backup failed)", MAKE));
  if (verified > VERIFIED_DAYS * DAY_MS)
    found.push(
      warning(
        verified === Infinity
          ? "备份从未试恢复 (no backup was ever restored on trial)"
          : `最近一次试恢复在 ${ago(verified)} 前 (a backup was last restored on trial ${ago(verified)} ago)`,
        "执行 accesstoken backup verify <文件> (accesstoken backup verify <file>)",
      ),
    );
  return found;
}

/** Whether the service can put backups into `BACKUP_DIR`, and they outlive the database's disk. */
async function checkFolder(folder: string, setup: Setup): Promise<Finding[]> {
  const above = foldersAbove(folder);
  let place = "/";
  let facts = await factsOf(place);
  for (const each of above) {
    const found = await factsOf(each);
    if (typeof found !== "object") break;
    [place, facts] = [each, found];
  }
  if (typeof facts === "object" && !facts.isDirectory())
    return [
      failure(
        `BACKUP_DIR ${folder}：${place} 不是目录 (BACKUP_DIR ${folder}: ${place} is no folder)`,
        "把BACKUP_DIR设为目录的路径 (set BACKUP_DIR to the path of a folder)",
      ),
    ];
  if (isReadOnly(place))
    return [
      failure(
        `BACKUP_DIR ${folder} 位于只读文件系统 (BACKUP_DIR ${folder} is on a read-only file system)`,
        "以可写方式重新挂载，或换一个目录 (mount it for writing, or choose another folder)",
      ),
    ];
  const wanted = above.map((each) => [each, each === folder ? READ | WRITE | ENTER : ENTER] as const);
  const denied = await firstDenied(wanted, setup);
  if (denied.length > 0 || typeof facts !== "object") return denied;
  const user = serviceUserOf(setup);
  if (place !== folder && !mayUse(facts, user, WRITE, aclOf(place))) {
    const command = `install -d -o ${user.uid} -m 0700 ${folder}`;
    return [
      failure(
        `BACKUP_DIR ${folder} 不存在，而uid ${user.uid} 不能在 ${place} 中创建 (BACKUP_DIR ${folder} is not there, and uid ${user.uid} can't make it in ${place})`,
        `执行 ${command} (${command})`,
      ),
    ];
  }
  const { databasePath } = setup.config;
  if (databasePath === undefined) return [];
  return checkDisk(folder, place, facts.dev, realPathOf(databasePath));
}

async function checkDisk(folder: string, place: string, dev: number, database: string): Promise<Finding[]> {
  const found: Finding[] = [];
  if (statSync(dirname(database), { throwIfNoEntry: false })?.dev === dev)
    found.push(
      warning(
        `BACKUP_DIR ${folder} 与数据库在同一磁盘：磁盘损坏时两者一起丢失 (BACKUP_DIR ${folder} is on the database's own disk, and is lost with it)`,
        "把BACKUP_DIR放到另一块磁盘或共享目录 (put BACKUP_DIR on another disk, or a share)",
      ),
    );
  const { bavail, bsize } = await statfs(place);
  // A copy of the whole, and the archive that is made of it.
  const wanted = 2 * (statSync(database, { throwIfNoEntry: false })?.size ?? 0);
  if (bavail * bsize < wanted)
    found.push(
      warning(
        `BACKUP_DIR ${folder} 剩余空间不足以再做一次备份 (BACKUP_DIR ${folder} has no room for another backup)`,
        "清理或扩容，或减小BACKUP_KEEP (free or add space, or keep fewer by BACKUP_KEEP)",
      ),
    );
  return found;
}

/** When something was done last, in epoch milliseconds; `-Infinity` for never. */
export async function reachedAt(setup: Setup, name: MilestoneName): Promise<number> {
  return (await (await setup.current).milestones()).get(name)?.at ?? -Infinity;
}

/** A time span for a person; empty for one without an end. */
export function ago(ms: number): string {
  if (ms === Infinity) return "";
  return ms < 2 * DAY_MS ? `${Math.floor(ms / HOUR_MS)} h` : `${Math.floor(ms / DAY_MS)} d`;
}
