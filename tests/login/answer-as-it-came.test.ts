import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Fault } from "../../src/sandbox/fault.ts";
import { LOGINS, LoginHarness } from "./login-harness.ts";

type Verb = keyof typeof LOGINS;

/** What each login needs for an answer, as WeChat sends it. */
const NEEDED: Record<Verb, string> = {
  oauth:
    '"access_token":"user-token","expires_in":7200,"refresh_token":"r","openid":"o1","scope":"snsapi_base"',
  miniProgram: '"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"o1"',
  wecomUser: '"errcode":0,"errmsg":"ok","userid":"u1"',
  wecomUserOldForm: '"UserId":"u1","DeviceId":"d1","errcode":0,"errmsg":"ok"',
  wecomSchoolUser: '"errcode":0,"errmsg":"ok","parents":[{"parent_userid":"p1"}]',
  wecomMiniProgram: '"corpid":"ww1","userid":"u1","session_key":"k==","errcode":0,"errmsg":"ok"',
};

/** Texts that come out different when they are read and written again. */
const ODD: readonly [what: string, around: (needed: string) => string][] = [
  ["unknown fields", (needed) => `{"new_field":{"a":[1,2,{}]},${needed},"another":null}`],
  ["unicode", (needed) => `{${needed},"nickname":"企业微信😀 é","escaped":"\\u4f01\\ud83d\\/\\u0001"}`],
  ["big numbers", (needed) => `{${needed},"id":12345678901234567890123,"f":1.0,"e":1E400,"z":-0}`],
  ["odd white space", (needed) => `\r\n\t { ${needed.replaceAll(",", " ,\n ")} \t}\r\n\n`],
  ["a name twice", (needed) => `{"a":1,${needed},"a":2,"__proto__":{"b":1}}`],
];

async function setup() {
  const world = new LoginHarness();
  const processes = [(await world.process()).login, (await world.process()).login] as const;
  const answerWith = (verb: Verb, body: string) => {
    const fault: Fault = {
      kind: "raw",
      contentType: "text/plain",
      body,
      endpoint: LOGINS[verb].path,
      times: 1,
    };
    world.sandbox.inject(fault);
  };
  return { world, processes, answerWith, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test.each(Object.keys(LOGINS) as Verb[])(
  "%s: the answer is the text that came, at first, repeated, and from another process",
  async (verb) => {
    await using it = await setup();
    const [one, two] = it.processes;
    const { ask, path } = LOGINS[verb];
    for (const [what, around] of ODD) {
      const text = around(NEEDED[verb]);
      it.answerWith(verb, text);
      const asked = [await ask(one, what), await ask(one, what), await ask(two, what)];
      expect(
        asked.map(({ answer }) => answer.reveal()),
        what,
      ).toEqual([text, text, text]);
    }
    expect(it.world.sandbox.calls(path)).toBe(ODD.length);
  },
);

test.each(Object.keys(LOGINS) as Verb[])(
  "%s: what is no JSON object, or broken text, is no answer, and the code may be tried again",
  async (verb) => {
    await using it = await setup();
    const { ask } = LOGINS[verb];
    for (const body of ["", "[]", '"text"', "null", `{${NEEDED[verb]}`, `${NEEDED[verb]}}`]) {
      it.answerWith(verb, body);
      const lost = ask(it.processes[0], "sandbox-code-1").catch((error: { code: string }) => error);
      expect(await lost, body).toMatchObject({ code: "upstream_invalid" });
    }
    expect((await ask(it.processes[0], "sandbox-code-1")).answer.reveal()).toStartWith("{");
  },
);

test("the sandbox's own answers come with WeChat's fields in WeChat's order", async () => {
  await using it = await setup();
  const fields = async (verb: Verb, code: string) => {
    const { answer } = await LOGINS[verb].ask(it.processes[0], code);
    return Object.keys(JSON.parse(answer.reveal()) as object).join(" ");
  };
  const tokens = "access_token expires_in refresh_token openid scope";
  expect(await fields("oauth", "sandbox-code-union-snapshot")).toBe(`${tokens} is_snapshotuser unionid`);
  expect(await fields("miniProgram", "sandbox-code-union")).toBe("session_key openid unionid");
  expect(await fields("wecomUser", "sandbox-code-private")).toBe("errcode errmsg userid user_ticket");
  expect(await fields("wecomMiniProgram", "sandbox-code-1")).toBe("corpid userid session_key errcode errmsg");
});

test("P6: no answer shows itself, and none is in the database's files as it came", async () => {
  await using it = await setup();
  for (const verb of Object.keys(LOGINS) as Verb[]) {
    it.answerWith(verb, `{${NEEDED[verb]},"canary":"canary-0123456789"}`);
    const user = await LOGINS[verb].ask(it.processes[0], "sandbox-code-1");
    expect(user.answer.reveal()).toContain("canary-0123456789");
    expect([JSON.stringify(user), Bun.inspect(user)].join()).not.toContain("canary");
  }
  const folder = dirname(it.world.folder.path);
  const names = readdirSync(folder).filter((name) => name.startsWith("accesstoken.db"));
  const bytes = Buffer.concat(names.map((name) => readFileSync(join(folder, name))));
  expect(bytes.includes("login_answers")).toBeTrue();
  expect(bytes.includes("canary")).toBeFalse();
});
