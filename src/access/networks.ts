import { BlockList, isIP } from "node:net";

/** A list of networks that an address can be looked up in. An IPv4 address matches also in its `::ffff:` form. */
export class Networks {
  readonly #list = new BlockList();
  readonly #text: string;

  /**
   * Reads a comma-separated list of CIDR blocks and single addresses.
   *
   * @throws {RangeError} With the first entry that is neither; the caller knows which setting it came from.
   */
  constructor(text: string) {
    this.#text = text;
    for (const entry of text.split(",").map((part) => part.trim())) {
      if (entry !== "") this.#add(entry);
    }
  }

  /** Whether there is no network in it. */
  get isEmpty(): boolean {
    return this.#list.rules.length === 0;
  }

  /** Whether `address` lies in one of the networks; false for what is no address. */
  includes(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#list.check(address, family === 6 ? "ipv6" : "ipv4");
  }

  /** The list that it was read from. */
  toString(): string {
    return this.#text;
  }

  #add(entry: string): void {
    const [address = "", prefix, more] = entry.split("/");
    const family = isIP(address);
    const maxBits = family === 6 ? 128 : 32;
    const bits = prefix === undefined ? maxBits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
    if (family === 0 || more !== undefined || bits < 0 || bits > maxBits) throw new RangeError(entry);
    this.#list.addSubnet(address, bits, family === 6 ? "ipv6" : "ipv4");
  }
}

/**
 * What counts as one caller where callers are counted by address: an IPv4 address, or the /64 network of an IPv6
 * address, since its owner has all the addresses in it.
 */
export function callerNetwork(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  // An IPv4 address at the end stands for two groups.
  const length = before.length + after.length + (address.includes(".") ? 1 : 0);
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - length }, () => "0");
  const groups = [...before, ...zeros, ...after].slice(0, 4);
  return groups.map((group) => group.toLowerCase().replace(/^0+(?=.)/, "")).join(":");
}

/** `address` without the `::ffff:` that a dual-stack socket puts before an IPv4 address, and without a zone. */
export function plainAddress(address: string): string {
  const unmapped = address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
  return unmapped.replace(/%.*$/, "");
}

/** Whether a URL's `hostname` can only be this very machine. */
export function isLoopback(hostname: string): boolean {
  if (hostname === "localhost" || hostname === "[::1]") return true;
  return isIP(hostname) === 4 && hostname.startsWith("127.");
}

const MAX_ENTRIES = 1000;
const MAX_LENGTH = 256;

/**
 * `decide` with cached results, which must depend on the text alone. At most a thousand short texts are cached; then
 * the cache is cleared.
 */
export function memoize<T>(decide: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const answer = decide(text);
    if (known.size >= MAX_ENTRIES) known.clear();
    if (text.length <= MAX_LENGTH) known.set(text, answer);
    return answer;
  };
}
