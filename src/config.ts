import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { App } from "./apps/app.ts";
import { APP_VARIABLES, isAppVariable, readEnvironmentApps } from "./apps/environment-apps.ts";
import { isLoopback, Networks } from "./access/networks.ts";
import { isWebOrigin } from "./access/origin.ts";
import { ORIGIN_EXPECTED, URL_EXPECTED, type VariableName, VARIABLES } from "./config/variables.ts";
import { type KnownNames, nearestName, readEnvFile } from "./env-file.ts";
import { ServiceError } from "./errors.ts";
import type { ConnectProxyOptions } from "./http/connect-proxy.ts";
import type { Visibility } from "./http/elysia-face.ts";
import type { LogLevel } from "./log.ts";
import { Secret } from "./secret.ts";
import { postgresAddress } from "./store/postgres/address.ts";
import type { PostgresAddress } from "./store/postgres/postgres-engine.ts";

/** The validated configuration, frozen. */
export interface Config {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly logLevel: LogLevel;
  /** Of SQLite; undefined where the database is `postgres`. */
  readonly databasePath: string | undefined;
  readonly postgres: PostgresConfig | undefined;
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
  /** The proxy for SDKs with a fixed host; undefined for none. */
  readonly connectProxy: ConnectProxyOptions | undefined;
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

/** A PostgreSQL that is used in the place of a file. */
interface PostgresConfig {
  readonly address: PostgresAddress;
  /** Where notifications can be listened to. */
  readonly listenAddress: PostgresAddress;
  /** Files with passwords, as others must not read them. */
  readonly passwordFiles: readonly string[];
  /** How long this process answers from what it had while the database is away, in milliseconds; Infinity for ever. */
  readonly cutOffAfterMs: number;
}

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
  const postgres = postgresConfig(value);
  const databasePath = postgres ? undefined : databaseFile(value);
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
    postgres,
    masterKey: masterKey ? new Secret(masterKey) : undefined,
    masterKeyFile:
      masterKeyFile || join(databasePath ? dirname(databasePath) : resolve("data"), "master.key"),
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
    connectProxy: connectProxy(value),
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

/** Where the systemd unit of docs/deployment.md has the service's files. */
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
    const isThere = ({ databasePath }: Config) => databasePath === undefined || existsSync(databasePath);
    if (!isThere(own) && isThere(installed)) return installed;
  }
  return loadConfig(environment);
}

/** Where a database is that a command names: as `DATABASE_URL` says it, or the path of a file. Throws as `loadConfig`. */
export function databaseAt(
  place: string,
  environment: Environment = process.env,
): Pick<Config, "databasePath" | "postgres"> {
  const url = /^(file:|postgres(ql)?:\/\/)/.test(place) ? place : `file:${place}`;
  return loadConfig({ ...environment, DATABASE_URL: url });
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

function postgresConfig(value: (name: VariableName) => string): PostgresConfig | undefined {
  const url = value("DATABASE_URL");
  if (url.startsWith("file:")) return undefined;
  const passwordFile = value("DATABASE_PASSWORD_FILE") || undefined;
  const passFile = value("PGPASSFILE") || undefined;
  const addressOf = (name: "DATABASE_URL" | "DATABASE_LISTEN_URL") => {
    const text = value(name) || url;
    if (!URL.canParse(text)) throw invalid(name, String(VARIABLES.properties[name]["expected"]));
    return postgresAddress(text, { passwordFile, passFile });
  };
  return {
    address: addressOf("DATABASE_URL"),
    listenAddress: addressOf("DATABASE_LISTEN_URL"),
    passwordFiles: [passwordFile, passFile].flatMap((file) => file ?? []),
    cutOffAfterMs: Number(value("CUT_OFF_AFTER")) * 1000 || Infinity,
  };
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

function connectProxy(value: (name: VariableName) => string): ConnectProxyOptions | undefined {
  const port = value("CONNECT_PORT");
  if (port === "") return undefined;
  return { host: value("CONNECT_HOST"), port: Number(port), folder: value("CONNECT_CERTIFICATES") };
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
