import { commandLineUser, type Config, type Language, loadLocalConfig } from "../config.ts";
import type { RotationReport } from "../store/resealing.ts";
import { type Arguments, type CommandSpec, option, bilingual, usageError } from "./arguments.ts";
import { type ExitCode, jsonText, showFailure } from "./exit.ts";
import { KEY_EXPORT_COMMANDS } from "./key-export.ts";
import { halfOf, plainText, type Terminal } from "./terminal.ts";

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
      bilingual(
        "With several nodes on PostgreSQL: --prepare, put the file on every machine, --commit.",
        "PostgreSQL上有多个节点时：先 --prepare，把文件放到每台机器上，再 --commit。",
      ),
    ],
    options: [
      option(
        "--prepare",
        "On PostgreSQL: only make the next key, in MASTER_KEY_NEXT_FILE",
        "用于PostgreSQL：只生成新密钥，存入MASTER_KEY_NEXT_FILE",
      ),
      option(
        "--commit",
        "On PostgreSQL: change to the next key, which every node must have (accesstoken nodes)",
        "用于PostgreSQL：改用新密钥，每个节点都须已持有它（见 accesstoken nodes）",
      ),
      option(
        "--ignore-gone",
        "With --commit: also where nodes lack it that died and will not come back",
        "配合 --commit：忽略没有新密钥、已失联且不再启用的节点",
      ),
      option(
        "--new-key-file <file>",
        "On SQLite with MASTER_KEY only: where the new key is; made when it is missing",
        "仅用于SQLite和MASTER_KEY：存放新密钥的文件，不存在则生成",
      ),
      option(
        "--now",
        "Refuse virtual tokens that were issued before at once, as after a theft; else they are accepted for 2 hours",
        "立即拒绝此前签发的虚拟token，用于密钥泄露之后；否则仍接受2小时",
      ),
      option("--json", "Print what was done as JSON", "以JSON输出结果"),
    ],
    run: runMasterKeyRotate,
  },
  ...KEY_EXPORT_COMMANDS,
];

/**
 * Changes the master key of this machine's database while services run on it, or one step of that, and prints what was done.
 *
 * @throws {ServiceError} `invalid_parameter` when it was used wrongly.
 */
async function runMasterKeyRotate(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const steps = ["prepare", "commit"].filter((name) => args.isSet(name));
  if (steps.length > 1)
    throw usageError("--prepare 和 --commit 只能给出一个 (give --prepare or --commit, not both)");
  const config = loadLocalConfig();
  const isJson = args.isSet("json");
  try {
    if (!config.postgres) return await rotateFile(config, args, terminal);
    if (args.isSet("new-key-file"))
      throw usageError(
        "--new-key-file: PostgreSQL上的新密钥在MASTER_KEY_NEXT_FILE中 (on PostgreSQL the new key is in MASTER_KEY_NEXT_FILE)",
      );
    return await rotateShared(config, config.postgres, args, terminal);
  } catch (error) {
    return showFailure(error, terminal, isJson);
  }
}

async function rotateFile(config: Config, args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const { databasePath: path = "", masterKey, masterKeyFile } = config;
  if (["prepare", "commit", "ignore-gone"].some((name) => args.isSet(name)))
    throw usageError(
      "--prepare、--commit 和 --ignore-gone 仅用于PostgreSQL，SQLite上一步完成：accesstoken master-key rotate (--prepare, --commit and --ignore-gone are for PostgreSQL; on SQLite one step does it: accesstoken master-key rotate)",
    );
  const { rotateMasterKey } = await import("../store/sqlite/rotate-master-key.ts");
  const newKeyFile = args.find("new-key-file");
  const report = await rotateMasterKey({
    path,
    masterKey,
    masterKeyFile,
    newKeyFile,
    revokesVirtualTokens: args.isSet("now"),
    clock: terminal.clock,
    user: commandLineUser(),
  });
  const isJson = args.isSet("json");
  await terminal.print(isJson ? jsonText(asData(report, newKeyFile)) : asText(report, newKeyFile, terminal));
  return 0;
}

async function rotateShared(
  config: Config,
  { address }: NonNullable<Config["postgres"]>,
  args: Arguments,
  terminal: Terminal,
): Promise<ExitCode> {
  const { masterKey, masterKeyFile, nextKeyFile } = config;
  const isJson = args.isSet("json");
  if (args.isSet("prepare")) {
    const { createNextKey } = await import("../store/next-key.ts");
    const keyId = createNextKey(config);
    const data = { next_key: keyId, next_key_file: nextKeyFile };
    await terminal.print(isJson ? jsonText(data) : preparedText(keyId, nextKeyFile, terminal));
    return 0;
  }
  const { commitMasterKey, rotateSoleNode } = await import("../store/postgres/commit-master-key.ts");
  const report = await (args.isSet("commit") ? commitMasterKey : rotateSoleNode)({
    address,
    masterKey,
    masterKeyFile,
    nextKeyFile,
    revokesVirtualTokens: args.isSet("now"),
    ignoresGone: args.isSet("ignore-gone"),
    clock: terminal.clock,
    user: commandLineUser(),
    onKeyFault: (message) => terminal.tell(plainText(halfOf(message, terminal.language))),
  });
  await terminal.print(isJson ? jsonText(asData(report, undefined)) : sharedText(report, terminal));
  return 0;
}

