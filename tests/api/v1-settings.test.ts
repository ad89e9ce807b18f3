import { expect, test } from "bun:test";
import { hostname } from "node:os";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { Harness, WECOM, WX } from "../support/harness.ts";

const SETTINGS = "/v1/settings";

/** A service with an administrator, who asks with a key, and callers without one from this machine. */
async function setup(environment: Record<string, string> = {}) {
  const world = await Harness.create({ environment });
  const headers = { "x-api-key": await createAdmin(world), "content-type": "application/json" };
  const ask = (path: string, method = "GET", body?: unknown) =>
    world.request(path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return {
    world,
    ask,
    /** The code for a caller without a key. */
    anonymous: async () => (await world.get("/AccessToken/getXcx", { appid: WX.appId })).code,
    change: (body: unknown) => ask(SETTINGS, "PATCH", body),
    ready: async () => (await world.get("/readyz")).data["anonymous"],
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test("creating clients changes nothing for callers without a key; ending anonymous access does, at once and for good", async () => {
  await using t = await setup();
  await createClient(t.world, { name: "one", grants: [{ apps: ["*"], actions: ["token:read"] }] });
  expect([await t.anonymous(), await t.ready()]).toEqual([0, "on"]);
  const ended = await t.change({ anonymous: "off" });
  const off = { anonymous: "off", anonymous_by: "database" };
  expect([ended.status, ended.data]).toMatchObject([200, off]);
  expect([await t.anonymous(), await t.ready()]).toEqual([401, "off"]);
  await t.world.stop();
  await t.world.start();
  expect([await t.anonymous(), (await t.ask(SETTINGS)).data]).toMatchObject([401, off]);
  await t.change({ anonymous: "on" });
  expect(await t.anonymous()).toBe(0);
});

test("P7: a change of a setting is audited, and not made when it can't be", async () => {
  await using t = await setup();
  await t.change({ anonymous: "off" });
  const { data } = await t.world.administer("/v1/audit?limit=1");
  expect(data["entries"]).toMatchObject([
    { client: "admin", action: "setting.changed", detail: { anonymous: "off" } },
  ]);
  expect((await t.ask("/v1/audit/verify")).data["intact"]).toBeTrue();
});

test("while ANONYMOUS is set it wins, and the answer says so", async () => {
  await using t = await setup({ ANONYMOUS: "on" });
  expect((await t.change({ anonymous: "off" })).data).toMatchObject({
    anonymous: "on",
    anonymous_by: "environment",
  });
  expect(await t.anonymous()).toBe(0);
  await t.world.stop();
  await t.world.start({ ANONYMOUS: "" });
  expect(await t.anonymous()).toBe(401);
});

test("settings are for administrators, and a misspelt one is refused", async () => {
  await using t = await setup();
  const key = await createClient(t.world, {
    name: "one",
    grants: [{ apps: ["*"], actions: ["token:read"] }],
  });
  for (const path of [SETTINGS, `${SETTINGS}/anonymous-callers`]) {
    expect((await t.world.get(path)).status).toBe(403);
    expect((await t.world.get(path, {}, { headers: { "x-api-key": key } })).status).toBe(403);
  }
  expect((await t.change({ anonymous: "maybe" })).status).toBe(400);
  expect((await t.change({ anonimous: "off" })).status).toBe(400);
});

test("callers without a key are listed by address and app, those of the last day alone", async () => {
  await using t = await setup({ TRUSTED_PROXIES: "127.0.0.1", TRUSTED_NETWORKS: "10.0.0.0/8" });
  const from = (address: string) =>
    t.world.get("/AccessToken/getXcx", { appid: WX.appId }, { headers: { "x-forwarded-for": address } });
  const listed = async () => (await t.ask(`${SETTINGS}/anonymous-callers`)).data["callers"];
  await from("10.0.0.1");
  await Harness.until(async () => (await listed()).length === 1);
  t.world.clock.advance(2 * 86_400_000);
  for (const address of ["10.0.0.8", "10.0.0.9", "10.0.0.8"]) await from(address);
  await Harness.until(async () => (await listed()).length === 2);
  expect(await listed()).toEqual([
    { caller: "(anonymous 10.0.0.8)", app: WX.appId, count: 2 },
    { caller: "(anonymous 10.0.0.9)", app: WX.appId, count: 1 },
  ]);
  const usage = async (client: string) =>
    (await t.ask(`/v1/audit/usage?client=${encodeURIComponent(client)}`)).data["usage"].length;
  expect([await usage("(anonymous)"), await usage("(anonymous 10.0.0.8)")]).toEqual([3, 1]);
});

test("origins are changed without a restart, in the place of CORS_ORIGINS and back to them", async () => {
  const [one, two] = ["https://one.example", "https://two.example"];
  await using t = await setup({ CORS_ORIGINS: one });
  const allowed = async () => {
    const list = [];
    for (const origin of [one, two]) {
      const headers = { origin, "access-control-request-method": "POST" };
      const url = `${t.world.service.url}/JsSDK/getJsApiSign`;
      const { status } = await fetch(url, { method: "OPTIONS", headers });
      if (status === 204) list.push(origin);
    }
    return list;
  };
  const by = async () => (await t.ask(SETTINGS)).data["cors_origins_by"];
  expect([await allowed(), await by()]).toEqual([[one], "environment"]);
  expect((await t.change({ cors_origins: [two] })).data["cors_origins"]).toEqual([two]);
  expect([await allowed(), await by()]).toEqual([[two], "database"]);
  await t.change({ cors_origins: [] });
  expect(await allowed()).toEqual([]);
  const { data } = await t.world.administer("/v1/audit?limit=1");
  expect(data["entries"]).toMatchObject([{ action: "setting.changed", detail: { cors_origins: [] } }]);
  for (const wrong of [
    "*",
    "https://one.example/",
    "https://*.example",
    "one.example",
    "HTTPS://ONE.example",
    "",
  ])
    expect([wrong, (await t.change({ cors_origins: [two, wrong] })).status]).toEqual([wrong, 400]);
  await t.change({ anonymous: "on" });
  expect(await allowed()).toEqual([]);
  await t.change({ cors_origins: null });
  expect([await allowed(), await by()]).toEqual([[one], "environment"]);
});

test("an administrator sees the configuration in force without its secrets, and nobody else sees any of it", async () => {
  const proxy = { user: "canary-of-the-proxy", password: "passcanary" };
  await using t = await setup({
    UPSTREAM_PROXY: `http://${proxy.user}:${proxy.password}@127.0.0.1:9`,
    ALLOWED_HOSTS: "tokens.example.com",
  });
  const { status, text, data } = await t.ask(`${SETTINGS}/configuration`);
  expect(status).toBe(200);
  for (const secret of [WX.secret, WECOM.secret, ...Object.values(proxy)])
    for (const part of [secret.slice(0, 8), secret.slice(-8)]) expect(text).not.toContain(part);
  expect(data).toMatchObject({ host: hostname(), apps: 3 });
  expect(data["variables"]).toContainEqual(
    expect.objectContaining({ name: "ALLOWED_HOSTS", value: "tokens.example.com", origin: "environment" }),
  );
  expect(data["variables"]).toContainEqual(
    expect.objectContaining({ name: "UPSTREAM_PROXY", value: "http://[secret]@127.0.0.1:9/" }),
  );
  const other = await createClient(t.world, {
    name: "viewer",
    grants: [{ apps: ["*"], actions: ["view", "metrics:read"] }],
  });
  const asked = await t.world.request(`${SETTINGS}/configuration`, { headers: { "x-api-key": other } });
  expect([asked.status, asked.text.includes("tokens.example.com")]).toEqual([403, false]);
});
