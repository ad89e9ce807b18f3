import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { getTableColumns, getTableName, is } from "drizzle-orm";
import { SQLiteTable } from "drizzle-orm/sqlite-core";
import * as schema from "../../src/store/schema.ts";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { type Answer, CORP, Harness, WECOM, WX } from "../support/harness.ts";

const TABLES = Object.values(schema).filter((each) => is(each, SQLiteTable));
const MANAGED = { id: "wx00000000000000bb", secret: "0f1e2d3c4b5a69788796a5b4c3d2e1f0" };
const BROKEN = { id: "wx00000000000000dd", secret: "ffffffffffffffffffffffffffffffff" };
const ACTIONS = ["token:read", "token:clear", "token:refresh", "login", "api:call"] as const;

const CALLBACK = `/v1/apps/${WX.appId}/callbacks`;
/** What sets pushes up. */
const CALLBACKS = [
  [CALLBACK, {}],
  [`${CALLBACK}/targets/dev`, { environment: "dev", timeout: 3 }],
  [`${CALLBACK}/targets/crm`, { environment: "prod", content: "decrypted", url: "https://crm.example/" }],
  [`${CALLBACK}/routes`, { routes: [{ target: "dev", role: "primary" }] }],
] as const;

/** What takes the place of a cell, as SQL: wrong types, no JSON, nothing, too much, another row's. */
const VALUES = ["NULL", "'x'", "'{'", "''", "x'00ff'", "-1", "1.5", "9223372036854775807", "9e99"] as const;

/** Rows for what takes long to come about by itself: one for each table that may be empty. */
const ROWS = [
  `INSERT INTO alarms (condition, subject, state, since, seen_at, detail, version) VALUES ('app_blocked', 'wx1', 'firing', 1, 1, '{"message":"m"}', 1)`,
  `INSERT INTO milestones (name, at, detail) VALUES ('backup', 1, '{}')`,
  `INSERT OR IGNORE INTO settings VALUES ('other', 'on')`,
  `INSERT OR IGNORE INTO due_work VALUES ('audit_pruning', 1795320000000)`,
  `INSERT OR IGNORE INTO counts (minute, kind, key, n) VALUES (1795320000000, 'usage', 'bot' || char(31) || 'dev' || char(31) || 'token:read' || char(31) || 'wx1', 3)`,
  `INSERT OR IGNORE INTO counts (minute, kind, key, n) VALUES (1795320000000, 'denial', '10.0.0.8' || char(31) || '' || char(31) || '/x' || char(31) || '401', 3)`,
  `INSERT OR IGNORE INTO token_cutoffs VALUES ('wx1', 1)`,
  `INSERT OR IGNORE INTO rejected_tokens VALUES ('d', 'weixin', '${WX.appId}', 'stable', '${WX.appId}', 5, 1895320000000)`,
  `INSERT OR IGNORE INTO nodes VALUES ('n', 'host', 1, '0.1.0', 'k', 1795320000000, 1795320000000, 0, 0)`,
  `INSERT OR IGNORE INTO pushes VALUES ('${WX.appId}', '24000000000000001', 1795320000000, 'text', '', 'x', 'x', 1895320000000)`,
  `INSERT OR IGNORE INTO deliveries VALUES (1, '${WX.appId}', '24000000000000001', 'dev', 'dev', 'primary', 'lane', 'waiting', 1, 1795320000000, 1795320000000, 1895320000000, NULL, 'timeout', NULL, NULL)`,
  `INSERT OR IGNORE INTO verify_files VALUES ('MP_verify_x.txt', 'x', 1795320000000)`,
  `INSERT INTO refresh_log (at, app, kind, "trigger", outcome, errcode, duration_ms, generation, host) VALUES (1795320000000, '${WX.appId}', 'access_token', 'ahead', 'upstream_rejected', 40125, 120, 1, 'h')`,
  `INSERT OR IGNORE INTO hourly_counts VALUES ('${WX.appId}', 1795320000000, 'uses', 3)`,
  `INSERT OR IGNORE INTO console_sessions VALUES ('d', 'admin', 1795320000000, 'ats_x', '10.0.0.8', 1795320000000, 1795320000000, 1895320000000)`,
  `INSERT OR IGNORE INTO console_links VALUES ('d', 'admin', 1795320000000, 1895320000000)`,
  `INSERT OR IGNORE INTO authorization_codes VALUES ('d', 'wxc000000000000001', '${WX.appId}', 'x', 'waiting', 1, 1795320000000, 1795320000000, 1895320000000, NULL, '{"code":"upstream_timeout","message":"m"}')`,
  `INSERT OR IGNORE INTO authorization_links VALUES ('s', 'wxc000000000000001', 'x', 1795320000000, 1895320000000, NULL)`,
  `INSERT OR IGNORE INTO usage VALUES ('weixin', '${WX.appId}', '/cgi-bin/stable_token', '2026-11-22', 3)`,
];

