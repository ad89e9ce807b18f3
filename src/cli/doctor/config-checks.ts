import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { isLoopback } from "../../access/networks.ts";
import { nameOfApp } from "../../apps/app.ts";
import { runtimeVariables } from "../../config.ts";
import { type Checks, failure, type Finding, fine, warning } from "../../ops/doctor.ts";
import type { Examination } from "../../store/examine.ts";
import { probeOwn } from "../../upstream/probes.ts";
import { listenersOn, textOf } from "./processes.ts";
import { type Setup, someOf } from "./setup.ts";

const WEEK_MS = 7 * 86_400_000;
/** From so many entries on that all come from one address it is no chance. */
const MIN_CALLERS = 20;

/** The checks of the configuration. */
export const CONFIG_CHECKS = {
  configuration: checkConfiguration,
  host_names: checkHostNames,
  apps: checkApps,
  trusted_networks: checkTrustedNetworks,
  address: checkAddress,
  runtime: checkRuntime,
} satisfies Partial<Checks<Setup>>;

function checkConfiguration(setup: Setup): Finding[] {
  if (setup.fault) return [failure(setup.fault.message, "修正该变量后重试 (correct that variable)")];
  const { warnings, variables, envFile } = setup.config;
  const set = variables.filter(({ origin }) => origin !== "default");
  const where = someOf(
    set.map(({ name, file, line }) => (file === undefined ? name : `${name} ${file}:${line}`)),
    40,
  );
  return [
    fine(`${envFile ?? "-"}: ${where}`),
    ...warnings.map((each) => warning(each, "改名、删除或修正该变量 (rename, remove or correct it)")),
  ];
}

function checkHostNames({ config }: Setup): Finding[] {
  const { publicSide, allowedHosts } = config;
  if (publicSide.url === undefined) return [fine("未设置PUBLIC_URL (PUBLIC_URL is not set)")];
  const host = new URL(publicSide.url).hostname.replace(/^\[|\]$/g, "");
  const isKnown = host === "localhost" || isIP(host) !== 0 || allowedHosts.includes(host.replace(/\.$/, ""));
  // What is public is answered under any name.
  if (isKnown || !publicSide.servesAll) return [fine(`PUBLIC_URL ${host}`)];
  return [
    warning(
      `ALLOWED_HOSTS中没有PUBLIC_URL的域名 ${host}，经该域名的匿名请求会被拒绝 (ALLOWED_HOSTS lacks ${host}, the host of PUBLIC_URL: callers without a key are refused there)`,
      `在ALLOWED_HOSTS中加入 ${host} (add ${host} to ALLOWED_HOSTS)`,
    ),
  ];
}

async function checkApps(setup: Setup): Promise<Finding[]> {
  const examination = await setup.current;
  const registered = await examination.rows(
    "SELECT platform, app_id, agent FROM apps WHERE source = 'managed'",
  );
  const names = new Set(registered.map((row) => row.join(" ")));
  const twice = setup.config.apps
    .filter((app) => names.has([app.platform, app.id, app.platform === "wecom" ? app.agent : ""].join(" ")))
    .map(nameOfApp);
  const count = setup.config.apps.length;
  if (twice.length === 0)
    return [
      fine(`环境变量${count}个，登记${names.size}个 (${count} in the environment, ${names.size} registered)`),
    ];
  const list = someOf(twice);
  return [
    warning(
      `应用在环境变量和数据库中都有，以环境变量为准：${list} (in the environment and registered, and the environment wins: ${list})`,
      `删除其一：accesstoken apps remove ${twice[0]}，或从环境变量中删除 (remove one: accesstoken apps remove ${twice[0]}, or the variable)`,
    ),
  ];
}

async function checkTrustedNetworks(setup: Setup): Promise<Finding[]> {
  const { trustedNetworks, anonymous } = setup.config;
  const isSetOn = async () =>
    (await (await setup.current).rows("SELECT value FROM settings WHERE name = 'anonymous'"))[0]?.[0] ===
    "on";
  // A new database begins with it on.
  const isOn = anonymous ?? (setup.isFresh || (await isSetOn()));
  if (!isOn) return [fine("没有密钥的调用方不被应答 (callers without a key are not answered)")];
  const listed = String(trustedNetworks);
  const wide = listed
    .split(",")
    .filter((entry) => Number(entry.split("/")[1] ?? 128) < 8)
    .map((entry) => entry.trim());
  const found: Finding[] = [
    fine(`没有密钥的调用方可来自 ${listed} (callers without a key may come from ${listed})`),
  ];
  if (wide.length > 0)
    found.push(
      failure(
        `TRUSTED_NETWORKS中的 ${wide.join()} 过宽，且允许匿名：几乎任何人都能取得token (${wide.join()} of TRUSTED_NETWORKS is too wide with ANONYMOUS=on: nearly anybody gets tokens)`,
        "只列出自己的网段，或设置ANONYMOUS=off并发放密钥 (list your own networks alone, or set ANONYMOUS=off and give out keys)",
      ),
    );
  const bridge = isInContainer() ? defaultGateway(textOf("/proc/net/route")) : undefined;
  const examination = await setup.current.catch(() => undefined);
  const all = examination && (await onlyCaller(setup, examination));
  const gateway = [bridge, all?.endsWith(".1") ? all : undefined].find(
    (each) => each && trustedNetworks.includes(each),
  );
  if (gateway !== undefined && !isLoopback(gateway))
    found.push(
      warning(
        `TRUSTED_NETWORKS包含网桥 ${gateway}：容器中所有调用方都以该地址出现 (TRUSTED_NETWORKS has the bridge ${gateway}, which is the address of every caller of a container)`,
        "从TRUSTED_NETWORKS中去掉网桥并发放密钥，或用主机网络运行 (take the bridge out of TRUSTED_NETWORKS and give out keys, or run it in the host's network)",
      ),
    );
  return found;
}

