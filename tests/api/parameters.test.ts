import { expect, test } from "bun:test";
import { call } from "../support/callers.ts";
import { readParameters, readWechatRequest } from "../../src/api/wechat-request.ts";

function read(
  search: string,
  body?: string | ReadableStream<Uint8Array>,
  method = body === undefined ? "GET" : "POST",
) {
  const request = new Request(`http://localhost/cgi-bin/token?${search}`, {
    method,
    ...(body === undefined ? {} : { body }),
  });
  return readParameters(readWechatRequest(call(request)));
}

test("a text that is empty is none", async () => {
  const parameters = await read("a=&b=%20&c");
  expect(["a", "b", "c"].map((name) => parameters.text(name))).toEqual([undefined, " ", undefined]);
  expect((await read("", '{"a":""}')).text("a")).toBeUndefined();
});

test("a body's value is a text or a number, and anything else is none", async () => {
  const parameters = await read("z=query", '{"a":"body","b":null,"c":12,"d":{},"e":true}');
  expect(["a", "b", "c", "d", "e", "z"].map((name) => parameters.text(name))).toEqual([
    "body",
    undefined,
    "12",
    undefined,
    undefined,
    "query",
  ]);
});

test.each([
  ["in the query and in JSON", "appid=wx1", '{"appid":"wx1"}', "in the query and in the body"],
  ["in the query, encoded, and in JSON", "%61ppid=wx1", '{"appid":"wx2"}', "in the query and in the body"],
  ["in the query and in a form", "appid=wx1", "appid=wx2", "in the query and in the body"],
  ["twice in JSON", "", '{"appid":"wx1","appid":"wx2"}', "twice in an object of the body"],
  ["twice in JSON, escaped", "", '{"appid":"wx1","\\u0061ppid":"wx2"}', "twice in an object of the body"],
  ["twice inside JSON", "", '{"a":[{"b":{"c":1,"c":1}}]}', "twice in an object of the body"],
])("a name that is given %s is refused", async (_where, search, body, message) => {
  expect(Promise.try(() => read(search, body))).rejects.toThrow(message);
});

test.each([
  '{"a":{"a":1},"b":[{"a":1},{"a":1}]}',
  '{"a":"\\"b\\":1","b":"}","c":"{","d":1}',
  '{"a":"x\\\\","b":":"}',
  `{"a":"${"\\\\".repeat(15_000)}","b":1}`,
  `{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`,
])("a name that different objects or texts have is none twice: %.60s", async (body) => {
  expect((await read("", body)).isJson).toBe(true);
});

test("names that every object has are none of the body's", async () => {
  const parameters = await read("", '{"a":1}');
  for (const name of ["toString", "constructor", "__proto__", "hasOwnProperty"])
    expect(parameters.text(name)).toBeUndefined();
  expect((await read("", '{"__proto__":"x"}')).text("__proto__")).toBe("x");
});

test("JSON is told from a form by itself, with a byte order mark too", async () => {
  expect((await read("", '\ufeff{"a":"1"}')).isJson).toBe(true);
  const form = await read("", "a=1+2&b=%2F");
  expect([form.isJson, form.text("a"), form.text("b")]).toEqual([false, "1 2", "/"]);
  for (const body of ["[]", '"x"', "12", "null", "{", ""]) expect((await read("", body)).isJson).toBe(false);
});

test("true is a boolean of JSON's or the word", async () => {
  const parameters = await read("a=true&b=TRUE", '{"c":true,"d":"true","e":1}');
  expect(["a", "b", "c", "d", "e"].map((name) => parameters.isTrue(name))).toEqual([
    true,
    false,
    true,
    true,
    false,
  ]);
});

test.each([
  ["a query", "a=1&%61=2", undefined],
  ["a form", "", "a=1&a=2"],
])("a name that %s has twice is refused", async (_where, search, body) => {
  expect(Promise.try(() => read(search, body))).rejects.toThrow("参数重复 (a parameter is given twice)");
});

test("a body of more than 64 KiB is refused, whether it says so or not", async () => {
  const body = "x".repeat(64 * 1024 + 1);
  expect(read("", body)).rejects.toThrow("64 KiB");
  expect(read("", new Blob([body]).stream())).rejects.toThrow("64 KiB");
});
