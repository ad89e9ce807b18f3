import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { renameSync, rmSync } from "node:fs";
import { type AuditEntry, AuditFailure } from "../../src/audit/audit-entry.ts";
import { AuditChain } from "../../src/store/audit-chain.ts";
import { SqlDatabase } from "../../src/store/sql.ts";
import { SqliteEngine } from "../../src/store/sqlite/sqlite-engine.ts";
import { openDatabase } from "../../src/store/sqlite/open-database.ts";
import { unlockDatabase } from "../../src/store/sqlite/unlock.ts";
import { callCounts } from "../../src/store/schema.ts";
import { allEntries, appendAtOnce, entryOf } from "../support/audit-entries.ts";
import { Child } from "../support/child.ts";
import { newClient } from "../support/client-records.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { APPEND_AUDIT } from "./programs/append-audit.ts";

const ENTRIES = 12;

/** A store with a few entries, a second apart, and a connection for whoever can write to the file. */
async function setup(count = ENTRIES) {
  const clock = new ManualClock();
  const files = new StoreFolder(clock);
  const { audit } = await files.open();
  const nextEntry = (number: number) => {
    clock.advance(1000);
    return entryOf({ detail: { number } });
  };
  const append = async (more: number) => {
    for (let number = 1; number <= more; number++) await audit.append(nextEntry(number));
  };
  await appendAtOnce(files, count, nextEntry);
  const intruder = new Database(files.path, { readwrite: true });
  const dispose = () => {
    intruder.close();
    files[Symbol.dispose]();
  };
  return { clock, files, audit, append, intruder, [Symbol.dispose]: dispose };
}

test("P7: an entry comes back as it was written, with its time and its place", async () => {
  using it = await setup(0);
  const odd = 'a"\\\n\u0000\u2028中😀';
  const entry: AuditEntry = entryOf({
    client: odd,
    environment: odd,
    app: "",
    detail: { odd, half: "\ud800", nested: { list: [1, null, true] }, nothing: undefined },
  });
  await it.audit.append(entry);
  const [record] = await it.audit.list({}, { limit: 10 });
  expect(record).toEqual({
    ...entry,
    id: 1,
    at: it.clock.now(),
    detail: { odd, half: "\ud800", nested: { list: [1, null, true] } },
    hash: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 1 });
});

test("P7: half a character in a name, which no database keeps, does not look like tampering", async () => {
  using it = await setup(0);
  await it.audit.append(entryOf({ client: "a\ud800", address: "\udc00", app: "\ud800b", outcome: "\ud800" }));
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 1 });
});

test("P7: nobody has tampered with an audit that nobody has tampered with, empty or not, also after a restart", async () => {
  using it = await setup(0);
  const none = { isIntact: true, entries: 0, fault: undefined, last: undefined };
  expect(await it.audit.verify()).toEqual(none);
  await it.append(3);
  const [newest] = await it.audit.list({}, { limit: 1 });
  const last = { id: 3, hash: newest!.hash };
  const three = { isIntact: true, entries: 3, fault: undefined, last };
  expect(await it.audit.verify()).toEqual(three);
  it.files.close();
  const { audit } = await it.files.open();
  expect(await audit.verify()).toEqual(three);
});

