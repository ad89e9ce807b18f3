import { expect, test } from "bun:test";
import { wrongSecret } from "../../src/access/principal.ts";
import { toWechatFailure } from "../../src/api/wechat-answer.ts";
import { type ErrorCode, type Platform, refusalOf, ServiceError, unknownToken } from "../../src/errors.ts";

const say = (error: unknown, platform: Platform = "weixin") => toWechatFailure(error, platform);

/** A failure of a call that may have been carried out. */
const lost = (code: ErrorCode) => new ServiceError(code, "x", { mayHaveRun: true });

/** How each of our errors is told: WeChat's errcode, and WeCom's. */
const CODES: Record<ErrorCode, readonly [weixin: number, wecom: number]> = {
  invalid_parameter: [40097, 40058],
  unauthorized: [40125, 40001],
  forbidden: [48001, 48002],
  not_found: [40013, 40013],
  method_not_allowed: [43002, 40058],
  conflict: [-1, -1],
  precondition_failed: [-1, -1],
  payload_too_large: [45001, 45001],
  unsupported_media_type: [47001, 47001],
  rate_limited: [45011, 45009],
  upstream_rejected: [-1, -1],
  upstream_invalid: [-1, -1],
  upstream_unreachable: [-1, -1],
  upstream_timeout: [-1, -1],
  unavailable: [-1, -1],
  invalid_config: [-1, -1],
  store_unusable: [-1, -1],
  internal: [-1, -1],
};

test.each(Object.entries(CODES))("%s has an errcode of each platform's", (code, [weixin, wecom]) => {
  const error = new ServiceError(code as ErrorCode, "原因 (why)");
  expect(say(error).errcode).toBe(weixin);
  expect(say(error, "wecom").errcode).toBe(wecom);
});

test("WeChat's words come first, then why, then what to do", () => {
  const error = new ServiceError("forbidden", "原因 (why)", { hint: "办法 (how)", retryAfterMs: 1500 });
  expect(say(error)).toEqual({
    errcode: 48001,
    errmsg: "api unauthorized, 原因 (why), 办法 (how)",
    isVerbatim: false,
    retryAfterMs: 1500,
  });
});

test("a wrong key or secret is worded as WeChat words it, to the letter", () => {
  const key = new ServiceError("unauthorized", "API密钥已过期 (the API key has expired)");
  for (const error of [key, wrongSecret("weixin")]) {
    expect([say(error).errcode, say(error).errmsg]).toEqual([40125, "invalid appsecret"]);
  }
  for (const error of [key, wrongSecret("wecom")]) {
    const { errcode, errmsg } = say(error, "wecom");
    expect([errcode, errmsg]).toEqual([40001, "invalid credential"]);
  }
});

test("what they said themselves is left as it is, what we say in their words is not", () => {
  const upstream = { platform: "weixin", errcode: 40029, errmsg: "invalid code", class: "input" } as const;
  const theirs = new ServiceError("upstream_rejected", "x", { upstream, hint: "y" });
  expect(say(theirs)).toMatchObject({ errcode: 40029, errmsg: "invalid code", isVerbatim: true });
  for (const ours of [
    refusalOf("weixin", 40029, "invalid code"),
    unknownToken("wecom"),
    wrongSecret("weixin"),
  ])
    expect(say(ours).isVerbatim).toBe(false);
});

test("a fault of ours says nothing of its cause", () => {
  const faults = [
    new TypeError("the secret is x"),
    "x",
    undefined,
    new ServiceError("internal", "the secret is x"),
  ];
  for (const fault of faults) expect(say(fault)).toMatchObject({ errcode: -1, errmsg: "system error" });
});

test("a lost answer to a call is in nobody's list of retries", () => {
  expect(say(lost("upstream_timeout")).errcode).toBe(504);
  expect(say(lost("upstream_invalid"), "wecom").errcode).toBe(502);
});
