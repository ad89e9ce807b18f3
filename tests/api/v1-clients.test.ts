import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { WX } from "../support/harness.ts";
import { BOT, BOT_KEYS, botWorld, CLIENTS, ManagingHarness, NEW_BOT } from "../support/managing-harness.ts";

const DAY_MS = 86_400_000;

/** Versions count on with every change of clients and keys; the administrator and its key are the first two. */
const FIRST = 3;

test("P7: a new client is 201 with its ETag, the very same again 200, and another of that name 409", async () => {
  await using t = await botWorld();
  const now = t.world.clock.now();
  const reach = { delivery: "virtual", policy: { preset: "safe", allow: [], deny: [] } };
  const shown = { ...NEW_BOT, networks: [], ...reach, created_at: now, updated_at: now, version: FIRST };
  const url = t.world.service.url;
  const note = expect.stringContaining(`(virtual: works through ${url} only; for programs that call WeChat`);
  const made = { ...shown, base_url: url, note };
  expect([t.made.data, t.made.headers.get("etag")]).toEqual([made, `"${FIRST}"`]);
  const [entry] = await t.at.audited();
  expect(entry).toEqual({
    by: "admin",
    address: "127.0.0.1",
    action: "client.created",
    outcome: "ok",
    detail: { of: "bot", environment: "dev", grants: NEW_BOT.grants, networks: [], ...reach },
  });
  const count = t.at.auditCount();
  t.world.clock.advance(1000);
  const again = await t.at.ask("POST", CLIENTS, NEW_BOT);
  expect([again.status, again.data, again.headers.get("etag")]).toEqual([200, made, `"${FIRST}"`]);
  const spelt = { delivery: "virtual", policy: { preset: "safe" } };
  expect((await t.at.ask("POST", CLIENTS, { ...NEW_BOT, ...spelt })).status).toBe(200);
  const others = [
    { environment: "prod" },
    { grants: [] },
    { networks: ["10.0.0.0/8"] },
    { rate_limit: 1 },
    { concurrency: 1 },
    { policy: { preset: "all" } },
    { policy: { preset: "no-messaging" } },
    { policy: { preset: "safe", deny: ["/wxa/release"] } },
    { policy: { preset: "safe", test_openids: ["oListed-0000000000000000001x"] } },
  ];
  for (const other of [...others, { expires_at: now + 1 }]) {
    const { status, code } = await t.at.ask("POST", CLIENTS, { ...NEW_BOT, ...other });
    expect([other, status, code]).toEqual([other, 409, 409]);
  }
  expect(t.at.auditCount()).toBe(count);
  expect((await t.at.ask("GET", BOT)).data).toEqual(shown);
});

test("apps of grants that are not held are named when a client is made and when its grants change", async () => {
  await using t = await botWorld();
  const grants = [{ apps: ["wx00000000000000ff", WX.appId, "ww1_1000009"], actions: ["login"] }];
  const made = await t.at.ask("POST", CLIENTS, { ...NEW_BOT, client: "typo", grants });
  const hint = expect.stringMatching(
    /：wx00000000000000ff, ww1_1000009 \(.*: wx00000000000000ff, ww1_1000009\)$/,
  );
  expect([made.status, JSON.parse(made.text)]).toEqual([201, expect.objectContaining({ hint })]);
  const changed = await t.at.ask("PATCH", BOT, { grants });
  expect([changed.status, JSON.parse(changed.text)]).toEqual([200, expect.objectContaining({ hint })]);
  const many = Array.from({ length: 11 }, (_, n) => `wx${n}`);
  const long = await t.at.ask("PATCH", BOT, { grants: [{ apps: many, actions: ["login"] }] });
  expect(JSON.parse(long.text)).toHaveProperty(
    "hint",
    expect.stringContaining(`: ${many.slice(0, 10).join(", ")}, …)`),
  );
  for (const fine of [{ grants: [{ apps: ["*"], actions: ["login"] }] }, { rate_limit: 5 }]) {
    expect(JSON.parse((await t.at.ask("PATCH", BOT, fine)).text)).not.toHaveProperty("hint");
  }
  expect(JSON.parse(t.made.text)).not.toHaveProperty("hint");
});

