import { isIP } from "node:net";
import type { RequestResult } from "../events.ts";
import { plainAddress, type Networks } from "./networks.ts";
import { remembered } from "./remembered.ts";

/** Who asks, as far as the network tells. One object a request. */
export interface Caller {
  /** The peer's address, or the one that a trusted proxy vouches for. */
  readonly address: string;
  /** Undefined when the caller may be answered; otherwise what is wrong, for the person who reads the refusal. */
  readonly distrust: string | undefined;
  /** How the request came by its credential, noted while it is handled. */
  result?: RequestResult;
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
    this.#isKnownHost = remembered((host) => isAllowed(host, options.allowedHosts));
    this.#isProxy = remembered((address) => options.trustedProxies.includes(address));
    this.#isTrusted = remembered((address) => options.trustedNetworks.includes(address));
  }

  /** Who asks. `peer` is the other end of the connection; `headers` are the request's, not to be believed. */
  identify(peer: string, headers: Headers): Caller {
    const direct = plainAddress(peer);
    const isProxy = this.#isProxy(direct);
    const address = isProxy ? this.#forwardedFor(headers.get("x-forwarded-for")) : direct;
    if (address === undefined) {
      const reason = "可信代理未提供有效的X-Forwarded-For (a trusted proxy sent no usable X-Forwarded-For)";
      return { address: direct, distrust: reason };
    }
    return { address, distrust: this.#distrust(address, isProxy, headers) };
  }

  #distrust(address: string, isProxy: boolean, headers: Headers): string | undefined {
    if (!isProxy && FORWARDING.some((name) => headers.has(name))) {
      return "请求经过了未列入TRUSTED_PROXIES的代理 (it came through a proxy that is not in TRUSTED_PROXIES)";
    }
    if (!this.#isTrusted(address)) {
      return "来源地址不在TRUSTED_NETWORKS内 (the address is not in TRUSTED_NETWORKS)";
    }
    const site = headers.get("sec-fetch-site");
    if (site === "cross-site" || site === "same-site")
      return "不接受跨站的浏览器请求 (cross-site browser request)";
    const host = headers.get("host") ?? "";
    const origin = headers.get("origin");
    // Browsers tell the site only to https and loopback pages' requests; the origin they tell of every change.
    if (origin !== null && hostOf(origin) !== host.toLowerCase()) {
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
