import { expect } from "bun:test";
import {
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ServiceError } from "../../src/errors.ts";
import type { Heartbeat } from "../../src/ops/nodes.ts";
import { Secret } from "../../src/secret.ts";
import { createNextKey } from "../../src/store/next-key.ts";
import {
  commitMasterKey,
  type CommitOptions,
  rotateSoleNode,
} from "../../src/store/postgres/commit-master-key.ts";
import type { PostgresStoreOptions } from "../../src/store/postgres/postgres-store.ts";
import { SEALED_COLUMNS } from "../../src/store/resealing.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";
import type { Store } from "../../src/store/store.ts";
import { Harness } from "../support/harness.ts";
import { PostgresFolder } from "../support/postgres-folder.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { saveUnderLease } from "../support/store-folder.ts";

const OLD = SealingKey.random();
const NEXT = SealingKey.random();
const TOKEN = "canary-token-0123456789";
const LATE = 9_000_000_000_000;

interface Machine {
  readonly masterKeyFile: string;
  readonly nextKeyFile: string;
  /** The names of its key files, and the id of the key in each. */
  readonly files: () => Record<string, string>;
  readonly put: (name: string, key: SealingKey) => void;
}

/** A database under `OLD` with something in every sealed column, and machines of their own, each with that key. */
async function setup() {
  const folder = await PostgresFolder.create();
  const server = await PostgresServer.shared();
  const admin = server.connect(new URL(folder.url).pathname.slice(1));
  const told: string[] = [];
  const machine = (name: string): Machine => {
    const path = join(folder.folder, name);
    mkdirSync(path);
    const at = (file: string) => join(path, file);
    const put = (file: string, key: SealingKey) =>
      writeFileSync(at(file), `${key.text().reveal()}\n`, { mode: 0o600 });
    put("master.key", OLD);
    const idIn = (file: string) =>
      [OLD, NEXT].find((key) => readFileSync(at(file), "utf8").trim() === key.text().reveal())?.keyId ??
      "another";
    return {
      masterKeyFile: at("master.key"),
      nextKeyFile: at("next.key"),
      files: () =>
        Object.fromEntries(
          readdirSync(path)
            .toSorted()
            .map((file) => [file, idIn(file)]),
        ),
      put,
    };
  };
  const open = async ({ masterKeyFile, nextKeyFile }: Machine, options: Partial<PostgresStoreOptions> = {}) =>
    folder.open({
      masterKeyFile,
      nextKeyFile,
      onKeyFault: (message) => told.push(message),
      onKeyReplaced: (_path, keyId) => told.push(keyId),
      ...options,
    });
  const commit = (by: Machine, options: Partial<CommitOptions> = {}) =>
    commitMasterKey(optionsOf(by, options));
  const optionsOf = (by: Machine, options: Partial<CommitOptions>): CommitOptions => ({
    address: { url: folder.url, password: undefined },
    masterKey: undefined,
    masterKeyFile: by.masterKeyFile,
    nextKeyFile: by.nextKeyFile,
    clock: folder.clock,
    user: "root",
    revokesVirtualTokens: false,
    ignoresGone: false,
    onKeyFault: (message) => told.push(message),
    ...options,
  });
  /** The ids of the keys under which anything is encrypted. */
  const used = async () => {
    const ids = new Set<string>();
    for (const { table, column } of SEALED_COLUMNS)
      for (const { id } of (await admin.unsafe(
        `SELECT DISTINCT substr(${column}, 1, 8) AS id FROM ${table} WHERE ${column} IS NOT NULL`,
      )) as { id: string }[])
        ids.add(id);
    return [...ids];
  };
  const [a, b] = [machine("a"), machine("b")];
  const one = await open(a);
  await fill(one);
  const dispose = async () => {
    await admin.close();
    folder[Symbol.dispose]();
  };
  return {
    ...{ a, b, one, machine, open, commit, optionsOf, used, told, admin, folder },
    [Symbol.asyncDispose]: dispose,
  };
}

