import { expect, test } from "bun:test";

import { APP, HOUR, OTHER_APP, postOf, SandboxHarness } from "./sandbox-harness.ts";

async function setup(options?: ConstructorParameters<typeof SandboxHarness>[0]) {
  const world = new SandboxHarness(options);
  const access_token = String((await world.stable()).json["access_token"]);
  return { world, access_token, [Symbol.asyncDispose]: () => world.sandbox.stop() };
}

test("a token that is missing, malformed or unknown is refused by its own errcode", async () => {
  await using it = await setup();
  const path = "/cgi-bin/getcallbackip";

  expect((await it.world.weixin(path)).json["errcode"]).toBe(41001);
  expect((await it.world.weixin(path, { access_token: "no token!" })).json["errcode"]).toBe(40014);
  const { json } = await it.world.weixin(path, { access_token: "63_neverissued" });
  expect(json["errcode"]).toBe(40001);
  expect(json["errmsg"]).toMatch(
    /^invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https:\/\/mmbizurl\.cn\/s\/JtxxFh33r rid: \w{8}-\w{8}-\w{8}$/,
  );
});

test("classic and stable tokens are both accepted and bring the addresses", async () => {
  await using it = await setup();
  const classic = String((await it.world.classic()).json["access_token"]);
  for (const access_token of [it.access_token, classic]) {
    const { json } = await it.world.weixin("/cgi-bin/getcallbackip", { access_token });
    expect(json["ip_list"]).toBeArray();
  }
  const { json } = await it.world.weixin("/cgi-bin/get_api_domain_ip", { access_token: it.access_token });
  expect(json["ip_list"]).toBeArray();
});

test("each type has one ticket, which outlives the access token that fetched it", async () => {
  await using it = await setup();
  const ticket = async (type: string, access_token = it.access_token, method = "GET") =>
    (await it.world.weixin("/cgi-bin/ticket/getticket", { access_token, type }, { method })).json;
  const jsapi = await ticket("jsapi");
  const card = await ticket("wx_card");

  expect(jsapi).toMatchObject({ errcode: 0, errmsg: "ok", expires_in: 7200 });
  expect(card["ticket"]).not.toBe(jsapi["ticket"]);
  it.world.clock.advance(HOUR);
  it.world.sandbox.killTokens(APP.appId);
  const next = String((await it.world.stable()).json["access_token"]);
  expect(await ticket("jsapi", next, "POST")).toEqual({ ...jsapi, expires_in: 3600 });
  it.world.clock.advance(HOUR - 1);
  expect((await ticket("jsapi", next))["ticket"]).not.toBe(jsapi["ticket"]);
});

test("a path that the sandbox does not have is an errcode in HTTP 200, and says so", async () => {
  await using it = await setup();
  const reply = await it.world.weixin("/cgi-bin/nothing");
  expect(reply.status).toBe(200);
  expect(reply.type).toBe("application/json; encoding=utf-8");
  expect(reply.json["errcode"]).toBe(40066);
  expect(reply.json["errmsg"]).toContain("the sandbox does not have this path");
});

const QR = { action_name: "QR_STR_SCENE", action_info: { scene: { scene_str: "a" } } };
const DAYS = { begin_date: "2026-01-01", end_date: "2026-01-02" };

test.each([
  ["/cgi-bin/qrcode/create", { ...QR, expire_seconds: 600 }, ["ticket", "expire_seconds", "url"]],
  ["/cgi-bin/qrcode/create", { ...QR, action_name: "QR_LIMIT_SCENE" }, ["ticket", "url"]],
  ["/cgi-bin/qrcode/create", { ...QR, action_name: "QR" }, 40053],
  ["/cgi-bin/callback/check", { action: "all", check_operator: "DEFAULT" }, ["dns", "ping"]],
  ["/datacube/getusersummary", DAYS, ["list"]],
  ["/datacube/getweanalysisappiddailyvisittrend", { begin_date: "20260101", end_date: "20260101" }, ["list"]],
  ["/datacube/getusersummary", { begin_date: "yesterday" }, 61500],
  ["/wxa/getwxacodeunlimit", { scene: "" }, 40129],
  ["/wxa/getwxacodeunlimit", { scene: "a".repeat(33) }, 40129],
  ["/wxa/getwxacodeunlimit", { scene: "a=1", page: "/pages/index" }, 41030],
  ["/cgi-bin/wxaapp/createwxaqrcode", {}, 40159],
] as const)("%s answers %p as WeChat does", async (path, body, wanted) => {
  await using it = await setup();
  const { json } = await it.world.weixinPost(path, { access_token: it.access_token }, body);
  if (typeof wanted === "number") expect(json["errcode"]).toBe(wanted);
  else expect(Object.keys(json)).toEqual([...wanted]);
  expect((await it.world.weixin(path)).json["errcode"]).toBe(41001);
});

test.each([
  ["/wxa/getwxacode", { path: "pages/index" }],
  ["/wxa/getwxacodeunlimit", { scene: "a=1", page: "pages/index" }],
  ["/cgi-bin/wxaapp/createwxaqrcode", { path: "pages/index" }],
])("%s answers with an image to save as a file", async (path, body) => {
  await using it = await setup();
  const query = new URLSearchParams({ access_token: it.access_token });
  const answer = await fetch(`${it.world.sandbox.weixinUrl}${path}?${query.toString()}`, {
    method: "POST",
    body: JSON.stringify(body),
    keepalive: false,
    proxy: false,
  });
  expect(answer.headers.get("content-type")).toBe("image/jpeg");
  expect(answer.headers.get("content-disposition")).toStartWith("attachment;");
  expect((await answer.bytes())[0]).toBe(0xff);
});

