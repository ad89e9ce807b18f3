/** How bad it is, worst first. */
export const SEVERITIES = ["critical", "warning", "info"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** What an alarm is told of. */
export interface Condition {
  readonly severity: Severity;
  /** What its subject names; of the service the subject is empty. */
  readonly about: "app" | "platform" | "client" | "node" | "service";
  /** Whether it is told of unless somebody says otherwise. */
  readonly isOn: boolean;
  /** From how many on, where that can be changed. */
  readonly threshold?: { readonly value: number; readonly least: number; readonly most: number };
  /** How long it must have stood before somebody is told. */
  readonly holdMs: number;
  /** Whether it happens and does not last: then nobody is told of its end. Default false. */
  readonly isEvent?: boolean;
  /** What is wrong, and what to do: 中文 (English). */
  readonly title: string;
  readonly remedy: string;
}

const HOLD_MS = 60_000;
/** Nobody gains by waiting: it does not pass by itself. */
const AT_ONCE = 0;

const quota = (severity: Severity, percent: number): Condition => ({
  ...{ severity, about: "app", isOn: true, holdMs: HOLD_MS },
  title: `当日接口配额已用${percent}% (${percent} % of a daily quota is used)`,
  remedy:
    percent === 100
      ? "北京时间零点恢复；急用可在微信后台清零，并找出调用过多的客户端 (it is back at midnight in Beijing; WeChat's console can reset it; find the client that calls too often)"
      : "在应用页查看调用，找出调用过多的客户端 (find the client that calls too often on the app's page)",
});

/** Everything that an alarm is raised for. */
const CONDITIONS = {
  app_blocked: {
    ...{ severity: "critical", about: "app", isOn: true, holdMs: AT_ONCE },
    title: "应用被拒绝 (an app is blocked)",
    remedy:
      "按提示修正，然后在控制台解除暂停 (put right what the hint names, then unblock the app in the console)",
  },
  wecom_banned: {
    ...{ severity: "critical", about: "app", isOn: true, holdMs: AT_ONCE },
    title: "企业微信封禁了本服务的调用 (WeCom bans our calls)",
    remedy:
      "停止过多的调用，封禁期满自动恢复；请找出调用过多的客户端或错误的secret (find what calls too often or with a wrong secret; the ban ends by itself)",
  },
  renewal_failing: {
    ...{ severity: "warning", about: "app", isOn: true, holdMs: HOLD_MS },
    title: "token续期失败，即将过期 (a token is about to expire and can't be renewed)",
    remedy: "查看应用页的最近失败原因 (see the last failure on the app's page)",
  },
  credential_expired: {
    ...{ severity: "critical", about: "app", isOn: true, holdMs: HOLD_MS },
    title: "token已过期且无法续期，调用正在失败 (a token has expired and can't be renewed: calls fail)",
    remedy: "查看应用页的最近失败原因 (see the last failure on the app's page)",
  },
  revoked_early: {
    ...{ severity: "critical", about: "app", isOn: true, holdMs: AT_ONCE },
    title: "token提前失效，有其他程序在获取token (a token was revoked early: another program fetches tokens)",
    remedy:
      "找出还持有该应用secret的程序，改用本服务，或重置secret (find who else holds the app's secret, point it here, or reset the secret)",
  },
  quota_80: quota("info", 80),
  quota_95: quota("warning", 95),
  quota_100: quota("critical", 100),
  forced_refreshes: {
    ...{ severity: "warning", about: "app", isOn: true, holdMs: HOLD_MS },
    threshold: { value: 15, least: 1, most: 20 },
    title: "当日强制刷新次数将用尽 (a day's forced refreshes are nearly used)",
    remedy:
      "查看历史，找出反复要求强制刷新的客户端 (find in the history which client keeps forcing refreshes)",
  },
  upstream_unreachable: {
    ...{ severity: "critical", about: "service", isOn: true, holdMs: HOLD_MS },
    threshold: { value: 3, least: 1, most: 1000 },
    title: "多个应用无法连接微信 (several apps can't reach WeChat)",
    remedy: "检查本机的网络、DNS和代理 (check the machine's network, DNS and proxy)",
  },
  ticket_missing: {
    ...{ severity: "critical", about: "platform", isOn: true, holdMs: AT_ONCE },
    title: "第三方平台收不到ticket (a third-party platform gets no ticket)",
    remedy:
      "检查平台后台中的回调URL是否正确、外网可达，再让推送重新开始 (see that the callback URL in the platform's console is right and can be reached, and have the pushes start again)",
  },
  authorization_lost: {
    ...{ severity: "warning", about: "app", isOn: true, holdMs: AT_ONCE },
    title: "账号对第三方平台的授权已失效 (an account's authorization of a third-party platform is lost)",
    remedy:
      "在控制台的平台页生成链接，请该账号的管理员重新授权 (make a link on the platform's page of the console, and have the account's administrator authorize again)",
  },
  authorization_failed: {
    ...{ severity: "warning", about: "platform", isOn: true, holdMs: AT_ONCE, isEvent: true },
    title: "对第三方平台的授权没有完成 (an authorization of a third-party platform came to nothing)",
    remedy:
      "在控制台的平台页生成链接，请该账号或企业的管理员重新授权 (make a link on the platform's page of the console, and have the administrator of the account or corp authorize again)",
  },
  audit_failing: {
    ...{ severity: "critical", about: "node", isOn: true, holdMs: AT_ONCE },
    title: "审计写入失败 (the audit can't be written)",
    remedy: "检查数据库和磁盘 (check the database and the disk)",
  },
  audit_broken: {
    ...{ severity: "critical", about: "service", isOn: true, holdMs: AT_ONCE },
    title: "审计链不完整 (the audit's chain is broken)",
    remedy:
      "执行 accesstoken audit verify 查看位置，保留数据库副本并查明谁改动过 (see where with accesstoken audit verify, keep a copy of the database, find out who changed it)",
  },
  store_read_only: {
    ...{ severity: "critical", about: "node", isOn: true, holdMs: HOLD_MS },
    title: "数据库不可写 (the database can't be written)",
    remedy: "检查磁盘、权限和数据库主库 (check the disk, the modes and the database's primary)",
  },
  disk_low: {
    ...{ severity: "warning", about: "node", isOn: true, holdMs: HOLD_MS },
    threshold: { value: 1024, least: 1, most: 1_000_000 },
    title: "磁盘剩余空间不足 (the disk is nearly full)",
    remedy: "清理磁盘或扩容；阈值单位为MiB (free or add space; the threshold is in MiB)",
  },
  backup_stale: {
    ...{ severity: "warning", about: "service", isOn: true, holdMs: HOLD_MS },
    threshold: { value: 36, least: 1, most: 720 },
    title: "太久没有成功备份 (there has been no backup for too long)",
    remedy:
      "查看日志中的 backup.failed，或手动执行 accesstoken backup；阈值单位为小时 (look for backup.failed in the log, or run accesstoken backup; the threshold is in hours)",
  },
  key_ends: {
    ...{ severity: "warning", about: "client", isOn: true, holdMs: HOLD_MS },
    threshold: { value: 7, least: 1, most: 90 },
    title: "API密钥即将到期 (an API key ends soon)",
    remedy: "轮换该密钥；阈值单位为天 (roll the key; the threshold is in days)",
  },
  wrong_keys: {
    ...{ severity: "warning", about: "service", isOn: true, holdMs: AT_ONCE },
    threshold: { value: 100, least: 1, most: 1_000_000 },
    title: "五分钟内有大量错误密钥 (many wrong keys within five minutes)",
    remedy: "在审计中查看来源地址 (see the addresses in the audit)",
  },
  node_gone: {
    ...{ severity: "warning", about: "node", isOn: true, holdMs: HOLD_MS },
    title: "进程异常消失 (a process is gone without a stop)",
    remedy: "在该机器上查看服务和日志 (look at the service and its log on that machine)",
  },
  master_key_rotated: {
    ...{ severity: "info", about: "service", isOn: true, holdMs: AT_ONCE, isEvent: true },
    title: "主密钥已轮换 (the master key was rotated)",
    remedy:
      "备份新密钥；如非本人操作请立即排查 (keep a copy of the new key; if it was none of you, look into it now)",
  },
  new_address: {
    ...{ severity: "info", about: "client", isOn: false, holdMs: AT_ONCE, isEvent: true },
    title: "密钥首次从新地址使用 (a key is used from a new address)",
    remedy: "确认该地址属于你们，否则吊销该密钥 (make sure that the address is yours, or revoke the key)",
  },
} as const satisfies Record<string, Condition>;

/** What an alarm is raised for. */
export type ConditionId = keyof typeof CONDITIONS;

/** Their names, in the order in which they are shown. */
export const CONDITION_IDS = Object.keys(CONDITIONS) as readonly ConditionId[];

/** A condition, whatever it has. */
export function conditionOf(id: ConditionId): Condition {
  return CONDITIONS[id];
}