async function fill(store: Store): Promise<void> {
  const secret = new Secret("canary-secret-0123456789");
  await store.apps.replaceAll([{ platform: "weixin", id: "wx1", secret, tokenMode: "stable" }]);
  for (const app of ["wx1", "wx2"]) await saveUnderLease(store.credentials, nameOf(app), credentialOf(TOKEN));
  const { generation } = await store.credentials.find(nameOf("wx2"));
  await store.credentials.markRevoked(nameOf("wx2"), new Secret("dead"), generation, { now: 2, earlyMs: 0 });
  await store.loginAnswers.begin("login", 1, LATE);
  await store.loginAnswers.complete("login", LATE, new Secret("answer"));
}

function nameOf(app: string) {
  return tokenOf(weixinSlot(app));
}

function credentialOf(value: string) {
  return { value: new Secret(value), issuedAt: 1, expiresAt: 7_200_001 };
}

/** What is encrypted in the database, as a node reads it. */
async function contentsOf(store: Store): Promise<unknown> {
  const login = await store.loginAnswers.find("login", 1);
  return {
    apps: (await store.apps.list()).map(({ secret }) => secret.reveal()),
    token: (await store.credentials.find(nameOf("wx1"))).credential?.value.reveal(),
    dead: (await store.credentials.find(nameOf("wx2"))).revoked?.reveal(),
    login: login?.state === "answered" ? login.answer.reveal() : undefined,
    faults: await store.probe(),
    audit: (await store.audit.verify()).isIntact,
  };
}

const WHOLE = {
  ...{ apps: ["canary-secret-0123456789"], token: TOKEN, dead: "dead", login: "answer" },
  ...{ faults: [], audit: true },
};

function beatOf(host: string): Heartbeat {
  return { id: host, host, pid: 7, version: "1", offsetMs: 0 };
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.catch((failure: unknown) => failure);
  if (!(error instanceof ServiceError)) throw error;
  return error.message;
}

test("once every node has the next key, everything is encrypted under it, and each node puts it into its key file", async () => {
  await using it = await setup();
  const two = await it.open(it.b);
  for (const at of [it.a, it.b]) at.put("next.key", NEXT);
  await it.one.nodes.beat(beatOf("a"));
  const nodes = await two.nodes.beat(beatOf("b"));
  expect(nodes.map(({ keyIds }) => keyIds)).toEqual([
    [OLD.keyId, NEXT.keyId],
    [OLD.keyId, NEXT.keyId],
  ]);
  expect(await it.commit(it.a)).toMatchObject({
    ...{ oldKeyId: OLD.keyId, newKeyId: NEXT.keyId, isResumed: false, damaged: [] },
  });
  expect(await it.used()).toEqual([NEXT.keyId]);
  await Harness.until(async () => (await two.probe()).length === 0);
  for (const store of [it.one, two]) expect(await contentsOf(store)).toEqual(WHOLE);
  expect(it.b.files()).toEqual({ "master.key": OLD.keyId, "next.key": NEXT.keyId });
  await two.nodes.beat(beatOf("b"));
  const moved = { "master.key": NEXT.keyId, [`master.key.${OLD.keyId}`]: OLD.keyId };
  for (const at of [it.a, it.b]) expect(at.files()).toEqual(moved);
  expect(statSync(it.b.masterKeyFile).mode & 0o777).toBe(0o600);
  expect(it.told).toEqual([NEXT.keyId]);
  expect((await it.one.nodes.beat(beatOf("a"))).map(({ keyIds }) => keyIds)).toEqual([
    [NEXT.keyId],
    [NEXT.keyId],
  ]);
  await saveUnderLease(two.credentials, nameOf("wx3"), credentialOf("later"));
  expect(await it.used()).toEqual([NEXT.keyId]);
  const entries = await it.one.audit.list({ action: "master_key.rotated" }, { limit: 10 });
  expect(entries).toMatchObject([
    { client: "(command line)", address: "root", detail: { old: OLD.keyId, new: NEXT.keyId } },
  ]);
});

