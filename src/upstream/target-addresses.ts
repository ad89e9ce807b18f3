import { isIP } from "node:net";
import { Networks } from "../access/networks.ts";
import { TargetFailure } from "../callbacks/target-request.ts";
import type { Address } from "./addresses.ts";

/** Addresses of machines on the Internet are none of these (RFC 6890, IANA's registries of special purpose). */
const NOT_PUBLIC = new Networks(
  [
    ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"],
    ...[
      "192.0.0.0/24",
      "192.0.2.0/24",
      "192.88.99.0/24",
      "192.168.0.0/16",
      "198.18.0.0/15",
      "198.51.100.0/24",
    ],
    ...["203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"],
    // Azure answers metadata from an address that looks public.
    "168.63.129.16/32",
    // Teredo and its neighbours, 6to4, documentation: within what is public otherwise.
    ...["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"],
  ].join(),
);
const PUBLIC_V6 = new Networks("2000::/3");
/** Whatever is configured: nothing there is a program of ours, and in a cloud some of it hands out credentials. */
const NEVER = new Networks(
  [
    ...[
      "0.0.0.0/8",
      "169.254.0.0/16",
      "224.0.0.0/4",
      "240.0.0.0/4",
      "168.63.129.16/32",
      "100.100.100.200/32",
    ],
    ...["::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128"],
    // An address of IPv4 behind a translator, whatever it is.
    ...["64:ff9b::/96", "64:ff9b:1::/48"],
  ].join(),
);

type Lookup = (host: string) => Promise<readonly string[]>;

/** As `fetch` looks names up: `/etc/hosts` and the system's resolver. */
const lookUp: Lookup = async (host) =>
  (await Bun.dns.lookup(host, { backend: "system" })).map(({ address }) => address);

/**
 * Where the targets of pushes are, which anybody who may configure one could point at an inner service: public addresses
 * over https, and what `CALLBACK_NETWORKS` lists.
 */
export class TargetAddresses {
  readonly #allowed: Networks;
  readonly #lookup: Lookup;

  /** `allowed` are addresses that need not be public, and may be asked without TLS. */
  constructor(allowed: Networks, lookup: Lookup = lookUp) {
    this.#allowed = allowed;
    this.#lookup = lookup;
  }

  /**
   * The address that a request to `url` goes to: connect to that, and to nothing that is looked up again.
   *
   * @throws {TargetFailure} `bad_url`, `unknown_host` or `address_not_allowed`.
   */
  async of(url: URL): Promise<Address> {
    const { protocol, hostname, host, username, password } = url;
    const isSecure = protocol === "https:";
    if ((!isSecure && protocol !== "http:") || username !== "" || password !== "")
      throw new TargetFailure("bad_url");
    const literal = hostname.replace(/^\[|\]$/g, "");
    const isLiteral = isIP(literal) !== 0;
    const found = isLiteral ? [literal] : await this.#lookup(hostname).catch(() => []);
    if (found.length === 0) throw new TargetFailure("unknown_host");
    const address = found.find((each) => this.#mayAsk(each, isSecure));
    if (address === undefined) throw new TargetFailure("address_not_allowed");
    const at = new URL(url.origin);
    at.hostname = isIP(address) === 6 ? `[${address}]` : address;
    const tls = isSecure && !isLiteral ? { tls: { serverName: hostname } } : {};
    return { origin: at.origin, host, ...tls };
  }

  #mayAsk(address: string, isSecure: boolean): boolean {
    // An address of IPv4 in a form of IPv6 is that address: the lists match both.
    if (NEVER.includes(address)) return false;
    if (this.#allowed.includes(address)) return true;
    if (!isSecure || NOT_PUBLIC.includes(address)) return false;
    return isIP(address) === 4 || PUBLIC_V6.includes(address);
  }
}
