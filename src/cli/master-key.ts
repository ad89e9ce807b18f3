import { loadConfig } from "../config.ts";
import { ServiceError } from "../errors.ts";
import type { RotationReport } from "../store/sqlite/rotate-master-key.ts";
import type { CommandSpec } from "./arguments.ts";
import { type ExitCode, failureAnswer, failureText, isNotReady, isUsageError } from "./exit.ts";
import { OutputFailure, plainText, type Terminal } from "./terminal.ts";

/** `accesstoken master-key …`: the key under which the database is sealed. */
export const MASTER_KEY_COMMANDS: readonly CommandSpec[] = [
  {
    words: ["master-key", "rotate"],
    meaning: {
      en: "Change the master key of this machine's database, while services run on it",
      zh: "更换本机数据库的主密钥，服务可继续运行",
    },
    notes: [
      {
        en: "It may be interrupted at any moment: run it again, and it completes what was begun.",
        zh: "可随时中断，再次执行即可完成。",
      },
    ],
    options: [
      {
        name: "new-key-file",
        value: "<file>",
        meaning: {
          en: "With MASTER_KEY only: where the new key is; made when it is missing",
          zh: "仅用于MASTER_KEY：存放新密钥的文件，不存在则生成",
        },
      },
      { name: "json", meaning: { en: "Print what was done as JSON", zh: "以JSON输出结果" } },
    ],
    run: (args, terminal) => {
      const newKeyFile = args.find("new-key-file");
      const isJson = args.isSet("json");
      return runMasterKeyRotate(newKeyFile === undefined ? { isJson } : { newKeyFile, isJson }, terminal);
    },
  },
];

/** The options of `accesstoken master-key rotate`. */
interface MasterKeyRotateOptions {
  /** Where the new key is, or is put, when the old one is in MASTER_KEY. */
  readonly newKeyFile?: string;
  /** Whether the report is one JSON document. */
  readonly isJson: boolean;
}

/**
 * Changes the master key of this machine's database while services run on it, and prints a report.
 *
 * @throws {ServiceError} `invalid_parameter` when it was used wrongly.
 */
async function runMasterKeyRotate(
  { newKeyFile, isJson }: MasterKeyRotateOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const { databasePath: path, masterKey, masterKeyFile } = loadConfig();
  try {
    const { clock } = terminal;
    const { rotateMasterKey } = await import("../store/sqlite/rotate-master-key.ts");
    const report = await rotateMasterKey({ path, masterKey, masterKeyFile, newKeyFile, clock });
    await terminal.print(isJson ? asJson(asData(report, newKeyFile)) : asText(report, newKeyFile, terminal));
    return 0;
  } catch (error) {
    if (!(error instanceof ServiceError) || isUsageError(error) || error instanceof OutputFailure)
      throw error;
    if (isJson) await terminal.print(asJson(failureAnswer(error)));
    else terminal.tell(failureText(error));
    return isNotReady(error) ? 3 : 1;
  }
}

function asJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function asData(report: RotationReport, newKeyFile: string | undefined) {
  return {
    old_key: report.oldKeyId,
    new_key: report.newKeyId,
    resumed: report.isResumed,
    resealed: report.resealed,
    damaged: report.damaged,
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
      oldKeyFile === undefined
        ? `Set MASTER_KEY to the new key now${where}: running processes go on, but only the new key starts one again. Older backups need the old key.`
        : `The old key is kept in ${oldKeyFile}: older backups need it. Back up the new one, and not beside backups of the database.`,
    ],
    zh: [
      `主密钥已更换：${oldKeyId} → ${newKeyId}`,
      ...(isResumed ? ["完成了此前中断的轮换。"] : []),
      `重新加密：${resealed}`,
      ...cleared.map((place) => `此前已损坏，已清除：${place}`),
      oldKeyFile === undefined
        ? `现在请把MASTER_KEY设为新密钥${where}：运行中的进程不受影响，但只有新密钥才能再次启动。旧备份仍需旧密钥。`
        : `旧密钥保留在 ${oldKeyFile}，恢复旧备份时需要它。请备份新密钥，且不要与数据库的备份放在一起。`,
    ],
  };
  return `${lines[language].join("\n")}\n`;
}
