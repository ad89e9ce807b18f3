import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { Secret } from "../../src/secret.ts";
import { failureOf } from "../support/refusals.ts";
import { StoreFolder } from "../support/store-folder.ts";

const APP = {
  platform: "weixin",
  id: "wx1",
  secret: new Secret("secret-of-wx1"),
  tokenMode: "stable",
} as const;

test("an app whose name was damaged in the database stops the start, and nothing is written", async () => {
  using files = new StoreFolder();
  const { apps } = await files.open();
  await apps.replaceAll([APP]);
  using database = new Database(files.path);
  database.run("UPDATE apps SET app_id = 'wx2'");

  const failure = await failureOf(apps.replaceAll([APP]));
  expect(failure.code).toBe("store_unusable");
  expect(failure.message).toContain("apps.secret of weixin:wx2:");
  expect(database.query("SELECT app_id FROM apps").all()).toEqual([{ app_id: "wx2" }]);
});

test("an app that is no longer configured goes, as long as it is whole", async () => {
  using files = new StoreFolder();
  const { apps } = await files.open();
  await apps.replaceAll([APP]);
  await apps.replaceAll([]);
  expect(await apps.list()).toEqual([]);
});
