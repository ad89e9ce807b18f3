import { expect, test } from "bun:test";
import { CallbackDirectory } from "../../src/callbacks/callback-directory.ts";
import {
  type AppCallbacks,
  type CallbackSettings,
  pushSettingsOf,
  targetUrl,
} from "../../src/callbacks/callback-settings.ts";
import { Secret } from "../../src/secret.ts";
import { ManualChanges } from "../support/manual-changes.ts";

const SETTINGS: CallbackSettings = {
  app: "wx1",
  token: new Secret("token"),
  aesKey: new Secret("key"),
  mode: "secure",
  format: "xml",
  receiveIds: ["wx1"],
  version: 1,
};

function keysOf(more: Partial<CallbackSettings>): string[] {
  const { keys } = pushSettingsOf({ ...SETTINGS, ...more }, "weixin");
  return keys.map(({ token, encodingAesKey }) => `${token.reveal()} ${encodingAesKey?.reveal()}`);
}

test("the current Token and key come first, and each previous one goes with either of the other", () => {
  const previousToken = new Secret("old token");
  const previousAesKey = new Secret("old key");
  expect(keysOf({})).toEqual(["token key"]);
  expect(keysOf({ previousToken })).toEqual(["token key", "old token key"]);
  expect(keysOf({ previousAesKey })).toEqual(["token key", "token old key"]);
  expect(keysOf({ previousToken, previousAesKey })).toEqual([
    "token key",
    "token old key",
    "old token key",
    "old token old key",
  ]);
  expect(keysOf({ aesKey: undefined, previousToken })).toEqual(["token undefined", "old token undefined"]);
});

test("the URL of a target has the app's id in its place, as often as it is named", () => {
  const url = "https://example.com/$APPID$/x?corp=$CORPID$";
  expect(targetUrl({ url }, "wx1")).toBe("https://example.com/wx1/x?corp=wx1");
  expect(targetUrl({}, "wx1")).toBeUndefined();
});

test("the directory follows the changes of others, and has nothing of an app whose secrets do not open", async () => {
  const changes = new ManualChanges();
  const loaded: { apps: AppCallbacks[]; damaged: string[] } = { apps: [], damaged: [] };
  const directory = new CallbackDirectory({ load: async () => loaded }, changes);
  await directory.refresh();
  expect(directory.of("wx1")).toBeUndefined();
  loaded.apps.push({ settings: SETTINGS, targets: [], routes: [] });
  loaded.damaged.push("wx0");
  changes.raise("callbacks");
  await directory.refresh();
  expect(directory.of("wx1")?.settings).toBe(SETTINGS);
  expect([directory.of("wx0"), directory.isDamaged("wx0"), directory.isDamaged("wx1")]).toEqual([
    undefined,
    true,
    false,
  ]);
  expect(directory.names()).toEqual(["wx0", "wx1"]);
});
