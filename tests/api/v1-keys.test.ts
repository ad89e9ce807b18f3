import { expect, test } from "bun:test";
import { isWellFormedApiKey } from "../../src/access/api-key.ts";
import { BOT, BOT_KEYS, botWorld, CLIENTS, NEW_BOT } from "../support/managing-harness.ts";
import { WX } from "../support/harness.ts";

const DAY_MS = 86_400_000;

test("P6: a key is shown once, is known by its public beginning, and a label is given once", async () => {
  await using t = await botWorld();
  const made = await t.at.ask("POST", BOT_KEYS, { label: "laptop" });
  const { api_key, base_url, ...shown } = made.data;
  expect(base_url).toBe(t.world.service.url);
  expect(isWellFormedApiKey(api_key)).toBe(true);
  const now = t.world.clock.now();
  expect<object>(shown).toEqual({
    key: api_key.slice(0, 12),
    label: "laptop",
    state: "active",
    created_at: now,
  });
  expect(await t.at.audited()).toMatchObject([
    { by: "admin", action: "key.created", detail: { of: "bot", key: shown["key"], label: "laptop" } },
  ]);
  const listed = await t.at.ask("GET", BOT_KEYS);
  expect(listed.data).toEqual({ keys: [shown] });
  expect(listed.text + JSON.stringify(await t.at.audited(10))).not.toContain(api_key.slice(12));

  expect((await t.at.ask("POST", BOT_KEYS, { label: "laptop" })).status).toBe(409);
  expect((await t.at.ask("POST", BOT_KEYS, {})).data["label"]).toBe("default");
  expect((await t.at.ask("POST", BOT_KEYS, {})).status).toBe(409);
  await t.at.ask("DELETE", `${BOT_KEYS}/${shown["key"]}`);
  expect((await t.at.ask("POST", BOT_KEYS, { label: "laptop" })).status).toBe(201);
  expect((await t.at.ask("POST", `${CLIENTS}/nobody/keys`, {})).status).toBe(404);
});

test("P7: a revoked key is refused at once, says so, and is not revoked twice", async () => {
  await using t = await botWorld();
  const { key, prefix } = await t.key();
  const other = await t.key({ label: "other" });
  const revoked = await t.at.ask("DELETE", `${BOT_KEYS}/${prefix}`);
  expect([revoked.status, revoked.data]).toEqual([200, {}]);
  expect([await t.statusWith(key), await t.statusWith(other.key)]).toEqual([401, 200]);
  expect(await t.at.audited()).toMatchObject([{ action: "key.revoked", detail: { of: "bot", key: prefix } }]);
  const [shown] = (await t.at.ask("GET", BOT_KEYS)).data["keys"];
  expect(shown).toMatchObject({ key: prefix, state: "revoked", revoked_at: t.world.clock.now() });
  expect((await t.at.ask("DELETE", `${BOT_KEYS}/${prefix}`)).status).toBe(404);
  expect((await t.at.ask("DELETE", `${CLIENTS}/admin/keys/${other.prefix}`)).status).toBe(404);
  expect(await t.statusWith(other.key)).toBe(200);
});

test("a key that ends is good until then, and is shown as expired afterwards", async () => {
  await using t = await botWorld();
  const { key } = await t.key({ expires_at: t.world.clock.now() + 1000 });
  t.world.clock.advance(999);
  expect(await t.statusWith(key)).toBe(200);
  t.world.clock.advance(1);
  expect(await t.statusWith(key)).toBe(401);
  const [shown] = (await t.at.ask("GET", BOT_KEYS)).data["keys"];
  expect(shown).toMatchObject({ state: "expired", expires_at: t.world.clock.now() });
});

test("the keys of a client are shown without reading those of any other client", async () => {
  await using t = await botWorld();
  const { prefix } = await t.key();
  const keys = async () => {
    const { status, data } = await t.at.ask("GET", BOT_KEYS);
    return [status, data["keys"]] as const;
  };
  const [, shown] = await keys();
  // Nobody who reads the clients succeeds from now on; what this process knows of them stays.
  t.at.database.run("ALTER TABLE clients RENAME TO unreadable");
  const last = t.world.clock.now() + 60_000;
  t.at.database.run("UPDATE api_keys SET last_used_at = ? WHERE prefix = ?", [last, prefix]);
  expect(await keys()).toMatchObject([200, [{ ...shown[0], last_used_at: last }]]);
});

