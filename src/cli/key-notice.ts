/** What a person must know when a new master key was made at `path`. */
export function keyNotice(path: string): string {
  return [
    `已生成主密钥 ${path}。丢失它就丢失全部数据：请妥善备份，且不要与数据库的备份放在一起。`,
    `A master key was made: ${path}. Losing it loses the data: back it up, and not beside backups of the database.`,
  ].join("\n");
}
