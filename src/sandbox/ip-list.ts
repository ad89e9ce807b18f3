import { BlockList, isIPv4 } from "node:net";

/**
 * Whether `ip` is on a white list.
 *
 * An entry is an address, `1.2.3.*` or a network such as `1.2.3.0/24`. An entry that is none
 * of these matches nothing.
 */
export function isListed(ip: string, list: readonly string[]): boolean {
  return list.some((entry) => matches(ip, entry));
}

function matches(ip: string, entry: string): boolean {
  if (entry.endsWith(".*")) return ip.startsWith(entry.slice(0, -1));
  const [network, bits] = entry.split("/");
  if (network === undefined || bits === undefined) return ip === entry;
  if (!isIPv4(network) || !isIPv4(ip)) return false;

  const networks = new BlockList();
  networks.addSubnet(network, Number(bits), "ipv4");
  return networks.check(ip, "ipv4");
}
