import { commandLineActor } from "../audit/audit-entry.ts";
import { commandLineUser, databaseAt, loadLocalConfig } from "../config.ts";
import type { CopyProgress, CopyReport } from "../store/copy-store.ts";
import { type Arguments, type CommandSpec, bilingual, option, usageError } from "./arguments.ts";
import { placeOf } from "./backup-commands.ts";
import { type ExitCode, jsonText, showFailure } from "./exit.ts";
import { halfOf, plainText, type Terminal } from "./terminal.ts";

/** How often a long copy says how far it is, in milliseconds. */
const PROGRESS_MS = 5000;

/** `accesstoken store …`: the database as a whole. */
export const STORE_COMMANDS: readonly CommandSpec[] = [
  {
    words: ["store", "copy"],
    meaning: bilingual(
      "Copy the database of a stopped service from SQLite to PostgreSQL, or back",
      "把已停止的服务的数据库从SQLite复制到PostgreSQL，或反向复制",
    ),
    notes: [
      bilingual(
        "All or nothing: a copy that is interrupted leaves an empty target, and is begun again. Secrets stay encrypted under the same master key.",
        "要么全部完成，要么毫无改动：中断后目标仍为空，重新执行即可。各项密文原样复制，主密钥不变。",
      ),
      bilingual(
        "A URL on the command line can be seen by others: keep its password in DATABASE_PASSWORD_FILE or PGPASSFILE.",
        "命令行中的URL可能被他人看到：密码请放在DATABASE_PASSWORD_FILE或PGPASSFILE中。",
      ),
    ],
    options: [
      option(
        "--to <place>",
        "An empty PostgreSQL, as postgres://<user>@<host>/<database>, or a new file",
        "空的PostgreSQL，形如 postgres://<用户>@<主机>/<数据库>，或一个新文件",
      ),
      option(
        "--from <place>",
        "What is copied, likewise, as a backup. Default: the database of this machine's own configuration",
        "源数据库，写法相同，可为备份文件；默认为本机配置的数据库",
      ),
      option("--json", "Print what was done as JSON", "以JSON输出结果"),
    ],
    run: runStoreCopy,
  },
];

async function runStoreCopy(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const isJson = args.isSet("json");
  const to = databaseAt(args.get("to"));
  const own = loadLocalConfig();
  const named = args.find("from");
  const from = named === undefined ? own : databaseAt(named);
  if ((from.postgres === undefined) === (to.postgres === undefined))
    throw usageError(
      "源和目标须一个为SQLite、一个为PostgreSQL (one of source and target must be SQLite, and the other PostgreSQL)",
      "同类数据库请用备份或pg_dump复制 (between two of a kind, copy a backup, or use pg_dump)",
    );
  try {
    const { copyStore } = await import("../store/copy-store.ts");
    const report = await copyStore({
      from: placeOf(from),
      to: placeOf(to),
      masterKey: own.masterKey,
      masterKeyFile: own.masterKeyFile,
      clock: terminal.clock,
      actor: commandLineActor(commandLineUser()),
      onProgress: progressTeller(terminal),
    });
    await terminal.print(isJson ? jsonText(asData(report)) : asText(report, terminal));
    return report.audit?.isIntact === false ? 1 : 0;
  } catch (error) {
    return showFailure(error, terminal, isJson);
  }
}

/** Tells how far a long copy is, now and then. */
function progressTeller(terminal: Terminal): (progress: CopyProgress) => void {
  const { clock, language } = terminal;
  let toldAt = clock.monotonic();
  return ({ step, table, rows }) => {
    if (clock.monotonic() - toldAt < PROGRESS_MS) return;
    toldAt = clock.monotonic();
    const words = { copying: bilingual("copied", "已复制"), comparing: bilingual("compared", "已核对") };
    terminal.tell(`${table}: ${rows} ${words[step][language]}`);
  };
}

function asData({ tables, keyIds, textsWithNul, audit }: CopyReport) {
  return {
    tables,
    keys: keyIds,
    texts_with_nul: textsWithNul,
    audit: audit && {
      intact: audit.isIntact,
      entries: audit.entries,
      ...(audit.fault ? { fault: audit.fault } : {}),
    },
  };
}

function asText(report: CopyReport, { language }: Pick<Terminal, "language">): string {
  const { tables, keyIds, textsWithNul, audit } = report;
  const all = Object.values(tables).reduce((sum, rows) => sum + rows, 0);
  const keys = plainText(keyIds.join(", "));
  const fault = audit?.fault && `${audit.fault.id}: ${plainText(halfOf(audit.fault.message, language))}`;
  const lines = {
    en: [
      ...Object.entries(tables).map(([name, rows]) => `${name}: ${rows}`),
      `Copied and compared: ${all} rows.`,
      `Encrypted under the master key ${keys}, as before: every machine needs it.`,
      ...(textsWithNul > 0 ? [`NUL characters were replaced in ${textsWithNul} texts.`] : []),
      !audit
        ? "Audit: copied as it was, without an entry of the copy. Its master key is not here; verify it with: accesstoken audit verify"
        : audit.isIntact
          ? `Audit: intact, ${audit.entries} entries.`
          : `Audit: NOT INTACT at entry ${fault}`,
    ],
    zh: [
      ...Object.entries(tables).map(([name, rows]) => `${name}：${rows}`),
      `已复制并核对：${all}行。`,
      `加密所用主密钥仍为 ${keys}，每台机器都需要它。`,
      ...(textsWithNul > 0 ? [`${textsWithNul}处文本中的NUL字符已被替换。`] : []),
      !audit
        ? "审计：已原样复制，未记录本次复制；本机没有对应的主密钥，请用 accesstoken audit verify 校验"
        : audit.isIntact
          ? `审计：完整，共${audit.entries}条。`
          : `审计：不完整，第${fault}`,
    ],
  };
  return `${lines[language].join("\n")}\n`;
}
