import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { credentialKey, type CredentialName } from "../../src/credentials/credential.ts";
import { Secret } from "../../src/secret.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { saveUnderLease, StoreFolder } from "../support/store-folder.ts";

const TOKEN = "canary-token-0123456789abcdef";
const [ONE, TWO] = [tokenOf(weixinSlot("wx1")), tokenOf(weixinSlot("wx2"))];
const [ONE_KEY, TWO_KEY] = [credentialKey(ONE), credentialKey(TWO)];

const credential = (value = TOKEN, issuedAt = 1) => ({
  value: new Secret(value),
  issuedAt,
  expiresAt: issuedAt + 7_200_000,
});

/** A database with a token of two apps each, and ways to spoil what is sealed in it. */
async function setup() {
  const files = new StoreFolder();
  const { credentials } = await files.open();
  for (const name of [ONE, TWO]) await saveUnderLease(credentials, name, credential());
  files.close();
  const database = new Database(files.path);
  const sealed = (name: CredentialName, column: "value" | "dead_value" = "value") =>
    database
      .query<{ text: string }, [string]>(`SELECT ${column} AS text FROM credentials WHERE app_id = ?`)
      .get(name.slot.appId)?.text ?? "";
  const write = (name: CredentialName, text: string, column: "value" | "dead_value" = "value") =>
    void database.run(`UPDATE credentials SET ${column} = ? WHERE app_id = ?`, [text, name.slot.appId]);
  return {
    files,
    sealed,
    write,
    set: (columns: string) => void database.run(`UPDATE credentials SET ${columns}`),
    open: async () => (await files.open()).credentials,
    [Symbol.dispose]: () => {
      database.close();
      files[Symbol.dispose]();
    },
  };
}

/** The sealed text with one bit changed in the byte `at`; counted from the end when below zero. */
function flipped(text: string, at: number): string {
  const [keyId = "", body = ""] = text.split(".");
  const bytes = Buffer.from(body, "base64url");
  const place = at < 0 ? bytes.length + at : at;
  bytes.writeUInt8(bytes.readUInt8(place) ^ 1, place);
  return `${keyId}.${bytes.toString("base64url")}`;
}

test("one flipped bit anywhere in a sealed token makes it as good as none, is told of, and leaves the others alone", async () => {
  using it = await setup();
  const whole = it.sealed(ONE);
  for (const at of [0, 11, 12, -17, -16, -1]) {
    it.write(ONE, flipped(whole, at));
    const credentials = await it.open();
    const record = await credentials.find(ONE);
    expect([record.credential, record.wasSaved], `byte ${at}`).toEqual([undefined, true]);
    expect((await credentials.find(TWO)).credential?.value.reveal()).toBe(TOKEN);
    expect(it.files.damaged.splice(0)).toEqual([ONE_KEY]);
    it.files.close();
  }
});

test("a sealed text that is none, of another key or not sealed at all is as good as none", async () => {
  using it = await setup();
  const [keyId = "", body = ""] = it.sealed(ONE).split(".");
  for (const text of ["", ".", keyId, `${keyId}.`, `${keyId}.AAAA`, `00000000.${body}`, TOKEN]) {
    it.write(ONE, text);
    expect((await (await it.open()).find(ONE)).credential, text).toBeUndefined();
    expect(it.files.damaged.splice(0), text).toEqual([ONE_KEY]);
    it.files.close();
  }
});

test("a sealed text that was moved to another row, to another kind or to another column does not open there", async () => {
  using it = await setup();
  it.write(ONE, it.sealed(TWO));
  it.write(TWO, it.sealed(TWO), "dead_value");
  const credentials = await it.open();
  expect((await credentials.find(ONE)).credential).toBeUndefined();
  const two = await credentials.find(TWO);
  expect([two.credential?.value.reveal(), two.revoked]).toEqual([TOKEN, undefined]);
  expect(it.files.damaged).toEqual([ONE_KEY, TWO_KEY]);
  const database = new Database(it.files.path);
  database.run("UPDATE credentials SET kind = 'jsapi_ticket' WHERE app_id = 'wx2'");
  database.close();
  const ticket = { slot: weixinSlot("wx2"), kind: "jsapi_ticket" } as const;
  expect((await credentials.find(ticket)).credential).toBeUndefined();
  expect(it.files.damaged).toContain(credentialKey(ticket));
});

test("damage that stays is told of once and not at every read; another is told of again", async () => {
  using it = await setup();
  const whole = it.sealed(ONE);
  it.write(ONE, flipped(whole, 0));
  const credentials = await it.open();
  for (let n = 0; n < 5; n++) await credentials.find(ONE);
  expect(it.files.damaged).toEqual([ONE_KEY]);
  it.write(ONE, flipped(whole, 1));
  await credentials.find(ONE);
  expect(it.files.damaged).toEqual([ONE_KEY, ONE_KEY]);
});

test("what is saved next takes the place of what was damaged, also after a restart", async () => {
  using it = await setup();
  it.write(ONE, flipped(it.sealed(ONE), 20));
  const saved = await saveUnderLease(await it.open(), ONE, credential("new-token", 2));
  expect(saved.credential?.value.reveal()).toBe("new-token");
  it.files.close();
  it.files.damaged.length = 0;
  expect((await (await it.open()).find(ONE)).credential?.value.reveal()).toBe("new-token");
  expect(it.files.damaged).toEqual([]);
});

test("a damaged note of the last dead value is as good as none, and the living value is still there", async () => {
  using it = await setup();
  const credentials = await it.open();
  const { generation } = await credentials.find(ONE);
  await credentials.markRevoked(ONE, new Secret("dead"), generation, { now: 2, earlyMs: 0 });
  await saveUnderLease(credentials, ONE, credential("living", 3));
  it.write(ONE, flipped(it.sealed(ONE, "dead_value"), 15), "dead_value");
  const record = await credentials.find(ONE);
  expect([record.credential?.value.reveal(), record.revoked]).toEqual(["living", undefined]);
  expect(it.files.damaged).toEqual([ONE_KEY]);
});

test.each([
  "lease_holder = 'x'",
  "lease_holder = 'x', lease_expires_at = 'x'",
  "lease_holder = 'x', lease_expires_at = 9e99",
])("a lease of %s, which would never end, holds nobody up", async (set) => {
  using it = await setup();
  it.set(set);
  const lease = await (await it.open()).lease(ONE, { holder: "me", now: 2, lifeMs: 10_000 });
  expect(lease.isGranted).toBeTrue();
});
