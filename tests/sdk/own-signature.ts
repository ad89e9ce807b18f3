import { createHash } from "node:crypto";

/** What an SDK gives a page for `wx.config`, under the names that all of them use. */
export interface PageSignature {
  readonly url: string;
  readonly nonceStr: string;
  readonly timestamp: number | string;
  readonly signature: string;
}

/**
 * The signature that WeChat computes for that page, from the documented string.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html
 */
export function ownSignature(ticket: string, { url, nonceStr, timestamp }: PageSignature): string {
  return sha1(`jsapi_ticket=${ticket}&noncestr=${nonceStr}&timestamp=${timestamp}&url=${url}`);
}

/** The signature of a card: the values in the order of their characters, joined. */
export function ownCardSignature(values: readonly string[]): string {
  return sha1(values.toSorted().join(""));
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
