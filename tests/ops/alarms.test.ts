import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import type { ApiKeyRecord } from "../../src/access/client.ts";
import { AuditFailure } from "../../src/audit/audit-entry.ts";
import { MAX_PER_MINUTE } from "../../src/ops/alarm-store.ts";
import { newAlarm } from "../support/alarm-records.ts";
import { newApiKey, newClient } from "../support/client-records.ts";
import { ACTOR, openProcess, openProcesses } from "./alarm-harness.ts";

test("of several processes on one database one message comes for what is wrong, and one when it has ended", async () => {
  using it = await openProcesses(3);
  await it.channel();
  for (const { wrong } of it.processes) wrong.blocked = ["wx1", "wx2"];
  await it.pass(300);
  expect(it.sender.told).toEqual(["firing app_blocked:wx1 app_blocked:wx2"]);
  for (const { wrong } of it.processes) wrong.blocked = [];
  await it.pass(300);
  expect(it.sender.told.slice(1)).toEqual(["resolved app_blocked:wx1 app_blocked:wx2"]);
  const events = it.processes.flatMap(({ emitted }) => emitted.map(({ type }) => type));
  const counts = Object.groupBy(events, (type) => type);
  expect(counts["alarm.fired"]).toHaveLength(2);
  expect(counts["alarm.resolved"]).toHaveLength(2);
  expect(counts["notification.sent"]).toHaveLength(2);
  const entries = await it.first.store.audit.list({ action: "notification.sent" }, { limit: 9 });
  expect(entries.map(({ client, detail }) => [client, detail["of"], detail["alarms"]])).toEqual([
    ["(service)", "ops", 2],
    ["(service)", "ops", 2],
  ]);
});

test("what is seen by one process alone is told once, and ends when no process sees it any more", async () => {
  using it = await openProcesses(2);
  await it.channel();
  const [first, second] = it.processes;
  if (!first || !second) throw new Error("no process");
  first.wrong.reasons = [{ part: "audit", message: "审计无法写入 (the audit can't be written)" }];
  await it.pass(120);
  expect(it.sender.told).toEqual(["firing audit_failing:token-a"]);
  second.events.emit({ type: "audit.broken", id: 7 });
  await it.pass(60);
  expect(it.sender.told.slice(1)).toEqual(["firing audit_broken:"]);
  first.wrong.reasons = [];
  await it.pass(120);
  expect(it.sender.told.slice(2)).toEqual(["resolved audit_failing:token-a"]);
});

test("a disk is nearly full below its threshold", async () => {
  using it = await openProcesses();
  await it.channel();
  it.first.wrong.freeBytes = 1024 * 1_048_576;
  await it.pass(120);
  expect(it.sender.told).toEqual([]);
  it.first.wrong.freeBytes -= 1;
  await it.pass(120);
  expect(it.sender.told).toEqual(["firing disk_low:token-a"]);
  expect(it.sender.sent[0]?.message.alarms[0]?.detail.message).toContain("1023 MiB");
});

test("a database that can't be written is told by the first process of the machine without it, and so is its end", async () => {
  using it = await openProcesses(2);
  await it.channel();
  const fault = { part: "database", message: "数据库只读 (the database is read-only)" } as const;
  const { store } = it.first;
  const apply = store.alarms.apply.bind(store.alarms);
  for (const each of it.processes) {
    each.wrong.reasons = [fault];
    each.store.alarms.apply = () => Promise.reject(new Error("read-only"));
  }
  await it.pass(50);
  expect(it.sender.told).toEqual([]);
  it.sender.outcomes.push({ ok: false, answer: "timeout", isFinal: false });
  await it.pass(120);
  await it.clock.sleep(0);
  // The first attempt failed, and the second is waited for by nobody.
  expect(it.sender.told).toEqual(["firing store_read_only:token-a", "firing store_read_only:token-a"]);
  for (const each of it.processes) {
    each.wrong.reasons = [];
    each.store.alarms.apply = apply;
  }
  await it.pass(120);
  expect(it.sender.told.slice(2)).toEqual(["resolved store_read_only:token-a"]);
});

