import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { type PushEndpoint, PushSender } from "../../src/sandbox/push-sender.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { startService } from "../../src/service.ts";
import facts4 from "../fixtures/schema-0004/facts.json";
import facts5 from "../fixtures/schema-0005/facts.json";
import facts6 from "../fixtures/schema-0006/facts.json";
import facts7 from "../fixtures/schema-0007/facts.json";
import facts9 from "../fixtures/schema-0009/facts.json";
import facts10 from "../fixtures/schema-0010/facts.json";
import { ConsolePage } from "../support/console-page.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { Child } from "../support/child.ts";
import { ask, binary } from "../support/process-harness.ts";

/** What a former version wrote, by the number of its schema. */
const FACTS = {
  "0004": facts4,
  "0005": facts5,
  "0006": facts6,
  "0007": facts7,
  "0009": facts9,
  "0010": facts10,
} as const;
const SCHEMAS = ["0004", "0005", "0006", "0007", "0009", "0010"] as const;
/** Those with environments and pushes of their own. */
const WITH_PUSHES = ["0007", "0009", "0010"] as const;
/** Those with a console. */
const WITH_CONSOLE = ["0009", "0010"] as const;
const SECRET = "f0e1d2c3b4a5968778695a4b3c2d1e0f";

/** A copy of the fixture. */
function copyOf(schema: keyof typeof FACTS): string {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-upgrade-"));
  cpSync(join(import.meta.dir, `../fixtures/schema-${schema}`), folder, { recursive: true });
  // A checkout leaves them readable for everybody, which the service warns of.
  for (const name of readdirSync(folder)) chmodSync(join(folder, name), 0o600);
  return folder;
}

/** The present service on a copy of the fixture, a moment after the former one was stopped. */
async function setup(schema: keyof typeof FACTS) {
  const facts = FACTS[schema];
  const folder = copyOf(schema);
  const clock = new ManualClock(facts.stopped_at + 1000);
  const sandbox = Sandbox.start({
    clock,
    weixinApps: facts.apps.map((appId) => ({ appId, secret: SECRET })),
    wecomApps: [],
  });
  const databasePath = join(folder, "accesstoken.db");
  const envFile = join(folder, ".env");
  const config = loadConfig({
    ENV_FILE: existsSync(envFile) ? envFile : "",
    PORT: "0",
    // The file names both relative to the folder in which the service ran.
    DATABASE_URL: `file:${databasePath}`,
    WEIXIN_BASE_URL: sandbox.weixinUrl,
    WECOM_BASE_URL: sandbox.wecomUrl,
    MASTER_KEY_FILE: join(folder, "master.key"),
    ...Object.fromEntries(facts.apps.map((appId) => [`WEIXIN_SECRET_${appId}`, SECRET])),
  });
  const service = await startService(config, { clock });
  const as = (key: string, path: string) => ask(service.url, path, {}, { headers: { "x-api-key": key } });
  const dispose = async () => {
    await service.stop("test");
    await sandbox.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    clock,
    service,
    sandbox,
    databasePath,
    as,
    facts,
    ...facts.api_keys,
    [Symbol.asyncDispose]: dispose,
  };
}

test.each(SCHEMAS)("clients and keys of schema %s are as they were", async (schema) => {
  await using it = await setup(schema);
  const { facts } = it;
  const { clients } = (await it.as(it.admin, "/v1/clients")).data;
  expect(clients).toMatchObject(facts.clients);
  for (const [client, keys] of Object.entries(facts.keys)) {
    const now = (await it.as(it.admin, `/v1/clients/${client}/keys`)).data["keys"] as Record<
      string,
      unknown
    >[];
    expect(now.map(({ last_used_at: _used, ...key }) => key)).toEqual(
      (keys as Record<string, unknown>[]).map(({ last_used_at: _used, ...key }) => key),
    );
  }
  expect((await it.as(it.revoked, "/v1/apps")).status).toBe(401);
  expect((await ask(it.service.url, "/v1/apps")).status).toBe(401);
});

test.each(["0005", "0006", "0007", "0009", "0010"] as const)(
  "rolled keys and settings of schema %s are as they were",
  async (schema) => {
    await using it = await setup(schema);
    const { api_keys: keys, cors } = FACTS[schema];
    for (const key of [keys.rolled, keys.rolled_to]) expect((await it.as(key, "/v1/apps")).status).toBe(200);
    const { data } = await it.as(keys.admin, "/v1/settings");
    expect(data).toMatchObject({ anonymous: "off", cors_origins: cors });
  },
);

