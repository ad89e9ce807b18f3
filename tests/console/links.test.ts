import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { ConsolePage } from "../support/console-page.ts";
import { Harness } from "../support/harness.ts";

const MINUTE_MS = 60_000;

async function setup() {
  const world = await Harness.create({ environment: { ANONYMOUS: "off" } });
  const makeLink = (client?: string) =>
    world.administer("/v1/console/links", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client }),
    });
  /** A link's way and token. */
  const link = async (client?: string) => {
    const { data } = await makeLink(client);
    const [, way = "", token = ""] = /^\/console\/#\/(setup|sign-in)\/(.*)$/.exec(String(data["path"])) ?? [];
    return { way, token };
  };
  const page = new ConsolePage(world);
  const setUp = (token: string, at = page) => at.send("POST", "/console/setup", { token });
  const follow = (token: string, at = page) => at.send("POST", "/console/session", { link: token });
  const dispose = () => world[Symbol.asyncDispose]();
  return { world, page, makeLink, link, setUp, follow, [Symbol.asyncDispose]: dispose };
}

test("a set-up link makes the first administrator, shows its key once and signs in with it", async () => {
  await using it = await setup();
  const { way, token } = await it.link();
  expect([way, token]).toEqual(["setup", expect.stringMatching(/^[\w-]{43}$/)]);
  const { status, data } = await it.setUp(token);
  expect([status, data]).toEqual([201, { key: expect.stringMatching(/^ats_/), me: expect.anything() }]);
  expect(data["me"]).toMatchObject({ client: "admin", is_admin: true });
  expect((await it.page.get("/v1/clients")).status).toBe(200);
  const bearer = { authorization: `Bearer ${data["key"]}` };
  expect((await it.world.get("/v1/clients", {}, { headers: bearer })).status).toBe(200);
  const { data: audit } = await it.page.get("/v1/audit");
  const entries = audit["entries"] as { action: string; client: string; detail: object }[];
  expect(entries.map(({ action, client }) => [action, client]).slice(0, 4)).toEqual([
    ["console.signed_in", "admin"],
    ["key.created", "(set-up link)"],
    ["client.created", "(set-up link)"],
    ["console.setup", "(set-up link)"],
  ]);
});

test("the first administrator's key is shown even when no session can begin", async () => {
  await using it = await setup();
  const { token } = await it.link();
  using database = new Database(it.world.databasePath);
  database.run(
    "create trigger full before insert on console_sessions begin select raise(abort, 'full'); end",
  );
  const { status, data } = await it.setUp(token);
  expect([status, data]).toEqual([201, { key: expect.stringMatching(/^ats_/) }]);
  const bearer = { authorization: `Bearer ${data["key"]}` };
  expect((await it.world.get("/v1/clients", {}, { headers: bearer })).status).toBe(200);
});

test("a set-up link works once, though it is used at the same moment by many", async () => {
  await using it = await setup();
  const { token } = await it.link();
  const pages = Array.from({ length: 8 }, () => new ConsolePage(it.world));
  const statuses = (await Promise.all(pages.map((page) => it.setUp(token, page)))).map(
    ({ status }) => status,
  );
  expect(statuses.filter((status) => status === 201)).toHaveLength(1);
  expect(statuses.filter((status) => status === 401)).toHaveLength(7);
  const clients = (await it.world.administer("/v1/clients")).data["clients"] as object[];
  expect(clients).toHaveLength(1);
});

test("there is one set-up link at a time: it ends after 15 minutes, by the next one, and once there is an administrator", async () => {
  await using it = await setup();
  const [first, second] = [await it.link(), await it.link()];
  expect((await it.setUp(first.token)).status).toBe(401);
  it.world.clock.advance(15 * MINUTE_MS);
  expect((await it.setUp(second.token)).status).toBe(401);
  const third = await it.link();
  await createAdmin(it.world, "boss");
  expect((await it.setUp(third.token)).status).toBe(409);
  const refused = await it.makeLink();
  expect([refused.status, refused.text]).toEqual([409, expect.stringContaining("console login")]);
});

test("a sign-in link signs its client in once, within five minutes, and as that client alone", async () => {
  await using it = await setup();
  await createClient(it.world, { name: "shop", grants: [{ apps: ["*"], actions: ["view"] }] });
  const { way, token } = await it.link("shop");
  expect(way).toBe("sign-in");
  expect((await it.setUp(token)).status).toBe(401);
  const { status, data } = await it.follow(token);
  expect([status, data["client"], data["is_admin"]]).toEqual([200, "shop", false]);
  expect((await it.page.get("/v1/apps")).status).toBe(200);
  expect((await it.page.get("/v1/clients")).status).toBe(403);
  expect((await it.follow(token, new ConsolePage(it.world))).status).toBe(401);
  const late = await it.link("shop");
  it.world.clock.advance(5 * MINUTE_MS);
  expect((await it.follow(late.token)).status).toBe(401);
  expect((await it.makeLink("nobody")).status).toBe(404);
});

test("a set-up link signs nobody in, and stays good for what it is for", async () => {
  await using it = await setup();
  const { token } = await it.link();
  expect((await it.follow(token)).status).toBe(401);
  expect((await it.setUp(token)).status).toBe(201);
});

test("no link is to be had over the network, by no administrator either", async () => {
  await using it = await setup();
  const key = await createAdmin(it.world);
  await it.page.signIn(key);
  for (const body of [{}, { client: "admin" }]) {
    expect((await it.page.send("POST", "/v1/console/links", body)).status).toBe(403);
    const headers = { authorization: `Bearer ${key}` };
    expect((await it.world.post("/v1/console/links", body, { headers })).status).toBe(403);
  }
  expect((await it.world.post("/v1/console/links", {})).status).toBe(403);
});

test("a link signs nobody in once its client is removed, nor another client of the name", async () => {
  await using it = await setup();
  const grants = [{ apps: ["*"], actions: ["view" as const] }];
  await createClient(it.world, { name: "shop", grants });
  const { token } = await it.link("shop");
  await it.world.administer("/v1/clients/shop", { method: "DELETE" });
  await createClient(it.world, { name: "shop", grants });
  expect((await it.follow(token)).status).toBe(401);
  expect((await it.follow((await it.link("shop")).token)).status).toBe(200);
});

test("a session by a link ends with its client, and is not that of another client of the name", async () => {
  await using it = await setup();
  const grants = [{ apps: ["*"], actions: ["view" as const] }];
  await createClient(it.world, { name: "shop", grants });
  await it.follow((await it.link("shop")).token);
  expect((await it.page.get("/v1/apps")).status).toBe(200);
  await it.world.administer("/v1/clients/shop", { method: "DELETE" });
  expect((await it.page.get("/v1/apps")).status).toBe(401);
  it.world.clock.advance(1);
  await createClient(it.world, { name: "shop", grants });
  expect((await it.page.get("/v1/apps")).status).toBe(401);
});