/** What somebody who can write to the file does, and the first entry that no longer fits. */
const TAMPERING: readonly (readonly [what: string, statements: readonly string[], id: number])[] = [
  ...["client", "environment", "address", "action", "app", "outcome", "trace_id", "token_digest"].map(
    (column) => [`changed ${column}`, [`UPDATE audit_entries SET ${column} = 'x' WHERE id = 5`], 5] as const,
  ),
  ["changed time", ["UPDATE audit_entries SET at = at + 1 WHERE id = 5"], 5],
  ["changed detail", [`UPDATE audit_entries SET detail = '{"number":6}' WHERE id = 5`], 5],
  ["changed detail that means the same", [`UPDATE audit_entries SET detail = detail || ' ' WHERE id = 5`], 5],
  ["detail as bytes", ["UPDATE audit_entries SET detail = CAST(detail AS BLOB) WHERE id = 5"], 5],
  ["changed hash", ["UPDATE audit_entries SET hash = upper(hash) WHERE id = 5"], 5],
  ["changed last entry", ["UPDATE audit_entries SET client = 'x' WHERE id = 12"], 12],
  ["entry removed from the middle", ["DELETE FROM audit_entries WHERE id = 5"], 6],
  ["several entries removed from the middle", ["DELETE FROM audit_entries WHERE id BETWEEN 3 AND 9"], 10],
  ["first entry cut off", ["DELETE FROM audit_entries WHERE id = 1"], 2],
  ["last entry cut off", ["DELETE FROM audit_entries WHERE id = 12"], 12],
  ["all entries removed", ["DELETE FROM audit_entries"], 1],
  [
    "a gap closed by other numbers",
    ["DELETE FROM audit_entries WHERE id = 5", "UPDATE audit_entries SET id = id - 1 WHERE id > 5"],
    5,
  ],
  [
    "two entries swapped",
    [
      "UPDATE audit_entries SET id = 0 WHERE id = 5",
      "UPDATE audit_entries SET id = 5 WHERE id = 6",
      "UPDATE audit_entries SET id = 6 WHERE id = 0",
    ],
    5,
  ],
  [
    "an entry copied behind the last",
    [
      "INSERT INTO audit_entries SELECT 13, at, client, environment, address, action, app, outcome, trace_id, token_digest, detail, hash FROM audit_entries WHERE id = 12",
    ],
    13,
  ],
  [
    "an entry inserted before the first",
    [
      "INSERT INTO audit_entries SELECT 0, at, client, environment, address, action, app, outcome, trace_id, token_digest, detail, hash FROM audit_entries WHERE id = 1",
    ],
    0,
  ],
  [
    "an entry inserted into the middle",
    [
      "UPDATE audit_entries SET id = -id WHERE id > 5",
      "UPDATE audit_entries SET id = 1 - id WHERE id < 0",
      "INSERT INTO audit_entries SELECT 6, at, client, environment, address, action, app, outcome, trace_id, token_digest, detail, hash FROM audit_entries WHERE id = 5",
    ],
    6,
  ],
  [
    "the beginning cut off and noted by a guess",
    [
      "DELETE FROM audit_entries WHERE id < 5",
      "UPDATE audit_ends SET entry_id = 4, hash = printf('%064d', 0) WHERE name = 'first'",
    ],
    5,
  ],
  [
    "the end cut off and noted",
    [
      "UPDATE audit_ends SET entry_id = 9, hash = (SELECT hash FROM audit_entries WHERE id = 9) WHERE name = 'last'",
      "DELETE FROM audit_entries WHERE id > 9",
    ],
    10,
  ],
  [
    "everything removed and one end put in the place of the other",
    [
      "DELETE FROM audit_entries",
      "DELETE FROM audit_ends WHERE name = 'first'",
      "INSERT INTO audit_ends SELECT 'first', entry_id, hash, mac FROM audit_ends WHERE name = 'last'",
    ],
    0,
  ],
  ["the note of the start removed", ["DELETE FROM audit_ends WHERE name = 'first'"], 1],
  ["the note of the end removed", ["DELETE FROM audit_ends WHERE name = 'last'"], 13],
  ["both notes removed", ["DELETE FROM audit_ends"], 1],
  [
    "everything but the notes removed, and one of these",
    ["DELETE FROM audit_entries", "DELETE FROM audit_ends WHERE name = 'first'"],
    0,
  ],
  ["everything removed", ["DELETE FROM audit_entries", "DELETE FROM audit_ends"], 0],
  [
    "everything removed, with what SQLite remembers of it",
    ["DELETE FROM audit_entries", "DELETE FROM audit_ends", "DELETE FROM sqlite_sequence"],
    0,
  ],
  [
    "everything removed, with all that remembers it",
    [
      "DELETE FROM audit_entries",
      "DELETE FROM audit_ends",
      "DELETE FROM sqlite_sequence",
      "DELETE FROM revisions WHERE name = 'audit'",
    ],
    0,
  ],
  [
    "what the database remembers of the last entry removed",
    ["DELETE FROM revisions WHERE name = 'audit'"],
    13,
  ],
  [
    "what the database remembers of the last entry changed",
    ["UPDATE revisions SET number = 9 WHERE name = 'audit'"],
    10,
  ],
  ["another revision of the clients", ["INSERT INTO revisions (name, number) VALUES ('clients', 3)"], 13],
  ["another revision of the apps", ["INSERT INTO revisions (name, number) VALUES ('apps', 1)"], 13],
  ["a forged note of the start", ["UPDATE audit_ends SET mac = printf('%064d', 0) WHERE name = 'first'"], 1],
  ["a forged note of the end", ["UPDATE audit_ends SET mac = printf('%064d', 0) WHERE name = 'last'"], 13],
  ["the tie removed", ["DELETE FROM audit_ends WHERE name = 'tie'"], 13],
  ["a forged tie", ["UPDATE audit_ends SET mac = '0.0.' || printf('%064d', 0) WHERE name = 'tie'"], 13],
  ["a note of an end that is further on", ["UPDATE audit_ends SET entry_id = 99 WHERE name = 'last'"], 13],
];