test("nothing changes while a node lacks the next key, and the refusal names it", async () => {
  await using it = await setup();
  const two = await it.open(it.b);
  it.a.put("next.key", NEXT);
  await it.one.nodes.beat(beatOf("a"));
  await two.nodes.beat(beatOf("b"));
  expect(await refusalOf(it.commit(it.a))).toContain(`don't have the next key ${NEXT.keyId}: b (pid 7);`);
  await it.admin.unsafe(
    "UPDATE nodes SET seen_at = seen_at - 20000, started_at = started_at - 30000 WHERE host = 'b'",
  );
  expect(await refusalOf(it.commit(it.a))).toContain("have not been heard of");
  expect(await it.used()).toEqual([OLD.keyId]);
  expect(await contentsOf(it.one)).toEqual(WHOLE);
  // One on the same machine that was started since tells what is there now.
  it.b.put("next.key", NEXT);
  await (await it.open(it.b)).nodes.beat({ ...beatOf("b"), id: "b2" });
  await it.commit(it.a);
  expect(await it.used()).toEqual([NEXT.keyId]);
});

test("a node that will not come back is ignored when that is asked for", async () => {
  await using it = await setup();
  await (await it.open(it.b)).nodes.beat(beatOf("b"));
  await it.admin.unsafe("UPDATE nodes SET seen_at = seen_at - 20000");
  it.a.put("next.key", NEXT);
  expect(await refusalOf(it.commit(it.a))).toContain("--ignore-gone");
  await it.commit(it.a, { ignoresGone: true });
  expect(await it.used()).toEqual([NEXT.keyId]);
});

test("a node that was away starts by the next key, and one that has the old key alone says where to put the new one", async () => {
  await using it = await setup();
  it.a.put("next.key", NEXT);
  await it.commit(it.a);
  expect(await refusalOf(it.open(it.b))).toContain(`put the file with the new one at ${it.b.nextKeyFile}`);
  it.b.put("next.key", NEXT);
  const two = await it.open(it.b);
  expect(await contentsOf(two)).toEqual(WHOLE);
  await two.nodes.beat(beatOf("b"));
  expect(it.b.files()).toEqual({ "master.key": NEXT.keyId, [`master.key.${OLD.keyId}`]: OLD.keyId });
  expect(await contentsOf(await it.open(it.b))).toEqual(WHOLE);
});

test("a running node that missed the next key is not ready until it is put there", async () => {
  await using it = await setup();
  const two = await it.open(it.b);
  it.a.put("next.key", NEXT);
  await it.commit(it.a);
  await Harness.until(async () => (await two.probe()).some(({ part }) => part === "key"));
  it.b.put("next.key", NEXT);
  await two.nodes.beat(beatOf("b"));
  await Harness.until(async () => (await two.probe()).length === 0);
  expect(await contentsOf(two)).toEqual(WHOLE);
});

test("P3: wherever the exchange of the key files was cut off, the node starts and completes it", async () => {
  await using it = await setup();
  it.a.put("next.key", NEXT);
  await it.commit(it.a);
  const kept = `master.key.${OLD.keyId}`;
  const states: readonly Record<string, SealingKey>[] = [
    { "master.key": OLD, "next.key": NEXT },
    { "master.key": OLD, "next.key": NEXT, [kept]: OLD },
    { "master.key": NEXT, "next.key": NEXT, [kept]: OLD },
    { "master.key": NEXT, [kept]: OLD },
  ];
  for (const [n, state] of states.entries()) {
    const at = it.machine(`machine-${n}`);
    for (const [name, key] of Object.entries(state)) at.put(name, key);
    const store = await it.open(at);
    expect(await contentsOf(store)).toEqual(WHOLE);
    await store.nodes.beat(beatOf(`machine-${n}`));
    expect(at.files()).toEqual({ "master.key": NEXT.keyId, [kept]: OLD.keyId });
  }
});

