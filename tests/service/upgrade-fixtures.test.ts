import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { startService } from "../../src/service.ts";
import facts4 from "../fixtures/schema-0004/facts.json";
import facts5 from "../fixtures/schema-0005/facts.json";
import { ManualClock } from "../support/manual-clock.ts";
import { ask } from "../support/process-harness.ts";

/** What a former version wrote, by the number of its schema. */
const FACTS = { "0004": facts4, "0005": facts5 } as const;
const SCHEMAS = ["0004", "0005"] as const;
const SECRET = "f0e1d2c3b4a5968778695a4b3c2d1e0f";

/** The present service on a copy of the fixture, a moment after the former one was stopped. */
async function setup(schema: keyof typeof FACTS) {
  const facts = FACTS[schema];
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-upgrade-"));
  cpSync(join(import.meta.dir, `../fixtures/schema-${schema}`), folder, { recursive: true });
  // A checkout leaves them readable for everybody, which the service warns of.
  for (const name of ["accesstoken.db", "master.key"]) chmodSync(join(folder, name), 0o600);
  const clock = new ManualClock(facts.stopped_at + 1000);
  const sandbox = Sandbox.start({
    clock,
    weixinApps: facts.apps.map((appId) => ({ appId, secret: SECRET })),
    wecomApps: [],
  });
  const databasePath = join(folder, "accesstoken.db");
  const config = loadConfig({
    ENV_FILE: "",
    PORT: "0",
    DATABASE_URL: `file:${databasePath}`,
    WEIXIN_BASE_URL: sandbox.weixinUrl,
    WECOM_BASE_URL: sandbox.wecomUrl,
    ...Object.fromEntries(facts.apps.map((appId) => [`WEIXIN_SECRET_${appId}`, SECRET])),
  });
  const service = await startService(config, { clock });
  const as = (key: string, path: string) => ask(service.url, path, {}, { headers: { "x-api-key": key } });
  const dispose = async () => {
    await service.stop("test");
    await sandbox.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { service, sandbox, databasePath, as, facts, ...facts.api_keys, [Symbol.asyncDispose]: dispose };
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

test("rolled keys and settings of schema 0005 are as they were", async () => {
  await using it = await setup("0005");
  const { admin, rolled, rolled_to: rolledTo } = facts5.api_keys;
  for (const key of [rolled, rolledTo]) expect((await it.as(key, "/v1/apps")).status).toBe(200);
  const { data } = await it.as(admin, "/v1/settings");
  expect(data).toMatchObject({ anonymous: "off", cors_origins: facts5.cors });
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
