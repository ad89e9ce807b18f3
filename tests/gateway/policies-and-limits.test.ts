import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/fault.ts";
import type { Action } from "../../src/access/client.ts";
import { createClient, type WantedClient } from "../support/access-harness.ts";
import { Harness } from "../support/harness.ts";
import { ALL_ACTIONS, GatewayHarness, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const INFO = "/cgi-bin/user/get";
const SEND = "/cgi-bin/message/custom/send";
const CHECK = "/wxa/msg_sec_check";
const GRANTS = [{ apps: ["*"], actions: ALL_ACTIONS }];

test.each([
  ["all", { [SEND]: true, [INFO]: true, [CHECK]: true }],
  ["no-messaging", { [SEND]: false, [INFO]: true, [CHECK]: true }],
  ["safe", { [SEND]: false, [INFO]: true, [CHECK]: true, "/cgi-bin/material/del_material": false }],
  ["read-only", { [SEND]: false, [INFO]: true, "/cgi-bin/menu/create": false }],
  ["none", { [SEND]: false, [INFO]: false, [CHECK]: false }],
] as const)("of the preset %s each path is what it says, by token and by key", async (preset, paths) => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual", policy: { preset } } });
  const token = await it.token();
  for (const [path, isAllowed] of Object.entries(paths)) {
    it.sandbox.resetCalls();
    const keyed = { headers: { "x-api-key": it.key } };
    for (const answer of [
      await it.post(`${path}?access_token=${token}`, {}),
      await it.post(`/gateway/${WX_APP}${path}`, {}, keyed),
    ]) {
      expect([path, answer.errcode === 48001]).toEqual([path, !isAllowed]);
      if (!isAllowed) expect(answer.errmsg).toContain(`the client's policy (${preset}) does not allow`);
    }
    expect([path, it.sandbox.calls(path)]).toEqual([path, isAllowed ? 2 : 0]);
  }
});

test("what a client's lists say goes before the preset, in whatever letters and with whatever slashes", async () => {
  const policy = { preset: "no-messaging", allow: [SEND], deny: ["/cgi-bin/user/**"] } as const;
  await using it = await GatewayHarness.create({ client: { policy } });
  const token = await it.token();
  const ask = async (path: string) => (await it.post(`${path}?access_token=${token}`, {})).errcode;
  expect(await ask(SEND)).not.toBe(48001);
  for (const path of [
    INFO,
    "/cgi-bin/User/get",
    "/cgi-bin/user/get/",
    "//cgi-bin//user/get",
    "/cgi-bin/message/template/send",
  ]) {
    expect([path, await ask(path)]).toEqual([path, 48001]);
  }
});

test("on WeCom a refusal by policy is 48002", async () => {
  await using it = await GatewayHarness.create({ client: { policy: { preset: "no-messaging" } } });
  const token = await it.token(WECOM_APP);
  expect((await it.post(`/cgi-bin/message/send?access_token=${token}`, {})).errcode).toBe(48002);
  expect(it.sandbox.calls("/cgi-bin/message/send")).toBe(0);
});

test("a policy that is changed holds for tokens that are out already", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  const path = `${SEND}?access_token=${token}`;
  expect((await it.post(path, { touser: "o" })).errcode).toBe(0);
  const { headers } = await it.world.administer("/v1/clients/program");
  const changed = await it.world.administer("/v1/clients/program", {
    method: "PATCH",
    headers: { "content-type": "application/json", "if-match": headers.get("etag") ?? "" },
    body: JSON.stringify({ policy: { preset: "no-messaging" } }),
  });
  expect(changed.code).toBe(0);
  expect((await it.post(path, { touser: "o" })).errcode).toBe(48001);
});