test.each(TAMPERING)("P7: %s is found", async (_what, statements, id) => {
  using it = await setup();
  for (const statement of statements) it.intruder.run(statement);
  const found = await it.audit.verify();
  expect(found).toMatchObject({ isIntact: false, fault: { id } });
  expect(found.fault?.message).toMatch(/[\u4e00-\u9fff].*[a-z]{3}/);
});

test.each(TAMPERING)("P7: %s is found as well when the service has gone on", async (_what, statements) => {
  using it = await setup();
  for (const statement of statements) it.intruder.run(statement);
  await it.append(5);
  expect(await it.audit.verify()).toMatchObject({ isIntact: false });
  expect(await it.audit.list({}, { limit: 5 })).toHaveLength(5);
});

/** What the note of the chain's end says now, and how to put it back later. */
function noteOfEnd(intruder: Database) {
  const query = intruder.query<{ entry_id: number; hash: string; mac: string }, []>(
    "SELECT * FROM audit_ends WHERE name = 'last'",
  );
  const { entry_id: id, hash, mac } = query.get()!;
  const update = "UPDATE audit_ends SET entry_id = ?, hash = ?, mac = ? WHERE name = 'last'";
  return { putBack: () => intruder.query(update).run(id, hash, mac) };
}

test("P7: a database that was set back as a whole is told by the last entry that was written down elsewhere", async () => {
  using it = await setup(5);
  it.intruder.run("VACUUM INTO ?", [`${it.files.path}.old`]);
  await it.append(3);
  const { last } = await it.audit.verify();
  it.files.close();
  for (const end of ["-wal", "-shm"]) rmSync(it.files.path + end, { force: true });
  renameSync(`${it.files.path}.old`, it.files.path);
  const back = await (await it.files.open()).audit.verify();
  expect(back).toMatchObject({ isIntact: true, entries: 5 });
  expect([last?.id, back.last?.id]).toEqual([8, 5]);
});

/** The tables of the audit alone, and what SQLite remembers of them; and how to put them back later. */
function copyOfAudit(intruder: Database, tables = ["audit_entries", "audit_ends", "sqlite_sequence"]) {
  for (const table of tables) intruder.run(`CREATE TABLE kept_${table} AS SELECT * FROM ${table}`);
  return {
    putBack: () => {
      for (const table of tables) {
        intruder.run(`DELETE FROM ${table}`);
        intruder.run(`INSERT INTO ${table} SELECT * FROM kept_${table}`);
      }
    },
  };
}

/** Has a client made, with its entry, which is the newest change of any. */
async function addClient({ files, clock }: Awaited<ReturnType<typeof setup>>, name: string) {
  const { clients } = await files.open();
  clock.advance(100_000);
  const times = { createdAt: clock.now(), updatedAt: clock.now() };
  await clients.create({ ...newClient(name), ...times }, entryOf({ action: "client.created" }));
}

