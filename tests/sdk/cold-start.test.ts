import { afterAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Api from "co-wechat-api";
import { OfficialAccount, Work } from "node-easywechat";
import { Wechat } from "wechat-jssdk";
import { DELIVERIES, type SdkClient, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

const DEADLINE_MS = 60_000;

/** The options of one instance among many, with a folder of its own. */
function options(client: SdkClient, n: number) {
  const path = join(client.folder, `instance-${n}`);
  mkdirSync(path);
  return {
    secret: client.apiKey,
    http: { baseURL: at.url, timeout: DEADLINE_MS },
    file_cache: { path, dirMode: 0o700, fileMode: 0o600, ext: ".cache" },
  };
}

/** The first API call of a fresh instance of one SDK or another; gives what it was answered. */
async function firstCall(client: SdkClient, n: number): Promise<object> {
  if (n % 5 === 0) {
    const wx = new Wechat({
      appId: client.id,
      appSecret: client.apiKey,
      accessTokenUrl: `${at.url}/cgi-bin/token`,
      ticketUrl: `${at.url}/cgi-bin/ticket/getticket`,
      storeOptions: { fileStorePath: join(client.folder, `instance-${n}.json`), noInterval: true },
    });
    const signature = await wx.jssdk.getSignature("https://shop.example.com/");
    wx.store.destroy();
    return signature;
  }
  if (n % 2 === 0) {
    const api = new Api(client.id, client.apiKey);
    api.prefix = `${at.url}/cgi-bin/`;
    api.setOpts({ timeout: DEADLINE_MS });
    return api.getIp();
  }
  const isStable = n % 3 === 0;
  const app = new OfficialAccount({
    app_id: client.id,
    use_stable_access_token: isStable,
    ...options(client, n),
  });
  return (await app.getClient().get("/cgi-bin/getcallbackip")).toObject<object>();
}

const HUNDRED = Array.from({ length: 100 }, (_, n) => n);

test.each(DELIVERIES)(
  "P1: a hundred SDK instances cold at once cost one upstream token call, and none fails its first API call, %s",
  async (delivery) => {
    const client = await at.weixin(delivery);
    at.sandbox.resetCalls();
    const answers = await Promise.all(HUNDRED.map((n) => firstCall(client, n)));
    for (const [n, answer] of answers.entries()) {
      expect(answer).toHaveProperty(n % 5 === 0 ? "signature" : "ip_list");
    }
    expect(at.sandbox.calls("/cgi-bin/stable_token") + at.sandbox.calls("/cgi-bin/token")).toBe(1);
    expect(at.sandbox.calls("/cgi-bin/ticket/getticket")).toBe(1);
    expect(at.sandbox.calls("/cgi-bin/getcallbackip")).toBe(80);
  },
);

test("P1: a hundred instances of WeCom's cold at once cost one upstream token call", async () => {
  const client = await at.wecom("virtual");
  at.sandbox.resetCalls();
  const answers = await Promise.all(
    HUNDRED.map(async (n) => {
      const app = new Work({ corp_id: client.id, ...options(client, n) });
      return (await app.getClient().get("/cgi-bin/getcallbackip")).toObject<object>();
    }),
  );
  for (const answer of answers) expect(answer).toMatchObject({ errcode: 0 });
  expect(at.sandbox.calls("/cgi-bin/gettoken", "wecom")).toBe(1);
});

test.each(DELIVERIES)(
  "P1: a hundred instances that meet a dead token cost one more, %s",
  async (delivery) => {
    const client = await at.weixin(delivery);
    const apis = HUNDRED.map(() => {
      const api = new Api(client.id, client.apiKey);
      api.prefix = `${at.url}/cgi-bin/`;
      api.setOpts({ timeout: DEADLINE_MS });
      return api;
    });
    await Promise.all(apis.map((api) => api.getIp()));
    at.sandbox.killTokens(client.id);
    at.sandbox.resetCalls();
    for (const answer of await Promise.all(apis.map((api) => api.getIp())))
      expect(answer).toHaveProperty("ip_list");
    expect(at.sandbox.calls("/cgi-bin/stable_token")).toBe(1);
  },
);