test("a new client is given virtual tokens: outside prod they reach no user and delete nothing, in prod they do", async () => {
  await using it = await GatewayHarness.create();
  const create = async (environment: string) => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ client: `new-${environment}`, environment, grants: GRANTS });
    await it.world.administer("/v1/clients", { method: "POST", headers, body });
    const { data } = await it.world.administer(`/v1/clients/new-${environment}/keys`, {
      method: "POST",
      headers,
      body: "{}",
    });
    return it.token(WX_APP, String(data["api_key"]));
  };
  const [dev, prod] = [await create("dev"), await create("prod")];
  for (const token of [dev, prod]) expect(token).toStartWith("atv1_");
  for (const path of [SEND, "/cgi-bin/draft/delete", "/cgi-bin/tags/members/batchblacklist"])
    expect([path, (await it.post(`${path}?access_token=${dev}`, { touser: "o" })).errcode]).toEqual([
      path,
      48001,
    ]);
  expect((await it.send(`${INFO}?access_token=${dev}`)).errcode).toBeUndefined();
  expect((await it.post(`${SEND}?access_token=${prod}`, { touser: "o" })).errcode).toBe(0);
});

test("a client's requests a second hold at the gateway: 45011, on WeCom 45009, and say when to come again", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual", rateLimit: 1 } });
  const wx = await it.token();
  it.world.clock.advance(60_000);
  const wecom = await it.token(WECOM_APP);
  it.world.clock.advance(60_000);
  const answers = [];
  for (let n = 0; n < 25; n++) answers.push(await it.send(`${INFO}?access_token=${wx}`));
  const refused = answers.find(({ errcode }) => errcode !== undefined);
  expect(refused?.errcode).toBe(45011);
  expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await it.send(`/cgi-bin/department/list?access_token=${wecom}`)).errcode).toBe(45009);
  it.world.clock.advance(60_000);
  expect((await it.send(`${INFO}?access_token=${wx}`)).errcode).toBeUndefined();
});

test("more calls at once than a client may have are refused, and each one that ends makes room for one", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual", concurrency: 2 } });
  const token = await it.token();
  const path = `${INFO}?access_token=${token}`;
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: INFO, times: 2 });
  const underWay = [it.send(path), it.send(path)];
  await gate.arrived(2);
  const refused = await it.send(path);
  expect([refused.errcode, refused.headers.get("retry-after")]).toEqual([45011, "1"]);
  const other = await createClient(it.world, { name: "other", grants: GRANTS });
  expect(
    (await it.send(`/gateway/${WX_APP}${INFO}`, { headers: { "x-api-key": other } })).errcode,
  ).toBeUndefined();
  gate.open();
  await Promise.all(underWay);
  for (let n = 0; n < 5; n++) expect((await it.send(path)).errcode).toBeUndefined();
});

test("calls with a user's own token count among a client's calls at once", async () => {
  await using it = await GatewayHarness.create({ client: { concurrency: 1 } });
  const headers = { "x-api-key": it.key };
  const path = "/sns/userinfo?access_token=x&openid=y";
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: "/sns/userinfo", times: 1 });
  const underWay = it.send(path, { headers });
  await gate.arrived();
  expect((await it.send(path, { headers })).errcode).toBe(45011);
  gate.open();
  await underWay;
  expect((await it.send(path, { headers })).errcode).toBe(40001);
});

test("a user's own token takes a client with login or api:call, whose policy allows the path", async () => {
  await using it = await GatewayHarness.create();
  const path = "/sns/userinfo?access_token=x&openid=y";
  const ask = async (wanted: Omit<WantedClient, "name">, name: string) => {
    const key = await createClient(it.world, { name, ...wanted });
    return (await it.send(path, { headers: { "x-api-key": key } })).errcode;
  };
  const on = (action: Action) => [{ apps: [WX_APP], actions: [action] }];
  expect(await ask({ grants: [] }, "nothing")).toBe(48001);
  expect(await ask({ grants: on("token:read") }, "reads")).toBe(48001);
  expect(it.sandbox.calls("/sns/userinfo")).toBe(0);
  expect(await ask({ grants: on("login") }, "logs-in")).toBe(40001);
  expect(await ask({ grants: on("api:call") }, "calls")).toBe(40001);
  expect(await ask({ grants: [{ apps: ["*"], actions: ["admin"] }] }, "admin")).toBe(40001);
  expect(await ask({ grants: on("login"), policy: { preset: "read-only" } }, "read-only")).toBe(40001);
  for (const policy of [{ preset: "none" }, { preset: "all", deny: ["/sns/**"] }] as const)
    expect(await ask({ grants: on("login"), policy }, `policy-${policy.preset}`)).toBe(48001);
  expect(it.sandbox.calls("/sns/userinfo")).toBe(4);
});

