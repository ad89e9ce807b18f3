import { expect, test as declared } from "bun:test";
import type { AlarmChange } from "../../../src/ops/alarm-store.ts";
import { ended, type AlarmRecord } from "../../../src/ops/alarm-state.ts";
import type { Content } from "../../../src/ops/message-content.ts";
import { entryFor, firingChange, newAlarm, newChannel } from "../../support/alarm-records.ts";
import { failuresOf } from "../../support/refusals.ts";
import type { OpenStore } from "./open-store.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** What every store of alarms, messages and channels must do. `kind` names it in the tests' names. */
export function alarmStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const it = await open();
    const { store, clock } = it;
    const now = () => clock.now();
    const hearer = (channel = "ops", dueInMs = 20_000) => ({ channel, isTold: true, dueAt: now() + dueInMs });
    const fire = (subject: string, ...channels: string[]) => {
      const to = newAlarm({ since: now(), subject });
      return store.alarms.apply(
        [
          firingChange(
            to,
            channels.map((each) => hearer(each)),
          ),
        ],
        now(),
      );
    };
    const contents = async () =>
      (await store.notifications.page({ limit: 100 })).map(({ content }) => content);
    return { ...it, now, hearer, fire, contents, [Symbol.dispose]: () => it.dispose() };
  }
  const subjectsOf = (content: Content | undefined) =>
    content?.items.map(({ alarm }) => alarm.subject).toSorted();

  test(`${kind}: of several processes that raise an alarm one does, and what it tells is there once`, async () => {
    using it = await setup();
    const beside = await it.beside();
    const change = firingChange(newAlarm({ since: it.now() }), [it.hearer()]);
    const made = await Promise.all(
      [it.store, beside, it.store, beside].map(({ alarms }) => alarms.apply([change], it.now())),
    );
    expect(made.flat()).toHaveLength(1);
    expect(await beside.alarms.list()).toEqual([change.to]);
    expect(await it.contents()).toMatchObject([{ items: [{ news: "firing", alarm: { state: "firing" } }] }]);
    const over: AlarmChange = { from: 1, ...ended(change.to, it.now() + 1), hearers: [it.hearer("other")] };
    const endings = await Promise.all(
      [it.store, beside].map(({ alarms }) => alarms.apply([over], it.now() + 1)),
    );
    expect(endings.flat()).toHaveLength(1);
    expect(await it.store.alarms.list()).toEqual([]);
    expect(await it.store.alarms.find([change.to])).toMatchObject([{ state: "resolved", version: 2 }]);
    expect(await it.contents()).toHaveLength(2);
    beside.close();
  });

  test(`${kind}: a change of a state raises the topic, a look at it does not`, async () => {
    using it = await setup();
    const { alarms, changes } = it.store;
    const before = changes.epoch("alarms");
    await it.fire("wx1");
    const raised = changes.epoch("alarms");
    expect(raised).toBeGreaterThan(before);
    const [record] = await alarms.list();
    const seen = { ...(record as AlarmRecord), seenAt: it.now() + 5000 };
    await alarms.apply([{ from: 1, to: seen, news: undefined, hearers: [] }], it.now());
    expect(changes.epoch("alarms")).toBe(raised);
    expect(await alarms.list()).toEqual([seen]);
  });

  test(`${kind}: what comes within the time that a message waits is one message, of each channel its own`, async () => {
    using it = await setup();
    await it.fire("wx1", "ops", "dev");
    it.clock.advance(5000);
    await it.fire("wx2", "ops");
    const [dev, ops] = (await it.store.notifications.page({ limit: 9 })).toSorted((a, b) =>
      a.channel < b.channel ? -1 : 1,
    );
    expect([dev?.channel, subjectsOf(dev?.content)]).toEqual(["dev", ["wx1"]]);
    expect([ops?.channel, subjectsOf(ops?.content)]).toEqual(["ops", ["wx1", "wx2"]]);
    expect(ops?.dueAt).toBe(it.now() + 15_000);
    expect(await it.store.notifications.nextDueAt()).toBe(it.now() + 15_000);
    expect(await it.store.notifications.take(it.now())).toEqual([]);
  });

  test(`${kind}: an alarm that ends before anybody was told of it is told to nobody`, async () => {
    using it = await setup();
    await it.fire("wx1", "ops");
    const [record] = await it.store.alarms.list();
    const step = ended(record as AlarmRecord, it.now());
    // Also where the channel does not want to know of ends.
    await it.store.alarms.apply(
      [{ from: 1, ...step, hearers: [{ ...it.hearer(), isTold: false }] }],
      it.now(),
    );
    expect(await it.contents()).toEqual([]);
  });

  test(`${kind}: of many changes at once each channel has one message, with what was told before put right`, async () => {
    using it = await setup();
    await it.fire("wx1", "ops");
    const [first] = await it.store.alarms.list();
    const hearers = [it.hearer(), it.hearer("dev"), { ...it.hearer("boss"), isTold: false }];
    const fired = ["wx2", "wx3"].map((subject) =>
      firingChange(newAlarm({ since: it.now(), subject }), hearers),
    );
    const over = { from: 1, ...ended(first as AlarmRecord, it.now()), hearers: [it.hearer()] };
    await it.store.alarms.apply([...fired, over], it.now());
    const rows = await it.store.notifications.page({ limit: 9 });
    expect(rows.map(({ channel, content }) => [channel, subjectsOf(content)])).toEqual([
      ["dev", ["wx2", "wx3"]],
      ["ops", ["wx2", "wx3"]],
    ]);
    // What is due at another time is a message of its own, and the first that is due in time takes in the rest.
    const late = { ...it.hearer("late"), dueAt: it.now() + MINUTE_MS };
    const [quiet, loud, more] = ["wx4", "wx5", "wx6"].map((subject, n) =>
      firingChange(newAlarm({ since: it.now(), subject }), [n === 1 ? it.hearer("late") : late]),
    );
    await it.store.alarms.apply(
      [quiet, loud, more].flatMap((each) => each ?? []),
      it.now(),
    );
    const ofLate = await it.store.notifications.page({ channel: "late", limit: 9 });
    expect(new Set(ofLate.map(({ content }) => subjectsOf(content)?.join(" ")))).toEqual(
      new Set(["wx4", "wx5 wx6"]),
    );
  });

  test(`${kind}: a message is taken by one process, and by another half a minute later if that one was killed`, async () => {
    using it = await setup();
    const beside = await it.beside();
    await it.fire("wx1", "ops");
    it.clock.advance(20_000);
    const taken = await Promise.all(
      [it.store, beside].map(({ notifications }) => notifications.take(it.now())),
    );
    expect(taken.flat()).toMatchObject([{ channel: "ops", attempts: 1 }]);
    it.clock.advance(29_999);
    expect(await beside.notifications.take(it.now())).toEqual([]);
    it.clock.advance(1);
    const [again] = await beside.notifications.take(it.now());
    expect(again).toMatchObject({ attempts: 2 });
    // The first was only slow: its word comes too late.
    const [first] = taken.flat();
    await it.store.notifications.end(
      { id: first?.id ?? 0, attempts: 1, state: "failed", at: it.now(), answer: "late" },
      entryFor("notification.failed"),
    );
    expect(await it.store.audit.list({}, { limit: 9 })).toEqual([]);
    await beside.notifications.end(
      { id: again?.id ?? 0, attempts: 2, state: "sent", at: it.now(), answer: "0 ok" },
      entryFor("notification.sent"),
    );
    expect(await it.store.notifications.page({ channel: "ops", limit: 9 })).toMatchObject([
      { state: "sent", attempts: 2, answer: "0 ok", endedAt: it.now() },
    ]);
    expect(await it.store.audit.list({}, { limit: 9 })).toMatchObject([{ action: "notification.sent" }]);
    expect(await it.store.notifications.nextDueAt()).toBeUndefined();
    beside.close();
  });

  test(`${kind}: what is tried again tells nothing any more of an alarm that has ended since`, async () => {
    using it = await setup();
    const { alarms, notifications } = it.store;
    const key = newAlarm({ since: it.now(), condition: "master_key_rotated", subject: "" });
    const fired = ["wx1", "wx2"].map((subject) => newAlarm({ since: it.now(), subject }));
    await alarms.apply(
      [...fired, key].map((to) => firingChange(to, [it.hearer()])),
      it.now(),
    );
    const dev = firingChange(newAlarm({ since: it.now(), subject: "wx3" }), [it.hearer("dev")]);
    await alarms.apply([dev], it.now());
    it.clock.advance(20_000);
    const retry = async () => {
      for (const { id, attempts } of await notifications.take(it.now()))
        await notifications.end(
          { id, attempts, state: "waiting", at: it.now(), dueAt: it.now() + 2000, answer: "timeout" },
          undefined,
        );
      it.clock.advance(2000);
    };
    await retry();
    const over = [fired[0], key, dev.to].flatMap((each) => each ?? []);
    await alarms.apply(
      over.map((each) => ({ from: 1, ...ended(each, it.now()), hearers: [] })),
      it.now(),
    );
    const taken = await notifications.take(it.now());
    // What only happens has no end that says more.
    expect(taken.map(({ channel, content }) => [channel, subjectsOf(content)])).toEqual([
      ["ops", ["", "wx2"]],
    ]);
    expect((await it.contents()).map(subjectsOf)).toEqual([["", "wx2"]]);
  });

  test(`${kind}: a channel is sent six messages a minute by all processes, and what is too much becomes a digest`, async () => {
    using it = await setup();
    const beside = await it.beside();
    const { notifications } = it.store;
    for (let n = 0; n < 8; n++) {
      await it.fire(`wx${n}`, "ops");
      it.clock.advance(1000);
      await Promise.all([it.store, beside].map((each) => each.notifications.take(it.now() + 20_000)));
    }
    const [last, ...others] = await notifications.page({ limit: 20 });
    expect(others.map(({ attempts }) => attempts)).toEqual(Array.from({ length: 6 }, () => 1));
    expect(last).toMatchObject({ attempts: 0, content: { isDigest: true } });
    expect(subjectsOf(last?.content)).toEqual(["wx6", "wx7"]);
    expect(await notifications.begin("ops", { items: [], omitted: 0 }, it.now() + 20_000)).toBeUndefined();
    expect(await notifications.begin("dev", { items: [], omitted: 0 }, it.now() + 20_000)).toMatchObject({
      attempts: 1,
    });
    for (const { id } of others) {
      const sent = { id, attempts: 1, state: "sent", at: it.now(), answer: "0 ok" } as const;
      await notifications.end(sent, entryFor("notification.sent"));
    }
    // One minute after the first a seventh may go.
    it.clock.advance(MINUTE_MS + 20_000);
    const taken = (await notifications.take(it.now())).filter(({ channel }) => channel === "ops");
    expect(taken.map(({ id }) => id)).toEqual([last?.id ?? 0]);
    beside.close();
  });

  test(`${kind}: what was put off beyond a day by a clock that was set back since is due at once`, async () => {
    using it = await setup();
    await it.fire("wx1", "ops");
    it.clock.jumpWall(-3 * DAY_MS);
    expect(await it.store.notifications.take(it.now())).toHaveLength(1);
  });

  test(`${kind}: what has ended is forgotten after two weeks, and what lasts is not`, async () => {
    using it = await setup();
    const { alarms } = it.store;
    const since = it.now();
    await it.fire("wx1", "ops");
    const over = { state: "resolved", subject: "wx2", resolvedAt: since } as const;
    const address = {
      condition: "new_address",
      subject: "shop 10.0.0.8",
      resolvedAt: since,
      state: "resolved",
    } as const;
    for (const to of [newAlarm({ since, ...over }), newAlarm({ since, ...address })])
      await alarms.apply([{ from: 0, to, news: undefined, hearers: [] }], since);
    const find = () => alarms.find(["wx1", "wx2"].map((subject) => ({ condition: "app_blocked", subject })));
    await alarms.prune(since + 13 * DAY_MS);
    expect((await find()).map(({ subject }) => subject).toSorted()).toEqual(["wx1", "wx2"]);
    await alarms.prune(since + 15 * DAY_MS);
    expect((await find()).map(({ subject }) => subject)).toEqual(["wx1"]);
    expect(await alarms.list("new_address")).toHaveLength(1);
    await alarms.prune(since + 91 * DAY_MS);
    expect(await alarms.list("new_address")).toEqual([]);
    // It still waits.
    expect(await it.contents()).toHaveLength(1);
  });

  test(`${kind}: P3: a channel is kept with everything that was said of it, sealed, also after closing and opening`, async () => {
    using it = await setup();
    const { channels } = it.store;
    await channels.save(newChannel(), 0, entryFor("notification_channel.created"));
    await channels.saveChoices({ wrong_keys: { threshold: 7 } }, 0, entryFor("setting.changed"));
    const {
      channels: [channel],
      choices,
    } = await channels.load();
    expect(channel).toMatchObject({ name: "ops", kind: "feishu", isEnabled: true, damaged: [] });
    expect(channel?.url?.reveal()).toBe(newChannel().url.reveal());
    expect(channel?.secret?.reveal()).toBe(newChannel().secret.reveal());
    expect(choices.of).toEqual({ wrong_keys: { threshold: 7 } });
    const again = await (await it.reopen()).channels.load();
    expect(again.channels[0]?.url?.reveal()).toBe(newChannel().url.reveal());
    expect(again.choices).toEqual(choices);
  });

  test(`${kind}: P7: a channel is changed by its version alone, with its entry or not at all`, async () => {
    using it = await setup();
    const { channels, audit } = it.store;
    await channels.save(newChannel(), 0, entryFor("notification_channel.created"));
    const version = (await channels.load()).channels[0]?.version ?? 0;
    const refused = await failuresOf([
      channels.save(newChannel(), 0, entryFor("notification_channel.created")),
      channels.save(newChannel(), version + 1, entryFor("notification_channel.updated")),
      channels.remove("ops", version + 1, entryFor("notification_channel.deleted")),
      channels.remove("none", undefined, entryFor("notification_channel.deleted")),
      channels.saveChoices({}, 3, entryFor("setting.changed")),
    ]);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(["precondition_failed"]));
    expect(await audit.list({}, { limit: 9 })).toHaveLength(1);
    await channels.save(
      newChannel("ops", { isEnabled: false }),
      version,
      entryFor("notification_channel.updated"),
    );
    const changed = (await channels.load()).channels[0];
    expect(changed?.isEnabled).toBe(false);
    expect(changed?.version).toBeGreaterThan(version);
  });

  test(`${kind}: with a channel goes what waits for it, and what was sent stays`, async () => {
    using it = await setup();
    const { channels, notifications } = it.store;
    await channels.save(newChannel(), 0, entryFor("notification_channel.created"));
    const taken = await notifications.begin("ops", { items: [], omitted: 0 }, it.now());
    await notifications.end(
      { id: taken?.id ?? 0, attempts: 1, state: "sent", at: it.now(), answer: "0 ok" },
      entryFor("notification.sent"),
    );
    await it.fire("wx1", "ops");
    await channels.remove("ops", undefined, entryFor("notification_channel.deleted"));
    expect((await channels.load()).channels).toEqual([]);
    expect(await notifications.page({ limit: 9 })).toMatchObject([{ state: "sent" }]);
  });
}