/** A service with something in each of its tables, and a hand at any cell of its database. */
async function setup() {
  const world = await Harness.create({
    environment: {
      ANONYMOUS: "off",
      PUBLIC_URL: "https://wx.example.com",
      WEIXIN_SECRET_wx00000000000000ee: "e".repeat(32),
    },
  });
  const admin = await createAdmin(world);
  const grants = [{ apps: ["*"], actions: ACTIONS }];
  const bot = await createClient(world, { name: "bot", grants, networks: ["127.0.0.0/8"], rateLimit: 1000 });
  const other = await createClient(world, { name: "other", grants });
  const ask = (key: string, method: string, path: string, body?: unknown) =>
    world.request(path, {
      method,
      headers: { "x-api-key": key, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  for (const { id, secret } of [MANAGED, BROKEN])
    await ask(admin, "POST", "/v1/apps", { platform: "weixin", app_id: id, secret, title: "t" });
  const token = (key: string, appId: string) => ask(key, "GET", `/AccessToken/getXcx?appid=${appId}`);
  const qyapi = (key: string) =>
    ask(key, "GET", `/AccessToken/getQyapi?corpid=${CORP}&agentid=${WECOM.agent}`);
  for (const appId of [WX.appId, MANAGED.id, BROKEN.id]) await token(bot, appId);
  await qyapi(bot);
  await ask(bot, "GET", `/AccessToken/clearXcx?appid=${MANAGED.id}`);
  await token(bot, MANAGED.id);
  const login = () => ask(bot, "GET", `/xcx/jscode2session?appid=${WX.appId}&code=sandbox-code-plain`);
  await login();
  const oauth = () =>
    ask(bot, "POST", "/AccessToken/getOauthAccessToken", { wx_app_id: WX.appId, code: "sandbox-code-web" });
  await oauth();
  for (const [path, body] of CALLBACKS) await ask(admin, "PUT", path, body);
  const hook = "https://open.feishu.cn/open-apis/bot/v2/hook/0123456789abcdef";
  const channel = { channel: "ops", kind: "feishu", url: hook, secret: "signing-secret" };
  await ask(admin, "POST", "/v1/notifications/channels", channel);
  await ask(admin, "POST", "/v1/notifications/channels/ops/test");
  const origins = { redirect_origins: ["https://dev.example.com"] };
  await ask(admin, "PUT", `/v1/apps/${WX.appId}/redirect-origins/dev`, origins);
  const begin = async () => {
    const query = new URLSearchParams({ appid: WX.appId, redirect_uri: "https://dev.example.com/cb" });
    const path = `/connect/oauth2/authorize?${query.toString()}`;
    const { headers } = await fetch(world.service.url + path, { redirect: "manual" });
    return new URL(headers.get("location") ?? "about:blank").searchParams.get("state") ?? "";
  };
  const back = async (state: string, code: string): Promise<number> => {
    const path = `/connect/return?state=${state}&code=${code}`;
    return (await fetch(world.service.url + path, { redirect: "manual" })).status;
  };
  const states = [await begin(), await begin()] as const;
  await back(states[0], "sandbox-code-web");
  const database = new Database(world.databasePath, { readwrite: true });
  await Harness.until(() => database.query("SELECT 1 FROM user_tokens").get() !== null);
  for (const row of ROWS) database.run(row);
  for (const table of TABLES) {
    const name = getTableName(table);
    database.run(`CREATE TABLE kept_${name} AS SELECT * FROM ${name}`);
  }
  let moves = 0;
  const rowsOf = (table: string) =>
    database.query<{ id: number }, []>(`SELECT rowid AS id FROM ${table} ORDER BY rowid`).all();
  /** Puts the rows back as they were, but for what processes cache by epochs: those go on. */
  const restore = database.transaction(() => {
    for (const table of TABLES) {
      const name = getTableName(table);
      if (name === "revisions") continue;
      database.run(`DELETE FROM ${name}`);
      database.run(`INSERT OR IGNORE INTO ${name} SELECT * FROM kept_${name}`);
    }
    database.run("DELETE FROM revisions");
    database.run("INSERT INTO revisions SELECT * FROM kept_revisions");
    moveEpochs();
  });

  const moveEpochs = () => {
    moves += 1;
    database.run(
      `UPDATE revisions SET number = number + ${moves} WHERE typeof(number) = 'integer' AND number < 1e9 AND name NOT IN ('audit', 'compatible_from')`,
    );
    database.run(
      "UPDATE credentials SET epoch = coalesce((SELECT number FROM revisions WHERE name = 'credentials'), epoch) WHERE typeof(epoch) = 'integer' AND epoch < 1e9",
    );
  };
  /** Whether the change of a cell was made; then it is noticed at once. */
  const damage = (statement: string): boolean => {
    try {
      database.run(statement);
    } catch {
      return false;
    }
    moveEpochs();
    return true;
  };
  // From here on rows are numbered as they are kept.
  restore();
  return {
    ...{ world, admin, bot, other, ask, token, qyapi, login, oauth, states, begin, back },
    ...{ database, rowsOf, restore, damage },
    [Symbol.asyncDispose]: async () => {
      database.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

type World = Awaited<ReturnType<typeof setup>>;

/** The main routes, each with a name; a change of each kind among them. */
async function answersOf({
  ask,
  admin,
  bot,
  token,
  qyapi,
  login,
  oauth,
}: World): Promise<[string, Answer][]> {
  const answers: [string, Answer][] = [];
  const note = async (name: string, answer: Promise<Answer>) => void answers.push([name, await answer]);
  for (const path of [
    ...["/v1/clients", "/v1/clients/bot", "/v1/clients/bot/keys", "/v1/apps", `/v1/apps/${WX.appId}`],
    ...[`/v1/apps/${MANAGED.id}`, `/v1/apps/${BROKEN.id}`, "/v1/audit", "/v1/audit/usage"],
    ...["/v1/environments", "/v1/environments/dev"],
    ...[`/v1/apps/${WX.appId}/deliveries`, `/v1/apps/${WX.appId}/deliveries/1`],
    ...[`/v1/apps/${WX.appId}/history`, `/v1/apps/${WX.appId}/history?from=1795000000000&step=day`],
    ...["/v1/audit/denials", "/v1/audit/verify", "/readyz", `/v1/apps/${WX.appId}/credentials/access_token`],
  ])
    await note(path, ask(admin, "GET", path));
  for (const appId of [WX.appId, MANAGED.id, BROKEN.id]) await note(`getXcx ${appId}`, token(bot, appId));
  await note("getQyapi", qyapi(bot));
  await note("login", login());
  await note("oauth", oauth());
  await note("clear", ask(bot, "GET", `/AccessToken/clearXcx?appid=${WX.appId}`));
  await note("unblock", ask(admin, "POST", `/v1/apps/${BROKEN.id}/unblock`));
  const rejected = "no-token-of-ours-0000000000000000000000";
  const replace = `/v1/apps/${MANAGED.id}/credentials/access_token/replace`;
  await note("replace", ask(admin, "POST", replace, { rejected }));
  await note("callbacks", ask(admin, "GET", "/v1/callbacks"));
  for (const [path, body] of CALLBACKS) await note(`set ${path}`, ask(admin, "PUT", path, body));
  for (const action of ["rotate", "finish"])
    await note(action, ask(admin, "POST", `${CALLBACK}/${action}`, action === "rotate" ? {} : undefined));
  await note("remove callbacks", ask(admin, "DELETE", CALLBACK));
  await note("disable", ask(admin, "PATCH", `/v1/apps/${MANAGED.id}`, { disabled: true }));
  await note("remove app", ask(admin, "DELETE", `/v1/apps/${BROKEN.id}`));
  await note("set client", ask(admin, "PATCH", "/v1/clients/bot", { rate_limit: 2000 }));
  await note("set environment", ask(admin, "PUT", "/v1/environments/dev", { codes: "raw" }));
  await note("remove environment", ask(admin, "DELETE", "/v1/environments/admin"));
  await note("remove client", ask(admin, "DELETE", "/v1/clients/bot"));
  return answers;
}

/** Of which tables each column has every value, as for every night: `all` or a name. Else one value has its turn. */
const WHOLE = process.env["DAMAGED_CELLS"];
/** Far more than it takes; a slow machine must not fail. */
const DEADLINE_MS = WHOLE === "all" ? 14_400_000 : 1_800_000;

test(
  "P4: whatever stands in any one cell of the database, nothing fails but the thing itself, and a revoked key stays revoked",
  async () => {
    await using t = await setup();
    const faults: string[] = [];
    let [turn, tried] = [0, 0];
    for (const table of TABLES) {
      const name = getTableName(table);
      expect([name, t.rowsOf(name).length]).not.toEqual([name, 0]);
      for (const { name: column } of Object.values(getTableColumns(table))) {
        const another = `(SELECT ${column} FROM ${name} WHERE rowid <> row.rowid LIMIT 1)`;
        const all = [...VALUES, another];
        turn += 1;
        // Those that a constraint keeps out have no turn.
        for (let [n, isDone] = [0, false]; n < all.length && !isDone; n++) {
          const value = all[(turn + n) % all.length] ?? "";
          const rows = t.rowsOf(name);
          const id = rows[(turn + n) % rows.length]?.id ?? 0;
          if (!t.damage(`UPDATE ${name} AS row SET ${column} = ${value} WHERE rowid = ${id}`)) continue;
          const found = await faultsOf(t, CONCERNS_ALL.has(name) || isConcerned(t, name, id));
          faults.push(...found.map((fault) => `${name}.${column} = ${value} in ${id}: ${fault}`));
          t.restore();
          tried += 1;
          isDone = WHOLE !== "all" && WHOLE !== name;
        }
      }
    }
    expect(faults).toEqual([]);
    expect(tried).toBeGreaterThan(100);
  },
  DEADLINE_MS,
);

/** What fails that must not; of the app and client that are asked for as well, unless the damage concerns them. */
async function faultsOf(t: World, mayConcern: boolean): Promise<string[]> {
  const faults: string[] = [];
  t.world.events.length = 0;
  t.world.clock.advance(11_000);
  // What other processes have changed is noticed.
  await t.world.administer("/v1/clients");
  await t.world.administer("/v1/apps/none", { method: "DELETE" });
  for (const path of [`/v1/apps/${WX.appId}/redirect-origins`, "/v1/environments", "/v1/verify-files"])
    if ((await t.ask(t.admin, "GET", path)).status >= 500) faults.push(path);
  for (const state of [...t.states, await t.begin()])
    if ((await t.back(state, "sandbox-code-web")) >= 500) faults.push("the return of a web login");
  const listed = await t.ask(t.admin, "GET", "/v1/clients/other/keys");
  if (listed.status !== 200 && !mayConcern) faults.push(`keys: ${listed.text}`);
  const key = String(listed.data?.["keys"]?.[0]?.key);
  const before = (await t.token(t.other, WX.appId)).code;
  if (before !== 0 && !mayConcern) faults.push(`another client gets ${before}`);
  const revoked = await t.ask(t.admin, "DELETE", `/v1/clients/other/keys/${key}`);
  const after = (await t.token(t.other, WX.appId)).code;
  if (revoked.status !== 200 && !mayConcern) faults.push(`revoke: ${revoked.text}`);
  if (revoked.status === 200 && after === 0) faults.push("the revoked key goes on working");
  for (const [route, { status, code, msg }] of await answersOf(t))
    if ((status >= 500 && status !== 503) || code === 500) faults.push(`${route}: ${status} ${code} ${msg}`);
  for (const path of ["/metrics", "/v1/audit/export"]) {
    const answer = await fetch(t.world.service.url + path, { headers: { "x-api-key": t.admin } });
    const text = await answer.text().catch(() => undefined);
    if (text === undefined || answer.status >= 500) faults.push(`${path}: ${answer.status}`);
  }
  for (const event of t.world.events)
    if (event.type === "request.failed") faults.push(`${event.route}: ${event.error} ${event.stack}`);
  return faults;
}

/** Of these, a damaged cell may concern everybody. */
const CONCERNS_ALL: ReadonlySet<string> = new Set(["keyring"]);

/** Whether the row is of the client, the key or the app that is asked for. */
function isConcerned({ database }: World, table: string, id: number): boolean {
  const at = { clients: "name", api_keys: "client", apps: "app_id", credentials: "app_id" }[table];
  if (at === undefined) return false;
  const kept = database
    .query<{ of: string }, [number]>(`SELECT ${at} AS of FROM kept_${table} WHERE rowid = ?`)
    .get(id);
  return ["other", "admin", WX.appId].includes(kept?.of ?? "");
}
