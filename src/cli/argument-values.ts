import { isWellFormedApiKey } from "../access/api-key.ts";
import { type Action, ACTIONS, CLIENT_NAME, platformOf } from "../access/client.ts";
import { CREDENTIAL_KINDS } from "../credentials/kinds.ts";
import { type Arguments, type PositionalSpec, usageError, bilingual, option } from "./arguments.ts";

/** Every app, in a grant's list of apps. */
export const ALL_APPS = "*";

const APP_NAME = /^[A-Za-z0-9_-]{1,130}$/;
const KEY_NAME_LENGTH = 12;
const KEY_NAME = /^ats_[0-9A-Za-z]{8}$/;

/** `<app>` in a command. */
export const APP: PositionalSpec = {
  name: "app",
  meaning: bilingual(
    "AppID, or <corpid>_<agent> of WeCom; of an account of a third-party platform <appid>_<component>",
    "公众号或小程序的appid；企业微信为 <corpid>_<agent>；第三方平台的授权账号为 <appid>_<component>",
  ),
};

/** `<client>` in a command. */
export const CLIENT: PositionalSpec = {
  name: "client",
  meaning: bilingual("The client's name", "客户端的名称"),
};

/** `--expires` of what is made. */
export const EXPIRES = option(
  "--expires <time>",
  "When it expires, as 2027-01-31 or 90d. Default: never",
  "失效时间，如 2027-01-31 或 90d；默认不失效",
);

/** `<app>` as given. A name that is none is a usage error: in a path it could mean something else. */
export function appOf(args: Arguments): string {
  return named(
    args.get("app"),
    APP_NAME,
    "<app>: 应为appid、<corpid>_<agent> 或 <appid>_<component> (must be an appid, <corpid>_<agent> or <appid>_<component>)",
  );
}

/** `<client>` as given; a usage error when it can't be a name. */
export function clientOf(args: Arguments): string {
  return named(
    args.get("client"),
    CLIENT_NAME,
    "<client>: 应以小写字母或数字开头，由小写字母、数字、点、下划线和连字符组成 (must be of lower-case letters, digits, dots, underscores and hyphens)",
  );
}

/** The public name of a key. A whole key is rejected with a warning: it would stay in the shell's history. */
export function keyNameOf(text: string): string {
  return named(
    text,
    KEY_NAME,
    "<key>: 应为密钥的前12个字符，如 ats_Ab12Cd34，不要给出完整的密钥 (must be a key's first 12 characters, as ats_Ab12Cd34; never give the whole key)",
  );
}

/**
 * The public name of a key that was given by it or, having leaked anyway, as a whole. Only its first 12 characters are
 * sent.
 */
export function leakedKeyNameOf(text: string): string {
  return keyNameOf(isWellFormedApiKey(text) ? text.slice(0, KEY_NAME_LENGTH) : text);
}

/** The apps of `--apps`: names, or `*` for `all`; undefined without it. */
export function findApps(args: Arguments): readonly string[] | undefined {
  const names = findList(args, "apps");
  if (names?.some((name) => name === "all" || name === ALL_APPS)) {
    if (names.length === 1) return [ALL_APPS];
    throw usageError("--apps: all 不能与其他应用并列 (all can't be combined with other apps)");
  }
  if (names?.some((name) => !APP_NAME.test(platformOf(name) ?? name))) {
    throw usageError(
      "--apps: 应为以逗号分隔的应用名、platform:<id>、platform:<id>/*，或 all (must be apps, platform:<id> or platform:<id>/*, comma-separated, or all)",
    );
  }
  return names;
}

/** The actions of `--actions`; undefined without it. */
export function findActions(args: Arguments): readonly Action[] | undefined {
  return findList(args, "actions")?.map((name) => {
    const action = ACTIONS.find((each) => each === name);
    if (action) return action;
    throw usageError(
      `--actions: 应为以逗号分隔的 ${ACTIONS.join("、")} (must be of ${ACTIONS.join(", ")}, comma-separated)`,
    );
  });
}

