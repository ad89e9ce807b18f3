import { afterAll, beforeAll, expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import { addAuthorized, COMPONENT, GAME, nameWith, SHOP } from "../support/platforms.ts";

const OTHER = "wxc000000000000002";
const ACTIONS = [
  "view",
  "token:read",
  "callback:manage",
  "callback:receive",
  "oauth:manage",
  "api:call",
] as const;
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

const LIST = { method: "GET", path: "/cgi-bin/user/get" };

test("P7: an administrator who calls as a client by an AppID calls the account that it means to that client, and is told so before and after", async () => {
  const query = new URLSearchParams({ path: LIST.path, as: "shop" }).toString();
  expect((await at.ask("GET", `/v1/apps/${SHOP}/call?${query}`)).data).toMatchObject({ allowed: true });
  const made = await at.ask("POST", `/v1/apps/${SHOP}/call`, { ...LIST, as: "shop" });
  // Said of an account alone, whose platform has had no ticket.
  expect(made.data["body"]).toContain("WeChat pushes this credential");
  const entry = { action: "gateway.called_as", app: SHOP_OF, detail: { client: "shop" } };
  expect(await at.audited()).toMatchObject([entry]);
  expect((await at.ask("POST", `/v1/apps/${GAME}/call`, { ...LIST, as: "shop" })).status).toBe(400);
  expect((await at.ask("POST", `/v1/apps/${GAME_OF}/call`, { ...LIST, as: "shop" })).status).toBe(200);
});

test("a check takes an AppID for the account that it means to the client", async () => {
  for (const app of [SHOP, GAME])
    expect((await at.ask("POST", "/v1/clients/shop/check", { app, ...LIST })).data).toMatchObject({
      allowed: true,
    });
  const change = { grants: [{ apps: [SHOP], actions: ["view"] }] };
  const { data } = await at.ask("POST", "/v1/clients/shop/check", { app: SHOP, ...LIST, change });
  expect(data).toMatchObject({ allowed: false, reason: expect.stringContaining("not granted") });
});

test("who may receive pushes of one account and manage those of another is told that their AppID means both", async () => {
  const grants = [
    { apps: [nameWith(GAME, OTHER)], actions: ["callback:receive"] as const },
    { apps: [GAME_OF], actions: ["callback:manage"] as const },
  ];
  const own = { "x-api-key": await createClient(at.world, { name: "both", grants }) };
  const { status, msg } = await at.world.request(`/v1/apps/${GAME}/deliveries`, { headers: own });
  expect([status, msg]).toEqual([400, expect.stringContaining(GAME_OF)]);
  for (const name of [GAME_OF, nameWith(GAME, OTHER)])
    expect((await at.world.request(`/v1/apps/${name}/deliveries`, { headers: own })).status).toBe(200);
});
