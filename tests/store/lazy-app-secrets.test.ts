import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import type { App } from "../../src/apps/app.ts";
import { Secret } from "../../src/secret.ts";
import { failureOf } from "../support/refusals.ts";
import { RotationFolder } from "../support/rotation-folder.ts";
import { StoreFolder } from "../support/store-folder.ts";

const APPS: readonly App[] = [
  { platform: "weixin", id: "wx1", secret: new Secret("secret-1"), tokenMode: "stable" },
  { platform: "weixin", id: "wx2", secret: new Secret("secret-2"), tokenMode: "classic" },
  { platform: "weixin", id: "wx10", secret: new Secret("secret-3"), tokenMode: "stable" },
  { platform: "weixin", id: "wx1-a", secret: new Secret("secret-4"), tokenMode: "stable" },
  { platform: "wecom", id: "ww1", agent: "7", secret: new Secret("secret-5") },
];
const ACTOR = { client: "admin", environment: "admin", address: "127.0.0.1", traceId: "" };

/** A store in which the environment's apps are written, and a second connection. */
async function setup() {
  const files = new StoreFolder();
  const damaged: string[] = [];
  const { apps } = await files.open({ onDamagedApp: (row) => damaged.push(row) });
  await apps.replaceAll(APPS);
  const database = new Database(files.path);
  return {
    apps,
    damaged,
    sql: (text: string) => database.query<Record<string, unknown>, []>(text).all(),
    find: async (id: string) => (await apps.list()).find((app) => app.id === id),
    [Symbol.dispose]: () => {
      database.close();
      files[Symbol.dispose]();
    },
  };
}

const secretOf = (app: App | undefined) => app?.secret.reveal();

test("the same apps of the environment again are known without opening or writing any", async () => {
  using it = await setup();
  it.sql("UPDATE apps SET secret = 'does not open'");
  await it.apps.replaceAll(APPS.toReversed());
  expect(it.sql("SELECT DISTINCT secret FROM apps")).toEqual([{ secret: "does not open" }]);
});

test.each([
  ["another secret", [{ ...APPS[0], secret: new Secret("new") }, ...APPS.slice(1)]],
  ["another mode", [{ ...APPS[0], tokenMode: "classic" }, ...APPS.slice(1)]],
  ["an app less", APPS.slice(1)],
  ["an app more", [...APPS, { ...APPS[4], agent: "70" }]],
] as [string, App[]][])("%s is written, and known the next time", async (_what, changed) => {
  using it = await setup();
  await it.apps.replaceAll(changed);
  const plain = (apps: readonly App[]) => apps.map((app) => ({ ...app, secret: secretOf(app) }));
  const stored = plain(await it.apps.list());
  expect(stored).toHaveLength(changed.length);
  expect(stored).toEqual(expect.arrayContaining(plain(changed)));
  it.sql("UPDATE apps SET secret = 'does not open'");
  await it.apps.replaceAll(changed);
});

test("a row that went by itself is written again", async () => {
  using it = await setup();
  it.sql("DELETE FROM apps WHERE app_id = 'wx1'");
  await it.apps.replaceAll(APPS);
  expect(secretOf(await it.find("wx1"))).toBe("secret-1");
});

test("P4: of many apps a secret is opened where it is used: a damaged one fails for its app alone", async () => {
  using it = await setup();
  it.sql("UPDATE apps SET secret = 'does not open' WHERE app_id = 'wx1'");
  const [one, two] = [await it.find("wx1"), await it.find("wx2")];
  expect(secretOf(two)).toBe("secret-2");
  expect((await failureOf(Promise.try(() => secretOf(one)))).code).toBe("store_unusable");
});

test("P4: a registered app whose secret is damaged is found when it is first looked at, and reported once", async () => {
  using it = await setup();
  const managed = { title: undefined, isDisabled: false, version: 1 };
  const entry = {
    ...ACTOR,
    action: "app.created",
    app: "wx3",
    outcome: "ok",
    tokenDigest: "",
    detail: {},
  } as const;
  await it.apps.create(
    { platform: "weixin", id: "wx3", secret: new Secret("s"), tokenMode: "stable", managed },
    entry,
  );
  it.sql("UPDATE apps SET secret = 'does not open' WHERE app_id = 'wx3'");
  for (let look = 0; look < 2; look++) {
    const [app] = await it.apps.listManaged();
    expect(it.damaged).toHaveLength(look);
    expect(it.damaged).toHaveLength(look);
    expect(app?.managed?.isDamaged).toBeTrue();
    expect(it.damaged).toEqual(["weixin:wx3:"]);
    expect(secretOf(app)).toBe("");
    if (look === 0) it.damaged.length = 1;
  }
});

test("an app that was read before the master key was changed opens afterwards", async () => {
  using files = new RotationFolder();
  await files.fill();
  const { apps } = await files.open();
  const before = await apps.list();
  await files.rotate();
  const texts = before.map((app) => secretOf(app) ?? "");
  expect(texts.toSorted()).toEqual(
    before.map(({ id }) => `canary-secret-${id.slice(2)}-0123456789`).toSorted(),
  );
});