function isInContainer(): boolean {
  return ["/.dockerenv", "/run/.containerenv"].some((path) => existsSync(path));
}

/** The default gateway in the text of `/proc/net/route`. */
export function defaultGateway(routes: string): string | undefined {
  const [, gateway] = /^\S+\t00000000\t([0-9A-F]{8})\t/m.exec(routes) ?? [];
  return gateway
    ?.match(/../g)
    ?.map((byte) => Number.parseInt(byte, 16))
    .reverse()
    .join(".");
}

/** The address of all callers of the last week that the database names, where it is one and there were enough. */
async function onlyCaller(setup: Setup, examination: Examination): Promise<string | undefined> {
  const since = setup.clock.now() - WEEK_MS;
  const entries = await examination.rows(
    "SELECT address, count(*) FROM audit_entries WHERE at >= ? GROUP BY 1",
    [since],
  );
  const denials = await examination.rows("SELECT key, n FROM counts WHERE kind = 'denial' AND minute >= ?", [
    since,
  ]);
  const counted = new Map<string, number>();
  for (const [key, n] of [...entries, ...denials]) {
    const address = String(key).split("\u001F")[0] ?? "";
    if (isIP(address) !== 0) counted.set(address, (counted.get(address) ?? 0) + Number(n));
  }
  const [[address, n] = ["", 0]] = counted;
  return counted.size === 1 && n >= MIN_CALLERS ? address : undefined;
}

async function checkAddress(setup: Setup): Promise<Finding[]> {
  const { host, port, trustedProxies, publicSide } = setup.config;
  const found: Finding[] = [fine(`${host}:${port}`)];
  if (!isLoopback(host) && host !== "::1" && trustedProxies.isEmpty && !publicSide.url?.startsWith("https:"))
    found.push(
      warning(
        `HOST ${host} 对外监听，而前面没有代理或TLS：密钥和token以明文传输 (HOST ${host} is reachable from outside with neither proxy nor TLS in front: keys and tokens cross the network in the clear)`,
        isInContainer()
          ? "端口只发布在127.0.0.1（-p 127.0.0.1:3000:3000），在前面放置TLS代理，再设置PUBLIC_URL (publish the port on 127.0.0.1 alone (-p 127.0.0.1:3000:3000), put a proxy with TLS before it, and set PUBLIC_URL)"
          : "HOST改为127.0.0.1并在前面放置TLS代理，再设置TRUSTED_PROXIES (set HOST to 127.0.0.1, put a proxy with TLS before it, and list that in TRUSTED_PROXIES)",
      ),
    );
  const listeners = port === 0 ? [] : listenersOn(port);
  if (listeners.length > 0 && !(await isOurs(setup, listeners)))
    found.push(
      failure(
        `端口 ${port} 被其他程序占用 (port ${port} is taken by another program)`,
        `停止该程序（ss -ltnp 'sport = :${port}' 可查看），或修改PORT (stop it (ss -ltnp 'sport = :${port}' shows which), or change PORT)`,
      ),
    );
  return found;
}

/** Whether it is the service that listens: one of its processes has the socket; where that can't be seen, it answers so. */
async function isOurs(setup: Setup, listeners: readonly string[]): Promise<boolean> {
  const processes = await setup.processes();
  if (processes.some(({ sockets }) => listeners.some((inode) => sockets.has(inode)))) return true;
  if (processes.length > 0 || (!setup.config.postgres && setup.users.isComplete)) return false;
  return (await probeOwn(setup.config)).isService;
}

async function checkRuntime(setup: Setup): Promise<Finding[]> {
  const file = setup.fault ? undefined : setup.config.envFile;
  const places = [
    { place: "environment", names: runtimeVariables() },
    { place: file ?? "", names: file === undefined ? [] : runtimeVariables(textOf(file)) },
    ...(setup.fault ? [] : await setup.processes()).map((each) => ({
      place: `pid ${each.pid}`,
      names: each.runtimeVariables,
    })),
  ].filter(({ names }) => names.length > 0);
  if (places.length === 0)
    return [fine("未设置BUN_OPTIONS和BUN_BE_BUN (neither BUN_OPTIONS nor BUN_BE_BUN is set)")];
  const list = places.map(({ place, names }) => `${place}: ${names.join(", ")}`).join("; ");
  return [
    failure(
      `设置了 ${list}：会改变程序的行为，或使其变成Bun (set: ${list}; it changes what the program does, or makes it Bun itself)`,
      "删除这些变量；systemd单元中加 UnsetEnvironment=BUN_OPTIONS BUN_BE_BUN (remove them; in a systemd unit: UnsetEnvironment=BUN_OPTIONS BUN_BE_BUN)",
    ),
  ];
}
