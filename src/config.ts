import { type Static, Type } from "@sinclair/typebox";
import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { App } from "./apps/app.ts";
import { APP_VARIABLES, isAppVariable, readEnvironmentApps } from "./apps/environment-apps.ts";
import { isLoopback, Networks } from "./access/networks.ts";
import { isWebOrigin } from "./access/origin.ts";
import { type KnownNames, nearestName, readEnvFile } from "./env-file.ts";
import { ServiceError } from "./errors.ts";
import type { Visibility } from "./http/elysia-face.ts";
import type { LogLevel } from "./log.ts";
import { Secret } from "./secret.ts";

/** The validated configuration, frozen. */
export interface Config {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly logLevel: LogLevel;
  readonly databasePath: string;
  /** The master key itself; undefined where it is kept in `masterKeyFile`. */
  readonly masterKey: Secret | undefined;
  readonly masterKeyFile: string;
  /** Origins, without a path; `corps` by CorpID. */
  readonly baseUrls: {
    readonly weixin: string;
    readonly wecom: string;
    readonly corps: ReadonlyMap<string, string>;
  };
  readonly weixinFallbackUrls: readonly string[];
  readonly upstreamProxy: string | undefined;
  /** Over which IP version the upstreams are reached, where no proxy is used; undefined for both. */
  readonly upstreamIpFamily: 4 | 6 | undefined;
  readonly refreshIdleAfterMs: number;
  readonly auditRetentionDays: number;
  readonly trustedNetworks: Networks;
  readonly trustedProxies: Networks;
  /** Whether callers without key and secret are answered; undefined: as `accesstoken anonymous` says. */
  readonly anonymous: boolean | undefined;
  /** Requests a second of one address without a key; 0 for no limit. */
  readonly anonymousRateLimit: number;
  readonly keepAliveSeconds: number;
  /** Lower case. */
  readonly allowedHosts: readonly string[];
  /** Origins whose pages may call the signature routes. */
  readonly corsOrigins: readonly string[];
  /** Who may see metrics and documentation. */
  readonly visibility: { readonly metrics: Visibility; readonly swagger: Visibility };
  readonly apps: readonly App[];
  /** Problems that don't prevent the start, one line each. */
  readonly warnings: readonly string[];
}

/** A variable: its default, what it must look like, and (`expected`) what to say when it does not. */
const variable = (value: string, pattern: string, expected: string, description: string) =>
  Type.String({ default: value, pattern, expected, description });

const URL_EXPECTED =
  "应为https地址，不带路径；http仅限本机和UPSTREAM_ALLOW_HTTP (must be an https origin without a path; http on loopback and by UPSTREAM_ALLOW_HTTP only)";

const ORIGIN_EXPECTED =
  "应为以逗号分隔的源，如 https://www.example.com (must be origins like https://www.example.com, comma-separated)";

/**
 * Every variable that has a fixed name. An empty value counts as unset. The apps' own variables
 * (`WEIXIN_SECRET_<appid>` and so on) are read by `apps/environment-apps.ts`.
 */
