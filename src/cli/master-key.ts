import { commandLineUser, loadLocalConfig } from "../config.ts";
import { ServiceError } from "../errors.ts";
import type { RotationReport } from "../store/sqlite/rotate-master-key.ts";
import { type CommandSpec, option, bilingual } from "./arguments.ts";
import { type ExitCode, jsonText, showFailure } from "./exit.ts";
import { plainText, type Terminal } from "./terminal.ts";

/** `accesstoken master-key …`: the key under which the database is sealed. */
export const MASTER_KEY_COMMANDS: readonly CommandSpec[] = [
  {
    words: ["master-key", "rotate"],
    meaning: bilingual(
      "Change the master key of this machine's database, while services run on it",
      "更换本机数据库的主密钥，服务可继续运行",
    ),
    notes: [
      bilingual(
        "It may be interrupted at any moment: run it again, and it completes what was begun.",
        "可随时中断，再次执行即可完成。",
      ),
    ],
    options: [
      option(
        "--new-key-file <file>",
        "With MASTER_KEY only: where the new key is; made when it is missing",
        "仅用于MASTER_KEY：存放新密钥的文件，不存在则生成",
      ),
      option(
        "--now",
        "Refuse virtual tokens that were issued before at once, as after a theft; else they are accepted for 2 hours",
        "立即拒绝此前签发的虚拟token，用于密钥泄露之后；否则仍接受2小时",
      ),
      option("--json", "Print what was done as JSON", "以JSON输出结果"),
    ],
    run: (args, terminal) => {
      const newKeyFile = args.find("new-key-file");
      const flags = { revokesVirtualTokens: args.isSet("now"), isJson: args.isSet("json") };
      return runMasterKeyRotate(newKeyFile === undefined ? flags : { newKeyFile, ...flags }, terminal);
    },
  },
];

/** The options of `accesstoken master-key rotate`. */
interface MasterKeyRotateOptions {
  /** Where the new key is, or is put, when the old one is in MASTER_KEY. */
  readonly newKeyFile?: string;
  /** Whether virtual tokens that are out are refused at once. */
  readonly revokesVirtualTokens: boolean;
  /** Whether the report is one JSON document. */
  readonly isJson: boolean;
}

/**
 * Changes the master key of this machine's database while services run on it, and prints a report.
 *
 * @throws {ServiceError} `invalid_parameter` when it was used wrongly.
 */
async function runMasterKeyRotate(
  { newKeyFile, revokesVirtualTokens, isJson }: MasterKeyRotateOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const { databasePath: path, masterKey, masterKeyFile } = loadLocalConfig();
  try {
    if (path === undefined) throw notOnPostgres();
    const { clock } = terminal;
    const { rotateMasterKey } = await import("../store/sqlite/rotate-master-key.ts");
    const report = await rotateMasterKey({
      path,
      masterKey,
      masterKeyFile,
      newKeyFile,
      revokesVirtualTokens,
      clock,
      user: commandLineUser(),
    });
    await terminal.print(
      isJson ? jsonText(asData(report, newKeyFile)) : asText(report, newKeyFile, terminal),
    );
    return 0;
  } catch (error) {
    return showFailure(error, terminal, isJson);
  }
}

function asData(report: RotationReport, newKeyFile: string | undefined) {
  return {
    old_key: report.oldKeyId,
    new_key: report.newKeyId,
    resumed: report.isResumed,
    resealed: report.resealed,
    damaged: report.damaged,
    virtual_tokens_revoked: report.revokedVirtualTokens,
    ...(report.oldKeyFile === undefined ? {} : { old_key_file: report.oldKeyFile }),
    ...(newKeyFile === undefined ? {} : { new_key_file: newKeyFile }),
  };
}

function asText(
  report: RotationReport,
  newKeyFile: string | undefined,
  { language }: Pick<Terminal, "language">,
): string {
  const { oldKeyId, newKeyId, isResumed, resealed, damaged, oldKeyFile } = report;
  const where = newKeyFile === undefined ? "" : ` (${newKeyFile})`;
  const cleared = damaged.map(({ table, row, column }) => plainText(`${table}.${column} ${row}`));
  const lines = {
    en: [
      `The master key was changed: ${oldKeyId} → ${newKeyId}`,
      ...(isResumed ? ["Completed a rotation that had been interrupted."] : []),
      `Re-encrypted: ${resealed}`,
      ...cleared.map((place) => `Damaged before already, and cleared: ${place}`),
      report.revokedVirtualTokens
        ? "Virtual tokens issued before are refused from now on. After a theft, also roll every API key and change every AppSecret."
        : "Virtual tokens issued before are accepted for 2 more hours. After a theft, run it again with --now.",
      oldKeyFile === undefined
        ? `Set MASTER_KEY to the new key now${where}: running processes go on, but only the new key starts one again. Older backups need the old key.`
        : `The old key is kept in ${oldKeyFile}: older backups need it. Back up the new one, and not beside backups of the database.`,
    ],
    zh: [
      `主密钥已更换：${oldKeyId} → ${newKeyId}`,
      ...(isResumed ? ["完成了此前中断的轮换。"] : []),
      `重新加密：${resealed}`,
      ...cleared.map((place) => `此前已损坏，已清除：${place}`),
      report.revokedVirtualTokens
        ? "此前签发的虚拟token即刻失效。若密钥已泄露，还须轮换全部API密钥并更换全部AppSecret。"
        : "此前签发的虚拟token在2小时内仍可使用。若密钥已泄露，请加 --now 再次执行。",
      oldKeyFile === undefined
        ? `现在请把MASTER_KEY设为新密钥${where}：运行中的进程不受影响，但只有新密钥才能再次启动。旧备份仍需旧密钥。`
        : `旧密钥保留在 ${oldKeyFile}，恢复旧备份时需要它。请备份新密钥，且不要与数据库的备份放在一起。`,
    ],
  };
  return `${lines[language].join("\n")}\n`;
}

/** The new key would have to be on every machine before the old one goes. */
function notOnPostgres(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "PostgreSQL上尚不支持轮换主密钥 (the master key can't be rotated on PostgreSQL yet)",
  );
}
