import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { App, TokenMode } from "../../src/apps/app.ts";
import type { Backoff } from "../../src/credentials/backoff.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { ManualClock } from "../support/manual-clock.ts";

const KEYS = [
  "weixin:wx1",
  "weixin:wx1:stable",
  "weixin:wx1:stable:access_token",
  "weixin:wx1:classic:jsapi_ticket",
  "weixin:wx10:stable",
  "wecom:ww1:1",
  "wecom:ww1:1:agent_config_ticket",
  "wecom:ww1:2",
];

function weixin(id: string, secret: string, tokenMode: TokenMode = "stable"): App {
  return { platform: "weixin", id, secret: new Secret(secret), tokenMode };
}

function wecom(agent: string, secret: string): App {
  return { platform: "wecom", id: "ww1", agent, secret: new Secret(secret) };
}

const APPS = [weixin("wx1", "a"), weixin("wx10", "b"), wecom("1", "c"), wecom("2", "d")];

async function setup() {
  const clock = new ManualClock();
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-apps-"));
  const store = await openSqliteStore({
    path: join(folder, "test.db"),
    masterKey: new Secret("00".repeat(32)),
    masterKeyFile: "",
    newDatabase: true,
    clock,
    onKeyCreated: () => undefined,
  });
  await store.apps.replaceAll(APPS);
  for (const key of KEYS) {
    const failure = { code: "upstream_rejected" as const, message: "refused" };
    const backoff: Backoff = {
      key,
      reason: "circuit_open",
      failure,
      count: 1,
      since: clock.now(),
      until: clock.now() + 3_600_000,
    };
    await store.pacing.put(backoff);
  }
  return {
    store,
    /** The backoffs that are gone once the apps are these. */
    async endedBy(apps: readonly App[]) {
      await store.apps.replaceAll(apps);
      const left = new Set((await store.pacing.find(KEYS)).map(({ key }) => key));
      return KEYS.filter((key) => !left.has(key));
    },
    [Symbol.asyncDispose]: async () => {
      store.close();
      rmSync(folder, { recursive: true });
    },
  };
}

test("apps that did not change keep their backoffs over a restart", async () => {
  await using world = await setup();
  expect(await world.endedBy(APPS.toReversed())).toEqual([]);
});

test("a changed secret removes every backoff of that app, and of no other", async () => {
  await using world = await setup();
  expect(await world.endedBy([weixin("wx1", "new"), ...APPS.slice(1)])).toEqual(KEYS.slice(0, 4));
});

test("a changed secret of one application removes its backoffs and not those of another in the corp", async () => {
  await using world = await setup();
  const ended = await world.endedBy([...APPS.slice(0, 2), wecom("1", "new"), wecom("2", "d")]);
  expect(ended).toEqual(["wecom:ww1:1", "wecom:ww1:1:agent_config_ticket"]);
});

test("another token mode with the same secret removes no backoff", async () => {
  await using world = await setup();
  expect(await world.endedBy([weixin("wx1", "a", "classic"), ...APPS.slice(1)])).toEqual([]);
});

test("an app that went takes its backoffs along, so it may come back with any secret", async () => {
  await using world = await setup();
  expect(await world.endedBy(APPS.slice(1))).toEqual(KEYS.slice(0, 4));
});
