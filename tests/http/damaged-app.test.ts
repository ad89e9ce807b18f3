import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config.ts";
import { openLocalService } from "../../src/service.ts";
import { ManagingHarness } from "../support/managing-harness.ts";
import { CORP, Harness, WECOM, WX, WX_FOREIGN } from "../support/harness.ts";

const DAMAGED = { platform: "weixin", app_id: WX_FOREIGN.appId, secret: WX_FOREIGN.secret };
const APP = `/v1/apps/${WX_FOREIGN.appId}`;
const TOKEN = `${APP}/credentials/access_token`;

/** A service with a registered app whose secret in the database has been spoilt, and that has been started again. */
async function setup() {
  const at = await ManagingHarness.create();
  expect((await at.ask("POST", "/v1/apps", DAMAGED)).status).toBe(201);
  await at.world.stop();
  at.database.run(
    "UPDATE apps SET secret = substr(secret, 1, 20) || 'AAAA' || substr(secret, 25) WHERE source = 'managed'",
  );
  await at.world.start();
  return at;
}

test("P4: a registered app whose secret is damaged is refused and told of, and costs no other app anything", async () => {
  await using at = await setup();
  const { status, msg } = await at.ask("GET", TOKEN);
  expect([status, msg]).toEqual([403, expect.stringContaining("must be set again")]);
  expect((await at.ask("GET", `/v1/apps/${WX.appId}/credentials/access_token`)).status).toBe(200);
  expect(at.world.events).toContainEqual(
    expect.objectContaining({ type: "store.damaged", key: `weixin:${WX_FOREIGN.appId}:` }),
  );
  const other = { platform: "weixin", app_id: "wx00000000000000dd", secret: "other-secret" };
  expect((await at.ask("POST", "/v1/apps", other)).status).toBe(201);
  expect((await at.ask("PATCH", "/v1/apps/wx00000000000000dd", { disabled: true })).data).toMatchObject({
    disabled: true,
  });
});

test("a damaged secret is put right by a new one, and not by any other change", async () => {
  await using at = await setup();
  expect((await at.ask("PATCH", APP, { title: "Shop" })).status).toBe(409);
  expect((await at.ask("PATCH", APP, { secret: WX_FOREIGN.secret })).status).toBe(200);
  expect((await at.ask("GET", TOKEN)).status).toBe(200);
});

test("the command line opens a database with a damaged app, and removes it", async () => {
  await using at = await setup();
  const variables = { ENV_FILE: "", DATABASE_URL: `file:${at.world.databasePath}` };
  const local = await openLocalService(loadConfig(variables));
  const removed = await local.handle(new Request(`http://localhost${APP}`, { method: "DELETE" }));
  await local.close();
  expect(removed.status).toBe(200);
  await Harness.until(async () => {
    // The service looks for changes by its own clock.
    at.world.clock.advance(50);
    return (await at.ask("GET", APP)).status === 404;
  });
});

test("P4: the command line opens the secret of the app that it needs: another's may be damaged", async () => {
  await using at = await ManagingHarness.create();
  const { world } = at;
  at.database.run("UPDATE apps SET secret = 'does not open' WHERE platform = 'wecom'");
  const local = await openLocalService(
    loadConfig({
      ENV_FILE: "",
      DATABASE_URL: `file:${world.databasePath}`,
      WEIXIN_BASE_URL: world.sandbox.weixinUrl,
      WECOM_BASE_URL: world.sandbox.wecomUrl,
    }),
  );
  const get = (path: string) => local.handle(new Request(`http://localhost/v1/apps${path}`));
  const token = (app: string) => get(`/${app}/credentials/access_token`);
  const statuses = [await get(""), await token(WX.appId), await token(`${CORP}_${WECOM.agent}`)];
  await local.close();
  expect(statuses.map(({ status }) => status)).toEqual([200, 200, 503]);
});
