import { expect, test } from "bun:test";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { ConsolePage } from "../support/console-page.ts";
import { Harness, WX } from "../support/harness.ts";

async function setup(environment: Record<string, string> = {}) {
  const world = await Harness.create({ environment: { ANONYMOUS: "off", ...environment } });
  const key = await createAdmin(world);
  return {
    world,
    key,
    page: new ConsolePage(world),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test("a key signs in to the console; then the page may ask /v1 what that client may, until it signs out", async () => {
  await using it = await setup();
  const { page, key } = it;
  expect((await page.get("/console/session")).status).toBe(401);
  expect((await page.get("/v1/apps")).status).toBe(401);
  const { status, data } = await page.signIn(key);
  expect(status).toBe(200);
  expect(data).toEqual({
    client: "admin",
    environment: "dev",
    is_admin: true,
    grants: [{ apps: ["*"], actions: ["admin"] }],
    expires_at: it.world.clock.now() + 12 * 3_600_000,
    idle_seconds: 1800,
    version: expect.any(String),
  });
  expect((await page.get("/console/session")).data).toEqual(data);
  expect((await page.get("/v1/apps")).status).toBe(200);
  expect((await page.send("DELETE", "/console/session")).status).toBe(200);
  expect(page.setCookie).toEndWith("Max-Age=0");
  expect((await page.get("/v1/apps")).status).toBe(401);
});

test("a session may do what its client may, and no more", async () => {
  await using it = await setup();
  const key = await createClient(it.world, {
    name: "shop",
    grants: [{ apps: [WX.appId], actions: ["token:read"] }],
  });
  expect((await it.page.signIn(key)).data["is_admin"]).toBe(false);
  expect((await it.page.get(`/v1/apps/${WX.appId}/credentials/access_token`)).status).toBe(200);
  expect((await it.page.get("/v1/clients")).status).toBe(403);
});

test("a session ends after 30 minutes without a request, and after 12 hours in any case", async () => {
  await using it = await setup();
  const { page, key, world } = it;
  await page.signIn(key);
  for (let minutes = 0; minutes < 12 * 60 - 29; minutes += 29) {
    expect((await page.get("/v1/apps")).status).toBe(200);
    world.clock.advance(29 * 60_000);
  }
  world.clock.advance(29 * 60_000);
  expect((await page.get("/v1/apps")).status).toBe(401);
  await page.signIn(key);
  world.clock.advance(30 * 60_000);
  expect((await page.get("/console/session")).status).toBe(401);
});

test("a wall clock that was set back keeps nobody out who signs in, and ends no session that is used", async () => {
  await using it = await setup();
  const { page, key, world } = it;
  await page.signIn(key);
  world.clock.jumpWall(-8 * 3_600_000);
  for (let minutes = 0; minutes < 60; minutes += 20) {
    expect((await page.get("/v1/apps")).status).toBe(200);
    world.clock.advance(20 * 60_000);
  }
  expect((await page.signIn(key)).status).toBe(200);
  expect((await page.get("/v1/apps")).status).toBe(200);
});

test("a client may sign in thirty times in a minute, each client for itself", async () => {
  await using it = await setup();
  const statuses = new Set<number>();
  for (let n = 0; n < 30; n++) statuses.add((await it.page.signIn(it.key)).status);
  expect([...statuses, (await it.page.signIn(it.key)).status]).toEqual([200, 429]);
  const other = await createAdmin(it.world, "other");
  expect((await it.page.signIn(other)).status).toBe(200);
  it.world.clock.advance(2000);
  expect((await it.page.signIn(it.key)).status).toBe(200);
});

test("what the page asks by itself does not keep a session that nobody uses", async () => {
  await using it = await setup();
  const { page, key, world } = it;
  await page.signIn(key);
  for (let minutes = 0; minutes < 30; minutes += 6) {
    for (const path of ["/v1/apps", "/console/session"])
      expect((await page.get(path, { "x-background": "1" })).status).toBe(200);
    world.clock.advance(6 * 60_000);
  }
  expect((await page.get("/v1/apps")).status).toBe(401);
});

test("to open the sign-in page is no denial, to come with the cookie of a session that has ended is one", async () => {
  await using it = await setup();
  const { page, key, world } = it;
  const denied = () => world.events.filter(({ type }) => type === "access.denied").length;
  expect((await page.get("/console/session")).status).toBe(401);
  expect(denied()).toBe(0);
  await page.signIn(key);
  world.clock.advance(12 * 3_600_000);
  expect((await page.get("/console/session")).status).toBe(401);
  expect(denied()).toBe(1);
});
