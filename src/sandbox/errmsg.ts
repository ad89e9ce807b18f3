import { randomBytes, randomInt } from "node:crypto";

/**
 * A request id as WeChat appends it to every errmsg: three groups of eight hex digits, the first of which is the
 * Unix time.
 */
export function newRid(seconds: number): string {
  const random = randomBytes(8).toString("hex");
  return `${seconds.toString(16).padStart(8, "0")}-${random.slice(0, 8)}-${random.slice(8)}`;
}

/** The errmsg of api.weixin.qq.com. The `/sns` endpoints put a comma before the request id, the others don't. */
export function weixinErrmsg(stem: string, rid: string, sns: boolean): string {
  return `${stem}${sns ? "," : ""} rid: ${rid}`;
}

/**
 * The errmsg of qyapi.weixin.qq.com, with the hint (Unix time and fifteen more digits) and the caller's address
 *.
 */
export function wecomErrmsg(stem: string, seconds: number, errcode: number | string, peerIp: string): string {
  const random = `${randomDigits()}${randomDigits()}${randomDigits()}`;
  const link = `https://open.work.weixin.qq.com/devtool/query?e=${errcode}`;
  return `${stem}, hint: [${seconds}${random}], from ip: ${peerIp}, more info at ${link}`;
}

function randomDigits(): string {
  return String(randomInt(100_000)).padStart(5, "0");
}
