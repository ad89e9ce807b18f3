import { expect } from "bun:test";
import type { AuditEntry } from "../../src/audit/audit-entry.ts";
import { systemClock } from "../../src/clock.ts";
import type { LostHistory } from "../../src/store/postgres/postgres-changes.ts";
import { PostgresEngine } from "../../src/store/postgres/postgres-engine.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import { newClient } from "../support/client-records.ts";
import { Harness } from "../support/harness.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const ENTRY: AuditEntry = {
  client: "admin",
  environment: "",
  address: "127.0.0.1",
  traceId: "t",
  action: "client.created",
  app: "",
  outcome: "ok",
  tokenDigest: "",
  detail: {},
};

/** A store on a server that another follows, by way of a line that a test may turn to that one. */
async function setup() {
  const primary = await PostgresServer.start();
  const url = await primary.createDatabase();
  const standby = await primary.standby();
  const line = await TcpProxy.start(primary.port);
  const folder = new StoreFolder();
  const heard: (string | LostHistory)[] = [];
  const open = () =>
    openPostgresStore({
      address: { url: line.through(url), password: undefined },
      masterKey: undefined,
      masterKeyFile: folder.keyPath,
      clock: systemClock,
      waitMs: 0,
      onKeyCreated: () => undefined,
      onStandby: () => heard.push("standby"),
      onAsynchronous: () => heard.push("asynchronous"),
      onHistoryLost: (lost) => heard.push(lost),
    });
  const dispose = () => {
    line[Symbol.dispose]();
    folder[Symbol.dispose]();
    standby.stop();
    primary.stop();
  };
  const turnTo = (server: PostgresServer) => {
    line.aim(server.port);
    line.cut();
    line.restore();
  };
  return { primary, standby, line, open, heard, turnTo, [Symbol.dispose]: dispose };
}

test("P4: a store whose address begins to lead to a standby says so, and goes on by itself once it leads to the primary", async () => {
  using it = await setup();
  const store = await it.open();
  await store.clients.create(newClient("a"), ENTRY);
  it.turnTo(it.standby);
  await Harness.until(() => it.heard.includes("standby"));
  expect(store.changes.isLive).toBe(false);
  expect(store.awayMs()).toBeGreaterThanOrEqual(0);
  expect((await store.probe())[0]?.message).toContain("connect to the primary");
  expect(store.clients.create(newClient("b"), ENTRY)).rejects.toMatchObject({ code: "unavailable" });
  // Connections to the standby would stay for ever.
  it.line.aim(it.primary.port);
  await Harness.until(async () => (await store.probe()).length === 0);
  await store.clients.create(newClient("b"), ENTRY);
  expect(it.heard.filter((each) => each !== "asynchronous")).toEqual(["standby"]);
  store.close();
});

test("P4: connections that lead to a standby are let go with the first change that it refuses", async () => {
  using it = await setup();
  it.line.aim(it.standby.port);
  const engine = new PostgresEngine({
    url: it.line.through(it.primary.urlOf("postgres")),
    password: undefined,
  });
  const change = () => engine.transaction((sql) => sql.query("SELECT pg_is_in_recovery()", []));
  expect(change()).rejects.toMatchObject({ isBusy: true });
  await Harness.until(() => engine.isAway);
  it.line.aim(it.primary.port);
  expect(await engine.look("SELECT pg_is_in_recovery()")).toEqual([[false]]);
  expect(await change()).toEqual([[false]]);
  engine.close();
});

test("P3: that a standby may lack what was acknowledged is told with each server, and not of one that commits wait for", async () => {
  using it = await setup();
  const first = await it.open();
  await Harness.until(() => it.heard.includes("asynchronous"));
  first.close();
  await using admin = it.primary.connect("postgres");
  await admin.unsafe("ALTER SYSTEM SET synchronous_standby_names = '*'");
  await admin.unsafe("SELECT pg_reload_conf()");
  it.heard.length = 0;
  const second = await it.open();
  await second.clients.create(newClient("a"), ENTRY);
  expect(it.heard).toEqual([]);
  second.close();
});

test("P7: what a failover has lost is told with the audit entries that are missing", async () => {
  using it = await setup();
  const store = await it.open();
  await store.clients.create(newClient("kept"), ENTRY);
  await using there = it.standby.connect("postgres");
  const [row] = await it.primary.connect("postgres").unsafe("SELECT pg_current_wal_lsn()::text AS lsn");
  await Harness.until(async () => {
    const text = "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS is_there";
    return ((await there.unsafe(text, [row.lsn])) as { is_there: boolean }[])[0]?.is_there === true;
  });
  await it.standby.detach();
  for (const name of ["one", "two", "three"]) await store.clients.create(newClient(name), ENTRY);
  const epoch = store.changes.epoch("clients");
  await it.primary.signal("SIGQUIT");
  it.standby.promote();
  it.line.aim(it.standby.port);
  await Harness.until(() => it.heard.some((each) => typeof each !== "string"));
  expect(it.heard.at(-1)).toEqual({ changes: 3, audit: { from: 2, to: 4 } });
  expect(store.changes.epoch("clients")).toBeGreaterThan(epoch);
  expect((await store.clients.load()).clients.map(({ name }) => name)).toEqual(["kept"]);
  expect(await store.audit.verify()).toMatchObject({ isIntact: true, entries: 1 });
  store.close();
});