const AUDIT_AND_COUNTER = "UPDATE revisions SET number = 5 WHERE name = 'audit'";

test.each([
  ["nothing else", [], "数据库记得的最后一条是 8"],
  ["the number of the last entry", [AUDIT_AND_COUNTER], "clients 的修订号为 3，而审计的最后一条对应 2"],
  [
    "that number and the revision of the clients",
    [AUDIT_AND_COUNTER, "UPDATE revisions SET number = 2 WHERE name = 'clients'"],
    "变更晚于最后一条审计记录",
  ],
])(
  "P7: an older audit, put back with its ends and %s, is found and says by what",
  async (_what, more, message) => {
    using it = await setup(3);
    for (const name of ["a", "b"]) await addClient(it, name);
    const old = copyOfAudit(it.intruder);
    await it.append(2);
    await addClient(it, "c");
    expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 8 });
    old.putBack();
    for (const statement of more) it.intruder.run(statement);
    const found = await it.audit.verify();
    expect(found).toMatchObject({
      isIntact: false,
      fault: { id: 6, message: expect.stringContaining(message) },
    });
    // The gap stays, however the service goes on.
    await it.append(3);
    await addClient(it, "d");
    const later = await it.audit.verify();
    if (more.length < 2) expect(later.isIntact).toBeFalse();
  },
);

test("P7: an audit that is emptied down to its first ends, as a new database has them, is found", async () => {
  using it = await setup(0);
  const old = copyOfAudit(it.intruder);
  await it.append(4);
  old.putBack();
  expect(await it.audit.verify()).toMatchObject({ isIntact: false, fault: { id: 1 } });
  it.files.close();
  expect(await (await it.files.open()).audit.verify()).toMatchObject({ isIntact: false });
});

/** What signs the chain. */
async function auditKeyOf({ files }: Awaited<ReturnType<typeof setup>>): Promise<Uint8Array> {
  const { keyring, close } = await unlockDatabase({
    ...{ path: files.path, masterKey: undefined, masterKeyFile: files.keyPath, clock: files.clock },
    onKeyCreated: () => {},
  });
  close();
  return keyring.auditKey();
}

/** What a version had that tied the chain to nothing. */
function makeFormer({ files, intruder }: Awaited<ReturnType<typeof setup>>): void {
  files.close();
  intruder.run("DELETE FROM revisions WHERE name = 'audit'");
  intruder.run("DELETE FROM audit_ends WHERE name = 'tie' OR NOT EXISTS (SELECT 1 FROM audit_entries)");
}

/** Appends as the version before did, which knows both ends and nothing of a tie; with `change`, that of a client. */
function appendAsFormer({ intruder, clock }: Awaited<ReturnType<typeof setup>>, key: Uint8Array) {
  const digest = (text: string) => createHmac("sha256", key).update(text).digest("hex");
  const macOf = (id: number, hash: string) => digest(JSON.stringify(["end", "last", id, hash]));
  return (change?: "client") => {
    clock.advance(1000);
    const last = intruder.query<{ entry_id: number; hash: string; mac: string }, []>(
      "SELECT * FROM audit_ends WHERE name = 'last'",
    );
    const { entry_id, hash: previous, mac } = last.get()!;
    const isTrue = mac === macOf(entry_id, previous);
    const row = [entry_id + 1, clock.now(), "a", "dev", "", "client.updated", "", "ok", "", "", "{}"];
    const hash = digest((isTrue ? previous : "f".repeat(64)) + JSON.stringify(row));
    intruder.transaction(() => {
      if (change) intruder.run("UPDATE revisions SET number = number + 1 WHERE name = 'clients'");
      intruder.run(`INSERT INTO audit_entries VALUES (${"?, ".repeat(11)}?)`, [...row, hash]);
      intruder.run("UPDATE audit_ends SET entry_id = ?, hash = ?, mac = ? WHERE name = 'last'", [
        entry_id + 1,
        hash,
        macOf(entry_id + 1, hash),
      ]);
    })();
  };
}

