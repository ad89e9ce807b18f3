import { ServiceError } from "../errors.ts";
import table from "./policies/test-messages.txt" with { type: "text" };
import { parseStrictJson } from "./strict-json.ts";

/** A user of one app, as WeChat names it. */
export const OPENID = /^o[A-Za-z0-9_-]{27}$/;

/** The fields of a message that hold its recipients' openids, by the path that sends it, in lower case. */
export const RECIPIENT_FIELDS: ReadonlyMap<string, readonly string[]> = new Map(
  table.split(/\r?\n/).flatMap((line) => {
    const [path = "", ...fields] = line.split(" ");
    return path.startsWith("/") ? [[path, fields] as const] : [];
  }),
);

/** What a message is sent with, besides its body. */
export interface MessageCall {
  readonly method: string;
  readonly query: { readonly names: readonly string[] };
  readonly headers: Headers;
}

const MAX_BYTES = 64 * 1024;
/** More than any message has; JSON of thousands of levels takes seconds to write. */
const MAX_DEPTH = 16;
const NAME = /^[\w.-]*$/;
/** What WeChat might take for a recipient, whatever stands between its letters. */
const RECIPIENT = /touser|openid|unionid|wxname/i;

/**
 * The message to send in place of `body`: the same JSON, as we write it, so that nobody reads another recipient in it than
 * we did.
 *
 * @throws {ServiceError} `forbidden` unless every recipient, in all of `fields`, is one of `openids` and nothing else in
 *   it could be a recipient; also for what is no plain call with a plain body. `invalid_parameter` for what is no JSON.
 */
export function testMessage(
  { method, query, headers }: MessageCall,
  body: object | undefined,
  { fields, openids }: { readonly fields: readonly string[]; readonly openids: readonly string[] },
): Uint8Array {
  if (method !== "POST" || query.names.some((name) => name !== "access_token"))
    throw refused(
      "须用POST，查询参数只能有access_token",
      "POST it with no other parameter than access_token",
    );
  if (headers.has("content-encoding"))
    throw refused("请求体不得压缩", "its body must have no content encoding");
  if (!(body instanceof Uint8Array) || body.byteLength > MAX_BYTES)
    throw refused("请求体不得超过64KiB", "its body must have at most 64 KiB");
  // JSON never begins with the first byte of a byte order mark.
  if (body[0] === 0xef) throw refused("请求体不得带BOM", "its body must have no byte order mark");
  const message = parseStrictJson(body);
  const named = namesIn(message).filter((name) => RECIPIENT.test(name.replaceAll(/[^a-z]/gi, "")));
  const sent = typeof message === "object" && message !== null ? Object.entries(message) : [];
  const recipients = sent
    .filter(([name]) => fields.includes(name))
    .map(([, value]): unknown[] => [value].flat());
  const isListed = (openid: unknown) => typeof openid === "string" && openids.includes(openid);
  const isFine = recipients.every((list) => list.length > 0 && list.every(isListed));
  if (isFine && recipients.length === fields.length && named.length === fields.length)
    return new TextEncoder().encode(JSON.stringify(message));
  const names = fields.join(", ");
  throw refused(
    `接收人只能写在顶层的 ${names} 中，且都须在test_openids中`,
    `its recipients stand in ${names} at the top level alone, and each must be one of the client's test openids`,
  );
}

/** Every name in `value`, and the indices of its lists. Throws `forbidden` where we might not write it as others read it. */
function namesIn(value: unknown, depth = 0): string[] {
  if (typeof value === "number" && !(Math.abs(value) <= Number.MAX_SAFE_INTEGER))
    throw refused("数字过大", "it has a number that would not be sent as it is");
  if (typeof value !== "object" || value === null) return [];
  if (depth > MAX_DEPTH) throw refused("嵌套过深", "it is nested too deep");
  return Object.entries(value).flatMap(([name, inner]) => {
    if (!NAME.test(name))
      throw refused("字段名不正确", "it has a name with other characters than A-Z a-z 0-9 _ . -");
    return [name, ...namesIn(inner, depth + 1)];
  });
}

function refused(chinese: string, english: string): ServiceError {
  return new ServiceError(
    "forbidden",
    `禁止访问：该客户端只能向测试用户（test_openids）发消息，${chinese} (the client may send messages to its test openids only: ${english})`,
  );
}
