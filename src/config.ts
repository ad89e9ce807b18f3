import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { App } from "./apps/app.ts";
import { APP_VARIABLES, isAppVariable, readEnvironmentApps } from "./apps/environment-apps.ts";
import { isLoopback, Networks } from "./access/networks.ts";
import { isWebOrigin } from "./access/origin.ts";
import { type VariableInForce, variableInForce } from "./config/in-force.ts";
import {
  ORIGIN_EXPECTED,
  PUBLIC_URL_EXPECTED,
  URL_EXPECTED,
  type VariableName,
  VARIABLES,
} from "./config/variables.ts";
import { type KnownNames, nearestName, readEnvFile } from "./env-file.ts";
import { ServiceError } from "./errors.ts";
import type { ConnectProxyOptions } from "./http/connect-proxy.ts";
import type { Visibility } from "./http/elysia-face.ts";
import type { LogFormat, LogLevel } from "./log.ts";
import { Secret } from "./secret.ts";
import { postgresAddress } from "./store/postgres/address.ts";
import type { PostgresAddress } from "./store/postgres/postgres-engine.ts";

/** The validated configuration, frozen. */
export interface Config {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Whether a terminal may be sent colours: `NO_COLOR` is not set. */
  readonly mayColor: boolean;
  /** Of SQLite; undefined where the database is `postgres`. */
  readonly databasePath: string | undefined;
  readonly postgres: PostgresConfig | undefined;
  /** The master key itself; undefined where it is kept in `masterKeyFile`. */
  readonly masterKey: Secret | undefined;
  readonly masterKeyFile: string;
  /** Where the key is that is to take its place, on PostgreSQL. */
  readonly nextKeyFile: string;
  /** Origins, without a path; `corps` by CorpID. */
  readonly baseUrls: {
    readonly weixin: string;
    readonly wecom: string;
    readonly corps: ReadonlyMap<string, string>;
  };
  readonly weixinFallbackUrls: readonly string[];
  /** Where the pages for web logins are: origins. */
  readonly loginUrls: { readonly weixin: string; readonly wecom: string };
  readonly upstreamProxy: string | undefined;
  /** Whose answer has the address that this machine is seen by. */
  readonly upstreamEcho: string | undefined;
  /** Over which IP version the upstreams are reached, where no proxy is used; undefined for both. */
  readonly upstreamIpFamily: 4 | 6 | undefined;
  readonly refreshIdleAfterMs: number;
  readonly auditRetentionDays: number;
  /** Backups that the service makes by itself; undefined for none. */
  readonly backups: { readonly folder: string; readonly everyMs: number; readonly keep: number } | undefined;
  readonly trustedNetworks: Networks;
  readonly trustedProxies: Networks;
  /** Where targets of pushes may be that are not on the Internet, and may be asked without TLS. */
  readonly callbackNetworks: Networks;
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
  /** Where WeChat and users' browsers reach the service, and whether everything is answered there. */
  readonly publicSide: { readonly url: string | undefined; readonly servesAll: boolean };
  /** Who may see metrics and documentation. */
  readonly visibility: { readonly metrics: Visibility; readonly swagger: Visibility };
  /** Whether there is a console. */
  readonly hasConsole: boolean;
  readonly apps: readonly App[];
  /** The file that variables were read from, as a whole path; undefined for none. */
  readonly envFile: string | undefined;
  /** What all of this was read from, to show it: every variable but the apps' own. */
  readonly variables: readonly VariableInForce[];
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

/** Where the systemd unit of docs/deployment.md has the service's files. */
const SERVER_FILES = {
  envFile: "/etc/accesstoken/env",
  database: "/var/lib/accesstoken/accesstoken.db",
  masterKey: "/var/lib/accesstoken-key/master.key",
};

/** What a line of the file may set. The others of `suggestions` are read by `apps/environment-apps.ts`. */
const NAMES: KnownNames = {
  isKnown: (name) =>
    isFixed(name) ||
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

function isFixed(name: string): name is VariableName {
  return Object.hasOwn(VARIABLES.properties, name);
}

/** The languages of the command line. */
export type Language = "en" | "zh";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the configuration from `environment` and from the file that `ENV_FILE` names (default `.env` in the working
 * directory, which may be missing; empty for none). A real environment variable wins over the file. With the file of an
 * installed service, database and key are that `server`'s unless either says otherwise.
 *
 * @throws {ServiceError} `invalid_config` with one line that names the variable. The value is not quoted.
 */
export function loadConfig(environment: Environment = process.env, server = SERVER_FILES): Config {
  const path = environment["ENV_FILE"];
  const defaults: Environment =
    path === server.envFile
      ? { DATABASE_URL: `file:${server.database}`, MASTER_KEY_FILE: server.masterKey }
      : {};
  const file =
    path === "" ? { variables: {}, warnings: [], lineOf: () => undefined } : readEnvFile(path, NAMES);
  const own = withoutEmpty(environment);
  const overruled = ["DATABASE_URL", "MASTER_KEY_FILE"].filter(
    (name) => file.variables[name] && own[name] && file.variables[name] !== own[name],
  );
  // Not a copy: there may be a hundred thousand apps in the file.
  const merged: Environment = Object.assign(file.variables, own);
  const value = (name: VariableName) => checked(name, merged[name] || defaults[name]);
  const corps = Object.keys(merged).filter((name) => CORP_BASE_URL.test(name) && merged[name]);
  const lineOf = (name: string) => (merged[name] ? file.lineOf(name) : undefined);
  const origins = { environment: own, path, lineOf };
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
  const keyPath = masterKeyFile || join(databasePath ? dirname(databasePath) : resolve("data"), "master.key");
  const nextKeyFile = value("MASTER_KEY_NEXT_FILE") || `${keyPath}.next`;
  if (resolve(nextKeyFile) === resolve(keyPath))
    throw invalid(
      "MASTER_KEY_NEXT_FILE",
      "不能与MASTER_KEY_FILE相同 (must be another file than MASTER_KEY_FILE)",
    );
  return Object.freeze<Config>({
    host: value("HOST"),
    port: Number(value("PORT")),
    logLevel: value("LOG_LEVEL") as LogLevel,
    logFormat: value("LOG_FORMAT") as LogFormat,
    // https://no-color.org
    mayColor: !own["NO_COLOR"],
    databasePath,
    postgres,
    masterKey: masterKey ? new Secret(masterKey) : undefined,
    masterKeyFile: keyPath,
    nextKeyFile,
    baseUrls: {
      weixin: originOf("WEIXIN_BASE_URL", value("WEIXIN_BASE_URL")),
      wecom: originOf("WECOM_BASE_URL", value("WECOM_BASE_URL")),
      corps: corpOrigins(merged, corps, originOf),
    },
    weixinFallbackUrls: list(value("WEIXIN_FALLBACK_BASE_URLS")).map((url) =>
      originOf("WEIXIN_FALLBACK_BASE_URLS", url),
    ),
    loginUrls: {
      weixin: originOf("WEIXIN_OPEN_BASE_URL", value("WEIXIN_OPEN_BASE_URL")),
      wecom: originOf("WECOM_LOGIN_BASE_URL", value("WECOM_LOGIN_BASE_URL")),
    },
    refreshIdleAfterMs: Number(value("REFRESH_IDLE_AFTER")) * 1000,
    auditRetentionDays: Number(value("AUDIT_RETENTION_DAYS")),
    backups: backups(value),
    upstreamProxy: parsedUrl("UPSTREAM_PROXY", value),
    upstreamEcho: parsedUrl("UPSTREAM_ECHO", value),
    upstreamIpFamily: { "4": 4 as const, "6": 6 as const }[value("UPSTREAM_IP_FAMILY")],
    trustedNetworks: networks("TRUSTED_NETWORKS", value("TRUSTED_NETWORKS")),
    callbackNetworks: networks("CALLBACK_NETWORKS", value("CALLBACK_NETWORKS")),
    trustedProxies: networks("TRUSTED_PROXIES", value("TRUSTED_PROXIES")),
    anonymous: value("ANONYMOUS") === "" ? undefined : value("ANONYMOUS") === "on",
    anonymousRateLimit: Number(value("ANONYMOUS_RATE_LIMIT")),
    keepAliveSeconds: Number(value("KEEP_ALIVE_TIMEOUT")),
    connectProxy: connectProxy(value),
    allowedHosts: list(value("ALLOWED_HOSTS").toLowerCase()).map((host) => host.replace(/\.$/, "")),
    corsOrigins: list(value("CORS_ORIGINS").toLowerCase()).map((origin) => corsOrigin(origin)),
    publicSide: {
      url: publicUrl(value("PUBLIC_URL")),
      servesAll: value("PUBLIC_URL_SERVES") === "all",
    },
    visibility: {
      metrics: value("METRICS") as Visibility,
      swagger: value("SWAGGER") as Visibility,
    },
    hasConsole: value("CONSOLE") === "on",
    apps,
    envFile: path !== "" && existsSync(path ?? ".env") ? resolve(path ?? ".env") : undefined,
    variables: [...Object.keys(VARIABLES.properties), ...corps].map((name) =>
      variableInForce(name, isFixed(name) ? value(name) : (merged[name] ?? ""), origins),
    ),
    warnings: [
      ...file.warnings,
      ...overruled.map(
        (name) =>
          `${name}: 环境变量与文件中的值不同，以环境变量为准 (the environment names another than the file; the environment's is used)`,
      ),
      ...unknownNames(environment),
      ...doubts,
      ...REMOVED.filter((name) => merged[name]).map(
        (name) => `${name}: 该变量已不再起作用，可以删除 (has no effect any more; remove it)`,
      ),
    ],
  });
}

/**
 * As `loadConfig`, for a command on the service's machine: where neither the environment nor the working directory says
 * which database is meant, it is the installed service's, if a service is installed. It need not have been started yet.
 */
export function loadLocalConfig(environment: Environment = process.env, server = SERVER_FILES): Config {
  const isSaid = ["ENV_FILE", "DATABASE_URL"].some((name) => environment[name] !== undefined);
  if (!isSaid && !existsSync(".env") && existsSync(server.envFile)) {
    const own = loadConfig(environment);
    const isThere = own.databasePath === undefined || existsSync(own.databasePath);
    return isThere ? own : loadConfig({ ...environment, ENV_FILE: server.envFile }, server);
  }
  return loadConfig(environment);
}

/** Whether it is the installed service's, whose files that service alone makes: they belong to its user. */
export function isInstalled({ envFile }: Pick<Config, "envFile">, server = SERVER_FILES): boolean {
  return envFile === server.envFile;
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

/** Variables by which Bun changes what this program does, or takes its place. */
const RUNTIME = ["BUN_OPTIONS", "BUN_BE_BUN"] as const;

/** Those of them that are set in `environment`, or in the text of an env file or of `/proc/<pid>/environ`. */
export function runtimeVariables(environment: Environment | string = process.env): string[] {
  return RUNTIME.filter((name) =>
    typeof environment === "string"
      ? RegExp(`(^|[\\n\\0])\\s*(export\\s+)?${name}\\s*=`).test(environment)
      : environment[name] !== undefined,
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

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

function backups(value: (name: VariableName) => string): Config["backups"] {
  const [folder, every, keep] = [value("BACKUP_DIR"), value("BACKUP_EVERY"), value("BACKUP_KEEP")];
  if (folder === "") return undefined;
  const everyMs = Number.parseInt(every) * (UNITS[every.at(-1) ?? ""] ?? 0);
  return { folder: resolve(folder), everyMs, keep: Number(keep) };
}

function databaseFile(value: (name: VariableName) => string): string {
  const url = value("DATABASE_URL");
  try {
    return resolve(url.startsWith("file://") ? fileURLToPath(url) : url.slice("file:".length));
  } catch {
    throw invalid("DATABASE_URL", String(VARIABLES.properties.DATABASE_URL["expected"]));
  }
}

function parsedUrl(
  name: "UPSTREAM_PROXY" | "UPSTREAM_ECHO",
  value: (name: VariableName) => string,
): string | undefined {
  const url = value(name);
  if (url === "") return undefined;
  if (URL.canParse(url)) return url;
  throw invalid(name, String(VARIABLES.properties[name]["expected"]));
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
  names: readonly string[],
  originOf: ReturnType<typeof originReader>,
): ReadonlyMap<string, string> {
  return new Map(
    names.map((name) => [CORP_BASE_URL.exec(name)?.[1] ?? "", originOf(name, variables[name] ?? "")]),
  );
}

function publicUrl(text: string): string | undefined {
  if (text === "") return undefined;
  const origin = text.replace(/\/$/, "").toLowerCase();
  if (!isWebOrigin(origin)) throw invalid("PUBLIC_URL", PUBLIC_URL_EXPECTED);
  return origin;
}

function corsOrigin(text: string): string {
  if (!isWebOrigin(text)) throw invalid("CORS_ORIGINS", ORIGIN_EXPECTED);
  return text;
}

function networks(
  name: "TRUSTED_NETWORKS" | "TRUSTED_PROXIES" | "CALLBACK_NETWORKS" | "UPSTREAM_ALLOW_HTTP",
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
