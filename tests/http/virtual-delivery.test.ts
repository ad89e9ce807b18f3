import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { join } from "node:path";
import { rotateMasterKey } from "../../src/store/sqlite/rotate-master-key.ts";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { type Answer, CORP, WECOM, Harness, type WorldOptions, WX, WX_FOREIGN } from "../support/harness.ts";

const APP = `/v1/apps/${WX.appId}`;
const WECOM_APP = `/v1/apps/${CORP}_${WECOM.agent}`;
const TOKEN = `${APP}/credentials/access_token`;
const STABLE_TOKEN = "/cgi-bin/stable_token";
const ACTIONS = [
  "token:read",
  "token:clear",
  "token:refresh",
  "ticket:read",
  "ticket:sign",
  "login",
] as const;
const VIRTUAL = /^atv1_[A-Za-z0-9_-]+$/;

type Ask = (method: string, path: string, body?: object) => Promise<Answer>;

/** A world with a virtual and a real client who may do the same, and the tokens that WeChat and WeCom have issued. */
async function setup(options: WorldOptions = {}) {
  const world = await Harness.create(options);
  const grants = [{ apps: ["*"], actions: ACTIONS }];
  const keys = {
    virtual: await createClient(world, { name: "laptop", grants, delivery: "virtual" }),
    real: await createClient(world, { name: "server", grants, delivery: "real" }),
  };
  const askAs =
    (key: string): Ask =>
    (method, path, body) => {
      const headers = { "x-api-key": key, ...(body && { "content-type": "application/json" }) };
      return world.request(path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    };
  const [ask, askReally] = [askAs(keys.virtual), askAs(keys.real)];
  /** What stands, as an administrator of the machine sees it. */
  const standing = async (app = APP) =>
    String((await world.administer(`${app}/credentials/access_token`)).data["value"]);
  return { world, keys, ask, askReally, standing, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** What is asked, and the field of the answer that has the token. */
interface Face {
  readonly path: string;
  readonly field: string;
  readonly method?: string;
  readonly body?: object;
}

const FACES: readonly Face[] = [
  { path: `/AccessToken/getXcx?appid=${WX.appId}`, field: "access_token" },
  { path: `/AccessToken/getXcx?appid=${WX.appId}&secret=${WX.secret}`, field: "access_token" },
  { path: `/AccessToken/getQyapi?corpid=${CORP}&agentid=${WECOM.agent}`, field: "access_token" },
  { path: `/AccessToken/getQyapi?corpid=${CORP}&secret=${WECOM.secret}`, field: "access_token" },
  { path: TOKEN, field: "value" },
  { path: `${TOKEN}?min_ttl=240`, field: "value" },
  { path: `${WECOM_APP}/credentials/access_token`, field: "value" },
  { path: `${TOKEN}/refresh`, field: "value", method: "POST", body: {} },
  { path: `${TOKEN}/replace`, field: "value", method: "POST", body: { rejected: "70_someOlderToken" } },
];

test.each(FACES)(
  "a virtual client is given a token of ours: $path",
  async ({ path, field, method = "GET", body }) => {
    await using it = await setup();
    const reals = [await it.standing(), await it.standing(WECOM_APP)];
    const answer = await it.ask(method, path, body);
    expect(answer.code).toBe(0);
    expect(answer.data[field]).toMatch(VIRTUAL);
    expect(answer.data["expires_in"]).toBe(field === "value" ? 7200 : 7190);
    const whole = answer.text + JSON.stringify([...answer.headers]);
    for (const real of reals) expect(whole).not.toContain(real);
    expect((await it.askReally("GET", TOKEN)).data["value"]).toBe(await it.standing());
  },
);

test("P6: no answer of any route that a virtual client can reach has a real token in it", async () => {
  await using it = await setup();
  const asked: [string, string, object?][] = [
    ...FACES.map(({ path, method = "GET", body }): [string, string, object?] => [method, path, body]),
    ["GET", "/v1/apps"],
    ["GET", APP],
    ["GET", `${APP}/credentials/jsapi_ticket`],
    ["POST", "/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url: "https://example.com/" }],
    ["POST", `${APP}/signatures/jsapi`, { url: "https://example.com/" }],
    ["POST", `${TOKEN}/refresh`, { force: true }],
    ["GET", `/AccessToken/clearXcx?appid=${WX.appId}&access_token=70_other`],
    ["DELETE", TOKEN],
    ["GET", `/AccessToken/clearQyapi?corpid=${CORP}&agentid=${WECOM.agent}`],
    ["GET", "/metrics"],
    ["GET", "/readyz"],
  ];
  const reals = new Set<string>();
  const texts: string[] = [];
  for (const [method, path, body] of asked) {
    for (const app of [APP, WECOM_APP]) reals.add(await it.standing(app));
    const headers = { "x-api-key": it.keys.virtual, ...(body && { "content-type": "application/json" }) };
    const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
    const response = await fetch(it.world.service.url + path, init);
    texts.push((await response.text()) + JSON.stringify([...response.headers]));
    it.world.clock.advance(30_000);
  }
  for (const real of reals) expect(texts.filter((text) => text.includes(real))).toEqual([]);
  expect(reals.size).toBeGreaterThan(2);
});

test("a whole life is stated however little the real token has left, and the real one is had all the same", async () => {
  await using it = await setup();
  expect((await it.ask("GET", TOKEN)).data["expires_in"]).toBe(7200);
  expect(it.world.sandbox.calls(STABLE_TOKEN)).toBe(1);
  it.world.clock.advance(7_000_000);
  const { data } = await it.ask("GET", TOKEN);
  const now = it.world.clock.now();
  expect(data).toMatchObject({ expires_in: 7200, expires_at: now + 7_200_000, issued_at: now });
});

test("P4: what keeps WeChat from issuing a token is told to a virtual client as to any other", async () => {
  await using it = await setup();
  it.world.sandbox.changeWeixinApp(WX.appId, { secret: "another-secret-000000000000000000" });
  const [virtual, real] = [await it.ask("GET", TOKEN), await it.askReally("GET", TOKEN)];
  expect([virtual.status, virtual.code]).toEqual([502, 40125]);
  expect([real.status, real.code]).toEqual([502, 40125]);
});

test("a replace of a virtual token brings a fresh one and costs no upstream call", async () => {
  await using it = await setup();
  const first = (await it.ask("GET", TOKEN)).data["value"] as string;
  const standing = await it.standing();
  const { status, data } = await it.ask("POST", `${TOKEN}/replace`, { rejected: first });
  expect([status, data["expires_in"]]).toEqual([200, 7200]);
  expect(data["value"]).toMatch(VIRTUAL);
  expect(data["value"]).not.toBe(first);
  expect(await it.standing()).toBe(standing);
  expect(it.world.sandbox.calls()).toBe(1);
});

test("a clear that names a virtual token clears nothing and succeeds", async () => {
  await using it = await setup();
  const virtual = (await it.ask("GET", TOKEN)).data["value"] as string;
  const standing = await it.standing();
  for (const path of [`clearXcx?appid=${WX.appId}`, `clearQyapi?corpid=${CORP}&agentid=${WECOM.agent}`]) {
    const cleared = await it.ask("GET", `/AccessToken/${path}&access_token=${virtual}`);
    expect([cleared.code, cleared.data]).toEqual([0, {}]);
  }
  expect(await it.standing()).toBe(standing);
  expect(it.world.sandbox.calls()).toBe(1);
});

test("an administrator with virtual tokens is given none of a secret that the service does not hold", async () => {
  await using it = await setup();
  const key = await createAdmin(it.world);
  const query = { appid: WX_FOREIGN.appId, secret: WX_FOREIGN.secret };
  const headers = { "x-api-key": key };
  expect((await it.world.get("/AccessToken/getXcx", query, { headers })).code).toBe(0);
  const change = { method: "PATCH", body: '{"delivery":"virtual"}' };
  const sent = { ...change, headers: { "content-type": "application/json" } };
  expect((await it.world.administer("/v1/clients/admin", sent)).status).toBe(200);
  const refused = await it.world.get("/AccessToken/getXcx", query, { headers });
  expect([refused.code, refused.data]).toEqual([403, {}]);
});

test("a client that becomes virtual is given a virtual token at once, one that becomes real a real one", async () => {
  await using it = await setup();
  const change = async (name: string, delivery: string) => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ delivery });
    const answer = await it.world.administer(`/v1/clients/${name}`, { method: "PATCH", headers, body });
    expect(answer.status).toBe(200);
  };
  await change("laptop", "real");
  await change("server", "virtual");
  expect((await it.ask("GET", TOKEN)).data["value"]).toBe(await it.standing());
  expect((await it.askReally("GET", TOKEN)).data["value"]).toMatch(VIRTUAL);
});

test("P3: a running service hands out virtual tokens over a change of its master key", async () => {
  await using it = await setup();
  expect((await it.ask("GET", TOKEN)).data["value"]).toMatch(VIRTUAL);
  await rotateMasterKey({
    path: it.world.databasePath,
    masterKey: undefined,
    masterKeyFile: join(it.world.folder, "data", "master.key"),
    newKeyFile: undefined,
    clock: systemClock,
    graceMs: 0,
  });
  expect((await it.ask("GET", TOKEN)).data["value"]).toMatch(VIRTUAL);
  await it.world.stop();
  await it.world.start();
  expect((await it.ask("GET", TOKEN)).data["value"]).toMatch(VIRTUAL);
});
