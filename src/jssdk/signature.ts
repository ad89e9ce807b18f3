import { createHash } from "node:crypto";

/** What goes into a JS-SDK signature. */
export interface JsApiSignatureInput {
  readonly ticket: string;
  readonly nonce: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  /** The page's address as the browser has it. What follows the first `#` is not signed; the rest is not touched. */
  readonly url: string;
}

/**
 * The signature that `wx.config` of WeChat and WeCom expects: SHA-1 in lower-case hex over the raw values.
 *
 * Nothing is decoded, encoded or normalised, because the browser signs nothing: WeChat compares with the address that
 * its own browser shows. https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html (appendix 1)
 */
export function signJsApi({ ticket, nonce, timestamp, url }: JsApiSignatureInput): string {
  const [page = ""] = url.split("#", 1);
  const text = `jsapi_ticket=${ticket}&noncestr=${nonce}&timestamp=${timestamp}&url=${page}`;
  return createHash("sha1").update(text).digest("hex");
}

/**
 * The signature of `wx.addCard` and `wx.chooseCard`: SHA-1 in lower-case hex over the values, sorted by their bytes and
 * joined without anything between.
 *
 * The names of the values do not go in, and empty ones drop out.
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/JS-SDK.html (appendix 4)
 */
export function signCard(values: readonly string[]): string {
  const bytes = values.map((value) => Buffer.from(value));
  return createHash("sha1")
    .update(Buffer.concat(bytes.toSorted((a, b) => Buffer.compare(a, b))))
    .digest("hex");
}
