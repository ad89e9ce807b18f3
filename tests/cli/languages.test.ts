import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ServiceError } from "../../src/errors.ts";
import { type Arrived, CliHarness } from "./cli-harness.ts";

const SOURCE = join(import.meta.dir, "../../src");
const AT = Date.UTC(2027, 0, 31);
const GRANT = { apps: ["wx0123456789abcdef"], actions: ["token:read", "api:call"] };
const CLIENT = {
  ...{ client: "bot", environment: "dev", grants: [GRANT], networks: [], delivery: "virtual" },
  ...{ policy: { preset: "safe", allow: [], deny: [] }, created_at: AT, updated_at: AT, version: 1 },
};
const KEY = { key: "ats_Ab12Cd34", label: "ci", state: "active", created_at: AT };
const FAILURE = { code: 40164, msg: "invalid ip 10.0.0.8", count: 2, at: AT };
const CREDENTIAL = {
  ...{
    state: "failing",
    expires_at: AT,
    last_failure: { ...FAILURE, hint: "请加入白名单 (add it to the allow-list)" },
  },
  revoked_early: { at: Date.now(), early: 600 },
};
const APP = {
  ...{ app: "wx0123456789abcdef", platform: "weixin", mode: "stable", source: "managed", version: 1 },
  ...{ disabled: false, state: "failing", credentials: { access_token: CREDENTIAL }, calls_today: {} },
  foreign_refresh: { at: Date.now(), early: 600 },
};
const SETTINGS = {
  anonymous: "off",
  anonymous_by: "environment",
  cors_origins: [],
  cors_origins_by: "settings",
};
const CALLERS = {
  since: AT,
  callers: [{ caller: "(anonymous 10.0.0.8)", app: "wx0123456789abcdef", count: 2 }],
};
const NODE = {
  ...{ node: "0c5f5b4e", host: "token-a", pid: 812, version: "0.1.0", state: "live", started_at: AT },
  ...{ seen_at: AT, clock_offset_ms: 4, changes: "listening", key_ids: ["3f9c0a71"] },
};
const ENVIRONMENT = {
  ...{ environment: "dev", production: false, codes: "relay" },
  ...{ created_at: AT, updated_at: AT, version: 1 },
};
const BASE = "https://token.example.com";

function answer({ method, path }: Arrived): object {
  if (path === "/v1/environments") return { environments: [ENVIRONMENT] };
  if (path.startsWith("/v1/environments")) return ENVIRONMENT;
  if (path === "/v1/nodes") return { nodes: [NODE] };
  if (path.startsWith("/v1/settings/")) return CALLERS;
  if (path.startsWith("/v1/settings")) return SETTINGS;
  if (path.includes("/credentials/")) return { value: "avt_1", kind: "access_token", expires_at: AT };
  if (path.startsWith("/v1/apps?")) return { apps: [APP] };
  if (path === "/v1/apps/wx0000000000000404") throw new ServiceError("not_found", "没有该应用 (no such app)");
  if (path.startsWith("/v1/apps")) return APP;
  if (path.startsWith("/v1/audit/verify"))
    return { intact: false, entries: 2, fault: { id: 1, message: "不符 (does not fit)" } };
  if (path.startsWith("/v1/audit")) return { entries: [], usage: [], denials: [] };
  if (/keys/.test(path))
    return method === "POST"
      ? { ...KEY, api_key: "ats_x", base_url: BASE }
      : { keys: [KEY], client: "bot", ...KEY };
  if (path.startsWith("/v1/clients?")) return { clients: [CLIENT] };
  return { ...CLIENT, base_url: BASE };
}

const COMMANDS = [
  "apps add wx0123456789abcdef --no-verify",
  "apps add gh_0123456789ab",
  "apps list",
  "apps show wx0123456789abcdef",
  "apps show wx0000000000000404",
  "apps set wx0123456789abcdef",
  "apps remove wx0123456789abcdef",
  "apps remove wx0123456789abcdef --yes",
  "clients add bot --environment dev --apps wx0000000000000404 --actions token:read",
  "clients add bot --environment dev --apps all",
  "clients list",
  "clients set bot",
  "clients set bot --policy none",
  "clients grant bot --apps wx0123456789abcdef --actions token:read",
  "clients revoke bot",
  "clients revoke bot --actions login",
  "keys create bot --expires 2020-01-01",
  "keys create bot",
  "keys find ats_Ab12Cd34",
  "keys roll bot",
  "keys revoke ats_Ab12Cd34",
  "keys revoke nonsense",
  "environments list",
  "environments add dev --backend shop",
  "environments add dev --apps wx0123456789abcdef --backend SHOP",
  "environments add dev --apps all --redirect-origin https://dev.example.com",
  "environments add dev --apps wx0123456789abcdef --target pull --role both",
  "apply",
  "apply -f nowhere.yaml",
  "environments add dev",
  "environments add 环境",
  "environments set dev",
  "environments set dev --codes both",
  "environments set dev --production maybe",
  "environments remove dev",
  "anonymous status",
  "anonymous off",
  "anonymous on",
  "cors list",
  "cors add https://www.example.com",
  "cors reset",
  "nodes",
  "token get wx0123456789abcdef",
  "token refresh wx0123456789abcdef",
  "audit list --action nonsense",
  "audit verify",
  "audit steal",
];

/** All that a command says, without what is the same in each language. */
async function said(world: CliHarness, command: string, language: "en" | "zh"): Promise<string> {
  const options = {
    language,
    input: "0123456789abcdef0123456789abcdef",
    ...(command.endsWith("off") ? { typed: "n" } : {}),
  };
  const secret = command.startsWith("apps add") ? ["--secret-file", "-"] : [];
  const { stdout, stderr, questions } = await world.run([...command.split(" "), ...secret], options);
  return [stdout, stderr, ...questions].join("\n");
}

test.each(COMMANDS)(
  "%s is answered in one language: no English sentence in Chinese, and the other way round",
  async (command) => {
    await using world = new CliHarness(answer);
    expect(await said(world, command, "en")).not.toMatch(/[\p{Script=Han}，。：；]/u);
    // Three words of English in a row are no name of anything.
    const chinese = (await said(world, command, "zh")).replaceAll(
      /用法：.*|invalid ip .*|curl .*|accesstoken [a-z ]+/g,
      "",
    );
    expect(chinese).not.toMatch(/[A-Za-z][a-z']+ [a-z']+ [a-z']+/);
  },
);

test("what a message names in its Chinese half is named in its English half too, which is shown alone", () => {
  const messages =
    /`((?:[^\p{Script=Han}`]*: )?)([^`]*\p{Script=Han}[^`]*?) \(([^\p{Script=Han}`]*)\)[^`()]*`/gu;
  const lost: string[] = [];
  for (const file of new Bun.Glob("**/*.ts").scanSync(SOURCE)) {
    for (const [, place = "", zh = "", en = ""] of readFileSync(join(SOURCE, file), "utf8").matchAll(
      messages,
    )) {
      for (const [, name = ""] of zh.matchAll(/\$\{(\w+)/g))
        if (!/^(chinese|zh)$/.test(name) && !(place + en).includes(name))
          lost.push(`${file}: ${name} of ${zh}`);
    }
  }
  expect(lost).toEqual([]);
});
