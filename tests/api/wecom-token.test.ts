import { expect, test } from "bun:test";
import { createApiKey } from "../../src/access/api-key.ts";
import { CORP, WECOM, WECOM_CONTACTS, WECOM_FOREIGN } from "../support/harness.ts";
import { type Asking, DropinHarness, STRANGE, VIRTUAL, WECOM_APP } from "./dropin-harness.ts";

const GETTOKEN = "/cgi-bin/gettoken";
const ONE = { corpid: CORP, corpsecret: WECOM.secret };

test("gettoken gives the holder of a secret that application's token, in WeCom's own form", async () => {
  await using at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
  const { text, headers, body } = await at.ask(GETTOKEN, { query: ONE, from: STRANGE });
  expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
  const token = String(body["access_token"]);
  expect(text).toBe(`{"errcode":0,"errmsg":"ok","access_token":"${token}","expires_in":7200}`);
  expect(headers.has("error-code")).toBe(false);
  const contacts = await at.token("wecom", WECOM_CONTACTS.secret);
  expect(contacts).not.toBe(token);
  expect(await at.token("wecom")).toBe(token);
  expect(at.sandbox.calls(GETTOKEN, "wecom")).toBe(2);
});

test("an API key takes the place of the secret, and its grants or an agentid say which application is meant", async () => {
  await using at = await DropinHarness.create({ environment: { ANONYMOUS: "off" } });
  const token = await at.token("wecom");
  const one = await at.key("one", { apps: [WECOM_APP] });
  const all = await at.key("all");
  const virtual = await at.key("virtual", { apps: [WECOM_APP], delivery: "virtual" });
  const agentid = WECOM.agent;
  const ways: [Record<string, string>, Asking][] = [
    [{ corpid: CORP, corpsecret: one }, { from: STRANGE }],
    [{ corpid: CORP }, { headers: { authorization: `Bearer ${one}` } }],
    [{ corpid: CORP, corpsecret: "" }, { headers: { "x-api-key": one } }],
    [{ corpid: CORP, corpsecret: all, agentid }, {}],
    [{ ...ONE }, { headers: { "x-api-key": all } }],
  ];
  for (const [query, more] of ways) {
    const { body } = await at.ask(GETTOKEN, { query, ...more });
    expect([query, body["access_token"]]).toEqual([query, token]);
  }
  const { body } = await at.ask(GETTOKEN, { query: { corpid: CORP, corpsecret: virtual } });
  expect(body).toMatchObject({ access_token: expect.stringMatching(VIRTUAL), expires_in: 7200 });
  expect(at.sandbox.calls()).toBe(1);
});

test("anybody on a trusted network is given a token by an agentid, or by a secret that we don't hold", async () => {
  await using at = await DropinHarness.create();
  const token = await at.token("wecom");
  const byAgent = { corpid: CORP, agentid: WECOM.agent };
  expect((await at.ask(GETTOKEN, { query: byAgent })).body["access_token"]).toBe(token);
  const foreign = await at.token("wecom", WECOM_FOREIGN.secret);
  expect(at.sandbox.accepts(foreign)).toBe(true);
});

test("gettoken refuses in WeCom's order and words, in body and headers, and asks WeCom about nothing", async () => {
  await using at = await DropinHarness.create();
  const every = await at.key("every");
  const byHeader = { headers: { "x-api-key": every } };
  const strange = { from: STRANGE };
  const wrong = "f".repeat(43);
  const cases: [number, string, Record<string, string>, Asking][] = [
    [41004, "corpsecret missing", {}, {}],
    [41004, "corpsecret missing", {}, strange],
    [41004, "corpsecret missing", { corpid: CORP }, strange],
    [41004, "corpsecret missing", { corpid: "wwunknown", corpsecret: "" }, {}],
    [41002, "corpid missing", { corpsecret: WECOM.secret }, {}],
    [41002, "corpid missing", {}, byHeader],
    [40013, "invalid corpid", { corpid: "wwunknown", corpsecret: every }, {}],
    [40013, "invalid corpid", { corpid: "wwunknown" }, byHeader],
    [40056, "invalid agentid", { corpid: CORP, corpsecret: every, agentid: "99" }, {}],
    [40013, "invalid corpid", { corpid: "ww+/=", corpsecret: WECOM.secret }, {}],
    [40056, "invalid agentid", { ...ONE, agentid: "1_2" }, {}],
    [40001, "invalid credential", { corpid: CORP, corpsecret: "x".repeat(513) }, {}],
    [40001, "invalid credential", { corpid: CORP, corpsecret: wrong }, strange],
    [40001, "invalid credential", { corpid: "wwunknown", corpsecret: wrong }, strange],
    [40001, "invalid credential", { corpid: CORP, corpsecret: wrong }, byHeader],
    [40001, "invalid credential", { corpid: CORP, corpsecret: createApiKey().reveal() }, {}],
    [40001, "invalid credential", { corpid: CORP }, { headers: { "x-api-key": "ats_wrong" } }],
  ];
  for (const [n, [errcode, said, query, more]] of cases.entries()) {
    const from = more.from ? `127.1.1.${n}` : `127.0.1.${n}`;
    const { body, headers } = await at.ask(GETTOKEN, { query, ...more, from });
    const { errmsg } = body;
    expect([query, more, body["errcode"]]).toEqual([query, more, errcode]);
    expect(errmsg).toStartWith(`${said}, hint: [`);
    expect(errmsg).toEndWith(
      `, from ip: ${from}, more info at https://open.work.weixin.qq.com/devtool/query?e=${errcode}`,
    );
    expect([headers.get("error-code"), headers.get("error-msg")]).toEqual([String(errcode), errmsg]);
    expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
  }
  expect(at.sandbox.calls()).toBe(0);
});

