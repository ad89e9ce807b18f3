import { isIP } from "node:net";

/** The names of WeChat and WeCom in SDKs whose host can't be changed: their APIs, and the other hosts that WeChat has for its own. */
export const UPSTREAM_HOSTS = [
  "api.weixin.qq.com",
  "api2.weixin.qq.com",
  "sh.api.weixin.qq.com",
  "sz.api.weixin.qq.com",
  "hk.api.weixin.qq.com",
  "file.api.weixin.qq.com",
  "qyapi.weixin.qq.com",
] as const;

/** Which addresses of the upstreams are used. */
export type IpFamily = 4 | 6;

/** Where a request for an origin goes, and what it must bring so that it is taken for that origin's. */
export interface Address {
  readonly origin: string;
  /** The Host header; undefined where the URL says it. */
  readonly host?: string;
  /** Whose certificate is expected there. */
  readonly tls?: { readonly serverName: string };
}

type Lookup = (host: string, family: IpFamily) => Promise<readonly string[]>;

/** As long as Bun remembers what it has looked up itself. */
const KEPT_MS = 30_000;

/**
 * The addresses of the upstreams in one IP family: a machine with both has two addresses of its own, and may be on
 * WeChat's list with one of them only. `fetch` can't be told, so names are looked up here.
 *
 * Certificates are checked against the name, as without it.
 */
export class Addresses {
  readonly #family: IpFamily;
  readonly #lookup: Lookup;
  readonly #known = new Map<string, { readonly address: Promise<string>; readonly until: number }>();

  constructor(family: IpFamily, lookup: Lookup = lookUp) {
    this.#family = family;
    this.#lookup = lookup;
  }

  /** The address of `origin`. Throws an `Error` with the code `ENOTFOUND` where the name has none of that family. */
  async of(origin: string, signal: AbortSignal): Promise<Address> {
    const url = new URL(origin);
    const { hostname, host, protocol } = url;
    if (isIP(hostname.replace(/^\[|\]$/g, "")) !== 0) return { origin };
    const address = await Promise.race([this.#addressOf(hostname), aborted(signal)]);
    url.hostname = this.#family === 6 ? `[${address}]` : address;
    return { origin: url.origin, host, ...(protocol === "https:" ? { tls: { serverName: hostname } } : {}) };
  }

  /** The address of `origin` did not answer: the next request looks it up again. */
  forget(origin: string): void {
    this.#known.delete(new URL(origin).hostname);
  }

  #addressOf(name: string): Promise<string> {
    const now = performance.now();
    const known = this.#known.get(name);
    if (known && now < known.until) return known.address;
    const address = this.#lookup(name, this.#family).then(
      (found) => found[Math.floor(Math.random() * found.length)] ?? Promise.reject(notFound()),
      () => Promise.reject(notFound()),
    );
    this.#known.set(name, { address, until: now + KEPT_MS });
    address.catch(() => this.#known.delete(name));
    return address;
  }
}

/** As `fetch` looks names up: `/etc/hosts` and the system's resolver. */
async function lookUp(name: string, family: IpFamily): Promise<string[]> {
  const found = await Bun.dns.lookup(name, { family, backend: "system" });
  return found.filter((each) => each.family === family).map(({ address }) => address);
}

/** In the code that tells that nothing was sent. */
function notFound(): Error {
  return Object.assign(new Error("no address in this IP family"), { code: "ENOTFOUND" });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(notFound());
    else signal.addEventListener("abort", () => reject(notFound()), { once: true });
  });
}
