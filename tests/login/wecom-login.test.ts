import { expect, test } from "bun:test";
import type { Login } from "../../src/login/login.ts";
import { failureOf } from "../support/refusals.ts";
import { tokenOf } from "../support/slots.ts";
import { WECOM } from "../support/harness.ts";
import { CONTACTS_SLOT, LoginHarness, LOGINS, WECOM_SLOT } from "./login-harness.ts";

const VERBS = ["wecomUser", "wecomUserOldForm", "wecomSchoolUser", "wecomMiniProgram"] as const;
const CODE = "sandbox-code-1";
const TOKEN = "/cgi-bin/gettoken";

async function setup() {
  const world = new LoginHarness();
  const { login, tokens } = await world.process();
  const { sandbox, clock } = world;
  const beside = async () => (await world.process()).login;
  return {
    login,
    tokens,
    sandbox,
    clock,
    beside,
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test.each(VERBS)("%s: a code is exchanged with the app's own token, which costs one call", async (verb) => {
  await using it = await setup();
  const { ask, path } = LOGINS[verb];
  for (const code of [CODE, "sandbox-code-2"]) {
    expect(JSON.parse((await ask(it.login, code)).answer.reveal())).toMatchObject({
      errcode: 0,
      [["wecomUserOldForm", "wecomSchoolUser"].includes(verb) ? "UserId" : "userid"]:
        expect.stringMatching(/^user-/),
    });
  }
  expect([it.sandbox.calls(TOKEN), it.sandbox.calls(path), it.sandbox.calls()]).toEqual([1, 2, 3]);
});

test.each(VERBS)("%s: sent many times at once in two processes, a code is one exchange", async (verb) => {
  await using it = await setup();
  const { ask, path } = LOGINS[verb];
  const processes = [it.login, await it.beside()];
  const all = Array.from({ length: 50 }, () => processes.map((login) => ask(login, CODE))).flat();
  expect(new Set((await Promise.all(all)).map(({ answer }) => answer.reveal())).size).toBe(1);
  expect([it.sandbox.calls(TOKEN), it.sandbox.calls(path)]).toEqual([1, 1]);
});

test.each(VERBS)("%s: a code's answer is repeated for ten seconds to the same caller alone", async (verb) => {
  await using it = await setup();
  const { ask, path } = LOGINS[verb];
  const first = (await ask(it.login, CODE)).answer.reveal();
  it.clock.advance(9_999);
  expect((await ask(it.login, CODE)).answer.reveal()).toBe(first);
  expect(it.sandbox.calls(path)).toBe(1);
  const bob = ask(it.login, CODE, WECOM_SLOT, "192.0.2.2");
  expect((await failureOf(bob)).upstream?.errcode).toBe(42022);
  it.clock.advance(1);
  const again = await failureOf(ask(it.login, CODE));
  expect([again.upstream?.errcode, again.upstream?.class]).toEqual([42022, "input"]);
  expect(again.upstream?.errmsg).toMatch(
    /^code has been used, hint: \[\d+\], from ip: 127\.0\.0\.1, more info at /,
  );
});

test("a code of a web page, one of a Mini Program and one of another agent are not one", async () => {
  await using it = await setup();
  const answers = [
    await LOGINS.wecomUser.ask(it.login, CODE),
    await LOGINS.wecomUser.ask(it.login, CODE, CONTACTS_SLOT),
    await LOGINS.wecomMiniProgram.ask(it.login, "sandbox-code-2", CONTACTS_SLOT),
  ];
  expect(answers).toHaveLength(3);
  const mini = LOGINS.wecomMiniProgram.ask(it.login, CODE);
  // It is asked about, and WeCom says that it was used.
  expect((await failureOf(mini)).upstream?.errcode).toBe(42022);
  expect(it.sandbox.calls(LOGINS.wecomUser.path)).toBe(2);
});

test.each(VERBS)("%s: a token that died early is replaced once, and the code is still good", async (verb) => {
  await using it = await setup();
  const { ask, path } = LOGINS[verb];
  await ask(it.login, CODE);
  it.sandbox.killTokens(WECOM.corpId);
  it.sandbox.resetCalls();
  const answer = await ask(it.login, "sandbox-code-2");
  expect(JSON.parse(answer.answer.reveal())).toMatchObject({ errcode: 0 });
  expect([it.sandbox.calls(TOKEN), it.sandbox.calls(path)]).toEqual([1, 2]);
});

test.each(VERBS)(
  "%s: a hundred codes that meet one dead token cost one new token, and every one of them is good",
  async (verb) => {
    await using it = await setup();
    const { ask } = LOGINS[verb];
    await ask(it.login, CODE);
    it.sandbox.killTokens(WECOM.corpId);
    it.sandbox.resetCalls();
    const all = Array.from({ length: 100 }, (_, n) => ask(it.login, `sandbox-code-many-${n}`));
    expect((await Promise.all(all)).length).toBe(100);
    expect(it.sandbox.calls(TOKEN)).toBe(1);
  },
);

test.each(VERBS)(
  "%s: a token that WeCom itself calls alive stays, its refusal is passed on and not remembered",
  async (verb) => {
    await using it = await setup();
    const { ask, path } = LOGINS[verb];
    const before = await it.tokens.get(tokenOf(WECOM_SLOT));
    it.sandbox.inject({
      kind: "error",
      errcode: 40014,
      errmsg: "invalid access_token",
      endpoint: path,
      times: 1,
    });
    const refused = await failureOf(ask(it.login, CODE));
    expect([refused.upstream?.errcode, it.sandbox.calls(path)]).toEqual([40014, 1]);
    expect((await it.tokens.get(tokenOf(WECOM_SLOT))).value.equals(before.value)).toBeTrue();
    expect(JSON.parse((await ask(it.login, CODE)).answer.reveal())).toMatchObject({ errcode: 0 });
  },
);

test.each(VERBS)("%s: an exchange whose answer was lost is never sent again", async (verb) => {
  await using it = await setup();
  const { ask, path } = LOGINS[verb];
  // Leaves connections behind: on one of those, fetch would send a lost GET again without a word.
  await ask(it.login, CODE);
  it.sandbox.resetCalls();
  it.sandbox.inject({ kind: "reset_after", endpoint: path, times: Number.POSITIVE_INFINITY });
  expect((await failureOf(ask(it.login, "sandbox-code-2"))).code).toBe("upstream_invalid");
  expect(it.sandbox.calls(path)).toBe(1);
});

test.each(VERBS)(
  "%s: P4: an address that WeCom does not trust stops these logins of that app, and nothing else",
  async (verb) => {
    await using it = await setup();
    const { ask, path } = LOGINS[verb];
    const untrusted = (login: Login, n: number) => failureOf(ask(login, `sandbox-code-${n}`));
    const change = (trustedIps: string[] | undefined) =>
      it.sandbox.changeWecomApp(WECOM.corpId, WECOM.agent, { trustedIps });
    change(["10.0.0.1"]);
    for (let n = 0; n < 5; n++) {
      const login = n % 2 === 0 ? it.login : await it.beside();
      expect((await untrusted(login, n)).upstream?.errcode).toBe(60020);
    }
    expect(it.sandbox.calls(path)).toBe(1);
    // The token is asked for from any address, also once the one at hand is over.
    it.clock.advance(7_200_000 - 20_000);
    await ask(it.login, "sandbox-code-7", CONTACTS_SLOT);
    await untrusted(it.login, 8);
    it.clock.advance(20_000);
    expect((await it.tokens.get(tokenOf(WECOM_SLOT))).isUsable()).toBeTrue();
    expect((await untrusted(it.login, 9)).retryAfterMs).toBeGreaterThan(0);
    change(undefined);
    await it.tokens.unblock(WECOM_SLOT, { client: "t", environment: "", address: "", traceId: "" });
    await ask(it.login, "sandbox-code-10");
  },
);

test("a wrong secret costs one call for a token, whatever the codes, and is told as WeCom said it", async () => {
  await using it = await setup();
  it.sandbox.changeWecomApp(WECOM.corpId, WECOM.agent, { secret: "changed" });
  for (let n = 0; n < 5; n++) {
    const refused = await failureOf(LOGINS.wecomUser.ask(it.login, `sandbox-code-${n}`));
    expect([refused.upstream?.errcode, refused.upstream?.class]).toEqual([40001, "config"]);
  }
  expect(it.sandbox.calls()).toBe(1);
  // Ten minutes later it is right again: nothing else keeps the logins back.
  it.sandbox.changeWecomApp(WECOM.corpId, WECOM.agent, { secret: WECOM.secret });
  it.clock.advance(600_000);
  await LOGINS.wecomUser.ask(it.login, CODE);
});
