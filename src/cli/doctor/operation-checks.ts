import { availableParallelism } from "node:os";
import { type Client, type Grant, isAdmin } from "../../access/client.ts";
import { type Checks, type Finding, fine, Skipped, warning } from "../../ops/doctor.ts";
import { probeOwn } from "../../upstream/probes.ts";
import { VERSION } from "../../version.ts";
import { ago, checkBackup, reachedAt } from "./backup-check.ts";
import { checkPlatforms } from "./platforms-check.ts";
import { openFilesOf, textOf } from "./processes.ts";
import { checkPublicUrl } from "./public-url-check.ts";
import { type Setup, someOf } from "./setup.ts";

const DAY_MS = 86_400_000;
const UNUSED_DAYS = 90;
const ENDS_IN_DAYS = 14;
const TRIED_DAYS = 31;
const MIN_OPEN_FILES = 8192;
const MIN_MEMORY_BYTES = 128 * 1024 ** 2;

/** The checks of how the service is run. */
export const OPERATION_CHECKS = {
  admin_keys: checkAdminKeys,
  keys: checkKeys,
  backup: checkBackup,
  key_export: checkKeyExport,
  limits: checkLimits,
  versions: checkVersions,
  notifications: checkNotifications,
  public_url: checkPublicUrl,
  platforms: checkPlatforms,
} satisfies Partial<Checks<Setup>>;

const VALID_KEYS = `SELECT k.prefix, k.client, k.expires_at, k.last_used_at, k.created_at, c.grants, c.networks, c.expires_at, k.replaced_by
  FROM api_keys k JOIN clients c ON c.name = k.client
  WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?) ORDER BY k.client, k.prefix`;

interface ValidKey {
  readonly prefix: string;
  readonly client: string;
  readonly expiresAt: number | undefined;
  readonly usedAt: number;
  readonly isAdmin: boolean;
  readonly networks: string;
  readonly isReplaced: boolean;
}

async function validKeys(setup: Setup): Promise<ValidKey[]> {
  const rows = await (await setup.current).rows(VALID_KEYS, [setup.clock.now()]);
  return rows.map(
    ([prefix, client, endsAt, usedAt, createdAt, grants, networks, clientEndsAt, replacedBy]) => {
      const ends = [endsAt, clientEndsAt].flatMap((at) => (at === null ? [] : [Number(at)]));
      return {
        prefix: String(prefix),
        client: String(client),
        expiresAt: ends.length === 0 ? undefined : Math.min(...ends),
        usedAt: Number(usedAt ?? createdAt),
        isAdmin: isAdmin({ grants: grantsOf(String(grants)) }),
        networks: String(networks),
        isReplaced: replacedBy !== null,
      };
    },
  );
}

function grantsOf(text: string): Client["grants"] {
  try {
    return JSON.parse(text) as Grant[];
  } catch {
    return [];
  }
}

async function checkAdminKeys(setup: Setup): Promise<Finding[]> {
  const admins = (await validKeys(setup)).filter((key) => key.isAdmin);
  const open = admins.filter(({ expiresAt, networks }) => expiresAt === undefined && networks === "");
  if (open.length === 0)
    return [fine(`${admins.length}个管理员密钥 (${admins.length} keys of administrators)`)];
  const [first] = open;
  const list = someOf(open.map(({ client, prefix }) => `${client} ${prefix}`));
  return [
    warning(
      `管理员密钥没有期限，也不限来源地址：${list} (keys of administrators without an end, good from any address: ${list})`,
      `执行 accesstoken clients set ${first?.client} --network <网段>，或更换为有期限的密钥 (accesstoken clients set ${first?.client} --network <cidr>, or put a key with an end in its place)`,
    ),
  ];
}

async function checkKeys(setup: Setup): Promise<Finding[]> {
  const now = setup.clock.now();
  const keys = await validKeys(setup);
  const unused = keys.filter(({ usedAt }) => usedAt < now - UNUSED_DAYS * DAY_MS);
  const ending = keys.filter(
    ({ expiresAt, isReplaced }) =>
      !isReplaced && expiresAt !== undefined && expiresAt < now + ENDS_IN_DAYS * DAY_MS,
  );
  const listOf = (some: readonly ValidKey[]) =>
    someOf(some.map(({ client, prefix }) => `${client} ${prefix}`));
  const found = [fine(`${keys.length}个有效密钥 (${keys.length} valid keys)`)];
  if (ending.length > 0)
    found.push(
      warning(
        `密钥在${ENDS_IN_DAYS}天内到期：${listOf(ending)} (keys that end within ${ENDS_IN_DAYS} days: ${listOf(ending)})`,
        `执行 accesstoken keys roll ${ending[0]?.client} ${ending[0]?.prefix} (accesstoken keys roll ${ending[0]?.client} ${ending[0]?.prefix})`,
      ),
    );
  if (unused.length > 0)
    found.push(
      warning(
        `密钥${UNUSED_DAYS}天未使用：${listOf(unused)} (keys unused for ${UNUSED_DAYS} days: ${listOf(unused)})`,
        `不再需要时执行 accesstoken keys revoke ${unused[0]?.prefix} (if nobody needs it: accesstoken keys revoke ${unused[0]?.prefix})`,
      ),
    );
  return found;
}

