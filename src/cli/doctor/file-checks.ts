import { systemCodeOf } from "../../errors.ts";
import { accessSync, constants, existsSync, realpathSync, type Stats } from "node:fs";
import { open, statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type Checks, failure, type Finding, fine, Skipped, warning } from "../../ops/doctor.ts";
import { realPathOf } from "../../store/sqlite/database-files.ts";
import { warnOfFilePermissions } from "../../store/key-file.ts";
import { aclOf, ENTER, factsOf, mayUse, READ, serviceUserOf, WRITE } from "./file-access.ts";
import type { Setup } from "./setup.ts";

const MIN_FREE_BYTES = 1024 ** 3;
const MIN_FREE_SHARE = 0.05;
/** With less the next writes fail. */
const FULL_BYTES = 64 * 1024 ** 2;
const SLOW_MS = 50;
const WRITES = 100;

/** The checks of files and of where they lie. */
export const FILE_CHECKS = {
  permissions: checkPermissions,
  key_place: checkKeyPlace,
  disk_space: async (setup: Setup) => spaceFindings(folderOf(setup), await statfs(folderOf(setup))),
  file_system: async (setup: Setup) => [
    fileSystemFinding(folderOf(setup), (await statfs(folderOf(setup))).type),
  ],
  disk_speed: (setup: Setup) => checkSpeed(folderOf(setup)),
  foreign_log: checkLog,
} satisfies Partial<Checks<Setup>>;

/** The folder that the database is in or will be made in: the nearest that is there. Of PostgreSQL, the key's. */
function folderOf({ config }: Setup): string {
  let folder = dirname(resolve(config.databasePath ?? config.masterKeyFile));
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}

async function checkPermissions(setup: Setup): Promise<Finding[]> {
  const { databasePath, masterKey, masterKeyFile, postgres, envFile } = setup.config;
  const file = databasePath === undefined ? undefined : realPathOf(databasePath);
  const wanted: (readonly [string, number])[] = [];
  if (file !== undefined) {
    wanted.push(...foldersAbove(dirname(file)).map((folder) => [folder, ENTER] as const));
    wanted.push([dirname(file), READ | WRITE | ENTER]);
    wanted.push(...["", "-wal", "-shm"].map((end) => [file + end, READ | WRITE] as const));
  }
  if (!masterKey)
    wanted.push(...foldersAbove(dirname(masterKeyFile)).map((folder) => [folder, ENTER] as const), [
      masterKeyFile,
      READ,
    ]);
  const found: Finding[] = [
    fine(
      `服务用户 uid ${setup.uid} 可以访问其文件 (the service's user, uid ${setup.uid}, may use its files)`,
    ),
  ];
  found.push(...(await firstDenied(wanted, setup)));
  if (file !== undefined && isReadOnly(dirname(file)))
    found.push(
      failure(
        `${dirname(file)} 位于只读文件系统 (${dirname(file)} is on a read-only file system)`,
        "以可写方式重新挂载：mount -o remount,rw (mount it for writing: mount -o remount,rw)",
      ),
    );
  const foreign = await foreignOwner(file);
  if (foreign && !found.some(({ state }) => state === "fail")) found.push(foreign);
  const secret = [
    ...(file === undefined ? (postgres?.passwordFiles ?? []) : [file]),
    ...(masterKey ? [] : [masterKeyFile]),
  ];
  for (const place of secret)
    found.push(...warnOfFilePermissions([place]).map((each) => warning(each, chmod("600", place))));
  const env = envFile === undefined ? "missing" : await factsOf(envFile);
  if (envFile !== undefined && typeof env === "object" && (env.mode & 0o007) !== 0)
    found.push(warning(`任何用户都可以读取 ${envFile} (anybody may read ${envFile})`, chmod("640", envFile)));
  return found;
}

function chmod(mode: string, place: string) {
  return `执行 chmod ${mode} ${place} (chmod ${mode} ${place})`;
}