export const VARIABLES = Type.Object({
  HOST: variable(
    "127.0.0.1",
    "^[A-Za-z0-9.:-]+$",
    "应为监听地址 (must be an address)",
    "Address to listen on. 监听地址。",
  ),
  PORT: variable(
    "3000",
    "^(\\d{1,4}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])$",
    "应为0到65535的整数 (must be an integer from 0 to 65535)",
    "Port to listen on. 监听端口。",
  ),
  KEEP_ALIVE_TIMEOUT: variable(
    "75",
    "^([1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-5])$",
    "应为1到255的秒数 (must be seconds from 1 to 255)",
    "Seconds after which an idle connection is closed; more than the load balancer in front keeps one. 空闲连接保持的秒数，应大于前面负载均衡的保持时间。",
  ),
  LOG_LEVEL: variable(
    "info",
    "^(debug|info|warn|error)$",
    "应为 debug、info、warn 或 error (must be debug, info, warn or error)",
    "How much is logged; debug adds a line per request. 日志级别；debug会记录每个请求。",
  ),
  DATABASE_URL: variable(
    "file:data/accesstoken.db",
    "^file:(?!.*[?#\\u0000]).+$",
    "应为 file:<路径> (must be file:<path>)",
    "The SQLite database. SQLite数据库文件。",
  ),
  MASTER_KEY_FILE: variable(
    "",
    "",
    "应为文件路径 (must be a path)",
    "File with the master key; created at first start. Default: master.key beside the database. 主密钥文件，首次启动时生成；默认为数据库旁的master.key。",
  ),
  MASTER_KEY: variable(
    "",
    "",
    "",
    "The master key itself, 32 bytes in hex or base64, instead of the file. 主密钥本身（32字节，十六进制或base64），代替文件。",
  ),
  WEIXIN_BASE_URL: variable(
    "https://api.weixin.qq.com",
    "",
    URL_EXPECTED,
    "Base URL of WeChat's API. 微信接口地址。",
  ),
  WECOM_BASE_URL: variable(
    "https://qyapi.weixin.qq.com",
    "",
    URL_EXPECTED,
    "Base URL of WeCom's API. 企业微信接口地址。",
  ),
  UPSTREAM_ALLOW_HTTP: variable(
    "",
    "",
    "应为以逗号分隔的CIDR或主机名 (must be CIDR blocks or host names, comma-separated)",
    "Networks and host names where a base URL may be plain http, beside this machine. 除本机外，允许以http访问的上游网段或主机名。",
  ),
  UPSTREAM_PROXY: variable(
    "",
    "^$|^https?://[^\\s]+$",
    "应为http(s)代理地址 (must be the http(s) URL of a proxy)",
    "Proxy to WeChat and WeCom; no other proxy variable is used. 访问微信的代理；不使用其他代理变量。",
  ),
  UPSTREAM_IP_FAMILY: variable(
    "",
    "^[46]?$",
    "应为 4 或 6 (must be 4 or 6)",
    "Reach WeChat and WeCom over IPv4 or IPv6 alone, so that they see one address of this machine; without effect with a proxy. 仅以IPv4或IPv6访问微信，使其只看到本机的一个出口IP；使用代理时不起作用。",
  ),
  WEIXIN_TOKEN_MODE: variable(
    "stable",
    "^(stable|classic)$",
    "应为 stable 或 classic (must be stable or classic)",
    "How WeChat tokens are fetched; WEIXIN_TOKEN_MODE_<appid> for one app. 获取token的方式；WEIXIN_TOKEN_MODE_<appid>只对一个应用生效。",
  ),
  WEIXIN_FALLBACK_BASE_URLS: variable(
    "",
    "",
    URL_EXPECTED,
    "WeChat's other hosts, comma-separated, tried in stable mode when the connection fails (https://api2.weixin.qq.com,…). 备用的微信接口地址，逗号分隔，仅stable模式在连接失败时使用。",
  ),
  REFRESH_IDLE_AFTER: variable(
    "86400",
    "^[1-9]\\d{0,8}$",
    "应为秒数 (must be a number of seconds)",
    "Seconds without use after which a credential is no longer renewed ahead of time. 凭证超过该秒数无人使用即不再提前续期。",
  ),
  AUDIT_RETENTION_DAYS: variable(
    "180",
    "^([1-9]\\d{0,2}|[12]\\d{3}|3[0-5]\\d{2}|36[0-4]\\d|3650)$",
    "应为1到3650的天数 (must be a number of days from 1 to 3650)",
    "Days for which the audit is kept. 审计记录的保留天数。",
  ),
  TRUSTED_NETWORKS: variable(
    "127.0.0.0/8,::1/128",
    "",
    "应为以逗号分隔的CIDR (must be CIDR blocks, comma-separated)",
    "Networks that callers may come from. 允许调用的网段。",
  ),
  TRUSTED_PROXIES: variable(
    "",
    "",
    "应为以逗号分隔的CIDR (must be CIDR blocks, comma-separated)",
    "Reverse proxies whose X-Forwarded-For is trusted. 可信的反向代理。",
  ),
  ANONYMOUS: variable(
    "",
    "^(on|off)?$",
    "应为 on 或 off (must be on or off)",
    "Whether callers from TRUSTED_NETWORKS are answered without an API key; not set: until accesstoken anonymous off. 是否应答可信网段内没有API密钥的调用方；未设置时，执行 accesstoken anonymous off 后停止应答。",
  ),
  ANONYMOUS_RATE_LIMIT: variable(
    "2000",
    "^\\d{1,7}$",
    "应为每秒请求数，0为不限 (must be a number of requests a second, 0 for no limit)",
    "Requests a second that one address without a key may make, ten times as many at once; 0 for no limit. 没有密钥的单个地址每秒请求数上限（瞬时可达10倍）；0为不限。",
  ),
  ALLOWED_HOSTS: variable(
    "",
    "^$|^[\\w.-]+(\\s*,\\s*[\\w.-]+)*$",
    "应为以逗号分隔的域名 (must be host names, comma-separated)",
    "Names under which callers may reach the service, beside localhost and addresses. 允许的Host域名。",
  ),
  CORS_ORIGINS: variable(
    "",
    "",
    ORIGIN_EXPECTED,
    "Origins whose pages may call the signature routes from the browser. 允许其网页在浏览器中调用签名接口的源。",
  ),
  METRICS: variable(
    "on",
    "^(on|admin|off)$",
    "应为 on、admin 或 off (must be on, admin or off)",
    "Who may see /metrics: clients with metrics:read, administrators, and callers without a key from TRUSTED_NETWORKS (on); the same without the last (admin); nobody (off). /metrics 的可见范围：有metrics:read的客户端、管理员，以及可信网段内没有密钥的调用方（on）；不含后者（admin）；关闭（off）。",
  ),
  SWAGGER: variable(
    "on",
    "^(on|admin|off)$",
    "应为 on、admin 或 off (must be on, admin or off)",
    "Who may see /swagger: every caller that is answered (on), administrators (admin), nobody (off). /swagger 的可见范围：所有调用方（on）、仅管理员（admin）、关闭（off）。",
  ),
});

