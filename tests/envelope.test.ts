import { expect, test } from "bun:test";
import { failureEnvelope, failureStatus } from "../src/envelope.ts";
import { type ErrorCode, ServiceError } from "../src/errors.ts";
import { refusal } from "./support/refusals.ts";

/** The documented numbers; a code without one does not compile here either. */
const NUMBERS = {
  invalid_parameter: 1,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  precondition_failed: 412,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  internal: 500,
  invalid_config: 500,
  upstream_rejected: 502,
  upstream_invalid: 502,
  upstream_unreachable: 502,
  unavailable: 503,
  store_unusable: 503,
  upstream_timeout: 504,
} satisfies Record<ErrorCode, number>;

test("each of our failures has its documented number, its message and empty data", () => {
  for (const [code, number] of Object.entries(NUMBERS)) {
    const envelope = failureEnvelope(new ServiceError(code as ErrorCode, "what is wrong"), "t");
    const msg = code === "internal" ? envelope.msg : "what is wrong";
    expect(envelope).toEqual({ code: number, msg, data: {}, trace_id: "t" });
  }
});

test("WeChat's refusal has WeChat's own errcode and errmsg", () => {
  expect(failureEnvelope(refusal("config", 40125), "t")).toEqual({
    code: 40125,
    msg: "refused with 40125",
    data: {},
    trace_id: "t",
  });
  expect(failureEnvelope(refusal("transient", -1), "t").code).toBe(-1);
});

test("P6: what is not an error of ours says nothing about itself, and neither does our own internal one", () => {
  for (const error of [
    new Error("canary"),
    "canary",
    { message: "canary" },
    undefined,
    null,
    new ServiceError("internal", "canary"),
  ]) {
    const envelope = failureEnvelope(error, "t");
    expect(JSON.stringify(envelope)).not.toContain("canary");
    expect(envelope.code).toBe(500);
    expect(envelope.data).toEqual({});
  }
});

test("P6: the cause of a failure does not reach a caller", () => {
  const error = new ServiceError("unavailable", "not now", { cause: new Error("canary"), hint: "wait" });
  expect(JSON.stringify(failureEnvelope(error, "t"))).not.toContain("canary");
});

test("what to do next is said where it is known, of our own failures and of WeChat's, and else left out", () => {
  const { upstream } = refusal("config", 40164);
  const ours = new ServiceError("unavailable", "not now", { hint: "do this" });
  const theirs = new ServiceError("upstream_rejected", "errcode 40164", { upstream, hint: "do that" });
  expect(failureEnvelope(ours, "t").hint).toBe("do this");
  expect(failureEnvelope(theirs, "t")).toEqual({
    code: 40164,
    msg: "refused with 40164",
    data: {},
    trace_id: "t",
    hint: "do that",
  });
  expect(failureEnvelope(new ServiceError("unavailable", "not now"), "t")).not.toHaveProperty("hint");
  const internal = new ServiceError("internal", "a bug", { hint: "canary", retryAfterMs: 1000 });
  expect(Object.keys(failureEnvelope(internal, "t"))).toEqual(["code", "msg", "data", "trace_id"]);
});

test("where statuses speak, a refusal of WeChat's is 502, a parameter 400, a fault of ours 500, and all else our number", () => {
  for (const [code, number] of Object.entries(NUMBERS)) {
    const status = code === "invalid_parameter" ? 400 : number;
    expect(failureStatus(new ServiceError(code as ErrorCode, "x")), code).toBe(status);
  }
  for (const error of [refusal("config", 40125), refusal("transient", -1)])
    expect(failureStatus(error)).toBe(502);
  expect(failureStatus(new Error("a bug"))).toBe(500);
});

test("where waiting helps, the seconds to wait are whole and never too few", () => {
  const wait = (retryAfterMs: number) =>
    failureEnvelope(new ServiceError("rate_limited", "slow down", { retryAfterMs }), "t").retry_after;
  expect([wait(1), wait(1000), wait(1001), wait(59_999)]).toEqual([1, 1, 2, 60]);
  expect(failureEnvelope(new ServiceError("rate_limited", "slow down"), "t")).not.toHaveProperty(
    "retry_after",
  );
});
