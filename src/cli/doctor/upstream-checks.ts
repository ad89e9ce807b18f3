import { type Backoff, concernedBy, isActive, isRefusal } from "../../credentials/backoff.ts";
import { DAILY_LIMITS } from "../../credentials/kinds.ts";
import { MAX_FORCED_PER_DAY } from "../../credentials/pacing.ts";
import { beijingDay, startOfBeijingDay } from "../../clock.ts";
import { type Checks, failure, type Finding, fine, Skipped, warning } from "../../ops/doctor.ts";
import { probeAddress, probePort } from "../../upstream/probes.ts";
import { type Setup, someOf } from "./setup.ts";

const DAY_MS = 86_400_000;
const FULL_SHARE = 0.8;
const MANY_FORCED = 15;
const SLOW_MS = 2000;
/** What WeChat and WeCom say to an address that is not on an app's list. */
const ADDRESS_ERRCODES = new Set([40164, 61004, 60020]);

/** The checks of WeChat and WeCom, and of what they have refused us. */
export const UPSTREAM_CHECKS = {
  hosts: checkHosts,
  proxy: checkProxy,
  outgoing_address: checkOutgoingAddress,
  app_failures: checkApps,
  quotas: checkQuotas,
} satisfies Partial<Checks<Setup>>;

async function checkHosts(setup: Setup): Promise<Finding[]> {
  setup.online();
  const { upstreamProxy } = setup.config;
  if (upstreamProxy !== undefined && (await probePort(upstreamProxy)) !== undefined)
    throw new Skipped("代理无法连接，见第21项 (the proxy can't be reached: see check 21)");
  const hosts = await setup.hosts;
  const times = hosts
    .filter(({ fault }) => fault === undefined)
    .map(({ origin, durationMs }) => `${new URL(origin).host} ${durationMs} ms`);
  const text = times.join(", ");
  const slow = hosts.filter(({ fault, durationMs }) => fault === undefined && durationMs > SLOW_MS);
  return [
    fine(text),
    ...hosts.flatMap(({ origin, fault }) =>
      fault === undefined ? [] : [unreachable(new URL(origin).host, fault)],
    ),
    ...slow.map(({ origin, durationMs }) =>
      warning(
        `${new URL(origin).host} 用了 ${durationMs} ms (${new URL(origin).host} took ${durationMs} ms)`,
        "检查网络和代理 (look at network and proxy)",
      ),
    ),
  ];
}

function unreachable(host: string, fault: string): Finding {
  if (/CERT|SELF_SIGNED|SIGNATURE|VERIFY/.test(fault))
    return failure(
      `不信任 ${host} 的证书（${fault}） (the certificate of ${host} is not trusted (${fault}))`,
      "校准时钟；途中有TLS代理时用NODE_EXTRA_CA_CERTS指定其CA (set the clock; for a TLS proxy on the way name its CA in NODE_EXTRA_CA_CERTS)",
    );
  if (/ENOTFOUND|EAI_AGAIN/.test(fault))
    return failure(
      `无法解析 ${host}（${fault}） (${host} can't be resolved (${fault}))`,
      "检查DNS：/etc/resolv.conf (look at the DNS: /etc/resolv.conf)",
    );
  return failure(
    `无法连接 ${host}（${fault}） (${host} can't be reached (${fault}))`,
    "放行到443端口的出站连接，或设置UPSTREAM_PROXY (let connections to port 443 out, or set UPSTREAM_PROXY)",
  );
}

async function checkProxy(setup: Setup): Promise<Finding[]> {
  setup.online();
  const { upstreamProxy } = setup.config;
  if (upstreamProxy === undefined) return [fine("不使用代理 (none is used)")];
  const { host } = new URL(upstreamProxy);
  const fault = await probePort(upstreamProxy);
  if (fault === undefined) return [fine(host)];
  return [
    failure(
      `代理 ${host} 无法连接（${fault}） (the proxy ${host} can't be reached (${fault}))`,
      "启动该代理，或修正UPSTREAM_PROXY (start it, or correct UPSTREAM_PROXY)",
    ),
  ];
}

/** The app that a backoff is about, for a person. */
function appOf({ key }: Backoff): string {
  const slot = concernedBy(key);
  if (!slot) return key.split(":")[1] ?? key;
  return slot.platform === "wecom" && slot.name !== undefined ? `${slot.appId}:${slot.name}` : slot.appId;
}