test("P7: what a process of the version before writes beside this one is no gap, and is tied by the next entry", async () => {
  using it = await setup(3);
  await addClient(it, "a");
  const append = appendAsFormer(it, await auditKeyOf(it));
  for (const change of [undefined, "client", "client"] as const) append(change);
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 7 });
  const old = copyOfAudit(it.intruder);
  await it.append(1);
  await addClient(it, "b");
  append("client");
  await addClient(it, "c");
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 11 });
  old.putBack();
  expect(await it.audit.verify()).toMatchObject({ isIntact: false, fault: { id: 8 } });
});

test.each([
  ["one of them removed", ["DELETE FROM audit_entries WHERE id = 5"]],
  ["the last of them removed", ["DELETE FROM audit_entries WHERE id = 6"]],
  ["a change that has no entry", ["UPDATE revisions SET number = number + 2 WHERE name = 'clients'"]],
  ["a revision that has gone back", ["UPDATE revisions SET number = 0 WHERE name = 'clients'"]],
])(
  "P7: among entries of the version before, %s is found, also when the service has gone on",
  async (_what, statements) => {
    using it = await setup(3);
    await addClient(it, "a");
    const append = appendAsFormer(it, await auditKeyOf(it));
    for (const change of [undefined, "client"] as const) append(change);
    for (const statement of statements) it.intruder.run(statement);
    expect(await it.audit.verify()).toMatchObject({ isIntact: false });
    await it.append(1);
    expect(await it.audit.verify()).toMatchObject({ isIntact: false });
  },
);

test.each([0, 4])(
  "P7: an audit of the version before, of %d entries, is intact, and tied from then on",
  async (count) => {
    using it = await setup(count);
    makeFormer(it);
    const former = copyOfAudit(it.intruder);
    const { audit } = await it.files.open();
    expect(await audit.verify()).toMatchObject({ isIntact: true, entries: count });
    await audit.append(entryOf());
    expect(await audit.verify()).toMatchObject({ isIntact: true, entries: count + 1 });
    former.putBack();
    expect(await audit.verify()).toMatchObject({ isIntact: false });
  },
);

test("P7: an audit that was emptied before the upgrade is not taken for a new one, where there are clients", async () => {
  using it = await setup(0);
  await addClient(it, "a");
  makeFormer(it);
  for (const table of ["audit_entries", "audit_ends", "sqlite_sequence"])
    it.intruder.run(`DELETE FROM ${table}`);
  const { audit } = await it.files.open();
  expect(await audit.verify()).toMatchObject({ isIntact: false, entries: 0 });
});

test("P7: a note of the chain's end that was true once does not fit other entries", async () => {
  using it = await setup(5);
  const five = noteOfEnd(it.intruder);
  await it.append(1);
  const six = noteOfEnd(it.intruder);
  five.putBack();
  expect(await it.audit.verify()).toMatchObject({ isIntact: false, fault: { id: 6 } });
  it.intruder.run("DELETE FROM audit_entries WHERE id = 6");
  it.intruder.run("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'audit_entries'");
  await it.append(1);
  six.putBack();
  expect(await it.audit.verify()).toMatchObject({ isIntact: false, fault: { id: 7 } });
});

test("P7: a long audit is looked at whole, while entries come and others have their turn", async () => {
  using it = await setup(2500);
  let turns = 0;
  const looking = it.audit.verify();
  const others = (async () => {
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => setImmediate(resolve));
      turns += 1;
      await it.append(1);
    }
  })();
  const verdict = await looking;
  expect(verdict.isIntact).toBeTrue();
  expect(verdict.entries).toBeWithin(2500, 2504);
  expect(turns).toBeGreaterThanOrEqual(2);
  await others;
  it.intruder.run("UPDATE audit_entries SET outcome = 'x' WHERE id = 2001");
  expect(await it.audit.verify()).toMatchObject({ fault: { id: 2001 }, last: { id: 2000 } });
});

