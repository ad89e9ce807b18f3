import { Secret } from "../secret.ts";
import type { App, TokenMode } from "./app.ts";

/** Its groups: the AppID of a secret, the AppID of a mode, and a CorpID with its agent. */
const VARIABLE =
  /^(?:(?:WEIXIN_SECRET|THIRD_APPID)_([A-Za-z0-9]+)|WEIXIN_TOKEN_MODE_([A-Za-z0-9]+)|WECOM_SECRET_([A-Za-z0-9_-]+)_([A-Za-z0-9]+))$/;

/** The apps that an environment names, and what is wrong with it. */
export interface EnvironmentApps {
  readonly apps: readonly App[];
  /** Names whose values can't be used, with the reason. */
  readonly faults: readonly { readonly name: string; readonly reason: string }[];
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
  const secrets = new Map<string, Secret>();
  const modes = new Map<string, { name: string; mode: TokenMode }>();
  const apps: App[] = [];
  // There may be a hundred thousand: one pass over the names.
  for (const name in variables) {
    const match = VARIABLE.exec(name);
    if (!match) continue;
    const [, secretOf, modeOf, corp = "", agent = ""] = match;
    const value = variables[name] ?? "";
    if (modeOf !== undefined) {
      if (value === "stable" || value === "classic") modes.set(modeOf, { name, mode: value });
      else faults.push({ name, reason: "应为 stable 或 classic (must be stable or classic)" });
    } else if (!/^[\x21-\x7e]{1,512}$/.test(value)) {
      faults.push({
        name,
        reason: "secret为空或含有非法字符 (the secret is empty or has invalid characters)",
      });
    } else if (secretOf === undefined) {
      apps.push({ platform: "wecom", id: corp, agent, secret: new Secret(value) });
    } else if (secrets.get(secretOf)?.equals(new Secret(value)) === false) {
      faults.push({
        name,
        reason: "与同一appid的另一变量不一致 (differs from the other variable for this appid)",
      });
    } else {
      secrets.set(secretOf, new Secret(value));
    }
  }
  for (const [id, secret] of secrets) {
    apps.push({ platform: "weixin", id, secret, tokenMode: modes.get(id)?.mode ?? defaultMode });
  }
  for (const [id, { name }] of modes) {
    if (!secrets.has(id))
      faults.push({ name, reason: `没有对应的 WEIXIN_SECRET_${id} (there is no WEIXIN_SECRET_${id})` });
  }
  return { apps, faults };
}