test.each(["/gateway/x/cgi-bin/user/get", "/made/up", "/v1/apps", "/cgi-binx/y", "/constructor/x"])(
  "what is no path of the platform's (%s) does not go up",
  async (path) => {
    await using it = await GatewayHarness.create();
    const headers = { "x-api-key": it.key };
    for (const app of [WX_APP, WECOM_APP])
      expect((await it.send(`/gateway/${app}${path}`, { headers })).errcode).toBe(40066);
    expect((await it.send(`/gateway/${WECOM_APP}/wxa/x`, { headers })).errcode).toBe(40066);
    expect(it.sandbox.calls()).toBe(0);
  },
);

test("a call whose client is removed while its body comes in does not go up", async () => {
  await using it = await GatewayHarness.create();
  const key = await createClient(it.world, { name: "uploader", grants: GRANTS, concurrency: 1 });
  const late = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      controller.enqueue(new TextEncoder().encode('{"touser":'));
      await late.promise;
      controller.enqueue(new TextEncoder().encode('"o"}'));
      controller.close();
    },
  });
  const path = `/gateway/${WX_APP}${SEND}`;
  const call = it.send(path, { method: "POST", body, headers: { "x-api-key": key } });
  const headers = { "x-api-key": key };
  await Harness.until(
    async () => (await it.send(`/gateway/${WX_APP}${INFO}`, { headers })).errcode === 45011,
  );
  const removed = await it.world.administer("/v1/clients/uploader", { method: "DELETE" });
  expect(removed.code).toBe(0);
  late.resolve();
  expect((await call).errcode).toBe(40125);
  expect(it.sandbox.calls(SEND)).toBe(0);
});

test("each of several workers lets its share of a client's calls at once through", async () => {
  await using it = await GatewayHarness.create({
    workers: 2,
    client: { delivery: "virtual", concurrency: 2 },
  });
  const path = `${INFO}?access_token=${await it.token()}`;
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: INFO, times: 1 });
  const underWay = it.send(path);
  await gate.arrived(1);
  expect((await it.send(path)).errcode).toBe(45011);
  gate.open();
  await underWay;
  expect((await it.send(path)).errcode).toBeUndefined();
});

test("whatever way a call ends, its place is free again", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual", concurrency: 1 } });
  const token = await it.token();
  const path = `${INFO}?access_token=${token}`;
  const media = `/cgi-bin/media/get?access_token=${token}&media_id=x`;
  const large = { kind: "raw", contentType: "image/jpeg", body: "x".repeat(3_000_000), times: 1 } as const;
  it.sandbox.inject({ kind: "reset_after", endpoint: INFO, times: 1 });
  expect((await it.send(path)).errcode).toBe(502);
  expect((await it.post(`${SEND}?access_token=${token}`, { touser: "o" })).errcode).toBe(0);
  it.sandbox.inject({ ...large, endpoint: "/cgi-bin/media/get" });
  expect((await it.send(media)).text).toHaveLength(3_000_000);
  // One that its caller gives up before the answer is there, and one in the middle of it.
  const gate = new Gate();
  it.sandbox.inject({ kind: "gate", gate, endpoint: INFO, times: 1 });
  const early = new AbortController();
  const given = it.send(path, { signal: early.signal }).catch(() => "given up");
  await gate.arrived();
  early.abort();
  expect(await given).toBe("given up");
  gate.open();
  await Harness.until(async () => (await it.send(path)).errcode === undefined);
  it.sandbox.inject({ ...large, endpoint: "/cgi-bin/media/get" });
  const late = new AbortController();
  const response = await fetch(it.url + media, { signal: late.signal });
  await response.body?.getReader().read();
  late.abort();
  await Harness.until(async () => (await it.send(path)).errcode === undefined);
  expect((await it.send(path)).errcode).toBeUndefined();
});
