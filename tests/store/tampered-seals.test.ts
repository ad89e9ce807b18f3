import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { SEALED_COLUMNS, type SealedColumn } from "../../src/store/resealing.ts";
import { breakAt, brokenOff, type Contents, nameOf, RotationFolder } from "../support/rotation-folder.ts";

interface Cell {
  readonly id: number;
  readonly text: string;
}

/** A filled database, closed, with its sealed cells at hand; `isUnderWay` leaves it with two keys. */
async function setup({ isUnderWay = false } = {}) {
  const files = new RotationFolder();
  await files.fill();
  const sound = await files.contents(await files.open());
  files.close();
  if (isUnderWay) await brokenOff(files.rotate({ onProgress: breakAt("written") }));
  const database = new Database(files.path);
  const cells = ({ table, column }: SealedColumn) =>
    database
      .query<Cell, []>(`SELECT rowid AS id, ${column} AS text FROM ${table} WHERE ${column} IS NOT NULL`)
      .all();
  const write = ({ table, column }: SealedColumn, id: number, text: string | Uint8Array) =>
    void database.query(`UPDATE ${table} SET ${column} = ? WHERE rowid = ?`).run(text, id);
  /** Everything that can be read, or the code with which the reading fails. */
  const look = async () => {
    try {
      return await files.contents(await files.open());
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      return error.code;
    } finally {
      files.close();
    }
  };
  const dispose = () => {
    database.close();
    files[Symbol.dispose]();
  };
  return { files, sound, database, cells, write, look, [Symbol.dispose]: dispose };
}

/** The text with one bit of the byte `at` of its sealed bytes changed; counted from the end when below zero. */
function flipped(text: string, at: number): string {
  const [keyId = "", body = ""] = text.split(".");
  const bytes = Buffer.from(body, "base64url");
  const place = at < 0 ? bytes.length + at : at;
  bytes.writeUInt8(bytes.readUInt8(place) ^ 1, place);
  return `${keyId}.${bytes.toString("base64url")}`;
}

/** The character of base64url with the other last bit. */
function neighbour(character: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return alphabet[alphabet.indexOf(character) ^ 1] ?? "";
}

/** By what is changed, a damaged form of a sealed text. */
const DAMAGES: Readonly<Record<string, (text: string) => string | Uint8Array>> = {
  "first byte of the nonce": (text) => flipped(text, 0),
  "last byte of the nonce": (text) => flipped(text, 11),
  "first byte of the body": (text) => flipped(text, 12),
  "last byte of the body": (text) => flipped(text, -17),
  "first byte of the tag": (text) => flipped(text, -16),
  "last byte of the tag": (text) => flipped(text, -1),
  "first digit of the key id": (text) => `${text.startsWith("0") ? "1" : "0"}${text.slice(1)}`,
  "last digit of the key id": (text) => `${text.slice(0, 7)}${text[7] === "0" ? "1" : "0"}${text.slice(8)}`,
  "an end that is cut off": (text) => text.slice(0, -2),
  "nothing but the key id": (text) => text.slice(0, 9),
  "the plain text": () => "plain",
  "the same text as bytes": (text) => new TextEncoder().encode(text),
  "a blank at the end": (text) => `${text} `,
  "padding at the end": (text) => `${text}=`,
  "a part more": (text) => `${text}.x`,
  // Where the last character has bits that mean nothing, they are changed; elsewhere, the last bit that means something.
  "the last bit of the last character": (text) => text.slice(0, -1) + neighbour(text.at(-1) ?? ""),
};

const nameOfColumn = ({ table, column }: SealedColumn) => `${table}.${column}`;
const COLUMNS = SEALED_COLUMNS.map((column) => [nameOfColumn(column), column] as const);

/** What is read of a database in which the first text of that column is spoilt: never something else than was sealed. */
function expected(sound: Contents, { table, column }: SealedColumn): Contents | "store_unusable" {
  // A push whose message is damaged is delivered no more, and one whose answer is, is asked for again.
  if (table === "pushes")
    return {
      ...sound,
      pushes: sound.pushes.map((each, n) => (["request", "answer"][n] === column ? undefined : each)),
    };
  // A login that does not open is as good as unknown.
  if (table === "waiting_logins") return { ...sound, webLogin: [undefined, sound.webLogin[1]] };
  if (table === "login_codes") return { ...sound, webLogin: [sound.webLogin[0], undefined] };
  // A code that does not open is of no use, and what it was good for is in WeChat's list.
  const n = ["authorization_codes.code", "authorization_codes.answer", "authorization_links.request"].indexOf(
    `${table}.${column}`,
  );
  if (n >= 0) return { ...sound, authorization: sound.authorization.with(n, undefined) };
  // A channel is sent nothing until it is set again.
  if (table === "notification_channels")
    return {
      ...sound,
      channel: sound.channel.map((each, n) => (["url", "secret"][n] === column ? undefined : each)),
    };
  if (table !== "credentials") return "store_unusable";
  // A damaged credential is as good as none, and everything else is as it was.
  return column === "dead_value"
    ? { ...sound, dead: undefined }
    : { ...sound, tokens: [undefined, ...sound.tokens.slice(1)] };
}

