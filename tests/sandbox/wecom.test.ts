import { expect, test } from "bun:test";

import { HOUR, OTHER_AGENT, SandboxHarness, WECOM_APP } from "./sandbox-harness.ts";

async function setup(options?: ConstructorParameters<typeof SandboxHarness>[0]) {
  const world = new SandboxHarness(options);
  const access_token = String((await world.corpToken()).json["access_token"]);
  return { world, access_token, [Symbol.asyncDispose]: () => world.sandbox.stop() };
}

test("each secret has one token, which comes again until it ends", async () => {
  await using it = await setup();
  it.world.clock.advance(HOUR);
  const again = await it.world.corpToken();

  expect(again.type).toBe("application/json; charset=utf-8");
  expect(again.json).toEqual({ errcode: 0, errmsg: "ok", access_token: it.access_token, expires_in: 3600 });
  expect((await it.world.corpToken(OTHER_AGENT)).json["access_token"]).not.toBe(it.access_token);
  it.world.clock.advance(HOUR);
  expect(await it.world.tryCorpToken(it.access_token)).toBe(42001);
  const next = (await it.world.corpToken()).json;
  expect(next["access_token"]).not.toBe(it.access_token);
  expect(next["expires_in"]).toBe(7200);
});

test("an error is in the body and in the headers, with the caller's address", async () => {
  await using it = await setup();
  const reply = await it.world.corpToken({ ...WECOM_APP, secret: "wrong" });

  expect(reply.status).toBe(200);
  expect(reply.json["errcode"]).toBe(40001);
  expect(reply.json["errmsg"]).toMatch(
    /^invalid credential, hint: \[\d{25}\], from ip: 127\.0\.0\.1, more info at https:\/\/open\.work\.weixin\.qq\.com\/devtool\/query\?e=40001$/,
  );
  expect(reply.headers.get("Error-Code")).toBe("40001");
  expect(reply.headers.get("Error-Msg")).toBe(String(reply.json["errmsg"]));
});

test("a missing secret is reported before an unknown corp, and that before a wrong secret", async () => {
  await using it = await setup();
  const errcode = async (corpid: string, corpsecret: string) =>
    (await it.world.wecom("/cgi-bin/gettoken", { corpid, corpsecret })).json["errcode"];

  expect(await errcode("ww-nobody", "")).toBe(41004);
  expect(await errcode("ww-nobody", "wrong")).toBe(40013);
  expect(await errcode(WECOM_APP.corpId, "wrong")).toBe(40001);
});

test("too many wrong secrets within an hour shut the address out for an hour, every app with it", async () => {
  await using it = await setup({ switches: { wecomWrongSecrets: 3 } });
  const wrong = () => it.world.corpToken({ ...WECOM_APP, secret: "wrong" });
  await wrong();
  it.world.clock.advance(HOUR);
  await wrong();
  await wrong();
  expect((await it.world.corpToken()).json["errcode"]).toBe(0);

  await wrong();
  expect((await it.world.corpToken(OTHER_AGENT)).json["errcode"]).toBe(45009);
  it.world.sandbox.switches.peerIp = "10.0.0.9";
  expect((await it.world.corpToken()).json["errcode"]).toBe(0);
  it.world.sandbox.switches.peerIp = undefined;
  it.world.clock.advance(HOUR - 1);
  expect((await it.world.corpToken()).json["errcode"]).toBe(45009);
  it.world.clock.advance(1);
  expect((await it.world.corpToken()).json["errcode"]).toBe(0);
});

test("trusted addresses guard the business calls and not gettoken", async () => {
  await using it = await setup({ wecomApp: { trustedIps: ["10.0.0.1"] } });
  expect((await it.world.corpToken()).json["errcode"]).toBe(0);
  expect(await it.world.tryCorpToken(it.access_token)).toBe(60020);
  it.world.sandbox.changeWecomApp(WECOM_APP.corpId, WECOM_APP.agent, { trustedIps: ["127.0.0.1"] });
  expect(await it.world.tryCorpToken(it.access_token)).toBe(0);
});