async function checkOutgoingAddress(setup: Setup): Promise<Finding[]> {
  const now = setup.clock.now();
  const backoffs = await (await setup.current).backoffs();
  const refused = backoffs.filter(
    ({ failure: { upstream }, until }) =>
      upstream !== undefined && ADDRESS_ERRCODES.has(upstream.errcode) && until > now - DAY_MS,
  );
  const { upstreamEcho, upstreamProxy } = setup.config;
  const isAsked = upstreamEcho !== undefined && !setup.isOffline;
  const seen = isAsked ? await probeAddress(upstreamEcho, upstreamProxy) : undefined;
  const found =
    !seen || "address" in seen
      ? fine(
          `${seen ? `${seen.address}，` : ""}没有应用因出口IP被拒绝 (${seen ? `${seen.address}, ` : ""}no app was refused for its address)`,
        )
      : warning(
          `UPSTREAM_ECHO没有给出出口IP：${seen.fault} (UPSTREAM_ECHO does not tell our address: ${seen.fault})`,
          "修正或删除UPSTREAM_ECHO (correct or remove UPSTREAM_ECHO)",
        );
  const refusals = refused.map((backoff) => {
    const { errcode, errmsg = "" } = backoff.failure.upstream ?? {};
    const address = /(?:invalid ip|from ip:?) ([0-9a-fA-F:.]+)/.exec(errmsg)?.[1] ?? "?";
    const app = appOf(backoff);
    return failure(
      `${app}：${errcode}，微信看到的出口IP ${address} 不在白名单 (${app}: ${errcode}, WeChat sees us at ${address}, which is not on its allow-list)`,
      `在微信后台把 ${address} 加入IP白名单，再执行 accesstoken apps unblock ${app} (add ${address} to the IP allow-list in WeChat's console, then: accesstoken apps unblock ${app})`,
    );
  });
  return [found, ...refusals];
}

async function checkApps(setup: Setup): Promise<Finding[]> {
  const now = setup.clock.now();
  const examination = await setup.current;
  const backoffs = (await examination.backoffs()).filter((each) => isActive(each, now));
  const others = backoffs.filter(
    ({ failure: { upstream } }) => !upstream || !ADDRESS_ERRCODES.has(upstream.errcode),
  );
  const died = await examination.rows("SELECT DISTINCT app_id FROM credentials WHERE died_early_at > ?", [
    now - DAY_MS,
  ]);
  const forced = await examination.rows(
    "SELECT key, count FROM pacing WHERE reason IN ('used', 'pending') AND key LIKE 'force:weixin:%' AND since >= ?",
    [startOfBeijingDay(now)],
  );
  const found: Finding[] = [fine("没有被阻断的应用 (no app is blocked)")];
  for (const backoff of others) {
    const { upstream, message } = backoff.failure;
    const app = appOf(backoff);
    const why = upstream ? `errcode ${upstream.errcode}` : message;
    if (isRefusal(backoff))
      found.push(
        failure(
          `${app} 被拒绝：${why} (${app} is refused: ${why})`,
          `修正其配置后执行 accesstoken apps unblock ${app} (put its settings right, then: accesstoken apps unblock ${app})`,
        ),
      );
    else
      found.push(
        warning(
          `${app} 暂时获取失败：${why} (${app} fails for now: ${why})`,
          "会自动重试；持续时检查网络 (it is tried again; if it stays, look at the network)",
        ),
      );
  }
  for (const [app] of died)
    found.push(
      warning(
        `${String(app)} 的token在有效期内失效：可能有其他程序也在获取 (a token of ${String(app)} died before its time: another program seems to fetch tokens for it)`,
        "找出谁还持有其secret并停用；必要时重置secret (find out who else holds its secret, and stop that; reset the secret if need be)",
      ),
    );
  const uses = new Map<string, number>();
  for (const [key, count] of forced) {
    const app = String(key)
      .replace(/^force:weixin:/, "")
      .replace(/#.*$/, "");
    uses.set(app, (uses.get(app) ?? 0) + Math.max(1, Number(count)));
  }
  for (const [app, count] of uses)
    if (count >= MANY_FORCED)
      found.push(
        warning(
          `${app} 今日已强制刷新 ${count} / ${MAX_FORCED_PER_DAY} 次 (${app}: ${count} of today's ${MAX_FORCED_PER_DAY} forced refreshes are used)`,
          "找出频繁强制刷新的调用方：accesstoken audit usage (find out who forces them: accesstoken audit usage)",
        ),
      );
  return found;
}

async function checkQuotas(setup: Setup): Promise<Finding[]> {
  const examination = await setup.current;
  const today = beijingDay(setup.clock.now());
  const rows = await examination.rows("SELECT app_id, endpoint, calls FROM usage WHERE day = ?", [today]);
  const full = rows.flatMap(([app, endpoint, calls]) => {
    const limit = DAILY_LIMITS.get(String(endpoint));
    return limit !== undefined && Number(calls) >= limit * FULL_SHARE
      ? [`${String(app)} ${String(endpoint)} ${Number(calls)} / ${limit}`]
      : [];
  });
  if (full.length === 0) return [fine("均低于80% (all below 80 %)")];
  return [
    warning(
      `当日额度已用80%以上：${someOf(full)} (80 % or more of the day's quota are used: ${someOf(full)})`,
      "找出频繁刷新的原因；额度在北京时间零点恢复 (find out what asks so often; quotas are reset at midnight in Beijing)",
    ),
  ];
}
