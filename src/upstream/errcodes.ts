import type { Platform, UpstreamErrorClass } from "../errors.ts";

/**
 * WeChat's errcodes that ask something of us; every other one is the caller's affair (`input`).
 *
 * https://developers.weixin.qq.com/doc/oplatform/Return_codes/Return_code_descriptions_new.html
 */
const WEIXIN: ReadonlyMap<number, UpstreamErrorClass> = new Map([
  ...all("token_invalid", [40014, 42001]),
  ...all("config", [40002, 40013, 40125, 40164, 41002, 41004, 45035, 61004, 61011, 61024]),
  ...all("account", [40243, 48004, 50002, 50004, 50007]),
  ...all("risk", [89501, 89503, 89506, 89507]),
  ...all("permission", [48001, 48006, 50001, 61003, 61007]),
  ...all("quota_day", [45009]),
  ...all("quota_minute", [45011]),
]);

/**
 * WeCom's errcodes. Several numbers mean something else than on WeChat: 40001 is a wrong secret and never a dead
 * token, 45009 a block of a minute and more, 50001 and 50003 are the app's own settings.
 *
 * https://developer.work.weixin.qq.com/document/path/90313
 */
const WECOM: ReadonlyMap<number, UpstreamErrorClass> = new Map([
  ...all("token_invalid", [40014, 42001]),
  ...all("config", [40001, 40013, 40080, 40083, 40091, 41002, 41004, 48003, 60020, 2000002]),
  ...all("account", [50003, 301007]),
  ...all("permission", [48002, 48004, 48005, 50002, 60011]),
  ...all("quota_minute", [45009, 45033]),
]);

/**
 * What an errcode asks of us, by platform, because the numbers mean different things.
 *
 * `endpoint` matters for WeChat's 40001 alone: from an endpoint that takes the AppSecret it is about the secret, from
 * one that takes an access token it is about the token.
 */
export function classifyErrcode(
  platform: Platform,
  errcode: number,
  endpoint: "takes_secret" | "takes_token",
): UpstreamErrorClass {
  if (errcode < 0) return "transient";
  if (platform === "wecom") return WECOM.get(errcode) ?? "input";
  if (errcode === 40001) return endpoint === "takes_secret" ? "config" : "token_invalid";
  return WEIXIN.get(errcode) ?? "input";
}

function all(kind: UpstreamErrorClass, errcodes: number[]): [number, UpstreamErrorClass][] {
  return errcodes.map((errcode) => [errcode, kind]);
}
