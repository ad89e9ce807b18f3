import { expect, test } from "bun:test";
import { RawQuery } from "../../src/api/wechat-request.ts";

test("what is not changed stays as it came, byte for byte", () => {
  for (const text of [
    "",
    "a",
    "a=",
    "=b",
    "&&a=1&",
    "a=1&a=2",
    "a=%2f%2F+%20",
    "a=b=c",
    "b=?&a=/",
    "a=%zz",
  ]) {
    expect(RawQuery.parse(text).toString()).toBe(text);
  }
});

test("a value is decoded as a form's is", () => {
  const query = RawQuery.parse("a=1+2%2B3&b&c=&d=x=y&%61b=%E4%BD%A0");
  expect(["a", "b", "c", "d", "ab", "e"].map((name) => query.get(name))).toEqual([
    "1 2+3",
    "",
    "",
    "x=y",
    "你",
    undefined,
  ]);
});

test("a name is found however it is encoded, and counted as often as it comes", () => {
  const query = RawQuery.parse("access_token=1&%61ccess_token=2&Access_Token=3");
  expect(query.count("access_token")).toBe(2);
  expect(query.names).toEqual(["access_token", "access_token", "Access_Token"]);
  expect(query.without("access_token").toString()).toBe("Access_Token=3");
});

test("a pair of nothing is no name", () => {
  expect(RawQuery.parse("&type=jsapi&&").names).toEqual(["type"]);
  expect(RawQuery.parse("=x&=y").names).toEqual(["", ""]);
});

test("a value is put in the place of what was there, or at the end", () => {
  expect(RawQuery.parse("a=1&t=old&b=2").with("t", "n+w&").toString()).toBe("a=1&t=n%2Bw%26&b=2");
  expect(RawQuery.parse("a=1").with("t", "x").toString()).toBe("a=1&t=x");
  expect(RawQuery.parse("").with("t", "x").toString()).toBe("t=x");
});

test("what can't be decoded is refused where it matters, and not quoted", () => {
  const message = "查询参数的百分号编码不正确 (bad percent-encoding in the query)";
  expect(() => RawQuery.parse("%zz=1")).toThrow(message);
  const query = RawQuery.parse("a=%zz&b=1");
  expect(query.get("b")).toBe("1");
  expect(() => query.get("a")).toThrow(message);
});