test("a token is read from the query alone, and an error carries the empty fields of its API", async () => {
  await using it = await setup();
  const headers = { Authorization: `Bearer ${it.access_token}` };
  const missing = await it.world.wecom("/cgi-bin/getcallbackip", {}, { headers });

  expect(missing.json).toMatchObject({ errcode: 41001, ip_list: [] });
  expect(await it.world.tryCorpToken("fake")).toBe(40014);
  expect(await it.world.tryCorpToken("not a token")).toBe(40014);
  it.world.sandbox.killTokens(WECOM_APP.corpId);
  expect(await it.world.tryCorpToken(it.access_token)).toBe(40014);
  expect((await it.world.corpToken()).json["access_token"]).not.toBe(it.access_token);
});

test("a path that the sandbox does not have is HTTP 404, and says so", async () => {
  await using it = await setup();
  const reply = await it.world.wecom("/cgi-bin/nothing");
  expect(reply.status).toBe(404);
  expect(reply.text).toContain("the sandbox does not have this path");
});

test("the tickets of corp and app are different and come again while they last", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const corp = await world.wecom("/cgi-bin/get_jsapi_ticket", { access_token });
  const app = await world.wecom("/cgi-bin/ticket/get", { access_token, type: "agent_config" });

  expect(corp.json).toMatchObject({ errcode: 0, errmsg: "ok", expires_in: 7200 });
  expect(app.json["ticket"]).not.toBe(corp.json["ticket"]);
  world.clock.advance(HOUR);
  const again = await world.wecom("/cgi-bin/get_jsapi_ticket", { access_token });
  expect(again.json).toEqual({ ...corp.json, expires_in: 3600 });
  expect((await world.wecom("/cgi-bin/ticket/get", { access_token })).json["errcode"]).toBe(40058);
});

test("ticket calls are limited per hour", async () => {
  await using it = await setup({ switches: { wecomTicketsPerAppHour: 1 } });
  const ticket = () => it.world.wecom("/cgi-bin/get_jsapi_ticket", { access_token: it.access_token });
  await ticket();
  expect((await ticket()).json).toMatchObject({ errcode: 45009, ticket: "", expires_in: 0 });
});

test("a member and a stranger are told apart, in the new and in the old form", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const ask = async (path: string, code: string) => (await world.wecom(path, { access_token, code })).json;

  const member = await ask("/cgi-bin/auth/getuserinfo", "sandbox-code-1");
  expect(Object.keys(member)).toEqual(["errcode", "errmsg", "userid"]);
  const stranger = await ask("/cgi-bin/auth/getuserinfo", "sandbox-code-external");
  expect(Object.keys(stranger)).toEqual(["errcode", "errmsg", "openid", "external_userid"]);
  expect(await ask("/cgi-bin/auth/getuserinfo", "sandbox-code-private")).toContainKey("user_ticket");
  expect(await ask("/cgi-bin/user/getuserinfo", "sandbox-code-2")).toContainKeys(["UserId", "DeviceId"]);
  expect(await ask("/cgi-bin/user/getuserinfo", "sandbox-code-external-2")).toContainKeys([
    "OpenId",
    "DeviceId",
  ]);
  expect((await ask("/cgi-bin/auth/getuserinfo", "sandbox-code-1"))["errcode"]).toBe(42022);
  expect((await ask("/cgi-bin/auth/getuserinfo", "another"))["errcode"]).toBe(40029);
  expect((await ask("/cgi-bin/auth/getuserinfo", ""))["errcode"]).toBe(41008);
});

test("a mini program login inside WeCom brings corp, member and session key", async () => {
  await using it = await setup();
  const query = {
    access_token: it.access_token,
    js_code: "sandbox-code-1",
    grant_type: "authorization_code",
  };
  const { json } = await it.world.wecom("/cgi-bin/miniprogram/jscode2session", query);
  expect(json).toMatchObject({ errcode: 0, corpid: WECOM_APP.corpId });
  expect(Object.keys(json)).toEqual(["corpid", "userid", "session_key", "errcode", "errmsg"]);
  expect(json["userid"]).toBeString();
  expect(Buffer.from(String(json["session_key"]), "base64")).toHaveLength(16);
});

