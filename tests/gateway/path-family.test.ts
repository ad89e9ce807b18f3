import { expect, test } from "bun:test";
import {
  familyPattern,
  isPlatformPath,
  MESSAGING_PATHS,
  pathFamily,
  READING_PATHS,
} from "../../src/access/api-policy.ts";

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

test("WeChat's own first segments are known, and WeCom's one", () => {
  const [own, others] = [
    ["/cgi-bin/x", "/wxa/x", "/datacube/x", "/sns/x", "/WXA/x", "/marketing/user_actions/add"],
    ["/v1/apps", "/swagger", "/", "", "/cgi-binx", "/gateway/x", "/constructor/x"],
  ];
  expect(own.filter((path) => !isPlatformPath(path))).toEqual([]);
  expect(others.filter((path) => isPlatformPath(path))).toEqual([]);
  expect([...own, ...others].filter((path) => isPlatformPath(path, "wecom"))).toEqual(["/cgi-bin/x"]);
});

test("every path of a policy's lists begins as the platform's do", () => {
  for (const lists of [MESSAGING_PATHS, READING_PATHS])
    for (const platform of ["weixin", "wecom"] as const)
      expect(lists[platform].filter((path) => !isPlatformPath(path, platform))).toEqual([]);
});

test("the family of a path that a caller has made long is not the path", () => {
  expect(familyPattern(`/cgi-bin/${"x".repeat(12_000)}`)).toBe("*");
  expect(familyPattern("/cgi-bin/message/custom/send")).toBe("/cgi-bin/message/**");
});
