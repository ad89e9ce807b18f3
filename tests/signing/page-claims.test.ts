import { expect, test } from "bun:test";
import { mergeClaims, type PageClaims, readPasted } from "../../src/signing/page-claims.ts";

const SIGNATURE = "0f9de62fce790f9a083d5c99e95740ceb90c27ed";
const PASTED: readonly (readonly [what: string, text: string, claims: PageClaims])[] = [
  [
    "a call of wx.config",
    `wx.config({\n  debug: true, // 调试\n  appId: 'wx01', timestamp: 1414587457, nonceStr: "Wm3W", signature: \`${SIGNATURE}\`,\n  jsApiList: ['a'] })`,
    {
      appId: "wx01",
      timestamp: "1414587457",
      isTimestampQuoted: false,
      nonce: "Wm3W",
      nonceNames: ["nonceStr"],
      signature: SIGNATURE,
      call: "config",
    },
  ],
  [
    "a call of wx.agentConfig",
    `wx.agentConfig({corpid:"ww01",agentid:1000002,timestamp:"1414587457",nonceStr:"n",signature:"${SIGNATURE}"})`,
    {
      appId: "ww01",
      agentId: "1000002",
      timestamp: "1414587457",
      isTimestampQuoted: true,
      nonce: "n",
      nonceNames: ["nonceStr"],
      signature: SIGNATURE,
      call: "agentConfig",
    },
  ],
  [
    "the JSON of a back end",
    `{"code":0,"data":{"app_id":"wx01","noncestr":"n","timestamp":1414587457,"signature":"${SIGNATURE}","url":"https://a.com/p?timestamp=2&sign=x"}}`,
    {
      appId: "wx01",
      timestamp: "1414587457",
      isTimestampQuoted: false,
      nonce: "n",
      nonceNames: ["noncestr"],
      signature: SIGNATURE,
      url: "https://a.com/p?timestamp=2&sign=x",
    },
  ],
  [
    "the string that was hashed, and its hash",
    `jsapi_ticket=sM4A-_&noncestr=n&timestamp=1414587457&url=http://a.com?x=1&y=2\n${SIGNATURE} https://a.com/?x=1`,
    {
      ticket: "sM4A-_",
      nonce: "n",
      timestamp: "1414587457",
      url: "http://a.com?x=1&y=2",
      href: "https://a.com/?x=1",
      signature: SIGNATURE,
    },
  ],
  [
    "PHP's array",
    `'appId' => 'wx01', 'nonceStr' => 'n', 'timestamp' => 1414587457, 'signature' => '${SIGNATURE}'`,
    {
      appId: "wx01",
      timestamp: "1414587457",
      isTimestampQuoted: false,
      nonce: "n",
      signature: SIGNATURE,
    },
  ],
  [
    "addresses with labels",
    "签名地址：https://a.com/，\n手机上 location.href = https://a.com/cart?from=x#/b；\n首次进入：https://a.com/home",
    { url: "https://a.com/", href: "https://a.com/cart?from=x#/b", landingUrl: "https://a.com/home" },
  ],
  [
    "two addresses without",
    "https://a.com/1 https://a.com/2",
    { url: "https://a.com/1", href: "https://a.com/2" },
  ],
  ["an encoded address", "url=https%3A%2F%2Fa.com%2F%3Fx", { url: "https%3A%2F%2Fa.com%2F%3Fx" }],
  [
    "WeChat's message and a user agent",
    '{"errMsg":"config:fail,Error: 系统错误,错误码:63002,invalid signature [20201208 08:03:44][]"}\nMozilla/5.0 (iPhone; CPU iPhone OS 17_0) MicroMessenger/8.0.50',
    {
      error: "config:fail,Error: 系统错误,错误码:63002,invalid signature [20201208 08:03:44][]",
      platform: "ios",
      browser: "wechat",
    },
  ],
  [
    "code with variables",
    "wx.config({ appId: config.appId, timestamp: res.data.timestamp, nonceStr: nonce, signature: sign(url), jsApiList })",
    { nonceNames: ["nonceStr"], call: "config" },
  ],
  ["nothing of it", "it does not work", {}],
];

test.each(PASTED)("of %s is read what it says, and nothing else", (_, text, claims) => {
  expect(readPasted(text)).toEqual(claims);
});

test("what was said goes before what was pasted, and what was not said does not", () => {
  const pasted = readPasted("https://a.com/1 Android");
  expect(mergeClaims({ url: "https://a.com/2", href: undefined }, pasted)).toEqual({
    url: "https://a.com/2",
    platform: "android",
  });
});

test("a long paste of any kind is read in no time", () => {
  for (const part of [
    "http://",
    "a=",
    "timestamp: '",
    "jsapi_ticket=",
    '"nonceStr"',
    "&amp;",
    "config:fail",
  ]) {
    const startedAt = performance.now();
    readPasted(part.repeat(32_768 / part.length));
    expect(performance.now() - startedAt).toBeLessThan(2000);
  }
});

test("an address with very much punctuation behind it is read in no time", () => {
  const before = process.cpuUsage();
  expect(readPasted(`https://${")".repeat(32_700)}x`).url).toEndWith("x");
  expect(readPasted(`(https://a.com/1),;)`).url).toBe("https://a.com/1");
  expect(process.cpuUsage(before).user).toBeLessThan(200_000);
});
