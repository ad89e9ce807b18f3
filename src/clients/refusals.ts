import { type Platform, ServiceError } from "../errors.ts";
import { type ApiPolicy, familyPattern } from "./api-policy.ts";

/** Nobody whom we know: no key, or one that is none. */
export function unauthorized(chinese: string, english: string): ServiceError {
  return new ServiceError("unauthorized", `${chinese} (${english})`);
}

/** Somebody who may not have this. */
export function forbidden(chinese: string, english: string): ServiceError {
  return new ServiceError("forbidden", `禁止访问：${chinese} (${english})`);
}

/** A client whose policy refuses the path. */
export function notAllowedByPolicy({ preset }: ApiPolicy, path: string): ServiceError {
  const family = familyPattern(path);
  return forbidden(
    `该客户端的接口策略（${preset}）不允许调用 ${family}，可由管理员修改策略`,
    `the client's policy (${preset}) does not allow ${family}; an administrator can change it`,
  );
}

/** Somebody without a key from where nobody is believed; `reason` says what is wrong, in both languages. */
export function distrusted(reason: string): ServiceError {
  return new ServiceError("forbidden", `禁止访问：${reason}`);
}

/** Somebody who asked too often. */
export function tooMany(chinese: string, english: string, retryAfterMs: number): ServiceError {
  return new ServiceError("rate_limited", `${chinese}，请稍后再试 (${english}; try again later)`, {
    retryAfterMs,
  });
}

/**
 * What WeChat or WeCom would say of a wrong secret, said without asking them.
 *
 * A secret that we don't know is sent upstream for few callers only: whoever guesses would have our address punished.
 */
export function wrongSecret(platform: Platform): ServiceError {
  const [errcode, errmsg] =
    platform === "wecom" ? [40001, "invalid credential"] : [40125, "invalid appsecret"];
  return new ServiceError("upstream_rejected", errmsg, {
    upstream: { platform, errcode, errmsg, class: "config", isOurs: true },
    hint: "请使用该应用的secret或API密钥 (use the app's secret or an API key)",
  });
}
