import { expect } from "bun:test";
import type { Heartbeat } from "../../src/ops/nodes.ts";
import { PostgresFolder } from "../support/postgres-folder.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { Harness } from "../support/harness.ts";

const beatOf = (id: string): Heartbeat => ({ id, host: "token-a", pid: 7, version: "1", offsetMs: -3 });

async function setup() {
  const folder = await PostgresFolder.create();
  const store = await folder.open();
  const server = await PostgresServer.shared();
  const admin = server.connect(new URL(folder.url).pathname.slice(1));
  const dispose = async () => {
    await admin.close();
    folder[Symbol.dispose]();
  };
  const age = (ms: number) => admin.unsafe(`UPDATE nodes SET seen_at = seen_at - ${ms}`);
  return { folder, store, admin, age, [Symbol.asyncDispose]: dispose };
}

test("a heartbeat enters a process with what it is, by the database's clock, and its next one moves the time alone", async () => {
  await using it = await setup();
  const { nodes } = it.store;
  const [first] = await nodes.beat(beatOf("a"));
  const [{ now }] =
    (await it.admin`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`) as [
      { now: number },
    ];
  expect(first).toMatchObject({ ...beatOf("a"), keyIds: [expect.stringMatching(/^[0-9a-f]{8}$/)] });
  expect(first!.silentMs).toBeLessThan(5000);
  expect(Math.abs(now - first!.seenAt)).toBeLessThan(5000);
  await it.age(20_000);
  expect((await nodes.list())[0]!.silentMs).toBeGreaterThanOrEqual(20_000);
  const [second] = await nodes.beat({ ...beatOf("a"), offsetMs: 9 });
  expect(second).toMatchObject({ startedAt: first!.startedAt, offsetMs: 9 });
  expect(second!.seenAt).toBeGreaterThanOrEqual(first!.seenAt);
  await Harness.until(async () => (await nodes.beat(beatOf("a")))[0]!.isListening);
});

test("a process that stops is off the list, one that was silent for a day is forgotten by the next heartbeat", async () => {
  await using it = await setup();
  const { nodes } = it.store;
  for (const id of ["a", "b", "c"]) await nodes.beat(beatOf(id));
  await nodes.remove("b");
  expect((await nodes.list()).map(({ id }) => id)).toEqual(["a", "c"]);
  await it.age(86_400_001);
  expect(await nodes.list()).toEqual([]);
  await nodes.beat(beatOf("a"));
  expect(await it.admin`SELECT id FROM nodes`).toEqual([{ id: "a" }] as never);
});

test("heartbeats move no epoch and notify nobody", async () => {
  await using it = await setup();
  const revisions = () => it.admin`SELECT name, number FROM revisions ORDER BY name`;
  const before = JSON.stringify(await revisions());
  const heard: string[] = [];
  const ready = Promise.withResolvers<void>();
  await using listener = (await PostgresServer.shared()).connect(new URL(it.folder.url).pathname.slice(1));
  await listener.listen(
    "accesstoken",
    (message: string) => heard.push(message),
    () => ready.resolve(),
  );
  await ready.promise;
  for (const id of ["a", "b", "a"]) await it.store.nodes.beat(beatOf(id));
  await it.store.nodes.remove("b");
  await it.admin.unsafe("SELECT pg_notify('accesstoken', 'end')");
  await Harness.until(async () => heard.includes("end"));
  expect(heard.filter((message) => !message.startsWith("ping "))).toEqual(["end"]);
  expect(JSON.stringify(await revisions())).toBe(before);
});
