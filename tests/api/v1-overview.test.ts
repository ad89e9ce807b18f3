import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WX } from "../support/harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import { addTicket, COMPONENT } from "../support/platforms.ts";

const DAY_MS = 86_400_000;
const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;

test("the overview counts apps by their state, and names the shortest lives and the fullest quotas", async () => {
  await using it = await ManagingHarness.create();
  await it.ask("GET", `/v1/apps/${CORP}_contacts/credentials/access_token`);
  it.world.clock.advance(60_000);
  await it.ask("GET", TOKEN);
  const { data } = await it.ask("GET", "/v1/overview");
  expect(data["counts"]).toEqual({
    ...{ fresh: 2, expiring: 0, failing: 0, blocked: 0, none: 1, disabled: 0, total: 3 },
  });
  expect(data["lives"]).toMatchObject([
    { app: `${CORP}_contacts`, kind: "access_token", state: "fresh" },
    { app: WX.appId, expires_at: it.world.clock.now() + 7_200_000, renew_at: expect.any(Number) },
  ]);
  // Calls are counted within a second.
  await Harness.until(async () => (await it.ask("GET", "/v1/overview")).data["quota"].length > 0);
  expect((await it.ask("GET", "/v1/overview")).data["quota"]).toEqual([
    { app: WX.appId, endpoint: "/cgi-bin/stable_token", calls: 1, limit: 500_000 },
  ]);
  expect(data["needs_you"]).toEqual([]);
  expect(data["service"]).toMatchObject({ nodes: 1, database: "SQLite", traffic: expect.any(Array) });
});

test("what needs somebody has its reason and its one action: a refusal, another fetcher, a key that ends", async () => {
  await using it = await ManagingHarness.create();
  const { world } = it;
  const { value } = (await it.ask("GET", TOKEN)).data;
  world.sandbox.killTokens(WX.appId);
  await it.ask("POST", `${TOKEN}/replace`, { rejected: value });
  world.sandbox.inject({
    kind: "error",
    errcode: 60020,
    errmsg: "not allow to access from your ip",
    times: 1,
  });
  await it.ask("GET", `/v1/apps/${CORP}_1000002/credentials/access_token`);
  const grants = [{ apps: [WX.appId], actions: ["view"] as const }];
  const now = world.clock.now();
  await createClient(world, { name: "ends", grants, keyExpiresAt: now + 6 * DAY_MS });
  await createClient(world, { name: "ends-later", grants, keyExpiresAt: now + 8 * DAY_MS });
  expect((await it.ask("GET", "/v1/overview")).data["needs_you"]).toEqual([
    {
      ...{ type: "blocked", app: `${CORP}_1000002`, at: now, action: "unblock" },
      message: expect.stringMatching(/^access_token, 60020: /),
    },
    { type: "foreign_refresh", app: WX.appId, at: now, action: "app", message: expect.any(String) },
    {
      ...{ type: "key_ends", client: "ends", at: now + 6 * DAY_MS, action: "client" },
      message: expect.stringMatching(/6天内到期 \(the key ats_\S+ ends within 6 days\)/),
    },
  ]);
});

test("a client sees of the overview what its apps are, and nothing of the service", async () => {
  await using it = await ManagingHarness.create();
  const { world } = it;
  await it.ask("GET", TOKEN);
  await it.ask("GET", `/v1/apps/${CORP}_contacts/credentials/access_token`);
  const key = await createClient(world, { name: "one", grants: [{ apps: [WX.appId], actions: ["view"] }] });
  const all = await createClient(world, { name: "all", grants: [{ apps: ["*"], actions: ["view"] }] });
  const of = async (bearer: string) => {
    const headers = { authorization: `Bearer ${bearer}` };
    return (await world.request("/v1/overview", { headers })).data;
  };
  const data = await of(key);
  expect(data["counts"]).toMatchObject({ fresh: 1, total: 1 });
  expect(data["lives"].map(({ app }: { app: string }) => app)).toEqual([WX.appId]);
  expect(data).not.toHaveProperty("service");
  expect(JSON.stringify(data)).not.toContain(CORP);
  expect(await of(all)).toMatchObject({ counts: { total: 3 }, service: { nodes: 1 } });
  const anonymous = (await world.request("/v1/overview")).data;
  expect(anonymous).toMatchObject({ counts: { total: 3 } });
  expect(anonymous).not.toHaveProperty("service");
  const grants = [{ apps: ["*"], actions: ["view" as const] }];
  await createClient(world, { name: "ends", grants, keyExpiresAt: world.clock.now() + DAY_MS });
  const needs = async (bearer: string) =>
    (await of(bearer))["needs_you"].map(({ type }: { type: string }) => type);
  expect([await needs(all), (await it.ask("GET", "/v1/overview")).data["needs_you"].length]).toEqual([[], 1]);
});

test("a platform whose tickets have ended needs somebody, and is well again with the next one", async () => {
  await using it = await ManagingHarness.create();
  const { id, secret } = COMPONENT;
  expect(
    (await it.ask("POST", "/v1/platforms", { kind: "component", id, secret, title: "Shops" })).status,
  ).toBe(201);
  const now = it.world.clock.now();
  const needs = async () => (await it.ask("GET", "/v1/overview")).data["needs_you"] as object[];
  // It was added just now.
  expect(await needs()).toEqual([]);
  await addTicket(it.world, id, now - 31 * 60_000);
  expect(await needs()).toMatchObject([
    { type: "ticket_missing", app: id, title: "Shops", at: now - 31 * 60_000, action: "app" },
  ]);
  await addTicket(it.world, id, now);
  expect(await needs()).toEqual([]);
});
