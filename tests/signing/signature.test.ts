import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { signJsApi } from "../../src/signing/page-signer.ts";

/** WeChat's own example. */
const OFFICIAL = {
  ticket: "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg",
  nonce: "Wm3WZYTPz0wzccnW",
  timestamp: 1414587457,
  url: "http://mp.weixin.qq.com?params=value",
};
const OFFICIAL_SIGNATURE = "0f9de62fce790f9a083d5c99e95740ceb90c27ed";

/** What is signed for `url`, spelt out. */
function signed(url: string): string {
  const { ticket, nonce, timestamp } = OFFICIAL;
  const text = `jsapi_ticket=${ticket}&noncestr=${nonce}&timestamp=${timestamp}&url=${url}`;
  return createHash("sha1").update(text).digest("hex");
}

test("WeChat's own example has WeChat's own signature", () => {
  expect(signJsApi(OFFICIAL)).toBe(OFFICIAL_SIGNATURE);
});

test("what follows the first # is not signed, whatever it holds", () => {
  for (const tail of ["#", "#wechat_redirect", "#/route?a=1#b", "#a#b"]) {
    expect(signJsApi({ ...OFFICIAL, url: OFFICIAL.url + tail })).toBe(OFFICIAL_SIGNATURE);
  }
});

test("nothing of a url is decoded, encoded or normalised", () => {
  for (const url of [
    "https://EXAMPLE.com",
    "https://example.com/",
    "https://example.com:443/a/../b//c",
    "https://example.com/%E4%BD%A0%e4?q=a%20b+c&q=&x",
    "https://example.com/你好?名=值",
    "https://example.com/?a=1&url=https://other.example/?b=2",
    " https://example.com ",
  ])
    expect(signJsApi({ ...OFFICIAL, url })).toBe(signed(url));
});

test("a different nonce, second or ticket gives a different signature", () => {
  const others = [{ nonce: "x" }, { timestamp: OFFICIAL.timestamp + 1 }, { ticket: "other" }];
  const signatures = others.map((other) => signJsApi({ ...OFFICIAL, ...other }));
  expect(new Set([OFFICIAL_SIGNATURE, ...signatures]).size).toBe(4);
});
