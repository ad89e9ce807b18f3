import { expect, test as declared } from "bun:test";
import { ServiceError } from "../../../src/errors.ts";
import { Secret } from "../../../src/secret.ts";
import { Keyring, type KeyRow, type KeyTable } from "../../../src/store/keyring.ts";
import { SealingKey } from "../../../src/store/sealing-key.ts";
import type { SqlDatabase } from "../../../src/store/sql.ts";
import { keyring as keyRows } from "../../../src/store/schema.ts";
import { raiseEpoch } from "../../../src/store/epochs.ts";
import {
  dropPredecessor,
  insertKey,
  insertSuccessor,
  replaceKeys,
  SqlKeyTable,
} from "../../../src/store/sql-key-table.ts";

const PLACE = { table: "apps", row: "weixin:wx1:", column: "secret" };
const TEXT = new Secret("canary");

/** Opens an empty database with its tables. */
export type OpenTables = () => Promise<{ readonly database: SqlDatabase; readonly dispose: () => void }>;

/** The code with which `work` fails. */
async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "none";
  } catch (error) {
    if (error instanceof ServiceError) return error.code;
    throw error;
  }
}

/** What processes make of a database's record of its keys, on every engine. `kind` names it in the tests' names. */
export function keyringContract(kind: string, open: OpenTables, test = declared): void {
  /** A database under `one`, a key to come, and processes that were given one of them. */
  async function setup() {
    const { database, dispose } = await open();
    const [one, two] = [SealingKey.random(), SealingKey.random()];
    await database.transact((queries) => insertKey(queries, one, 1));
    const stored = new SqlKeyTable(database);
    let looks = 0;
    const table: KeyTable = {
      version: (transaction) => stored.version(transaction),
      rows: (transaction) => {
        looks++;
        return stored.rows(transaction);
      },
    };
    return {
      one,
      two,
      database,
      looks: () => looks,
      begin: () => database.transact((queries) => insertSuccessor(queries, one, two, 1)),
      end: () => database.transact((queries) => dropPredecessor(queries, one)),
      read: () => stored.rows(),
      /** Puts rows there as an intruder would. */
      plant: (...rows: readonly KeyRow[]) =>
        database.transact(async (queries) => {
          await queries.delete(keyRows);
          await queries.insert(keyRows).values([...rows]);
          await raiseEpoch(queries, "keys");
        }),
      process: (key: SealingKey, readKey: () => SealingKey | undefined = () => key) => {
        const keyring = new Keyring({ table, key, readKey });
        const seal = () =>
          database.transact(async (queries) => (await keyring.sealingKey(queries)).seal(TEXT, PLACE));
        const openText = async (text: string) => (await keyring.open(text, PLACE)).reveal();
        return { keyring, seal, open: openText };
      },
      [Symbol.dispose]: dispose,
    };
  }

  test(`${kind}: while a key takes another's place, whoever was given either seals under the new one and opens both`, async () => {
    using it = await setup();
    await it.begin();
    for (const given of [it.one, it.two]) {
      const each = it.process(given);
      expect(await each.seal()).toStartWith(`${it.two.keyId}.`);
      for (const key of [it.one, it.two]) expect(await each.open(key.seal(TEXT, PLACE))).toBe("canary");
      expect(await each.keyring.isProven()).toBeTrue();
    }
  });

  test(`${kind}: a running process learns of the change at its next seal or at the first text that it can't open`, async () => {
    using it = await setup();
    const [sealing, opening] = [it.process(it.one), it.process(it.one)];
    for (const each of [sealing, opening]) expect(await each.seal()).toStartWith(it.one.keyId);
    await it.begin();
    expect(await sealing.seal()).toStartWith(it.two.keyId);
    expect(await opening.open(it.two.seal(TEXT, PLACE))).toBe("canary");
  });

  test(`${kind}: a transaction that changes the keys sees them at once, and nobody else before it ends`, async () => {
    using it = await setup();
    const [inside, outside] = [it.process(it.one), it.process(it.one)];
    await it.database.transact(async (queries) => {
      await insertSuccessor(queries, it.one, it.two, 1);
      expect((await inside.keyring.sealingKey(queries)).keyId).toBe(it.two.keyId);
      await outside.keyring.refresh();
      expect(outside.keyring.current?.keyId).toBe(it.one.keyId);
    });
    await outside.keyring.refresh();
    expect(outside.keyring.current?.keyId).toBe(it.two.keyId);
  });

  test(`${kind}: a transaction that others may run beside can't seal, because a change of the key would miss it`, async () => {
    using it = await setup();
    const { keyring } = it.process(it.one);
    const sealed = it.database.transact((queries) => keyring.sealingKey(queries), { isIndependent: true });
    expect(await sealed.catch(String)).toContain("an independent transaction seals nothing");
  });

  test(`${kind}: while nothing was written, a seal does not read the keys again`, async () => {
    using it = await setup();
    const each = it.process(it.one);
    for (let n = 0; n < 10; n++) await each.seal();
    expect(it.looks()).toBe(1);
  });

  test(`${kind}: a process that has learnt of the new key goes on when the old one is put out of use, and forgets that one`, async () => {
    using it = await setup();
    const each = it.process(it.one, () => undefined);
    await it.begin();
    await each.keyring.refresh();
    await it.end();
    expect(await each.seal()).toStartWith(it.two.keyId);
    expect(await each.keyring.isProven()).toBeTrue();
    expect(await codeOf(() => each.open(it.one.seal(TEXT, PLACE)))).toBe("store_unusable");
  });

  test(`${kind}: a text that was read before the old key was put out of use is opened afterwards`, async () => {
    using it = await setup();
    const { keyring } = it.process(it.one);
    const openText = keyring.opener(it.one.seal(TEXT, PLACE), PLACE);
    await it.begin();
    await keyring.refresh();
    await it.end();
    await keyring.refresh();
    expect(openText().reveal()).toBe("canary");
  });

  test(`${kind}: a process that holds the next key seals under it once it stands alone, and still opens what it had read`, async () => {
    using it = await setup();
    const each = it.process(it.one, () => undefined);
    const before = await each.seal();
    each.keyring.hold(it.two);
    expect(each.keyring.keyIds).toEqual([it.one.keyId, it.two.keyId]);
    await it.database.transact((queries) => replaceKeys(queries, it.two, 2));
    expect(await each.seal()).toStartWith(`${it.two.keyId}.`);
    expect(await each.open(before)).toBe("canary");
    expect(await each.keyring.isProven()).toBeTrue();
    expect(each.keyring.keyIds).toEqual([it.two.keyId]);
  });

  test(`${kind}: a process that has missed the change takes the new key from the key file`, async () => {
    using it = await setup();
    const each = it.process(it.one, () => it.two);
    await it.begin();
    await it.end();
    expect(await each.open(it.two.seal(TEXT, PLACE))).toBe("canary");
    expect(await each.seal()).toStartWith(it.two.keyId);
  });

  test(`${kind}: a process that can't have the new key neither seals nor takes what it can't open for damaged, until it has it`, async () => {
    using it = await setup();
    let file: SealingKey | undefined;
    const each = it.process(it.one, () => file);
    await each.keyring.refresh();
    await it.begin();
    await it.end();
    const text = it.two.seal(TEXT, PLACE);
    expect(await codeOf(each.seal)).toBe("unavailable");
    expect(await codeOf(() => each.open(text))).toBe("unavailable");
    expect(await codeOf(() => each.open(`00000000.${text.slice(9)}`))).toBe("store_unusable");
    expect(await codeOf(async () => each.keyring.virtualTokenKeys())).toBe("unavailable");
    expect(await each.keyring.isProven()).toBeFalse();
    file = it.two;
    expect(await each.open(text)).toBe("canary");
    expect(await each.seal()).toStartWith(it.two.keyId);
  });

  test(`${kind}: a former key whose row is put back neither becomes the newest nor lets another in`, async () => {
    using it = await setup();
    const each = it.process(it.one, () => undefined);
    await it.begin();
    const under = await it.read();
    await each.keyring.refresh();
    await it.end();
    await each.keyring.refresh();
    // Whoever has the former key can wrap a key of his own under it.
    const planted = SealingKey.random();
    const rowOf = (key: SealingKey, wrapped: string | null = null) => {
      return { keyId: key.keyId, proof: key.keyCheck(), createdAt: 1, wrapped };
    };
    await it.plant(...under, rowOf(planted, planted.wrap("new", it.one)));
    expect(await each.seal()).toStartWith(it.two.keyId);
    await it.plant(rowOf(it.one), rowOf(planted, planted.wrap("new", it.one)));
    expect(await codeOf(each.seal)).toBe("unavailable");
    await it.plant(...under);
    expect(await each.seal()).toStartWith(it.two.keyId);
  });

  test(`${kind}: a key that was wrapped in one role does not open in the other`, async () => {
    using it = await setup();
    const { one, two } = it;
    const wrapped = two.wrap("new", one);
    expect(one.unwrap(two.keyId, "new", wrapped)?.keyId).toBe(two.keyId);
    expect(one.unwrap(two.keyId, "old", wrapped)).toBeUndefined();
    expect(one.unwrap(one.keyId, "new", wrapped)).toBeUndefined();
    expect(two.unwrap(two.keyId, "new", wrapped)).toBeUndefined();
  });

  test(`${kind}: a failure to read the keys is passing when a text is opened, and is left to the transaction that seals`, async () => {
    using it = await setup();
    const failure = new Error("disk");
    const table = { version: () => Promise.reject(failure), rows: () => Promise.reject(failure) };
    const keyring = new Keyring({ table, key: it.one, readKey: () => it.one });
    expect(await codeOf(() => keyring.open(it.two.seal(TEXT, PLACE), PLACE))).toBe("unavailable");
    const sealing = it.database.transact((queries) => keyring.sealingKey(queries));
    expect(await sealing.catch((error: unknown) => error)).toBe(failure);
  });

  test(`${kind}: of two reads of the keys, what the later one has read stays`, async () => {
    using it = await setup();
    const stored = new SqlKeyTable(it.database);
    const isHeld = Promise.withResolvers<void>();
    let reads = 0;
    const table: KeyTable = {
      version: () => stored.version(),
      rows: async () => {
        const isFirst = ++reads === 1;
        const rows = await stored.rows();
        if (isFirst) await isHeld.promise;
        return rows;
      },
    };
    const keyring = new Keyring({ table, key: it.one, readKey: () => undefined });
    const slow = keyring.refresh();
    await it.begin();
    await keyring.reread();
    await it.end();
    await keyring.reread();
    isHeld.resolve();
    await slow;
    expect(keyring.current?.keyId).toBe(it.two.keyId);
  });
}
