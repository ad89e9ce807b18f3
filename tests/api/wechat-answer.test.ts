import { expect, test } from "bun:test";
import { type AnswerContext, wechatAnswer, wechatFailureAnswer } from "../../src/api/wechat-answer.ts";

const TRACE_ID = "00112233445566778899aabbccddeeff";
const NOW = 0x6aac005a * 1000 + 999;

function context(more: Partial<AnswerContext> = {}): AnswerContext {
  const around = { traceId: TRACE_ID, address: () => "10.1.2.3", now: NOW };
  return { platform: "weixin", path: "/cgi-bin/token", ...around, ...more };
}

const FAILURE = { errcode: 40013, errmsg: "invalid appid", isVerbatim: false, retryAfterMs: undefined };

test("WeChat's request id begins with the second and ends as the trace id does", () => {
  const said = wechatFailureAnswer(context(), FAILURE).text;
  expect(said).toBe('{"errcode":40013,"errmsg":"invalid appid rid: 6aac005a-8899aabb-ccddeeff"}');
});

test("below /sns there is a comma before the request id, and the type is text", () => {
  const response = wechatFailureAnswer(context({ path: "/sns/jscode2session" }), FAILURE);
  expect(response.contentType).toBe("text/plain");
  expect(response.text).toContain("invalid appid, rid: 6aac005a-");
});

test("WeCom's hint ends as the trace id does, and the headers repeat the error in ASCII", () => {
  const response = wechatFailureAnswer(context({ platform: "wecom" }), { ...FAILURE, errmsg: "坏 bad" });
  const { errmsg } = JSON.parse(response.text) as { errmsg: string };
  const link = "https://open.work.weixin.qq.com/devtool/query?e=40013";
  expect(errmsg).toBe(
    `坏 bad, hint: [1789657178${TRACE_ID.slice(-15)}], from ip: 10.1.2.3, more info at ${link}`,
  );
  expect(response.headers?.["error-code"]).toBe("40013");
  expect(response.headers?.["error-msg"]).toBe(errmsg.replace("坏", ""));
  expect(response.contentType).toBe("application/json; charset=utf-8");
});

test("a header that repeats an error is never longer than 512 characters", () => {
  const errmsg = `bad ${"x".repeat(12_000)}`;
  const { headers, text } = wechatFailureAnswer(context({ platform: "wecom" }), { ...FAILURE, errmsg });
  expect(headers?.["error-msg"]).toBe(errmsg.slice(0, 512));
  expect(text).toContain(errmsg);
});

test("their own words get no request id of ours", () => {
  const verbatim = { ...FAILURE, isVerbatim: true };
  for (const platform of ["weixin", "wecom"] as const) {
    const response = wechatFailureAnswer(context({ platform }), verbatim);
    expect(JSON.parse(response.text)).toEqual({ errcode: 40013, errmsg: "invalid appid" });
  }
});

test("whoever is to wait is told so in whole seconds, at least one, in body and header", () => {
  for (const [retryAfterMs, seconds] of [
    [1, 1],
    [1000, 1],
    [1001, 2],
  ] as const) {
    const response = wechatFailureAnswer(context(), { ...FAILURE, retryAfterMs });
    expect(response.headers?.["retry-after"]).toBe(String(seconds));
    expect(JSON.parse(response.text)).toMatchObject({ retry_after: seconds });
  }
});

test("a success is WeChat's text as it came, or fields in their order", () => {
  const text = '{"b":"\\/","a":1}';
  expect(wechatAnswer(context(), text).text).toBe(text);
  const response = wechatAnswer(context(), { b: 1, a: 2 });
  expect(response.text).toBe('{"b":1,"a":2}');
  expect(response.contentType).toBe("application/json; encoding=utf-8");
});
