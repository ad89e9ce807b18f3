import { afterAll, expect, test } from "bun:test";
import { promisify } from "node:util";
import API from "wechat-api";
import { ownSignature } from "./own-signature.ts";
import { refusalOf } from "./refusal.ts";
import { DELIVERIES, PICTURE, type SdkClient, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

const PAGE = { url: "https://shop.example.com/?a=1", jsApiList: ["chooseImage"] };

/** The methods of an instance that is pointed at the service, and knows an API key for a secret. */
function apiOf(client: SdkClient) {
  const api = new API(client.id, client.apiKey);
  api.endpoint = at.url;
  api.fileServerPrefix = `${at.url}/cgi-bin/`;
  // Five seconds are little on a busy machine.
  api.setOpts({ timeout: 20_000 });
  return {
    getIp: promisify(api.getIp.bind(api)),
    sendText: promisify(api.sendText.bind(api)),
    getJsConfig: promisify(api.getJsConfig.bind(api)),
    uploadMedia: promisify(api.uploadMedia.bind(api)),
    getMedia: promisify(api.getMedia.bind(api)),
  };
}

test.each(DELIVERIES)("token, calls, signature, upload and download, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const api = apiOf(client);
  expect(await api.getIp()).toHaveProperty("ip_list");
  expect(await api.sendText("o1", "你好")).toEqual({ errcode: 0, errmsg: "ok" });
  const page = await api.getJsConfig(PAGE);
  const ticket = await at.credential(client, "jsapi_ticket");
  expect(page.signature).toBe(ownSignature(ticket, { ...PAGE, ...page }));
  const { media_id } = await api.uploadMedia(at.picture(client), "image");
  expect((await api.getMedia(media_id)).equals(PICTURE)).toBe(true);
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});

test("a killed token is healed although the SDK fetches no other", async () => {
  const client = await at.weixin("virtual");
  const api = apiOf(client);
  await api.getIp();
  at.sandbox.killTokens(client.id);
  expect(await api.getIp()).toHaveProperty("ip_list");
});

test("a wrong key is told as WeChat tells a wrong secret", async () => {
  const client = await at.weixin("virtual");
  const wrong = client.apiKey.replace(/.$/, (end) => (end === "0" ? "1" : "0"));
  expect(await refusalOf(apiOf({ ...client, apiKey: wrong }).getIp())).toMatchObject({ code: 40125 });
});
