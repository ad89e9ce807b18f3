import { expect, test as declared } from "bun:test";
import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { startService } from "../../src/service.ts";
import facts0 from "../fixtures/postgres-0000/facts.json";
import facts3 from "../fixtures/postgres-0003/facts.json";
import facts4 from "../fixtures/postgres-0004/facts.json";
import { ConsolePage } from "../support/console-page.ts";
import { fakeTime, hasFakeTime, NO_FAKE_TIME } from "../support/fake-time.ts";
import { PATIENT } from "../support/harness.ts";
import { PostgresServer, postgresTest } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";

/** What a former version wrote, by the number of its schema. */
const FACTS = { "0000": facts0, "0003": facts3, "0004": facts4 } as const;
const SECRET = "f0e1d2c3b4a5968778695a4b3c2d1e0f";
const COLUMNS = "id, at, client, environment, address, action, app, outcome, trace_id, token_digest, detail";

// The database's time is what counts there: its tokens live for two hours.
const test = hasFakeTime ? postgresTest : declared.skip;
if (!hasFakeTime) console.error(NO_FAKE_TIME);

/** The present service on the database that a former one wrote, by the time at which that one was stopped. */
async function setup(schema: keyof typeof FACTS) {
  const facts = FACTS[schema];
  const fixture = join(import.meta.dir, `../fixtures/postgres-${schema}`);
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-upgrade-"));
  const keyPath = join(folder, "master.key");
  cpSync(join(fixture, "master.key"), keyPath);
  chmodSync(keyPath, 0o600);
  const aheadSeconds = Math.ceil((facts.stopped_at + 1000 - Date.now()) / 1000);
  const offset = `${aheadSeconds < 0 ? "" : "+"}${aheadSeconds}s`;
  const server = await PostgresServer.start({}, fakeTime({ offset }));
  const databaseUrl = await server.createDatabase();
  const connect = () => server.connect(new URL(databaseUrl).pathname.slice(1));
  {
    await using client = connect();
    await client.unsafe(await Bun.file(join(fixture, "dump.sql")).text()).simple();
  }
  const sandbox = Sandbox.start({
    weixinApps: facts.apps.map((appId) => ({ appId, secret: SECRET })),
    wecomApps: [],
  });
  const config = loadConfig({
    ENV_FILE: "",
    PORT: "0",
    DATABASE_URL: databaseUrl,
    MASTER_KEY_FILE: keyPath,
    WEIXIN_BASE_URL: sandbox.weixinUrl,
    WECOM_BASE_URL: sandbox.wecomUrl,
    ...Object.fromEntries(facts.apps.map((appId) => [`WEIXIN_SECRET_${appId}`, SECRET])),
  });
  const service = await startService(config, PATIENT);
  const as = (key: string, path: string, put?: object) =>
    ask(
      service.url,
      path,
      {},
      put
        ? {
            method: "PUT",
            headers: { "x-api-key": key, "content-type": "application/json" },
            body: JSON.stringify(put),
          }
        : { headers: { "x-api-key": key } },
    );
  /** The rows of a statement, bigints as numbers. */
  const rows = async (text: string): Promise<Record<string, unknown>[]> => {
    await using client = connect();
    const found: Record<string, unknown>[] = await client.unsafe(text);
    return found.map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [name, NUMBERS.has(name) ? Number(value) : value]),
      ),
    );
  };
  const dispose = async () => {
    await service.stop("test");
    await sandbox.stop();
    server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { service, sandbox, as, rows, facts, ...facts.api_keys, [Symbol.asyncDispose]: dispose };
}

const NUMBERS: ReadonlySet<string> = new Set(["id", "at", "n"]);

