import { expect, test } from "bun:test";
import { ClientAdministration } from "../../src/access/client-administration.ts";
import { ClientDirectory } from "../../src/access/client-directory.ts";
import type { ClientStore } from "../../src/access/client.ts";
import { MemoryClientStore } from "../access/memory-client-store.ts";
import { createClient } from "../support/access-harness.ts";
import { Harness, WX } from "../support/harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";

const GRANTS = [{ apps: [WX.appId], actions: ["token:read"] as const }];

/** A service with an administrator and two clients, and a hand at the first one's row. */
async function setup() {
  const managing = await ManagingHarness.create();
  const { world, database } = managing;
  const keys = { bot: "", other: "" };
  for (const name of ["bot", "other"] as const)
    keys[name] = await createClient(world, { name, grants: GRANTS, networks: ["127.0.0.0/8"] });
  const read = async (name: keyof typeof keys) =>
    (await world.get("/AccessToken/getXcx", { appid: WX.appId }, { headers: { "x-api-key": keys[name] } }))
      .code;
  /** Changes cells of the first client, and has them read. */
  const damage = (set: string, table = "clients", column = "name") => {
    database.run(`UPDATE ${table} SET ${set} WHERE ${column} = 'bot'`);
    database.run("UPDATE revisions SET number = number + 1 WHERE name = 'clients'");
  };
  const damaged = () => world.events.flatMap((event) => (event.type === "store.damaged" ? [event.key] : []));
  const listed = async () =>
    (await managing.ask("GET", "/v1/clients")).data["clients"].map(
      ({ client, damaged: of }: Record<string, unknown>) => [client, of ?? []],
    );
  return {
    ...{ managing, world, database, keys, read, damage, damaged, listed },
    [Symbol.asyncDispose]: () => managing[Symbol.asyncDispose](),
  };
}

/** What is put into a row, and which of its columns can't be read then. */
const DAMAGE: readonly (readonly [set: string, column: string])[] = [
  ["grants = 'no JSON'", "grants"],
  [`grants = '[{"apps":"wx1","actions":["admin"]}]'`, "grants"],
  ["grants = '[null]'", "grants"],
  ["grants = x'5b5d'", "grants"],
  ["networks = 'no CIDR'", "networks"],
  ["networks = '10.0.0.0/8,'", "networks"],
  ["policy = '{'", "policy"],
  ["delivery = 'REAL'", "delivery"],
  ["environment = x'00'", "environment"],
  ["rate_limit = 'many'", "rate_limit"],
  ["rate_limit = -1", "rate_limit"],
  ["concurrency = 9e99", "concurrency"],
  ["expires_at = 'never'", "expires_at"],
  ["created_at = 9223372036854775807", "created_at"],
  ["updated_at = 1.5", "updated_at"],
  ["version = 'x'", "version"],
];

test.each(DAMAGE)(
  "a client with %s may do nothing, is marked, and nobody else is concerned",
  async (set, column) => {
    await using t = await setup();
    t.damage(set);
    expect(await t.listed()).toEqual([
      ["admin", []],
      ["bot", [column]],
      ["other", []],
    ]);
    expect([await t.read("bot"), await t.read("other")]).toEqual([403, 0]);
    expect(t.damaged()).toEqual(["clients:bot"]);
    // Every change of the others takes effect, and the damaged one can be put right.
    const [{ key }] = (await t.managing.ask("GET", "/v1/clients/other/keys")).data["keys"];
    expect((await t.managing.ask("DELETE", `/v1/clients/other/keys/${key}`)).status).toBe(200);
    expect(await t.read("other")).toBe(401);
    const settings = {
      ...{ environment: "dev", grants: GRANTS, networks: [], expires_at: null, rate_limit: null },
      ...{ concurrency: null, delivery: "real", policy: { preset: "all" } },
    };
    const mended = await t.managing.ask("PATCH", "/v1/clients/bot", settings);
    expect([mended.status, mended.data["damaged"]]).toEqual([200, undefined]);
    expect(await t.read("bot")).toBe(0);
  },
);

test("a change of a damaged client sets what can't be read, or is refused; it can be removed", async () => {
  await using t = await setup();
  t.damage("networks = '10.0.0.0/33'");
  const refused = await t.managing.ask("PATCH", "/v1/clients/bot", { rate_limit: 5 });
  expect([refused.status, refused.msg]).toEqual([409, expect.stringContaining("networks")]);
  t.damage("version = 'x'");
  expect((await t.managing.ask("DELETE", "/v1/clients/bot")).status).toBe(200);
  expect((await t.listed()).map(([name]: [string]) => name)).toEqual(["admin", "other"]);
  expect(await t.read("bot")).toBe(401);
});

