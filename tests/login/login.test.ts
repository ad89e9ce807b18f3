import { expect, test } from "bun:test";
import type { Slot } from "../../src/apps/slot.ts";
import { slotKey } from "../../src/apps/slot.ts";
import { UnknownSecrets } from "../../src/apps/unknown-secrets.ts";
import { ServiceError } from "../../src/errors.ts";
import type { LoginExchange } from "../../src/login/login-exchange.ts";
import { Login } from "../../src/login/login.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf, refusal } from "../support/refusals.ts";
import { foreignSlot, weixinSlot } from "../support/slots.ts";

const ALICE = "192.0.2.1";

/** `fail` decides, call by call, whether the exchange fails; each success gives a new openid. */
function setup(fail: (call: number) => Error | undefined = () => undefined) {
  const clock = new ManualClock();
  clock.advance(1);
  const asked: string[] = [];
  const answer = (kind: string, slot: Slot, code: Secret) => {
    asked.push([kind, slotKey(slot), code.reveal()].join(" "));
    const error = fail(asked.length);
    if (error) throw error;
    return { openId: `openid-${asked.length}` };
  };
  const exchange: LoginExchange = {
    oauth: async (slot, code) => ({
      ...answer("oauth", slot, code),
      accessToken: new Secret("user-token"),
      expiresIn: 7200,
      refreshToken: new Secret("refresh"),
      scope: "snsapi_base",
    }),
    miniProgram: async (slot, code) => ({
      ...answer("mini_program", slot, code),
      unionId: undefined,
      sessionKey: new Secret("key"),
    }),
  };
  const login = new Login({ exchange, unknownSecrets: new UnknownSecrets(clock, async () => false), clock });
  const mini = async (code = "code", slot = weixinSlot(), address = ALICE) =>
    (await login.miniProgram(slot, new Secret(code), address)).openId;
  const oauth = async (code = "code", slot = weixinSlot(), address = ALICE) =>
    (await login.oauth(slot, new Secret(code), address)).openId;
  return { clock, asked, mini, oauth };
}

test("the same caller with the same code gets the same answer from one exchange", async () => {
  for (const verb of ["mini", "oauth"] as const) {
    const it = setup();
    expect(await it[verb]()).toBe("openid-1");
    expect(await it[verb]()).toBe("openid-1");
    expect(it.asked).toHaveLength(1);
  }
});

test("a hundred requests with one code at the same moment are one exchange", async () => {
  const it = setup();
  const all = await Promise.all(Array.from({ length: 100 }, () => it.oauth()));
  expect(new Set(all)).toEqual(new Set(["openid-1"]));
  expect(it.asked).toHaveLength(1);
});

test("another address, app, secret, token mode or code is another exchange", async () => {
  const it = setup();
  await it.mini();
  await it.mini("code", weixinSlot(), "192.0.2.2");
  await it.mini("code", weixinSlot("wx2"));
  await it.mini("code", foreignSlot("another"));
  await it.mini("code", weixinSlot("wx1", "classic"));
  await it.mini("other-code");
  expect(it.asked).toHaveLength(6);
});

test("an OAuth code and a Mini Program's code with the same text are not one", async () => {
  const it = setup();
  expect(await it.mini()).toBe("openid-1");
  expect(await it.oauth()).toBe("openid-2");
});

test("parts of a request that only look the same when put together are not one", async () => {
  const it = setup();
  await it.mini("b", weixinSlot("wx1"), "a");
  await it.mini("a\nb", weixinSlot("wx1"), "");
  await it.mini("\nb", weixinSlot("wx1"), "a");
  expect(it.asked).toHaveLength(3);
});

test("WeChat's word about a code is repeated to the same caller without asking again", async () => {
  const it = setup(() => refusal("input", 40163));
  const first = await failureOf(it.mini());
  expect(await failureOf(it.mini())).toBe(first);
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
    const it = setup((call) => (call === 1 ? failure : undefined));
    expect(await it.oauth().catch((error: unknown) => error)).toBe(failure);
    expect(it.asked).toHaveLength(1);
    expect(await it.oauth()).toBe("openid-2");
    expect(await it.oauth()).toBe("openid-2");
  }
});

test("after ten seconds the same code is asked about again, although the wall clock was set", async () => {
  const it = setup();
  await it.mini();
  it.clock.jumpWall(86_400_000);
  it.clock.advance(9999);
  expect(await it.mini()).toBe("openid-1");
  it.clock.advance(2);
  expect(await it.mini()).toBe("openid-2");
});

test("a wrong unknown secret costs one exchange, whatever the codes", async () => {
  const it = setup(() => refusal("config", 40125));
  for (let n = 0; n < 5; n++) {
    expect((await failureOf(it.mini(`code-${n}`, foreignSlot("wrong")))).upstream?.errcode).toBe(40125);
  }
  expect(it.asked).toHaveLength(1);
});

test("a used code does not make an unknown secret a wrong one", async () => {
  const it = setup((call) => (call === 1 ? refusal("input", 40163) : undefined));
  await failureOf(it.mini("used", foreignSlot("good")));
  expect(await it.mini("fresh", foreignSlot("good"))).toBe("openid-2");
});
