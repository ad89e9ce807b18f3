import { isIP } from "node:net";
import { memoize, type Networks, plainAddress } from "./networks.ts";

/** Where a request comes from, as far as the network shows. */
export interface Origin {
  /** The peer's address, or the one that a trusted proxy vouches for. */
  readonly address: string;
  /** Undefined for a trusted network; else what is wrong, for the person who reads the refusal. */
  readonly untrustedReason: string | undefined;
  /** Why the address may be another's, as for a proxy that is not listed; matters where a client must come from its networks. */
  readonly disguise: string | undefined;
  /** Whether a browser seems to send it, perhaps for a foreign page, and not for one of ours. */
  readonly isBrowser: boolean;
  /** The origin of the page that the request comes from, as the browser says; undefined for none. */
  readonly page?: string | undefined;
}

/** A request, as far as its origin is concerned. */
export interface Arrival {
  /** The other end of the connection; to ask for it is expensive. */
  readonly peer: () => string;
  /** Not to be believed. */
  readonly headers: Headers;
  /** Whether it is from a page of another origin that may call. */
  readonly allowsOrigin: () => boolean;
}

/** An origin that is evaluated on first use, and no further than needed; a client's warm read never needs it. */
export class LazyOrigin implements Origin {
  readonly #policy: OriginPolicy;
  readonly #arrival: Arrival;
  #found: Omit<Origin, "isBrowser"> | undefined;

  constructor(policy: OriginPolicy, arrival: Arrival) {
    this.#policy = policy;
    this.#arrival = arrival;
  }

  get address(): string {
    return this.#origin.address;
  }

  get untrustedReason(): string | undefined {
    return this.#origin.untrustedReason;
  }

  get disguise(): string | undefined {
    return this.#origin.disguise;
  }

  get isBrowser(): boolean {
    return isBrowser(this.#arrival.headers);
  }

  get page(): string | undefined {
    return this.#arrival.headers.get("origin") ?? undefined;
  }

  get #origin(): Omit<Origin, "isBrowser"> {
    const { peer, headers, allowsOrigin } = this.#arrival;
    return (this.#found ??= this.#policy.originOf(peer(), headers, allowsOrigin()));
  }
}

/** Which networks, proxies and host names are trusted. */
export interface OriginPolicyOptions {
  readonly trustedNetworks: Networks;
  readonly trustedProxies: Networks;
  /** Lower case, without ports and without a dot at the end. */
  readonly allowedHosts: readonly string[];
}

/** Headers that say for whom a proxy asks: from a peer that is no known proxy, its address is not the caller's. */
const DISGUISES = [
  "x-forwarded-for",
  "x-forwarded",
  "forwarded",
  "via",
  "x-real-ip",
  "x-client-ip",
  "true-client-ip",
  "cf-connecting-ip",
];
/** They say nothing of the address, as a service mesh sets them; still they show that there is a proxy. */
const TRACES = ["x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-server"];

/**
 * Decides whether the origin of a request is trusted.
 *
 * The address alone is not enough: behind a proxy on this machine every caller looks like loopback, and so does a
 * browser here that runs a foreign page's script (cross-site requests, DNS rebinding). All this is about anonymous callers:
 * a key, a secret or a token is nothing that a proxy or a foreign page has by chance.
 */
export class OriginPolicy {
  readonly #isKnownHost: (host: string) => boolean;
  readonly #isProxy: (address: string) => boolean;
  readonly #isTrusted: (address: string) => boolean;

  constructor(options: OriginPolicyOptions) {
    this.#isKnownHost = memoize((host) => isAllowed(host, options.allowedHosts));
    this.#isProxy = memoize((address) => options.trustedProxies.includes(address));
    this.#isTrusted = memoize((address) => options.trustedNetworks.includes(address));
  }