test.each(["expires_at = 'x'", "created_at = 9e99", "label = x'00'", "prefix = 'ats_x'", "digest = 'beef'"])(
  "a key with %s is accepted no more, and listed",
  async (set) => {
    await using t = await setup();
    t.damage(set, "api_keys", "client");
    const { data } = await t.managing.ask("GET", "/v1/clients/bot/keys");
    expect([401, 403]).toContain(await t.read("bot"));
    expect(await t.read("other")).toBe(0);
    expect(data["keys"]).toMatchObject([{ state: "damaged" }]);
    expect(t.damaged()[0]).toStartWith("api_keys:");
  },
);

test.each(["NULL", "'x'", "9223372036854775807", "x'00'"])(
  "a revoked key stays revoked when %s takes the place of the time",
  async (value) => {
    await using t = await setup();
    const [{ key }] = (await t.managing.ask("GET", "/v1/clients/bot/keys")).data["keys"];
    await t.managing.ask("DELETE", `/v1/clients/bot/keys/${key}`);
    t.damage(`revoked_at = ${value}`, "api_keys", "client");
    await t.listed();
    expect(await t.read("bot")).toBe(401);
  },
);

test("a rejected token of another app is still healed beside a client whose grants can't be read", async () => {
  await using t = await setup();
  t.damage("grants = 'no JSON', expires_at = 9000000000000");
  const get = () =>
    t.world.get("/AccessToken/getXcx", { appid: WX.appId }, { headers: { "x-api-key": t.keys.other } });
  const token = String((await get()).data["access_token"]);
  const answer = await t.managing.ask("POST", `/v1/apps/${WX.appId}/credentials/access_token/replace`, {
    rejected: token,
  });
  expect(answer.status).toBeLessThan(500);
});

test("a change that can't be read back is 503 and says that it is stored", async () => {
  const store = new MemoryClientStore();
  store.add({ name: "bot", grants: [] });
  const clock = new ManualClock();
  const directory = new ClientDirectory(store, store.changes, clock);
  await directory.refresh();
  const breakDown = async () => {
    store.changes.raise("clients");
    store.load = () => Promise.reject(new Error("the disk is gone"));
  };
  const administration = new ClientAdministration({
    store: Object.assign(store, { remove: breakDown, revokeKey: breakDown }) as unknown as ClientStore,
    directory,
    environments: { isProduction: () => false, refresh: async () => undefined },
    clock,
  });
  const actor = { client: "admin", environment: "", address: "", traceId: "" };
  for (const change of [
    () => administration.revokeKey("bot", "ats_00000000", { actor }),
    () => administration.remove("bot", { actor }),
  ]) {
    const failure = await failureOf(change());
    expect([failure.code, failure.message]).toEqual(["unavailable", expect.stringContaining("已保存")]);
  }
});

test("clients that can't be read for more than a second make it not ready, are logged once, and those known go on", async () => {
  await using t = await setup();
  const ready = async () =>
    (await t.world.get("/readyz")).data["reasons"].map(({ part }: { part: string }) => part);
  t.world.clock.advance(1000);
  expect(await ready()).toEqual([]);
  t.database.run("ALTER TABLE clients RENAME TO moved");
  t.database.run("UPDATE revisions SET number = number + 1 WHERE name = 'clients'");
  expect(await t.read("bot")).toBe(0);
  await Harness.until(() => t.world.events.some(({ type }) => type === "access.unreadable"));
  t.world.clock.advance(1001);
  expect(await ready()).toEqual(["access"]);
  expect(await t.read("bot")).toBe(0);
  const changed = await t.managing.ask("PATCH", "/v1/clients/bot", { rate_limit: 5 });
  expect(changed.status).toBe(503);
  expect(t.world.events.filter(({ type }) => type === "access.unreadable")).toHaveLength(1);
  t.database.run("ALTER TABLE moved RENAME TO clients");
  t.world.clock.advance(1001);
  expect(await ready()).toEqual([]);
});

test("a start without readable clients serves nobody by a key and nobody without one, says so, and recovers", async () => {
  await using t = await setup();
  await t.world.stop();
  t.database.run("ALTER TABLE clients RENAME TO moved");
  t.world.events.length = 0;
  await t.world.start({ ANONYMOUS: "" });
  expect(t.world.events.map(({ type }) => type)).toContain("access.unreadable");
  expect(await t.read("bot")).toBe(503);
  expect((await t.world.get("/AccessToken/getXcx", { appid: WX.appId })).code).toBe(401);
  t.world.clock.advance(1001);
  t.database.run("ALTER TABLE moved RENAME TO clients");
  await Harness.until(async () => (await t.read("bot")) === 0);
});