test("P7: a rolled key goes on beside the new one for the overlap, by the clock", async () => {
  await using t = await botWorld();
  for (const [overlap, ms] of [
    [undefined, DAY_MS],
    [3600, 3_600_000],
    [0, 0],
    [604_800, 7 * DAY_MS],
  ] as const) {
    const old = await t.key({ label: `overlap ${overlap}` });
    const rolled = await t.at.ask(
      "POST",
      `${BOT_KEYS}/${old.prefix}/roll`,
      overlap === undefined ? {} : { overlap },
    );
    expect([rolled.status, rolled.data["label"]]).toEqual([201, `overlap ${overlap}`]);
    const endsAt = t.world.clock.now() + ms;
    expect(await t.at.audited()).toMatchObject([
      {
        action: "key.rolled",
        detail: { key: rolled.data["key"], in_place_of: old.prefix, old_ends_at: endsAt },
      },
    ]);
    const { keys } = (await t.at.ask("GET", BOT_KEYS)).data as { keys: { key: string }[] };
    expect(keys.find(({ key }) => key === old.prefix)).toMatchObject({
      replaced_by: rolled.data["key"],
      expires_at: endsAt,
    });
    const next = String(rolled.data["api_key"]);
    t.world.clock.advance(Math.max(0, ms - 1));
    expect([overlap, await t.statusWith(old.key)]).toEqual([overlap, ms === 0 ? 401 : 200]);
    t.world.clock.advance(1);
    expect([await t.statusWith(old.key), await t.statusWith(next)]).toEqual([401, 200]);
    expect((await t.at.ask("POST", `${BOT_KEYS}/${old.prefix}/roll`, {})).status).toBe(404);
  }
});

test("no overlap is longer than seven days, or prolongs a key that ends sooner", async () => {
  await using t = await botWorld();
  const endsAt = t.world.clock.now() + 1000;
  const { prefix } = await t.key({ expires_at: endsAt });
  for (const overlap of [604_801, -1, 1.5, "60", null])
    expect([overlap, (await t.at.ask("POST", `${BOT_KEYS}/${prefix}/roll`, { overlap })).status]).toEqual([
      overlap,
      400,
    ]);
  expect((await t.at.ask("POST", `${BOT_KEYS}/${prefix}/roll`, { overlap: 604_800 })).status).toBe(201);
  const [old] = (await t.at.ask("GET", BOT_KEYS)).data["keys"];
  expect(old).toMatchObject({ key: prefix, expires_at: endsAt });
});

test("the last use of a key is kept to the minute, over a restart too", async () => {
  await using t = await botWorld();
  const { key } = await t.key();
  const lastUse = async () =>
    (await t.at.ask("GET", BOT_KEYS)).data["keys"][0]?.last_used_at as number | undefined;
  expect(await lastUse()).toBeUndefined();
  t.world.clock.advance(61_500);
  await t.statusWith(key);
  const minute = t.world.clock.now() - (t.world.clock.now() % 60_000);
  expect(await lastUse()).toBe(minute);
  await t.world.stop();
  await t.world.start();
  expect(await lastUse()).toBe(minute);
});

test("a key for a while stays one when it is rolled, and the audit tells when the old one really ends", async () => {
  await using t = await botWorld();
  const end = t.world.clock.now() + 3_600_000;
  const { prefix } = await t.key({ expires_at: end });
  const rolled = await t.at.ask("POST", `${BOT_KEYS}/${prefix}/roll`, {});
  expect([rolled.status, rolled.data["expires_at"]]).toEqual([201, end]);
  expect(await t.at.audited()).toMatchObject([{ action: "key.rolled", detail: { old_ends_at: end } }]);
});

