import type { Language } from "../config.ts";
import type { DrillReport } from "../store/backup-drill.ts";
import type { BackupReport } from "../store/backup.ts";
import type { RestoreReport } from "../store/restore.ts";
import { halfOf, localTime, plainText, type Terminal } from "./terminal.ts";

/** So many names are listed; there may be thousands. */
const MAX_LISTED = 20;

/** A backup that was made, for a program. */
export function backupData(
  { path, bytes, createdAt, keyIds, rows, auditEntryId }: BackupReport,
  removed: readonly string[],
) {
  return {
    file: path,
    bytes,
    created_at: createdAt,
    keys: keyIds,
    rows,
    audit_entry: auditEntryId,
    removed,
  };
}

/** The same for a person. */
export function backupText(
  { path, bytes, keyIds, rows }: BackupReport,
  removed: readonly string[],
  { language }: Pick<Terminal, "language">,
): string {
  const all = Object.values(rows).reduce((sum, count) => sum + count, 0);
  const [key = ""] = keyIds;
  const lines = {
    en: [
      `${plainText(path)}: ${bytes} bytes, ${all} rows, checked.`,
      `A restore needs the master key ${plainText(key)}, which is not in it: keep it elsewhere.`,
      `Try it: accesstoken backup verify ${plainText(path)}`,
      ...(removed.length > 0 ? [`Older backups removed: ${removed.length}.`] : []),
    ],
    zh: [
      `${plainText(path)}：${bytes}字节，${all}行，已检查。`,
      `恢复时需要主密钥 ${plainText(key)}，备份中没有它：请另行保管。`,
      `演练恢复：accesstoken backup verify ${plainText(path)}`,
      ...(removed.length > 0 ? [`已删除较旧的备份：${removed.length}个。`] : []),
    ],
  };
  return `${lines[language].join("\n")}\n`;
}

/** What a backup was found to be, for a program. */
export function drillData({ manifest, sealed, damaged, audit, migrated }: DrillReport) {
  return {
    created_at: manifest.created_at,
    version: manifest.version,
    engine: manifest.engine,
    keys: manifest.key_ids,
    rows: manifest.rows,
    audit_entry: manifest.audit.id,
    sealed,
    damaged,
    migrated,
    audit: { intact: audit.isIntact, entries: audit.entries, ...(audit.fault ? { fault: audit.fault } : {}) },
  };
}

/** The same for a person, in lines. */
export function drillLines(
  { manifest, sealed, damaged, audit, migrated }: DrillReport,
  language: Language,
): string[] {
  const { version, engine, created_at: at, key_ids: keyIds, audit: anchor } = manifest;
  const key = plainText(keyIds[0] ?? "");
  const fault = audit.fault && `${audit.fault.id}: ${plainText(halfOf(audit.fault.message, language))}`;
  const made = { en: "Made", zh: "生成于" }[language];
  const lines = {
    en: [
      `${made} ${localTime(at)} by ${plainText(version)} on ${engine}, up to audit entry ${anchor.id}; master key ${key}.`,
      `Encrypted values: ${sealed - damaged.length} of ${sealed} open.`,
      ...damaged.slice(0, MAX_LISTED).map((place) => `Does not open: ${plainText(place)}`),
      audit.isIntact
        ? `Audit: intact, ${audit.entries} entries.`
        : `Audit: NOT INTACT at entry ${fault ?? ""}`,
      ...(migrated.length > 0 ? [`Migrations that this version adds: ${migrated.length}.`] : []),
    ],
    zh: [
      `${made} ${localTime(at)}，版本 ${plainText(version)}，${engine}，审计至第${anchor.id}条；主密钥 ${key}。`,
      `密文：${sealed}项中${sealed - damaged.length}项可解密。`,
      ...damaged.slice(0, MAX_LISTED).map((place) => `无法解密：${plainText(place)}`),
      audit.isIntact ? `审计：完整，共${audit.entries}条。` : `审计：不完整，第${fault ?? ""}`,
      ...(migrated.length > 0 ? [`本版本会追加的迁移：${migrated.length}个。`] : []),
    ],
  };
  return lines[language];
}