test.each(COLUMNS)("one changed byte anywhere in a text of %s is detected", async (_name, column) => {
  using it = await setup();
  const [cell] = it.cells(column);
  if (!cell) throw new Error("the column is empty");
  for (const [what, damage] of Object.entries(DAMAGES)) {
    it.write(column, cell.id, damage(cell.text));
    expect(await it.look(), what).toEqual(expected(it.sound, column));
    it.write(column, cell.id, cell.text);
    expect(await it.look(), what).toEqual(it.sound);
  }
});

test.each(COLUMNS)("a text of any place that is moved to %s is detected", async (_name, column) => {
  using it = await setup();
  const [cell] = it.cells(column);
  if (!cell) throw new Error("the column is empty");
  const others = SEALED_COLUMNS.flatMap((from) =>
    it
      .cells(from)
      .filter(({ text }) => text !== cell.text)
      .map(({ id, text }) => ({ what: `${nameOfColumn(from)} ${id}`, text })),
  );
  expect(others.length).toBeGreaterThan(8);
  for (const { what, text } of others) {
    it.write(column, cell.id, text);
    expect(await it.look(), what).toEqual(expected(it.sound, column));
  }
  it.write(column, cell.id, cell.text);
  expect(await it.look()).toEqual(it.sound);
});

test.each(COLUMNS)(
  "a key id that is exchanged for another valid one is detected in %s, while the key is being changed",
  async (_name, column) => {
    using it = await setup({ isUnderWay: true });
    expect(await it.look()).toEqual(it.sound);
    const { known } = it.files.keyIds();
    expect(known).toHaveLength(2);
    const [cell] = it.cells(column);
    if (!cell) throw new Error("the column is empty");
    const other = known.find((keyId) => !cell.text.startsWith(keyId)) ?? "";
    it.write(column, cell.id, other + cell.text.slice(8));
    expect(await it.look(), "key id").toEqual(expected(it.sound, column));
  },
);

test("the proof and the wrapped keys can't be exchanged, changed or put back", async () => {
  using it = await setup({ isUnderWay: true });
  const rows = it.database
    .query<{ id: string; proof: string; wrapped: string }, []>(
      "SELECT key_id AS id, proof, wrapped FROM keyring",
    )
    .all();
  expect(rows).toHaveLength(2);
  const [one, two] = rows as [(typeof rows)[0], (typeof rows)[0]];
  const put = (id: string, column: "proof" | "wrapped", text: string) =>
    void it.database.query(`UPDATE keyring SET ${column} = ? WHERE key_id = ?`).run(text, id);
  for (const column of ["proof", "wrapped"] as const) {
    const [mine, other] = [one[column], two[column]];
    for (const spoilt of [
      other,
      two.proof,
      flipped(mine, 15),
      "",
      two.id + mine.slice(8),
      one.id + mine.slice(8),
    ]) {
      if (spoilt === mine) continue;
      put(one.id, column, spoilt);
      const found = await it.look();
      const isDetected = typeof found === "string" || found.faults.some(({ part }) => part === "key");
      // Whoever was given one of the keys needs the wrapped form of the other alone.
      const isNeedless = column === "wrapped" && JSON.stringify(found) === JSON.stringify(it.sound);
      expect(isDetected || isNeedless, `${column}: ${spoilt.slice(0, 12)}`).toBeTrue();
    }
    put(one.id, column, mine);
  }
  expect(await it.look()).toEqual(it.sound);
});

test("an old key whose row is put back does not become the newest again", async () => {
  using it = await setup({ isUnderWay: true });
  it.database.run("CREATE TABLE kept AS SELECT * FROM keyring");
  const report = await it.files.rotate();
  it.database.run("DELETE FROM keyring");
  it.database.run("INSERT INTO keyring SELECT * FROM kept");
  it.database.run(`UPDATE keyring SET created_at = created_at + 1000000 WHERE key_id = '${report.oldKeyId}'`);
  it.database.run("DROP TABLE kept");
  const store = await it.files.open();
  const record = await store.credentials.find(nameOf(0));
  await store.credentials.markRevoked(nameOf(0), record.credential!.value, record.generation, {
    now: 3,
    earlyMs: 0,
  });
  expect(it.files.keyIds().used).toEqual([report.newKeyId]);
});

test("a data key that is missing is not silently made anew", async () => {
  for (const name of ["digest", "audit"]) {
    using it = await setup();
    it.database.query("DELETE FROM data_keys WHERE name = ?").run(name);
    expect(await it.look()).toBe("store_unusable");
  }
});