test("without the database no channel waits for another that is silent, and neither the next look nor the end for a repetition", async () => {
  using it = await openProcesses();
  for (const name of ["aa", "bb", "cc"]) await it.channel(name);
  const { store, wrong, sender, alarms, notifier } = it.first;
  store.alarms.apply = () => Promise.reject(new Error("away"));
  wrong.reasons = [{ part: "audit", message: "审计无法写入 (the audit can't be written)" }];
  const asked: string[] = [];
  const all = Promise.withResolvers<void>();
  sender.send = async ({ url }) => {
    asked.push(url.reveal().slice(20, 22));
    if (asked.length === 3) all.resolve();
    await all.promise;
    return { ok: false, answer: "timeout", isFinal: false };
  };
  const pause = Promise.withResolvers<void>();
  it.clock.sleep = () => pause.promise;
  await alarms.tick();
  expect(asked).toEqual(["aa", "bb", "cc"]);
  await notifier.stop();
  pause.resolve();
  await it.pass(10);
  expect(asked).toHaveLength(3);
});

test("that the audit could not be written while the database was away is no new alarm when that is back", async () => {
  using it = await openProcesses(2);
  await it.channel();
  const away = () => Promise.reject(new Error("away"));
  const back = it.processes.map(({ store, wrong }) => {
    const apply = store.alarms.apply.bind(store.alarms);
    const find = store.alarms.find.bind(store.alarms);
    Object.assign(store.alarms, { apply: away, find: away });
    wrong.reasons = [{ part: "database", message: "数据库不可达 (the database is away)" }];
    return () => {
      Object.assign(store.alarms, { apply, find });
      wrong.reasons = [];
    };
  });
  const fail = () => {
    for (const { events } of it.processes)
      events.emit({ type: "audit.failed", code: "unavailable", errmsg: "" });
  };
  for (let n = 0; n < 12; n++) {
    fail();
    await it.pass(10);
  }
  const told = it.sender.told.length;
  expect(it.sender.told[0]).toBe("firing audit_failing:token-a");
  fail();
  for (const again of back) again();
  await it.pass(300);
  expect(it.sender.told.slice(told)).toEqual(["resolved audit_failing:token-a store_read_only:token-a"]);
  // What fails from now on is.
  fail();
  await it.pass(60);
  expect(it.sender.told.slice(told + 1)).toEqual(["firing audit_failing:token-a"]);
});

test("a condition that is off is told to nobody, and one that is turned off ends silently", async () => {
  using it = await openProcesses();
  await it.channel();
  await it.choose({ app_blocked: { isOn: false } });
  it.first.wrong.blocked = ["wx1"];
  await it.pass(60);
  expect(it.sender.told).toEqual([]);
  await it.choose({ app_blocked: null });
  await it.pass(60);
  expect(it.sender.told).toEqual(["firing app_blocked:wx1"]);
  await it.choose({ app_blocked: { isOn: false } });
  await it.pass(120);
  expect(it.sender.told).toHaveLength(1);
  expect(await it.first.store.alarms.list()).toEqual([]);
});

test("a message that is refused is tried five times, from two seconds to five minutes apart", async () => {
  using it = await openProcesses();
  await it.channel();
  const refusal = { ok: false, answer: "45009 freq", errcode: 45009, isFinal: false } as const;
  it.sender.outcomes.push(refusal, refusal, refusal, refusal, {
    ...refusal,
    hint: "等一分钟 (wait a minute)",
  });
  it.first.wrong.blocked = ["wx1"];
  await it.pass(60);
  await it.pass(600);
  expect(it.sender.told).toEqual(Array.from({ length: 5 }, () => "firing app_blocked:wx1"));
  const [notification] = await it.first.store.notifications.page({ limit: 1 });
  expect(notification).toMatchObject({ state: "failed", attempts: 5, answer: "45009 freq" });
  expect(await it.first.store.audit.list({ action: "notification.failed" }, { limit: 9 })).toMatchObject([
    { outcome: "failed", detail: { of: "ops", attempts: 5, errcode: 45009 } },
  ]);
  expect(it.first.emitted.find(({ type }) => type === "notification.failed")).toMatchObject({
    ...{ channel: "ops", kind: "webhook", errcode: 45009, hint: "等一分钟 (wait a minute)" },
  });
});