  /**
   * The origin of a request. `peer` is the other end of the connection; `headers` are the request's, and not trusted.
   * A page of another origin is refused unless `allowsOrigin`.
   */
  originOf(peer: string, headers: Headers, allowsOrigin = false): Omit<Origin, "isBrowser"> {
    const direct = plainAddress(peer);
    const isProxy = this.#isProxy(direct);
    const address = isProxy ? this.#forwardedFor(headers.get("x-forwarded-for")) : direct;
    if (address === undefined) {
      const reason = `TRUSTED_PROXIES中的代理 ${direct} 未提供有效的X-Forwarded-For (the proxy ${direct} of TRUSTED_PROXIES sent no usable X-Forwarded-For)`;
      return { address: direct, untrustedReason: reason, disguise: reason };
    }
    const disguise = isProxy ? undefined : proxied(direct, headers, DISGUISES);
    const doubt =
      disguise ??
      (isProxy ? undefined : proxied(direct, headers, TRACES)) ??
      this.#check(headers, allowsOrigin);
    return {
      address,
      untrustedReason: doubt ?? (this.#isTrusted(address) ? undefined : untrusted(address)),
      disguise,
    };
  }

  #check(headers: Headers, allowsOrigin: boolean): string | undefined {
    const site = headers.get("sec-fetch-site");
    if (!allowsOrigin && (site === "cross-site" || site === "same-site"))
      return "不接受跨站的浏览器请求 (cross-site browser request)";
    const host = headers.get("host") ?? "";
    const origin = headers.get("origin");
    // Browsers send Sec-Fetch-Site only to https and loopback URLs, but Origin with every request that changes something.
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
    const entries = (header ?? "").split(",").map((entry) => plainAddress(withoutPort(entry.trim())));
    const foreign = entries.findLast((entry) => !this.#isProxy(entry));
    const address = foreign ?? entries[0] ?? "";
    return isIP(address) ? address : undefined;
  }
}

/** That the request came through a proxy that is not listed, if it has one of these headers. */
function proxied(peer: string, headers: Headers, names: readonly string[]): string | undefined {
  const found = names.find((name) => headers.has(name));
  if (found === undefined) return undefined;
  return `请求经过了代理（请求头 ${found}），而对方地址 ${peer} 不在TRUSTED_PROXIES内；请携带API密钥，或在此列出该代理 (it came through a proxy, as ${found} shows, and the peer ${peer} is not in TRUSTED_PROXIES: send an API key, or list the proxy there)`;
}

function untrusted(address: string): string {
  return `来源地址 ${address} 不在TRUSTED_NETWORKS内，且没有API密钥 (the address ${address} is not in TRUSTED_NETWORKS, and there is no API key)`;
}

/** An address as some proxies write it: `10.1.2.3:51008`, `[2001:db8::1]:443`. */
function withoutPort(entry: string): string {
  return entry.replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, "$1").replace(/^\[([^\]]*)\](:\d{1,5})?$/, "$1");
}

/**
 * To plain HTTP off loopback browsers send neither `Sec-Fetch-Site` nor, with an image or a link, `Origin`. What they
 * always send, and no page can change, is their name.
 */
function isBrowser(headers: Headers): boolean {
  if (headers.get("sec-fetch-site") === "same-origin") return false;
  const referrer = headers.get("referer");
  return (
    /^mozilla\//i.test(headers.get("user-agent") ?? "") ||
    // Node's fetch sends `*`.
    /(^|,)\s*[a-z]/i.test(headers.get("accept-language") ?? "") ||
    (referrer !== null && hostOf(referrer) !== headers.get("host")?.toLowerCase())
  );
}

/** Whether `text` is an origin exactly as browsers send it. */
export function isWebOrigin(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === "https:" || url?.protocol === "http:";
  return isHttp && url.origin === text && !text.includes("*");
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function isAllowed(host: string, allowedHosts: readonly string[]): boolean {
  // A name with a dot at its end is the same, written in full.
  const name = host.replace(/:\d*$/, "").replace(/\.$/, "").toLowerCase();
  const address = name.startsWith("[") && name.endsWith("]") ? name.slice(1, -1) : name;
  return name === "localhost" || isIP(address) !== 0 || allowedHosts.includes(name);
}