function preparedText(keyId: string, path: string, { language }: Pick<Terminal, "language">): string {
  const lines = {
    en: [
      `The next master key ${keyId} is in ${path}. Nothing has changed yet.`,
      "1. Put this file on every machine, where its MASTER_KEY_NEXT_FILE is (default: MASTER_KEY_FILE with .next at its end), with mode 600 for the service. No restart is needed.",
      `2. accesstoken nodes: wait until every node shows ${keyId} among its KEYS.`,
      "3. accesstoken master-key rotate --commit",
    ],
    zh: [
      `新主密钥 ${keyId} 已存入 ${path}，尚未启用。`,
      "1. 把该文件放到每台机器的MASTER_KEY_NEXT_FILE处（默认为MASTER_KEY_FILE加后缀 .next），属主为服务用户，权限600，无须重启。",
      `2. 执行 accesstoken nodes，等到每个节点的KEYS中都有 ${keyId}。`,
      "3. 执行 accesstoken master-key rotate --commit",
    ],
  };
  return `${lines[language].join("\n")}\n`;
}

function sharedText(report: RotationReport, { language }: Pick<Terminal, "language">): string {
  const { oldKeyId, newKeyId, isResumed } = report;
  const lines = {
    en: [
      ...(isResumed ? [`The master key is ${newKeyId} already.`] : changedLines(report, "en")),
      virtualTokensLine(report, "en", "rotate once more, and give --now."),
      `Each node puts the new key into its MASTER_KEY_FILE within seconds${isResumed ? "" : ` and keeps the old one beside it as master.key.${oldKeyId}: older backups need it`}. Where the key comes from MASTER_KEY or a read-only mount, change it there before the next start.`,
      "Back up the new key, and not beside backups of the database.",
    ],
    zh: [
      ...(isResumed ? [`主密钥已经是 ${newKeyId}。`] : changedLines(report, "zh")),
      virtualTokensLine(report, "zh", "请再轮换一次并加 --now。"),
      `各节点会在几秒内把新密钥移入MASTER_KEY_FILE${isResumed ? "" : `，旧密钥在旁边保留为 master.key.${oldKeyId}，恢复旧备份时需要它`}。密钥来自MASTER_KEY或只读挂载的，请在下次启动前在该处更换。`,
      "请备份新密钥，且不要与数据库的备份放在一起。",
    ],
  };
  return `${lines[language].join("\n")}\n`;
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
  const { oldKeyFile } = report;
  const where = newKeyFile === undefined ? "" : ` (${newKeyFile})`;
  const lines = {
    en: [
      ...changedLines(report, "en"),
      virtualTokensLine(report, "en", "run it again with --now."),
      oldKeyFile === undefined
        ? `Set MASTER_KEY to the new key now${where}: running processes go on, but only the new key starts one again. Older backups need the old key.`
        : `The old key is kept in ${oldKeyFile}: older backups need it. Back up the new one, and not beside backups of the database.`,
    ],
    zh: [
      ...changedLines(report, "zh"),
      virtualTokensLine(report, "zh", "请加 --now 再次执行。"),
      oldKeyFile === undefined
        ? `现在请把MASTER_KEY设为新密钥${where}：运行中的进程不受影响，但只有新密钥才能再次启动。旧备份仍需旧密钥。`
        : `旧密钥保留在 ${oldKeyFile}，恢复旧备份时需要它。请备份新密钥，且不要与数据库的备份放在一起。`,
    ],
  };
  return `${lines[language].join("\n")}\n`;
}

function changedLines(report: RotationReport, language: Language): string[] {
  const { oldKeyId, newKeyId, isResumed, resealed, damaged } = report;
  const cleared = damaged.map(({ table, row, column }) => plainText(`${table}.${column} ${row}`));
  return {
    en: [
      `The master key was changed: ${oldKeyId} → ${newKeyId}`,
      ...(isResumed ? ["Completed a rotation that had been interrupted."] : []),
      `Re-encrypted: ${resealed}`,
      ...cleared.map((place) => `Damaged before already, and cleared: ${place}`),
    ],
    zh: [
      `主密钥已更换：${oldKeyId} → ${newKeyId}`,
      ...(isResumed ? ["完成了此前中断的轮换。"] : []),
      `重新加密：${resealed}`,
      ...cleared.map((place) => `此前已损坏，已清除：${place}`),
    ],
  }[language];
}

/** `afterTheft` is what to do where they should be refused. */
function virtualTokensLine(
  { revokedVirtualTokens }: RotationReport,
  language: Language,
  afterTheft: string,
): string {
  const [revoked, accepted] = {
    en: [
      "Virtual tokens issued before are refused from now on. After a theft, also roll every API key and change every AppSecret.",
      `Virtual tokens issued before are accepted for 2 more hours. After a theft, ${afterTheft}`,
    ] as const,
    zh: [
      "此前签发的虚拟token即刻失效。若密钥已泄露，还须轮换全部API密钥并更换全部AppSecret。",
      `此前签发的虚拟token在2小时内仍可使用。若密钥已泄露，${afterTheft}`,
    ] as const,
  }[language];
  return revokedVirtualTokens ? revoked : accepted;
}