test.each([
  ["http://localhost:3000", undefined, "http://localhost:3000"],
  ["http://token.example.com", "https", "https://token.example.com"],
  ["http://token.example.com:8443", "HTTPS, http", "https://token.example.com:8443"],
  ["http://token.example.com", "http", "http://token.example.com"],
  ["http://[::1]:3000", undefined, "http://[::1]:3000"],
  ["http://[2001:db8::7]:3000", "https", "https://[2001:db8::7]:3000"],
])("whoever makes a client at %s, with x-forwarded-proto %j, is told %s", async (origin, proto, expected) => {
  await using t = await botWorld();
  const headers = { "content-type": "application/json", ...(proto ? { "x-forwarded-proto": proto } : {}) };
  const ask = async (path: string, body: object) => {
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await t.world.service.handle(new Request(origin + path, init));
    return ((await answer.json()) as { data: Record<string, string> }).data;
  };
  const made = await ask(CLIENTS, { ...NEW_BOT, client: "other" });
  expect([made["base_url"], made["note"]]).toEqual([
    expected,
    expect.stringContaining(`works through ${expected} only`),
  ]);
  expect((await ask(`${CLIENTS}/other/keys`, {}))["base_url"]).toBe(expected);
});

test("of the same creation five times at once one is new, and the others are the very same", async () => {
  await using t = await botWorld();
  const count = t.at.auditCount();
  const wanted = { ...NEW_BOT, client: "other" };
  const made = await Promise.all(Array.from({ length: 5 }, () => t.at.ask("POST", CLIENTS, wanted)));
  expect(made.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 200, 200, 201]);
  expect(t.at.auditCount()).toBe(count + 1);
});

test("a client has everything that was said of it, and clients come in pages by name", async () => {
  await using t = await botWorld();
  const lists = { allow: ["/wxa/msg_sec_check"], deny: ["/datacube/**"] };
  const policy = { preset: "read-only", ...lists, test_openids: ["oListed-0000000000000000001x"] };
  const reach = { concurrency: 20, delivery: "virtual", policy };
  const limits = { networks: ["10.0.0.0/8", "::1/128"], expires_at: 1_900_000_000_000, rate_limit: 50 };
  const full = {
    client: "a.full-one",
    environment: "st",
    grants: [{ apps: ["*"], actions: ["login"] }],
    ...limits,
    ...reach,
  };
  expect((await t.at.ask("POST", CLIENTS, full)).data).toMatchObject(full);
  expect((await t.at.audited())[0]?.detail).toMatchObject({ of: "a.full-one", policy });
  const toAll = await t.at.ask("PATCH", `${CLIENTS}/a.full-one`, { policy: { ...policy, preset: "all" } });
  expect([toAll.code, toAll.text]).toEqual([1, expect.stringContaining("leave test_openids out")]);
  const pages: string[][] = [];
  let after = "";
  do {
    const { data } = await t.at.ask("GET", `${CLIENTS}?limit=2${after && `&after=${after}`}`);
    pages.push(data["clients"].map(({ client }: { client: string }) => client));
    after = data["next"] ?? "";
  } while (after);
  expect(pages).toEqual([["a.full-one", "admin"], ["bot"]]);
  const missing = [
    await t.at.ask("GET", `${CLIENTS}/nobody`),
    await t.at.ask("GET", `${CLIENTS}/nobody/keys`),
  ];
  expect(missing.map(({ status }) => status)).toEqual([404, 404]);
});

