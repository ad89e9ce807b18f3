import { expect, test } from "bun:test";
import type { Platform, UpstreamErrorClass } from "../../src/errors.ts";
import { classifyErrcode, hintFor, unreachable } from "../../src/upstream/errcodes.ts";

/** What each documented errcode means, by platform, from an endpoint that takes the secret. */
const TABLE: Record<Platform, Partial<Record<UpstreamErrorClass, number[]>>> = {
  weixin: {
    transient: [-1, -1000],
    token_invalid: [40014, 42001, 42006],
    config: [
      40001, 40002, 40013, 40090, 40094, 40125, 40164, 41002, 41004, 41018, 45035, 61004, 61011, 61024,
    ],
    account: [40243, 48004, 50002, 50004, 50007],
    risk: [89501, 89503, 89506, 89507],
    permission: [48001, 48006, 50001, 61003, 61007, 61016],
    quota_day: [45009],
    quota_minute: [45011],
    input: [
      40029, 40030, 40066, 40097, 40163, 40226, 41001, 41003, 41008, 42002, 42003, 42007, 43001, 43002, 43003,
      44002, 47001, 40170, 61005, 61006, 61009, 61010, 61014, 61015, 61023, 86000, 87007, 999999,
    ],
  },
  wecom: {
    transient: [-1, 40085, 41023],
    token_invalid: [40014, 40082, 41022, 42001, 42009],
    config: [40001, 40013, 40080, 40083, 40091, 41002, 41004, 41021, 41024, 41025, 48003, 60020, 2000002],
    account: [50003, 301007],
    permission: [40084, 48002, 48004, 48005, 48006, 50002, 60011],
    quota_minute: [45009, 45033],
    input: [
      40029, 40056, 40058, 40077, 40078, 40086, 40093, 40125, 41001, 41008, 42007, 42012, 42022, 43003, 45029,
      50001, 84014, 90211, 301002, 999999,
    ],
  },
};

const CASES = Object.entries(TABLE).flatMap(([platform, classes]) =>
  Object.entries(classes).flatMap(([kind, errcodes]) =>
    errcodes.map((errcode) => [platform as Platform, errcode, kind as UpstreamErrorClass] as const),
  ),
);

test.each(CASES)("%s %d asks of us: %s", (platform, errcode, kind) => {
  expect(classifyErrcode(platform, errcode, "takes_secret")).toBe(kind);
});

test("WeChat's 40001 is about the token where a token was sent, WeCom's never is", () => {
  expect(classifyErrcode("weixin", 40001, "takes_token")).toBe("token_invalid");
  expect(classifyErrcode("wecom", 40001, "takes_token")).toBe("config");
});

test("every other errcode means the same whatever was sent", () => {
  for (const [platform, errcode, kind] of CASES) {
    if (errcode !== 40001) expect(classifyErrcode(platform, errcode, "takes_token")).toBe(kind);
  }
});

test("a refused address is named in the hint as WeChat and WeCom name it, and ours is meant where they don't", () => {
  for (const [errcode, errmsg, address] of [
    [40164, "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 6aac005a", "203.0.113.9"],
    [60020, "not allow to access from your ip, hint: [1], from ip: 203.0.113.9, more info", "203.0.113.9"],
    [40164, "invalid ip 2001:db8::9, not in whitelist", "2001:db8::9"],
    [61004, "access clientip is not registered requestIP: 203.0.113.9 rid: 5f92a0c3-1", "203.0.113.9"],
    [40090, "invalid request source (bad client ip), requestIP: 203.0.113.9, rid: 5f92a0c3-1", "203.0.113.9"],
    [45035, "access clientip is not registered, not in ip-white-list", "this service's address"],
    [61004, "", "this service's address"],
    [61004, "access clientip is not registered requestIP: 203.0.113.9 rid: 6aac005a", "203.0.113.9"],
    [61004, "access clientip is not registered requestIP:203.0.113.9", "203.0.113.9"],
  ] as const)
    expect(hintFor(errcode, errmsg).hint, errmsg).toContain(`add ${address} to the IP allow-list`);
});

test("a hint says what to do and quotes nothing else of the answer; an unknown errcode has none", () => {
  for (const errcode of [
    40013, 40125, 40001, 40080, 40084, 40085, 40243, 50004, 50007, 89501, 89503, 89506, 89507, 40164,
  ])
    expect(hintFor(errcode, "canary").hint).toMatch(/^(?!.*canary).+ \(.+\)$/);
  expect(hintFor(45009, "reach max api daily quota limit")).toEqual({});
});

test.each([
  ["SELF_SIGNED_CERT_IN_CHAIN", /^不信任.*NODE_EXTRA_CA_CERTS/],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", /NODE_EXTRA_CA_CERTS/],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", /NODE_EXTRA_CA_CERTS/],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", /NODE_EXTRA_CA_CERTS/],
  ["CERT_HAS_EXPIRED", /^无法连接(?!.*NODE_EXTRA_CA_CERTS)/],
  ["ECONNREFUSED", /^无法连接(?!.*NODE_EXTRA_CA_CERTS)/],
])("a connection that fails by %s says what to do", (code, expected) => {
  const error = unreachable("wecom", Object.assign(new Error("canary"), { code }));
  expect(error?.code).toBe("upstream_unreachable");
  expect(error?.message).toMatch(expected);
  expect(error?.message).toContain(code);
});
