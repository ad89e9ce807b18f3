import { expect } from "bun:test";
import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { NO_SUCH_PATH } from "../../src/sandbox/sandbox-request.ts";
import type { AnswerBody, FuzzAnswer } from "./fuzz-answers.ts";
import type { Operation } from "./openapi-document.ts";

const FAILURE = TypeCompiler.Compile(
  Type.Object({
    errcode: Type.Integer(),
    errmsg: Type.String({ minLength: 1 }),
    retry_after: Type.Optional(Type.Integer({ minimum: 1 })),
  }),
);

/** WeChat's and WeCom's own paths, which have no envelope. */
export const WECHATS = /^\/+(cgi-bin|sns|wxa|gateway)(\/|$)/;

/** What an envelope has, and no answer in WeChat's shape. */
const ENVELOPE = ["code", "msg", "trace_id"];

/** What is said although nothing is wrong: it was done a moment ago, or there is a token that can't be told from a dead one. */
const BUSY = /^system error, .*(try again|cleared or has expired while it was fetched)/;

/** Throws when an answer is none that WeChat could give; what it says, as the envelope would have it. */
export function checkWechatAnswer(operation: Operation | undefined, answer: FuzzAnswer): AnswerBody {
  const { status, headers, text } = answer;
  const traceId = headers.get("trace-id") ?? "";
  expect(traceId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  // What the sandbox says for WeCom of a path that it doesn't know, and the gateway hands on.
  if (status === 404 && (text === "" || text === NO_SUCH_PATH))
    return { code: status, msg: "", data: {}, trace_id: traceId };
  expect(status).toBe(200);
  const body = JSON.parse(text) as Record<string, unknown>;
  expect(ENVELOPE.filter((name) => Object.hasOwn(body, name))).toEqual([]);
  const code = Number(body["errcode"] ?? 0);
  if (code === 0) {
    const errors = [...(operation?.success.Errors(body) ?? [])];
    expect(errors.map(({ path, message }) => `${path}: ${message}`)).toEqual([]);
    return { code, msg: "", data: body, trace_id: traceId };
  }
  const { errmsg, retry_after: wait } = body;
  expect([...FAILURE.Errors(body)].map(({ path, message }) => `${path}: ${message}`)).toEqual([]);
  expect([errmsg, code >= 40_000 || BUSY.test(String(errmsg))]).toEqual([errmsg, true]);
  expect(headers.get("retry-after")).toBe(wait === undefined ? null : JSON.stringify(wait));
  return { code, msg: String(errmsg), data: {}, trace_id: traceId };
}
