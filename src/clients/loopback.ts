import { isIP } from "node:net";

/** Whether a URL's `hostname` can only be this very machine. */
export function isLoopback(hostname: string): boolean {
  if (hostname === "localhost" || hostname === "[::1]") return true;
  return isIP(hostname) === 4 && hostname.startsWith("127.");
}
