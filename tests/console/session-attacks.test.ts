import { expect, test } from "bun:test";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { ConsolePage } from "../support/console-page.ts";
import { Harness, WX } from "../support/harness.ts";

async function setup(environment: Record<string, string> = {}) {
  const world = await Harness.create({
    environment: { ANONYMOUS: "off", LOG_LEVEL: "debug", ...environment },
  });
  const key = await createAdmin(world);
  const page = new ConsolePage(world);
  return { world, key, page, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("the cookie is for this host alone, unseen by scripts, and never sent from another site", async () => {
  await using it = await setup({ TRUSTED_PROXIES: "127.0.0.1/32" });
  await it.page.signIn(it.key);
  const port = new URL(it.page.origin).port;
  expect(it.page.setCookie).toMatch(
    new RegExp(`^ats-${port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`),
  );
  const proxied = {
    host: "tokens.example.com",
    origin: "https://tokens.example.com",
    "x-forwarded-proto": "https",
    "x-forwarded-for": "203.0.113.9",
  };
  const answer = await it.page.send("POST", "/console/session", { key: it.key }, { ...proxied, cookie: "" });
  expect(answer.headers.get("set-cookie")).toMatch(
    /^__Host-ats=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict$/,
  );
  const { host, ...rest } = proxied;
  expect((await it.page.get("/v1/apps", { host, ...rest })).status).toBe(200);
});

test("fixation: a sign-in never takes the id that the browser came with, and ends the session that it had", async () => {
  await using it = await setup();
  const { page, key } = it;
  const port = new URL(page.origin).port;
  page.cookie = `ats-${port}=${"A".repeat(43)}`;
  const planted = page.cookie;
  expect((await page.get("/v1/apps")).status).toBe(401);
  expect((await page.signIn(key)).status).toBe(200);
  expect(page.cookie).not.toBe(planted);
  expect((await page.get("/v1/apps", { cookie: planted })).status).toBe(401);
  const before = page.cookie;
  await page.signIn(key);
  expect(page.cookie).not.toBe(before);
  expect((await page.get("/v1/apps", { cookie: before })).status).toBe(401);
  expect((await page.get("/v1/apps", { cookie: `${before}; ${page.cookie}` })).status).toBe(401);
});

/** As for a caller without a key, of whom it depends on the network which it is. */
const REFUSED = [401, 403];

const FOREIGN: readonly (readonly [what: string, headers: Record<string, string>])[] = [
  ["another port of this machine", { "sec-fetch-site": "same-site", origin: "http://127.0.0.1:1" }],
  ["another site", { "sec-fetch-site": "cross-site", origin: "https://evil.example" }],
  ["a link or the address bar", { "sec-fetch-site": "none", origin: "" }],
  ["a browser that says nothing of its origin", { "sec-fetch-site": "", origin: "" }],
  ["a page without an origin", { "sec-fetch-site": "cross-site", origin: "null" }],
];

test.each(FOREIGN)(
  "CSRF: the cookie counts for nothing when the request comes from %s",
  async (_, headers) => {
    await using it = await setup();
    const { page, key } = it;
    await page.signIn(key);
    expect(REFUSED).toContain((await page.get("/v1/clients", headers)).status);
    const client = { client: "evil", environment: "dev", grants: [] };
    expect(REFUSED).toContain((await page.send("POST", "/v1/clients", client, headers)).status);
    expect(REFUSED).toContain((await page.send("DELETE", "/v1/clients/admin", undefined, headers)).status);
    expect((await page.send("DELETE", "/console/session", undefined, headers)).status).toBe(403);
    expect((await page.send("POST", "/console/session", { key }, headers)).status).toBe(403);
    expect((await page.get("/v1/clients")).data["clients"]).toHaveLength(1);
  },
);

test("CSRF: a change needs the page's own origin to the letter, and a body that no form can send", async () => {
  await using it = await setup();
  const { page, key } = it;
  await page.signIn(key);
  const body = { client: "shop", environment: "dev", grants: [{ apps: ["*"], actions: ["view"] }] };
  const own = page.origin;
  for (const origin of [
    "",
    "null",
    own.replace("http:", "https:"),
    `${own}.evil.example`,
    "http://localhost",
  ])
    expect(REFUSED).toContain((await page.send("POST", "/v1/clients", body, { origin })).status);
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    expect((await page.send("POST", "/v1/clients", body, { "content-type": type })).status).toBe(415);
  expect((await page.send("POST", "/v1/clients", body)).status).toBe(201);
});

test("a stolen cookie is worth nothing once its key is revoked, its client gone, or somebody signed out", async () => {
  await using it = await setup();
  const grants = [{ apps: ["*"], actions: ["view" as const] }];
  const begin = async (name: string) => {
    const page = new ConsolePage(it.world);
    const key = await createClient(it.world, { name, grants });
    expect((await page.signIn(key)).status).toBe(200);
    return { page, key: key.slice(0, 12) };
  };
  const remove = (path: string) => it.world.administer(path, { method: "DELETE" });
  const [revoked, removed, left] = [await begin("one"), await begin("two"), await begin("three")];
  for (const { page } of [revoked, removed, left]) expect((await page.get("/v1/apps")).status).toBe(200);
  await remove(`/v1/clients/one/keys/${revoked.key}`);
  await remove("/v1/clients/two");
  const { cookie } = left.page;
  await left.page.send("DELETE", "/console/session");
  left.page.cookie = cookie;
  for (const { page } of [revoked, removed, left]) expect((await page.get("/v1/apps")).status).toBe(401);
});

test("an administrator sees and ends every session, a client its own; neither sees an id", async () => {
  await using it = await setup();
  const key = await createClient(it.world, { name: "shop", grants: [{ apps: ["*"], actions: ["view"] }] });
  const [shop, another] = [new ConsolePage(it.world), new ConsolePage(it.world)];
  for (const each of [shop, another]) await each.signIn(key);
  await it.page.signIn(it.key);
  const list = async (page: ConsolePage) =>
    (await page.get("/v1/console/sessions")).data["sessions"] as Session[];
  interface Session {
    readonly session: string;
    readonly client: string;
    readonly current: boolean;
  }
  expect((await list(it.page)).map(({ client }) => client).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
    "admin",
    "shop",
    "shop",
  ]);
  const own = await list(shop);
  expect(own.map(({ client }) => client)).toEqual(["shop", "shop"]);
  expect(own.filter(({ current }) => current)).toHaveLength(1);
  const name = (await list(it.page)).find(({ client }) => client === "admin")?.session ?? "";
  expect((await shop.send("DELETE", `/v1/console/sessions/${name}`)).status).toBe(404);
  const others = own.find(({ current }) => !current)?.session ?? "";
  expect((await shop.send("DELETE", `/v1/console/sessions/${others}`)).status).toBe(200);
  expect((await another.get("/v1/apps")).status).toBe(401);
  const last = own.find(({ current }) => current)?.session ?? "";
  expect((await it.page.send("DELETE", `/v1/console/sessions/${last}`)).status).toBe(200);
  expect((await shop.get("/v1/apps")).status).toBe(401);
  expect((await it.page.send("DELETE", `/v1/console/sessions/${last}`)).status).toBe(404);
});

test("brute force: wrong keys and wrong links of one address share one limit of twenty a minute", async () => {
  await using it = await setup();
  const statuses: number[] = [];
  for (let n = 0; n < 24; n++) {
    const body = n % 2 ? { key: `ats_${"x".repeat(40)}` } : { link: `${n}`.padEnd(43, "x") };
    statuses.push((await it.page.send("POST", "/console/session", body)).status);
  }
  expect(statuses).toEqual([...Array<number>(20).fill(401), 429, 429, 429, 429]);
  const set = await it.page.send("POST", "/console/setup", { token: "x".repeat(43) });
  expect([set.status, set.headers.get("retry-after")]).toEqual([429, expect.stringMatching(/^\d+$/)]);
  it.world.clock.advance(60_000);
  expect((await it.page.signIn(it.key)).status).toBe(200);
});

test("the cookie opens neither WeChat's own paths nor the gateway, the documented protocol or Swagger", async () => {
  await using it = await setup({ SWAGGER: "admin" });
  const { page } = it;
  await page.signIn(it.key);
  const paths = [
    "/swagger",
    "/docs/README",
    `/AccessToken/getXcx?appid=${WX.appId}`,
    `/gateway/${WX.appId}/cgi-bin/getcallbackip`,
    `/cgi-bin/token?grant_type=client_credential&appid=${WX.appId}`,
    "/cgi-bin/getcallbackip",
  ];
  for (const path of paths) {
    const signedIn = await fetch(page.origin + path, {
      headers: { cookie: page.cookie, "sec-fetch-site": "same-origin" },
    });
    const signedOut = await fetch(page.origin + path, { headers: { "sec-fetch-site": "same-origin" } });
    const clean = (text: string) => text.replaceAll(/[0-9a-f-]{36}|rid: [\w-]+/g, "");
    expect([path, clean(await signedIn.text())]).toEqual([path, clean(await signedOut.text())]);
  }
});

test("under the host of PUBLIC_URL nobody signs in and no session counts", async () => {
  await using it = await setup({ PUBLIC_URL: "https://wx.example.com", TRUSTED_PROXIES: "127.0.0.1/32" });
  const { page, key } = it;
  const at = (host: string) => ({
    ...{ host, origin: `https://${host}` },
    ...{ "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9" },
  });
  await page.send("POST", "/console/session", { key }, at("tokens.example.com"));
  expect((await page.get("/v1/apps", at("tokens.example.com"))).status).toBe(200);
  for (const path of ["/console/", "/console/session", "/v1/apps"])
    expect([path, (await page.get(path, at("wx.example.com"))).status]).toEqual([path, 404]);
  expect((await page.send("POST", "/console/session", { key }, at("wx.example.com"))).status).toBe(404);
});

test("beside a key the cookie counts for nothing: the key's client asks, and a wrong key is refused", async () => {
  await using it = await setup();
  const { page, world } = it;
  await page.signIn(it.key);
  const key = await createClient(world, { name: "shop", grants: [{ apps: ["*"], actions: ["view"] }] });
  expect((await page.get("/v1/clients", { authorization: `Bearer ${key}` })).status).toBe(403);
  expect((await page.get("/v1/clients", { "x-api-key": `ats_${"x".repeat(40)}` })).status).toBe(401);
});

test("every change that comes by a session says so in the audit; one by the same client's key does not", async () => {
  await using it = await setup();
  const { page, key, world } = it;
  await page.signIn(key);
  const of = (client: string) => ({
    client,
    environment: "dev",
    grants: [{ apps: ["*"], actions: ["view"] }],
  });
  await page.send("POST", "/v1/clients", of("by-page"));
  const token = `/v1/apps/${WX.appId}/credentials/access_token`;
  expect((await page.get(token)).status).toBe(200);
  await page.send("DELETE", token);
  await world.post("/v1/clients", of("by-key"), { headers: { authorization: `Bearer ${key}` } });
  await page.send("DELETE", "/console/session");
  const entries = (await world.administer("/v1/audit")).data["entries"] as Entry[];
  interface Entry {
    readonly client: string;
    readonly action: string;
    readonly detail: Readonly<Record<string, unknown>>;
  }
  expect(
    entries.filter(({ client }) => client === "admin").map(({ action, detail }) => [action, detail["via"]]),
  ).toEqual([
    ["console.signed_out", undefined],
    ["client.created", undefined],
    ["credential.cleared", "console"],
    ["client.created", "console"],
    ["console.signed_in", undefined],
  ]);
});

test("P6: the id of a session is in no answer but the cookie, no audit entry, no event and no file of the database", async () => {
  await using it = await setup();
  const { page, world } = it;
  await page.signIn(it.key);
  const id = page.cookie.split("=")[1] ?? "";
  const answers = [];
  for (const path of ["/console/session", "/v1/console/sessions", "/v1/audit", "/v1/apps", "/metrics"]) {
    const response = await fetch(page.origin + path, {
      headers: { cookie: page.cookie, "sec-fetch-site": "same-origin" },
    });
    answers.push(await response.text());
  }
  await world.stop();
  const files = ["", "-wal"].map((ending) => Bun.file(world.databasePath + ending));
  for (const file of files) if (await file.exists()) answers.push(await file.text());
  expect(id).toHaveLength(43);
  expect([...answers, JSON.stringify(world.events)].filter((text) => text.includes(id))).toEqual([]);
});

test("over plain http that is not loopback the page comes, and signing in is refused with how to get TLS", async () => {
  await using it = await setup();
  const { page, key } = it;
  const plain = { host: "tokens.example.com", origin: "http://tokens.example.com" };
  const shown = await fetch(`${page.origin}/console/`, { headers: { host: plain.host } });
  expect(shown.status).toBe(200);
  for (const headers of [plain, { ...plain, "x-forwarded-proto": "https" }]) {
    expect((await page.get("/console/session", headers)).text).toContain("TRUSTED_PROXIES");
    expect((await page.get("/console/session", headers)).status).toBe(403);
    const tried = await page.send("POST", "/console/session", { key }, headers);
    expect([tried.status, tried.headers.get("set-cookie")]).toEqual([403, null]);
  }
});

test("wrong links beyond the limit of their address are refused without a look into the store, a right one too", async () => {
  await using it = await setup();
  const link = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"client":"admin"}',
  };
  const { data } = await it.world.administer("/v1/console/links", link);
  const token = String(data["path"]).split("/").at(-1) ?? "";
  const follow = (of: string) => it.page.send("POST", "/console/session", { link: of });
  for (let n = 0; n < 20; n++) expect((await follow("x".repeat(43))).status).toBe(401);
  expect((await follow(token)).status).toBe(429);
  it.world.clock.advance(60_000);
  expect((await follow(token)).status).toBe(200);
});