test("of what has ended before a message of it arrived the end is told last", async () => {
  using it = await openProcesses();
  await it.channel();
  const refusal = { ok: false, answer: "timeout", isFinal: false } as const;
  it.sender.outcomes.push(refusal, refusal, refusal, refusal);
  it.first.wrong.blocked = ["wx1"];
  await it.pass(60);
  it.first.wrong.blocked = [];
  await it.pass(600);
  expect(it.sender.told.at(-1)).toBe("resolved app_blocked:wx1");
});

test("what a channel refuses for good is not repeated, and goes to the next that has not been told of it", async () => {
  using it = await openProcesses();
  await it.channel("bad");
  await it.channel("boss", { minSeverity: "critical" });
  it.sender.outcomes.push({ ok: false, answer: "93000", errcode: 93000, isFinal: true });
  it.first.wrong.freeBytes = 1;
  await it.pass(180);
  const names = it.sender.sent.map(({ address }) => address.url.reveal());
  expect(it.sender.told).toEqual(["firing disk_low:token-a", "firing disk_low:token-a"]);
  expect(names.map((url) => url.slice(20, 24))).toEqual(["bad-", "boss"]);
  // Where both are told anyway, nothing is passed on.
  it.sender.outcomes.push({ ok: false, answer: "93000", errcode: 93000, isFinal: true });
  it.first.wrong.blocked = ["wx1"];
  await it.pass(60);
  expect(it.sender.told.slice(2)).toEqual(["firing app_blocked:wx1", "firing app_blocked:wx1"]);
});

test("what waits for a channel that is turned off goes with it, and nobody else is told in its place", async () => {
  using it = await openProcesses();
  await it.channel("ops", { quietHours: { from: 11 * 60, to: 12 * 60 + 8 } });
  await it.channel("quiet", { minSeverity: "critical" });
  it.first.wrong.freeBytes = 1;
  await it.pass(120);
  await it.first.administration.update("ops", { isEnabled: false }, { actor: ACTOR });
  await it.pass(720);
  expect(it.sender.told).toEqual([]);
  expect(it.first.emitted.map(({ type }) => type)).not.toContain("notification.failed");
  expect(await it.first.store.notifications.page({ limit: 9 })).toMatchObject([
    { channel: "ops", state: "failed", answer: "disabled" },
  ]);
});

test("what waits for a channel that is damaged is told to another in its place", async () => {
  using it = await openProcesses();
  await it.channel("ops");
  await it.channel("quiet", { minSeverity: "critical" });
  using other = new Database(it.folder.path, { readwrite: true });
  other.run("UPDATE notification_channels SET secret = 'x' WHERE name = 'ops'");
  it.first.wrong.freeBytes = 1;
  await it.pass(70);
  await it.first.channels.refresh();
  await it.pass(60);
  expect(it.sender.sent.map(({ address }) => address.url.reveal().slice(20, 25))).toEqual(["quiet"]);
});

test("where every channel that is told of an alarm fails, the one that is not told of it has it in their place", async () => {
  using it = await openProcesses();
  for (const name of ["aa", "bb"]) await it.channel(name);
  await it.channel("cc", { minSeverity: "critical" });
  const refusal = { ok: false, answer: "93000", errcode: 93000, isFinal: true } as const;
  it.sender.outcomes.push(refusal, refusal);
  it.first.wrong.freeBytes = 1;
  await it.pass(180);
  const names = it.sender.sent.map(({ address }) => address.url.reveal().slice(20, 22));
  expect(names).toEqual(["aa", "bb", "cc"]);
  expect(it.sender.told.at(-1)).toBe("firing disk_low:token-a");
});

