import { expect, test } from "bun:test";
import { CORP, WECOM_CONTACTS, WECOM_FOREIGN, Harness, WX } from "../support/harness.ts";

const CONTACTS = { corpid: CORP, agentid: WECOM_CONTACTS.agent };

test("a secret that was corrected is not served what the wrong one got", async () => {
  await using world = await Harness.create({
    environment: { [`WECOM_SECRET_${CORP}_${WECOM_CONTACTS.agent}`]: WECOM_FOREIGN.secret },
  });
  const wrong = await world.get("/AccessToken/getQyapi", CONTACTS);

  await world.stop();
  await world.start({ [`WECOM_SECRET_${CORP}_${WECOM_CONTACTS.agent}`]: WECOM_CONTACTS.secret });
  const right = await world.get("/AccessToken/getQyapi", CONTACTS);

  expect(wrong.code).toBe(0);
  expect(right.code).toBe(0);
  expect(right.data.access_token).not.toBe(wrong.data.access_token);
});

test("a changed secret of one app leaves the tokens of the others alone", async () => {
  await using world = await Harness.create();
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  await world.get("/AccessToken/getQyapi", CONTACTS);

  await world.stop();
  world.sandbox.changeWeixinApp(WX.appId, { secret: "ffffffffffffffffffffffffffffffff" });
  world.sandbox.resetCalls();
  await world.start({ [`WEIXIN_SECRET_${WX.appId}`]: "ffffffffffffffffffffffffffffffff" });
  await world.get("/AccessToken/getXcx", { appid: WX.appId });
  await world.get("/AccessToken/getQyapi", CONTACTS);

  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(1);
  expect(world.sandbox.calls("/cgi-bin/gettoken")).toBe(0);
});
