import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Secret } from "../../src/secret.ts";
import { failureOf } from "../support/refusals.ts";
import { breakAt, brokenOff, RotationFolder } from "../support/rotation-folder.ts";

const MAIN = join(import.meta.dir, "../../src/main.ts");
const OLD = new Secret("11".repeat(32));

/** A filled database, closed, with its key in the environment, a place for the new one, and what it held. */
async function setup() {
  const files = new RotationFolder();
  await files.fill(undefined, { masterKey: OLD });
  const look = async ({ masterKey }: { masterKey: Secret }) => {
    const contents = await files.contents(await files.open({ masterKey }));
    files.close();
    return contents;
  };
  const newKeyFile = join(files.folder, "new.key");
  const readNewKey = () => new Secret(readFileSync(newKeyFile, "utf8"));
  const before = await look({ masterKey: OLD });
  return { files, before, look, newKeyFile, readNewKey, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

test("with the key in the environment, the new one is in its file before anything is written under it", async () => {
  using it = await setup();
  const rotation = { masterKey: OLD, newKeyFile: it.newKeyFile };
  await brokenOff(it.files.rotate({ ...rotation, onProgress: breakAt("written") }));
  expect(statSync(it.newKeyFile).mode & 0o777).toBe(0o600);
  for (const masterKey of [OLD, it.readNewKey()]) expect(await it.look({ masterKey })).toEqual(it.before);
  const report = await it.files.rotate(rotation);
  expect(report).toMatchObject({ isResumed: true, oldKeyFile: undefined });
  expect(await it.look({ masterKey: it.readNewKey() })).toEqual(it.before);
  expect((await failureOf(it.files.open({ masterKey: OLD }))).message).toStartWith("MASTER_KEY: ");
  expect(existsSync(it.files.keyPath)).toBeFalse();
});

test("with the key in the environment, a new one that somebody has made is taken from its file", async () => {
  using it = await setup();
  const text = Buffer.alloc(32, 9).toString("base64");
  writeFileSync(it.newKeyFile, text);
  await it.files.rotate({ masterKey: OLD, newKeyFile: it.newKeyFile });
  expect(readFileSync(it.newKeyFile, "utf8")).toBe(text);
  expect(await it.look({ masterKey: new Secret(text) })).toEqual(it.before);
});

test("a change to another key that is under way is gone on with, and its key is put where none is", async () => {
  using it = await setup();
  const [first, second] = [join(it.files.folder, "1.key"), join(it.files.folder, "2.key")];
  const run = (newKeyFile: string | undefined) => it.files.rotate({ masterKey: OLD, newKeyFile });
  await brokenOff(it.files.rotate({ masterKey: OLD, newKeyFile: first, onProgress: breakAt("written") }));
  writeFileSync(second, "22".repeat(32));
  expect((await failureOf(run(second))).message).toContain("is under way");
  expect((await failureOf(run(undefined))).code).toBe("invalid_parameter");
  await run(it.newKeyFile);
  expect(readFileSync(it.newKeyFile, "utf8")).toBe(readFileSync(first, "utf8"));
  expect(await it.look({ masterKey: it.readNewKey() })).toEqual(it.before);
});

test("who has set MASTER_KEY to the new key already needs no file to go on", async () => {
  using it = await setup();
  const rotation = { masterKey: OLD, newKeyFile: it.newKeyFile };
  await brokenOff(it.files.rotate({ ...rotation, onProgress: breakAt("written") }));
  const masterKey = it.readNewKey();
  await it.files.rotate({ masterKey });
  expect(await it.look({ masterKey })).toEqual(it.before);
});

test("a rotation that another one to the same key has overtaken says so, and nothing of damage", async () => {
  using it = await setup();
  const overtake = () =>
    Bun.spawnSync([process.execPath, MAIN, "master-key", "rotate", "--new-key-file", it.newKeyFile], {
      env: { DATABASE_URL: `file:${it.files.path}`, MASTER_KEY: OLD.reveal(), ENV_FILE: "" },
      cwd: it.files.folder,
    }).exitCode;
  const ended: number[] = [];
  const onProgress = () => void (ended.length === 0 && ended.push(overtake()));
  const failure = await failureOf(it.files.rotate({ masterKey: OLD, newKeyFile: it.newKeyFile, onProgress }));
  expect([ended, failure.code, failure.message]).toEqual([
    [0],
    "conflict",
    expect.stringContaining("another rotation has just completed"),
  ]);
  expect(await it.look({ masterKey: it.readNewKey() })).toEqual(it.before);
});

test("a new key's file that makes no sense is refused before anything is begun", async () => {
  using it = await setup();
  const { known } = it.files.keyIds();
  const refused = async (options: Parameters<RotationFolder["rotate"]>[0]) =>
    (await failureOf(it.files.rotate(options))).message;
  expect(await refused({ masterKey: OLD })).toContain("name the file with the new one");
  writeFileSync(it.newKeyFile, OLD.reveal());
  expect(await refused({ masterKey: OLD, newKeyFile: it.newKeyFile })).toContain("the key that is in use");
  writeFileSync(it.newKeyFile, "canary");
  const message = await refused({ masterKey: OLD, newKeyFile: it.newKeyFile });
  expect(message).toContain(it.newKeyFile);
  expect(message).not.toContain("canary");
  expect(it.files.keyIds().known).toEqual(known);
});

test("with a key file, a file for the new key is refused, and why is said", async () => {
  using files = new RotationFolder();
  await files.fill();
  const failure = await failureOf(files.rotate({ newKeyFile: join(files.folder, "new.key") }));
  expect([failure.code, failure.message]).toEqual([
    "invalid_parameter",
    expect.stringContaining("the option is for MASTER_KEY only"),
  ]);
  expect(existsSync(join(files.folder, "new.key"))).toBeFalse();
});

test("a change of the key changes no digest: names that were given before there was one stay", async () => {
  using it = await setup();
  // As it was before the digest's key was kept in the database.
  expect(it.before.digest).toBe("jg40g6YQYCqHJdsJgsIBkf");
  await it.files.rotate({ masterKey: OLD, newKeyFile: it.newKeyFile });
  expect((await it.look({ masterKey: it.readNewKey() })).digest).toBe("jg40g6YQYCqHJdsJgsIBkf");
});
