import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appName } from "../../src/apps/app.ts";
import { loadConfig } from "../../src/config.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { startService } from "../../src/service.ts";
import type { Service } from "../../src/service/running-service.ts";
import facts from "../fixtures/schema-0003/facts.json";
import { Child } from "../support/child.ts";
import { type Answer, CORP, Harness } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { ask, binary } from "../support/process-harness.ts";

const FIXTURE = join(import.meta.dir, "../fixtures/schema-0003");
const [STABLE, CLASSIC, CLEARED] = ["wx0000000000000001", "wx0000000000000002", "wx0000000000000009"];
const WECOM = `${CORP}_1000002`;
const KEYS = facts.api_keys;

/** A copy of the fixture, as a version of schema 0003 left it. */
class FormerFolder {
  readonly folder = mkdtempSync(join(tmpdir(), "accesstoken-upgrade-"));
  readonly databasePath = join(this.folder, "accesstoken.db");

  constructor() {
    cpSync(FIXTURE, this.folder, { recursive: true });
    // A checkout leaves them readable for everybody, which the service refuses.
    for (const name of ["accesstoken.db", "master.key", ".env"]) chmodSync(join(this.folder, name), 0o600);
  }

  /** The rows of a query of what the service made of the database. */
  rows<Row>(query: string): Row[] {
    using database = new Database(this.databasePath, { readonly: true });
    return database.query<Row, []>(query).all();
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The present service on a copy of the fixture, a second after the former one was stopped. */
class UpgradeHarness {
  readonly former = new FormerFolder();
  readonly clock = new ManualClock(facts.stopped_at - 59_000);
  readonly sandbox: Sandbox;
  readonly events: ServiceEvent[] = [];
  #service: Service | undefined;

  private constructor() {
    this.clock.advance(60_000);
    const weixinApps = Array.from({ length: 9 }, (_, n) => ({
      appId: `wx000000000000000${n + 1}`,
      secret: String(n + 1).repeat(32),
    }));
    const wecomApps = ["1000002", "contacts"].map((agent) => ({
      corpId: CORP,
      agent,
      secret: `wecomSecretOf${agent}-aaaaaaaaaaaaaaaa`,
    }));
    this.sandbox = Sandbox.start({ clock: this.clock, weixinApps, wecomApps });
  }

  /** `change` is what is done to its configuration first. */
  static async create(change = (text: string) => text): Promise<UpgradeHarness> {
    const it = new UpgradeHarness();
    const env = join(it.former.folder, ".env");
    writeFileSync(env, change(readFileSync(env, "utf8")));
    const events = new EventBus();
    events.subscribe((event) => it.events.push(event));
    const { folder, databasePath } = it.former;
    const config = loadConfig({
      ENV_FILE: join(folder, ".env"),
      // The file names both relative to the folder in which the service runs.
      DATABASE_URL: `file:${databasePath}`,
      MASTER_KEY_FILE: join(folder, "master.key"),
      WEIXIN_BASE_URL: it.sandbox.weixinUrl,
      WECOM_BASE_URL: it.sandbox.wecomUrl,
    });
    it.#service = await startService(config, { clock: it.clock, events });
    return it;
  }

  get service(): Service {
    if (!this.#service) throw new Error("the service has not been started");
    return this.#service;
  }

  /** Asks as the command line of this machine. */
  async administer(path: string, init: RequestInit = {}): Promise<Answer["data"]> {
    const response = await this.service.handle(new Request(`http://localhost${path}`, init));
    return ((await response.json()) as Answer).data;
  }

  /** Asks over the network with an API key. */
  ask(key: string, path: string, query: Record<string, string> = {}, init: RequestInit = {}) {
    return ask(this.service.url, path, query, { ...init, headers: { "x-api-key": key } });
  }

  /** The answer of one of WeChat's own paths to whoever holds a token. */
  async callWith(token: string, path: string, query: Record<string, string> = {}) {
    const search = new URLSearchParams({ ...query, access_token: token }).toString();
    return (await (await fetch(`${this.service.url}${path}?${search}`)).json()) as Record<string, unknown>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service?.stop("test");
    await this.sandbox.stop();
    this.former[Symbol.dispose]();
  }
}

test("P6: nothing opens by an upgrade: where there were clients and ANONYMOUS is not set, a key is still needed", async () => {
  await using it = await UpgradeHarness.create((text) => text.replace("ANONYMOUS=off", ""));
  const { code } = await ask(it.service.url, "/AccessToken/getXcx", { appid: STABLE });
  expect(code).toBe(401);
  expect(await it.administer("/v1/settings")).toMatchObject({ anonymous: "off", anonymous_by: "database" });
});

test("the apps, clients and keys of the version before are as they were", async () => {
  await using it = await UpgradeHarness.create();
  const { apps } = await it.administer("/v1/apps");
  expect((apps as { app: string }[]).map(({ app }) => app)).toEqual(facts.apps.map(({ app }) => app));
  for (const former of facts.apps) {
    // What depends on the moment, and on which backoffs are still active.
    const { credentials, ...settings } = former;
    const app = await it.administer(`/v1/apps/${former.app}`);
    expect(app).toMatchObject(settings);
    for (const [kind, { generation, ...lives }] of Object.entries(credentials)) {
      const { issued_at, expires_at } = { issued_at: undefined, expires_at: undefined, ...lives };
      const now = (app["credentials"] as Record<string, object>)[kind];
      expect([former.app, kind, now]).toMatchObject([former.app, kind, { generation }]);
      if (issued_at !== undefined) expect(now).toMatchObject({ issued_at, expires_at });
    }
  }
  const { clients } = await it.administer("/v1/clients");
  expect(clients).toMatchObject(facts.clients.map(({ client }) => ({ client })));
  for (const client of facts.clients) {
    expect(await it.administer(`/v1/clients/${client.client}`)).toEqual(client);
    const { keys } = await it.administer(`/v1/clients/${client.client}/keys`);
    expect(keys).toEqual((facts.keys as Record<string, unknown[]>)[client.client]);
  }
  for (const [name, { api_key, expected }] of Object.entries(KEYS)) {
    const { status } = await it.ask(api_key, `/v1/apps/${STABLE}/credentials/access_token`);
    expect([name, status]).toEqual([name, expected]);
  }
  // Grants and policies say the same as before.
  const { api_key: shop } = KEYS.shop;
  expect((await it.ask(shop, `/v1/apps/${WECOM}/credentials/jsapi_ticket`)).status).toBe(200);
  expect((await it.ask(shop, `/v1/apps/wx0000000000000004/credentials/access_token`)).status).toBe(403);
  expect((await it.ask(shop, "/v1/clients")).status).toBe(403);
  const denied = await it.callWith(facts.tokens.virtual, "/cgi-bin/clear_quota");
  expect(denied["errcode"]).toBe(48001);
  expect(it.sandbox.calls()).toBe(0);
});

test("tokens and tickets that were valid are returned without a call upstream, and known when they come back", async () => {
  await using it = await UpgradeHarness.create();
  const { api_key: admin } = KEYS.admin;
  for (const { app, kind, value, issued_at, expires_at } of facts.credentials) {
    const { data } = await it.ask(admin, `/v1/apps/${app}/credentials/${kind}`);
    expect([app, kind, data]).toMatchObject([app, kind, { value, issued_at, expires_at }]);
  }
  const ticketOf = (app: string, kind: string) =>
    facts.credentials.find((each) => each.app === app && each.kind === kind)?.value;
  const tokenOf = (app: string) => ticketOf(app, "access_token") ?? "";
  // The one before the forced refresh is good for five minutes.
  for (const token of [facts.tokens.virtual, tokenOf(STABLE), facts.tokens.previous]) {
    const answer = await it.callWith(token, "/cgi-bin/ticket/getticket", { type: "jsapi" });
    expect(answer).toMatchObject({ errcode: 0, ticket: ticketOf(STABLE, "jsapi_ticket") });
  }
  for (const token of [facts.tokens.virtual_wecom, tokenOf(WECOM)]) {
    const answer = await it.callWith(token, "/cgi-bin/get_jsapi_ticket");
    expect(answer).toMatchObject({ errcode: 0, ticket: ticketOf(WECOM, "jsapi_ticket") });
  }
  // A token of a secret that the service doesn't hold.
  const secret = "8".repeat(32);
  const foreign = await it.ask(admin, "/AccessToken/getXcx", { appid: "wx0000000000000008", secret });
  expect(foreign.data["access_token"]).toBe(facts.tokens.foreign);
  // What had died or was rejected is not returned again.
  expect(
    await it.callWith(facts.tokens.replaced, "/cgi-bin/ticket/getticket", { type: "jsapi" }),
  ).toMatchObject({
    errcode: 42001,
  });
  expect(it.sandbox.calls()).toBe(0);
  const { data } = await it.ask(admin, `/v1/apps/${CLEARED}/credentials/access_token`);
  expect(data["value"]).not.toBe(facts.tokens.cleared);
  expect(it.sandbox.calls("/cgi-bin/stable_token")).toBeGreaterThan(0);
});

test("P3: P7: every audit entry is there, the chain verifies and goes on, and the counts moved to their table", async () => {
  await using it = await UpgradeHarness.create();
  const entries = it.former.rows<Record<string, unknown>>(
    "SELECT id, at, client, environment, address, action, app, outcome, trace_id, token_digest, detail FROM audit_entries ORDER BY id",
  );
  expect(entries).toEqual(facts.audit);
  const { entries: shown } = await it.administer("/v1/audit?limit=200");
  expect((shown as { id: number }[]).map(({ id }) => id)).toEqual(
    facts.audit.map(({ id }) => id).toReversed(),
  );
  expect(await it.administer("/v1/audit/verify")).toMatchObject({
    intact: true,
    entries: facts.audit.length,
  });

  const { usage } = await it.administer("/v1/audit/usage?limit=200");
  const { denials } = await it.administer("/v1/audit/denials?limit=200");
  // Where nothing is concerned the answer has no such field.
  const shownAs = (rows: readonly object[]) =>
    rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== "")));
  const sorted = (rows: readonly object[]) =>
    rows.map((row) => JSON.stringify(row, Object.keys(row).toSorted())).toSorted();
  expect(sorted(usage as object[])).toEqual(sorted(shownAs(facts.reads)));
  expect(sorted(denials as object[])).toEqual(sorted(shownAs(facts.refusals)));

  await it.administer(`/v1/apps/wx0000000000000003`, {
    method: "PATCH",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ title: "Shop" }),
  });
  expect(await it.administer("/v1/audit/verify")).toMatchObject({
    intact: true,
    entries: facts.audit.length + 1,
  });
});

