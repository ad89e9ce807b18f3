import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { constants, setPriority } from "node:os";
import { basename } from "node:path";
import { type AuditActor, commandLineActor, SERVICE } from "../audit/audit-entry.ts";
import { commandLineUser, type Config, loadLocalConfig } from "../config.ts";
import { ServiceError } from "../errors.ts";
import type { Milestone, MilestoneName } from "../ops/milestones.ts";
import type { DatabasePlace } from "../store/copy-store.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  option,
  type PositionalSpec,
  usageError,
} from "./arguments.ts";
import { backupData, backupText, drillData, drillLines, restoreData, restoreText } from "./backup-texts.ts";
import { type ExitCode, jsonText, showFailure } from "./exit.ts";
import { halfOf, plainText, type Terminal } from "./terminal.ts";

const MAX_KEPT = 100_000;

const ARCHIVE: PositionalSpec = { name: "file", meaning: bilingual("The backup", "备份文件") };
const JSON_OPTION = option("--json", "Print what was done as JSON", "以JSON输出结果");

/** `accesstoken backup …`: the whole database in one file. */
export const BACKUP_COMMANDS: readonly CommandSpec[] = [
  // Before the command of one word, which would take any word after it for its own.
  {
    words: ["backup", "verify"],
    meaning: bilingual(
      "Restore a backup on trial, and say whether all of it comes back",
      "试恢复一个备份，并报告其内容是否完整可用",
    ),
    notes: [
      bilingual(
        "It is unpacked into a folder for temporary files (TMPDIR), every encrypted value is opened and the audit verified. The database of this machine is left alone. Exit code 1 when something is missing.",
        "备份解到临时目录（TMPDIR），解密其中每一项密文并校验审计，不触及本机的数据库。有缺失时退出码为1。",
      ),
    ],
    positionals: [ARCHIVE],
    options: [JSON_OPTION],
    run: runVerify,
  },
  {
    words: ["backup"],
    meaning: bilingual(
      "Back up this machine's database, while services run on it",
      "备份本机的数据库，服务可继续运行",
    ),
    notes: [
      bilingual(
        "One file with the whole database, checked, of SQLite as of PostgreSQL; never the master key, without which nobody can restore it.",
        "SQLite或PostgreSQL的整个数据库备份为一个文件，并经过检查；其中没有主密钥，而没有主密钥就无法恢复。",
      ),
    ],
    options: [
      option(
        "--out <place>",
        "A folder, or the name of a new file. Default: accesstoken-<time>-<installation>.tar.gz in the working directory",
        "目录，或新文件的名称；默认为当前目录下的 accesstoken-<时间>-<实例>.tar.gz",
      ),
      option(
        "--keep <n>",
        "With a folder: then remove the oldest of this installation's backups there until so many are left",
        "配合目录使用：完成后删除其中本实例最旧的备份，只保留n个",
      ),
      JSON_OPTION,
    ],
    run: runBackup,
  },
];

/** `accesstoken restore`. */
export const RESTORE_COMMANDS: readonly CommandSpec[] = [
  {
    words: ["restore"],
    meaning: bilingual(
      "Put a backup in the place of this machine's database, with the service stopped",
      "停止服务后，用备份替换本机的数据库",
    ),
    notes: [
      bilingual(
        "The backup is tried first. Killed at any moment, it leaves the old database or the new one. The old one is kept: on SQLite beside it as accesstoken.db.before-restore-<time>, on PostgreSQL in the schema before_restore_<time>.",
        "先检查备份，再一次替换：随时中断，留下的不是原数据库就是新数据库。原数据库会保留：SQLite的原文件在旁边，名为 accesstoken.db.before-restore-<时间>；PostgreSQL的原有各表在schema before_restore_<时间> 中。",
      ),
      bilingual(
        "It ends console sessions and drops tokens and tickets, which may have been replaced since. Anonymous access that was ended since stays so.",
        "控制台会话会被结束，token和ticket会被丢弃，因为它们可能已被更换；此后关闭过的匿名访问仍保持关闭。",
      ),
    ],
    positionals: [ARCHIVE],
    options: [
      option(
        "--replace",
        "Replace a database that somebody has used: what came after the backup is lost",
        "替换已在使用的数据库：备份之后的内容会丢失",
      ),
      JSON_OPTION,
    ],
    run: runRestore,
  },
];

