import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { Secret } from "../../src/secret.ts";
import { unlockDatabase } from "../../src/store/sqlite/unlock.ts";
import { failureOf } from "../support/refusals.ts";
import { breakAt, brokenOff, RotationFolder } from "../support/rotation-folder.ts";

const TOKENS = 3;
const MANY = 250;

/** A filled database, closed, with its key in a file, and what it held. */
async function setup({ tokens = TOKENS } = {}) {
  const files = new RotationFolder();
  await files.fill(tokens);
  const look = async (options: { masterKey?: Secret } = {}) => {
    const contents = await files.contents(await files.open(options), tokens);
    files.close();
    return contents;
  };
  const change = (sql: string) => {
    const database = new Database(files.path);
    database.run(sql);
    database.close();
  };
  const before = await look();
  return { files, before, look, change, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

test("a change of the master key keeps everything readable, by the new key alone, and reports what it did", async () => {
  using it = await setup();
  const oldText = readFileSync(it.files.keyPath, "utf8");
  const report = await it.files.rotate();
  expect(it.files.keyIds()).toEqual({ used: [report.newKeyId], known: [report.newKeyId] });
  expect(report).toMatchObject({ isResumed: false, damaged: [], resealed: 27 });
  expect(report.oldKeyId).not.toBe(report.newKeyId);
  expect(await it.look()).toEqual(it.before);
  const [entry] = await (await it.files.open()).audit.list({}, { limit: 1 });
  expect(entry).toMatchObject({ action: "master_key.rotated", client: "(command line)", outcome: "ok" });
  expect(entry?.detail).toMatchObject({ old: report.oldKeyId, new: report.newKeyId });
  it.files.close();
  writeFileSync(it.files.keyPath, oldText);
  expect((await failureOf(it.files.open())).message).toContain("or the new one if it was rotated");
});

test("the old key is kept beside the new one for old backups, and both are for their owner alone", async () => {
  using it = await setup();
  const oldText = readFileSync(it.files.keyPath, "utf8");
  const { oldKeyId, oldKeyFile = "" } = await it.files.rotate();
  expect(oldKeyFile).toBe(`${it.files.keyPath}.${oldKeyId}`);
  expect(readFileSync(oldKeyFile, "utf8")).toBe(oldText);
  expect(readFileSync(it.files.keyPath, "utf8")).toMatch(/^[0-9a-f]{64}\n$/);
  for (const path of [it.files.keyPath, oldKeyFile]) expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(dirname(it.files.keyPath)).filter((name) => name.startsWith("."))).toEqual([]);
});

test("who may read the key file stays", async () => {
  using it = await setup();
  chmodSync(it.files.keyPath, 0o640);
  await it.files.rotate();
  expect(statSync(it.files.keyPath).mode & 0o777).toBe(0o640);
});

test("P6: nothing that the old key opens is left in the database's files, nor any key", async () => {
  using it = await setup({ tokens: MANY });
  const { oldKeyId } = await it.files.rotate();
  const folder = dirname(it.files.path);
  const key = readFileSync(it.files.keyPath, "utf8").trim();
  for (const name of readdirSync(folder).filter((each) => each.startsWith("accesstoken"))) {
    const bytes = readFileSync(join(folder, name));
    for (const text of [`${oldKeyId}.`, key, Buffer.from(key, "hex").toString("base64url").slice(0, -1)])
      expect(bytes.includes(text), name).toBeFalse();
    expect(bytes.includes(Buffer.from(key, "hex")), name).toBeFalse();
  }
});

test("P3: a change that was broken off before its transaction has changed nothing", async () => {
  using it = await setup({ tokens: MANY });
  const ids = it.files.keyIds();
  await brokenOff(it.files.rotate({ onProgress: breakAt("encrypting") }));
  expect(it.files.keyIds()).toEqual(ids);
  expect(await it.look()).toEqual(it.before);
  expect((await it.files.rotate()).isResumed).toBeFalse();
});

test.each(["written", "ending"] as const)(
  "P3: a change that was broken off at %s leaves everything under the new key, and the next run completes it",
  async (step) => {
    using it = await setup({ tokens: MANY });
    await brokenOff(it.files.rotate({ onProgress: breakAt(step) }));
    expect(await it.look()).toEqual(it.before);
    const { known, used } = it.files.keyIds();
    expect(known).toHaveLength(2);
    const report = await it.files.rotate();
    expect(report).toMatchObject({ isResumed: true, resealed: 0 });
    expect(used).toEqual([report.newKeyId]);
    expect([report.oldKeyId, report.newKeyId].toSorted()).toEqual(known.toSorted());
    expect(await it.look()).toEqual(it.before);
  },
);

test("P3: a change that fails after the key file was replaced leaves everything readable, and is completed", async () => {
  using it = await setup();
  const oldText = readFileSync(it.files.keyPath, "utf8");
  it.change("CREATE TRIGGER no_end BEFORE DELETE ON keyring BEGIN SELECT RAISE(ABORT, 'full'); END");
  await failureOf(it.files.rotate());
  const newText = readFileSync(it.files.keyPath, "utf8");
  expect(newText).not.toBe(oldText);
  expect(await it.look()).toEqual(it.before);
  expect(await it.look({ masterKey: new Secret(oldText) })).toEqual(it.before);
  it.change("DROP TRIGGER no_end");
  expect((await it.files.rotate()).isResumed).toBeTrue();
  expect(readFileSync(it.files.keyPath, "utf8")).toBe(newText);
  expect(await it.look()).toEqual(it.before);
});

test("P7: without its audit entry, nothing is changed", async () => {
  using it = await setup();
  const ids = it.files.keyIds();
  const oldText = readFileSync(it.files.keyPath, "utf8");
  it.change(
    "CREATE TRIGGER no_entries BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'full'); END",
  );
  await failureOf(it.files.rotate());
  it.change("DROP TRIGGER no_entries");
  expect(it.files.keyIds()).toEqual(ids);
  expect(readFileSync(it.files.keyPath, "utf8")).toBe(oldText);
  expect(await it.look()).toEqual(it.before);
});

test("P7: a change of the key of a database whose first start was killed leaves the audit intact", async () => {
  using files = new RotationFolder();
  const { close } = await unlockDatabase({
    ...{ path: files.path, masterKey: undefined, masterKeyFile: files.keyPath, clock: files.clock },
    onKeyCreated: () => {},
  });
  close();
  await files.rotate();
  expect(await (await files.open()).audit.verify()).toMatchObject({ isIntact: true, entries: 1 });
});

test("several changes at once do no harm", async () => {
  using it = await setup({ tokens: MANY });
  const reports = await Promise.all([1, 2, 3].map(() => it.files.rotate()));
  const { known, used } = it.files.keyIds();
  expect(used).toEqual(known);
  expect(reports.map(({ newKeyId }) => newKeyId)).toContain(known[0] ?? "");
  expect(await it.look()).toEqual(it.before);
});

test("a change that was held up while others changed the key does not put its own in the place of theirs", async () => {
  using it = await setup();
  const { promise: isLate, resolve: hold } = Promise.withResolvers<true>();
  const isExpired = isLate.then(() => it.files.rotate()).then(() => it.files.rotate());
  let isHeld = false;
  await it.files.rotate({
    onProgress: ({ step }) => {
      if (step !== "written") return;
      isHeld = true;
      hold(true);
    },
    clock: {
      now: () => it.files.clock.now(),
      monotonic: () => it.files.clock.monotonic(),
      sleep: async (ms) => void (await (isHeld ? isExpired : it.files.clock.sleep(ms))),
    },
  });
  const { known, used } = it.files.keyIds();
  expect(used).toEqual(known);
  expect(await it.look()).toEqual(it.before);
});

test.each(["encrypting", "written", "ending"] as const)(
  "P3: what another process has written under the old key at %s is encrypted before that key goes",
  async (at) => {
    using it = await setup();
    it.change("CREATE TABLE kept AS SELECT * FROM credentials");
    let times = 0;
    const report = await it.files.rotate({
      onProgress: ({ step }) => {
        if (step !== at || ++times > 1) return;
        it.change("DELETE FROM credentials");
        it.change("INSERT INTO credentials SELECT * FROM kept");
      },
    });
    expect(times).toBeGreaterThan(0);
    expect(it.files.keyIds()).toEqual({ used: [report.newKeyId], known: [report.newKeyId] });
    expect(await it.look()).toEqual(it.before);
  },
);

test("a change raises the epoch of the keys when there is a new one and when the old one is gone", async () => {
  using it = await setup();
  const epoch = () => {
    const database = new Database(it.files.path, { readonly: true });
    try {
      const query = "SELECT number FROM revisions WHERE name = 'keys'";
      return database.query<{ number: number }, []>(query).get()?.number ?? 0;
    } finally {
      database.close();
    }
  };
  const before = epoch();
  let written = 0;
  await it.files.rotate({
    onProgress: ({ step }) => {
      if (step === "written") written = epoch();
    },
  });
  expect(written).toBeGreaterThan(before);
  expect(epoch()).toBeGreaterThan(written);
});

test("a credential that did not open before is cleared and reported, and a login's answer is dropped", async () => {
  using it = await setup();
  it.change("UPDATE credentials SET value = 'spoilt' WHERE app_id = 'wx1' AND slot = 'stable'");
  it.change("UPDATE login_answers SET answer = '00000000.AAAA'");
  const { damaged } = await it.files.rotate();
  expect(damaged.map(({ table, row }) => `${table} ${row}`)).toEqual([
    "credentials weixin:wx1:stable:access_token",
    "login_answers login-digest",
  ]);
  const [one, , three] = it.before.tokens;
  const left = { tokens: [one, undefined, three], slots: ["wx0", undefined, "wx2"] };
  expect(await it.look()).toEqual({ ...it.before, ...left, login: "ours" });
});

test.each([
  "UPDATE apps SET secret = 'spoilt' WHERE app_id = 'wx1'",
  "UPDATE apps SET secret = (SELECT proof FROM keyring)",
])("an app's secret that does not open stops the change before it begins: %s", async (sql) => {
  using it = await setup();
  const { known } = it.files.keyIds();
  it.change(sql);
  const failure = await failureOf(it.files.rotate());
  expect([failure.code, failure.message]).toEqual([
    "store_unusable",
    expect.stringContaining("nothing is lost"),
  ]);
  expect(it.files.keyIds().known).toEqual(known);
  expect(existsSync(`${it.files.keyPath}.${known[0]}`)).toBeFalse();
});

test("a folder in which the old key can't be kept stops the change before it begins", async () => {
  using it = await setup();
  const { known } = it.files.keyIds();
  mkdirSync(`${it.files.keyPath}.${known[0]}`);
  expect((await failureOf(it.files.rotate())).code).toBe("store_unusable");
  expect(it.files.keyIds().known).toEqual(known);
  expect(await it.look()).toEqual(it.before);
});

test("there must be a database of this version, and its key", async () => {
  using files = new RotationFolder();
  expect((await failureOf(files.rotate())).message).toContain("there is no database");
  expect(readdirSync(files.folder)).toEqual([]);
  using it = await setup();
  it.change("DELETE FROM migrations WHERE name = '0002_access'");
  expect((await failureOf(it.files.rotate())).message).toContain(
    "start every service process with this version",
  );
});

test("what killed processes have half written of a key is removed, and what running ones write stays", async () => {
  using it = await setup();
  const ended = Bun.spawnSync(["true"]).pid;
  const folder = dirname(it.files.keyPath);
  const [left, underWay] = [`.${ended}-0123456789ab.key`, `.${process.ppid}-0123456789ab.key`];
  for (const name of [left, underWay]) writeFileSync(join(folder, name), "half a key");
  await it.files.rotate();
  expect(readdirSync(folder)).not.toContain(left);
  expect(readdirSync(folder)).toContain(underWay);
});