/** Of files that lie together: one whose owner is another than the database's can't be used by the service, or was made by root. */
async function foreignOwner(file: string | undefined): Promise<Finding | undefined> {
  if (file === undefined) return undefined;
  const own = await factsOf(file);
  if (typeof own !== "object") return undefined;
  for (const place of [`${file}-wal`, `${file}-shm`, dirname(file)]) {
    const facts = await factsOf(place);
    if (typeof facts !== "object" || facts.uid === own.uid || (place === dirname(file) && facts.uid === 0))
      continue;
    return warning(
      `${place} 属于uid ${facts.uid}，而数据库属于uid ${own.uid} (${place} belongs to uid ${facts.uid}, and the database to uid ${own.uid})`,
      `执行 chown ${own.uid} ${place}，或修正数据库的属主 (chown ${own.uid} ${place}, or correct the database's owner)`,
    );
  }
  return undefined;
}

/** The first place with which the service's user may not do what it must; those that are missing don't count. */
export async function firstDenied(
  wanted: readonly (readonly [place: string, want: number])[],
  setup: Setup,
): Promise<Finding[]> {
  const user = serviceUserOf(setup);
  for (const [place, want] of wanted) {
    const facts = await factsOf(place);
    if (facts === "missing") continue;
    if (facts === "denied" || !mayUse(facts, user, want, aclOf(place)))
      return [denied(place, facts, setup, want)];
  }
  return [];
}

function denied(place: string, facts: Stats | "denied", { uid, owner: other }: Setup, want: number): Finding {
  const [owner, mode] =
    typeof facts === "object" ? [facts.uid, (facts.mode & 0o7777).toString(8).padStart(4, "0")] : ["?", "?"];
  const own = typeof facts === "object" && facts.uid === uid;
  const command = own ? `chmod u+${(want & ENTER) === 0 ? "rw" : "rwx"} ${place}` : `chown ${uid} ${place}`;
  return failure(
    `${place}（属主uid ${owner}，权限 ${mode}）不允许uid ${uid} 访问 (${place}, owner uid ${owner}, mode ${mode}, does not let in uid ${uid})`,
    // Somebody else than the service may be asking.
    other === uid
      ? `执行 ${command} (${command})`
      : `请以root或uid ${other} 执行本命令；若服务以uid ${uid} 运行，则 ${command} (run this as root or as uid ${other}; if the service runs as uid ${uid}: ${command})`,
  );
}

/** The folders that lead to a folder, the outermost first, and itself. */
export function foldersAbove(folder: string): string[] {
  return folder === dirname(folder) ? [folder] : [...foldersAbove(dirname(folder)), folder];
}

/** Whether a place is on a file system that nobody may write. */
export function isReadOnly(place: string): boolean {
  try {
    accessSync(place, constants.W_OK);
    return false;
  } catch (error) {
    return systemCodeOf(error) === "EROFS";
  }
}

function checkKeyPlace(setup: Setup): Finding[] {
  const { databasePath, masterKey, masterKeyFile, backups } = setup.config;
  if (masterKey) return [fine("主密钥来自MASTER_KEY (the master key is in MASTER_KEY)")];
  if (!existsSync(masterKeyFile)) throw new Skipped("没有主密钥文件 (there is no key file)");
  const place = dirname(realpathSync(masterKeyFile));
  const folders = [databasePath && dirname(realPathOf(databasePath)), backups && resolve(backups.folder)];
  if (!folders.includes(place)) return [fine(masterKeyFile)];
  return [
    warning(
      `主密钥 ${masterKeyFile} 与数据库或备份在同一目录：一次泄露或误删就同时失去两者 (the master key ${masterKeyFile} lies in the folder of the database or of backups: who copies or deletes that has both)`,
      "停止服务，把密钥移到单独的目录（0700），设置MASTER_KEY_FILE (stop the service, move the key to a folder of its own (0700), and set MASTER_KEY_FILE)",
    ),
  ];
}

