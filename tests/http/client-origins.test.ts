import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { WX } from "../support/harness.ts";
import { BOT, CLIENTS, ManagingHarness } from "../support/managing-harness.ts";

const [SHOP, OTHER] = ["https://shop.example", "https://other.example"];

/** A service whose signature routes pages of two origins may call, with a client that is for one of them alone. */
async function setup() {
  const at = await ManagingHarness.create();
  const { world } = at;
  await at.ask("PATCH", "/v1/settings", { cors_origins: [SHOP, OTHER] });
  const key = await createClient(world, {
    name: "bot",
    grants: [{ apps: [WX.appId], actions: ["ticket:sign", "token:read"] }],
  });
  const sign = async (origin?: string) => {
    const headers = { "x-api-key": key, ...(origin === undefined ? {} : { origin }) };
    return (
      await world.post("/JsSDK/getJsApiSign", { wx_app_id: WX.appId, url: `${SHOP}/page` }, { headers })
    ).code;
  };
  return { at, key, sign, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

test("a client's origins narrow which pages may call with its key, and nothing else", async () => {
  await using t = await setup();
  expect([await t.sign(SHOP), await t.sign(OTHER), await t.sign()]).toEqual([0, 0, 0]);
  const changed = await t.at.ask("PATCH", BOT, { origins: [SHOP] });
  expect([changed.status, changed.data["origins"]]).toEqual([200, [SHOP]]);
  expect([await t.sign(SHOP), await t.sign(OTHER), await t.sign("null"), await t.sign()]).toEqual([
    0, 403, 403, 0,
  ]);
  // An origin of a client opens nothing that CORS_ORIGINS does not.
  await t.at.ask("PATCH", "/v1/settings", { cors_origins: [] });
  const url = `${t.at.world.service.url}/JsSDK/getJsApiSign`;
  const headers = { origin: SHOP, "access-control-request-method": "POST" };
  expect((await fetch(url, { method: "OPTIONS", headers })).status).not.toBe(204);
  expect((await t.at.ask("PATCH", BOT, { origins: [] })).data["origins"]).toBeUndefined();
  expect(await t.sign(OTHER)).toBe(0);
});

test("what is no origin is refused, and one that can't be read leaves the client without any right", async () => {
  await using t = await setup();
  for (const wrong of ["*", "https://shop.example/", "shop.example"]) {
    const body = { client: "new", environment: "dev", grants: [], origins: [wrong] };
    expect((await t.at.ask("POST", CLIENTS, body)).status).toBe(400);
    expect((await t.at.ask("PATCH", BOT, { origins: [wrong] })).status).toBe(400);
  }
  t.at.database.run("UPDATE clients SET origins = 'no origin' WHERE name = 'bot'");
  t.at.database.run("UPDATE revisions SET number = number + 1 WHERE name = 'clients'");
  expect((await t.at.ask("GET", BOT)).data["damaged"]).toEqual(["origins"]);
  expect(await t.sign()).toBe(403);
  expect((await t.at.ask("PATCH", BOT, { origins: [SHOP] })).status).toBe(200);
  expect([await t.sign(SHOP), await t.sign(OTHER)]).toEqual([0, 403]);
});
