import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { breakAt, brokenOff, RotationFolder } from "../support/rotation-folder.ts";

const TWO_HOURS_MS = 7_200_000;
/** What processes may still sign with the former key while they learn of the new one. */
const LEARNING_MS = 1000;

/** A database that a process serves, and a thief who may copy it with its master key, and signs tokens with what he has. */
async function setup() {
  const files = new RotationFolder();
  const copies: RotationFolder[] = [];
  await files.fill();
  const live = await files.open();
  /** Opens a copy of the database as it is now, under the key of then or an older one. */
  const steal = async (keyPath = files.keyPath): Promise<Store> => {
    const copy = new RotationFolder(files.clock);
    copies.push(copy);
    (await copy.open()).close();
    for (const end of ["", "-wal"]) {
      const from = files.path + end;
      if (existsSync(from)) copyFileSync(from, copy.path + end);
    }
    copyFileSync(keyPath, copy.keyPath);
    return copy.open();
  };
  return {
    files,
    live,
    clock: files.clock as RotationFolder["clock"] & { advance(ms: number): void },
    steal,
    /** Whether the running process takes a token for one of its own. */
    accepts: (token: Secret) => files.knows(live, token),
    [Symbol.dispose]: () => {
      files[Symbol.dispose]();
      for (const copy of copies) copy[Symbol.dispose]();
    },
  };
}

test("a thief with the key and a copy of the database signs tokens until two hours after the master key is changed", async () => {
  using it = await setup();
  const thief = await it.steal();
  expect(await it.accepts(it.files.issue(thief))).toBeTrue();
  const out = it.files.issue(it.live);
  const { revokedVirtualTokens } = await it.files.rotate();
  expect(revokedVirtualTokens).toBeFalse();
  await it.live.virtualTokenKeys.refresh();
  it.clock.advance(TWO_HOURS_MS - 1);
  expect(await it.accepts(out)).toBeTrue();
  expect(await it.accepts(it.files.issue(thief))).toBeTrue();
  it.clock.advance(1 + LEARNING_MS);
  expect(await it.accepts(it.files.issue(thief))).toBeFalse();
  expect(await it.accepts(it.files.issue(it.live))).toBeTrue();
  expect(await it.accepts(out)).toBeFalse();
});

test("with --now a thief's tokens are refused at once, with all that are out, in a running process and in a new one", async () => {
  using it = await setup();
  const thief = await it.steal();
  const out = it.files.issue(it.live);
  await it.files.rotate();
  expect(await it.accepts(out)).toBeTrue();
  const { revokedVirtualTokens } = await it.files.rotate({ revokesVirtualTokens: true });
  expect(revokedVirtualTokens).toBeTrue();
  await it.live.virtualTokenKeys.refresh();
  for (const store of [it.live, await it.files.open()]) {
    for (const token of [out, it.files.issue(thief)]) expect(await it.files.knows(store, token)).toBeFalse();
    expect(await it.accepts(it.files.issue(store))).toBeTrue();
  }
  const [entry] = await it.live.audit.list({}, { limit: 1 });
  expect(entry).toMatchObject({ action: "master_key.rotated", detail: { virtual_tokens: "revoked" } });
});

test("nobody who copies the database while its master key is changed has the new key of virtual tokens with the old master key", async () => {
  using it = await setup();
  const thieves: Store[] = [];
  for (const step of ["written", "ending"] as const) {
    await brokenOff(it.files.rotate({ onProgress: breakAt(step) }));
    thieves.push(await it.steal());
  }
  const { isResumed } = await it.files.rotate({ revokesVirtualTokens: true });
  expect(isResumed).toBeTrue();
  await it.live.virtualTokenKeys.refresh();
  const token = it.files.issue(it.live);
  for (const thief of thieves) {
    expect(await it.files.knows(thief, token)).toBeFalse();
    expect(await it.accepts(it.files.issue(thief))).toBeFalse();
  }
});

test("a token that one process has just issued under the new key is accepted by another that has not heard of it", async () => {
  using it = await setup();
  const beside = await it.files.open();
  await it.files.rotate();
  await beside.virtualTokenKeys.refresh();
  expect(await it.accepts(it.files.issue(beside))).toBeTrue();
});

test("tokens of several changes within two hours are accepted until each ends", async () => {
  using it = await setup();
  const tokens: Secret[] = [];
  for (let n = 0; n < 3; n++) {
    tokens.push(it.files.issue(it.live));
    await it.files.rotate();
    await it.live.virtualTokenKeys.refresh();
  }
  for (const token of tokens) expect(await it.accepts(token)).toBeTrue();
  it.clock.advance(TWO_HOURS_MS + LEARNING_MS + tokens.length);
  await it.files.rotate();
  await it.live.virtualTokenKeys.refresh();
  expect(it.live.virtualTokenKeys.keys().former).toHaveLength(1);
});

test("a change with --now that another one has ended in its place still refuses the tokens that are out", async () => {
  using it = await setup();
  const out = it.files.issue(it.live);
  const isOver = Promise.withResolvers<true>();
  const isWritten = Promise.withResolvers<true>();
  const { now, monotonic } = { now: () => it.clock.now(), monotonic: () => it.clock.monotonic() };
  const held = it.files.rotate({
    revokesVirtualTokens: true,
    onProgress: ({ step }) => {
      if (step === "written") isWritten.resolve(true);
    },
    clock: { now, monotonic, sleep: async () => void (await isOver.promise) },
  });
  await isWritten.promise;
  expect((await it.files.rotate()).isResumed).toBeTrue();
  await it.live.virtualTokenKeys.refresh();
  expect(await it.accepts(out)).toBeTrue();
  isOver.resolve(true);
  await held;
  await it.live.virtualTokenKeys.refresh();
  expect(await it.accepts(out)).toBeFalse();
});

test("a former key can't be made to last longer by who can write to the database", async () => {
  using it = await setup();
  const out = it.files.issue(it.live);
  await it.files.rotate();
  it.files.close();
  const database = new Database(it.files.path);
  database.run("UPDATE data_keys SET name = 'virtual_token until 9000000000000' WHERE name LIKE '% until %'");
  database.close();
  const failure: unknown = await it.files.open().catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "store_unusable" });
  expect(await it.accepts(out).catch(() => false)).toBeTrue();
});

test("a database of the version before keeps its key until the master key is changed, so tokens that are out go on", async () => {
  using files = new RotationFolder();
  const masterKey = new Secret("11".repeat(32));
  await files.fill(undefined, { masterKey });
  const database = new Database(files.path);
  database.run("DELETE FROM data_keys WHERE name = 'virtual_token'");
  database.close();
  const store = await files.open({ masterKey });
  const key = "c9da371b604e42faf5aa54c79497aa16775522a3bf495ced66d885e3a50fea3b";
  expect(Buffer.from(store.virtualTokenKeys.keys().current).toString("hex")).toBe(key);
  const newKeyFile = `${files.keyPath}.new`;
  await files.rotate({ masterKey, newKeyFile });
  const newKey = new Secret(readFileSync(newKeyFile, "utf8"));
  const { current, former } = (await files.open({ masterKey: newKey })).virtualTokenKeys.keys();
  expect(Buffer.from(current).toString("hex")).not.toBe(key);
  expect(former.map((each) => Buffer.from(each.key).toString("hex"))).toEqual([key]);
});
