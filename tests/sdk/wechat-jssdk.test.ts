import { afterAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Wechat } from "wechat-jssdk";
import { Harness } from "../support/harness.ts";
import { ownCardSignature, ownSignature } from "./own-signature.ts";
import { refusalOf } from "./refusal.ts";
import { DELIVERIES, type SdkClient, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

const PAGE = "https://shop.example.com/卡?a=1&b=%20";

/** An instance that is pointed at the service, and knows an API key for a secret. Dispose of its store. */
function wechatOf(client: SdkClient): Wechat {
  return new Wechat({
    appId: client.id,
    appSecret: client.apiKey,
    accessTokenUrl: `${at.url}/cgi-bin/token`,
    ticketUrl: `${at.url}/cgi-bin/ticket/getticket`,
    apiUrl: at.url,
    card: true,
    miniProgram: {
      appId: client.id,
      appSecret: client.apiKey,
      GET_SESSION_KEY_URL: `${at.url}/sns/jscode2session`,
    },
    storeOptions: { fileStorePath: fileOf(client), noInterval: true },
  });
}

function fileOf(client: SdkClient): string {
  return join(client.folder, "wechat-info.json");
}

test.each(DELIVERIES)("token, signature, card and logins, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const wx = wechatOf(client);
  const page = await wx.jssdk.getSignature(`${PAGE}#part`);
  expect(page).toMatchObject({ appId: client.id, url: PAGE });
  expect(page.signature).toBe(ownSignature(await at.credential(client, "jsapi_ticket"), page));

  const card = JSON.parse(await wx.card.getCardExt("pCard")) as Record<
    "timestamp" | "nonce_str" | "signature",
    string
  >;
  const ticket = await at.credential(client, "wx_card_ticket");
  expect(card.signature).toBe(ownCardSignature([ticket, "pCard", card.timestamp, card.nonce_str]));

  // The user's own token goes through; it has nothing to do with the app's.
  const user = await wx.oauth.getUserInfo("sandbox-code-1");
  expect(user).toMatchObject({ openid: expect.stringMatching(/^o/), nickname: "沙箱用户" });
  const session = await wx.miniProgram.getSession("sandbox-code-2");
  expect(session).toMatchObject({ session_key: expect.stringMatching(/==$/) });
  expect(await refusalOf(wx.miniProgram.getSession("no-code"))).toMatchObject({ errcode: 40029 });

  const real = await at.credential(client);
  const { accessToken } = await wx.store.getGlobalToken();
  expect(accessToken === real).toBe(delivery === "real");
  // It writes its file when it has answered already.
  await Harness.until(() => readFileSync(fileOf(client), "utf8").includes(accessToken));
  expect(at.everythingSeenBy(client).includes(real)).toBe(delivery === "real");
  expect(at.everythingSeenBy(client)).not.toContain(client.secret);
  wx.store.destroy();
});

test.each([
  ["virtual", "noticed"],
  ["virtual", "unnoticed"],
  ["real", "noticed"],
  ["real", "unnoticed"],
] as const)("a ticket is had although the token was killed, %s, %s", async (delivery, how) => {
  const client = await at.weixin(delivery);
  const wx = wechatOf(client);
  await wx.jssdk.getSignature(PAGE);
  const dead = await at.credential(client);
  at.sandbox.killTokens(client.id, { unnoticed: how === "unnoticed" });
  // The SDK asks for the card's ticket with the token that it keeps.
  const card = JSON.parse(await wx.card.getCardExt("pCard")) as Record<
    "timestamp" | "nonce_str" | "signature",
    string
  >;
  const ticket = await at.credential(client, "wx_card_ticket");
  expect(card.signature).toBe(ownCardSignature([ticket, "pCard", card.timestamp, card.nonce_str]));
  const real = await at.credential(client);
  expect(real).not.toBe(dead);
  for (const token of [dead, real].slice(0, delivery === "real" ? 1 : 2)) {
    expect(at.everythingSeenBy(client).includes(token)).toBe(delivery === "real");
  }
  wx.store.destroy();
});

test("a wrong key is told as WeChat tells a wrong secret", async () => {
  const client = await at.weixin("real");
  const wx = wechatOf({ ...client, apiKey: client.apiKey.replace(/.$/, (end) => (end === "0" ? "1" : "0")) });
  expect(await refusalOf(wx.jssdk.getSignature(PAGE))).toMatchObject({
    errcode: 40125,
    errmsg: expect.stringContaining("invalid appsecret"),
  });
  wx.store.destroy();
});
