import { expect, test as declared } from "bun:test";
import type { Credential, CredentialName } from "../../../src/credentials/credential.ts";
import type { CredentialStore, DueRequest } from "../../../src/credentials/credential-store.ts";
import { Secret } from "../../../src/secret.ts";
import { tokenOf, weixinSlot } from "../../support/slots.ts";
import type { OpenStore } from "./open-store.ts";
import { clearOne, rejectOne } from "../../support/store-folder.ts";

const TOKEN = tokenOf();
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

function credential(value: string, issuedAt: number): Credential {
  return { value: new Secret(value), issuedAt, expiresAt: issuedAt + 2 * HOUR_MS };
}

/** How every store must tell what is due to be renewed, and take what was pushed. `kind` names it in the tests' names. */
export function dueCredentialsContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const { clock } = opened;
    const store = opened.store.credentials;
    /** Saves as a refresh does, and notes a use. */
    async function put(renewAt: number | undefined, name: CredentialName = TOKEN, usedAt = clock.now()) {
      const { record } = await store.lease(name, { holder: "a", now: clock.now(), lifeMs: 10_000 });
      const standing = await store.save(name, credential("one", clock.now()), record.generation, { renewAt });
      await store.release(name, "a");
      await store.touch([{ name, usedAt }]);
      return standing;
    }
    /** Takes what is due now, as a process does that renews what was used in the last hour. */
    const secondOf = (most: number) => ({ key: "renewal:all", most, from: clock.now() - 1000 });
    async function take(from: CredentialStore = store, request: Partial<DueRequest> = {}) {
      const now = clock.now();
      const taken = await from.takeDue({
        now,
        until: now + 30_000,
        usedSince: now - HOUR_MS,
        budget: secondOf(20),
        ...request,
      });
      return taken.map(({ slot }) => slot.appId);
    }
    return {
      ...opened,
      opened: opened.store,
      store,
      facts: opened.store.credentialFacts,
      put,
      take,
      secondOf,
      [Symbol.dispose]: () => opened.dispose(),
    };
  }

  test(`${kind}: a renewal is taken when it is due, once, and is due again when nothing came of it`, async () => {
    using it = await setup();
    const dueAt = it.clock.now() + 5000;
    await it.put(dueAt);
    expect(await it.store.nextDueAt()).toBe(dueAt);
    expect(await it.take()).toEqual([]);
    it.clock.advance(5000);
    const beside = (await it.beside()).credentials;
    const taken = await Promise.all([it.take(), it.take(beside), it.take(beside)]);
    expect(taken.flat()).toEqual(["wx1"]);
    expect(await it.store.nextDueAt()).toBe(dueAt + 30_000);
    it.clock.advance(30_000);
    expect(await it.take(beside)).toEqual(["wx1"]);
  });

  test(`${kind}: what is due longest is taken first, and all processes together are given so many in any second`, async () => {
    using it = await setup();
    const beside = (await it.beside()).credentials;
    const names = Array.from({ length: 7 }, (_, index) => tokenOf(weixinSlot(`wx${index}`)));
    for (const [index, name] of names.entries()) await it.put(it.clock.now() - 2 * MINUTE_MS - index, name);
    expect(await it.take(it.store, { budget: it.secondOf(2) })).toEqual(["wx6", "wx5"]);
    expect(await it.take(beside, { budget: it.secondOf(3) })).toEqual(["wx4"]);
    it.clock.advance(999);
    expect(await it.take(beside, { budget: it.secondOf(3) })).toEqual([]);
    it.clock.advance(1);
    expect(await it.take(beside, { budget: it.secondOf(3) })).toEqual(["wx3", "wx2", "wx1"]);
    // A clock that is set back must not keep everything waiting.
    it.clock.jumpWall(-HOUR_MS);
    const now = it.clock.now() + HOUR_MS - MINUTE_MS - 1;
    expect(await it.take(it.store, { now, budget: it.secondOf(3) })).toEqual(["wx0"]);
  });

  test(`${kind}: what is taken uses a budget of the pacer, by as many as are taken`, async () => {
    using it = await setup();
    for (const appId of ["wx1", "wx2", "wx3"]) await it.put(it.clock.now(), tokenOf(weixinSlot(appId)));
    const { key, from } = it.secondOf(0);
    await it.take(it.store, { budget: it.secondOf(2) });
    const now = it.clock.now();
    expect(await it.opened.pacing.countUses([key], from, now)).toEqual([2]);
    const limits = [{ key, most: 2, from }];
    expect((await it.opened.pacing.use({ limits, now, until: now + 1000 })).blocked).toHaveLength(1);
  });

  test(`${kind}: what was not used lately is left to expire`, async () => {
    using it = await setup();
    await it.put(it.clock.now(), TOKEN, it.clock.now() - HOUR_MS - 1);
    await it.put(it.clock.now(), tokenOf(weixinSlot("wx2")), it.clock.now() - HOUR_MS);
    expect(await it.take()).toEqual(["wx2"]);
    await clearOne(it.store, tokenOf(weixinSlot("wx2")));
    expect(await it.store.nextDueAt()).toBeUndefined();
  });

  test(`${kind}: what was saved without a renewal has none, also after one that had`, async () => {
    using it = await setup();
    await it.put(1);
    await it.put(undefined);
    expect(await it.store.nextDueAt()).toBeUndefined();
  });

  test(`${kind}: no renewal is due of what was cleared, rejected or revoked`, async () => {
    using it = await setup();
    for (const end of ["clear", "reject", "bury"] as const) {
      const { generation } = await it.put(1);
      if (end === "clear") await clearOne(it.store, TOKEN);
      if (end === "reject") await rejectOne(it.store, TOKEN, generation);
      if (end === "bury")
        await it.store.markRevoked(TOKEN, new Secret("one"), generation, { now: 1, earlyMs: 0 });
      expect([end, await it.store.nextDueAt()]).toEqual([end, undefined]);
    }
  });

  test(`${kind}: a life that is shortened is renewed ahead of its new end, if at all`, async () => {
    using it = await setup();
    const now = it.clock.now();
    const life = { expiresAt: now + 300_000, renewBeforeMs: 60_000 };
    const { credential: first } = await it.put(now + HOUR_MS);
    await it.store.shorten(TOKEN, first!, life);
    expect(await it.store.nextDueAt()).toBe(now + 240_000);
    const { credential: second } = await it.put(undefined);
    await it.store.shorten(TOKEN, second!, life);
    expect(await it.store.nextDueAt()).toBeUndefined();
  });

  test(`${kind}: when a taken renewal is due again can be set, unless a save has set it meanwhile`, async () => {
    using it = await setup();
    const now = it.clock.now();
    await it.put(now);
    await it.take();
    await it.store.reschedule(TOKEN, now + 30_000, now + 7000);
    expect(await it.store.nextDueAt()).toBe(now + 7000);
    await it.put(now + HOUR_MS);
    await it.store.reschedule(TOKEN, now + 7000);
    expect(await it.store.nextDueAt()).toBe(now + HOUR_MS);
    await it.store.reschedule(TOKEN, now + HOUR_MS);
    expect(await it.store.nextDueAt()).toBeUndefined();
  });

  test(`${kind}: the facts of a credential say when it is renewed`, async () => {
    using it = await setup();
    await it.put(4000);
    await it.put(undefined, tokenOf(weixinSlot("wx2")));
    const facts = async (appId: string) => (await it.facts.ofSlots([weixinSlot(appId)]))[0]?.[0];
    expect([(await facts("wx1"))?.renewAt, (await facts("wx2"))?.renewAt]).toEqual([4000, undefined]);
  });

  test(`${kind}: P3: what was pushed is found as it was, by other processes too`, async () => {
    using it = await setup();
    const pushed = credential("pushed", it.clock.now());
    const standing = await it.store.accept(TOKEN, pushed);
    expect(standing.credential).toBe(pushed);
    const beside = (await it.beside()).credentials;
    expect(await beside.find(TOKEN)).toEqual(standing);
    expect(standing).toMatchObject({ wasSaved: true, isRejected: false });
  });

  test(`${kind}: P5: a flight that began before a push can't take its place`, async () => {
    using it = await setup();
    const { record } = await it.store.lease(TOKEN, { holder: "a", now: it.clock.now(), lifeMs: 10_000 });
    const accepted = await it.store.accept(TOKEN, credential("pushed", it.clock.now()));
    expect(accepted.generation).toBe(record.generation + 1);
    const late = await it.store.save(TOKEN, credential("late", it.clock.now()), record.generation);
    expect(late.credential?.value.reveal()).toBe("pushed");
  });

  test(`${kind}: P5: of two pushes the later one stands, in whichever order they arrive`, async () => {
    using it = await setup();
    const now = it.clock.now();
    await it.store.accept(TOKEN, credential("later", now));
    const { generation } = await it.store.find(TOKEN);
    const standing = await it.store.accept(TOKEN, credential("earlier", now - 1));
    expect([standing.credential?.value.reveal(), standing.generation]).toEqual(["later", generation]);
    expect((await it.store.accept(TOKEN, credential("same", now))).generation).toBe(generation + 1);
    // One from the future was stored under a clock that has been set back since.
    it.clock.jumpWall(-HOUR_MS);
    const after = await it.store.accept(TOKEN, credential("after", it.clock.now()));
    expect(after.credential?.value.reveal()).toBe("after");
  });

  test(`${kind}: a push ends what was said of the value before, and is not renewed`, async () => {
    using it = await setup();
    const { generation } = await it.put(1);
    await rejectOne(it.store, TOKEN, generation);
    await it.store.accept(TOKEN, credential("pushed", it.clock.now()));
    expect(await it.store.find(TOKEN)).toMatchObject({ isRejected: false });
    expect(await it.store.nextDueAt()).toBeUndefined();
  });
}
