import { expect, test as declared } from "bun:test";
import type { UserToken } from "../../../src/login/user-tokens.ts";
import { Secret } from "../../../src/secret.ts";
import type { OpenStore } from "./open-store.ts";

const OWNER = { client: { client: "site", createdAt: 1, keyPrefix: "ats_abcdefgh" }, app: "wx1" };
const LIFE_MS = 10_000;

/** What every store of users' tokens must do. `kind` names it in the tests' names. */
export function userTokenStoreContract(kind: string, open: OpenStore, test = declared): void {
  const setup = async () => {
    const { store, clock, beside, reopen, dispose } = await open();
    const tokens = store.userTokens;
    const token = (text: string, owner: UserToken["owner"] = OWNER): UserToken => ({
      token: new Secret(text),
      owner,
      until: clock.now() + LIFE_MS,
    });
    const find = (text: string, of = tokens) => of.find(new Secret(text), clock.now());
    const write = (added: UserToken[], ended: string[] = []) =>
      tokens.write(
        added,
        ended.map((text) => new Secret(text)),
        clock.now(),
      );
    return { tokens, clock, beside, reopen, token, find, write, [Symbol.dispose]: dispose };
  };

  test(`${kind}: P3: a user's token is known with its owner in every process, over a restart, until it ends`, async () => {
    using it = await setup();
    const holder = { client: undefined, app: "wx2" };
    expect(await it.write([it.token("one"), it.token("two", holder)])).toBe(0);
    const see = async (of = it.tokens) => [await it.find("one", of), await it.find("two", of)];
    expect(await see((await it.beside()).userTokens)).toEqual([OWNER, holder]);
    const { userTokens } = await it.reopen();
    it.clock.advance(LIFE_MS - 1);
    expect([...(await see(userTokens)), await it.find("three", userTokens)]).toEqual([
      OWNER,
      holder,
      undefined,
    ]);
    it.clock.advance(1);
    expect(await see(userTokens)).toEqual([undefined, undefined]);
  });

  test(`${kind}: a token that is written again has its new owner and end, and one that has ended is gone`, async () => {
    using it = await setup();
    await it.write([it.token("one"), it.token("two")]);
    it.clock.advance(LIFE_MS - 1);
    const other = { ...OWNER, app: "wx3" };
    await it.write([it.token("one", other)], ["two", "never seen"]);
    expect([await it.find("one"), await it.find("two")]).toEqual([other, undefined]);
    it.clock.advance(LIFE_MS - 1);
    expect(await it.find("one")).toEqual(other);
  });
}
