import { expect, test } from "bun:test";
import { WX, WX_FOREIGN } from "../support/harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";

/** A service with a registered app, and a hand at its row. */
async function setup() {
  const managing = await ManagingHarness.create();
  const { appId, secret } = WX_FOREIGN;
  const body = { platform: "weixin", app_id: appId, secret, title: "shop" };
  await managing.ask("POST", "/v1/apps", body);
  /** Changes its row while nobody has it in memory. */
  const damage = async (set: string) => {
    await managing.world.stop();
    managing.database.run(`UPDATE apps SET ${set} WHERE source = 'managed'`);
    await managing.world.start();
  };
  const token = async (app: string) => (await managing.ask("GET", `/AccessToken/getXcx?appid=${app}`)).code;
  const shown = () => managing.ask("GET", `/v1/apps/${appId}`);
  return {
    ...{ managing, appId, secret, damage, token, shown },
    [Symbol.asyncDispose]: () => managing[Symbol.asyncDispose](),
  };
}

test.each([
  "title = x'00ff'",
  "version = 'x'",
  "version = 1.5",
  "version = 9e99",
  "updated_at = 'x'",
  "token_mode = 'fast'",
  "secret = x'00ff'",
])(
  "a registered app with %s is closed, is told of, and harms no other; setting it again or removing it helps",
  async (set) => {
    await using t = await setup();
    await t.damage(set);
    expect((await t.shown()).status).toBe(200);
    expect([await t.token(t.appId), await t.token(WX.appId)]).toEqual([403, 0]);
    expect(t.managing.world.events).toContainEqual({ type: "store.damaged", key: `weixin:${t.appId}:` });
    const refused = await t.managing.ask("PATCH", `/v1/apps/${t.appId}`, { title: "x" });
    expect(refused.status).toBe(409);
    const mended = await t.managing.ask("PATCH", `/v1/apps/${t.appId}`, { secret: t.secret, mode: "stable" });
    expect([mended.status, await t.token(t.appId)]).toEqual([200, 0]);
    await t.damage(set);
    expect((await t.managing.ask("DELETE", `/v1/apps/${t.appId}`)).status).toBe(200);
  },
);

test.each(["'x'", "2", "x'00'", "9e99"])(
  "an app that was disabled stays so where %s stands for it",
  async (value) => {
    await using t = await setup();
    await t.damage(`is_disabled = ${value}`);
    expect((await t.shown()).data).toMatchObject({ disabled: true });
    expect(await t.token(t.appId)).toBe(403);
    await t.managing.ask("PATCH", `/v1/apps/${t.appId}`, { disabled: false });
    expect(await t.token(t.appId)).toBe(0);
  },
);
