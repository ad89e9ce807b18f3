import { expect } from "bun:test";
import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { SECURITY_HEADERS } from "../../src/api/answer.ts";
import { checkWechatAnswer, WECHATS } from "./fuzz-wechat-answers.ts";
import type { Operation } from "./openapi-document.ts";

const FAILURE = TypeCompiler.Compile(
  Type.Object(
    {
      code: Type.Integer(),
      msg: Type.String({ minLength: 1 }),
      data: Type.Object({}, { additionalProperties: false }),
      trace_id: Type.String({ pattern: "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" }),
      retry_after: Type.Optional(Type.Integer({ minimum: 1 })),
      hint: Type.Optional(Type.String({ minLength: 1 })),
    },
    { additionalProperties: false },
  ),
);

/** Where the HTTP status says the outcome too. */
const USES_HTTP_STATUS = /^\/(v1|livez|readyz|metrics)(\/|$)/;
/** Our own codes that a healthy service may answer. Of 5xx there is but 503, for what is in `PACED`. */
const OWN_CODES = [1, 401, 403, 404, 405, 409, 412, 413, 415, 429, 503];

/** What is refused although nothing is wrong, because it was done a moment ago or overtaken by a clear. */
const PACED = [
  "a complaint about this app was checked less than 10 s ago",
  "forced refreshes: 20 a day, 30 s apart",
  "cleared or has expired while it was fetched",
  "the app was just changed, disabled or removed",
  "no other credential is available",
];

/** What came back. */
export interface FuzzAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** An envelope, as far as it is used. */
export interface AnswerBody {
  readonly code: number;
  readonly msg: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly trace_id: string;
  readonly retry_after?: number;
}

/** Throws when `answer` is not what the document says of the operation; `path` has no query. */
export function checkAnswer(
  operation: Operation | undefined,
  path: string,
  answer: FuzzAnswer,
): AnswerBody | undefined {
  const { status, headers, text } = answer;
  for (const [name, value] of Object.entries(SECURITY_HEADERS))
    expect([name, headers.get(name)]).toEqual([name, value]);
  expect(headers.get("cache-control")).toMatch(/^no-store(, no-transform)?$/);
  if (WECHATS.test(path)) return checkWechatAnswer(operation, answer);
  const type = headers.get("content-type") ?? "";
  if (status === 200 && operation && operation.contentType !== "application/json") {
    expect(type.startsWith(operation.contentType)).toBe(true);
    if (operation.contentType === "application/x-ndjson") checkLines(operation, text);
    return undefined;
  }
  expect(type).toBe("application/json; charset=utf-8");
  const body = JSON.parse(text) as AnswerBody;
  expect(headers.get("trace-id")).toBe(body.trace_id);
  expect(headers.get("retry-after")).toBe(body.retry_after === undefined ? null : String(body.retry_after));
  if (body.code === 0) checkSuccess(operation, status, body);
  else checkFailure(path, status, body);
  return body;
}

function checkSuccess(operation: Operation | undefined, status: number, body: AnswerBody): void {
  expect(operation).toBeDefined();
  expect(
    [...(operation?.success.Errors(body) ?? [])].map(({ path, message }) => `${path}: ${message}`),
  ).toEqual([]);
  expect(
    operation?.name === undefined ||
      status === 200 ||
      (status === 201 && ["POST", "PUT"].includes(operation.method)),
  ).toBe(true);
}

function checkFailure(path: string, status: number, body: AnswerBody): void {
  expect([...FAILURE.Errors(body)].map(({ path, message }) => `${path}: ${message}`)).toEqual([]);
  // Beyond our own there are WeChat's errcodes.
  const isWeChats = body.code > 1000 || body.code < 0;
  expect(isWeChats || OWN_CODES.includes(body.code)).toBe(true);
  if (body.code === 503)
    expect([body.msg, PACED.some((why) => body.msg.includes(why))]).toEqual([body.msg, true]);
  // Whoever is to wait is told for how long.
  if (body.code === 503 || body.code === 429) expect(body.retry_after).toBeGreaterThan(0);
  const expected = isWeChats ? 502 : body.code === 1 ? 400 : body.code;
  expect(status).toBe(USES_HTTP_STATUS.test(path) ? expected : 200);
}

/** Every line is JSON that the schema allows. */
function checkLines(operation: Operation, text: string): void {
  for (const line of text.split("\n").filter(Boolean)) {
    expect([...operation.success.Errors(JSON.parse(line))]).toEqual([]);
  }
}