test("who may use several applications and names none, or another than the secret's, is told what to send", async () => {
  await using at = await DropinHarness.create();
  const every = await at.key("every");
  const queries: Record<string, string>[] = [
    { corpid: CORP, corpsecret: every },
    { corpid: CORP },
    { ...ONE, agentid: WECOM_CONTACTS.agent },
  ];
  for (const query of queries) {
    const [errcode, errmsg] = await at.refusal(GETTOKEN, { query });
    expect([query, errcode, errmsg]).toEqual([query, 40058, expect.stringContaining("agentid")]);
  }
  // A key for some of them or for all needs no secret, on any face.
  const two = await at.key("two", { apps: [WECOM_APP, `${CORP}_${WECOM_CONTACTS.agent}`] });
  for (const key of [every, two]) {
    const headers = { "x-api-key": key };
    const [, errmsg] = await at.refusal(GETTOKEN, { query: { corpid: CORP }, headers });
    const documented = await at.world.get("/AccessToken/getQyapi", { corpid: CORP }, { headers });
    expect([errmsg, documented.code, documented.msg]).toEqual([
      expect.stringMatching(/^invalid parameter, 缺少agentid参数/),
      1,
      expect.stringMatching(/^缺少agentid参数/),
    ]);
  }
});

test("a client that was not granted the application is told so", async () => {
  await using at = await DropinHarness.create();
  const key = await at.key("other", { apps: ["wx0other"] });
  const named: Record<string, string>[] = [{}, { agentid: "7" }];
  for (const more of named) {
    const query = { corpid: CORP, corpsecret: key, ...more };
    const { body, headers } = await at.ask(GETTOKEN, { query });
    expect(body).toMatchObject({
      errcode: 48002,
      errmsg: expect.stringMatching(/^api forbidden, .*[\u4e00-\u9fff]/),
    });
    expect(headers.get("error-code")).toBe("48002");
    // A header has no room for Chinese.
    expect(headers.get("error-msg")).toMatch(/^[ -~]+$/);
  }
});

test("gettoken takes GET alone", async () => {
  await using at = await DropinHarness.create();
  for (const method of ["POST", "PUT", "DELETE"])
    expect(await at.refusal(GETTOKEN, { method, query: ONE })).toEqual([40058, "invalid parameter"]);
});

test("what WeCom says passes as it came", async () => {
  await using at = await DropinHarness.create();
  const errmsg = "invalid credential, hint: [1686402237354962763423746], from ip: 1.2.3.4, 不合法";
  const body = JSON.stringify({ errcode: 40001, errmsg });
  at.sandbox.inject({ kind: "raw", body, contentType: "application/json", times: 1 });
  const answer = await at.ask(GETTOKEN, { query: { corpid: CORP, corpsecret: "c".repeat(43) } });
  expect(answer.body).toEqual({ errcode: 40001, errmsg });
  expect(answer.headers.get("error-code")).toBe("40001");
  expect(at.sandbox.calls()).toBe(1);
});

test("P1: a hundred cold callers of one application cost one upstream call", async () => {
  await using at = await DropinHarness.create();
  const key = await at.key("one", { apps: [WECOM_APP] });
  const tokens = await Promise.all(
    Array.from({ length: 100 }, (_, n) => at.token("wecom", n % 2 === 0 ? key : WECOM.secret)),
  );
  expect(new Set(tokens).size).toBe(1);
  expect(at.sandbox.calls()).toBe(1);
});
