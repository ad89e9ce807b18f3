import { expect, test as declared } from "bun:test";
import type { DeliveryStore, NewDelivery } from "../../../src/callbacks/delivery-store.ts";
import { Secret } from "../../../src/secret.ts";
import { entryOf } from "../../support/audit-entries.ts";
import type { OpenStore } from "./open-store.ts";

const APP = "wx1";
const DAY_MS = 86_400_000;
const idle = (_app: string, _target: string) => ({ running: 0, isFailing: false });
const REPLAYED = entryOf({ client: "admin", action: "delivery.replayed", app: APP, outcome: "ok" });
const DROPPED = entryOf({ client: "admin", action: "delivery.dropped", app: APP, outcome: "ok" });

/** What every store of pushes and deliveries must do. `kind` names it in the tests' names. */
export function deliveryStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const { store, clock, dispose } = opened;
    const { deliveries } = store;
    const lease = (holder = "a", ms = 30_000) => ({ holder, now: clock.now(), until: clock.now() + ms });
    /** A delivery that is anybody's in a second; `pulled`: of one that is pulled. */
    const to = (target: string, wanted: Partial<NewDelivery> & { pulled?: boolean } = {}): NewDelivery => ({
      ...{ target, environment: "dev", role: "copy", sender: "o1" },
      leasedUntil: wanted.pulled ? undefined : clock.now() + 1000,
      ...wanted,
    });
    const accept = async (
      dedupeKey: string,
      to: readonly NewDelivery[],
      { on = deliveries, answer }: { on?: DeliveryStore; answer?: string } = {},
    ) => {
      const push = { app: APP, dedupeKey, type: "text", event: "", receivedAt: clock.now() };
      const request = new Secret(`request ${dedupeKey}`);
      const accepted = await on.accept(
        { ...push, request, answer: answer === undefined ? undefined : new Secret(answer) },
        to,
        "a",
      );
      return { ids: accepted.ids, answer: accepted.answer?.reveal() };
    };
    const take = async (holder = "b", limit = 10, loadOf = idle) => {
      const { taken } = await deliveries.takeDue(lease(holder), limit, loadOf);
      return taken.map(({ id }) => id);
    };
    const stateOf = async (id: number) => {
      const found = await deliveries.find({ app: APP }, id);
      return found && [found.state, found.attempts, found.request?.reveal()];
    };
    const end = (id: number, holder: string, failure?: { error: string; dueAt: number }) =>
      deliveries.end({ id, holder, at: clock.now(), failure });
    return {
      ...{ ...opened, deliveries, lease, to, accept, take, stateOf, end },
      [Symbol.dispose]: dispose,
    };
  }

  test(`${kind}: P9: of many that store one push, in several processes, one stores it and its deliveries`, async () => {
    using it = await setup();
    const stores = [it.deliveries, (await it.beside()).deliveries];
    const accepted = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        it.accept("1", [it.to("dev"), it.to("st")], { on: stores[n % 2]! }),
      ),
    );
    const isNew = accepted.filter(({ ids }) => ids !== undefined);
    expect(isNew.map(({ ids }) => ids?.length)).toEqual([2]);
    const listed = await it.deliveries.list({ app: APP }, { limit: 10 });
    expect(listed.map(({ target }) => target).toSorted()).toEqual(["dev", "st"]);
  });

  test(`${kind}: P3: P9: a push and its deliveries outlive a restart, with the message and the answer`, async () => {
    using it = await setup();
    const { ids } = await it.accept("1", [it.to("dev")], { answer: "the answer" });
    const again = (await it.reopen()).deliveries;
    const [id = 0] = ids ?? [];
    expect((await again.find({ app: APP }, id))?.request?.reveal()).toBe("request 1");
    expect(await it.accept("1", [it.to("dev")], { on: again })).toEqual({
      ids: undefined,
      answer: "the answer",
    });
  });

  test(`${kind}: many pushes of one moment are each stored, and each told its own deliveries`, async () => {
    using it = await setup();
    const all = await Promise.all(
      Array.from({ length: 150 }, async (_, n) => {
        const { ids } = await it.accept(`${n % 140}`, [it.to("dev"), it.to("st")]);
        return Promise.all((ids ?? []).map((id) => it.deliveries.find({ app: APP }, id)));
      }),
    );
    expect(all.filter((found) => found.length === 2)).toHaveLength(140);
    for (const [n, found] of all.entries())
      if (found.length > 0)
        expect(found.map((each) => [each?.dedupeKey, each?.target])).toEqual([
          [`${n}`, "dev"],
          [`${n}`, "st"],
        ]);
  });

  test(`${kind}: the first answer of a push stands`, async () => {
    using it = await setup();
    await it.accept("1", [it.to("dev", { role: "primary" })]);
    const push = { app: APP, dedupeKey: "1" };
    expect(await it.deliveries.look(push, it.clock.now())).toEqual({});
    it.clock.advance(1000);
    expect((await it.deliveries.look(push, it.clock.now())).free?.target).toBe("dev");
    expect((await it.deliveries.answer(push, new Secret("one"))).reveal()).toBe("one");
    expect((await it.deliveries.answer(push, new Secret("two"))).reveal()).toBe("one");
    const other = (await it.beside()).deliveries;
    expect((await other.look(push, it.clock.now())).answer?.reveal()).toBe("one");
  });

  test(`${kind}: of a push without an answer is known that its primary's delivery has ended`, async () => {
    using it = await setup();
    const role = "primary" as const;
    const { ids: [id = 0] = [] } = await it.accept("1", [it.to("dev", { role }), it.to("st")]);
    const look = () => it.deliveries.look({ app: APP, dedupeKey: "1" }, it.clock.now());
    expect(await look()).toEqual({});
    await it.end(id, "a");
    expect(await look()).toEqual({ isOver: true });
  });

  test(`${kind}: a delivery that is leased is nobody else's until the lease ends, and what the former holder says then counts no more`, async () => {
    using it = await setup();
    const { ids: [id = 0] = [] } = await it.accept("1", [it.to("dev")]);
    expect(await it.take()).toEqual([]);
    it.clock.advance(1000);
    const both = await Promise.all([
      it.take("b"),
      (await it.beside()).deliveries.takeDue(it.lease("c"), 10, idle),
    ]);
    expect([...both[0], ...both[1].taken.map((each) => each.id)]).toEqual([id]);
    const holder = both[0].length > 0 ? "b" : "c";
    await it.end(id, "a");
    expect(await it.stateOf(id)).toEqual(["waiting", 2, "request 1"]);
    await it.end(id, holder);
    expect(await it.stateOf(id)).toEqual(["delivered", 2, undefined]);
  });

  test(`${kind}: a failed attempt is due again when it says, in any process, and one that goes on longer later`, async () => {
    using it = await setup();
    const { ids: [id = 0] = [] } = await it.accept("1", [it.to("dev")]);
    await it.end(id, "a", { error: "timeout", dueAt: it.clock.now() + 2000 });
    expect((await it.deliveries.find({ app: APP }, id))?.error).toBe("timeout");
    expect(await it.deliveries.nextDueAt()).toBe(it.clock.now() + 2000);
    it.clock.advance(1999);
    expect(await it.take()).toEqual([]);
    it.clock.advance(1);
    expect(await it.take("b")).toEqual([id]);
    await it.deliveries.extend(id, it.lease("b", 60_000));
    it.clock.advance(59_999);
    expect(await it.take("c")).toEqual([]);
    it.clock.advance(1);
    expect(await it.take("c")).toEqual([id]);
  });

  test(`${kind}: what was put off or lent under a clock that has been set back since is anybody's, and what is pulled stays so`, async () => {
    using it = await setup();
    const laptop = it.to("laptop", { pulled: true });
    const target = { name: "laptop", environment: "dev" };
    const { ids: [failed = 0, pulled = 0] = [] } = await it.accept("1", [it.to("dev"), laptop]);
    await it.end(failed, "a", { error: "timeout", dueAt: it.clock.now() + 600_000 });
    await it.deliveries.pull(APP, [target], it.lease("p"), 10);
    await it.deliveries.hasten(it.clock.now());
    expect(await it.take("b")).toEqual([]);
    it.clock.jumpWall(-3_600_000);
    await it.deliveries.hasten(it.clock.now());
    expect(await it.take("b")).toEqual([failed]);
    const again = await it.deliveries.pull(APP, [target], it.lease("q"), 10);
    expect(again.map(({ id }) => id)).toEqual([pulled]);
  });

  test(`${kind}: those of one sender to one target are taken in order, and those of others beside them`, async () => {
    using it = await setup();
    const due = { leasedUntil: it.clock.now() };
    const { ids: [first = 0] = [] } = await it.accept("1", [it.to("dev", due)]);
    const { ids: [second = 0] = [] } = await it.accept("2", [it.to("dev", due)]);
    const { ids: [other = 0] = [] } = await it.accept("3", [it.to("dev", { ...due, sender: "o2" })]);
    const { ids: [elsewhere = 0] = [] } = await it.accept("4", [it.to("st", due)]);
    expect((await it.take("b")).toSorted((a, b) => a - b)).toEqual([first, other, elsewhere]);
    it.clock.advance(5000);
    expect(await it.take("b")).toEqual([]);
    // The next one is due as soon as the first is delivered.
    await it.end(first, "b");
    expect(await it.take("b")).toEqual([second]);
  });

  test(`${kind}: a delivery that fails holds later ones back for a minute, then they pass it`, async () => {
    using it = await setup();
    const due = { leasedUntil: it.clock.now() };
    const { ids: [first = 0] = [] } = await it.accept("1", [it.to("dev", due)]);
    const { ids: [second = 0] = [] } = await it.accept("2", [it.to("dev", due)]);
    expect(await it.take("b")).toEqual([first]);
    await it.end(first, "b", { error: "timeout", dueAt: it.clock.now() + 600_000 });
    it.clock.advance(59_000);
    expect(await it.take("b")).toEqual([]);
    it.clock.advance(2000);
    expect(await it.take("b")).toEqual([second]);
  });

  test(`${kind}: one round puts off at most 256 that wait for others of their lanes, and the next ones the rest`, async () => {
    using it = await setup();
    const senders = Array.from({ length: 300 }, (_, n) => `o${n}`);
    for (const leasedUntil of [it.clock.now() + 20_000, it.clock.now()])
      await Promise.all(
        senders.map((sender) =>
          it.accept(`${sender} ${leasedUntil}`, [it.to("dev", { sender, leasedUntil })]),
        ),
      );
    const dueNow = async () =>
      (await it.deliveries.list({ app: APP }, { limit: 600 })).filter(({ dueAt }) => dueAt <= it.clock.now());
    expect(await dueNow()).toHaveLength(300);
    expect(await it.take()).toEqual([]);
    expect(await dueNow()).toHaveLength(44);
    expect(await it.take()).toEqual([]);
    expect(await dueNow()).toHaveLength(0);
  });

  test(`${kind}: of a target that holds as many as are left none is taken, and others are for all that`, async () => {
    using it = await setup();
    const due = { leasedUntil: it.clock.now() };
    const many = Array.from({ length: 500 }, (_, n) => [it.to("slow", { ...due, sender: `o${n}` })]);
    await Promise.all(many.map((to, n) => it.accept(`${n}`, to)));
    const { ids: [fast = 0] = [] } = await it.accept("f", [it.to("fast", due)]);
    const busy = (_app: string, target: string) => ({ running: target === "slow" ? 10 : 0, isFailing: true });
    expect(await it.take("b", 10, busy)).toEqual([fast]);
    await it.end(fast, "b");
    it.clock.advance(29_999);
    expect(await it.take("b", 10)).toEqual([]);
    it.clock.advance(1);
    expect(await it.take("b", 10)).toHaveLength(5);
  });

  test(`${kind}: however much waits for some targets, another finds room`, async () => {
    using it = await setup();
    const due = { leasedUntil: it.clock.now() };
    for (const target of ["one", "two", "three"])
      for (let n = 0; n < 12; n++)
        await it.accept(`${target} ${n}`, [it.to(target, { ...due, sender: `o${n}` })]);
    const { ids: [last = 0] = [] } = await it.accept("last", [it.to("four", due)]);
    expect(await it.take("b", 24)).toContain(last);
  });

  test(`${kind}: what waits for a healthy target follows in order as others end, however much that is`, async () => {
    using it = await setup();
    const due = { leasedUntil: it.clock.now() };
    const senders = Array.from({ length: 100 }, (_, n) => `o${n}`);
    const ids: number[] = [];
    for (const sender of senders)
      ids.push(...((await it.accept(sender, [it.to("dev", { ...due, sender })])).ids ?? []));
    for (let n = 0; n < 60; n += 2) {
      const taken = await it.take("b", 4);
      expect(taken).toEqual(ids.slice(n, n + 2));
      for (const id of taken) await it.end(id, "b");
    }
    it.clock.advance(1000);
    expect(await it.take("b", 100)).toEqual(ids.slice(60));
  });

  test(`${kind}: after a day a delivery is dead, its message stays for a week, and it can be replayed`, async () => {
    using it = await setup();
    const { ids: [id = 0] = [] } = await it.accept("1", [it.to("dev")]);
    it.clock.advance(DAY_MS);
    const { taken, died } = await it.deliveries.takeDue(it.lease("b"), 10, idle);
    expect([taken, died.map((each) => [each.id, each.state])]).toEqual([[], [[id, "dead"]]]);
    expect(await it.deliveries.figures()).toEqual({ waiting: 0, dead: 1, oldestAt: undefined });
    it.clock.advance(6 * DAY_MS);
    expect(await it.deliveries.claimPruning(it.clock.now())).toBeGreaterThan(0);
    const filter = { app: APP, state: "dead" as const };
    const replayed = await it.deliveries.replay(filter, { limit: 10 }, new Set(), it.clock.now(), REPLAYED);
    expect(replayed).toEqual([id]);
    expect(await it.take("b")).toEqual([id]);
    expect((await it.store.audit.list({}, { limit: 1 }))[0]?.action).toBe("delivery.replayed");
    it.clock.advance(DAY_MS);
    await it.take("b");
    it.clock.advance(7 * DAY_MS);
    expect(await it.deliveries.claimPruning(it.clock.now())).toBe(0);
    expect(await it.deliveries.claimPruning(it.clock.now())).toBeGreaterThan(0);
    expect(await it.deliveries.prune(it.clock.now())).toBe(false);
    expect(await it.stateOf(id)).toBeUndefined();
    expect((await it.accept("1", [])).ids).toEqual([]);
  });

  test(`${kind}: many are replayed by pieces, each once, whatever their state`, async () => {
    using it = await setup();
    const ids: number[] = [];
    for (const key of ["1", "2", "3"])
      ids.push(...((await it.accept(key, [it.to("dev", { sender: key })])).ids ?? []));
    const filter = { app: APP, state: "waiting" as const };
    const replay = (after?: number) =>
      it.deliveries.replay(filter, { limit: 2, after }, new Set(), it.clock.now(), REPLAYED);
    expect(await replay()).toEqual(ids.slice(0, 2));
    expect(await replay(ids[1])).toEqual(ids.slice(2));
    expect(await replay(ids[2])).toEqual([]);
  });

  test(`${kind}: a message goes once the last delivery has ended, and what is delivered can't be replayed then`, async () => {
    using it = await setup();
    const { ids: [one = 0, two = 0] = [] } = await it.accept("1", [it.to("dev"), it.to("st")]);
    await it.end(one, "a");
    expect(await it.stateOf(one)).toEqual(["delivered", 1, "request 1"]);
    expect(await it.deliveries.drop({ app: APP }, two, it.clock.now(), DROPPED)).toBe(true);
    expect(await it.deliveries.drop({ app: APP }, two, it.clock.now(), DROPPED)).toBe(false);
    expect(await it.stateOf(two)).toEqual(["dropped", 1, undefined]);
    const replay = it.deliveries.replay({ app: APP }, { ids: [one] }, new Set(), it.clock.now(), REPLAYED);
    expect(await replay).toEqual([]);
    expect((await it.store.audit.list({}, { limit: 5 })).map(({ action }) => action)).toEqual([
      "delivery.dropped",
    ]);
  });

  test(`${kind}: what is pulled is one puller's for the lease, then another's, and never taken to be sent`, async () => {
    using it = await setup();
    const { ids: [id = 0] = [] } = await it.accept("1", [it.to("laptop", { pulled: true, role: "primary" })]);
    expect(await it.take()).toEqual([]);
    const pull = async (holder: string, target = { name: "laptop", environment: "dev" }) =>
      (await it.deliveries.pull(APP, [target], it.lease(holder), 10)).map((each) => [
        each.id,
        each.request?.reveal(),
      ]);
    expect(await pull("p", { name: "another", environment: "dev" })).toEqual([]);
    // A target of that name that is another environment's by now.
    expect(await pull("p", { name: "laptop", environment: "st" })).toEqual([]);
    expect(await pull("p")).toEqual([[id, "request 1"]]);
    expect(await pull("q")).toEqual([]);
    it.clock.advance(30_000);
    expect(await it.take()).toEqual([]);
    expect(await pull("q")).toEqual([[id, "request 1"]]);
    const answered = { app: APP, dedupeKey: "1", answer: new Secret("reply") };
    expect(await it.deliveries.acknowledge(id, it.clock.now(), answered)).toEqual({ isAnswer: true });
    expect(await it.deliveries.acknowledge(id, it.clock.now(), answered)).toBeUndefined();
    expect((await it.deliveries.look(answered, it.clock.now())).answer?.reveal()).toBe("reply");
    expect(await it.stateOf(id)).toEqual(["delivered", 2, undefined]);
  });

  test(`${kind}: what waits to be pulled is sent once its target has a URL, and what a program has pulled after its lease`, async () => {
    using it = await setup();
    const { callbackSettings } = it.store;
    const entry = entryOf({ client: "admin", action: "callback.updated", app: APP, outcome: "ok" });
    const settings = { token: new Secret("t"), mode: "plain", format: "xml", receiveIds: [APP] } as const;
    await callbackSettings.save({ app: APP, ...settings }, undefined, entry);
    const save = (url?: string) =>
      callbackSettings.saveTarget(
        { app: APP, name: "laptop", environment: "dev", url, content: "original" },
        undefined,
        entry,
      );
    await save();
    const pulled = (sender: string) => it.to("laptop", { pulled: true, sender });
    const { ids: [taken = 0] = [] } = await it.accept("1", [pulled("o1")]);
    await it.deliveries.pull(APP, [{ name: "laptop", environment: "dev" }], it.lease("p"), 10);
    const { ids: [waits = 0] = [] } = await it.accept("2", [pulled("o2"), it.to("other", { pulled: true })]);
    await save();
    expect(await it.take()).toEqual([]);
    await save("https://laptop.example/wx");
    expect(await it.take()).toEqual([waits]);
    it.clock.advance(29_999);
    expect(await it.take()).toEqual([]);
    it.clock.advance(1);
    expect((await it.take()).toSorted((a, b) => a - b)).toEqual([taken, waits]);
  });

  test(`${kind}: an acknowledgement that comes after the answer is told that it is not the answer`, async () => {
    using it = await setup();
    const { ids: [id = 0] = [] } = await it.accept("1", [it.to("laptop", { pulled: true, role: "primary" })]);
    const push = { app: APP, dedupeKey: "1" };
    await it.deliveries.answer(push, new Secret("success"));
    const late = { ...push, answer: new Secret("late") };
    expect(await it.deliveries.acknowledge(id, it.clock.now(), late)).toEqual({ isAnswer: false });
    expect((await it.deliveries.look(push, it.clock.now())).answer?.reveal()).toBe("success");
  });

  test(`${kind}: a list has the newest first, by pages, of one environment, state and target alone`, async () => {
    using it = await setup();
    const ids: number[] = [];
    for (let n = 0; n < 6; n++) {
      const environment = n % 2 === 0 ? "dev" : "prod";
      ids.push(...((await it.accept(`${n}`, [it.to(environment, { environment })])).ids ?? []));
    }
    await it.end(ids[0] ?? 0, "a");
    const list = async (more: object, limit = 10, before?: number) =>
      (await it.deliveries.list({ app: APP, ...more }, { limit, before })).map(({ id }) => id);
    const newest = ids.toReversed();
    expect(await list({})).toEqual(newest);
    expect(await list({}, 2)).toEqual(newest.slice(0, 2));
    expect(await list({}, 10, newest[1])).toEqual(newest.slice(2));
    expect(await list({ environment: "dev" })).toEqual(newest.filter((_, n) => n % 2 === 1));
    expect(await list({ target: "prod" })).toEqual(newest.filter((_, n) => n % 2 === 0));
    expect(await list({ state: "delivered" })).toEqual([ids[0]!]);
    expect(await list({ app: "another" })).toEqual([]);
    expect(await it.deliveries.figures()).toEqual({ waiting: 5, dead: 0, oldestAt: it.clock.now() });
  });

  test(`${kind}: when a target was pulled last is known in every process`, async () => {
    using it = await setup();
    const { callbackSettings } = it.store;
    const entry = entryOf({ client: "admin", action: "callback.updated", app: APP, outcome: "ok" });
    const settings = { token: new Secret("t"), mode: "plain", format: "xml", receiveIds: [APP] } as const;
    await callbackSettings.save({ app: APP, ...settings }, undefined, entry);
    const target = { app: APP, name: "laptop", environment: "dev", content: "original" } as const;
    await callbackSettings.saveTarget(target, undefined, entry);
    await it.deliveries.notePull(APP, ["laptop"], it.clock.now());
    const pulls = await (await it.beside()).callbackSettings.lastPullsOf(APP);
    expect([...pulls]).toEqual([["laptop", it.clock.now()]]);
  });
}
