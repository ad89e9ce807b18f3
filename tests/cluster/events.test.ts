import { expect, test as sqliteTest } from "bun:test";
import { loadConfig } from "../../src/config.ts";
import { startService } from "../../src/service.ts";
import type { Service } from "../../src/service/running-service.ts";
import { createAdmin } from "../support/access-harness.ts";
import { EventStreamReader } from "../support/event-stream.ts";
import { Harness, WX } from "../support/harness.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { postgresTest } from "../support/postgres-server.ts";
import { ClusterServices } from "./cluster-services.ts";

const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;

/** Two processes of one database, and an administrator's key. */
interface Two extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly services: readonly Service[];
  readonly key: string;
}

async function onSqlite(): Promise<Two> {
  const world = await Harness.create();
  const key = await createAdmin(world);
  const config = loadConfig({
    ENV_FILE: "",
    PORT: "0",
    DATABASE_URL: `file:${world.databasePath}`,
    WEIXIN_BASE_URL: world.sandbox.weixinUrl,
    WECOM_BASE_URL: world.sandbox.wecomUrl,
    [`WEIXIN_SECRET_${WX.appId}`]: WX.secret,
  });
  const { clock } = world;
  const second = await startService(config, { clock });
  return {
    ...{ clock, key, services: [world.service, second] },
    async [Symbol.asyncDispose]() {
      await second.stop("test");
      await world[Symbol.asyncDispose]();
    },
  };
}

async function onPostgres(): Promise<Two> {
  const it = await ClusterServices.start(2);
  const grants = [{ apps: ["*"], actions: ["admin"] }];
  const policy = { preset: "all" };
  await it.manage("/v1/clients", { client: "admin", environment: "dev", grants, delivery: "real", policy });
  const { api_key: key } = await it.manage("/v1/clients/admin/keys", {});
  const { clock, services } = it;
  const asAdmin = { "x-api-key": String(key) };
  // The other one has to learn of the key.
  await Harness.until(async () => (await fetch(`${services[1]!.url}/v1/apps`, { headers: asAdmin })).ok);
  return { clock, services, key: String(key), [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() };
}

const ENGINES = [
  ["SQLite", sqliteTest, onSqlite],
  ["PostgreSQL", postgresTest, onPostgres],
] as const;

for (const [engine, test, start] of ENGINES) {
  /** Resolves when `condition` holds; meanwhile time passes, in which processes look for changes. */
  const pass = (clock: ManualClock, condition: () => boolean) =>
    Harness.until(() => {
      clock.advance(30);
      return condition();
    });
  const ask = async ({ key }: Two, service: Service, path: string, init: RequestInit = {}) =>
    fetch(service.url + path, { ...init, headers: { "x-api-key": key, ...(init.headers as object) } });

  test(`on ${engine} a stream of one process tells what another has changed, and resumes there`, async () => {
    await using it = await start();
    const [a, b] = it.services as [Service, Service];
    using stream = await EventStreamReader.open(b.url, it.key);
    const { data } = (await (await ask(it, a, TOKEN)).json()) as { data: { expires_at: number } };
    await pass(it.clock, () => stream.events.length > 0);
    expect(stream.events[0]?.data).toMatchObject({ app: WX.appId, expires_at: data.expires_at });
    const { lastId } = stream;
    using other = await EventStreamReader.open(a.url, it.key);
    stream[Symbol.dispose]();
    it.clock.advance(11_000);
    expect((await ask(it, b, TOKEN, { method: "DELETE" })).status).toBe(200);
    await pass(it.clock, () => other.events.length > 0);
    using resumed = await EventStreamReader.open(a.url, it.key, lastId);
    await resumed.until(1);
    expect(resumed.events).toMatchObject([{ type: "credential", data: { app: WX.appId } }]);
  });

  test(`on ${engine} a wait in one process ends when another gets a new credential`, async () => {
    await using it = await start();
    const [a, b] = it.services as [Service, Service];
    const etag = (await ask(it, a, TOKEN)).headers.get("etag") ?? "";
    // Both processes have the same ETag for it.
    const unchanged = await ask(it, b, TOKEN, { headers: { "if-none-match": etag } });
    expect(unchanged.status).toBe(304);
    const answers: Response[] = [];
    void ask(it, b, `${TOKEN}?wait=50`, { headers: { "if-none-match": etag } }).then((response) =>
      answers.push(response),
    );
    it.clock.advance(11_000);
    const body = JSON.stringify({ force: true });
    const headers = { "content-type": "application/json" };
    const refreshed = await ask(it, a, `${TOKEN}/refresh`, { method: "POST", headers, body });
    const { data } = (await refreshed.json()) as { data: { value: string } };
    await pass(it.clock, () => answers.length > 0);
    expect(answers[0]!.status).toBe(200);
    const told = (await answers[0]!.json()) as { data: { value: string } };
    expect(told.data.value).toBe(data.value);
  });

  test(`on ${engine} a stream ends when another process revokes its key`, async () => {
    await using it = await start();
    const [a, b] = it.services as [Service, Service];
    using stream = await EventStreamReader.open(b.url, it.key);
    const path = `/v1/clients/admin/keys/${it.key.slice(0, 12)}`;
    expect((await ask(it, a, path, { method: "DELETE" })).status).toBe(200);
    await pass(it.clock, () => stream.isEnded);
  });
}
