import { type Action, ACTIONS, CLIENT_NAME } from "../access/client.ts";
import { CREDENTIAL_KINDS } from "../credentials/kinds.ts";
import { type Arguments, type PositionalSpec, usageError } from "./arguments.ts";

/** Every app, in a grant's list of apps. */
export const ALL_APPS = "*";

const APP_NAME = /^[A-Za-z0-9_-]{1,130}$/;
const KEY_NAME = /^ats_[0-9A-Za-z]{8}$/;

/** `<app>` in a command. */
export const APP: PositionalSpec = {
  name: "app",
  meaning: {
    en: "AppID, or <corpid>_<agent> of WeCom",
    zh: "公众号或小程序的appid；企业微信为 <corpid>_<agent>",
  },
};

/** `<client>` in a command. */
export const CLIENT: PositionalSpec = {
  name: "client",
  meaning: { en: "The client's name", zh: "客户端的名称" },
};

/** `<app>` as given. A name that is none is a usage error: in a path it could mean something else. */
export function appOf(args: Arguments): string {
  return named(
    args.get("app"),
    APP_NAME,
    "<app>: 应为appid或 <corpid>_<agent> (must be an appid or <corpid>_<agent>)",
  );
}

/** `<client>` as given; a usage error when it can't be one's name. */
export function clientOf(args: Arguments): string {
  return named(
    args.get("client"),
    CLIENT_NAME,
    "<client>: 应以小写字母或数字开头，由小写字母、数字、点、下划线和连字符组成 (must be of lower-case letters, digits, dots, underscores and hyphens)",
  );
}

/** The public name of a key. Who gives the whole key is told not to, for it would stay in the shell's history. */
export function keyNameOf(text: string): string {
  return named(
    text,
    KEY_NAME,
    "<key>: 应为密钥的前12个字符，如 ats_Ab12Cd34，不要给出完整的密钥 (must be a key's first 12 characters, as ats_Ab12Cd34; never give the whole key)",
  );
}

/** The apps of `--apps`: names, or `*` for `all`; undefined without it. */
export function findApps(args: Arguments): readonly string[] | undefined {
  const names = findList(args, "apps");
  if (names?.some((name) => name === "all" || name === ALL_APPS)) {
    if (names.length === 1) return [ALL_APPS];
    throw usageError("--apps: all 不能与其他应用并列 (all stands alone)");
  }
  if (names?.some((name) => !APP_NAME.test(name))) {
    throw usageError("--apps: 应为以逗号分隔的应用名，或 all (must be apps, comma-separated, or all)");
  }
  return names;
}

/** The actions of `--actions`; undefined without it. */
export function findActions(args: Arguments): readonly Action[] | undefined {
  return findList(args, "actions")?.map((name) => {
    const action = ACTIONS.find((each) => each === name);
    if (action) return action;
    throw usageError(`--actions: 应为以逗号分隔的 ${ACTIONS.join("、")} (must be of these, comma-separated)`);
  });
}

/** The kind of credential of `--kind`; default the access token. */
export function kindOf(args: Arguments): string {
  const kind = args.find("kind") ?? "access_token";
  if (CREDENTIAL_KINDS.some((each) => each === kind)) return kind;
  throw usageError(`--kind: 应为 ${CREDENTIAL_KINDS.join("、")} 之一 (must be one of these)`);
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