/** The kind of credential of `--kind`; default the access token. */
export function kindOf(args: Arguments): string {
  return findOneOf(args, "kind", CREDENTIAL_KINDS) ?? "access_token";
}

/** The value of an option that takes one of these; undefined without it. A usage error for any other. */
export function findOneOf<Value extends string>(
  args: Arguments,
  option: string,
  values: readonly Value[],
): Value | undefined {
  const text = args.find(option);
  const found = values.find((each) => each === text);
  if (text === undefined || found !== undefined) return found;
  throw usageError(`--${option}: 应为 ${values.join("、")} 之一 (must be one of ${values.join(", ")})`);
}

/** The entries of an option that takes a list, comma-separated; undefined without it. A usage error when one is empty. */
export function findList(args: Arguments, option: string): string[] | undefined {
  const text = args.find(option);
  if (text === undefined) return undefined;
  const entries = text.split(",").map((entry) => entry.trim());
  if (entries.every(Boolean)) return [...new Set(entries)];
  throw usageError(`--${option}: 有空的项 (an entry is empty)`);
}

function named(text: string, shape: RegExp, complaint: string): string {
  if (shape.test(text)) return text;
  throw usageError(complaint);
}

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  "": 1,
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
  y: 31_536_000,
};
/** A hundred years: more is a typing error. */
const MAX_SECONDS = 3_155_760_000;
const DURATION = /^(\d{1,9})([smhdwy]?)$/;
const INSTANT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A duration as seconds: a number of seconds, or one with a unit, as `90m` or `7d`.
 *
 * @throws {ServiceError} `invalid_parameter` when it is none, or not within the bounds (in seconds).
 */
export function parseDuration(option: string, text: string, limit: number): number {
  const seconds = secondsOf(text);
  if (seconds !== undefined && seconds <= limit) return seconds;
  throw usageError(
    `--${option}: 应为时长，如 90s、30m、12h、7d，最多${limit}秒 (must be a duration, as 90s, 30m, 12h or 7d, ${limit} seconds at most)`,
  );
}

/**
 * An instant as epoch milliseconds: a date or a time of this machine's zone, or a duration, which is counted from `now`
 * into the future, or into the past where the option looks back. A year is 365 days.
 *
 * @throws {ServiceError} `invalid_parameter` when it is none, or has passed where the option does not look back.
 */
export function parseInstant(option: string, text: string, now: number, looksBack: boolean): number {
  const seconds = /[smhdwy]$/.test(text) ? secondsOf(text) : undefined;
  if (seconds !== undefined && seconds <= MAX_SECONDS) {
    return now + (looksBack ? -seconds : seconds) * 1000;
  }
  const [, date = "", time = "00:00", zone = ""] = INSTANT.exec(text) ?? [];
  // A day that the month does not have would be taken for one of the next.
  const isDay = date !== "" && new Date(`${date}T00:00Z`).getTime() >= 0 && isoDay(date) === date;
  const at = isDay ? new Date(`${date}T${time}${zone}`).getTime() : Number.NaN;
  const next = new Date(now + 90 * 86_400_000).toISOString().slice(0, 10);
  if (!Number.isNaN(at) && !looksBack && at <= now)
    throw usageError(
      `--${option}: 该时间已过，应为将来的时间，如 ${next}、90d、1y (it has passed: give a time to come, as ${next}, 90d or 1y)`,
    );
  if (!Number.isNaN(at)) return at;
  const example = looksBack ? "2027-01-31、2027-01-31T08:00、24h" : `${next}、${next}T08:00、90d、1y`;
  throw usageError(
    `--${option}: 应为时间，如 ${example} (must be a time, as ${example.replaceAll("、", ", ")})`,
  );
}

function secondsOf(text: string): number | undefined {
  const [, count, unit = ""] = DURATION.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * (UNIT_SECONDS[unit] ?? 1);
}

function isoDay(date: string): string {
  return new Date(`${date}T00:00Z`).toISOString().slice(0, 10);
}