test("clients are found by a part of the name and by environment, in pages, with what stands of their keys", async () => {
  await using t = await botWorld();
  for (const client of ["shop-dev", "shop-prod", "shop-x"])
    await t.at.ask("POST", CLIENTS, { ...NEW_BOT, client, environment: client.slice(5) });
  const found = async (query: string) =>
    ((await t.at.ask("GET", `${CLIENTS}?${query}`)).data["clients"] as { client: string }[]).map(
      ({ client }) => client,
    );
  expect(await found("q=shop")).toEqual(["shop-dev", "shop-prod", "shop-x"]);
  expect(await found("q=prod")).toEqual(["shop-prod"]);
  expect(await found("environment=dev")).toEqual(["admin", "bot", "shop-dev"]);
  expect(await found("environment=dev&q=o&after=bot")).toEqual(["shop-dev"]);
  expect(await found("q=%25")).toEqual([]);
  const first = (await t.at.ask("GET", `${CLIENTS}?q=shop&limit=2`)).data;
  expect(first["next"]).toBe("shop-prod");
  const keys = async () => (await t.at.ask("GET", `${CLIENTS}?q=bot`)).data["clients"][0].keys as object;
  expect(await keys()).toEqual({ active: 0 });
  const now = t.world.clock.now();
  const used = await t.key({ label: "used", expires_at: now + DAY_MS });
  await t.key({ label: "unused", expires_at: now + 2 * DAY_MS });
  await t.statusWith(used.key);
  const last_used_at = now - (now % 60_000);
  expect(await keys()).toEqual({ active: 2, last_used_at, next_end_at: now + DAY_MS });
  await t.at.ask("DELETE", `${BOT_KEYS}/${used.prefix}`);
  expect(await keys()).toEqual({ active: 1, last_used_at, next_end_at: now + 2 * DAY_MS });
});

test("P7: a change of what is given raises the version, null is none, and If-Match keeps to one version", async () => {
  await using t = await botWorld();
  const limits = {
    networks: ["10.0.0.0/8"],
    expires_at: t.world.clock.now() + DAY_MS,
    rate_limit: 5,
    concurrency: 3,
  };
  const first = await t.at.ask("PATCH", BOT, limits, { ifMatch: `"${FIRST}"` });
  expect([first.status, first.headers.get("etag")]).toEqual([200, `"${FIRST + 1}"`]);
  expect(first.data).toMatchObject({ ...NEW_BOT, ...limits, version: FIRST + 1 });
  expect(await t.at.audited()).toMatchObject([
    { by: "admin", action: "client.updated", detail: { of: "bot", ...limits } },
  ]);
  const count = t.at.auditCount();
  for (const ifMatch of [`"${FIRST}"`, `"${FIRST + 2}"`, "4", 'W/"4"', "nonsense"]) {
    for (const method of ["PATCH", "DELETE"]) {
      const body = method === "PATCH" ? { environment: "prod" } : undefined;
      const missed = await t.at.ask(method, BOT, body, { ifMatch });
      expect([method, ifMatch, missed.status, missed.code]).toEqual([method, ifMatch, 412, 412]);
    }
  }
  expect(t.at.auditCount()).toBe(count);
  t.world.clock.advance(1000);
  const none = await t.at.ask(
    "PATCH",
    BOT,
    { expires_at: null, rate_limit: null, concurrency: null, networks: [] },
    { ifMatch: "*" },
  );
  const { expires_at, rate_limit, concurrency, ...rest } = none.data;
  expect([expires_at, rate_limit, concurrency, rest["version"], rest["networks"]]).toEqual([
    undefined,
    undefined,
    undefined,
    FIRST + 2,
    [],
  ]);
  expect(rest["updated_at"] - rest["created_at"]).toBe(1000);
  expect((await t.at.ask("PATCH", `${CLIENTS}/nobody`, {})).status).toBe(404);
});

test("P7: a policy that refuses anything makes a real client virtual, and real tokens need a policy that does not", async () => {
  await using t = await botWorld();
  const prod = { ...NEW_BOT, client: "prod-bot", environment: "prod", delivery: "real" };
  const all = { preset: "all", allow: [], deny: [] };
  const made = await t.at.ask("POST", CLIENTS, prod);
  expect(made.data).toMatchObject({ delivery: "real", policy: all });
  const path = `${CLIENTS}/prod-bot`;
  const restricted = await t.at.ask("PATCH", path, { policy: { preset: "all", deny: ["/wxa/release"] } });
  const policy = { preset: "all", allow: [], deny: ["/wxa/release"] };
  expect(restricted.data).toMatchObject({ delivery: "virtual", policy });
  expect(await t.at.audited()).toMatchObject([
    { action: "client.updated", detail: { of: "prod-bot", delivery: "virtual", policy } },
  ]);
  const count = t.at.auditCount();
  const refused = await t.at.ask("PATCH", path, { delivery: "real" });
  expect([refused.status, refused.code, t.at.auditCount()]).toEqual([400, 1, count]);
  expect(refused.msg).toContain("no policy can restrict a real token");
  const open = await t.at.ask("PATCH", path, { policy: { preset: "all" } });
  expect(open.data).toMatchObject({ delivery: "virtual", policy: all });
  expect((await t.at.ask("PATCH", path, { delivery: "real" })).data).toMatchObject({ delivery: "real" });
  const moved = await t.at.ask("PATCH", path, { environment: "dev" });
  expect(moved.data).toMatchObject({ environment: "dev", delivery: "real", policy: all });
});

