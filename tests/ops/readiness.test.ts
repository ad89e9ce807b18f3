import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { Readiness } from "../../src/ops/readiness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { Harness, WX } from "../support/harness.ts";

/** A service, and a second connection to its database: what another process or an operator does to it. */
async function setup() {
  const world = await Harness.create();
  const other = new Database(world.databasePath, { readwrite: true });
  other.run("PRAGMA busy_timeout = 2000");
  const ready = async () => {
    // Past what is believed of the last look.
    world.clock.advance(1000);
    const answer = await world.get("/readyz");
    const parts = (answer.data["reasons"] as { part: string; message: string }[]).map(({ part }) => part);
    return { ...answer, parts };
  };
  const dispose = async () => {
    other.close();
    await world[Symbol.asyncDispose]();
  };
  return { world, other, ready, [Symbol.asyncDispose]: dispose };
}

const READY = { status: 200, code: 0, parts: [] };

test("a service that can do all of its work is ready, and says so in the one envelope", async () => {
  await using t = await setup();
  const answer = await t.ready();
  expect(answer).toMatchObject({ ...READY, msg: "success", data: { reasons: [] } });
  expect(answer.headers.get("trace-id")).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test("a database that can't be written makes it not ready, and it is ready again after the repair", async () => {
  await using t = await setup();
  expect(await t.ready()).toMatchObject(READY);
  // Another process has the write lock and does not give it back.
  t.other.run("BEGIN IMMEDIATE");

  const answer = await t.ready();
  expect(answer).toMatchObject({ status: 503, code: 503, parts: ["database"] });
  expect(answer.msg).toContain("数据库正忙");
  expect(answer.headers.get("trace-id")).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(answer.headers.get("content-type")).toBe("application/json; charset=utf-8");
  t.other.run("ROLLBACK");
  expect(await t.ready()).toMatchObject(READY);
});

test("P4: a living credential is handed out while the database can't be written", async () => {
  await using t = await setup();
  const get = () => t.world.get("/AccessToken/getXcx", { appid: WX.appId });
  const before = await get();
  t.other.run("BEGIN IMMEDIATE");
  expect(await t.ready()).toMatchObject({ status: 503 });
  expect((await get()).data["access_token"]).toBe(before.data["access_token"]);
  expect((await t.world.get("/livez")).status).toBe(200);
  t.other.run("ROLLBACK");
});

test("a proof that the master key does not open makes it not ready until it is put back", async () => {
  await using t = await setup();
  const { proof } = t.other.query<{ proof: string }, []>("SELECT proof FROM keyring").get()!;
  t.other.query("UPDATE keyring SET proof = ?").run(`${proof.slice(0, -4)}AAAA`);
  const answer = await t.ready();
  expect(answer).toMatchObject({ status: 503, code: 503, parts: ["key"] });
  expect(answer.text).not.toContain(proof.slice(10, 40));
  t.other.query("UPDATE keyring SET proof = ?").run(proof);
  expect(await t.ready()).toMatchObject(READY);

  t.other.run("CREATE TABLE kept AS SELECT * FROM keyring");
  t.other.run("DELETE FROM keyring");
  expect(await t.ready()).toMatchObject({ status: 503, parts: ["key"] });
  t.other.run("INSERT INTO keyring SELECT * FROM kept");
  expect(await t.ready()).toMatchObject(READY);
});

test("a missing migration makes it not ready", async () => {
  await using t = await setup();
  t.other.run("ALTER TABLE migrations RENAME TO moved");
  expect(await t.ready()).toMatchObject({ status: 503, parts: ["migrations"] });
  t.other.run("ALTER TABLE moved RENAME TO migrations");
  t.other.run("CREATE TABLE kept AS SELECT * FROM migrations ORDER BY name DESC LIMIT 1");
  t.other.run("DELETE FROM migrations WHERE name IN (SELECT name FROM kept)");
  expect(await t.ready()).toMatchObject({ status: 503, parts: ["migrations"] });
  t.other.run("INSERT INTO migrations SELECT * FROM kept");
  expect(await t.ready()).toMatchObject(READY);
});

test("every reason is told at once", async () => {
  await using t = await setup();
  t.other.run("DELETE FROM keyring");
  t.other.run("DELETE FROM migrations");
  t.other.run("BEGIN IMMEDIATE");
  expect((await t.ready()).parts).toEqual(["database", "key", "migrations"]);
  t.other.run("ROLLBACK");
});

test("the database is written at most once a second, however many ask", async () => {
  await using t = await setup();
  const version = () =>
    t.other.query<{ data_version: number }, []>("PRAGMA data_version").get()!.data_version;
  await t.ready();
  const before = version();
  await Promise.all(Array.from({ length: 50 }, () => t.world.get("/readyz")));
  expect(version()).toBe(before);
  t.world.clock.advance(1000);
  await Promise.all(Array.from({ length: 50 }, () => t.world.get("/readyz")));
  expect(version()).toBe(before + 1);
});

test("a request that is under way when the service begins to stop is told so", async () => {
  const look = Promise.withResolvers<[]>();
  const readiness = new Readiness(() => look.promise, new ManualClock());
  const asked = readiness.reasons();
  readiness.stopping();
  look.resolve([]);
  expect((await asked).map(({ part }) => part)).toEqual(["service"]);
});

test("a look at the store that fails is a reason, and no error", async () => {
  const readiness = new Readiness(() => Promise.reject(new Error("canary")), new ManualClock());
  const reasons = await readiness.reasons();
  expect(reasons.map(({ part }) => part)).toEqual(["database"]);
  expect(JSON.stringify(reasons)).not.toContain("canary");
});

test("the operators' endpoints are for trusted callers, as everything else", async () => {
  await using t = await setup();
  for (const path of ["/livez", "/readyz", "/metrics"]) {
    const refused = await t.world.get(path, {}, { headers: { "x-forwarded-for": "203.0.113.9" } });
    expect(refused.code).toBe(403);
    expect((await t.world.request(path, { method: "POST" })).code).toBe(405);
  }
});

test("the operators' endpoints are in the interactive documentation", async () => {
  await using t = await setup();
  const response = await fetch(`${t.world.service.url}/swagger/json`);
  const document = (await response.json()) as { paths: Record<string, { get: { responses: object } }> };
  const answers = (path: string) => Object.keys(document.paths[path]!.get.responses);
  expect(answers("/livez")).toEqual(["200"]);
  expect(answers("/readyz")).toEqual(["200", "503"]);
  expect(answers("/metrics")).toEqual(["200"]);
});