test("each environment that clients of schema 0006 carried is there, production by its name, and none of a client that was removed", async () => {
  await using it = await setup("0006");
  const { environments } = (await it.as(it.admin, "/v1/environments")).data;
  const createdAt = (name: string) => it.facts.clients.find(({ client }) => client === name)?.created_at;
  const of = (client: string, environment: string, production: boolean) => ({
    environment,
    production,
    codes: production ? "raw" : "relay",
    created_at: createdAt(client),
    updated_at: createdAt(client),
    version: 1,
  });
  expect(environments).toEqual([
    of("erp", "PRD", true),
    of("admin", "admin", false),
    of("crm", "dev", false),
    of("shop", "prod", true),
    of("h5", "st", false),
  ]);
});

test.each(["0006", "0007", "0009", "0010"] as const)(
  "apps of schema %s are all there, those of its configuration and the managed one, and callers lose nothing",
  async (schema) => {
    await using it = await setup(schema);
    const facts = FACTS[schema];
    for (const app of facts.managed)
      expect((await it.as(it.admin, `/v1/apps/${app.app}`)).data).toMatchObject(app);
    const { apps } = (await it.as(it.admin, "/v1/apps")).data as { apps: { app: string }[] };
    expect(apps.map(({ app }) => app)).toEqual([...facts.apps, ...facts.managed.map(({ app }) => app)]);
    const path = `/v1/apps/${facts.apps[0]}/credentials/access_token`;
    for (const key of [facts.api_keys.erp, facts.api_keys.crm])
      expect((await it.as(key, path)).data["value"]).toStartWith("atv1_");
    expect(it.sandbox.calls()).toBe(0);
  },
);

test.each(WITH_PUSHES)(
  "environments, pushes, redirect origins and verification files of schema %s are as they were",
  async (schema) => {
    await using it = await setup(schema);
    const facts = FACTS[schema];
    const app = `/v1/apps/${facts.apps[0]}`;
    const shown = async (path: string) => (await it.as(it.admin, path)).data;
    expect(await shown("/v1/environments")).toEqual({ environments: facts.environments });
    expect(await shown(`${app}/callbacks`)).toEqual(facts.callbacks);
    expect(await shown(`${app}/redirect-origins`)).toEqual(facts.redirect_origins);
    expect(await shown("/v1/verify-files")).toEqual(facts.verify_files);
    const host = { headers: { host: "wx.example.com" } };
    const [name] = facts.verify_files.verify_files;
    const file = await fetch(`${it.service.url}/${name}`, host);
    expect([file.status, await file.text()]).toEqual([200, "a1B2c3D4e5F6g7H8"]);
  },
);

test.each(WITH_PUSHES)(
  "P9: what waits for a target of schema %s is delivered, and WeChat's retry of it is taken for the same",
  async (schema) => {
    await using it = await setup(schema);
    const facts = FACTS[schema];
    const [app = ""] = facts.apps;
    const listed = async () => (await it.as(it.admin, `/v1/apps/${app}/deliveries`)).data["deliveries"];
    expect(await listed()).toEqual(facts.deliveries);
    const { token, aes_key: encodingAesKey } = facts.push;
    const endpoint: PushEndpoint = {
      ...{ platform: "weixin", url: `${it.service.url}/callback/${app}`, receiveId: app },
      ...{ token, encodingAesKey, mode: "secure", format: "xml" },
    };
    const message = { FromUserName: "o1", MsgType: "text", Content: "hello", MsgId: 24_000_000_000_000_002n };
    const attempts = await new PushSender(it.clock).push(endpoint, message);
    expect(attempts).toMatchObject([{ status: 200, verdict: "accepted" }]);
    expect(await listed()).toEqual(facts.deliveries);
    // Whoever pulled it before has not acknowledged it.
    it.clock.advance(31_000);
    const { deliveries } = (await it.as(it.crm, `/v1/apps/${app}/deliveries?wait=1`)).data;
    expect(deliveries).toMatchObject([{ id: 2, body: expect.stringContaining("<Encrypt>") }]);
  },
);