test("what a change grants or takes holds at the next request", async () => {
  await using t = await botWorld();
  const { key } = await t.key();
  expect(await t.statusWith(key)).toBe(200);
  for (const [change, status] of [
    [{ grants: [] }, 403],
    [{ grants: NEW_BOT.grants, networks: ["10.0.0.0/8"] }, 403],
    [{ networks: [], expires_at: t.world.clock.now() }, 401],
    [{ expires_at: null }, 200],
  ] as const) {
    await t.at.ask("PATCH", BOT, change);
    expect([change, await t.statusWith(key)]).toEqual([change, status]);
  }
});

test("P7: a removed client takes its keys along, and a new one of its name has none of them", async () => {
  await using t = await botWorld();
  const { key } = await t.key();
  const removed = await t.at.ask("DELETE", BOT, undefined, { ifMatch: `"${FIRST}"` });
  expect([removed.status, removed.data]).toEqual([200, {}]);
  expect(await t.at.audited()).toMatchObject([{ action: "client.deleted", detail: { of: "bot" } }]);
  expect(await t.statusWith(key)).toBe(401);
  expect((await t.at.ask("DELETE", BOT)).status).toBe(404);
  expect((await t.at.ask("POST", CLIENTS, NEW_BOT)).status).toBe(201);
  expect([await t.statusWith(key), (await t.at.ask("GET", BOT_KEYS)).data]).toEqual([401, { keys: [] }]);
});

test("a field that is none is refused with those that there are, and nothing is done", async () => {
  await using t = await botWorld();
  const { prefix } = await t.key();
  const count = t.at.auditCount();
  const all = "environment, grants, networks, origins, expires_at, rate_limit, concurrency, delivery, policy";
  const policy = { preset: "all", allowed: [] };
  for (const [method, path, body, known] of [
    ["POST", CLIENTS, { ...NEW_BOT, client: "typo", expire_at: 1 }, `client, ${all}`],
    ["PATCH", BOT, { environment: "prod", ratelimit: 1 }, all],
    ["POST", BOT_KEYS, { label: "typo", expires: 1 }, "label, expires_at"],
    ["POST", `${BOT_KEYS}/${prefix}/roll`, { overlaps: 1 }, "overlap"],
    [
      "POST",
      CLIENTS,
      { ...NEW_BOT, client: "typo", grants: [{ ...NEW_BOT.grants[0], network: [] }] },
      "apps, actions",
    ],
    ["PATCH", BOT, { policy }, "preset, allow, deny, test_openids"],
  ] as const) {
    const { status, code, msg } = await t.at.ask(method, path, body);
    expect([path, body, status, code]).toEqual([path, body, 400, 1]);
    expect(msg).toContain(`：${known} (`);
    expect(msg).not.toMatch(/typo|expire_at|ratelimit|overlaps/);
  }
  expect(t.at.auditCount()).toBe(count);
  expect((await t.at.ask("GET", BOT)).data).toMatchObject({ ...NEW_BOT, version: FIRST });
  expect((await t.at.ask("GET", `${CLIENTS}/typo`)).status).toBe(404);
});