test("an end that does not lie ahead is refused, so that seconds are not taken for milliseconds", async () => {
  await using t = await botWorld();
  for (const expires_at of [5, t.world.clock.now(), Math.floor(t.world.clock.now() / 1000)]) {
    const { status, msg } = await t.at.ask("POST", BOT_KEYS, { label: "short", expires_at });
    expect([status, msg]).toEqual([
      400,
      expect.stringContaining(`expires_at is ${new Date(expires_at).toISOString()}`),
    ]);
    expect(msg).not.toMatch(/\d{9}/);
    expect((await t.at.ask("POST", CLIENTS, { ...NEW_BOT, client: "short", expires_at })).status).toBe(400);
  }
});

test("every app is written as *, and what the command line calls so is refused", async () => {
  await using t = await botWorld();
  const grants = [{ apps: ["all"], actions: ["token:read"] }];
  expect((await t.at.ask("POST", CLIENTS, { ...NEW_BOT, client: "other", grants })).status).toBe(400);
  expect((await t.at.ask("PATCH", BOT, { grants })).status).toBe(400);
});

test.each(["Bearer", "bearer\tats_x", "ats_abc", "Token ats_x", "Bearer "])(
  "an Authorization of %s is a wrong key and no anonymous caller",
  async (authorization) => {
    await using t = await botWorld();
    const path = `/AccessToken/getXcx?appid=${WX.appId}`;
    expect((await t.world.request(path)).code).toBe(0);
    expect((await t.world.request(path, { headers: { authorization } })).code).toBe(401);
  },
);

test("an Authorization of another scheme is a proxy's own affair", async () => {
  await using t = await botWorld();
  const headers = { authorization: "Basic dXNlcjpwYXNz" };
  expect((await t.world.request(`/AccessToken/getXcx?appid=${WX.appId}`, { headers })).code).toBe(0);
});

test("a client with addresses that asks in a dubious way is told what is wrong with that", async () => {
  await using t = await botWorld();
  await t.at.ask("PATCH", BOT, { networks: ["127.0.0.0/8"] });
  const { key } = await t.key();
  const headers = { "x-api-key": key, "x-forwarded-for": "127.0.0.1" };
  const { code, msg } = await t.world.request(`/AccessToken/getXcx?appid=${WX.appId}`, { headers });
  expect([code, msg]).toEqual([403, expect.stringContaining("TRUSTED_PROXIES")]);
});

test("an ETag of a client that was removed does not fit a new one of its name", async () => {
  await using t = await botWorld();
  const { headers } = await t.at.ask("GET", BOT);
  await t.at.ask("DELETE", BOT);
  await t.at.ask("POST", CLIENTS, NEW_BOT);
  const ifMatch = headers.get("etag") ?? "";
  expect((await t.at.ask("DELETE", BOT, undefined, { ifMatch })).status).toBe(412);
});

test("P7: a key is found and revoked by its public beginning alone, whoever's it is", async () => {
  await using t = await botWorld();
  const { key, prefix } = await t.key({ label: "leaked" });
  const path = `/v1/keys/${prefix}`;
  expect((await t.at.ask("GET", path)).data).toMatchObject({
    client: "bot",
    key: prefix,
    label: "leaked",
    state: "active",
  });
  expect([await t.statusWith(key), (await t.at.ask("GET", path, undefined, { key })).status]).toEqual([
    200, 403,
  ]);
  expect((await t.at.ask("DELETE", path, undefined, { key })).status).toBe(403);
  expect((await t.at.ask("DELETE", path)).status).toBe(200);
  expect(await t.statusWith(key)).toBe(401);
  expect(await t.at.audited()).toMatchObject([
    { by: "admin", action: "key.revoked", detail: { of: "bot", key: prefix } },
  ]);
  expect((await t.at.ask("GET", path)).data["state"]).toBe("revoked");
  for (const gone of [path, "/v1/keys/ats_00000000"])
    expect((await t.at.ask("DELETE", gone)).status).toBe(404);
  expect((await t.at.ask("GET", "/v1/keys/ats_00000000")).status).toBe(404);
});