/** Variables of earlier versions. One that is still set has no effect but a warning. */
const REMOVED = ["GATEWAY_REPLAY_BYTES", "GATEWAY_REPLAY_TOTAL_BYTES"] as const;

/** Where a corp's own WeCom is. */
const CORP_BASE_URL = /^WECOM_BASE_URL_(w[a-z][A-Za-z0-9_-]*)$/;

/** What a line of the file may set. The others of `suggestions` are read by `apps/environment-apps.ts`. */
const NAMES: KnownNames = {
  isKnown: (name) =>
    Object.hasOwn(VARIABLES.properties, name) ||
    isAppVariable(name) ||
    CORP_BASE_URL.test(name) ||
    name === "ENV_FILE" ||
    REMOVED.some((each) => each === name),
  suggestions: [
    ...Object.keys(VARIABLES.properties),
    "ENV_FILE",
    "WECOM_BASE_URL_<corpid>",
    ...APP_VARIABLES,
  ],
};

/** The languages of the command line. */
export type Language = "en" | "zh";

type VariableName = keyof Static<typeof VARIABLES>;
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the configuration from `environment` and from the file that `ENV_FILE` names (default `.env` in the working
 * directory, which may be missing; empty for none). A real environment variable wins over the file. `defaults` take the place
 * of the variables' own.
 *
 * @throws {ServiceError} `invalid_config` with one line that names the variable. The value is not quoted.
 */
