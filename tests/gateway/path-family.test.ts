import { expect, test } from "bun:test";
import { isPlatformPath, pathFamily } from "../../src/access/api-policy.ts";

test.each([
  ["/cgi-bin/message/custom/send", "/cgi-bin/message"],
  ["/cgi-bin/clear_quota", "/cgi-bin/clear_quota"],
  ["/cgi-bin/made-up/x", "/cgi-bin"],
  ["/cgi-bin", "/cgi-bin"],
  ["/wxa/business/getuserphonenumber", "/wxa"],
  ["/sns/userinfo", "/sns"],
  ["/made/up", "other"],
  ["/", "other"],
  ["", "other"],
  ["/constructor/x", "other"],
])("the family of %s is %s", (path, family) => {
  expect(pathFamily(path)).toBe(family);
});

test("whatever callers send, there are less than a hundred families", () => {
  const words = "a b cgi-bin wxa message user %2e .. constructor __proto__ 1 CGI-BIN Message".split(" ");
  const families = new Set(
    words.flatMap((a) => words.flatMap((b) => words.map((c) => pathFamily(`/${a}/${b}/${c}`)))),
  );
  expect([...families].toSorted()).toEqual([
    "/cgi-bin",
    "/cgi-bin/message",
    "/cgi-bin/user",
    "/wxa",
    "other",
  ]);
});

test("WeChat's own first segments are known", () => {
  expect(["/cgi-bin/x", "/wxa/x", "/datacube/x", "/sns/x"].map(isPlatformPath)).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(["/v1/apps", "/swagger", "/", "/cgi-binx"].map(isPlatformPath)).toEqual([
    false,
    false,
    false,
    false,
  ]);
});