test.each(WITH_CONSOLE)(
  "who was signed in to the console of schema %s still is, and what happened to an app is still told",
  async (schema) => {
    await using it = await setup(schema);
    const facts = FACTS[schema];
    const page = new ConsolePage(it);
    page.cookie = facts.console.cookie;
    // The cookie's name has the port in it.
    const host = { host: "127.0.0.1:34567" };
    const { status, data } = await page.get("/v1/console/sessions", host);
    const [{ used_at: _used, current: _current, ...session } = {}] = facts.sessions;
    expect([status, data["sessions"]]).toMatchObject([200, [{ ...session, current: true }]]);
    const { from, step } = facts.history;
    const history = await page.get(`/v1/apps/${facts.apps[1]}/history?step=${step}&from=${from}`, host);
    expect(history.data).toMatchObject({ attempts: facts.history.attempts });
    expect(history.data["series"]).toEqual(facts.history.series);
    using database = new Database(it.databasePath, { readonly: true });
    expect(database.query("SELECT count(*) FROM refresh_log").values()).toEqual([[facts.refreshes]]);
  },
);

test("notification channels, and when a backup was made last, of schema 0010 are as they were", async () => {
  await using it = await setup("0010");
  expect((await it.as(it.admin, "/v1/notifications/channels")).data).toEqual(facts10.channels);
  using database = new Database(it.databasePath, { readonly: true });
  const milestones = database.query("SELECT name, at FROM milestones ORDER BY name").all();
  for (const milestone of facts10.milestones) expect(milestones).toContainEqual(milestone);
});

test.each(SCHEMAS)(
  "tokens and tickets of schema %s are returned without a call upstream, and grants still hold",
  async (schema) => {
    await using it = await setup(schema);
    const { facts } = it;
    for (const { app, kind, ...credential } of facts.credentials) {
      const { data } = await it.as(it.shop, `/v1/apps/${app}/credentials/${kind}`);
      expect([app, kind, data]).toMatchObject([app, kind, credential]);
    }
    expect((await it.as(it.crm, `/v1/apps/${facts.apps[1]}/credentials/access_token`)).status).toBe(403);
    expect(it.sandbox.calls()).toBe(0);
    const call = await fetch(`${it.service.url}/cgi-bin/getcallbackip?access_token=${facts.virtual}`);
    expect(await call.json()).toMatchObject({ ip_list: expect.any(Array) });
  },
);

test.each(SCHEMAS)(
  "P3: P7: the audit of schema %s is all there, verifies and goes on, and so are its counts",
  async (schema) => {
    await using it = await setup(schema);
    const { facts } = it;
    using database = new Database(it.databasePath, { readonly: true });
    const columns =
      "id, at, client, environment, address, action, app, outcome, trace_id, token_digest, detail";
    expect(database.query<object, []>(`SELECT ${columns} FROM audit_entries ORDER BY id`).all()).toEqual(
      facts.audit,
    );
    const counts = database.query<object, []>("SELECT kind, key, n FROM counts ORDER BY id").all();
    expect(counts.slice(0, facts.counts.length)).toEqual(facts.counts);
    const verified = async () => (await it.as(it.admin, "/v1/audit/verify")).data;
    expect(await verified()).toMatchObject({ intact: true, entries: facts.audit.length });
    const body = JSON.stringify({ client: "later", environment: "dev", grants: [] });
    const headers = { "content-type": "application/json", "x-api-key": it.admin };
    expect((await ask(it.service.url, "/v1/clients", {}, { method: "POST", headers, body })).status).toBe(
      201,
    );
    expect(await verified()).toMatchObject({ intact: true, entries: facts.audit.length + 1 });
  },
);

test("the program goes on in the folder of schema 0006 by its own configuration, and its command line too", async () => {
  const folder = copyOf("0006");
  try {
    const nowhere = "http://127.0.0.1:9";
    const env = { PORT: "0", WEIXIN_BASE_URL: nowhere, WECOM_BASE_URL: nowhere, LOG_LEVEL: "info" };
    const run = (...args: string[]) => new Child([...binary(), ...args], { cwd: folder, env });
    await using list = run("environments", "list", "--json");
    expect(await list.exited()).toBe(0);
    const names = ["PRD", "admin", "dev", "prod", "st"];
    const listed = JSON.parse(list.stdout) as { environments: object[] };
    expect(listed.environments).toMatchObject(names.map((environment) => ({ environment })));
    await using service = run("serve");
    const url = await service.serviceUrl();
    const headers = { "x-api-key": facts6.api_keys.shop };
    const { status, data } = await ask(url, "/v1/apps", {}, { headers });
    expect([status, data["apps"]]).toMatchObject([200, facts6.apps.map((app) => ({ app }))]);
    await using verify = run("audit", "verify", "--json");
    expect(await verify.exited()).toBe(0);
    expect(JSON.parse(verify.stdout)).toMatchObject({ intact: true, entries: facts6.audit.length });
    service.signal("SIGTERM");
    expect(await service.exited()).toBe(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