export function loadConfig(environment: Environment = process.env, defaults: Environment = {}): Config {
  const path = environment["ENV_FILE"];
  const file = path === "" ? { variables: {}, warnings: [] } : readEnvFile(path, NAMES);
  // Not a copy: there may be a hundred thousand apps in the file.
  const merged: Environment = Object.assign(file.variables, withoutEmpty(environment));
  const value = (name: VariableName) => checked(name, merged[name] || defaults[name]);
  const tokenMode = value("WEIXIN_TOKEN_MODE") === "classic" ? "classic" : "stable";
  const { apps, faults, doubts } = readEnvironmentApps(merged, tokenMode);
  const [fault] = faults;
  if (fault) throw invalid(fault.name, fault.reason);
  const databasePath = databaseFile(value);
  const originOf = originReader(value("UPSTREAM_ALLOW_HTTP"));
  const masterKey = value("MASTER_KEY");
  const masterKeyFile = masterKey && !merged["MASTER_KEY_FILE"] ? "" : value("MASTER_KEY_FILE");
  if (masterKey && masterKeyFile)
    throw invalid("MASTER_KEY", "不能与MASTER_KEY_FILE同时设置 (set it or MASTER_KEY_FILE, not both)");
  return Object.freeze<Config>({
    host: value("HOST"),
    port: Number(value("PORT")),
    logLevel: value("LOG_LEVEL") as LogLevel,
    databasePath,
    masterKey: masterKey ? new Secret(masterKey) : undefined,
    masterKeyFile: masterKeyFile || join(dirname(databasePath), "master.key"),
    baseUrls: {
      weixin: originOf("WEIXIN_BASE_URL", value("WEIXIN_BASE_URL")),
      wecom: originOf("WECOM_BASE_URL", value("WECOM_BASE_URL")),
      corps: corpOrigins(merged, originOf),
    },
    weixinFallbackUrls: list(value("WEIXIN_FALLBACK_BASE_URLS")).map((url) =>
      originOf("WEIXIN_FALLBACK_BASE_URLS", url),
    ),
    refreshIdleAfterMs: Number(value("REFRESH_IDLE_AFTER")) * 1000,
    auditRetentionDays: Number(value("AUDIT_RETENTION_DAYS")),
    upstreamProxy: proxy(value),
    upstreamIpFamily: { "4": 4 as const, "6": 6 as const }[value("UPSTREAM_IP_FAMILY")],
    trustedNetworks: networks("TRUSTED_NETWORKS", value("TRUSTED_NETWORKS")),
    trustedProxies: networks("TRUSTED_PROXIES", value("TRUSTED_PROXIES")),
    anonymous: value("ANONYMOUS") === "" ? undefined : value("ANONYMOUS") === "on",
    anonymousRateLimit: Number(value("ANONYMOUS_RATE_LIMIT")),
    keepAliveSeconds: Number(value("KEEP_ALIVE_TIMEOUT")),
    allowedHosts: list(value("ALLOWED_HOSTS").toLowerCase()).map((host) => host.replace(/\.$/, "")),
    corsOrigins: list(value("CORS_ORIGINS").toLowerCase()).map((origin) => corsOrigin(origin)),
    visibility: {
      metrics: value("METRICS") as Visibility,
      swagger: value("SWAGGER") as Visibility,
    },
    apps,
    warnings: [
      ...file.warnings,
      ...unknownNames(environment),
      ...doubts,
      ...REMOVED.filter((name) => merged[name]).map(
        (name) => `${name}: 该变量已不再起作用，可以删除 (has no effect any more; remove it)`,
      ),
    ],
  });
}

/** Where the unit of the README has the service's files. */
const SERVER_FILES = {
  envFile: "/etc/accesstoken/env",
  database: "/var/lib/accesstoken/accesstoken.db",
  masterKey: "/var/lib/accesstoken-key/master.key",
};

/**
 * As `loadConfig`, for a command on the service's machine: where neither the environment nor the working directory says
 * which database is meant, it is the installed service's, if there is one.
 */
export function loadLocalConfig(
  environment: Environment = process.env,
  { envFile, database, masterKey } = SERVER_FILES,
): Config {
  const isSaid = ["ENV_FILE", "DATABASE_URL"].some((name) => environment[name] !== undefined);
  if (!isSaid && !existsSync(".env") && existsSync(envFile)) {
    const files = { DATABASE_URL: `file:${database}`, MASTER_KEY_FILE: masterKey };
    const own = loadConfig(environment);
    const installed = loadConfig({ ...environment, ENV_FILE: envFile }, files);
    if (!existsSync(own.databasePath) && existsSync(installed.databasePath)) return installed;
  }
  return loadConfig(environment);
}

/** Who runs this program, by the operating system's name, and who that is under sudo. */
export function commandLineUser(environment: Environment = process.env): string {
  let name = `uid ${process.getuid?.() ?? "?"}`;
  try {
    name = userInfo().username;
  } catch {
    // In a container there may be no entry for it.
  }
  const sudoer = environment["SUDO_USER"] ?? "";
  return /^[\w.@-]{1,64}$/.test(sudoer) ? `${name} (sudo: ${sudoer})` : name;
}

/**
 * The language of the person at the command line, as the system's own programs find it: the first of `LC_ALL`,
 * `LC_MESSAGES` and `LANG` that is set decides. Chinese where it begins with `zh`, otherwise English.
 */