test("a process that is killed between an attempt and its outcome costs no alarm, and one message too many at most", async () => {
  using it = await openProcesses(2);
  await it.channel();
  const [first, second] = it.processes;
  if (!first || !second) throw new Error("no process");
  // It is sent, and the outcome never written.
  first.store.notifications.end = () => new Promise(() => undefined);
  first.wrong.blocked = ["wx1"];
  it.clock.advance(10_000);
  await first.alarms.tick();
  it.clock.advance(20_000);
  void first.notifier.tick();
  while (it.sender.sent.length === 0) await it.clock.sleep(0);
  it.clock.advance(29_000);
  await second.notifier.tick();
  expect(it.sender.sent).toHaveLength(1);
  it.clock.advance(1000);
  for (let n = 0; n < 20; n++) {
    await second.notifier.tick();
    it.clock.advance(10_000);
  }
  expect(it.sender.told).toEqual(["firing app_blocked:wx1", "firing app_blocked:wx1"]);
  expect(await second.store.notifications.page({ limit: 9 })).toMatchObject([{ state: "sent", attempts: 2 }]);
});

test("a process that is killed before it tells leaves the alarm to the others", async () => {
  using it = await openProcesses(2);
  await it.channel();
  const [first, second] = it.processes;
  if (!first || !second) throw new Error("no process");
  first.wrong.blocked = ["wx1"];
  it.clock.advance(10_000);
  await first.alarms.tick();
  it.clock.advance(20_000);
  await second.notifier.tick();
  expect(it.sender.told).toEqual(["firing app_blocked:wx1"]);
});

test("an audit that can't be written does not have a message sent twice", async () => {
  using it = await openProcesses();
  await it.channel();
  const queue = it.first.store.notifications;
  const end = queue.end.bind(queue);
  queue.end = (outcome, entry) =>
    entry ? Promise.reject(new AuditFailure("full")) : end(outcome, undefined);
  it.first.wrong.blocked = ["wx1"];
  await it.pass(180);
  expect(it.sender.told).toEqual(["firing app_blocked:wx1"]);
  expect(await it.first.store.notifications.page({ limit: 9 })).toMatchObject([{ state: "sent" }]);
});

test("however much fails at once, a channel is told a few times a minute, and everything is counted", async () => {
  using it = await openProcesses(2);
  await it.channel();
  const names = Array.from({ length: 90 }, (_, n) => `wx${String(n).padStart(2, "0")}`);
  for (const { wrong } of it.processes) wrong.blocked = names;
  await it.pass(120);
  expect(it.sender.sent).toHaveLength(1);
  const { alarms, omitted } = it.sender.sent[0]?.message ?? { alarms: [], omitted: 0 };
  expect([alarms.length, omitted]).toEqual([15, 75]);
  expect(it.sender.sent.length).toBeLessThanOrEqual(MAX_PER_MINUTE);
});

test("however much fails and ends at once, no transaction makes more than fifty changes, and each channel has one message of all", async () => {
  using it = await openProcesses();
  await it.channel();
  const { alarms } = it.first.store;
  const apply = alarms.apply.bind(alarms);
  const sizes: number[] = [];
  alarms.apply = (changes, now) => {
    sizes.push(changes.length);
    return apply(changes, now);
  };
  it.first.wrong.blocked = Array.from({ length: 90 }, (_, n) => `wx${n}`);
  await it.pass(30);
  it.first.wrong.blocked = [];
  await it.pass(120);
  expect(Math.max(...sizes)).toBe(50);
  expect(it.sender.sent.map(({ message }) => message.alarms.length + message.omitted)).toEqual([90, 90]);
});

test("what has ended is told when it begins again, however much has ended since", async () => {
  using it = await openProcesses();
  await it.channel();
  it.first.wrong.blocked = ["wx1"];
  await it.pass(60);
  it.first.wrong.blocked = [];
  await it.pass(120);
  const since = it.clock.now();
  const over = { state: "resolved", resolvedAt: since, condition: "quota_80" } as const;
  await it.first.store.alarms.apply(
    Array.from({ length: 5001 }, (_, n) => ({
      ...{ from: 0, news: undefined, hearers: [] },
      to: newAlarm({ since, ...over, subject: `wx${n}` }),
    })),
    since,
  );
  it.first.wrong.blocked = ["wx1"];
  await it.pass(60);
  expect(it.sender.told.slice(2)).toEqual(["firing app_blocked:wx1"]);
}, 60_000);

