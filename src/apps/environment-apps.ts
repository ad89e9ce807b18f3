import { Secret } from "../secret.ts";
import { type App, checkEntry, type TokenMode } from "./app.ts";

/** What follows the prefix looks like an id, be it a wrong one; other names are not apps'. */
const VARIABLE =
  /^(WEIXIN_SECRET|THIRD_APPID|WEIXIN_TOKEN_MODE|WECOM_SECRET)_((?:[Ww][A-Za-z]|[Gg][Hh]_)[A-Za-z0-9_-]*)$/;

/** The apps' variables, with what varies in angle brackets. */
export const APP_VARIABLES = [
  "WEIXIN_SECRET_<appid>",
  "THIRD_APPID_<appid>",
  "WEIXIN_TOKEN_MODE_<appid>",
  "WECOM_SECRET_<corpid>_<agent>",
] as const;

/** The apps that an environment names, and what is wrong with it. */
export interface EnvironmentApps {
  readonly apps: readonly App[];
  /** Names whose values can't be used, with the reason. */
  readonly faults: readonly { readonly name: string; readonly reason: string }[];
  /** What looks unusual, a line each with its name. */
  readonly doubts: readonly string[];
}

/** Whether `name` is one of the variables that `readEnvironmentApps` reads. */
export function isAppVariable(name: string): boolean {
  return VARIABLE.test(name);
}

/**
 * Reads `WEIXIN_SECRET_<appid>` (also `THIRD_APPID_<appid>`), `WEIXIN_TOKEN_MODE_<appid>` and
 * `WECOM_SECRET_<corpid>_<agent>`. `defaultMode` is for WeChat apps without a mode of their own.
 */
export function readEnvironmentApps(
  variables: Readonly<Record<string, string | undefined>>,
  defaultMode: TokenMode,
): EnvironmentApps {
  const faults: { name: string; reason: string }[] = [];
  const doubts: string[] = [];
  const secrets = new Map<string, Secret>();
  const modes = new Map<string, { name: string; mode: TokenMode }>();
  const apps: App[] = [];
  // There may be a hundred thousand: one pass over the names.
  for (const name in variables) {
    const [, kind, id = ""] = VARIABLE.exec(name) ?? [];
    if (kind === undefined) continue;
    const value = variables[name] ?? "";
    if (kind === "WEIXIN_TOKEN_MODE") {
      if (value === "stable" || value === "classic") modes.set(id, { name, mode: value });
      else faults.push({ name, reason: "应为 stable 或 classic (must be stable or classic)" });
      continue;
    }
    const secret = new Secret(value);
    const app =
      kind === "WECOM_SECRET" ? { ...wecomName(id), secret } : { platform: "weixin" as const, id, secret };
    const { fault, doubt } = checkEntry(app);
    if (fault !== undefined) faults.push({ name, reason: fault });
    else if (app.platform === "wecom") apps.push(app);
    else if (secrets.get(id)?.equals(secret) === false)
      faults.push({
        name,
        reason: "与同一appid的另一变量不一致 (differs from the other variable for this appid)",
      });
    else secrets.set(id, secret);
    if (doubt !== undefined) doubts.push(`${name}: ${doubt}`);
  }
  for (const [id, secret] of secrets) {
    apps.push({ platform: "weixin", id, secret, tokenMode: modes.get(id)?.mode ?? defaultMode });
  }
  for (const [id, { name }] of modes) {
    if (!secrets.has(id))
      faults.push({ name, reason: `没有对应的 WEIXIN_SECRET_${id} (there is no WEIXIN_SECRET_${id})` });
  }
  return { apps, faults, doubts };
}

/** The agent of WeCom has no underscore. */
function wecomName(name: string) {
  const cut = name.lastIndexOf("_");
  return {
    platform: "wecom" as const,
    id: cut === -1 ? name : name.slice(0, cut),
    agent: cut === -1 ? "" : name.slice(cut + 1),
  };
}