test("P4: what was not to be asked for is still not, and the forced refreshes of the day are still used", async () => {
  await using it = await UpgradeHarness.create();
  const { api_key: admin } = KEYS.admin;
  const codes: Record<string, number> = {};
  for (const [path, until] of [
    ["wx0000000000000006/credentials/access_token", untilOf("weixin:wx0000000000000006:stable")],
    ["wx0000000000000007/credentials/access_token", untilOf("weixin:wx0000000000000007:stable:access_token")],
    [`${CORP}_contacts/credentials/jsapi_ticket`, untilOf(`wecom:${CORP}`)],
  ] as const) {
    const { code, text } = await it.ask(admin, `/v1/apps/${path}`);
    codes[path.slice(0, path.indexOf("/"))] = code;
    const { retry_after } = JSON.parse(text) as { retry_after: number };
    expect([path, retry_after]).toEqual([path, Math.ceil((until - it.clock.now()) / 1000)]);
  }
  expect(codes).toEqual({
    wx0000000000000006: 40125,
    wx0000000000000007: 45009,
    [`${CORP}_contacts`]: 45009,
  });
  const app = await it.administer(`/v1/apps/wx0000000000000006`);
  expect(app["credentials"]).toMatchObject({
    access_token: { state: "blocked", last_failure: { code: 40125 } },
  });
  expect(await it.administer(`/v1/apps/${STABLE}`)).toMatchObject({ forced_refreshes_today: { calls: 1 } });
  // Within 30 s of the one that the former version made.
  const body = JSON.stringify({ force: true });
  const headers = { "content-type": "application/json", "x-api-key": admin };
  const forced = await ask(
    it.service.url,
    `/v1/apps/${STABLE}/credentials/access_token/refresh`,
    {},
    {
      method: "POST",
      headers,
      body,
    },
  );
  expect(forced.status).toBe(503);
  expect(it.sandbox.calls()).toBe(0);
});

