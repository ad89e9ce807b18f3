import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { signCard, signJsApi } from "../../src/signing/page-signer.ts";

/** The example of WeChat's own card signature tool. */
const OFFICIAL = {
  values: ["ojZ8YtyVyr30HheH3CM73y7h4jJE", "1404896688", "pjZ8Yt1XGILfi-FUsewpnnolGgZk", "1434008071", "123"],
  signature: "f137ab68b7f8112d20ee528ab6074564e2796250",
};

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

test("a page's signature is what WeChat's own example says", () => {
  const signature = signJsApi({
    ticket: "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg",
    nonce: "Wm3WZYTPz0wzccnW",
    timestamp: 1_414_587_457,
    url: "http://mp.weixin.qq.com?params=value",
  });
  expect(signature).toBe("0f9de62fce790f9a083d5c99e95740ceb90c27ed");
});

test("a card's signature is what WeChat's own example says, in whatever order the values come", () => {
  expect(signCard(OFFICIAL.values)).toBe(OFFICIAL.signature);
  expect(signCard(OFFICIAL.values.toReversed())).toBe(OFFICIAL.signature);
});

test("empty values drop out of a card's signature", () => {
  expect(signCard(["", ...OFFICIAL.values, "", ""])).toBe(OFFICIAL.signature);
});

test("values are sorted by their bytes: not as numbers, not by a language, not by UTF-16", () => {
  expect(signCard(["b", "B", "a", "_", "10", "9"])).toBe(sha1("109B_ab"));
  expect(signCard(["z", "ä", "Z"])).toBe(sha1("Zzä"));
  expect(signCard(["\u{1f600}", "\uff61"])).toBe(sha1("\uff61\u{1f600}"));
});