test("P7: an audit that is pruned while it is looked at is intact", async () => {
  using it = await setup(2500);
  const looking = it.audit.verify();
  const pruned = await it.audit.prune(it.clock.now() - 100_000);
  const again = await it.audit.prune(it.clock.now() - 100_000);
  expect(pruned.entries + again.entries).toBe(2000);
  expect(await looking).toMatchObject({ isIntact: true, last: { id: 2500 } });
});

test("P7: several processes that write at once make one chain, and none of their entries is lost", async () => {
  using it = await setup(1);
  const clients = ["one", "two", "three"];
  const children = clients.map(
    (client) =>
      new Child([process.execPath, APPEND_AUDIT, it.files.path, it.files.keyPath, client, "60"], {
        cwd: it.files.folder,
      }),
  );
  const own = it.append(20);
  for (const child of children) expect([await child.exited(), child.stderr]).toEqual([0, ""]);
  await own;
  expect(await it.audit.verify()).toMatchObject({ isIntact: true, entries: 201, last: { id: 201 } });
  for (const client of clients) {
    const records = await allEntries(it.audit, { client });
    expect(records.map(({ detail }) => detail["number"])).toEqual(
      Array.from({ length: 60 }, (_, index) => index + 1),
    );
  }
});

test("P7: the same entry under another key has another hash: who has the file alone can't make one", async () => {
  using it = await setup(1);
  using elsewhere = await setup(1);
  const [own] = await it.audit.list({}, { limit: 10 });
  const [other] = await elsewhere.audit.list({}, { limit: 10 });
  expect({ ...other, hash: "" }).toEqual({ ...own, hash: "" });
  expect(other?.hash).not.toBe(own?.hash);
});

/** A chain of its own, for transactions that somebody else runs. */
function chainIn(files: StoreFolder) {
  const failures: string[] = [];
  const reader = openDatabase(files.path);
  const engine = new SqliteEngine(files.path, reader, files.clock, () => undefined);
  const key = new Uint8Array(32);
  const chain = new AuditChain({ key, clock: files.clock, onFailed: ({ code }) => failures.push(code) });
  const database = new SqlDatabase(engine);
  const close = () => {
    engine.close();
    reader.close();
  };
  return { chain, failures, database, [Symbol.dispose]: close };
}

const usageRows = (database: Database) => database.query("SELECT * FROM usage").all();
const CALL = { platform: "weixin", appId: "wx1", endpoint: "/x", day: "2026-11-22", calls: 1 };

test("P7: an entry in somebody else's transaction stands and falls with it", async () => {
  using it = await setup(0);
  using own = chainIn(it.files);
  await own.database.transact(async (queries) => {
    await queries.insert(callCounts).values(CALL);
    await own.chain.append(queries, entryOf());
  });
  const undone = own.database.transact(async (queries) => {
    await own.chain.append(queries, entryOf());
    throw new Error("changed my mind");
  });
  expect(await undone.catch(String)).toContain("changed my mind");
  expect(it.intruder.query("SELECT id FROM audit_entries").all()).toEqual([{ id: 1 }]);
  expect(usageRows(it.intruder)).toHaveLength(1);
  expect(own.failures).toEqual([]);
});

test("P7: a change whose entry is refused is not made, and is told of once", async () => {
  using it = await setup(0);
  using own = chainIn(it.files);
  it.intruder.run(
    "CREATE TRIGGER full BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'canary'); END",
  );
  const change = own.database.transact(async (queries) => {
    await queries.insert(callCounts).values(CALL);
    await own.chain.append(queries, entryOf({ client: "canary" }));
  });
  const failure = await failureOf(change);
  expect(failure).toBeInstanceOf(AuditFailure);
  expect(failure.code).toBe("unavailable");
  expect(failure.message).toContain("未作更改");
  expect(failure.message).not.toContain("canary");
  expect(usageRows(it.intruder)).toEqual([]);
  expect(own.failures).toEqual(["store_unusable"]);
});