test.each([
  [{ client: "Bot" }],
  [{ client: "(anonymous)" }],
  [{ client: "x".repeat(65) }],
  [{ client: undefined }],
  [{ environment: "" }],
  [{ environment: "a b" }],
  [{ grants: undefined }],
  [{ grants: [{ apps: [], actions: ["login"] }] }],
  [{ grants: [{ apps: ["*"], actions: ["token:write"] }] }],
  [{ grants: [{ apps: ["wx1"], actions: ["admin"] }] }],
  [{ grants: [{ apps: ["wx1"], actions: ["login", "metrics:read"] }] }],
  [{ networks: ["10.0.0.0/33"] }],
  [{ networks: ["10.0.0.1,10.0.0.2"] }],
  [{ networks: ["example.com"] }],
  [{ expires_at: -1 }],
  [{ rate_limit: 0 }],
  [{ concurrency: 0 }],
  [{ concurrency: null }],
  [{ delivery: "imaginary" }],
  [{ policy: "all" }],
  [{ policy: {} }],
  [{ policy: { preset: "some" } }],
  [{ policy: { preset: "none", allow: ["cgi-bin/user/get"] } }],
  [{ policy: { preset: "none", allow: ["/cgi-bin/*/get"] } }],
  [{ policy: { preset: "all", deny: ["/cgi-bin/user/get?a=b"] } }],
  [{ policy: { preset: "all", deny: ["/a/../b"] } }],
  [{ delivery: "real" }],
  [{ delivery: "real", policy: { preset: "all", deny: ["/wxa/release"] } }],
])("a client that is described wrongly (%j) is 400, and there is none afterwards", async (wrong) => {
  await using t = await botWorld();
  const count = t.at.auditCount();
  const { status, code } = await t.at.ask("POST", CLIENTS, { ...NEW_BOT, client: "other", ...wrong });
  expect([status, code, t.at.auditCount()]).toEqual([400, 1, count]);
  expect((await t.at.ask("GET", CLIENTS)).data["clients"]).toHaveLength(2);
});

test("a grant of admin on some apps is refused to a client that there is, too, and an older one keeps no change waiting", async () => {
  await using t = await botWorld();
  const onOneApp = [{ apps: ["wx1"], actions: ["admin"] }];
  const { status, text } = await t.at.ask("PATCH", BOT, { grants: onOneApp });
  expect([status, text.includes("apps must be *")]).toEqual([400, true]);
  using database = new Database(t.at.world.databasePath);
  database.run("UPDATE clients SET grants = ? WHERE name = 'bot'", [JSON.stringify(onOneApp)]);
  await t.at.world.stop();
  await t.at.world.start();
  expect((await t.at.ask("PATCH", BOT, { networks: ["10.0.0.0/8"] })).status).toBe(200);
  expect((await t.at.ask("GET", BOT)).data).toMatchObject({ grants: onOneApp, networks: ["10.0.0.0/8"] });
});

test("who is no administrator is refused before anything that was sent is looked at", async () => {
  await using t = await botWorld();
  const { key } = await t.key();
  const nonsense = { nonsense: true };
  for (const [method, path, body] of [
    ["GET", `${CLIENTS}?limit=0`, undefined],
    ["POST", CLIENTS, nonsense],
    ["GET", `${CLIENTS}/UNIDENTIFIED`, undefined],
    ["PATCH", `${CLIENTS}/nobody`, nonsense],
    ["DELETE", `${CLIENTS}/UNIDENTIFIED`, undefined],
    ["GET", `${CLIENTS}/nobody/keys`, undefined],
    ["POST", BOT_KEYS, nonsense],
    ["POST", `${BOT_KEYS}/nonsense/roll`, nonsense],
    ["DELETE", `${BOT_KEYS}/nonsense`, undefined],
  ] as const) {
    for (const by of [key, ""]) {
      const { status, code, data } = await t.at.ask(method, path, body, { key: by });
      expect([method, path, by === "", status, code, data]).toEqual([method, path, by === "", 403, 403, {}]);
    }
  }
  const headers = { "x-api-key": key, "content-type": "application/json" };
  for (const [method, path] of [
    ["POST", CLIENTS],
    ["PATCH", BOT],
    ["POST", "/v1/apps"],
    ["PATCH", "/v1/apps/wx1"],
  ] as const) {
    const { status } = await t.world.request(path, { method, headers, body: "no JSON at all" });
    expect([method, path, status]).toEqual([method, path, 403]);
  }
  await t.world.stop();
  await t.world.start({ ANONYMOUS: "off" });
  expect((await t.at.ask("POST", CLIENTS, nonsense, { key: "" })).status).toBe(401);
});

