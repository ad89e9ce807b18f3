import { expect, test } from "bun:test";
import type { Slot, SlotName } from "../../src/apps/app.ts";
import { type Burst, EventFeed } from "../../src/api/event-feed.ts";
import type { CredentialStatus } from "../../src/credentials/status.ts";
import { Secret } from "../../src/secret.ts";
import { Harness } from "../support/harness.ts";
import { ManualChanges } from "../support/manual-changes.ts";

function setup() {
  const changes = new ManualChanges();
  const slots = new Map<string, Slot>();
  const reads: number[] = [];
  const state = { isReadable: true };
  const slotNamed = ({ platform, appId, name }: SlotName) => {
    if (name.startsWith("~")) return undefined;
    const made: Slot = {
      ...{ platform, appId, name, tokenMode: "stable", configured: true },
      secret: new Secret("x"),
    };
    const slot = slots.get(appId) ?? made;
    slots.set(appId, slot);
    return slot;
  };
  const ofCredentials = async (asked: readonly Slot[]) => {
    if (!state.isReadable) throw new Error("the store is away");
    reads.push(asked.length);
    const status = { lastingState: "fresh", generation: 7 };
    return asked.map(() =>
      ["access_token", "jsapi_ticket"].map((kind) => ({ ...status, kind }) as CredentialStatus),
    );
  };
  const refresh = async () => undefined;
  const feed = new EventFeed({ changes, directory: { slotNamed }, states: { ofCredentials }, refresh });
  const bursts: Burst[] = [];
  const hear = (burst: Burst) => bursts.push(burst);
  return {
    changes,
    feed,
    state,
    reads,
    hear,
    bursts,
    /** What was told, each as type and app. */
    told: () =>
      bursts.flatMap(({ events }) => events.map(({ type, app }) => [type, app].filter(Boolean).join(" "))),
    change: (app: string, kind = "access_token") =>
      changes.raise("credentials", `weixin:${app}:stable:${kind}`),
    until: (count: number) => Harness.until(() => bursts.flatMap(({ events }) => events).length >= count),
  };
}

test("while nobody listens, nothing is read and nobody listens to the store", async () => {
  const it = setup();
  it.change("wx1");
  expect([it.changes.listeners, it.reads]).toEqual([0, []]);
  it.feed.listen(it.hear, undefined);
  expect(it.changes.listeners).toBeGreaterThan(0);
  it.feed.leave(it.hear);
  it.feed.close();
  expect([it.changes.listeners, it.reads]).toEqual([0, []]);
});

test("what changes together is read together, once for all who listen", async () => {
  const it = setup();
  let heard = 0;
  for (let n = 0; n < 10; n++) it.feed.listen(() => heard++, undefined);
  it.feed.listen(it.hear, undefined);
  for (let n = 0; n < 100; n++) it.change(`wx${n}`);
  it.change("wx0", "jsapi_ticket");
  await it.until(101);
  expect(it.reads).toEqual([100]);
  expect([it.bursts.length, heard]).toEqual([1, 10]);
  it.feed.close();
});

test("credentials of a secret that is not held are nobody's business", async () => {
  const it = setup();
  it.feed.listen(it.hear, undefined);
  it.changes.raise("credentials", "weixin:wx1:~digest:access_token");
  it.change("wx2");
  await it.until(1);
  expect(it.told()).toEqual(["credential wx2"]);
  it.feed.close();
});

test("where any credential may have changed, all are asked to begin anew, and nobody resumes from before", async () => {
  const it = setup();
  const { id } = it.feed.listen(it.hear, undefined);
  it.changes.raise("credentials");
  await it.until(1);
  expect(it.told()).toEqual(["reset"]);
  expect(it.feed.listen(it.hear, id).events).toMatchObject([{ type: "reset" }]);
  expect(it.feed.listen(it.hear, it.feed.id).events).toEqual([]);
  it.feed.close();
});

test("after a failover all begin anew, and an id from before or of another process counts for nothing", async () => {
  const it = setup();
  it.feed.listen(it.hear, undefined);
  it.change("wx1");
  await it.until(1);
  const before = it.feed.id;
  it.changes.becomeAnother();
  await it.until(2);
  expect(it.told()).toEqual(["credential wx1", "reset"]);
  const after = it.feed.id;
  expect(it.feed.listen(it.hear, before).events).toMatchObject([{ type: "reset" }]);
  expect(it.feed.listen(it.hear, after).events).toEqual([]);
  // The numbers alone, as a process that was started later would have them.
  expect(it.feed.listen(it.hear, after.replace(/^.*-/, "")).events).toMatchObject([{ type: "reset" }]);
  it.feed.close();
});

test("epochs that go back, as after a restored backup, are a reset", async () => {
  const it = setup();
  for (let n = 0; n < 5; n++) it.changes.raise("apps");
  it.feed.listen(it.hear, undefined);
  it.changes.set("apps", 1);
  it.changes.raise("clients");
  await it.until(1);
  expect(it.told()).toEqual(["reset"]);
  it.feed.close();
});

test("whoever comes back gets what it missed of the last 1024 events, else a reset", async () => {
  const it = setup();
  const { id: first } = it.feed.listen(it.hear, undefined);
  it.change("wx1");
  await it.until(1);
  const second = it.feed.id;
  for (let n = 0; n < 1000; n++) it.change(`wx${n}`);
  await it.until(1001);
  const missed = it.feed.listen(it.hear, first);
  expect([missed.events.length, missed.id]).toEqual([1001, it.feed.id]);
  for (let n = 0; n < 24; n++) it.change(`wx${n}`);
  await it.until(1025);
  expect(it.feed.listen(it.hear, first).events).toMatchObject([{ type: "reset" }]);
  expect(it.feed.listen(it.hear, second).events.length).toBe(1024);
  it.feed.close();
});

test("an id of another process, whose events came in other portions, is resumed from", async () => {
  const it = setup();
  it.feed.listen(it.hear, undefined);
  it.change("wx1");
  await it.until(1);
  it.change("wx2");
  it.changes.raise("apps");
  await it.until(3);
  // That process had told of the change of the apps already, and not of wx2.
  const missed = it.feed.listen(it.hear, "1.1.0.0.0.0");
  expect(missed.events.map(({ app }) => app)).toContain("wx2");
  it.feed.close();
});

test("while the store can't be read, nothing is told, and nothing is forgotten", async () => {
  const it = setup();
  it.feed.listen(it.hear, undefined);
  it.state.isReadable = false;
  it.change("wx1");
  it.changes.raise("backoffs");
  // A time in which all else would be told.
  await Bun.sleep(100);
  expect(it.told()).toEqual([]);
  it.state.isReadable = true;
  it.change("wx2");
  await it.until(3);
  expect(it.told().toSorted()).toEqual(["backoffs", "credential wx1", "credential wx2"]);
  it.feed.close();
});
