import { expect, test } from "bun:test";
import { CORP, WX } from "../support/harness.ts";
import { type Asking, DropinHarness, STRANGE, WECOM_APP } from "./dropin-harness.ts";

const MINI = "/sns/jscode2session";
const WEB = "/sns/oauth2/access_token";
const WECOM_USER = "/cgi-bin/auth/getuserinfo";
const WECOM_USER_OLD = "/cgi-bin/user/getuserinfo";
const WECOM_SCHOOL = "/cgi-bin/school/getuserinfo";
const WECOM_MINI = "/cgi-bin/miniprogram/jscode2session";

const BY_CODE = { grant_type: "authorization_code", appid: WX.appId };
const SNS = [
  { path: MINI, name: "js_code" },
  { path: WEB, name: "code" },
];
const OF_WECOM = [
  { path: WECOM_USER, name: "code" },
  { path: WECOM_USER_OLD, name: "code" },
  { path: WECOM_SCHOOL, name: "code" },
  { path: WECOM_MINI, name: "js_code" },
];

/** The field with the member's id. */
function idOf(path: string): string {
  return [WECOM_USER_OLD, WECOM_SCHOOL].includes(path) ? "UserId" : "userid";
}

test.each(SNS)(
  "$path gives WeChat's own answer, byte for byte, by secret, key or trust",
  async ({ path, name }) => {
    await using at = await DropinHarness.create();
    const key = await at.key("real", { apps: [WX.appId] });
    const ways: [Record<string, string>, Asking][] = [
      [{ secret: WX.secret }, { from: STRANGE }],
      [{ secret: key }, { from: STRANGE }],
      [{}, { headers: { "x-api-key": key }, from: STRANGE }],
      [{}, {}],
    ];
    for (const [n, [more, asking]] of ways.entries()) {
      const query = { ...BY_CODE, [name]: `sandbox-code-union-${n}`, ...more };
      const direct = { ...BY_CODE, [name]: `sandbox-code-union-x${n}`, secret: WX.secret };
      const theirs = await fetch(`${at.sandbox.weixinUrl}${path}?${new URLSearchParams(direct).toString()}`);
      const ours = await at.ask(path, { query, ...asking });
      expect(ours.headers.get("content-type")).toBe("text/plain");
      const fields = Object.keys((await theirs.json()) as object);
      expect(Object.keys(ours.body)).toEqual(fields);
      // WeChat escapes slashes below /sns, and so the text is its very own.
      expect(ours.text).not.toMatch(/[^\\]\//);
    }
    expect(at.sandbox.calls(path)).toBe(2 * ways.length);
  },
);

test.each(SNS)(
  "$path refuses in WeChat's order and form, below /sns with a comma",
  async ({ path, name }) => {
    await using at = await DropinHarness.create();
    const every = await at.key("every");
    const reader = await at.key("reader", { actions: ["token:read"] });
    const strange = { from: STRANGE };
    const code = { [name]: "sandbox-code-1" };
    const secret = WX.secret;
    const cases: [number, Record<string, string>, Asking][] = [
      [41002, { ...code, secret }, {}],
      [40013, { appid: "wx0unknown", ...code, secret: every }, {}],
      [40002, { appid: WX.appId, ...code, secret }, {}],
      [41004, { ...BY_CODE, ...code }, strange],
      [40125, { ...BY_CODE, ...code, secret: "wrong" }, strange],
      [41008, { ...BY_CODE, secret }, {}],
      [41008, { ...BY_CODE, secret, [name]: "" }, {}],
      [40029, { ...BY_CODE, secret, [name]: "x".repeat(513) }, {}],
      [40029, { ...BY_CODE, secret, [name]: "no code" }, {}],
      [48001, { ...BY_CODE, ...code, secret: reader }, {}],
    ];
    for (const [errcode, query, more] of cases) {
      const { body, headers } = await at.ask(path, { query, ...more });
      expect([query, body["errcode"]]).toEqual([query, errcode]);
      expect(body["errmsg"]).toMatch(/, rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$/);
      expect(headers.get("content-type")).toBe("text/plain");
    }
    expect((await at.refusal(path, { method: "POST", query: { ...BY_CODE, ...code } }))[0]).toBe(43001);
    expect(at.sandbox.calls()).toBe(0);
  },
);

test.each(SNS)(
  "$path passes what WeChat says of a code, and a code that comes twice costs one call",
  async ({ path, name }) => {
    await using at = await DropinHarness.create();
    const query = { ...BY_CODE, secret: WX.secret, [name]: "sandbox-code-9" };
    const [first, second] = await Promise.all([at.ask(path, { query }), at.ask(path, { query })]);
    expect(second.text).toBe(first.text);
    expect(at.sandbox.calls()).toBe(1);
    const bad = await at.ask(path, { query: { ...query, [name]: "nonsense" } });
    expect(bad.body["errcode"]).toBe(40029);
    expect(bad.text.match(/rid: /g)).toHaveLength(1);
  },
);

test.each(OF_WECOM)("$path gives WeCom's own answer to the holder of a token", async ({ path, name }) => {
  await using at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
  const virtual = await at.key("virtual", { apps: [WECOM_APP], delivery: "virtual" });
  const tokens = [await at.token("wecom"), await at.token("wecom", virtual)];
  for (const [n, token] of tokens.entries()) {
    const query = { access_token: token, [name]: `sandbox-code-${n}` };
    const { body, headers } = await at.ask(path, { query, from: STRANGE });
    expect(body).toMatchObject({ errcode: 0, errmsg: "ok", [idOf(path)]: expect.any(String) });
    expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
    // Where a Mini Program is meant WeCom puts the errcode last.
    expect(Object.keys(body)[0]).toBe(path === WECOM_MINI ? "corpid" : "errcode");
  }
  expect(at.sandbox.calls(path, "wecom")).toBe(2);
  expect(at.sandbox.calls("/cgi-bin/gettoken")).toBe(1);
});

test.each(OF_WECOM)("$path refuses in WeCom's form", async ({ path, name }) => {
  await using at = await DropinHarness.create();
  const token = await at.token("wecom");
  const reader = await at.key("reader", {
    apps: [WECOM_APP],
    actions: ["token:read", "ticket:read"],
    delivery: "virtual",
  });
  const ofReader = await at.token("wecom", reader);
  const cases: [number, Record<string, string>][] = [
    [41001, { [name]: "sandbox-code-1" }],
    [42001, { access_token: "unheard-of", [name]: "sandbox-code-1" }],
    [41008, { access_token: token }],
    [48002, { access_token: ofReader, [name]: "sandbox-code-1" }],
    [40029, { access_token: token, [name]: "nonsense" }],
  ];
  for (const [errcode, query] of cases) {
    const { body, headers } = await at.ask(path, { query });
    expect([query, body["errcode"]]).toEqual([query, errcode]);
    expect(headers.get("error-code")).toBe(String(errcode));
    expect(String(body["errmsg"]).match(/hint: \[/g)).toHaveLength(1);
  }
  expect(at.sandbox.calls(path)).toBe(1);
});

test.each(OF_WECOM)(
  "$path replaces a token that turns out to be dead, once, and the code is good still, and again at no cost",
  async ({ path, name }) => {
    await using at = await DropinHarness.create();
    const token = await at.token("wecom");
    at.sandbox.killTokens(CORP);
    const query = { access_token: token, [name]: "sandbox-code-1" };
    const [first, second] = [await at.ask(path, { query }), await at.ask(path, { query })];
    expect(first.body).toMatchObject({ errcode: 0, [idOf(path)]: expect.any(String) });
    // Sent twice within ten seconds, as browsers do.
    expect(second.text).toBe(first.text);
    expect(at.sandbox.calls("/cgi-bin/gettoken")).toBe(2);
  },
);

test("a login that brings the app's own token along is a login all the same", async () => {
  await using at = await DropinHarness.create();
  const query = { ...BY_CODE, secret: WX.secret, js_code: "sandbox-code-1", access_token: await at.token() };
  expect((await at.ask(MINI, { query })).body["openid"]).toBeString();
});
