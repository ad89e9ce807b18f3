import { expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import type { Permit } from "../../src/access/permits.ts";
import { APP_SECRET_HOLDER } from "../../src/access/principal.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { UserTokens, type UserTokenStore } from "../../src/login/user-tokens.ts";
import { Secret } from "../../src/secret.ts";
import { SqlDatabase } from "../../src/store/sql.ts";
import { openDatabase } from "../../src/store/sqlite/open-database.ts";
import { SqliteEngine } from "../../src/store/sqlite/sqlite-engine.ts";
import { SqlUserTokenStore } from "../../src/store/sql-user-token-store.ts";
import { weixinSlot } from "../support/slots.ts";
import { StoreFolder } from "../support/store-folder.ts";

const PERMIT: Permit = {
  slot: weixinSlot("wx1"),
  principal: APP_SECRET_HOLDER,
  usage: { identity: APP_SECRET_HOLDER.identity, action: "login", app: "wx1" },
};

/** The tokens of a database that keeps `most` of them. `wrap` puts something between. */
async function setup(most: number, wrap: (store: UserTokenStore) => UserTokenStore = (store) => store) {
  const folder = new StoreFolder();
  await folder.open();
  const reader = openDatabase(folder.path);
  const engine = new SqliteEngine(folder.path, reader, folder.clock, () => undefined);
  const digest = (token: Secret) => `digest of ${token.reveal()}`;
  const store = new SqlUserTokenStore(new SqlDatabase(engine), { digest }, most);
  const bus = new EventBus();
  const events: ServiceEvent[] = [];
  bus.subscribe((event) => events.push(event));
  const tokens = new UserTokens(wrap(store), folder.clock, bus);
  const pair = (n: number | string) => ({
    accessToken: new Secret(`access-${n}`),
    refreshToken: new Secret(`refresh-${n}`),
  });
  const remember = (n: number | string) => tokens.remember(PERMIT, pair(n));
  const isKnown = async (text: string) => (await tokens.find(new Secret(text)))?.app === "wx1";
  const count = () => {
    const database = new Database(folder.path, { readonly: true });
    const { n } = database.query("SELECT count(*) AS n FROM user_tokens").get() as { n: number };
    database.close();
    return n;
  };
  const dispose = () => {
    engine.close();
    reader.close();
    folder[Symbol.dispose]();
  };
  return { tokens, store, events, pair, remember, isKnown, count, [Symbol.dispose]: dispose };
}

test("there are never more than so many; the oldest go first, and it is told how many", async () => {
  using it = await setup(100);
  for (let n = 0; n < 60; n++) {
    it.remember(n);
    await it.tokens.stop();
    expect(it.count()).toBeLessThanOrEqual(100);
  }
  expect(it.count()).toBeGreaterThan(95);
  expect(await Promise.all(["access-0", "refresh-5", "access-59", "refresh-30"].map(it.isKnown))).toEqual([
    ...[false, false, true, true],
  ]);
  const evicted = it.events.flatMap((event) => (event.type === "user_tokens.evicted" ? event.count : []));
  expect(evicted.reduce((all, count) => all + count, 0)).toBe(120 - it.count());
});

test("a token is known before it is written, many are written at once, and what can't be is tried again", async () => {
  let isBusy = true;
  const batches: number[] = [];
  using it = await setup(1000, (store) => ({
    find: (...asked) => store.find(...asked),
    write: async (added, ...more) => {
      batches.push(added.length);
      if (isBusy) throw new Error("busy");
      return store.write(added, ...more);
    },
  }));
  for (let n = 0; n < 50; n++) it.remember(n);
  expect(await it.isKnown("access-49")).toBe(true);
  await it.tokens.stop();
  isBusy = false;
  await it.tokens.stop();
  expect([await it.isKnown("access-0"), it.count()]).toEqual([true, 100]);
  expect(batches.length).toBeLessThan(5);
});

test("another refresh token takes the place of the old one, and nobody's takes none", async () => {
  using it = await setup(1000);
  it.remember("old");
  await it.tokens.replace(new Secret("refresh-old"), it.pair("new"));
  for (let round = 0; round < 2; round++) {
    expect(await Promise.all(["refresh-old", "refresh-new", "access-new"].map(it.isKnown))).toEqual([
      ...[false, true, true],
    ]);
    await it.tokens.stop();
  }
  await it.tokens.replace(new Secret("refresh-of-nobody"), it.pair("other"));
  expect(await it.isKnown("access-other")).toBe(false);
});
