import { afterAll, beforeAll, expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import { addAuthorized, COMPONENT, GAME, nameWith, SHOP } from "../support/platforms.ts";

const OTHER = "wxc000000000000002";
const ACTIONS = ["view", "token:read", "callback:manage", "callback:receive", "oauth:manage"] as const;
const SHOP_OF = nameWith(SHOP, COMPONENT.id);
const GAME_OF = nameWith(GAME, COMPONENT.id);

let at: ManagingHarness;
let headers: Record<string, string>;
/** One account is held directly too, and two platforms have the other; a client may use those of the first platform. */
beforeAll(async () => {
  at = await ManagingHarness.create();
  for (const id of [COMPONENT.id, OTHER])
    await at.ask("POST", "/v1/platforms", { kind: "component", id, secret: COMPONENT.secret });
  await at.ask("POST", "/v1/apps", { platform: "weixin", app_id: SHOP, secret: "a".repeat(32) });
  await addAuthorized(at.world, SHOP, COMPONENT.id);
  for (const platform of [COMPONENT.id, OTHER]) await addAuthorized(at.world, GAME, platform);
  const grants = [{ apps: [`platform:${COMPONENT.id}/*`], actions: ACTIONS }];
  headers = { "x-api-key": await createClient(at.world, { name: "shop", grants }) };
});
afterAll(() => at[Symbol.asyncDispose]());

async function ask(method: string, path: string, body?: object) {
  const sent = body && {
    body: JSON.stringify(body),
    headers: { ...headers, "content-type": "application/json" },
  };
  const { status, data } = await at.world.request(`/v1/apps/${path}`, { method, headers, ...sent });
  return [status, data["app"]];
}

test("an AppID means the account that the caller may use, whatever is asked of it, and not the app of that AppID", async () => {
  for (const [account, name] of [
    [SHOP, SHOP_OF],
    [GAME, GAME_OF],
  ] as const) {
    expect(await ask("GET", account)).toEqual([200, name]);
    expect(await ask("PUT", `${account}/callbacks`, {})).toEqual([201, name]);
    expect(await ask("GET", `${account}/callbacks`)).toEqual([200, name]);
    for (const path of ["history", "deliveries"])
      expect((await ask("GET", `${account}/${path}`))[0]).toBe(200);
    const origins = { redirect_origins: ["https://shop.example.com"] };
    expect(await ask("PUT", `${account}/redirect-origins/dev`, origins)).toEqual([200, name]);
    expect(await ask("GET", `${account}/redirect-origins`)).toEqual([200, name]);
    expect((await ask("DELETE", `${account}/callbacks`))[0]).toBe(200);
    expect((await ask("GET", `${account}/callbacks`))[0]).toBe(404);
  }
  const { data } = await at.ask("GET", `/v1/apps/${SHOP}/redirect-origins`);
  expect(data).toMatchObject({ app: SHOP, environments: [] });
});

test("settings that an app has left behind are not removed by who may use the account of that AppID alone", async () => {
  expect((await at.ask("PUT", `/v1/apps/${SHOP}/callbacks`, {})).status).toBe(201);
  expect((await ask("DELETE", `${SHOP}/callbacks`))[0]).toBe(404);
  expect((await at.ask("GET", `/v1/apps/${SHOP}/callbacks`)).status).toBe(200);
});
