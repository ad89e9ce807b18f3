import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { foreignSlot, tokenOf, weixinSlot, wecomSlot } from "../support/slots.ts";
import { saveUnderLease, StoreFolder } from "../support/store-folder.ts";

const LIFE_MS = 7_200_000;

/** A database as it was before there were digests, with `count` living tokens, all of different apps. */
async function setup(count = 3) {
  const clock = new ManualClock();
  const folder = new StoreFolder(clock);
  const slots = [wecomSlot(), foreignSlot("x")];
  for (let n = slots.length; n < count; n++) slots.push(weixinSlot(`wx${n}`));
  const first = await folder.open();
  for (const [n, slot] of slots.entries()) {
    const issuedAt = clock.now();
    const credential = { value: new Secret(`token-${n}`), issuedAt, expiresAt: issuedAt + LIFE_MS };
    await saveUnderLease(first.credentials, tokenOf(slot), credential);
  }
  folder.close();
  const change = (sql: string) => {
    using database = new Database(folder.path);
    database.run(sql);
  };
  change("UPDATE credentials SET value_digest = NULL");
  return {
    clock,
    folder,
    change,
    /** Whether each of the tokens is known as one that may be current, after an opening. */
    known: async () => {
      const { issuedTokens } = await folder.open();
      const find = (n: number) => issuedTokens.findIssued(new Secret(`token-${n}`), clock.now());
      const found = await Promise.all(slots.map((_, n) => find(n)));
      return found.map((each) => each?.isRejected === false);
    },
    digests: () => {
      using database = new Database(folder.path, { readonly: true });
      const query = "SELECT value_digest AS digest FROM credentials ORDER BY rowid";
      return database.query<{ digest: string | null }, []>(query).all();
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

test("tokens that were saved before there were digests are known once the database is opened, however many", async () => {
  using it = await setup(250);
  expect(new Set(await it.known())).toEqual(new Set([true]));
});

test("two processes that open it at the same moment do each other no harm", async () => {
  using it = await setup(150);
  const both = await Promise.all([it.known(), it.known()]);
  expect(new Set(both.flat())).toEqual(new Set([true]));
});

test("a value that does not open stays without a digest and keeps nobody from opening", async () => {
  using it = await setup();
  it.change("UPDATE credentials SET value = 'damaged' WHERE slot = 'stable'");
  expect(await it.known()).toEqual([true, true, false]);
  expect(it.folder.damaged).toEqual(["weixin:wx2:stable:access_token"]);
});

test("a token that is over or dead gets no digest", async () => {
  using it = await setup();
  const store = await it.folder.open();
  const name = tokenOf(weixinSlot("wx2"));
  const { generation } = await store.credentials.find(name);
  await store.credentials.markRevoked(name, new Secret("token-2"), generation - 1, { now: 1, earlyMs: 0 });
  it.folder.close();
  it.change("UPDATE credentials SET value_digest = NULL, expires_at = 1 WHERE platform = 'wecom'");
  it.change("UPDATE credentials SET value_digest = NULL WHERE platform = 'weixin'");
  expect(await it.known()).toEqual([false, true, false]);
  expect(it.digests()).toEqual([{ digest: null }, { digest: expect.any(String) }, { digest: null }]);
});

test("P6: neither a token nor its plain digest is in the database's files", async () => {
  using it = await setup();
  await it.known();
  it.folder.close();
  const bytes = Buffer.from(await Bun.file(it.folder.path).bytes());
  const token = "token-0";
  for (const encoding of ["hex", "base64", "base64url"] as const) {
    const digest = new Bun.CryptoHasher("sha256").update(token).digest(encoding);
    expect(bytes.includes(digest.slice(0, 20))).toBeFalse();
  }
  expect(bytes.includes(token)).toBeFalse();
});
