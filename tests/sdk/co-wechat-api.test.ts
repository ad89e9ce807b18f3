import { afterAll, expect, test } from "bun:test";
import Api from "co-wechat-api";
import { ownCardSignature, ownSignature } from "./own-signature.ts";
import { refusalOf } from "./refusal.ts";
import { DELIVERIES, PICTURE, type SdkClient, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

const PAGE = { url: "https://shop.example.com/卡?a=1&b=%20", jsApiList: ["chooseImage"] };

/** An instance that is pointed at the service, and knows an API key for a secret. */
function apiOf(client: SdkClient): Api {
  const api = new Api(client.id, client.apiKey);
  api.prefix = `${at.url}/cgi-bin/`;
  api.snsPrefix = `${at.url}/sns/`;
  // Three seconds are little on a busy machine.
  api.setOpts({ timeout: 20_000 });
  return api;
}

test.each(DELIVERIES)("token, calls, signatures, login, upload and download, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const api = apiOf(client);
  const { accessToken } = await api.ensureAccessToken();
  expect(await api.getIp()).toEqual({ ip_list: ["106.55.206.146", "106.55.206.211"] });
  expect(await api.sendText("o1", "你好")).toEqual({ errcode: 0, errmsg: "ok" });

  const page = await api.getJsConfig(PAGE);
  const ticket = await at.credential(client, "jsapi_ticket");
  expect(page).toMatchObject({ appId: client.id, signature: ownSignature(ticket, { ...PAGE, ...page }) });
  const card = await api.getCardExt({ card_id: "pCard" });
  const cardTicket = await at.credential(client, "wx_card_ticket");
  expect(card.signature).toBe(ownCardSignature([cardTicket, "pCard", card.timestamp]));

  const session = await api.code2Session("sandbox-code-1");
  expect(session).toMatchObject({ openid: expect.stringMatching(/^o/) });
  expect(await refusalOf(api.code2Session("no-code"))).toMatchObject({ code: 40029 });

  const { media_id } = await api.uploadMedia(at.picture(client, "图片 1.jpg"), "image");
  expect((await api.getMedia(media_id)).equals(PICTURE)).toBe(true);
  expect(await refusalOf(api.getMedia("no-such-medium"))).toMatchObject({ code: 40007 });

  const real = await at.credential(client);
  expect(accessToken === real).toBe(delivery === "real");
  expect(at.everythingSeenBy(client).includes(real)).toBe(delivery === "real");
  expect(at.everythingSeenBy(client)).not.toContain(client.secret);
});

test.each([
  ["virtual", "noticed"],
  ["virtual", "unnoticed"],
  ["real", "noticed"],
  ["real", "unnoticed"],
] as const)("a killed token is healed, and the SDK goes on, %s, %s", async (delivery, how) => {
  const client = await at.weixin(delivery);
  const api = apiOf(client);
  await api.getIp();
  const dead = await at.credential(client);
  at.sandbox.killTokens(client.id, { unnoticed: how === "unnoticed" });
  const before = at.sandbox.calls("/cgi-bin/getcallbackip");
  expect(await api.getIp()).toHaveProperty("ip_list");
  // The dead one, the service's own question whether it is dead, and the healed one, at most.
  expect(at.sandbox.calls("/cgi-bin/getcallbackip") - before).toBeLessThanOrEqual(3);
  expect(await api.getIp()).toHaveProperty("ip_list");
  const real = await at.credential(client);
  expect(real).not.toBe(dead);
  // The SDK fetches no other: what it has is healed until its own end.
  expect((await api.ensureAccessToken()).accessToken).not.toBe(real);
  expect(at.everythingSeenBy(client).includes(dead)).toBe(delivery === "real");
  expect(at.everythingSeenBy(client)).not.toContain(real);
});

test("a wrong key is told as WeChat tells a wrong secret", async () => {
  const client = await at.weixin("real");
  const wrong = client.apiKey.replace(/.$/, (end) => (end === "0" ? "1" : "0"));
  const refused = apiOf({ ...client, apiKey: wrong }).getIp();
  expect(await refusalOf(refused)).toMatchObject({
    code: 40125,
    message: expect.stringContaining("invalid appsecret"),
  });
});

test("a developer's SDK calls and signs, but reaches no real user, and is told why", async () => {
  const client = await at.weixin();
  const api = apiOf(client);
  expect(await api.getIp()).toHaveProperty("ip_list");
  const page = await api.getJsConfig(PAGE);
  expect(page.signature).toBe(
    ownSignature(await at.credential(client, "jsapi_ticket"), { ...PAGE, ...page }),
  );
  const before = at.sandbox.calls("/cgi-bin/message/custom/send");
  const refused = await refusalOf(api.sendText("o1", "你好"));
  expect(refused).toMatchObject({ code: 48001, message: expect.stringContaining("policy (safe)") });
  expect(at.sandbox.calls("/cgi-bin/message/custom/send")).toBe(before);
  expect(at.everythingSeenBy(client)).not.toContain(await at.credential(client));
});