test("a login's error has the text that names the caller, in body and headers, and no field beside it", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  for (const path of ["/cgi-bin/auth/getuserinfo", "/cgi-bin/miniprogram/jscode2session"]) {
    const bad = { access_token, code: "no-code", js_code: "no-code", grant_type: "authorization_code" };
    for (const [query, errcode] of [
      [bad, 40029],
      [{ ...bad, access_token: "neverIssuedByAnybody0" }, 40014],
      [{ ...bad, access_token: "" }, 41001],
    ] as const) {
      const reply = await world.wecom(path, query);
      expect([reply.status, reply.type]).toEqual([200, "application/json; charset=utf-8"]);
      expect(Object.keys(reply.json)).toEqual(["errcode", "errmsg"]);
      expect(reply.headers.get("Error-Code")).toBe(String(errcode));
      expect(reply.json["errmsg"]).toEndWith(`https://open.work.weixin.qq.com/devtool/query?e=${errcode}`);
    }
  }
});

test("a message goes out only in the name of the token's own agent", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const send = async (agentid: unknown) =>
    (await world.wecomPost("/cgi-bin/message/send", { access_token }, { agentid })).json["errcode"];
  expect(await send(Number(WECOM_APP.agent))).toBe(0);
  expect(await send(OTHER_AGENT.agent)).toBe(301002);
});

test("an uploaded file comes back, and its time is text", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const body = new FormData();
  body.set("media", new File(["hello"], "a.txt", { type: "text/plain" }));
  const uploaded = await world.wecom(
    "/cgi-bin/media/upload",
    { access_token, type: "file" },
    { method: "POST", body },
  );
  expect(uploaded.json).toMatchObject({
    errcode: 0,
    type: "file",
    created_at: String(world.clock.now() / 1000),
  });
  const media_id = String(uploaded.json["media_id"]);
  expect((await world.wecom("/cgi-bin/media/get", { access_token, media_id })).text).toBe("hello");
});

test("a member and the departments can be read, and errors carry the empty fields and the headers", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const member = await world.wecom("/cgi-bin/user/get", { access_token, userid: "zhangsan" });
  expect(member.json).toMatchObject({
    errcode: 0,
    userid: "zhangsan",
    department: [1],
    order: [0],
    is_leader_in_dept: [0],
  });
  const stranger = await world.wecom("/cgi-bin/user/get", { access_token, userid: "no such one" });
  expect(stranger.headers.get("Error-Code")).toBe("60111");
  const departments = await world.wecom("/cgi-bin/department/list", { access_token });
  expect(departments.json).toMatchObject({ errcode: 0, department: [{ id: 1, parentid: 0 }] });
  const refused = await world.wecom("/cgi-bin/department/list", { access_token: "fake" });
  expect(refused.json).toMatchObject({ errcode: 40014, department: [] });
  expect(refused.headers.get("Error-Code")).toBe("40014");
});

test("a medium that is not there is an error in the headers too", async () => {
  await using it = await setup();
  const { access_token } = it;
  const reply = await it.world.wecom("/cgi-bin/media/get", { access_token, media_id: "x" });
  expect([reply.json["errcode"], reply.headers.get("Error-Code")]).toEqual([40007, "40007"]);
  expect(reply.headers.get("Error-Msg")).toBe(String(reply.json["errmsg"]));
});

test("calls in debug mode are counted and shown", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  await world.wecom("/cgi-bin/getcallbackip", { access_token, debug: "1" });
  await world.wecom("/cgi-bin/getcallbackip", { access_token, debug: "0" });
  expect(world.sandbox.debugCalls()).toBe(1);
  expect(world.sandbox.state()).toMatchObject({ wecom_debug_calls: 1 });
  world.sandbox.resetCalls();
  expect(world.sandbox.debugCalls()).toBe(0);
});