test("the type of an upload may be a field of the form", async () => {
  await using it = await setup();
  const body = new FormData();
  body.set("media", new File(["12345"], "a.jpg", { type: "image/jpeg" }));
  const upload = () =>
    it.world.weixin("/cgi-bin/media/upload", { access_token: it.access_token }, { method: "POST", body });
  expect((await upload()).json["errcode"]).toBe(40097);
  body.set("type", "image");
  expect((await upload()).json).toMatchObject({ type: "image", media_id: expect.any(String) });
});

test("a chunked request is refused with HTTP 412", async () => {
  await using it = await setup();
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode("{}"));
      controller.close();
    },
  });
  const reply = await it.world.weixin("/cgi-bin/message/custom/send", {}, { method: "POST", body });
  expect(reply.status).toBe(412);
});

test("a custom message is accepted and counted", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const path = "/cgi-bin/message/custom/send";

  expect((await world.weixinPost(path, { access_token }, { touser: "o1" })).json).toEqual({
    errcode: 0,
    errmsg: "ok",
  });
  expect((await world.weixinPost(path, { access_token }, "")).json["errcode"]).toBe(44002);
  expect((await world.weixin(path, { access_token })).json["errcode"]).toBe(43002);
  expect(world.sandbox.calls(path)).toBe(3);
  const quota = await world.weixinPost("/cgi-bin/openapi/quota/get", { access_token }, { cgi_path: path });
  expect(quota.json).toMatchObject({ errcode: 0, quota: { used: 3 } });
});

test("clearing the quota lets a used-up endpoint work again, ten times a month", async () => {
  await using it = await setup({ switches: { classicPerDay: 1 } });
  const { access_token, world } = it;
  const clear = (appid: string) => world.weixinPost("/cgi-bin/clear_quota", { access_token }, { appid });
  await world.classic();
  expect((await world.classic()).json["errcode"]).toBe(45009);

  expect((await clear(OTHER_APP.appId)).json["errcode"]).toBe(40013);
  expect((await clear(APP.appId)).json["errcode"]).toBe(0);
  expect((await world.classic()).json["access_token"]).toBeString();
  for (let i = 0; i < 9; i++) expect((await clear(APP.appId)).json["errcode"]).toBe(0);
  expect((await clear(APP.appId)).json["errcode"]).toBe(48006);
});

test("the quota can be cleared by secret, from the query or from the body", async () => {
  await using it = await setup();
  const path = "/cgi-bin/clear_quota/v2";
  const right = { appid: APP.appId, appsecret: APP.secret };

  expect((await it.world.weixin(path, right, { method: "POST" })).json["errcode"]).toBe(0);
  expect((await it.world.weixinPost(path, {}, right)).json["errcode"]).toBe(0);
  expect((await it.world.weixinPost(path, {}, { appid: APP.appId })).json["errcode"]).toBe(41004);
});

test("what the quota tool does not cover is 76021", async () => {
  await using it = await setup();
  const { access_token } = it;
  const body = { cgi_path: "/sns/userinfo" };
  expect(
    (await it.world.weixinPost("/cgi-bin/openapi/quota/get", { access_token }, body)).json["errcode"],
  ).toBe(76021);
});

test("an uploaded image comes back byte for byte", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const bytes = new Uint8Array([0xff, 0xd8, 0, 1, 2, 3]);
  const body = new FormData();
  body.set("media", new File([bytes], "照片.jpg", { type: "image/jpeg" }));
  const uploaded = await world.weixin(
    "/cgi-bin/media/upload",
    { access_token, type: "image" },
    { method: "POST", body },
  );
  expect(uploaded.json).toMatchObject({ type: "image", created_at: world.clock.now() / 1000 });

  const media_id = String(uploaded.json["media_id"]);
  const query = new URLSearchParams({ access_token, media_id });
  const media = await fetch(`${world.sandbox.weixinUrl}/cgi-bin/media/get?${query.toString()}`, {
    keepalive: false,
    proxy: false,
  });
  expect(media.headers.get("Content-Type")).toBe("image/jpeg");
  expect(media.headers.get("Content-Disposition")).toBe(`attachment; filename="${media_id}.jpg"`);
  expect(media.headers.get("Connection")).toBe("close");
  expect(new Uint8Array(await media.arrayBuffer())).toEqual(bytes);
});

test("an empty file and an unknown media_id are refused", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const body = new FormData();
  body.set("media", new File([], "empty.jpg", { type: "image/jpeg" }));
  const upload = (init: RequestInit) =>
    world.weixin("/cgi-bin/media/upload", { access_token, type: "image" }, init);

  expect((await upload({ method: "POST", body })).json["errcode"]).toBe(44001);
  expect((await upload(postOf({}))).json["errcode"]).toBe(44001);
  expect((await world.weixin("/cgi-bin/media/get", { access_token, media_id: "x" })).json["errcode"]).toBe(
    40007,
  );
});

test("a video comes back as JSON with its address", async () => {
  await using it = await setup();
  const { access_token, world } = it;
  const body = new FormData();
  body.set("media", new File(["12345"], "a.mp4", { type: "video/mp4" }));
  const uploaded = await world.weixin(
    "/cgi-bin/media/upload",
    { access_token, type: "video" },
    { method: "POST", body },
  );
  const media = await world.weixin("/cgi-bin/media/get", {
    access_token,
    media_id: String(uploaded.json["media_id"]),
  });
  expect(media.json["video_url"]).toBeString();
});
