import { expect, test } from "bun:test";
import { headersUp } from "../../src/gateway/forwarder.ts";
import { assertAllowed, assertCanonical } from "../../src/gateway/blocked-paths.ts";
import { RawQuery } from "../../src/api/wechat-request.ts";
import { ServiceError } from "../../src/errors.ts";
import { weixinSlot } from "../support/slots.ts";

/** The code with which `check` refuses; undefined when it doesn't. */
function refusalOf(check: () => void): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof ServiceError) return error.wording?.errcode.toString() ?? error.code;
    throw error;
  }
}

test.each([
  ["/cgi-bin/user/get", undefined],
  ["/cgi-bin/user/get/", undefined],
  ["/wxa/a_b-c.d~e", undefined],
  ["/wxa/a..b/...", undefined],
  ["/a/b", "40066"],
  ["/cgi-bin//user", "40066"],
  ["/cgi-bin/user//", "40066"],
  ["/cgi-bin/..", "40066"],
  ["/cgi-bin/./user", "40066"],
  ["/cgi-bin/%75ser", "40066"],
  ["/cgi-bin\\user", "40066"],
  ["/cgi-bin/us;er", "40066"],
  ["/cgi-bin/你", "40066"],
  ["cgi-bin/user", "40066"],
  ["/", "40066"],
  ["", "40066"],
])("the path %p is plain unless refused: %p", (path, code) => {
  const call = { method: "GET", path, query: RawQuery.parse("access_token=x") };
  expect(refusalOf(() => assertCanonical("weixin", call))).toBe(code);
});

test("a token that is given twice and a method that no API has are refused", () => {
  const check = (method: string, query: string) =>
    refusalOf(() => assertCanonical("wecom", { method, path: "/cgi-bin/x", query: RawQuery.parse(query) }));
  expect(check("GET", "access_token=x&access%5ftoken=y")).toBe("invalid_parameter");
  expect(check("POST", "")).toBeUndefined();
  expect(["CONNECT", "TRACE", "get", "QUERY"].map((method) => check(method, ""))).toEqual(
    Array(4).fill("method_not_allowed"),
  );
});

test.each([
  ["/cgi-bin/user/get", "", true, true],
  ["/cgi-bin/components/x", "", true, true],
  ["/cgi-bin/tokens", "", true, true],
  ["/snsx/userinfo", "", true, true],
  ["/cgi-bin/component/x", "", false, false],
  ["/cgi-bin/service/get_corp_token", "", false, false],
  ["/cgi-bin/clear_quota/v2", "", false, false],
  ["/cgi-bin/token", "", false, false],
  ["/sns/auth", "", false, false],
  ["/x", "authorizer_access_token=1", false, false],
  ["/cgi-bin/openapi/rid/get", "", true, false],
  ["/cgi-bin/openapi", "", true, false],
  ["/cgi-bin/openapis/x", "", true, true],
  ["/cgi-bin/clear_quota", "", true, false],
  ["/cgi-bin/corpgroup/corp/gettoken", "", true, false],
  ["/cgi-bin/corpgroup/corp/list_app_share_info", "", true, true],
])("%s?%s is open to holders of real tokens: %p, and of virtual ones: %p", (path, query, real, virtual) => {
  for (const each of [path, `${path}/`, path.toUpperCase()]) {
    const isOpen = (isVirtual: boolean) =>
      refusalOf(() => assertAllowed(weixinSlot(), each, RawQuery.parse(query), isVirtual)) === undefined;
    expect([each, isOpen(false), isOpen(true)]).toEqual([each, real, virtual]);
  }
});

test("of the headers go up all but those that are between the caller, a proxy and us", () => {
  const kept = [
    "content-type",
    "user-agent",
    "accept",
    "wechatmp-signature",
    "x-forwardedish",
    "x-request-id",
  ];
  const left = [
    "authorization",
    "x-api-key",
    "cookie",
    "forwarded",
    "x-forwarded",
    "x-forwarded-ssl",
    "x-real-ip",
  ];
  const headers = new Headers([...kept, ...left].map((name) => [name, "1"] as [string, string]));
  expect([...headersUp(headers).keys()].toSorted()).toEqual(kept.toSorted());
});
