import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { pageUrl } from "../../src/signing/page-url.ts";

function mistakeIn(url: string): string | undefined {
  try {
    return void pageUrl(url);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== "invalid_parameter") throw error;
    return error.hint;
  }
}

const ENCODED = "encodeURIComponent";
const NO_VALUE = "undefined or null";
const NOT_ABSOLUTE = "no absolute http or https address";
const BLANK = "blank";

test.each([
  ["https%3A%2F%2Fexample.com%2Fpage", ENCODED],
  ["https%253A%252F%252Fexample.com", ENCODED],
  ["HTTP%3a//example.com/", ENCODED],
  ["https:%2F%2Fexample.com/", ENCODED],
  ["undefined", NO_VALUE],
  ["null", NO_VALUE],
  ["NaN", NO_VALUE],
  ["[object Object]", NO_VALUE],
  ["undefined/page", NO_VALUE],
  ["https://undefined/page", NO_VALUE],
  ["http://null:8080/", NO_VALUE],
  ["/page", NOT_ABSOLUTE],
  ["page", NOT_ABSOLUTE],
  ["?id=1", NOT_ABSOLUTE],
  ["#/route", NOT_ABSOLUTE],
  ["a.com/", NOT_ABSOLUTE],
  ["www.a.com", NOT_ABSOLUTE],
  ["//a.com/", NOT_ABSOLUTE],
  ["http:/a.com/", NOT_ABSOLUTE],
  ["http:a.com/", NOT_ABSOLUTE],
  ["https:///a.com/", NOT_ABSOLUTE],
  ["https://", NOT_ABSOLUTE],
  ["https://?x", NOT_ABSOLUTE],
  ["https://a com/", NOT_ABSOLUTE],
  ["https://a.com:99999/", NOT_ABSOLUTE],
  ["ftp://a.com/", NOT_ABSOLUTE],
  ["file:///a", NOT_ABSOLUTE],
  ["javascript:alert(1)", NOT_ABSOLUTE],
  ["about:blank", NOT_ABSOLUTE],
  ['"https://a.com/"', NOT_ABSOLUTE],
  [" https://a.com/", BLANK],
  ["\thttps://a.com/", BLANK],
  ["\nhttps://a.com/", BLANK],
  ["\u3000https://a.com/", BLANK],
  ["\ufeffhttps://a.com/", BLANK],
  ["\u200bhttps://a.com/", BLANK],
  ["\u0000https://a.com/", BLANK],
  ["https://a.com/\r\nx: y", BLANK],
  ["https://a.com/\u007f", BLANK],
])("%j is no page's address, and the likely mistake is told", (url, mistake) => {
  expect(mistakeIn(url)).toContain(mistake);
});

test.each([
  ["https://a.com/?a=1&amp;b=2", "&amp;"],
  ["http://mp.weixin.qq.com?params=value", "no slash after the host"],
  ["https://a.com", "no slash after the host"],
  ["https://a.com#/route", "no slash after the host"],
  ["https://Example.com/", "capitals"],
  ["HTTPS://example.com/", "capitals"],
  ["http://a.com:80/", "default port"],
  ["https://a.com:443/?x", "default port"],
  ["https://a.com/a b", "browsers show this address otherwise"],
  ["https://a.com/ ", "browsers show this address otherwise"],
  ["https://a.com/你好", "browsers show this address otherwise"],
  ["https://a.com/x/../y", "browsers show this address otherwise"],
  ["https://a.com/x\\page", "browsers show this address otherwise"],
])("%j is signed as it came, with a hint", (url, suspicion) => {
  const page = pageUrl(url);
  expect(page.url).toBe(url.split("#")[0] ?? "");
  expect(page.hint).toContain(suspicion);
  expect(page.hint).toContain("signed as sent");
});

test.each([
  "https://example.com/",
  "https://example.com/page?id=1",
  "http://example.com:8080/a/b.html?url=https%3A%2F%2Fexample.com%2F&x=undefined",
  "https://example.com:80/",
  "https://example.com/A/B?C=D&amp=1",
  "https://example.com/%E4%BD%A0's?a=%e4+b",
  "https://xn--fsq.com/null",
  "http://localhost:3000/#/Home",
  "http://10.0.0.1/?",
])("%j is signed as it came, without a hint", (url) => {
  expect(pageUrl(url)).toEqual({ url: url.split("#")[0] ?? "", hint: undefined });
});
