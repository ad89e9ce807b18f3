import { expect, test } from "bun:test";
import { EventBus } from "../../src/events.ts";
import type { Fault, FaultEffect } from "../../src/sandbox/fault.ts";
import type { CredentialKind } from "../../src/credentials/kinds.ts";
import type { Platform } from "../../src/errors.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { HttpClient } from "../../src/upstream/http-client.ts";
import {
  callbackIpProbe,
  ticketExchange,
  wecomTokenSource,
  weixinTokenSource,
} from "../../src/upstream/token-sources.ts";
import { weixinLogin } from "../../src/upstream/login-exchanges.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";
import { tokenOf, weixinSlot } from "../support/slots.ts";
import { WECOM, WX } from "../support/harness.ts";

const CODE = () => new Secret("sandbox-code-1");

/** Every source against a sandbox of its own, in which `faults` happen first. */
function setup(...faults: Fault[]) {
  const clock = new ManualClock();
  const sandbox = Sandbox.start({ clock, weixinApps: [WX], wecomApps: [WECOM] });
  for (const fault of faults) sandbox.inject(fault);
  const http = new HttpClient({
    baseUrls: { weixin: sandbox.weixinUrl, wecom: sandbox.wecomUrl },
    proxyUrl: undefined,
    clock,
    events: new EventBus(),
    calls: { count: () => undefined },
    attemptMs: 5000,
  });
  const signal = new AbortController().signal;
  const slot = (mode: "stable" | "classic") => ({
    ...weixinSlot(WX.appId, mode),
    secret: new Secret(WX.secret),
  });
  const wecomSlot = {
    ...weixinSlot(WECOM.corpId),
    platform: "wecom" as const,
    name: WECOM.agent,
    secret: new Secret(WECOM.secret),
  };
  const login = weixinLogin(http);
  return {
    clock,
    sandbox,
    weixin: (mode: "stable" | "classic" = "stable", force = false) =>
      weixinTokenSource(http).obtain(tokenOf(slot(mode)), { signal, force }),
    wecom: (secret = WECOM.secret) =>
      wecomTokenSource(http).obtain(tokenOf({ ...wecomSlot, secret: new Secret(secret) }), { signal }),
    ticket: (token: Secret, kind: CredentialKind = "jsapi_ticket", platform: Platform = "weixin") =>
      ticketExchange(http).ticketFor(
        { slot: platform === "weixin" ? slot("stable") : wecomSlot, kind },
        token,
        signal,
      ),
    probe: (token: Secret, platform: Platform = "weixin", over: AbortSignal = signal) =>
      callbackIpProbe(http).check({ platform, appId: WX.appId }, token, over),
    oauth: (code = CODE()) => login.oauth(slot("stable"), code, signal),
    miniProgram: (code = CODE()) => login.miniProgram(slot("stable"), code, signal),
    [Symbol.asyncDispose]: () => sandbox.stop(),
  };
}

const always = (effect: FaultEffect): Fault => ({ ...effect, times: Number.POSITIVE_INFINITY });

test("a stable token is asked for without force: the same one again, with the life that it has left", async () => {
  await using it = setup();
  const first = await it.weixin();
  it.clock.advance(3_600_000);
  const again = await it.weixin();
  expect(again.value.reveal()).toBe(first.value.reveal());
  expect([first.lifeMs, again.lifeMs]).toEqual([7_200_000, 3_600_000]);
  expect([it.sandbox.calls("/cgi-bin/stable_token"), it.sandbox.calls()]).toEqual([2, 2]);
});

test("a stable token is made anew with force, whatever the one before has left", async () => {
  await using it = setup();
  const first = await it.weixin();
  const forced = await it.weixin("stable", true);
  expect(forced.value.reveal()).not.toBe(first.value.reveal());
  expect(forced.lifeMs).toBe(7_200_000);
  expect([it.sandbox.calls("/cgi-bin/stable_token"), it.sandbox.calls()]).toEqual([2, 2]);
});

test("a classic token is another one each time, and comes from the classic endpoint", async () => {
  await using it = setup();
  expect((await it.weixin("classic")).value.reveal()).not.toBe((await it.weixin("classic")).value.reveal());
  expect([it.sandbox.calls("/cgi-bin/token"), it.sandbox.calls()]).toEqual([2, 2]);
});