export function preferredLanguage(environment: Environment = process.env): Language {
  const locale = environment["LC_ALL"] || environment["LC_MESSAGES"] || environment["LANG"] || "";
  return /^zh/i.test(locale) ? "zh" : "en";
}

/** An unknown name in the environment may belong to another program, so it stops nothing. */
function unknownNames(environment: Environment): string[] {
  return (
    Object.keys(environment)
      .filter((name) => !NAMES.isKnown(name))
      .map((name) => ({ name, ...nearestName(name, NAMES) }))
      // HOME is not HOST.
      .filter(
        ({ name, variable, edits }) => /^(weixin|wecom)_/i.test(name) || (edits <= 2 && variable.length > 5),
      )
      .map(
        ({ name, variable }) =>
          `${name}: 未知的环境变量，已忽略；是否应为 ${variable}？ (unknown variable, ignored; did you mean ${variable}?)`,
      )
  );
}

/** `PORT` as the environment has it, for a program that reads nothing else of it; empty where it has none. */
export function portOfEnvironment(environment: Environment = process.env): string {
  return environment["PORT"] ?? "";
}

function withoutEmpty(environment: Environment): Environment {
  return Object.fromEntries(
    Object.entries(environment).filter(([name, value]) => value !== "" || isAppVariable(name)),
  );
}

function checked(name: VariableName, given: string | undefined): string {
  const schema = VARIABLES.properties[name];
  const text = given || String(schema.default);
  if (!new RegExp(schema.pattern ?? "", "u").test(text)) throw invalid(name, String(schema["expected"]));
  return text;
}

function databaseFile(value: (name: VariableName) => string): string {
  const url = value("DATABASE_URL");
  try {
    return resolve(url.startsWith("file://") ? fileURLToPath(url) : url.slice("file:".length));
  } catch {
    throw invalid("DATABASE_URL", String(VARIABLES.properties.DATABASE_URL["expected"]));
  }
}

function proxy(value: (name: VariableName) => string): string | undefined {
  const url = value("UPSTREAM_PROXY");
  if (url === "") return undefined;
  if (URL.canParse(url)) return url;
  throw invalid("UPSTREAM_PROXY", String(VARIABLES.properties.UPSTREAM_PROXY["expected"]));
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((entry) => entry.trim())
    .filter(Boolean);
}

/** Reads the base URL of a variable; plain http is for this machine and for what `allowed` lists. */
function originReader(allowed: string): (name: string, text: string) => string {
  const isHost = (entry: string) => /^(?=.*[a-z])[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(entry);
  const entries = list(allowed.toLowerCase());
  const hosts = new Set(entries.filter(isHost));
  const within = networks("UPSTREAM_ALLOW_HTTP", entries.filter((entry) => !isHost(entry)).join());
  const mayBePlain = (host: string) =>
    isLoopback(host) || hosts.has(host) || within.includes(host.replace(/^\[|\]$/g, ""));
  return (name, text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const isBare = url && url.pathname === "/" && !url.search && !url.hash && !url.username && !url.password;
    const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && mayBePlain(url.hostname));
    if (!isBare || !isSafe) throw invalid(name, URL_EXPECTED);
    return url.origin;
  };
}

/** The base URLs of single corps, by CorpID. */
function corpOrigins(
  variables: Environment,
  originOf: ReturnType<typeof originReader>,
): ReadonlyMap<string, string> {
  const origins = new Map<string, string>();
  for (const name in variables) {
    const [, corp] = CORP_BASE_URL.exec(name) ?? [];
    const text = variables[name];
    if (corp !== undefined && text) origins.set(corp, originOf(name, text));
  }
  return origins;
}

function corsOrigin(text: string): string {
  if (!isWebOrigin(text)) throw invalid("CORS_ORIGINS", ORIGIN_EXPECTED);
  return text;
}

function networks(
  name: "TRUSTED_NETWORKS" | "TRUSTED_PROXIES" | "UPSTREAM_ALLOW_HTTP",
  text: string,
): Networks {
  try {
    return new Networks(text);
  } catch {
    throw invalid(name, String(VARIABLES.properties[name]["expected"]));
  }
}

function invalid(name: string, reason: string): ServiceError {
  return new ServiceError("invalid_config", `${name}: ${reason}`);
}
