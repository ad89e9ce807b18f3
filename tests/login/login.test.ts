import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Slot, slotKey } from "../../src/apps/app.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { ServiceError } from "../../src/errors.ts";
import { EventBus } from "../../src/events.ts";
import { Login, type LoginExchange, type WecomLoginExchange } from "../../src/login/login.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { foreignSlot, weixinSlot } from "../support/slots.ts";
import { StoreFolder } from "../support/store-folder.ts";

const ALICE = "192.0.2.1";

/** `fail` decides, call by call, whether the exchange fails; each success gives a new openid. */
async function setup(fail: (call: number) => Error | undefined = () => undefined, more: object = {}) {
  const clock = new ManualClock();
  clock.advance(1);
  const folder = new StoreFolder(clock);
  const asked: string[] = [];
  const gate: { opened?: Promise<void> } = {};
  const answer = async (kind: string, slot: Slot, code: Secret) => {
    asked.push([kind, slotKey(slot), code.reveal()].join(" "));
    const error = fail(asked.length);
    if (error) throw error;
    const openId = `openid-${asked.length}`;
    await gate.opened;
    return { openId, ...more };
  };
  const exchange: LoginExchange = {
    oauth: async (slot, code) => ({
      ...(await answer("oauth", slot, code)),
      answer: new Secret('{"openid":"openid"}'),
      accessToken: new Secret("user-token"),
      expiresIn: 7200,
      refreshToken: new Secret("refresh"),
      scope: "snsapi_base",
    }),
    miniProgram: async (slot, code) => ({
      ...(await answer("mini_program", slot, code)),
      answer: new Secret('{"openid":"openid"}'),
      unionId: undefined,
      sessionKey: new Secret("key"),
    }),
  };
  const wecomExchange: WecomLoginExchange = () => Promise.reject(new Error("not of this test"));
  const none = () => Promise.reject(new Error("these logins need no token"));
  const tokens = { get: none, replace: none };
  /** A process of its own on the one database; `counted` gets the name of each call of its store of answers. */
  const process = async (counted: Pick<string[], "push"> = []) => {
    const { loginAnswers, pacing: store } = await folder.open();
    const answers = new Proxy(loginAnswers, {
      get(target, name) {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== "function") return method;
        counted.push(String(name));
        return method.bind(target) as unknown;
      },
    });
    const pacing = new Pacing({ store, clock, events: new EventBus() });
    const directory = { platformSlot: () => undefined };
    return new Login({ exchange, wecomExchange, tokens, directory, answers, pacing, clock });
  };
  const login = await process();
  const mini = async (code = "code", slot = weixinSlot(), address = ALICE) =>
    (await login.miniProgram(slot, new Secret(code), address)).openId;
  const oauth = async (code = "code", slot = weixinSlot(), address = ALICE) =>
    (await login.oauth(slot, new Secret(code), address)).openId;
  return {
    clock,
    asked,
    gate,
    mini,
    oauth,
    process,
    folder,
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

test("the same caller with the same code gets the same answer from one exchange", async () => {
  for (const verb of ["mini", "oauth"] as const) {
    using it = await setup();
    expect(await it[verb]()).toBe("openid-1");
    expect(await it[verb]()).toBe("openid-1");
    expect(it.asked).toHaveLength(1);
  }
});

test("a hundred requests with one code at the same moment are one exchange", async () => {
  using it = await setup();
  const all = await Promise.all(Array.from({ length: 100 }, () => it.oauth()));
  expect(new Set(all)).toEqual(new Set(["openid-1"]));
  expect(it.asked).toHaveLength(1);
});

test("a code is not sent by a caller that waited so long for the store that another one may send it", async () => {
  using it = await setup();
  const slow = await it.process({ push: () => (it.clock.advance(8000), 0) });
  const failure = await failureOf(slow.miniProgram(weixinSlot(), new Secret("code"), ALICE));
  expect(failure.code).toBe("upstream_timeout");
  expect(it.asked).toEqual([]);
  it.clock.advance(2000);
  expect(await it.mini()).toBe("openid-1");
});

test("another address, app, secret, token mode or code is another exchange", async () => {
  using it = await setup();
  await it.mini();
  await it.mini("code", weixinSlot(), "192.0.2.2");
  await it.mini("code", weixinSlot("wx2"));
  await it.mini("code", foreignSlot("another"));
  await it.mini("code", weixinSlot("wx1", "classic"));
  await it.mini("other-code");
  expect(it.asked).toHaveLength(6);
});

test("an OAuth code and a Mini Program's code with the same text are not one", async () => {
  using it = await setup();
  expect(await it.mini()).toBe("openid-1");
  expect(await it.oauth()).toBe("openid-2");
});

test("parts of a request that only look the same when put together are not one", async () => {
  using it = await setup();
  await it.mini("b", weixinSlot("wx1"), "a");
  await it.mini("a\nb", weixinSlot("wx1"), "");
  await it.mini("\nb", weixinSlot("wx1"), "a");
  expect(it.asked).toHaveLength(3);
});

test("WeChat's word about a code is repeated to the same caller without asking again", async () => {
  using it = await setup(() => refusal("input", 40163));
  const first = await failureOf(it.mini());
  const again = await failureOf(it.mini());
  expect([again.code, again.message, again.upstream]).toEqual([first.code, first.message, first.upstream]);
  expect(first.upstream?.errcode).toBe(40163);
  expect(it.asked).toHaveLength(1);
});

test("a busy WeChat, silence, an unusable answer or no connection is not remembered, and nothing is sent twice by itself", async () => {
  const failures = [
    refusal("transient", -1),
    ...(["upstream_timeout", "upstream_invalid", "upstream_unreachable"] as const).map(
      (code) => new ServiceError(code, "no answer"),
    ),
    new Error("a bug"),
  ];
  for (const failure of failures) {
    using it = await setup((call) => (call === 1 ? failure : undefined));
    expect(await it.oauth().catch((error: unknown) => error)).toBe(failure);
    expect(it.asked).toHaveLength(1);
    expect(await it.oauth()).toBe("openid-2");
    expect(await it.oauth()).toBe("openid-2");
  }
});

test("after ten seconds the same code is asked about again, and not before", async () => {
  using it = await setup();
  await it.mini();
  it.clock.advance(9999);
  expect(await it.mini()).toBe("openid-1");
  it.clock.advance(1);
  expect(await it.mini()).toBe("openid-2");
});

test("a wall clock that is set makes no answer last longer, and costs one exchange at most", async () => {
  for (const jumpMs of [86_400_000, -3_600_000, -86_400_000]) {
    using it = await setup();
    await it.mini();
    it.clock.jumpWall(jumpMs);
    expect(await it.mini()).toBe("openid-2");
    expect(await it.mini()).toBe("openid-2");
    it.clock.advance(10_000);
    expect(await it.mini()).toBe("openid-3");
  }
});

test("the same code that reaches two processes is one exchange, and all that it brought reaches both", async () => {
  using it = await setup();
  const [one, two] = [await it.process(), await it.process()];
  const ask = (login: Login) => login.oauth(weixinSlot(), new Secret("code"), ALICE);
  const users = await Promise.all([one, two, one, two].map(ask));
  for (const user of users) {
    const secrets = [user.accessToken.reveal(), user.refreshToken.reveal()];
    expect(secrets).toEqual(["user-token", "refresh"]);
    expect(user).toMatchObject({ openId: "openid-1", expiresIn: 7200, scope: "snsapi_base" });
  }
  expect(it.asked).toHaveLength(1);
});

test("callers that wait for another process's exchange share one wait, which takes no write lock", async () => {
  using it = await setup();
  const opened = Promise.withResolvers<void>();
  it.gate.opened = opened.promise;
  const first = it.mini();
  for (let turn = 0; turn < 5; turn++) await it.clock.sleep(1);
  const calls: string[] = [];
  const other = await it.process(calls);
  const waiting = Array.from({ length: 50 }, () =>
    other.miniProgram(weixinSlot(), new Secret("code"), ALICE),
  );
  for (let turn = 0; turn < 20; turn++) await it.clock.sleep(1);
  opened.resolve();
  const users = await Promise.all(waiting);
  expect(new Set(users.map(({ openId }) => openId))).toEqual(new Set([await first]));
  expect(it.asked).toHaveLength(1);
  expect(calls.filter((name) => name !== "find")).toEqual(["begin"]);
  expect(calls.length).toBeWithin(5, 40);
});

test("when another process gives its exchange up, one that waits makes it", async () => {
  using it = await setup((call) => (call === 1 ? new ServiceError("upstream_timeout", "silent") : undefined));
  const other = await it.process();
  const [first, second] = [failureOf(it.mini()), other.miniProgram(weixinSlot(), new Secret("code"), ALICE)];
  expect((await first).code).toBe("upstream_timeout");
  expect((await second).openId).toBe("openid-2");
});

test("P6: only what was a secret comes back as one: a user's own field of the shape of one stays as it is", async () => {
  using it = await setup(undefined, { unionId: { secret: "no secret" }, secrets: { openId: "x" } });
  const ask = (login: Login) => login.oauth(weixinSlot(), new Secret("code"), ALICE);
  const [own, shared] = [await ask(await it.process()), await ask(await it.process())];
  expect(it.asked).toHaveLength(1);
  expect(shared).toEqual(own);
  expect(JSON.stringify(shared.unionId)).toBe('{"secret":"no secret"}');
  expect(shared.accessToken.reveal()).toBe("user-token");
});

test("P6: neither the code nor what it was answered with is in the database's files", async () => {
  using it = await setup();
  await it.oauth("canary-code-0123456789");
  const folder = dirname(it.folder.path);
  const names = readdirSync(folder).filter((name) => name.startsWith("accesstoken.db"));
  const bytes = Buffer.concat(names.map((name) => readFileSync(join(folder, name))));
  expect(bytes.includes("login_answers")).toBeTrue();
  for (const text of ["canary-code-0123456789", "user-token", "openid-1", "snsapi_base"]) {
    const raw = Buffer.from(text);
    for (const form of [text, raw.toString("hex"), raw.toString("base64").slice(0, -4)])
      expect(bytes.includes(form), form).toBeFalse();
  }
});

test("a wrong unknown secret costs one exchange, whatever the codes", async () => {
  using it = await setup(() => refusal("config", 40125));
  for (let n = 0; n < 5; n++) {
    expect((await failureOf(it.mini(`code-${n}`, foreignSlot("wrong")))).upstream?.errcode).toBe(40125);
  }
  expect(it.asked).toHaveLength(1);
});

test("a wrong secret that we hold costs one exchange in ten minutes, whatever the codes and over a restart, and no other app any", async () => {
  using it = await setup((call) => (call === 1 ? refusal("config", 40125) : undefined));
  expect((await failureOf(it.mini("first"))).upstream?.errcode).toBe(40125);
  const restarted = await it.process();
  for (let n = 0; n < 5; n++) {
    const lost = restarted.miniProgram(weixinSlot(), new Secret(`code-${n}`), ALICE);
    expect((await failureOf(lost)).upstream?.errcode).toBe(40125);
  }
  expect(it.asked).toHaveLength(1);
  expect(await it.mini("code", weixinSlot("wx2"))).toBe("openid-2");
  it.clock.advance(600_000);
  expect(await it.mini("later")).toBe("openid-3");
});

test("a used code closes nothing: the next code of that app is exchanged", async () => {
  using it = await setup((call) => (call === 1 ? refusal("input", 40163) : undefined));
  await failureOf(it.mini("used"));
  expect(await it.mini("fresh")).toBe("openid-2");
});

test("a used code does not make an unknown secret a wrong one", async () => {
  using it = await setup((call) => (call === 1 ? refusal("input", 40163) : undefined));
  await failureOf(it.mini("used", foreignSlot("good")));
  expect(await it.mini("fresh", foreignSlot("good"))).toBe("openid-2");
});

test("P4: a database that fails once the code is spent takes neither the answer nor WeChat's refusal from the caller", async () => {
  using it = await setup((call) => (call === 2 ? refusal("input", 40029) : undefined));
  const other = new Database(it.folder.path);
  other.run(
    "CREATE TRIGGER full BEFORE UPDATE ON login_answers BEGIN SELECT RAISE(FAIL, 'the disk is full'); END",
  );
  other.close();
  expect(await it.mini("good")).toBe("openid-1");
  expect((await failureOf(it.mini("bad"))).upstream?.errcode).toBe(40029);
});