test("a WeCom token is asked for by corp and secret, and a wrong secret is configuration", async () => {
  await using it = setup();
  const token = await it.wecom();
  expect(it.sandbox.accepts(token.value.reveal())).toBeTrue();
  const failure = await failureOf(it.wecom("wrong"));
  expect(failure.upstream?.errcode).toBe(40001);
  expect(failure.upstream?.class).toBe("config");
});

test("a ticket is asked for with a token, and a dead token is called dead", async () => {
  await using it = setup();
  const token = await it.weixin();
  expect((await it.ticket(token.value)).lifeMs).toBe(7_200_000);
  it.sandbox.killTokens(WX.appId);
  expect((await failureOf(it.ticket(token.value))).upstream?.class).toBe("token_invalid");
});

test("each kind of ticket has its own endpoint on its platform, and a value of its own", async () => {
  await using it = setup();
  const cases = [
    ["weixin", "jsapi_ticket", "/cgi-bin/ticket/getticket"],
    ["weixin", "wx_card_ticket", "/cgi-bin/ticket/getticket"],
    ["wecom", "jsapi_ticket", "/cgi-bin/get_jsapi_ticket"],
    ["wecom", "agent_config_ticket", "/cgi-bin/ticket/get"],
  ] as const;
  const tokens = { weixin: await it.weixin(), wecom: await it.wecom() };
  const values: string[] = [];
  for (const [platform, kind, path] of cases) {
    it.sandbox.resetCalls();
    values.push((await it.ticket(tokens[platform].value, kind, platform)).value.reveal());
    expect([it.sandbox.calls(path), it.sandbox.calls()], `${platform} ${kind}`).toEqual([1, 1]);
  }
  expect(new Set(values).size).toBe(cases.length);
  const none = it.ticket(tokens.weixin.value, "agent_config_ticket");
  expect((await failureOf(none)).code).toBe("invalid_parameter");
});

test("a token is valid or revoked when WeChat says so, and unknown when it is busy or says nothing usable", async () => {
  for (const platform of ["weixin", "wecom"] as const) {
    await using it = setup();
    const token = (await it[platform]()).value;
    expect(await it.probe(token, platform)).toBe("valid");
    expect(await it.probe(new Secret("neverIssuedByAnybody0"), platform)).toBe("revoked");
    expect(it.sandbox.calls("/cgi-bin/getcallbackip")).toBe(2);
    expect(await it.probe(token, platform, AbortSignal.abort())).toBe("unknown");
    for (const [effect, verdict] of [
      [{ kind: "error", errcode: 40014 }, "revoked"],
      [{ kind: "error", errcode: 42001 }, "revoked"],
      [{ kind: "error", errcode: 48001 }, "valid"],
      [{ kind: "error", errcode: 45009 }, "valid"],
      [{ kind: "error", errcode: -1 }, "unknown"],
      [{ kind: "http" }, "unknown"],
      [{ kind: "empty_body" }, "unknown"],
      [{ kind: "reset_before" }, "unknown"],
    ] as const) {
      it.sandbox.clearFaults();
      it.sandbox.inject(always(effect));
      expect(await it.probe(token, platform), `${platform} ${JSON.stringify(effect)}`).toBe(verdict);
    }
  }
});

test("WeChat's 40001 says that a token is revoked, and WeCom's that the secret is wrong", async () => {
  for (const [platform, verdict] of [
    ["weixin", "revoked"],
    ["wecom", "valid"],
  ] as const) {
    await using it = setup();
    const token = (await it[platform]()).value;
    it.sandbox.inject(always({ kind: "error", errcode: 40001 }));
    expect(await it.probe(token, platform)).toBe(verdict);
  }
});

test("no source retries: one failure is one request", async () => {
  for (const verb of ["weixin", "wecom", "oauth", "miniProgram"] as const) {
    for (const effect of [
      { kind: "error", errcode: -1 },
      { kind: "http" },
      { kind: "empty_body" },
    ] as const) {
      await using it = setup(always(effect));
      await failureOf(it[verb]());
      expect(it.sandbox.calls()).toBe(1);
    }
  }
});

