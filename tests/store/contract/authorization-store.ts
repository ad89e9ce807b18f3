import { expect, test as declared } from "bun:test";
import { type AuthorizationCodeStore, UNNAMED } from "../../../src/platforms/authorization-store.ts";
import { Secret } from "../../../src/secret.ts";
import type { OpenStore } from "./open-store.ts";

const PLATFORM = "wxc000000000000001";
const LIFE_MS = 3_600_000;
const LEASE_MS = 30_000;
const CODE = new Secret("queryauthcode@@@one");

/** What every store of authorization codes and links must do. `kind` names it in the tests' names. */
export function authorizationStoreContract(kind: string, open: OpenStore, test = declared): void {
  const setup = async () => {
    const { store, clock, beside, reopen, dispose } = await open();
    const { authorizationCodes: codes, authorizationLinks: links } = store;
    const digest = codes.digestOf(PLATFORM, CODE);
    const add = (code = CODE, account = "wxa1", of: AuthorizationCodeStore = codes) => {
      const now = clock.now();
      return of.add({ platformApp: PLATFORM, account, code, now, expiresAt: now + LIFE_MS });
    };
    const take = (of: AuthorizationCodeStore = codes, named?: string) => {
      const now = clock.now();
      return of.take({ now, until: now + LEASE_MS, ...(named === undefined ? {} : { digest: named }) });
    };
    const at = { now: clock.now() };
    /** That a code has failed for good, to be kept for as long as it was good. */
    const over = () => ({ at: clock.now(), expiresAt: clock.now() + LIFE_MS });
    const keep = (of: AuthorizationCodeStore = codes) => {
      const answer = { app: "", text: new Secret("given") };
      const now = clock.now();
      return of.keep(digest, answer, { until: now + LEASE_MS, expiresAt: now + 2 * LIFE_MS });
    };
    return {
      codes,
      links,
      digest,
      add,
      take,
      keep,
      at,
      over,
      clock,
      beside,
      reopen,
      [Symbol.dispose]: dispose,
    };
  };

  test(`${kind}: P3: a code is noted once by all processes, sealed, and known over a restart`, async () => {
    using it = await setup();
    const other = (await it.beside()).authorizationCodes;
    const added = await Promise.all([it.add(), it.add(CODE, "", other), it.add()]);
    expect(added.filter(Boolean)).toHaveLength(1);
    const { authorizationCodes } = await it.reopen();
    expect(authorizationCodes.digestOf(PLATFORM, CODE)).toBe(it.digest);
    expect(authorizationCodes.digestOf("wxc000000000000002", CODE)).not.toBe(it.digest);
    const found = await authorizationCodes.find(it.digest);
    expect(found).toMatchObject({
      platformApp: PLATFORM,
      state: "waiting",
      attempts: 0,
      createdAt: it.at.now,
    });
    expect(found?.code?.reveal()).toBe(CODE.reveal());
    expect(await authorizationCodes.find("unknown")).toBeUndefined();
  });

  test(`${kind}: a code is taken by one process at a time, and again when the time of that one is up`, async () => {
    using it = await setup();
    const other = (await it.beside()).authorizationCodes;
    await it.add();
    const taken = await Promise.all([it.take(), it.take(other), it.take(other, it.digest)]);
    expect(taken.filter(Boolean)).toMatchObject([{ digest: it.digest, attempts: 1 }]);
    expect(await it.codes.nextDueAt()).toBe(it.clock.now() + LEASE_MS);
    it.clock.advance(LEASE_MS - 1);
    expect(await it.take(other)).toBeUndefined();
    it.clock.advance(1);
    expect(await it.take(other)).toMatchObject({ attempts: 2 });
  });

  test(`${kind}: without a name the code that is due first is taken, and one from under a clock that was ahead`, async () => {
    using it = await setup();
    it.clock.advance(10_000);
    await it.add(new Secret("late"));
    it.clock.jumpWall(-5000);
    await it.add(new Secret("early"));
    expect((await it.take())?.code?.reveal()).toBe("early");
    expect(await it.take()).toBeUndefined();
    it.clock.jumpWall(-2 * LIFE_MS);
    expect(await it.take()).toBeDefined();
  });

  test(`${kind}: what a code was good for is told in every process until it ends, and the code is gone`, async () => {
    using it = await setup();
    await it.add();
    await it.take();
    const answer = { app: "wxa1_wxc1", text: new Secret('{"authorization_info":{}}') };
    await it.codes.succeed(it.digest, answer, it.clock.now() + 2 * LIFE_MS);
    expect(await it.add()).toBeFalse();
    expect(await it.take()).toBeUndefined();
    // A slower process says nothing of it any more.
    await it.codes.fail(it.digest, "late", it.over());
    const found = await (await it.reopen()).authorizationCodes.find(it.digest);
    expect(found).toMatchObject({ state: "exchanged", code: undefined, error: undefined });
    expect(found?.answer?.app).toBe(answer.app);
    expect(found?.answer?.text.reveal()).toBe(answer.text.reveal());
  });

  test(`${kind}: a code that could not be exchanged is tried again when it is due, or never`, async () => {
    using it = await setup();
    await it.add();
    await it.take();
    await it.codes.fail(it.digest, "busy", { dueAt: it.clock.now() + 1000 });
    expect(await it.codes.find(it.digest)).toMatchObject({ state: "waiting", error: "busy" });
    expect(await it.take()).toBeUndefined();
    it.clock.advance(1000);
    expect(await it.take()).toMatchObject({ attempts: 2, error: "busy" });
    await it.codes.fail(it.digest, "refused", it.over());
    expect(await it.codes.find(it.digest)).toMatchObject({ state: "failed", error: "refused" });
    expect(await it.codes.nextDueAt()).toBeUndefined();
    it.clock.advance(LEASE_MS);
    expect(await it.take()).toBeUndefined();
  });

  test(`${kind}: a code that comes again is given the account that it did not name before, and keeps the one that it did`, async () => {
    using it = await setup();
    const other = (await it.beside()).authorizationCodes;
    await it.add(CODE, "");
    expect(await it.add(CODE, "wxa1", other)).toBeFalse();
    expect(await it.codes.find(it.digest)).toMatchObject({ account: "wxa1", state: "waiting", attempts: 0 });
    expect([await it.add(CODE, ""), await it.add(CODE, "wxa2", other)]).toEqual([false, false]);
    expect((await it.take())?.account).toBe("wxa1");
    expect(await it.take(other)).toBeUndefined();
  });

  test(`${kind}: a code that has failed waits again once it is known whose it is, and no other does`, async () => {
    using it = await setup();
    await it.add(CODE, "");
    await it.take();
    await it.codes.fail(it.digest, "refused", it.over());
    expect(await it.add(CODE, "")).toBeFalse();
    expect(await it.take()).toBeUndefined();
    expect(await it.add(CODE, "wxa1")).toBeFalse();
    expect((await it.take())?.account).toBe("wxa1");
    await it.codes.fail(it.digest, "refused", it.over());
    await it.add(CODE, "wxa2");
    expect(await it.codes.find(it.digest)).toMatchObject({ account: "wxa1", state: "failed" });
  });

  test(`${kind}: a code that a caller alone has told of is taken last, and fails unless something was kept of it or it is wanted again`, async () => {
    using it = await setup();
    await it.add(CODE, "");
    it.clock.advance(1000);
    await it.add(new Secret("pushed"), UNNAMED);
    expect((await it.take())?.code?.reveal()).toBe("pushed");
    expect((await it.take())?.digest).toBe(it.digest);
    const dueAt = it.clock.now() + 1000;
    const fail = () => it.codes.fail(it.digest, "busy", { dueAt });
    expect(
      await it.codes.fail(it.codes.digestOf(PLATFORM, new Secret("pushed")), "busy", { dueAt }),
    ).toBeTrue();
    expect(await fail()).toBeFalse();
    expect(await it.codes.find(it.digest)).toMatchObject({ state: "failed", error: "busy" });
    const again = { platformApp: PLATFORM, account: "", code: CODE, now: it.clock.now(), isAgain: true };
    expect(await it.codes.add({ ...again, expiresAt: it.clock.now() + LIFE_MS })).toBeFalse();
    expect(await it.take(it.codes, it.digest)).toMatchObject({ attempts: 2, account: "" });
    await it.keep();
    expect(await fail()).toBeTrue();
    await it.add(CODE, UNNAMED);
    await it.add(CODE, "wxa1");
    await it.add(CODE, UNNAMED);
    expect(await it.codes.find(it.digest)).toMatchObject({ account: "wxa1", state: "waiting" });
  });

  test(`${kind}: P3: what is kept of a code is there for whoever takes it next`, async () => {
    using it = await setup();
    await it.add();
    await it.take();
    await it.keep();
    const { authorizationCodes } = await it.reopen();
    it.clock.advance(LEASE_MS);
    const taken = await it.take(authorizationCodes);
    expect(taken).toMatchObject({ state: "waiting", attempts: 2, expiresAt: it.at.now + 2 * LIFE_MS });
    expect(taken?.answer?.text.reveal()).toBe("given");
    expect(taken?.code?.reveal()).toBe(CODE.reveal());
  });

  test(`${kind}: P3: what is kept of a code after another process was refused is taken by its holder, and changes nothing of one that is done with`, async () => {
    using it = await setup();
    const other = (await it.beside()).authorizationCodes;
    await it.add();
    await it.take();
    await it.codes.fail(it.digest, "refused", it.over());
    await it.keep(other);
    expect(await it.take()).toBeUndefined();
    it.clock.advance(LEASE_MS);
    expect((await it.take())?.answer?.text.reveal()).toBe("given");
    await it.codes.succeed(it.digest, { app: "a", text: new Secret("done") }, it.at.now + 2 * LIFE_MS);
    await it.keep(other);
    const found = await other.find(it.digest);
    expect([found?.state, found?.answer?.text.reveal()]).toEqual(["exchanged", "done"]);
  });

  test(`${kind}: a code that has failed for good is listed by every process until it is forgotten, unless a caller alone has told of it`, async () => {
    using it = await setup();
    const other = (await it.beside()).authorizationCodes;
    for (const [text, account] of [
      ["named", "wxa1"],
      ["pushed", UNNAMED],
      ["made up", ""],
    ] as const) {
      const code = new Secret(text);
      await it.add(code, account);
      it.clock.advance(1000);
      await it.codes.fail(it.codes.digestOf(PLATFORM, code), "refused", {
        ...{ at: it.clock.now(), expiresAt: it.clock.now() + 2 * LIFE_MS },
      });
    }
    await it.add(new Secret("waits"), UNNAMED);
    const now = it.clock.now();
    const of = { platformApp: PLATFORM, error: "refused" };
    expect(await other.listFailed(now)).toEqual([
      { ...of, account: UNNAMED, dueAt: now - 1000 },
      { ...of, account: "wxa1", dueAt: now - 2000 },
    ]);
    await it.codes.prune(now + LIFE_MS);
    expect(await other.listFailed(now + LIFE_MS)).toHaveLength(2);
    expect(await it.codes.find(it.codes.digestOf(PLATFORM, new Secret("made up")))).toBeUndefined();
    expect(await it.codes.listFailed(now + 2 * LIFE_MS - 1001)).toHaveLength(1);
    await it.codes.prune(now + 2 * LIFE_MS);
    expect(await it.codes.listFailed(now)).toEqual([]);
  });

  test(`${kind}: codes are forgotten when they have expired, or are dropped`, async () => {
    using it = await setup();
    await it.add();
    await it.add(new Secret("two"));
    await it.codes.drop(it.codes.digestOf(PLATFORM, new Secret("two")));
    it.clock.advance(LIFE_MS - 1);
    await it.codes.prune(it.clock.now());
    expect(await it.codes.find(it.digest)).toBeDefined();
    expect(await it.codes.find(it.codes.digestOf(PLATFORM, new Secret("two")))).toBeUndefined();
    it.clock.advance(1);
    await it.codes.prune(it.clock.now());
    expect(await it.codes.find(it.digest)).toBeUndefined();
  });

  test(`${kind}: P3: a link is known in every process, over a restart, until it ends`, async () => {
    using it = await setup();
    const now = it.clock.now();
    const link = {
      ...{ state: "a".repeat(32), platformApp: PLATFORM, createdAt: now, expiresAt: now + LIFE_MS },
      request: { authType: 3, categoryIds: [1, 2], returnUrl: "https://shop.example.com/done?a=1" },
    };
    await it.links.add(link);
    expect(await (await it.beside()).authorizationLinks.find(link.state, now)).toEqual(link);
    const { authorizationLinks } = await it.reopen();
    await authorizationLinks.noteReturn(link.state, now + 1);
    expect(await authorizationLinks.find(link.state, now + LIFE_MS - 1)).toEqual(link);
    expect(await authorizationLinks.find(link.state, now + LIFE_MS)).toBeUndefined();
    expect(await authorizationLinks.find("b".repeat(32), now)).toBeUndefined();
    await authorizationLinks.prune(now + LIFE_MS);
    expect(await authorizationLinks.find(link.state, now)).toBeUndefined();
  });
}
