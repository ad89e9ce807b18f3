import { expect } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MILESTONES } from "../../src/ops/milestones.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import { postgresAddress } from "../../src/store/postgres/address.ts";
import { systemClock } from "../../src/clock.ts";
import { SetUp, expectTroubles } from "../support/doctor-harness.ts";
import { Pgbouncer, pgbouncerTest } from "../support/pgbouncer.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";

/** A folder with a configuration for a database that has its tables and lacks nothing. */
async function setup(server?: PostgresServer) {
  const on = server ?? (await PostgresServer.shared());
  const url = await on.createDatabase();
  const at = new SetUp(mkdtempSync(join(tmpdir(), "accesstoken-doctor-")));
  at.write([
    ["PORT", "0"],
    ["DATABASE_URL", url],
    ["MASTER_KEY_FILE", "key/master.key"],
  ]);
  const store = await openPostgresStore({
    address: postgresAddress(url, { passwordFile: undefined, passFile: undefined }),
    masterKey: undefined,
    masterKeyFile: at.path("key/master.key"),
    clock: systemClock,
    onKeyCreated: () => undefined,
  });
  for (const name of MILESTONES.filter((each) => each !== "backup_failed"))
    await store.milestones.reach(name, { at: Date.now(), detail: {} });
  store.close();
  const dispose = async () => {
    on.drop(url);
    rmSync(at.folder, { recursive: true });
  };
  return { at, url, on, [Symbol.asyncDispose]: dispose };
}

const OFFLINE = ["--offline"];

test("on PostgreSQL a set-up that lacks nothing has no trouble, and its clock and audit are looked at", async () => {
  await using world = await setup();
  const { code, checks } = await world.at.diagnose(OFFLINE);
  expectTroubles({ code, checks }, []);
  const looked = checks.filter(({ state }) => state === "ok").map(({ name }) => name);
  for (const name of ["postgres", "clock", "sealed_rows", "audit", "schema", "versions"] as const)
    expect(looked).toContain(name);
});

test("a PostgreSQL that is away, a database that is not there, and one of another program are told apart", async () => {
  await using world = await setup();
  const { at, url, on } = world;
  at.set({ DATABASE_URL: "postgres://postgres@127.0.0.1:1/none" });
  expectTroubles(await at.diagnose(OFFLINE), [[19, "fail", /address, port, firewall and sslmode/]]);
  at.set({ DATABASE_URL: on.urlOf("nowhere") });
  expectTroubles(await at.diagnose(OFFLINE), [[19, "fail", /create it, or correct DATABASE_URL/]]);
  const other = await on.createDatabase();
  await using sql = on.connect(new URL(other).pathname.slice(1));
  await sql.unsafe("CREATE TABLE songs (name text)");
  at.set({ DATABASE_URL: other });
  expectTroubles(await at.diagnose(OFFLINE), [[13, "fail", /correct DATABASE_URL/]]);
  at.set({ DATABASE_URL: url });
  writeFileSync(at.path("key/master.key"), "ab".repeat(32));
  expectTroubles(await at.diagnose(OFFLINE), [[15, "fail", /put the key of this database back/]]);
});

test("a wrong password is told from a server that is away", async () => {
  const server = await PostgresServer.start();
  try {
    await using world = await setup(server);
    await using admin = server.connect("postgres");
    await admin.unsafe("CREATE ROLE keeper LOGIN PASSWORD 'right'");
    const path = `${server.folder}/data/pg_hba.conf`;
    writeFileSync(path, `host all keeper 127.0.0.1/32 scram-sha-256\n${readFileSync(path, "utf8")}`);
    await admin.unsafe("SELECT pg_reload_conf()");
    world.at.set({ DATABASE_URL: world.url.replace("postgres@", "keeper:wrong@") });
    const { code, checks } = await world.at.diagnose(OFFLINE);
    expectTroubles({ code, checks }, [[19, "fail", /DATABASE_PASSWORD_FILE/]]);
    expect(JSON.stringify(checks)).not.toContain("wrong@");
    // Whoever gets in, and may do nothing.
    world.at.set({ DATABASE_URL: world.url.replace("postgres@", "keeper:right@") });
    const closed = await world.at.diagnose(OFFLINE);
    expect(closed.checks.find(({ id }) => id === 19)).toMatchObject({
      state: "fail",
      remedy: { en: expect.stringMatching(/GRANT/) },
    });
  } finally {
    server.stop();
  }
});

test("a standby is named, and a server whose standby its commits don't wait for", async () => {
  const server = await PostgresServer.start();
  const standbys: PostgresServer[] = [];
  try {
    await using world = await setup(server);
    const standby = await server.standby();
    standbys.push(standby);
    expectTroubles(await world.at.diagnose(OFFLINE), [[19, "warn", /synchronous_standby_names/]]);
    world.at.set({ DATABASE_URL: standby.urlOf(new URL(world.url).pathname.slice(1)) });
    expectTroubles(await world.at.diagnose(OFFLINE), [[19, "fail", /connect to the primary/]]);
  } finally {
    for (const each of [...standbys, server]) each.stop();
  }
});

pgbouncerTest("a pooler that keeps notifications back is named, unless there is a direct way", async () => {
  await using world = await setup();
  using bouncer = await Pgbouncer.start(world.on);
  world.at.set({ DATABASE_URL: bouncer.through(world.url) });
  expectTroubles(await world.at.diagnose(OFFLINE), [[19, "warn", /DATABASE_LISTEN_URL/]]);
  world.at.set({ DATABASE_LISTEN_URL: world.url });
  expectTroubles(await world.at.diagnose(OFFLINE), []);
});

test("a process of another version is named, and one that is gone is not", async () => {
  await using world = await setup();
  await using sql = world.on.connect(new URL(world.url).pathname.slice(1));
  const beat = async (pid: number, version: string, ago: number) => {
    const at = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    await sql.unsafe(
      `INSERT INTO nodes VALUES ('${pid}', 'far', ${pid}, '${version}', '', ${at}, ${at} - ${ago}, 0, 1)`,
    );
  };
  await beat(1, "0.0.8", 60_000);
  expectTroubles(await world.at.diagnose(OFFLINE), []);
  await beat(2, "0.0.9", -3_600_000);
  const { code, checks } = await world.at.diagnose(OFFLINE);
  expectTroubles({ code, checks }, [[30, "warn", /restart the service/]]);
  expect(checks.find(({ id }) => id === 30)?.message.en).toContain("far 2 0.0.9");
});
