import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { Keyring, type KeyRow } from "../../src/store/keyring.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";

const PLACE = { table: "apps", row: "weixin:wx1:", column: "secret" };
const TEXT = new Secret("canary");

/** A database's record of its keys that a test writes by hand, and processes that were given one of them. */
function setup() {
  const [one, two] = [SealingKey.random(), SealingKey.random()];
  const row = (key: SealingKey, wrapped: string | null = null): KeyRow => {
    return { keyId: key.keyId, proof: key.keyCheck(), createdAt: 1, wrapped };
  };
  let rows: readonly KeyRow[] = [row(one)];
  let version = 1;
  let looks = 0;
  const table = {
    version: () => version,
    rows: () => {
      looks++;
      return rows;
    },
  };
  return {
    one,
    two,
    write: (...written: KeyRow[]) => {
      rows = written;
      version++;
    },
    looks: () => looks,
    /** As after each step of a change from `one` to `two`. */
    rowsOf: {
      before: [row(one)],
      under: [row(one, one.wrap("old", two)), row(two, two.wrap("new", one))],
      after: [row(two)],
    },
    row,
    process: (key: SealingKey, readKey: () => SealingKey | undefined = () => key) =>
      new Keyring({ table, key, readKey }),
  };
}

/** The code with which `work` fails. */
function codeOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    if (error instanceof ServiceError) return error.code;
    throw error;
  }
}

test("while a key takes another's place, whoever was given either seals under the new one and opens both", () => {
  const it = setup();
  it.write(...it.rowsOf.under);
  for (const given of [it.one, it.two]) {
    const keyring = it.process(given);
    expect(keyring.seal(TEXT, PLACE)).toStartWith(`${it.two.keyId}.`);
    for (const key of [it.one, it.two])
      expect(keyring.open(key.seal(TEXT, PLACE), PLACE).reveal()).toBe("canary");
    expect(keyring.isProven()).toBeTrue();
  }
});

test("a running process learns of the change at its next seal or at the first text that it can't open", () => {
  const it = setup();
  const [sealing, opening] = [it.process(it.one), it.process(it.one)];
  for (const each of [sealing, opening]) expect(each.seal(TEXT, PLACE)).toStartWith(it.one.keyId);
  it.write(...it.rowsOf.under);
  expect(sealing.seal(TEXT, PLACE)).toStartWith(it.two.keyId);
  expect(opening.open(it.two.seal(TEXT, PLACE), PLACE).reveal()).toBe("canary");
});

test("while nothing was written, a seal does not read the keys again", () => {
  const it = setup();
  const keyring = it.process(it.one);
  for (let n = 0; n < 100; n++) keyring.seal(TEXT, PLACE);
  expect(it.looks()).toBe(1);
});

test("a process that has learnt of the new key goes on when the old one is put out of use, and forgets that one", () => {
  const it = setup();
  const keyring = it.process(it.one, () => undefined);
  it.write(...it.rowsOf.under);
  keyring.refresh();
  it.write(...it.rowsOf.after);
  expect(keyring.seal(TEXT, PLACE)).toStartWith(it.two.keyId);
  expect(keyring.isProven()).toBeTrue();
  expect(codeOf(() => keyring.open(it.one.seal(TEXT, PLACE), PLACE))).toBe("store_unusable");
});

test("a process that has missed the change takes the new key from the key file", () => {
  const it = setup();
  const keyring = it.process(it.one, () => it.two);
  it.write(...it.rowsOf.after);
  expect(keyring.open(it.two.seal(TEXT, PLACE), PLACE).reveal()).toBe("canary");
  expect(keyring.seal(TEXT, PLACE)).toStartWith(it.two.keyId);
});

test("a process that can't have the new key neither seals nor takes what it can't open for damaged, until it has it", () => {
  const it = setup();
  let file: SealingKey | undefined;
  const keyring = it.process(it.one, () => file);
  keyring.refresh();
  it.write(...it.rowsOf.after);
  const text = it.two.seal(TEXT, PLACE);
  expect(codeOf(() => keyring.seal(TEXT, PLACE))).toBe("unavailable");
  expect(codeOf(() => keyring.open(text, PLACE))).toBe("unavailable");
  expect(codeOf(() => keyring.open(`00000000.${text.slice(9)}`, PLACE))).toBe("store_unusable");
  expect(keyring.isProven()).toBeFalse();
  file = it.two;
  expect(keyring.open(text, PLACE).reveal()).toBe("canary");
  expect(keyring.seal(TEXT, PLACE)).toStartWith(it.two.keyId);
});

test("a former key whose row is put back neither becomes the newest nor lets another in", () => {
  const it = setup();
  const keyring = it.process(it.one, () => undefined);
  it.write(...it.rowsOf.under);
  keyring.refresh();
  it.write(...it.rowsOf.after);
  keyring.refresh();
  // Whoever has the former key can wrap a key of his own under it.
  const planted = SealingKey.random();
  it.write(...it.rowsOf.under, it.row(planted, planted.wrap("new", it.one)));
  expect(keyring.seal(TEXT, PLACE)).toStartWith(it.two.keyId);
  it.write(it.row(it.one), it.row(planted, planted.wrap("new", it.one)));
  expect(codeOf(() => keyring.seal(TEXT, PLACE))).toBe("unavailable");
  it.write(...it.rowsOf.under);
  expect(keyring.seal(TEXT, PLACE)).toStartWith(it.two.keyId);
});

test("a key that was wrapped in one role does not open in the other", () => {
  const { one, two } = setup();
  const wrapped = two.wrap("new", one);
  expect(one.unwrap(two.keyId, "new", wrapped)?.keyId).toBe(two.keyId);
  expect(one.unwrap(two.keyId, "old", wrapped)).toBeUndefined();
  expect(one.unwrap(one.keyId, "new", wrapped)).toBeUndefined();
  expect(two.unwrap(two.keyId, "new", wrapped)).toBeUndefined();
});

test("a failure to read the keys is passing when a text is opened, and is left to the transaction that seals", () => {
  const failure = new Error("disk");
  const table = {
    version: () => {
      throw failure;
    },
    rows: () => [],
  };
  const key = SealingKey.random();
  const keyring = new Keyring({ table, key, readKey: () => key });
  expect(codeOf(() => keyring.open(SealingKey.random().seal(TEXT, PLACE), PLACE))).toBe("unavailable");
  expect(() => keyring.seal(TEXT, PLACE)).toThrow(failure);
});