async function runBackup(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const isJson = args.isSet("json");
  const out = args.find("out") ?? ".";
  const isFolder = out.endsWith("/") || existsSync(`${out}/.`);
  const keep = args.findNumber("keep", { min: 1, max: MAX_KEPT });
  if (keep !== undefined && !isFolder)
    throw usageError("--keep 须与目录一起使用：--out <目录> (--keep goes with a folder: --out <folder>)");
  const config = loadLocalConfig();
  const { clock } = terminal;
  try {
    const { createBackup, noteBackup, pruneBackups } = await import("../store/backup.ts");
    // What serves goes first.
    setPriority(constants.priority.PRIORITY_LOW);
    // One that can't be made is named by what writes into it.
    if (isFolder) await mkdir(out, { recursive: true, mode: 0o700 }).catch(() => undefined);
    const { masterKey, masterKeyFile } = config;
    const report = await createBackup({
      ...{ from: placeOf(config), path: out, isFolder, masterKey, masterKeyFile, clock },
    });
    const note = async () => {
      const { withStore } = await import("../service.ts");
      await withStore(config, (store) => noteBackup(store, report, actor()));
    };
    const isNoted = !report.isCurrent || (await tryToNote(note, terminal));
    // What a failing database leaves must not push out what it was before.
    const removed = keep === undefined || !isNoted ? [] : pruneBackups(report.path, keep);
    await terminal.print(
      isJson ? jsonText(backupData(report, removed)) : backupText(report, removed, terminal),
    );
    return 0;
  } catch (error) {
    return showFailure(error, terminal, isJson);
  }
}

async function runVerify(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const isJson = args.isSet("json");
  const archive = args.get("file");
  const { clock, language } = terminal;
  const config = loadLocalConfig();
  try {
    const { isWhole, verifyBackup } = await import("../store/backup-drill.ts");
    const { masterKey, masterKeyFile } = config;
    const report = await verifyBackup({ archive, masterKey, masterKeyFile, clock });
    const detail = { file: basename(archive), made_at: report.manifest.created_at };
    if (isWhole(report)) await noteMilestone(config, "backup_verified", detail, terminal);
    const text = [...drillLines(report, language), isWhole(report) ? ALL_BACK[language] : NOT_ALL[language]];
    await terminal.print(isJson ? jsonText(drillData(report)) : `${text.join("\n")}\n`);
    return isWhole(report) ? 0 : 1;
  } catch (error) {
    return showFailure(error, terminal, isJson);
  }
}

const ALL_BACK = bilingual("All of it can be restored.", "可以完整恢复。");
const NOT_ALL = bilingual(
  "NOT ALL OF IT can be restored: make a new backup, or keep an older one.",
  "不能完整恢复：请重新备份，或保留较早的备份。",
);

/** Notes in the database, where it is here and of this version, what was done now; that it can't be noted is told, no more. */
export async function noteMilestone(
  config: Config,
  name: MilestoneName,
  detail: Milestone["detail"],
  terminal: Terminal,
): Promise<void> {
  const { clock } = terminal;
  const note = async () => {
    const { isReady } = await import("../store/backup.ts");
    if (!(await isReady(placeOf(config)))) return;
    const { withStore } = await import("../service.ts");
    await withStore(config, (store) => store.milestones.reach(name, { at: clock.now(), detail }));
  };
  await tryToNote(note, terminal);
}

/** Whether something was noted in the database; that it can't be is told. */
async function tryToNote(note: () => Promise<void>, terminal: Terminal): Promise<boolean> {
  try {
    await note();
    return true;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const told = bilingual("done, but not noted in the database", "已完成，但未能记入数据库");
    terminal.tell(`${told[terminal.language]}: ${plainText(halfOf(error.message, terminal.language))}`);
    return false;
  }
}

async function runRestore(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const isJson = args.isSet("json");
  const archive = args.get("file");
  const { clock } = terminal;
  const config = loadLocalConfig();
  try {
    const { restoreBackup } = await import("../store/restore.ts");
    const { masterKey, masterKeyFile } = config;
    const report = await restoreBackup({
      ...{ archive, masterKey, masterKeyFile, clock, actor: actor() },
      to: placeOf(config),
      replaces: args.isSet("replace"),
    });
    await terminal.print(isJson ? jsonText(restoreData(report)) : restoreText(report, terminal));
    return 0;
  } catch (error) {
    return showFailure(error, terminal, isJson);
  }
}

/** Who does it: the service, where it has started this process. */
function actor(): AuditActor {
  return process.send ? SERVICE : commandLineActor(commandLineUser());
}

/** Where the database of a configuration is. */
export function placeOf({
  databasePath,
  postgres,
}: Pick<Config, "databasePath" | "postgres">): DatabasePlace {
  return postgres ? { address: postgres.address } : { path: databasePath ?? "" };
}
