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

async function setup(first: readonly App[] = APPS) {
  const clock = new ManualClock();
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-apps-"));
  const open = () =>
    openSqliteStore({
      path: join(folder, "test.db"),
      masterKey: new Secret("00".repeat(32)),
      masterKeyFile: "",
      newDatabase: true,
      clock,
      onKeyCreated: () => undefined,
    });
  const [store, beside] = [await open(), await open()];
  await store.apps.replaceAll(first);
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
    clock,
    store,
    /** Another process on the same database. */
    beside,
    /** The apps with their secrets, as texts. */
    async apps() {
      return (await store.apps.list()).map(({ id, secret }) => `${id} ${secret.reveal()}`);
    },
    /** The backoffs that are gone once the apps are these. */
    async endedBy(apps: readonly App[]) {
      await store.apps.replaceAll(apps);
      const left = new Set((await store.pacing.find(KEYS)).map(({ key }) => key));
      return KEYS.filter((key) => !left.has(key));
    },
    [Symbol.asyncDispose]: async () => {
      store.close();
      beside.close();
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

test("the backoffs of several changed apps are told of once, after all of them are removed", async () => {
  await using world = await setup();
  const before = world.store.changes.epoch("backoffs");
  expect((await world.endedBy([])).length).toBe(KEYS.length);
  await world.store.changes.catchUp();
  expect(world.store.changes.epoch("backoffs")).toBe(before + 1);
});

/** More than one transaction takes. */
const MANY = Array.from({ length: 502 }, (_, n) => weixin(`wx${1000 + n}`, "s"));
const LAST = MANY[501]!;
const MANAGED: App = {
  ...weixin(LAST.id, "managed"),
  managed: { title: undefined, isDisabled: false, version: 1 },
};
const ENTRY = {
  client: "admin",
  environment: "",
  address: "127.0.0.1",
  traceId: "t",
  action: "app.created",
  app: LAST.id,
  outcome: "ok",
  tokenDigest: "",
  detail: {},
} as const;

test("an app that an administrator registers while the environment's are being written keeps its secret", async () => {
  await using world = await setup();
  const replacing = world.store.apps.replaceAll([...APPS, LAST]);
  await world.beside.apps.create(MANAGED, ENTRY);
  expect(await replacing).toEqual([LAST]);
  expect(await world.apps()).toContain(`${LAST.id} managed`);
});

test("many apps are written in pieces, between which others write", async () => {
  await using world = await setup([]);
  let pauses = 0;
  world.clock.sleep = async () => {
    if (pauses++ === 0) await world.beside.apps.create(MANAGED, ENTRY);
  };
  expect(await world.store.apps.replaceAll(MANY)).toEqual([LAST]);
  expect(pauses).toBe(1);
  expect((await world.apps()).toSorted()).toEqual([
    ...MANY.slice(0, -1).map(({ id }) => `${id} s`),
    `${LAST.id} managed`,
  ]);
});

test("P3: apps that were written in part are completed by the next start, and the first ones are no change", async () => {
  await using world = await setup([]);
  world.clock.sleep = () => Promise.reject(new Error("killed"));
  expect(await world.store.apps.replaceAll(MANY).catch(String)).toContain("killed");
  expect(await world.apps()).toHaveLength(500);
  expect(await world.store.apps.replaceAll(MANY)).toEqual([]);
  expect(await world.apps()).toHaveLength(502);
  expect(await world.store.audit.list({}, { limit: 10 })).toEqual([]);
});

test("of two processes that start at once with different apps, the later one leaves none of the earlier one's", async () => {
  await using world = await setup();
  const others = APPS.map((app): App => ({ ...app, secret: new Secret("other") }));
  const earlier = world.beside.apps.replaceAll(others);
  await Promise.all([earlier, world.store.apps.replaceAll(APPS.slice(1))]);
  expect((await world.apps()).toSorted()).toEqual(["ww1 c", "ww1 d", "wx10 b"]);
});