test("a key that was rolled and a process that is back are told as ended, a key that has expired and a process that is forgotten are not", async () => {
  using it = await openProcesses();
  await it.channel();
  const { clock } = it;
  const keys = new Map<string, ApiKeyRecord>(
    ["rolled", "expired"].map((name) => [
      name,
      { ...newApiKey(name, "0123456789ab"), expiresAt: clock.now() + 300_000 },
    ]),
  );
  const node = { pid: 1, version: "1", offsetMs: 0, keyIds: [], isListening: true };
  const gone = { ...node, startedAt: 1, seenAt: clock.now(), silentMs: 20_000 };
  let nodes = ["back", "forgotten"].map((host) => ({ ...gone, id: host, host }));
  const one = await openProcess(
    await it.folder.open(),
    clock,
    { sender: it.sender },
    {
      clients: {
        list: () => [...keys.keys()].map((name) => newClient(name)),
        keysOf: (name) => [keys.get(name) ?? []].flat(),
      },
      listNodes: async () => nodes,
    },
  );
  const pass = async (seconds: number) => {
    for (let at = 0; at < seconds; at += 10) {
      clock.advance(10_000);
      await one.alarms.tick();
      await one.notifier.tick();
    }
  };
  await pass(120);
  expect(it.sender.told).toEqual([
    "firing key_ends:rolled key_ends:expired node_gone:back node_gone:forgotten",
  ]);
  keys.set("rolled", { ...newApiKey("rolled", "0123456789ab"), replacedBy: "cdef01234567" });
  nodes = [{ ...gone, id: "new", host: "back", startedAt: clock.now(), seenAt: clock.now(), silentMs: 0 }];
  await pass(600);
  expect(it.sender.told.slice(1)).toEqual(["resolved key_ends:rolled node_gone:back"]);
  expect(await one.store.alarms.list()).toEqual([]);
});

test("in quiet hours only what is critical is told, and the rest when they end, if it still lasts", async () => {
  using it = await openProcesses();
  // It is noon in Beijing.
  await it.channel("ops", { quietHours: { from: 11 * 60, to: 12 * 60 + 8 } });
  it.first.wrong.freeBytes = 1;
  await it.pass(240);
  expect(it.sender.told).toEqual([]);
  it.first.wrong.blocked = ["wx1"];
  await it.pass(60);
  expect(it.sender.told).toEqual(["firing app_blocked:wx1"]);
  await it.pass(240);
  expect(it.sender.told.slice(1)).toEqual(["firing disk_low:token-a"]);
});

test("without a channel the alarms stand all the same, and are looked for less often", async () => {
  using it = await openProcesses();
  it.first.wrong.blocked = ["wx1"];
  expect(await it.first.alarms.tick()).toBe(30_000);
  expect(await it.first.store.alarms.list()).toMatchObject([{ condition: "app_blocked", state: "firing" }]);
  await it.channel();
  it.clock.advance(30_000);
  expect(await it.first.alarms.tick()).toBe(10_000);
});

test("each further address of a client is told once, by whichever process sees it, where somebody wants to know", async () => {
  using it = await openProcesses(2);
  await it.channel();
  const [first, second] = it.processes;
  if (!first || !second) throw new Error("no process");
  let looks = 0;
  // To find it out costs each request.
  first.addresses.note("shop", {
    get address() {
      looks += 1;
      return "10.0.0.8";
    },
  });
  await it.pass(60);
  expect([looks, await first.store.alarms.list("new_address")]).toEqual([0, []]);
  await it.choose({ new_address: { isOn: true } });
  await it.pass(10);
  first.addresses.note("shop", { address: "10.0.0.8" });
  await it.pass(60);
  expect(it.sender.told).toEqual([]);
  for (const { addresses } of it.processes) addresses.note("shop", { address: "203.0.113.7" });
  first.addresses.note("crm", { address: "203.0.113.7" });
  await it.pass(60);
  expect(it.sender.told).toEqual(["firing new_address:shop 203.0.113.7"]);
  for (const { addresses } of it.processes) addresses.note("shop", { address: "203.0.113.7" });
  second.addresses.note("shop", { address: "10.0.0.8" });
  await it.pass(60);
  expect(it.sender.told).toHaveLength(1);
});
