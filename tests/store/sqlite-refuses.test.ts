import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { Secret } from "../../src/secret.ts";
import { saveUnderLease, StoreFolder } from "../support/store-folder.ts";
import { failureOf } from "../support/refusals.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";

const TOKEN = "canary-token-0123456789abcdef";

/** A closed database with an app and two credentials in it, whole in its one file. */
async function setup() {
  using made = new StoreFolder();
  const store = await made.open();
  await store.apps.replaceAll([
    { platform: "weixin", id: "wx1", secret: new Secret("canary-secret"), tokenMode: "stable" },
  ]);
  for (const slot of [weixinSlot("wx1"), weixinSlot("wx2")]) {
    const credential = { value: new Secret(TOKEN), issuedAt: 1, expiresAt: 9 };
    await saveUnderLease(store.credentials, tokenOf(slot), credential);
  }
  made.close();
  alter(made, "PRAGMA user_version");
  // A copy, because a closed connection keeps its hold of the files until its statements are collected.
  const files = new StoreFolder();
  mkdirSync(dirname(files.path), { mode: 0o700 });
  for (const [from, to] of [
    [made.path, files.path],
    [made.keyPath, files.keyPath],
  ] as const)
    copyFileSync(from, to);
  return files;
}

/** Changes the closed database by SQL. */
function alter(files: StoreFolder, sql: string): void {
  const database = new Database(files.path);
  database.run(sql);
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
}

function fingerprint({ path, keyPath }: StoreFolder): string[] {
  return [path, keyPath].map((file) =>
    existsSync(file) ? createHash("sha256").update(readFileSync(file)).digest("hex") : "missing",
  );
}

/** The one line with which the start is refused; nothing may have been rewritten. */
async function refusalLine(files: StoreFolder, ...options: Parameters<StoreFolder["open"]>): Promise<string> {
  const before = fingerprint(files);
  const failure = await failureOf(files.open(...options));
  expect(failure.code).toBe("store_unusable");
  expect(failure.message).not.toContain("\n");
  expect(failure.message).not.toContain("canary");
  expect(fingerprint(files)).toEqual(before);
  expect(
    readdirSync(dirname(files.path)).filter((name) => name.endsWith(".key") && name.startsWith(".")),
  ).toEqual([]);
  return failure.message;
}

test("a wrong master key stops the start, says which to use, and rewrites nothing", async () => {
  using files = await setup();
  const key = readFileSync(files.keyPath, "utf8");
  writeFileSync(files.keyPath, `${"0".repeat(64)}\n`);
  expect(await refusalLine(files)).toMatch(
    /^MASTER_KEY_FILE .*master\.key: .*use the key that it was made with/,
  );
  expect(await refusalLine(files, { masterKey: new Secret("1".repeat(64)) })).toStartWith("MASTER_KEY: ");
  writeFileSync(files.keyPath, key);
  expect(await (await files.open()).apps.list()).toHaveLength(1);
});

test("a missing master key stops the start, and no new one is made", async () => {
  using files = await setup();
  rmSync(files.keyPath);
  expect(await refusalLine(files)).toContain("put the original key file back");
  expect(existsSync(files.keyPath)).toBeFalse();
});

test("a text that is no master key stops the start and is not quoted", async () => {
  using files = await setup();
  for (const text of ["", "canary", "0".repeat(63), "0".repeat(65), "g".repeat(64), "canary".repeat(20)]) {
    writeFileSync(files.keyPath, text);
    expect(await refusalLine(files)).toContain("64 hex digits or base64");
    if (text) expect(await refusalLine(files, { masterKey: new Secret(text) })).toStartWith("MASTER_KEY: ");
  }
});

test("a key file that can't be read stops the start", async () => {
  using files = await setup();
  rmSync(files.keyPath);
  mkdirSync(files.keyPath);
  const failure = await failureOf(files.open());
  expect(failure.message).toContain("MASTER_KEY_FILE");
  expect(failure.code).toBe("store_unusable");
});

test("a new database with a text that is no key is not made at all", async () => {
  using files = new StoreFolder();
  expect((await failureOf(files.open({ masterKey: new Secret("canary") }))).message).not.toContain("canary");
  expect(existsSync(files.path)).toBeFalse();
});

test("a file that is no database stops the start, says what to do, and is left as it is", async () => {
  using files = await setup();
  writeFileSync(files.path, "this is no database ".repeat(500));
  expect(await refusalLine(files)).toMatch(/^DATABASE_URL .*restore a backup, or move the file away/);
});

test("a database that lost its end stops the start and is left as it is", async () => {
  using files = await setup();
  const bytes = readFileSync(files.path);
  for (const length of [bytes.length - 4096, 4096, 1000, 100]) {
    writeFileSync(files.path, bytes.subarray(0, length));
    expect(await refusalLine(files)).toContain("DATABASE_URL");
  }
});

test("a database with overwritten pages stops the start and is left as it is", async () => {
  using files = await setup();
  // A page that a dropped table has left free holds nothing that could be damaged.
  alter(files, "VACUUM");
  const bytes = readFileSync(files.path);
  const pages = bytes.length / 4096;
  expect(pages).toBeGreaterThan(4);
  for (let page = 1; page < pages; page++) {
    const damaged = Buffer.from(bytes);
    damaged.fill(0xa5, page * 4096, (page + 1) * 4096);
    writeFileSync(files.path, damaged);
    expect(await refusalLine(files), `page ${page}`).toContain("DATABASE_URL");
  }
});

test("a database from a newer version stops the start, says to upgrade, and is left as it is", async () => {
  using files = await setup();
  alter(files, "INSERT INTO migrations (name, applied_at) VALUES ('9999_later', 1)");
  expect(await refusalLine(files)).toContain("upgrade this program");
});

test("another program's database stops the start and is left as it is", async () => {
  using files = new StoreFolder();
  mkdirSync(dirname(files.path));
  alter(files, "CREATE TABLE invoices (id INTEGER)");
  expect(await refusalLine(files)).toContain("choose another path");
  expect(existsSync(files.keyPath)).toBeFalse();
});

test("a path that can't be written stops the start with its name", async () => {
  using files = new StoreFolder();
  writeFileSync(join(files.folder, "file"), "");
  const failure = await failureOf(
    files.open({ path: join(files.folder, "file", "x.db"), masterKey: new Secret("0".repeat(64)) }),
  );
  expect(failure.code).toBe("store_unusable");
  expect(failure.message).toContain("DATABASE_URL");
});

test("a changed app secret is noticed where it is used and when apps change, and not overwritten silently", async () => {
  using files = await setup();
  alter(files, "UPDATE apps SET secret = (SELECT proof FROM keyring)");
  const { apps } = await files.open();
  const [app] = await apps.list();
  expect((await failureOf(Promise.try(() => app?.secret))).code).toBe("store_unusable");
  const added = { platform: "weixin", id: "wx2", secret: new Secret("other"), tokenMode: "stable" } as const;
  const same = { ...added, id: "wx1", secret: new Secret("canary-secret") };
  expect((await failureOf(apps.replaceAll([same, added]))).code).toBe("store_unusable");
});
