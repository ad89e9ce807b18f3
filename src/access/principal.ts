import { isIP } from "node:net";
import { type Platform, ServiceError } from "../errors.ts";
import type { RequestResult } from "../events.ts";
import type { KnownClient } from "./client-directory.ts";
import type { Action, ApiKeyRecord } from "./client.ts";
import { type Networks, plainAddress, memoize } from "./networks.ts";
import { type ApiPolicy, familyPattern } from "./api-policy.ts";

/** Who asks, as the audit calls it. */
export interface Identity {
  /** A client's name; in parentheses who is none. */
  readonly client: string;
  /** Empty for who is none. */
  readonly environment: string;
}

/** From where a request comes, as far as the network tells. */
export interface Origin {
  /** The peer's address, or the one that a trusted proxy vouches for. */
  readonly address: string;
  /** Undefined when it comes from where anybody is believed; else what is wrong, for the person who reads the refusal. */
  readonly untrustedReason: string | undefined;
  /** Whether it is the request itself that is dubious and not its address, so that an app's secret does not make up for it. */
  readonly isSuspicious: boolean;
}

/**
 * Who asks: as far as keys and secrets tell, and from where. One object a request.
 *
 * From where is found out when somebody wants to know: for a client's warm read nobody does.
 */
export class Caller implements Origin {
  readonly traceId: string;
  /** Whose API key came with the request; undefined while none has been seen. */
  client?: KnownClient;
  /** That key; or the one with which the virtual token was made that came in its place. */
  key?: ApiKeyRecord;
  /** Whether it is the command line on this machine, which holds the database and its key. */
  isLocal?: boolean;
  /** Who it turned out to be; undefined until something was allowed or refused. */
  identity?: Identity;
  /** What it was allowed, to be counted when it succeeds; `family` of the path that it called through the gateway. */
  use?: { readonly action: Action; readonly app: string; readonly family?: string };
  /** Whether a call was sent up for it that WeChat may have carried out, and no answer has been handed on yet. */
  mayHaveCalled?: boolean;
  /** Whether it was refused for what it is, not for what it sent. */
  isRefused?: boolean;
  /** How the request came by its credential, noted while it is handled. */
  result?: RequestResult;
  readonly #findOrigin: () => Origin;
  #origin: Origin | undefined;

  constructor(traceId: string, findOrigin: () => Origin) {
    this.traceId = traceId;
    this.#findOrigin = findOrigin;
  }

  get address(): string {
    return this.#known().address;
  }

  get untrustedReason(): string | undefined {
    return this.#known().untrustedReason;
  }

  get isSuspicious(): boolean {
    return this.#known().isSuspicious;
  }

  #known(): Origin {
    this.#origin ??= this.#findOrigin();
    return this.#origin;
  }
}

/** Who was refused before it was known who they are. */
export const UNIDENTIFIED: Identity = { client: "", environment: "" };

/** `error`, which refuses the caller for what it is: noted on the caller, for the audit. */
export function markRefused(caller: Caller, error: ServiceError): ServiceError {
  caller.identity ??= UNIDENTIFIED;
  caller.isRefused = true;
  return error;
}

/** Which networks, proxies and host names are believed. */
export interface CallerPolicyOptions {
  readonly trustedNetworks: Networks;
  readonly trustedProxies: Networks;
  /** Lower case, without ports. */
  readonly allowedHosts: readonly string[];
}

/** Headers by which a proxy says that it forwards. From a peer that is no known proxy they are a disguise. */
const FORWARDING = [
  "x-forwarded-for",
  "x-forwarded",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-forwarded-server",
  "forwarded",
  "via",
  "x-real-ip",
  "x-client-ip",
  "true-client-ip",
  "cf-connecting-ip",
];

const UNTRUSTED =
  "来源地址不在TRUSTED_NETWORKS内，且没有API密钥 (the address is not in TRUSTED_NETWORKS, and there is no API key)";

/**
 * Decides whether a request comes from where it may come from.
 *
 * The address alone is not enough: a proxy on this machine makes the whole world look like loopback, and so does a
 * browser here that runs a foreign page's script (cross-site requests, DNS rebinding).
 */
export class CallerPolicy {
  readonly #isKnownHost: (host: string) => boolean;
  readonly #isProxy: (address: string) => boolean;
  readonly #isTrusted: (address: string) => boolean;

  constructor(options: CallerPolicyOptions) {
    this.#isKnownHost = memoize((host) => isAllowed(host, options.allowedHosts));
    this.#isProxy = memoize((address) => options.trustedProxies.includes(address));
    this.#isTrusted = memoize((address) => options.trustedNetworks.includes(address));
  }

  /**
   * From where it comes. `peer` is the other end of the connection; `headers` are the request's, not to be believed. A page of
   * another origin is refused unless it is a welcome one.
   */
  originOf(peer: string, headers: Headers, allowsOrigin = false): Origin {
    const direct = plainAddress(peer);
    const isProxy = this.#isProxy(direct);
    const address = isProxy ? this.#forwardedFor(headers.get("x-forwarded-for")) : direct;
    if (address === undefined) {
      const reason = "可信代理未提供有效的X-Forwarded-For (a trusted proxy sent no usable X-Forwarded-For)";
      return { address: direct, untrustedReason: reason, isSuspicious: true };
    }
    const doubt = this.#doubt(isProxy, headers, allowsOrigin);
    const untrustedReason = doubt ?? (this.#isTrusted(address) ? undefined : UNTRUSTED);
    return { address, untrustedReason, isSuspicious: doubt !== undefined };
  }

  #doubt(isProxy: boolean, headers: Headers, allowsOrigin: boolean): string | undefined {
    if (!isProxy && FORWARDING.some((name) => headers.has(name))) {
      return "请求经过了未列入TRUSTED_PROXIES的代理 (it came through a proxy that is not in TRUSTED_PROXIES)";
    }
    const site = headers.get("sec-fetch-site");
    if (!allowsOrigin && (site === "cross-site" || site === "same-site"))
      return "不接受跨站的浏览器请求 (cross-site browser request)";
    const host = headers.get("host") ?? "";
    const origin = headers.get("origin");
    // Browsers tell the site only to https and loopback pages' requests; the origin they tell of every change.
    if (!allowsOrigin && origin !== null && hostOf(origin) !== host.toLowerCase()) {
      return "不接受来自其他网页的请求 (the request comes from a page of another origin)";
    }
    if (!this.#isKnownHost(host)) {
      return "Host域名不在ALLOWED_HOSTS内 (the Host name is not in ALLOWED_HOSTS)";
    }
    return undefined;
  }

  /** The rightmost entry that is not one of our proxies: everything to its left the caller may have made up. */
  #forwardedFor(header: string | null): string | undefined {
    const entries = (header ?? "").split(",").map((entry) => plainAddress(entry.trim()));
    const foreign = entries.findLast((entry) => !this.#isProxy(entry));
    const address = foreign ?? entries[0] ?? "";
    return isIP(address) ? address : undefined;
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function isAllowed(host: string, allowedHosts: readonly string[]): boolean {
  const name = host.replace(/:\d*$/, "").toLowerCase();
  const address = name.startsWith("[") && name.endsWith("]") ? name.slice(1, -1) : name;
  return name === "localhost" || isIP(address) !== 0 || allowedHosts.includes(name);
}

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
export function untrusted(reason: string): ServiceError {
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
