import { type Config, loadLocalConfig } from "../config.ts";
import { Secret } from "../secret.ts";
import type { ImportReport } from "../store/key-export.ts";
import { type Arguments, bilingual, type CommandSpec, option, usageError } from "./arguments.ts";
import { noteMilestone, placeOf } from "./backup-commands.ts";
import { type ExitCode, jsonText, showFailure } from "./exit.ts";
import { NewFile, readSecretFiles, readText } from "./file-arguments.ts";
import { plainText, type Terminal } from "./terminal.ts";

const PASSPHRASE = "passphrase-file";
const PASSPHRASE_OPTION = option(
  `--${PASSPHRASE} <file>`,
  "The file with the passphrase; - for standard input",
  "口令所在的文件；- 为标准输入",
);
/** Shorter ones are guessed, whatever a try costs. */
const MIN_LENGTH = 12;
const MAX_EXPORT_BYTES = 65_536;

/** `accesstoken master-key export` and `import`: the key on paper. */
export const KEY_EXPORT_COMMANDS: readonly CommandSpec[] = [
  {
    words: ["master-key", "export"],
    meaning: bilingual(
      "Print the master key, encrypted under a passphrase, to be kept away from the backups",
      "输出用口令加密的主密钥，供与备份分开保管",
    ),
    notes: [
      bilingual(
        "A text that may be printed. Without the passphrase nobody can use it, nor can you: keep both, in different places.",
        "为可打印的文本。没有口令谁也无法使用，包括你自己：两者都要保管，且放在不同地方。",
      ),
    ],
    options: [
      PASSPHRASE_OPTION,
      option(
        "--out <file>",
        "A new file, for its owner alone. Default: standard output",
        "新文件，仅属主可读；默认为标准输出",
      ),
    ],
    run: runExport,
  },
  {
    words: ["master-key", "import"],
    meaning: bilingual(
      "Put an exported master key into MASTER_KEY_FILE",
      "把导出的主密钥放入MASTER_KEY_FILE",
    ),
    notes: [
      bilingual(
        "It must open the database that is here, if there is one. Another key in that file is kept beside it as master.key.<id>.",
        "本机有数据库时，该密钥须能打开它。文件中原有的其他密钥在旁边保留为 master.key.<id>。",
      ),
    ],
    positionals: [{ name: "file", meaning: bilingual("What was exported", "导出的文件") }],
    options: [PASSPHRASE_OPTION, option("--json", "Print what was done as JSON", "以JSON输出结果")],
    run: runImport,
  },
];

async function runExport(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const passphrase = await readPassphrase(args, terminal);
  if (passphrase.reveal().length < MIN_LENGTH)
    throw usageError(
      `--${PASSPHRASE}: 口令至少${MIN_LENGTH}个字符 (a passphrase has at least ${MIN_LENGTH} characters)`,
    );
  const config = loadLocalConfig();
  const { clock } = terminal;
  try {
    const { exportKey, opensDatabase } = await import("../store/key-export.ts");
    const { givenKey, missingKey, wrongKey } = await import("../store/given-key.ts");
    const own = { ...config, onKeyCreated: () => undefined };
    const key = givenKey(own);
    if (!key) throw missingKey(own);
    if ((await opensDatabase(key, placeOf(config))) === false)
      throw wrongKey({ ...own, nextKeyFile: undefined });
    const text = await exportKey(key, passphrase, clock.now());
    const out = args.find("out");
    if (out === undefined) await terminal.print(text);
    else keep(new NewFile(out), text);
    await noteMilestone(config, "master_key_exported", { key: key.keyId }, terminal);
    return 0;
  } catch (error) {
    return showFailure(error, terminal, false);
  }
}

async function runImport(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const isJson = args.isSet("json");
  const passphrase = await readPassphrase(args, terminal);
  const config = loadLocalConfig();
  if (config.masterKey)
    throw usageError(
      "MASTER_KEY已设置，密钥文件不会被使用；请先删除该变量 (MASTER_KEY is set, so a key file is not used; remove that variable first)",
    );
  try {
    const text = readText("<file>", args.get("file"), MAX_EXPORT_BYTES);
    const { importKey, installKey } = await import("../store/key-export.ts");
    const key = await importKey(text, passphrase);
    const report = await installKey(key, config.masterKeyFile, placeOf(config));
    await terminal.print(isJson ? jsonText(asData(report, config)) : asText(report, config, terminal));
    return 0;
  } catch (error) {
    return showFailure(error, terminal, isJson);
  }
}

async function readPassphrase(args: Arguments, terminal: Terminal): Promise<Secret> {
  args.get(PASSPHRASE);
  const { [PASSPHRASE]: text = "" } = await readSecretFiles([PASSPHRASE], args, terminal);
  if (text === "") throw usageError(`--${PASSPHRASE}: 文件为空 (the file is empty)`);
  return new Secret(text);
}

/** Writes the file; a failure leaves none. */
function keep(file: NewFile, text: string): void {
  try {
    file.write(text);
    file.finish();
  } catch (error) {
    file.discard();
    throw error;
  }
}

function asData({ keyId, wasThere, kept, isProven }: ImportReport, { masterKeyFile }: Config) {
  return {
    key: keyId,
    key_file: masterKeyFile,
    was_there: wasThere,
    opens_database: isProven,
    old_key_file: kept ?? null,
  };
}

function asText(
  { keyId, wasThere, kept, isProven }: ImportReport,
  { masterKeyFile }: Config,
  { language }: Pick<Terminal, "language">,
): string {
  const path = plainText(masterKeyFile);
  const lines = {
    en: [
      wasThere ? `${path} has the master key ${keyId} already.` : `The master key ${keyId} is in ${path}.`,
      isProven
        ? "It opens the database that is here."
        : "There is no database here yet: restore a backup with accesstoken restore.",
      ...(kept === undefined ? [] : [`The key that was there is kept as ${plainText(kept)}.`]),
    ],
    zh: [
      wasThere ? `${path} 中已是主密钥 ${keyId}。` : `主密钥 ${keyId} 已放入 ${path}。`,
      isProven ? "它能打开本机的数据库。" : "本机尚无数据库：请用 accesstoken restore 恢复备份。",
      ...(kept === undefined ? [] : [`原来的密钥保留为 ${plainText(kept)}。`]),
    ],
  };
  return `${lines[language].join("\n")}\n`;
}