test("a classic fetch and a code whose connection is reset, before or after the work, are not sent again behind our back", async () => {
  const verbs = ["classic", "oauth", "miniProgram"] as const;
  for (const verb of verbs) {
    for (const kind of ["reset_before", "reset_after"] as const) {
      await using it = setup();
      // A request that went well, so that there could be a kept connection.
      await it.weixin();
      it.sandbox.inject({ kind, times: 1 });
      await failureOf(verb === "classic" ? it.weixin("classic") : it[verb]());
      expect(it.sandbox.calls()).toBe(2);
    }
  }
});

test("every broken answer is refused by every source", async () => {
  const broken: FaultEffect[] = [
    { kind: "http" },
    { kind: "truncated_json" },
    { kind: "truncated_body" },
    { kind: "empty_body" },
    { kind: "raw", body: "<xml/>", contentType: "text/xml" },
    { kind: "raw", body: "{}", contentType: "text/plain" },
    { kind: "gzip_bomb", bytes: 1_000_000 },
    { kind: "oversized", bytes: 200_000 },
    { kind: "redirect", location: "http://127.0.0.1:1/" },
  ];
  for (const verb of ["weixin", "wecom", "oauth", "miniProgram"] as const) {
    for (const effect of broken) {
      await using it = setup(always(effect));
      expect((await failureOf(it[verb]())).code, `${verb} ${effect.kind}`).toBe("upstream_invalid");
    }
  }
});

test("a token answer with a field that can't be right is refused", async () => {
  const fields: [string, unknown][] = [
    ["access_token", ""],
    ["access_token", 42],
    ["access_token", "x".repeat(10_240)],
    ["access_token", undefined],
    ["expires_in", 0],
    ["expires_in", -1],
    ["expires_in", "7200"],
    ["expires_in", 1e12],
    ["expires_in", undefined],
  ];
  for (const verb of ["weixin", "wecom"] as const) {
    for (const [field, value] of fields) {
      await using it = setup(always({ kind: "field", field, value }));
      expect((await failureOf(it[verb]())).code, `${verb} ${field} ${String(value)}`).toBe(
        "upstream_invalid",
      );
    }
  }
});

test("a text/plain answer and an errcode as text are understood", async () => {
  await using it = setup({ kind: "text_plain", times: 1 }, { kind: "error", errcode: "45009", times: 1 });
  expect((await it.weixin()).lifeMs).toBe(7_200_000);
  expect((await failureOf(it.weixin())).upstream?.class).toBe("quota_day");
});

test("an OAuth code gives WeChat's object, and a used one WeChat's refusal", async () => {
  await using it = setup();
  const user = await it.oauth();
  expect(user.openId).toBeString();
  expect(user.expiresIn).toBe(7200);
  expect(user.accessToken.reveal()).not.toBe(user.refreshToken.reveal());
  const failure = await failureOf(it.oauth());
  expect(failure.upstream?.errcode).toBe(40163);
  expect(failure.upstream?.class).toBe("input");
});

test("a login code gives openid and session key, and no unionid where WeChat gives none", async () => {
  await using it = setup(
    { kind: "field", field: "unionid", value: undefined, times: 1 },
    { kind: "field", field: "unionid", value: "o-union", times: 1 },
  );
  const user = await it.miniProgram();
  expect(user.unionId).toBeUndefined();
  expect(user.sessionKey.reveal()).toBeString();
  expect((await it.miniProgram(new Secret("sandbox-code-2"))).unionId).toBe("o-union");
});

test("a user's answer with a field that can't be right is refused", async () => {
  const fields = {
    oauth: ["openid", "access_token", "refresh_token", "expires_in", "scope"],
    miniProgram: ["openid", "session_key"],
  };
  for (const verb of ["oauth", "miniProgram"] as const) {
    for (const field of fields[verb]) {
      for (const value of [undefined, null, [], ""]) {
        if (field === "scope" && value === "") continue;
        await using it = setup(always({ kind: "field", field, value }));
        expect((await failureOf(it[verb]())).code, `${verb} ${field}`).toBe("upstream_invalid");
      }
    }
  }
});