test("P7: no change of clients and keys is done while the audit can't be written", async () => {
  await using t = await botWorld();
  const { key, prefix } = await t.key();
  const stand = async () => [(await t.at.ask("GET", CLIENTS)).data, (await t.at.ask("GET", BOT_KEYS)).data];
  await t.statusWith(key);
  const before = await stand();
  t.at.breakAudit();
  for (const [method, path, body] of [
    ["POST", CLIENTS, { ...NEW_BOT, client: "other" }],
    ["PATCH", BOT, { environment: "prod" }],
    ["DELETE", BOT, undefined],
    ["POST", BOT_KEYS, { label: "other" }],
    ["POST", `${BOT_KEYS}/${prefix}/roll`, { overlap: 0 }],
    ["DELETE", `${BOT_KEYS}/${prefix}`, undefined],
  ] as const) {
    const { status, code } = await t.at.ask(method, path, body);
    expect([method, path, status, code]).toEqual([method, path, 503, 503]);
  }
  expect(await t.statusWith(key)).toBe(200);
  expect(await stand()).toEqual(before);
  await t.world.stop();
  await t.world.start();
  expect(await stand()).toEqual(before);
  t.at.mendAudit();
  expect((await t.at.ask("DELETE", `${BOT_KEYS}/${prefix}`)).status).toBe(200);
});

test("tokens are virtual in every environment unless real ones are asked for; who has them stays as it was", async () => {
  await using at = await ManagingHarness.create();
  const grants = NEW_BOT.grants;
  const make = async (environment: string, more: object = {}) =>
    (await at.ask("POST", CLIENTS, { client: environment.toLowerCase(), environment, grants, ...more })).data;
  for (const [environment, preset] of [
    ["dev", "safe"],
    ["prod", "all"],
    ["PRODUCTION", "all"],
    ["Prd", "all"],
    ["online", "all"],
    ["preprod", "safe"],
  ] as const)
    expect(await make(environment)).toMatchObject({ environment, delivery: "virtual", policy: { preset } });
  const real = { client: "real", environment: "prod", grants };
  const made = await at.ask("POST", CLIENTS, { ...real, delivery: "real" });
  expect([made.status, made.data["delivery"], made.data["note"]]).toEqual([201, "real", undefined]);
  // As programs sent it while real was the default.
  const again = await at.ask("POST", CLIENTS, real);
  expect([again.status, again.data["delivery"]]).toEqual([200, "real"]);
  expect((await at.ask("POST", CLIENTS, { ...real, delivery: "virtual" })).status).toBe(409);
});

const on = (app: string, ...actions: string[]) => ({ apps: [app], actions });

test.each([
  [[on("wx1", "token:read")], 400],
  [[on("wx1", "token:read", "ticket:sign", "token:refresh")], 400],
  [[on("wx1", "token:read"), on("wx2", "api:call")], 400],
  [[on("*", "token:read"), on("wx1", "api:call")], 400],
  [[on("wx1", "token:read", "api:call")], 201],
  [[on("wx1", "token:read", "ticket:read")], 201],
  [[on("wx1", "token:read"), on("wx1", "login")], 201],
  [[on("wx1", "token:read"), on("*", "api:call")], 201],
  [[on("*", "admin")], 201],
  [[on("wx1", "ticket:sign")], 201],
  [[], 201],
])("a new client with virtual tokens and %j is %i", async (grants, expected) => {
  await using at = await ManagingHarness.create();
  const { status, msg } = await at.ask("POST", CLIENTS, { client: "new", environment: "prod", grants });
  expect(status).toBe(expected);
  if (expected === 400) expect(msg).toMatch(/(wx1|\*).*--delivery real/);
  const real = { client: "real", environment: "prod", grants, delivery: "real" };
  expect((await at.ask("POST", CLIENTS, real)).status).toBe(201);
});

test("a client with useless virtual tokens from before may be changed in everything but to such grants", async () => {
  await using t = await botWorld();
  const useless = [on(WX.appId, "token:read")];
  const { database } = t.at;
  database.run("UPDATE clients SET grants = ? WHERE name = 'bot'", [JSON.stringify(useless)]);
  database.run("UPDATE revisions SET number = number + 1 WHERE name = 'clients'");
  const change = async (body: object) => (await t.at.ask("PATCH", BOT, body)).status;
  expect(await change({ rate_limit: 5 })).toBe(200);
  expect(await change({ policy: { preset: "read-only" } })).toBe(200);
  expect(await change({ grants: useless })).toBe(400);
  expect(await change({ grants: NEW_BOT.grants })).toBe(200);
  expect(await change({ grants: useless, policy: { preset: "all" }, delivery: "real" })).toBe(200);
});
