import { expect, test as declared } from "bun:test";
import type { IssuedCode, WaitingLogin } from "../../../src/oauth/web-logins.ts";
import { Secret } from "../../../src/secret.ts";
import type { OpenStore } from "./open-store.ts";

const STATE = "a".repeat(32);
const LIFE_MS = 600_000;
const REPEAT_MS = 60_000;

/** What every store of web logins must do. `kind` names it in the tests' names. */
export function webLoginStoreContract(kind: string, open: OpenStore, test = declared): void {
  const setup = async () => {
    const { store, clock, beside, reopen, dispose } = await open();
    const login = (state = STATE): WaitingLogin => ({
      ...{ state, app: "ww1_2", environment: "dev" },
      request: new Secret(`request of ${state}`),
      expiresAt: clock.now() + LIFE_MS,
    });
    const finish = (
      code: string,
      issued: readonly IssuedCode[] = [],
      of = store.webLogins,
      state = STATE,
    ) => {
      const now = clock.now();
      const returned = { state, code: new Secret(code), appId: "ww1", issued };
      return of.finish(returned, { now, repeatUntil: now + REPEAT_MS, codesUntil: now + LIFE_MS });
    };
    const find = async (of = store.webLogins, state = STATE) => {
      const found = await of.find(state, clock.now());
      return found && { ...found, request: found.request.reveal() };
    };
    const known = async (code: string, of = store.webLogins, appId = "ww1") => {
      const found = await of.findCode({ appId }, new Secret(code), clock.now());
      return found && { environment: found.environment, behind: found.behind?.reveal() };
    };
    const logins = store.webLogins;
    return { logins, clock, beside, reopen, login, finish, find, known, [Symbol.dispose]: dispose };
  };

  test(`${kind}: P3: a login is known in every process, over a restart, until it ends`, async () => {
    using it = await setup();
    const login = it.login();
    expect(await Promise.all([it.logins.add(login), it.logins.add(it.login("b".repeat(32)))])).toEqual([
      0, 0,
    ]);
    const whole = { ...login, request: login.request.reveal() };
    expect(await it.find((await it.beside()).webLogins)).toEqual(whole);
    const { webLogins } = await it.reopen();
    it.clock.advance(LIFE_MS - 1);
    expect(await it.find(webLogins)).toEqual(whole);
    expect(await it.find(webLogins, "c".repeat(32))).toBeUndefined();
    expect(await webLogins.count(it.clock.now())).toBe(2);
    it.clock.advance(1);
    expect(await it.find(webLogins)).toBeUndefined();
    expect(await webLogins.count(it.clock.now())).toBe(0);
  });

  test(`${kind}: a login is used once, and the same return is repeated for its time, in every process`, async () => {
    using it = await setup();
    await it.logins.add(it.login());
    const other = (await it.beside()).webLogins;
    const outcomes = await Promise.all([it.finish("one"), it.finish("two", [], other)]);
    expect(outcomes.toSorted()).toEqual(["first", "used"]);
    const [won, lost] = outcomes[0] === "first" ? ["one", "two"] : ["two", "one"];
    it.clock.advance(REPEAT_MS - 1);
    expect(await it.finish(won, [], other)).toBe("again");
    expect(await it.finish(lost)).toBe("used");
    expect(await it.finish("")).toBe("used");
    expect(await it.logins.count(it.clock.now())).toBe(0);
    it.clock.advance(1);
    expect(await it.finish(won)).toBe("used");
    expect(await it.finish("one", [], it.logins, "c".repeat(32))).toBe("used");
  });

  test(`${kind}: a code is known with its environment and what is behind it, as its corp's, for its time`, async () => {
    using it = await setup();
    await it.logins.add(it.login());
    await it.logins.add({ ...it.login("b".repeat(32)), environment: "prod" });
    const raw = new Secret("raw");
    const ours = { code: new Secret("ours"), behind: raw };
    expect(await it.finish("raw", [ours, { code: raw }])).toBe("first");
    // Who had it first has it.
    await it.finish("raw", [{ code: raw }], it.logins, "b".repeat(32));
    const { webLogins } = await it.reopen();
    it.clock.advance(LIFE_MS - 1);
    expect(await it.known("ours", webLogins)).toEqual({ environment: "dev", behind: "raw" });
    expect(await it.known("raw", webLogins)).toEqual({ environment: "dev", behind: undefined });
    expect(await it.known("ours", webLogins, "ww2")).toBeUndefined();
    expect(await it.known("other", webLogins)).toBeUndefined();
    it.clock.advance(1);
    expect(await it.known("ours", webLogins)).toBeUndefined();
  });

  test(`${kind}: what has expired is removed, by one process in its time`, async () => {
    using it = await setup();
    await it.logins.add(it.login());
    await it.finish("one", [{ code: new Secret("one") }]);
    it.clock.advance(LIFE_MS);
    const late = it.login("b".repeat(32));
    await it.logins.add(late);
    const removed = async () => (await it.logins.find(STATE, 0)) === undefined;
    await it.logins.prune(it.clock.now(), REPEAT_MS);
    expect(await removed()).toBeTrue();
    expect(await it.find(it.logins, "b".repeat(32))).toBeDefined();
    it.clock.advance(LIFE_MS);
    await it.logins.prune(it.clock.now(), REPEAT_MS);
    it.clock.advance(1);
    await it.logins.add({ ...it.login("d".repeat(32)), expiresAt: it.clock.now() });
    await it.logins.prune(it.clock.now(), REPEAT_MS);
    expect(await it.logins.find("d".repeat(32), 0)).toBeDefined();
  });
}
