import { expect, test } from "bun:test";
import { isInvalidToken, readSmallText } from "../../src/gateway/answer.ts";
import type { ForwardAnswer } from "../../src/gateway/forwarder.ts";

const JSON_TYPE = "application/json; encoding=utf-8";

function answerOf(body: string | readonly Uint8Array[], headers: Record<string, string> = {}): ForwardAnswer {
  const left = typeof body === "string" ? [Buffer.from(body)] : [...body];
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const part = left.shift();
      if (part) controller.enqueue(part);
      else controller.close();
    },
  });
  return { status: 200, headers: new Headers({ "content-type": JSON_TYPE, ...headers }), body: stream };
}

test.each([
  ['{"errcode":40001,"errmsg":"x"}', 40001],
  ['{"errcode":0}', 0],
  ['{"errcode":-1}', -1],
  ['{"errcode":"42001"}', 42001],
  ['{"errcode":"-1"}', -1],
  ['\ufeff{"errcode":40001}', 40001],
  ['{"name":"a\u0000\nb","errcode":40014}', 40014],
  ['{"access_token":"x"}', undefined],
  ['{"base_resp":{"errcode":40001}}', undefined],
  ['[{"errcode":40001}]', undefined],
  ['{"errcode":null}', undefined],
  ['{"errcode":true}', undefined],
  ['{"errcode":""}', undefined],
  ['{"errcode":[40001]}', undefined],
  ['{"errcode":40001.5}', undefined],
  ['{"errcode":"0x9c41"}', undefined],
  ['{"errcode":40001', undefined],
  ['"errcode"', undefined],
  ["", undefined],
])("of %p the errcode is %p", async (body, errcode) => {
  const read = await readSmallText(answerOf(body));
  expect(read.errcode).toBe(errcode);
  expect(Buffer.from(read.bytes ?? []).toString()).toBe(body);
});

test.each([
  ["application/json", true],
  ["APPLICATION/JSON ; charset=utf-8", true],
  ["text/plain", true],
  ["text/json", true],
  ["image/jpeg", false],
  ["application/jsonx", false],
  ["text/html", false],
  ["application/xml", false],
  ["application/problem+json", false],
  ["application/zip", false],
])("of the type %s an answer that does not begin as JSON is looked at: %p", async (type, isRead) => {
  for (const body of ["[]", "\u0089PNG{"]) {
    const { bytes, answer } = await readSmallText(answerOf(body, { "content-type": type }));
    expect(bytes !== undefined).toBe(isRead);
    if (bytes === undefined) expect(await new Response(answer.body).text()).toBe(body);
  }
});

test.each<Record<string, string>>([
  { "content-type": "image/jpeg" },
  { "content-type": "application/json:UTF-8" },
  { "content-type": "application/octet-stream" },
  { "content-type": "" },
  { "content-disposition": 'attachment; filename="a.json"' },
])("a small answer that begins as JSON is looked at, with the headers %p", async (headers) => {
  for (const body of ['{"errcode":40001,"errmsg":"x"}', '\ufeff \n{"errmsg":"","errcode":40001}']) {
    for (const sent of [answerOf(body, headers), { ...answerOf(body, headers), body: Buffer.from(body) }]) {
      const read = await readSmallText(sent);
      expect([read.errcode, Buffer.from(read.bytes ?? []).toString()]).toEqual([40001, body]);
    }
  }
  const long = [Buffer.from("{"), new Uint8Array(64 * 1024)];
  const { bytes, answer } = await readSmallText(answerOf(long, headers));
  expect(bytes).toBeUndefined();
  expect(Buffer.from(await new Response(answer.body).arrayBuffer()).equals(Buffer.concat(long))).toBe(true);
});

test("64 KiB are read, and what is longer goes on as a stream from its first byte", async () => {
  const parts = Array.from({ length: 5 }, (_, n) => new Uint8Array(16 * 1024).fill(n));
  expect((await readSmallText(answerOf(parts.slice(0, 4)))).bytes).toHaveLength(64 * 1024);
  const { answer, bytes } = await readSmallText(answerOf(parts));
  expect(bytes).toBeUndefined();
  expect(Buffer.from(await new Response(answer.body).arrayBuffer()).equals(Buffer.concat(parts))).toBe(true);
  const announced = await readSmallText(answerOf("{}", { "content-length": "65537" }));
  expect(announced.bytes).toBeUndefined();
  const justSmall = await readSmallText(answerOf(parts.slice(0, 4), { "content-length": "65536" }));
  expect(justSmall.bytes).toHaveLength(64 * 1024);
});

test("a token is dead on WeChat by 40001, 40014 and 42001, and on WeCom by 40014 and 42001, of a suite by 40082 and 42009, alone", async () => {
  const dead = async (platform: "weixin" | "wecom", errcode: number) =>
    isInvalidToken(platform, await readSmallText(answerOf(JSON.stringify({ errcode }))));
  const of = async (platform: "weixin" | "wecom") => {
    const found = [];
    for (let errcode = 39_990; errcode < 42_020; errcode++)
      if (await dead(platform, errcode)) found.push(errcode);
    return found;
  };
  expect(await of("weixin")).toEqual([40001, 40014, 42001]);
  expect(await of("wecom")).toEqual([40014, 40082, 42001, 42009]);
});

test.each([
  '{"errcode":40001,"errmsg":"invalid credential"}\u0000\u0001\u0002 the rest of a picture',
  '{"errcode":40001} and more',
  '{"errcode":"40001","errmsg":"a number in quotes"}',
  '{"errcode":40001}',
  '{"errcode":40001,"errmsg":1}',
  '{"errcode":40001,"errmsg":"a\nline"}',
  "{}",
  "{",
])("a file that only looks like a refusal (%j) is none, and comes through whole", async (body) => {
  const types: Record<string, string>[] = [{ "content-type": "image/jpeg" }, { "content-disposition": "a" }];
  for (const headers of types) {
    const { errcode, bytes } = await readSmallText(answerOf(body, headers));
    expect([errcode, Buffer.from(bytes ?? []).toString()]).toEqual([undefined, body]);
  }
});
