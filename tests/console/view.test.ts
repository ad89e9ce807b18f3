import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { ConsolePage } from "../support/console-page.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";

const WECOM_APP = `${CORP}_${WECOM.agent}`;
const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;

/** A viewer of one app who has signed in, after somebody has used and cleared two apps. */
async function setup(apps: readonly string[]) {
  const world = await Harness.create({ environment: { ANONYMOUS: "off" } });
  for (const app of [WX.appId, WECOM_APP]) {
    const path = `/v1/apps/${app}/credentials/access_token`;
    const key = await createClient(world, {
      name: `user-of-${app.toLowerCase().replace("_", "-")}`,
      grants: [{ apps: [app], actions: ["token:read", "token:clear"] }],
    });
    const headers = { authorization: `Bearer ${key}` };
    await world.get(path, {}, { headers });
    await world.request(path, { method: "DELETE", headers });
  }
  world.clock.advance(60_000);
  const page = new ConsolePage(world);
  await page.signIn(await createClient(world, { name: "viewer", grants: [{ apps, actions: ["view"] }] }));
  // Counts are written once a second.
  const countsOf = async (app: string) =>
    (await world.administer(`/v1/audit/usage?app=${app}`)).data["usage"] as [];
  await Harness.until(
    async () => (await countsOf(WX.appId)).length > 0 && (await countsOf(WECOM_APP)).length > 0,
  );
  const appsIn = async (path: string, name: string) => {
    const rows = (await page.get(path)).data[name] as { readonly app?: string }[];
    return new Set(rows.map(({ app }) => app));
  };
  return { world, page, appsIn, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("who may view an app sees it and its state, and gets no value, signature or call of it", async () => {
  await using it = await setup([WX.appId]);
  const { page } = it;
  expect((await page.get("/v1/apps")).data["apps"]).toMatchObject([{ app: WX.appId }]);
  expect((await page.get(`/v1/apps/${WX.appId}`)).status).toBe(200);
  const refused = [
    await page.get(TOKEN),
    await page.get(`/v1/apps/${WX.appId}/credentials/jsapi_ticket`),
    await page.send("DELETE", TOKEN),
    await page.send("POST", `${TOKEN}/refresh`, {}),
    await page.send("POST", `/v1/apps/${WX.appId}/signatures/jsapi`, { url: "https://a.example/" }),
    await page.send("PATCH", `/v1/apps/${WX.appId}`, { title: "x" }),
    await page.get("/v1/clients"),
    await page.get(`/v1/apps/${WECOM_APP}`),
  ];
  expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 403));
});

test("who may view an app sees the audit of that app alone: entries and usage, no denials, export or verification", async () => {
  await using it = await setup([WX.appId]);
  const { page, appsIn } = it;
  expect(await appsIn("/v1/audit", "entries")).toEqual(new Set([WX.appId]));
  expect(await appsIn("/v1/audit/usage", "usage")).toEqual(new Set([WX.appId]));
  expect((await page.get(`/v1/audit?app=${WECOM_APP}`)).data["entries"]).toEqual([]);
  for (const path of ["denials", "refusals", "export", "verify"])
    expect([path, (await page.get(`/v1/audit/${path}`)).status]).toEqual([path, 403]);
});

test("who may view every app sees the audit of every app, and nothing of clients and keys", async () => {
  await using it = await setup(["*"]);
  const both = new Set([WX.appId, WECOM_APP]);
  expect(await it.appsIn("/v1/audit", "entries")).toEqual(both);
  expect(await it.appsIn("/v1/audit/usage", "usage")).toEqual(both);
});

test("whoever may view nothing sees no audit, a caller from a trusted network neither", async () => {
  await using it = await setup([WX.appId]);
  const other = new ConsolePage(it.world);
  const grants = [{ apps: ["*"], actions: ["token:read" as const] }];
  await other.signIn(await createClient(it.world, { name: "reader", grants }));
  expect((await other.get("/v1/audit")).status).toBe(403);
  await using open = await Harness.create({ environment: { ANONYMOUS: "on" } });
  expect((await open.get("/v1/audit")).status).toBe(403);
});
