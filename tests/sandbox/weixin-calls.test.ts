import { expect, test } from "bun:test";
import { APP, OTHER_APP, SandboxHarness } from "./sandbox-harness.ts";

async function setup() {
  const world = new SandboxHarness();
  const access_token = String((await world.stable()).json["access_token"]);
  const get = async (path: string, query: Record<string, string> = {}) =>
    (await world.weixin(path, { access_token, ...query })).json;
  const post = async (path: string, body: unknown) =>
    (await world.weixinPost(path, { access_token }, body)).json;
  return { world, access_token, get, post, [Symbol.asyncDispose]: () => world.sandbox.stop() };
}

test("a template message gets a number and a subscribe message none; both need a user and a template", async () => {
  await using it = await setup();
  const message = { touser: "o1", template_id: "t", data: {} };
  const [template, subscribe] = ["/cgi-bin/message/template/send", "/cgi-bin/message/subscribe/send"];
  expect(await it.post(template, message)).toEqual({ errcode: 0, errmsg: "ok", msgid: 1 });
  expect(await it.post(template, message)).toMatchObject({ msgid: 2 });
  expect(await it.post(subscribe, message)).toEqual({ errcode: 0, errmsg: "ok" });
  for (const path of [template, subscribe]) {
    expect((await it.post(path, { ...message, touser: "" }))["errcode"]).toBe(40003);
    expect((await it.post(path, { touser: "o1" }))["errcode"]).toBe(40037);
    expect((await it.post(path, ""))["errcode"]).toBe(44002);
    expect((await it.get(path))["errcode"]).toBe(43002);
  }
});

test("a menu is there once it was made", async () => {
  await using it = await setup();
  const button = [{ type: "click", name: "今日", key: "K" }];
  expect((await it.get("/cgi-bin/menu/get"))["errcode"]).toBe(46003);
  expect((await it.post("/cgi-bin/menu/create", { button: [] }))["errcode"]).toBe(40016);
  expect((await it.post("/cgi-bin/menu/create", { button }))["errcode"]).toBe(0);
  expect(await it.get("/cgi-bin/menu/get")).toEqual({ menu: { button } });
});

test("followers are listed, the rest behind an openid, and each can be asked for", async () => {
  await using it = await setup();
  const all = await it.get("/cgi-bin/user/get");
  expect(all).toMatchObject({ total: 3, count: 3 });
  const next_openid = String(all["next_openid"]);
  expect(await it.get("/cgi-bin/user/get", { next_openid })).toEqual({ total: 3, count: 0, next_openid: "" });
  expect((await it.get("/cgi-bin/user/get", { next_openid: "x" }))["errcode"]).toBe(40003);
  expect(await it.get("/cgi-bin/user/info", { openid: next_openid })).toMatchObject({ subscribe: 1 });
  expect((await it.get("/cgi-bin/user/info"))["errcode"]).toBe(40003);
});

test("a code brings a phone number once", async () => {
  await using it = await setup();
  const ask = (code: string) => it.post("/wxa/business/getuserphonenumber", { code });
  expect(await ask("sandbox-code-1")).toMatchObject({
    errcode: 0,
    phone_info: { countryCode: "86", watermark: { appid: APP.appId } },
  });
  expect((await ask("sandbox-code-1"))["errcode"]).toBe(40029);
  expect((await ask("another"))["errcode"]).toBe(40029);
});

test("a mini program code is an image, and JSON when it can't be made", async () => {
  await using it = await setup();
  const ask = (body: object) =>
    it.world.weixinPost("/wxa/getwxacode", { access_token: it.access_token }, body);
  const image = await ask({ path: "pages/index" });
  expect([image.status, image.type]).toEqual([200, "image/jpeg"]);
  const refused = await ask({});
  expect([refused.type, refused.json["errcode"]]).toEqual(["application/json; encoding=utf-8", 40159]);
});

test("a risky text is an errcode in the first version and a result in the second", async () => {
  await using it = await setup();
  const check = (body: object) => it.post("/wxa/msg_sec_check", body);
  expect((await check({ content: "fine" }))["errcode"]).toBe(0);
  expect((await check({ content: "risky" }))["errcode"]).toBe(87014);
  expect(await check({ content: "fine", version: 2 })).toMatchObject({ result: { suggest: "pass" } });
  expect(await check({ content: "risky", version: 2 })).toMatchObject({
    errcode: 0,
    result: { suggest: "risky" },
  });
  expect((await check({}))["errcode"]).toBe(44002);
});

test("a request can be looked up by its id, with its token, and by nobody else", async () => {
  await using it = await setup();
  const { errmsg } = await it.get("/cgi-bin/menu/get");
  const rid = String(errmsg).split("rid: ")[1];
  const { request } = await it.post("/cgi-bin/openapi/rid/get", { rid });
  expect(request).toMatchObject({
    invoke_time: it.world.clock.now() / 1000,
    request_url: `cgi-bin/menu/get?access_token=${it.access_token}`,
    response_body: JSON.stringify({ errcode: 46003, errmsg }),
    client_ip: "127.0.0.1",
  });
  expect((await it.post("/cgi-bin/openapi/rid/get", { rid: "x" }))["errcode"]).toBe(76001);
  const access_token = String((await it.world.stable(false, OTHER_APP)).json["access_token"]);
  const other = await it.world.weixinPost("/cgi-bin/openapi/rid/get", { access_token }, { rid });
  expect(other.json["errcode"]).toBe(76003);
});

test("every call needs a live token before anything else", async () => {
  await using it = await setup();
  it.world.sandbox.killTokens(APP.appId);
  for (const path of [
    "/cgi-bin/material/add_material",
    "/cgi-bin/material/get_material",
    "/cgi-bin/media/uploadimg",
    "/cgi-bin/menu/create",
    "/cgi-bin/menu/get",
    "/cgi-bin/message/subscribe/send",
    "/cgi-bin/message/template/send",
    "/cgi-bin/openapi/rid/get",
    "/cgi-bin/user/get",
    "/cgi-bin/user/info",
    "/wxa/business/getuserphonenumber",
    "/wxa/getwxacode",
    "/wxa/msg_sec_check",
  ]) {
    expect((await it.get(path))["errcode"], path).toBe(40001);
  }
});