test("P2: credentials of the version before are renewed ahead of their end, without anybody asking", async () => {
  await using it = await UpgradeHarness.create();
  type Row = {
    platform: "weixin" | "wecom";
    app_id: string;
    slot: string;
    kind: string;
    left: number | null;
  };
  const planned = it.former.rows<Row>(
    "SELECT platform, app_id, slot, kind, expires_at - renew_at AS left FROM credentials WHERE value IS NOT NULL",
  );
  const leftOf = Object.fromEntries(
    planned.map(({ platform, app_id, slot, kind, left }) => [
      `${appName({ platform, appId: app_id, name: slot })} ${kind}`,
      left,
    ]),
  );
  for (const { app, kind } of facts.credentials) {
    const expected = kind !== "access_token" ? 600_000 : app.startsWith("ww") ? -1000 : 285_000;
    expect([app, kind, leftOf[`${app} ${kind}`]]).toEqual([app, kind, expected]);
  }
  expect(leftOf[`${CLEARED} access_token`]).toBeNull();
  const former = facts.credentials.find(({ app, kind }) => app === CLASSIC && kind === "access_token");
  it.clock.advance((former?.expires_at ?? 0) - 280_000 - it.clock.now());
  await it.service.tick();
  await Harness.until(() => it.sandbox.calls("/cgi-bin/token") > 0);
});

test("the program starts in the folder of the version before, on its own configuration, and its command line too", async () => {
  using former = new FormerFolder();
  const nowhere = "http://127.0.0.1:9";
  const env = { WEIXIN_BASE_URL: nowhere, WECOM_BASE_URL: nowhere, LOG_LEVEL: "info" };
  const run = (...args: string[]) => new Child([...binary(), ...args], { cwd: former.folder, env });
  await using service = run("serve");
  const url = await service.serviceUrl();
  const headers = { "x-api-key": KEYS.shop.api_key };
  const { status, data } = await ask(url, "/v1/apps", {}, { headers });
  expect([status, data["apps"]]).toMatchObject([200, facts.apps.map(({ app }) => ({ app }))]);
  await using verify = run("audit", "verify", "--json");
  expect(await verify.exited()).toBe(0);
  expect(JSON.parse(verify.stdout)).toMatchObject({ intact: true, entries: facts.audit.length });
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
});

function untilOf(key: string): number {
  return facts.pauses.find((pause) => pause.key === key)?.until ?? 0;
}