test("P3, P5: what a node is just writing under the old key is waited for, and encrypted under the new one", async () => {
  await using it = await setup();
  it.a.put("next.key", NEXT);
  await it.one.nodes.beat(beatOf("a"));
  // The save has its key already and takes its time.
  await it.admin.unsafe(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.8); RETURN NEW; END $$`);
  await it.admin.unsafe(
    "CREATE TRIGGER slow BEFORE UPDATE OF value ON credentials FOR EACH ROW WHEN (NEW.app_id = 'wx9' AND OLD.value IS NULL) EXECUTE FUNCTION slow()",
  );
  const saved = saveUnderLease(it.one.credentials, nameOf("wx9"), credentialOf("in time"));
  const isSaving = async () =>
    (await it.admin.unsafe("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")).length > 0;
  await Harness.until(isSaving);
  await Promise.all([saved, it.commit(it.a)]);
  expect(await it.used()).toEqual([NEXT.keyId]);
  expect((await it.one.credentials.find(nameOf("wx9"))).credential?.value.reveal()).toBe("in time");
});

test("more texts than one statement takes are all encrypted under the new key, and damaged ones cleared", async () => {
  await using it = await setup();
  const rows = Array.from({ length: 4500 }, (_, n) => {
    const name = { platform: "weixin", app_id: `wx${n}`, slot: "~foreign", kind: "access_token" };
    const row = Object.values(name).join(":");
    const sealed = OLD.seal(new Secret(`dead ${n}`), { table: "credentials", row, column: "dead_value" });
    return {
      ...name,
      generation: 1,
      is_rejected: 0,
      epoch: 0,
      dead_value: n % 1500 === 7 ? `${sealed}x` : sealed,
    };
  });
  await it.admin.unsafe(
    "INSERT INTO credentials SELECT * FROM json_populate_recordset(null::credentials, $1::text::json)",
    [JSON.stringify(rows)],
  );
  it.a.put("next.key", NEXT);
  await it.one.nodes.beat(beatOf("a"));
  const { damaged } = await it.commit(it.a);
  expect(damaged).toHaveLength(3);
  expect(await it.used()).toEqual([NEXT.keyId]);
  const after = (await it.admin.unsafe(
    "SELECT platform || ':' || app_id || ':' || slot || ':' || kind AS row, dead_value FROM credentials WHERE slot = '~foreign' AND dead_value IS NOT NULL",
  )) as { row: string; dead_value: string }[];
  const texts = after.map(({ row, dead_value }) =>
    NEXT.open(dead_value, { table: "credentials", row, column: "dead_value" }).reveal(),
  );
  expect(new Set(texts).size).toBe(4497);
});

test("pushes that wait, each of which may have a megabyte, are encrypted twenty at a time", async () => {
  await using it = await setup();
  for (let n = 0; n < 50; n++)
    await it.admin.unsafe("INSERT INTO pushes VALUES ('wx1', $1, 1, 'text', '', $2, NULL, $3)", [
      String(n),
      OLD.seal(new Secret(`push ${n}`), { table: "pushes", row: `wx1:${n}`, column: "request" }),
      LATE,
    ]);
  await it.admin.unsafe(`CREATE TABLE written (count bigint);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO written SELECT count(*) FROM changed; RETURN NULL; END $$;
    CREATE TRIGGER note AFTER UPDATE ON pushes REFERENCING NEW TABLE AS changed
      FOR EACH STATEMENT EXECUTE FUNCTION note()`);
  it.a.put("next.key", NEXT);
  await it.one.nodes.beat(beatOf("a"));
  expect(await it.commit(it.a)).toMatchObject({ damaged: [] });
  expect(await it.used()).toEqual([NEXT.keyId]);
  const written = (await it.admin.unsafe("SELECT count FROM written")) as { count: bigint }[];
  expect(written.map(({ count }) => Number(count))).toEqual([20, 20, 10]);
});

test("where the database has lost the change again, the key that was kept goes the same way back", async () => {
  await using it = await setup();
  const tables = ["keyring", ...new Set(SEALED_COLUMNS.map(({ table }) => table))];
  for (const table of tables) await it.admin.unsafe(`CREATE TABLE former_${table} AS SELECT * FROM ${table}`);
  it.a.put("next.key", NEXT);
  await it.one.nodes.beat(beatOf("a"));
  await it.commit(it.a);
  const hasChanged = async () =>
    String((await it.one.nodes.beat(beatOf("a"))).map(({ keyIds }) => keyIds)) === NEXT.keyId;
  await Harness.until(hasChanged);
  for (const table of tables)
    await it.admin.unsafe(
      `DELETE FROM ${table} WHERE true; INSERT INTO ${table} SELECT * FROM former_${table}`,
    );
  await it.admin.unsafe("UPDATE revisions SET number = number + 1 WHERE name = 'keys'");
  await Harness.until(async () => (await it.one.probe()).some(({ part }) => part === "key"));
  it.a.put("next.key", OLD);
  await it.one.nodes.beat(beatOf("a"));
  await Harness.until(async () => (await it.one.probe()).length === 0);
  expect(await contentsOf(it.one)).toEqual(WHOLE);
  await it.one.nodes.beat(beatOf("a"));
  expect(it.a.files()).toMatchObject({ "master.key": OLD.keyId, [`master.key.${NEXT.keyId}`]: NEXT.keyId });
});

test("one that is run again finds that it is done, and one without a next key says which key there is", async () => {
  await using it = await setup();
  expect(await refusalOf(it.commit(it.a))).toContain(`the master key is ${OLD.keyId}; begin with`);
  for (const at of [it.a, it.b]) at.put("next.key", NEXT);
  await it.commit(it.a);
  expect(await it.commit(it.b)).toMatchObject({ newKeyId: NEXT.keyId, isResumed: true, resealed: 0 });
  const entries = await it.one.audit.list({ action: "master_key.rotated" }, { limit: 10 });
  expect(entries).toHaveLength(1);
});

test("several at once make one change", async () => {
  await using it = await setup();
  const c = it.machine("c");
  for (const at of [it.a, it.b, c]) at.put("next.key", NEXT);
  await it.one.nodes.beat(beatOf("a"));
  const reports = await Promise.all([it.a, it.b, c].map((at) => it.commit(at)));
  expect(reports.filter(({ isResumed }) => !isResumed)).toHaveLength(1);
  expect(await it.used()).toEqual([NEXT.keyId]);
  expect(await contentsOf(it.one)).toEqual(WHOLE);
});

test("with the key in the environment the node goes on, and says once that the variable is to be set", async () => {
  await using it = await setup();
  it.b.put("next.key", NEXT);
  const two = await it.open(it.b, { masterKey: OLD.text() });
  await two.nodes.beat(beatOf("b"));
  await it.commit(it.b, { masterKey: OLD.text() });
  await Harness.until(async () => (await two.probe()).length === 0);
  expect(await contentsOf(two)).toEqual(WHOLE);
  it.told.length = 0;
  for (let times = 0; times < 2; times++) await two.nodes.beat(beatOf("b"));
  expect(it.told).toEqual([expect.stringContaining(`set it to the key in ${it.b.nextKeyFile}`)]);
  expect(await contentsOf(await it.open(it.b, { masterKey: OLD.text() }))).toEqual(WHOLE);
});

test("a next key that is just being written is waited for, and one that stays unreadable is told of once", async () => {
  await using it = await setup();
  const beat = async () => (await it.one.nodes.beat(beatOf("a")))[0]!.keyIds;
  const half = NEXT.text().reveal().slice(0, 20);
  writeFileSync(it.a.nextKeyFile, half, { mode: 0o600 });
  expect(await beat()).toEqual([OLD.keyId]);
  expect(it.told).toEqual([]);
  it.a.put("next.key", NEXT);
  expect(await beat()).toEqual([OLD.keyId, NEXT.keyId]);
  writeFileSync(it.a.nextKeyFile, half, { mode: 0o600 });
  for (let times = 0; times < 3; times++) expect(await beat()).toEqual([OLD.keyId]);
  expect(it.told).toEqual([expect.stringContaining("can't be read, or is no key")]);
  expect(it.told.join()).not.toContain(half);
});

test("a node that can't move its key file goes on, starts again by the next key, and says what to do", async () => {
  await using it = await setup();
  it.b.put("next.key", NEXT);
  // In the place where the old key is to be kept.
  it.b.put(`master.key.${OLD.keyId}`, NEXT);
  const two = await it.open(it.b);
  it.a.put("next.key", NEXT);
  await it.commit(it.a);
  await Harness.until(async () => (await two.probe()).length === 0);
  await Harness.until(async () => (await two.nodes.beat(beatOf("b"))) && it.told.length === 2);
  expect(it.told[0]).toContain(`put the key in ${it.b.nextKeyFile} there yourself`);
  expect(it.told[1]).toContain("holds another key");
  expect(await contentsOf(await it.open(it.b))).toEqual(WHOLE);
  expect(it.b.files()).toMatchObject({ "master.key": OLD.keyId, "next.key": NEXT.keyId });
});

test("a node that can't remove the next key puts it into its key file all the same, and says that it is to be removed", async () => {
  await using it = await setup();
  it.b.put("next.key", NEXT);
  // Readable, and nobody can remove it there.
  const nextKeyFile = `/proc/self/fd/${openSync(it.b.nextKeyFile, "r")}`;
  const two = await it.open({ ...it.b, nextKeyFile });
  it.a.put("next.key", NEXT);
  await it.commit(it.a);
  await Harness.until(async () => (await two.probe()).length === 0);
  for (let times = 0; times < 3; times++) await two.nodes.beat(beatOf("b"));
  expect(it.told).toEqual([
    NEXT.keyId,
    expect.stringContaining("remove it yourself"),
    expect.stringContaining(`${nextKeyFile}: `),
  ]);
  expect(it.told.join()).not.toContain("can't be moved");
  expect(it.b.files()).toMatchObject({ "master.key": NEXT.keyId, [`master.key.${OLD.keyId}`]: OLD.keyId });
});

test("the next key is made for its owner alone, and one that is there is never overwritten", async () => {
  await using it = await setup();
  const keyId = createNextKey({ masterKey: undefined, ...it.a });
  expect(keyId).toMatch(/^[0-9a-f]{8}$/);
  expect(statSync(it.a.nextKeyFile).mode & 0o777).toBe(0o600);
  const text = readFileSync(it.a.nextKeyFile, "utf8");
  expect(() => createNextKey({ masterKey: undefined, ...it.a })).toThrow("is there already");
  expect(readFileSync(it.a.nextKeyFile, "utf8")).toBe(text);
  if (process.getuid?.() !== 0) return;
  chownSync(it.b.masterKeyFile, 12_345, 12_345);
  createNextKey({ masterKey: undefined, ...it.b });
  expect(statSync(it.b.nextKeyFile)).toMatchObject({ uid: 12_345, gid: 12_345 });
});

test("one step does it where one node is live, and is refused where there are more", async () => {
  await using it = await setup();
  const two = await it.open(it.b);
  const beating = setInterval(() => void it.one.nodes.beat(beatOf("a")).catch(() => undefined), 50);
  try {
    await it.one.nodes.beat(beatOf("a"));
    await two.nodes.beat(beatOf("b"));
    expect(await refusalOf(rotateSoleNode(it.optionsOf(it.a, {})))).toContain("2 nodes are live");
    expect(existsSync(it.a.nextKeyFile)).toBeFalse();
    await two.nodes.remove("b");
    const { newKeyId } = await rotateSoleNode(it.optionsOf(it.a, {}));
    expect(await it.used()).toEqual([newKeyId]);
    expect(await contentsOf(it.one)).toEqual(WHOLE);
  } finally {
    clearInterval(beating);
  }
});