/** How much room a file system of those facts has. */
export function spaceFindings(
  folder: string,
  facts: {
    readonly bsize: number;
    readonly blocks: number;
    readonly bavail: number;
    readonly files: number;
    readonly ffree: number;
  },
): Finding[] {
  const free = facts.bavail * facts.bsize;
  const share = facts.blocks > 0 ? facts.bavail / facts.blocks : 1;
  const percent = `${Math.floor(share * 100)}%`;
  const megabytes = Math.floor(free / 1024 ** 2);
  const message = `${folder} 剩余 ${megabytes} MB，${percent} (${folder} has ${megabytes} MB, ${percent}, left)`;
  const remedy =
    "清理磁盘或扩容；审计保留天数见AUDIT_RETENTION_DAYS (free or add space; AUDIT_RETENTION_DAYS says how long the audit is kept)";
  if (facts.files > 0 && facts.ffree / facts.files < 0.01)
    return [
      failure(
        `${folder} 的inode已用完 (${folder} has no inodes left)`,
        "删除该文件系统上的大量小文件 (remove what has many small files there)",
      ),
    ];
  if (free < FULL_BYTES) return [failure(message, remedy)];
  return [free < MIN_FREE_BYTES || share < MIN_FREE_SHARE ? warning(message, remedy) : fine(message)];
}

/** What `statfs` calls file systems on which SQLite's locks or syncs can't be relied on, and those that end with a container. */
const REMOTE: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB",
  0x517b: "SMB",
  0x01021997: "9p",
  0x65735546: "FUSE",
  0x00c36400: "Ceph",
};
const OVERLAY = 0x794c7630;
const MEMORY = 0x01021994;

/** Whether the database may lie on a file system of that type. */
export function fileSystemFinding(folder: string, type: number): Finding {
  const name = REMOTE[type >>> 0];
  if (name !== undefined)
    return failure(
      `${folder} 位于 ${name}：文件锁和落盘不可靠，数据库可能损坏 (${folder} is on ${name}, whose locks and syncs can't be relied on: the database may be damaged)`,
      "把数据库移到本地磁盘；多机部署请用PostgreSQL (move the database to a local disk; several machines share a PostgreSQL)",
    );
  if (type >>> 0 === OVERLAY)
    return warning(
      `${folder} 位于容器的可写层，容器删除后数据即丢失 (${folder} is in a container's own layer, and is gone with the container)`,
      "为数据目录挂载卷 (mount a volume for it)",
    );
  return fine(type === MEMORY ? "tmpfs" : "本地文件系统 (a local file system)");
}

/** `O_TMPFILE | O_RDWR` of Linux: a file without a name, gone when it is closed. */
const NAMELESS = 0o20200000 | constants.O_RDWR;

async function checkSpeed(folder: string): Promise<Finding[]> {
  const file = await open(folder, NAMELESS, 0o600).catch(() => {
    throw new Skipped("该目录不能建立临时的无名文件 (no nameless file can be made in that folder)");
  });
  try {
    const page = Buffer.alloc(4096);
    const times: number[] = [];
    for (let n = 0; n < WRITES; n++) {
      const startedAt = performance.now();
      await file.write(page, 0, page.length, n * page.length);
      await file.sync();
      times.push(performance.now() - startedAt);
    }
    // One in a hundred may be slow.
    const slow = times.toSorted((a, b) => b - a)[1] ?? 0;
    const message = `99%的落盘在 ${slow.toFixed(1)} ms 内完成 (99 of 100 syncs took no more than ${slow.toFixed(1)} ms)`;
    if (slow <= SLOW_MS) return [fine(message)];
    return [
      warning(message, "换用更快的磁盘；每次变更都要等待落盘 (use a faster disk: every change waits for it)"),
    ];
  } catch (error) {
    if (systemCodeOf(error) === "ENOSPC")
      throw new Skipped("磁盘已满，见第9项 (the disk is full: see check 9)");
    throw error;
  } finally {
    await file.close();
  }
}

async function checkLog(setup: Setup): Promise<Finding[]> {
  const log = `${realPathOf(setup.path)}-wal`;
  if (!(await setup.isLogForeign))
    return [fine("没有其他数据库遗留的-wal (no -wal of another database is left over)")];
  return [
    failure(
      `${log} 是另一个数据库留下的：没有它数据库是完好的 (${log} is another database's: without it this one is whole)`,
      `停止服务，移走 ${log} 和 -shm 后再启动 (with the service stopped, move ${log} and the -shm away, and start again)`,
    ),
  ];
}