test.each(["0000", "0003", "0004"] as const)(
  "P3: a database on PostgreSQL of schema %s goes on: apps, clients, keys, tokens, audit, and environments",
  async (schema) => {
    await using it = await setup(schema);
    const { facts } = it;
    const shown = async (path: string, key = it.admin) => (await it.as(key, path)).data;
    expect((await shown("/v1/clients"))["clients"]).toMatchObject(facts.clients);
    for (const [client, keys] of Object.entries(facts.keys)) {
      const now: Record<string, unknown>[] = (await shown(`/v1/clients/${client}/keys`))["keys"];
      const withoutUse = ({ last_used_at: _used, ...key }: Record<string, unknown>) => key;
      expect(now.map(withoutUse)).toEqual(keys.map(withoutUse));
    }
    for (const key of [it.rolled, it.rolled_to]) expect((await it.as(key, "/v1/apps")).status).toBe(200);
    expect((await it.as(it.revoked, "/v1/apps")).status).toBe(401);
    expect(await shown("/v1/settings")).toMatchObject({ anonymous: "off", cors_origins: facts.cors });
    const { apps } = (await shown("/v1/apps")) as { apps: { app: string }[] };
    expect(apps.map(({ app }) => app)).toEqual([...facts.apps, ...facts.managed.map(({ app }) => app)]);
    for (const app of facts.managed) expect(await shown(`/v1/apps/${app.app}`)).toMatchObject(app);

    const createdAt = (name: string) => facts.clients.find(({ client }) => client === name)?.created_at;
    const environment = (name: string, client: string, production: boolean) => ({
      ...{ environment: name, production, codes: production ? "raw" : "relay" },
      ...{ created_at: createdAt(client), updated_at: createdAt(client), version: 1 },
    });
    // Those of the first schema are made of its clients.
    const environments =
      "environments" in facts
        ? facts.environments
        : [
            environment("PRD", "erp", true),
            environment("admin", "admin", false),
            environment("dev", "crm", false),
            environment("prod", "shop", true),
            environment("st", "h5", false),
          ];
    expect((await shown("/v1/environments"))["environments"]).toEqual(environments);
    if ("console" in facts) {
      const page = new ConsolePage(it);
      page.cookie = facts.console.cookie;
      // The cookie's name has the port in it.
      expect((await page.get("/v1/console/sessions", { host: "127.0.0.1:34567" })).status).toBe(200);
      const app = `/v1/apps/${facts.apps[0]}`;
      const { callback_url: _callback, ...callbacks } = facts.callbacks;
      expect(await shown(`${app}/callbacks`)).toEqual(callbacks);
      const { return_url: _return, ...origins } = facts.redirect_origins;
      expect(await shown(`${app}/redirect-origins`)).toEqual(origins);
      expect((await it.rows("SELECT count(*)::int AS n FROM refresh_log"))[0]).toEqual({
        n: facts.refreshes,
      });
    }

    if ("channels" in facts) expect(await shown("/v1/notifications/channels")).toEqual(facts.channels);

    for (const { app, kind, ...credential } of facts.credentials)
      expect(await shown(`/v1/apps/${app}/credentials/${kind}`, it.shop)).toMatchObject(credential);
    expect((await it.as(it.crm, `/v1/apps/${facts.apps[1]}/credentials/access_token`)).status).toBe(403);
    expect(it.sandbox.calls()).toBe(0);

    const audit = await it.rows(`SELECT ${COLUMNS} FROM audit_entries ORDER BY id`);
    expect(audit).toEqual(facts.audit);
    const counts = await it.rows("SELECT kind, key, n FROM counts ORDER BY id");
    expect(counts.slice(0, facts.counts.length)).toEqual(facts.counts);
    const made = await it.as(it.admin, "/v1/environments/later", { production: false });
    expect(made.status).toBe(201);
    const verified = await shown("/v1/audit/verify");
    expect(verified).toMatchObject({ intact: true, entries: facts.audit.length + 1 });

    const call = await fetch(`${it.service.url}/cgi-bin/getcallbackip?access_token=${facts.virtual}`);
    expect(await call.json()).toMatchObject({ ip_list: expect.any(Array) });
  },
  240_000,
);