async function checkKeyExport(setup: Setup): Promise<Finding[]> {
  const at = await reachedAt(setup, "master_key_exported");
  if (at > -Infinity)
    return [fine(`${ago(setup.clock.now() - at)} 前导出 (${ago(setup.clock.now() - at)} ago)`)];
  return [
    warning(
      "主密钥从未导出：丢失它，数据库和所有备份都无法解密 (the master key was never exported: without it neither database nor backup can be opened)",
      "执行 accesstoken master-key export，并另行保管 (accesstoken master-key export, and keep it elsewhere)",
    ),
  ];
}

async function checkLimits(setup: Setup): Promise<Finding[]> {
  const processes = await setup.processes();
  const limits =
    processes.length > 0
      ? processes.map((each) => each.openFiles)
      : [openFilesOf(textOf("/proc/self/limits"))];
  const lowest = Math.min(...limits.map((limit) => limit ?? Infinity));
  const memory = Number(/^MemAvailable:\s+(\d+)/m.exec(textOf("/proc/meminfo"))?.[1] ?? Infinity) * 1024;
  const cores = availableParallelism();
  const found = [fine(`打开文件数 ${lowest}，${cores}核 (${lowest} open files, ${cores} cores)`)];
  if (lowest < MIN_OPEN_FILES)
    found.push(
      warning(
        `最多只能打开 ${lowest} 个文件或连接 (no more than ${lowest} files and connections can be open)`,
        "systemd单元中设置 LimitNOFILE=65536，或 ulimit -n 65536 (LimitNOFILE=65536 in the systemd unit, or ulimit -n 65536)",
      ),
    );
  if (memory < MIN_MEMORY_BYTES)
    found.push(
      warning(
        `可用内存只有 ${Math.floor(memory / 1024 ** 2)} MB (${Math.floor(memory / 1024 ** 2)} MB of memory are available)`,
        "增加内存或停止其他程序 (add memory, or end other programs)",
      ),
    );
  if (processes.length > cores)
    found.push(
      warning(
        `${processes.length}个工作进程多于${cores}个CPU核 (${processes.length} processes share ${cores} cores)`,
        `用 serve --workers ${cores} 启动 (start it by serve --workers ${cores})`,
      ),
    );
  return found;
}

async function checkVersions(setup: Setup): Promise<Finding[]> {
  const { config } = setup;
  const processes = await setup.processes();
  const others: string[] = [];
  if (config.postgres)
    others.push(
      ...(await setup.nodes)
        .filter(({ version }) => version !== VERSION)
        .map(({ host, pid, version }) => `${host} ${pid} ${version}`),
    );
  others.push(
    ...processes.filter(({ program }) => program.endsWith(" (deleted)")).map(({ pid }) => `pid ${pid}`),
  );
  if (others.length === 0 && processes.length > 0 && config.port > 0) {
    const { version } = await probeOwn(config);
    if (version !== undefined && version !== VERSION) others.push(`${config.host}:${config.port} ${version}`);
  }
  if (others.length === 0)
    return [fine(`${VERSION}，${processes.length}个进程 (${VERSION}, ${processes.length} processes)`)];
  return [
    warning(
      `运行中的进程与本程序（${VERSION}）版本不同：${someOf(others)} (running processes are not of this program's version (${VERSION}): ${someOf(others)})`,
      "重启服务 (restart the service)",
    ),
  ];
}

async function checkNotifications(setup: Setup): Promise<Finding[]> {
  const examination = await setup.current;
  const channels = await examination.rows(
    "SELECT name FROM notification_channels WHERE is_enabled = 1 ORDER BY 1",
  );
  if (channels.length === 0) throw new Skipped("没有通知渠道 (there is no channel)");
  const sent = await examination.rows(
    "SELECT channel, max(ended_at) FROM notifications WHERE state = 'sent' GROUP BY 1",
  );
  const last = new Map(sent.map(([channel, at]) => [String(channel), Number(at)]));
  const since = setup.clock.now() - TRIED_DAYS * DAY_MS;
  const untried = channels.map(([name]) => String(name)).filter((name) => (last.get(name) ?? 0) < since);
  if (untried.length === 0) return [fine(`${channels.length}个渠道 (${channels.length} channels)`)];
  return [
    warning(
      `通知渠道${TRIED_DAYS}天内没有发送成功过：${someOf(untried)} (nothing was sent by these channels in ${TRIED_DAYS} days: ${someOf(untried)})`,
      `执行 accesstoken notify test ${untried[0]} (accesstoken notify test ${untried[0]})`,
    ),
  ];
}
