import { expect, test } from "bun:test";
import { GatewayHarness, rawGatewayWorld, WX_APP } from "../gateway/gateway-harness.ts";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { httpAnswer } from "../support/answering-server.ts";
import { WX } from "../support/harness.ts";

const CALL = `/v1/apps/${WX_APP}/call`;
const INFO = "/cgi-bin/user/get";
const SEND = "/cgi-bin/message/custom/send";
const GRANTS = [{ apps: ["*"], actions: ["api:call"] }] as const;

/** What asks of a world's routes with a key. */
function asking(it: GatewayHarness, key: string) {
  const headers = { "x-api-key": key, "content-type": "application/json" };
  return {
    call: (body: object) => it.world.request(CALL, { method: "POST", headers, body: JSON.stringify(body) }),
    preview: (path: string, as?: string) =>
      it.world.request(`${CALL}?${new URLSearchParams({ path, ...(as && { as }) }).toString()}`, { headers }),
  };
}

/** An administrator, and a client that may read only and has virtual tokens. */
async function setup() {
  const it = await GatewayHarness.create({
    client: { grants: GRANTS, policy: { preset: "read-only" }, delivery: "virtual" },
  });
  const admin = asking(it, await createAdmin(it.world));
  return { it, admin, program: asking(it, it.key), [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() };
}

test("the whole answer of a call comes as data, with what it took, and the token is nowhere in it", async () => {
  await using t = await setup();
  const { status, text, data } = await t.program.call({ method: "GET", path: INFO, query: "next_openid=" });
  expect(status).toBe(200);
  expect(data).toMatchObject({ status: 200, truncated: false, healing: "none", family: "/cgi-bin/user" });
  expect(data).toMatchObject({ effect: "reads", policy: "read-only", bytes: data["body"].length });
  expect(JSON.parse(data["body"])).toHaveProperty("total");
  expect(data["headers"]).toMatchObject({ "trace-id": JSON.parse(text)["trace_id"] });
  expect(Number.isInteger(data["duration_ms"])).toBeTrue();
  expect(text).not.toContain(await t.it.realToken());
  expect(t.it.sandbox.calls(INFO)).toBe(1);
});

test("an administrator at the service's own machine calls without a key", async () => {
  await using t = await setup();
  const body = JSON.stringify({ method: "GET", path: INFO });
  const headers = { "content-type": "application/json" };
  const answer = await t.it.world.service.handle(
    new Request(`http://localhost${CALL}`, { method: "POST", headers, body }),
  );
  expect([answer.status, await answer.json()]).toMatchObject([200, { code: 0, data: { status: 200 } }]);
});

test("what WeChat refuses is the answer, and a rejected token is healed and said to be", async () => {
  await using t = await setup();
  const ask = () => t.admin.call({ method: "GET", path: INFO });
  await ask();
  t.it.sandbox.killTokens(WX.appId);
  t.it.sandbox.resetCalls();
  expect((await ask()).data).toMatchObject({ status: 200, healing: "healed" });
  expect(t.it.sandbox.calls(INFO)).toBe(2);
  t.it.sandbox.inject({ kind: "error", errcode: 48001, endpoint: INFO, times: 1 });
  const { status, data } = await ask();
  expect([status, JSON.parse(data["body"])["errcode"]]).toEqual([200, 48001]);
});

test("a path that does not only read is called when the app's name confirms it, and else not", async () => {
  await using t = await setup();
  const message = { method: "POST", path: SEND, body: '{"touser":"o"}' };
  for (const confirm of [undefined, "", "wx0000000000000001", WX_APP.toUpperCase()]) {
    const { status, msg } = await t.admin.call({ ...message, ...(confirm === undefined ? {} : { confirm }) });
    expect([confirm, status, msg.includes("confirm")]).toEqual([confirm, 400, true]);
  }
  expect(t.it.sandbox.calls(SEND)).toBe(0);
  const { data } = await t.admin.call({ ...message, confirm: WX_APP });
  expect(data).toMatchObject({ effect: "messages", body: '{"errcode":0,"errmsg":"ok"}' });
  expect(t.it.sandbox.calls(SEND)).toBe(1);
  // Nobody knows what a path does that is on no list.
  expect((await t.admin.call({ method: "GET", path: "/cgi-bin/user/unheard_of" })).status).toBe(400);
});

test("P7: an administrator calls as another client, sees what refuses it, and the audit has both names", async () => {
  await using t = await setup();
  const message = { method: "POST", path: SEND, body: "{}", confirm: WX_APP, as: "program" };
  const { status, data } = await t.admin.call(message);
  expect([status, data["status"], data["policy"]]).toEqual([200, 200, "read-only"]);
  expect(JSON.parse(data["body"])).toMatchObject({
    errcode: 48001,
    errmsg: expect.stringContaining("policy (read-only)"),
  });
  expect(t.it.sandbox.calls(SEND)).toBe(0);
  expect((await t.admin.call({ method: "GET", path: INFO, as: "program" })).data).toMatchObject({
    body: expect.stringContaining("total"),
  });
  const entries = (await t.it.world.administer("/v1/audit?limit=2")).data["entries"];
  const entry = { client: "admin", action: "gateway.called_as", app: WX_APP, outcome: "ok" };
  expect(entries).toMatchObject([
    { ...entry, detail: { client: "program", method: "GET", path: "/cgi-bin/user/**" } },
    { ...entry, detail: { client: "program", method: "POST", path: "/cgi-bin/message/**" } },
  ]);
  await t.it.world.stop();
  await t.it.world.start();
  const { data: usage } = await t.it.world.administer("/v1/audit/usage");
  const uses = (usage["usage"] as { client: string; action: string }[]).filter(({ action }) =>
    action.startsWith("api:call"),
  );
  expect(uses).toMatchObject([{ client: "admin", action: "api:call /cgi-bin/user" }]);
  expect((await t.it.world.administer("/v1/audit/denials")).data["denials"]).toEqual([]);
});

test("nobody but an administrator calls as another, and only as a client that could call itself", async () => {
  await using t = await setup();
  const ask = async (by: typeof t.admin, as: string) => {
    const { status } = await by.call({ method: "GET", path: INFO, as });
    return [status, (await by.preview(INFO, as)).status];
  };
  await createClient(t.it.world, { name: "other", grants: GRANTS });
  expect(await ask(t.program, "other")).toEqual([403, 403]);
  expect(await ask(t.program, "program")).toEqual([403, 403]);
  expect(await ask(t.admin, "other")).toEqual([200, 200]);
  expect(await ask(t.admin, "nobody")).toEqual([404, 404]);
  const [key] = (await t.it.world.administer("/v1/clients/other/keys")).data["keys"];
  await t.it.world.administer(`/v1/clients/other/keys/${key["key"]}`, { method: "DELETE" });
  expect(await ask(t.admin, "other")).toEqual([409, 409]);
  const none = {
    name: "elsewhere",
    grants: [{ apps: ["wx0000000000000009"], actions: ["api:call"] }],
  } as const;
  await createClient(t.it.world, none);
  const { data } = await t.admin.call({ method: "GET", path: INFO, as: "elsewhere" });
  expect(JSON.parse(data["body"])).toMatchObject({ errcode: 48001 });
  expect(t.it.sandbox.calls(INFO)).toBe(1);
});

test("P7: what one's own policy refuses is a refusal as anywhere, and counted as a denial", async () => {
  await using t = await setup();
  const { status, msg } = await t.program.call({ method: "POST", path: SEND, body: "{}", confirm: WX_APP });
  expect([status, msg.includes("policy (read-only)")]).toEqual([403, true]);
  await t.it.world.stop();
  await t.it.world.start();
  const { data } = await t.it.world.administer("/v1/audit/denials");
  expect(data["denials"]).toMatchObject([{ client: "program", route: "/v1/apps/:app/call", code: 403 }]);
});

test("a path that could be read as another is refused, whoever asks and as whom", async () => {
  await using t = await setup();
  for (const path of [
    "/../../cgi-bin/token",
    "/cgi-bin/../user/get",
    "/cgi-bin/./user/get",
    "/cgi-bin//user/get",
    "/cgi-bin/%2e%2e/token",
    "/cgi-bin/user/get?x",
    "/cgi-bin/user/get#x",
    "cgi-bin/user/get",
    "/",
    "",
  ])
    expect([path, (await t.admin.call({ method: "GET", path, confirm: WX_APP })).status]).toEqual([
      path,
      400,
    ]);
  for (const query of ["a#b", "a b", "access_token=1&access_token=2"])
    expect([query, (await t.admin.call({ method: "GET", path: INFO, query })).status]).toEqual([query, 400]);
  expect((await t.admin.call({ method: "GET", path: INFO, body: "{}" })).status).toBe(400);
  expect((await t.admin.call({ method: "GET", path: "/cgi-bin/stable_token", confirm: WX_APP })).status).toBe(
    403,
  );
  expect(t.it.sandbox.calls(INFO)).toBe(0);
});

test("of a long answer the beginning is shown, and of one that is no text its length", async () => {
  const bodies = new Map<string, string | Uint8Array>([
    ["/cgi-bin/user/info", "字".repeat(100_000)],
    ["/cgi-bin/user/get", Buffer.from([0x89, 0x50, 0x4e, 0x47])],
  ]);
  await using t = await rawGatewayWorld(({ text, socket }) => {
    const [, path = ""] = /^\S+ ([^?]+)/.exec(text) ?? [];
    socket.write(httpAnswer(bodies.get(path) ?? "", { "content-type": "application/octet-stream" }));
  });
  const { call } = asking(t.it, await createAdmin(t.it.world));
  const long = (await call({ method: "GET", path: "/cgi-bin/user/info" })).data;
  expect(long).toMatchObject({ truncated: true, bytes: 262_144, body: "字".repeat(87_381) });
  const image = (await call({ method: "GET", path: "/cgi-bin/user/get" })).data;
  expect(image).toMatchObject({ truncated: false, bytes: 4, body: null });
});

test("before a call its effect, the policy's verdict and known paths are shown, of a client as of oneself", async () => {
  await using t = await setup();
  const of = async (path: string, as?: string) => (await t.admin.preview(path, as)).data;
  expect(await of(SEND)).toMatchObject({ effect: "messages", allowed: true, policy: "all" });
  expect(await of(SEND, "program")).toMatchObject({
    effect: "messages",
    allowed: false,
    policy: "read-only",
  });
  expect((await of(SEND, "program"))["reason"]).toContain("policy (read-only)");
  expect(await of(INFO, "program")).toMatchObject({
    effect: "reads",
    allowed: true,
    family: "/cgi-bin/user",
  });
  expect(await of("/cgi-bin/unheard_of")).toMatchObject({ effect: "writes", known: [] });
  const { known } = await of("/cgi-bin/message", "program");
  expect(known.length).toBeGreaterThan(3);
  for (const each of known) expect(each).toMatchObject({ path: expect.stringContaining("/cgi-bin/message") });
  expect(known).toContainEqual({ path: "/cgi-bin/message/mass/get", effect: "reads", allowed: true });
  expect(known).toContainEqual({ path: "/cgi-bin/message/", effect: "messages", allowed: false });
  expect(known).toContainEqual({ path: SEND, effect: "messages", allowed: false });
  expect((await of("/")).known).toHaveLength(50);
});