/** What was restored, for a program. */
export function restoreData(report: RestoreReport) {
  const { kept, droppedTokens, anonymous, lastEntryId, revived, lost } = report;
  return {
    ...drillData(report),
    old_file: kept.file ?? null,
    old_schema: kept.schema ?? null,
    dropped_tokens: droppedTokens,
    anonymous,
    lost_after: { entry: report.manifest.audit.id, at: report.manifest.created_at },
    last_entry: lastEntryId ?? null,
    keys_valid_again: revived,
    keys_gone: lost,
  };
}

/** The same for a person, with what is left to do. */
export function restoreText(report: RestoreReport, { language }: Pick<Terminal, "language">): string {
  const { manifest, kept, droppedTokens, anonymous, lastEntryId, revived, lost } = report;
  // With an old database that has it on as well, there is nothing new in it.
  const isOpen = anonymous === "on" && lastEntryId === undefined;
  const [entry, at] = [manifest.audit.id, localTime(manifest.created_at)];
  const listed = (names: readonly string[]) =>
    names.slice(0, MAX_LISTED).map(plainText).join(", ") + (names.length > MAX_LISTED ? " …" : "");
  const lines = {
    en: [
      `Restored. Lost: everything after audit entry ${entry}, ${at}${lastEntryId === undefined ? "" : ` (the old database had entries up to ${lastEntryId})`}.`,
      ...(kept.file === undefined ? [] : [`The old database is kept as ${plainText(kept.file)}.`]),
      ...(kept.schema === undefined
        ? []
        : [
            `The old tables are kept in the schema ${kept.schema}. To remove them: DROP SCHEMA ${kept.schema} CASCADE`,
          ]),
      ...(revived.length > 0
        ? [`VALID AGAIN, revoked or removed since: ${listed(revived)}. Revoke them: accesstoken keys revoke`]
        : []),
      ...(lost.length > 0
        ? [`Keys that are gone, made since: ${listed(lost)}. Their programs need new ones.`]
        : []),
      ...(lastEntryId === undefined
        ? ["Check clients and keys: what was revoked since is valid again, what was made is gone."]
        : []),
      ...(anonymous === "ended"
        ? [
            "Anonymous access was on in the backup and is off now, as in the old database or because that can't be read. To have it again: accesstoken anonymous on",
          ]
        : []),
      ...(isOpen
        ? ["ANONYMOUS ACCESS IS ON, as in the backup. If it was ended since: accesstoken anonymous off"]
        : []),
      `Tokens and tickets that were dropped, to be obtained again: ${droppedTokens}. Everybody must sign in to the console again.`,
      "Start the service.",
    ],
    zh: [
      `已恢复。丢失：审计第${entry}条（${at}）之后的一切${lastEntryId === undefined ? "" : `（原数据库的审计至第${lastEntryId}条）`}。`,
      ...(kept.file === undefined ? [] : [`原数据库保留为 ${plainText(kept.file)}。`]),
      ...(kept.schema === undefined
        ? []
        : [`原有的表保留在schema ${kept.schema} 中。删除时执行：DROP SCHEMA ${kept.schema} CASCADE`]),
      ...(revived.length > 0
        ? [`以下密钥此前已吊销或删除，现重新有效：${listed(revived)}。请吊销：accesstoken keys revoke`]
        : []),
      ...(lost.length > 0
        ? [`以下密钥在备份之后创建，现已不存在：${listed(lost)}。相应程序需要新的密钥。`]
        : []),
      ...(lastEntryId === undefined
        ? ["请检查客户端和密钥：备份之后吊销的已重新有效，创建的已不存在。"]
        : []),
      ...(anonymous === "ended"
        ? [
            "备份中的匿名访问是开启的，现已关闭：原数据库中已关闭，或无法读取原数据库。如需开启：accesstoken anonymous on",
          ]
        : []),
      ...(isOpen
        ? ["匿名访问与备份中一样处于开启状态。如在备份之后关闭过，请执行：accesstoken anonymous off"]
        : []),
      `已丢弃token和ticket：${droppedTokens}个，将重新获取。所有人须重新登录控制台。`,
      "请启动服务。",
    ],
  };
  return `${[...drillLines(report, language), ...lines[language]].join("\n")}\n`;
}
